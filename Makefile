# Everything a developer or CI runs, in one line each. `make setup` is called by all that need it and takes a moment
# when nothing is to be done.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
FEATURES := ros,sim
export CARGO_TERM_COLOR ?= auto

.PHONY: demo demo-base test setup lint test-files test-core test-ros bench bench-rivals bench-instructions bench-recordings \
        soak

demo: setup
	cargo build --locked --features $(FEATURES)
	target/debug/learned_control demo $(ARGS)

demo-base: setup
	cargo build --locked --features $(FEATURES)
	target/debug/learned_control demo-base $(ARGS)

setup:
	@python3 scripts/setup.py

test: setup lint test-files test-core test-ros

lint:
	cargo fmt --check
	cargo fmt --check --manifest-path benches/rivals/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --features $(FEATURES) -- -D warnings

# The set-up itself, the launch files, URDF and SDF.
test-files:
	python3 scripts/test_setup.py
	python3 tests/launch_test.py
	python3 scripts/check_urdf.py

# Without ROS 2 and MuJoCo, as on a computer that has neither.
test-core:
	cargo test --locked
	for example in train predict evaluate; do cargo run --quiet --locked --example $$example || exit 1; done

# Real ROS 2 processes over DDS, MuJoCo in the loop, recorded data.
test-ros:
	cargo test --locked --features $(FEATURES)

# Speed of inference, of training and of the way through ROS 2, to target/report/bench.json; with one thread, as near the
# control loop.
bench: export CANDLE_NUM_THREADS = 1
bench: export RAYON_NUM_THREADS = 1
bench: setup
	for bench in inference training tick round_trip; do \
	  cargo bench --locked --features $(FEATURES) --bench $$bench || exit 1; done

# Controller, predictor and learner for ten minutes at 1 kHz; ARGS="MINUTES RATE" for others. To target/report/soak.json.
soak: setup
	cargo bench --locked --features $(FEATURES) --bench soak -- $(ARGS)

# Instructions a step, by callgrind: the same on a noisy computer. Needs valgrind.
bench-instructions: setup
	cargo bench --locked --bench instructions

RIVALS_FOLDER := $(CURDIR)/target/rivals
# Reading of recordings, beside the Python readers mcap and rosbags in the same run; ARGS=ROUNDS for other than five.
bench-recordings: setup target/rivals/bin/python
	$(RIVALS_FOLDER)/bin/pip install -q mcap mcap-ros2-support rosbags
	PYTHON=$(RIVALS_FOLDER)/bin/python cargo bench --locked --bench recordings -- $(ARGS)

# The same as `bench`, beside ONNX Runtime, tract and PyTorch, which are installed and built in target/rivals (some GB).
bench-rivals: target/rivals/bin/python
	$(RIVALS_FOLDER)/bin/pip install -q numpy onnx onnxruntime safetensors torch
	cargo build --release --locked --manifest-path benches/rivals/Cargo.toml --target-dir $(RIVALS_FOLDER)/build
	PYTHON=$(RIVALS_FOLDER)/bin/python RIVALS=$(RIVALS_FOLDER)/build/release/rivals \
	  ORT_DYLIB_PATH=$$(ls $(RIVALS_FOLDER)/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*) \
	  $(MAKE) bench

target/rivals/bin/python:
	python3 -m venv target/rivals
