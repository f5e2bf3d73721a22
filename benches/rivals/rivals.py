"""Networks of the benchmarks in libraries for Python, as far as they are installed: onnxruntime and torch.

`rivals.py FOLDER`, called by the benchmarks (benches/common/rivals.rs). FOLDER holds the weights of ours, of which ONNX
models are made first (models.py), for benches/rivals/src too. The first line of the output is a JSON list of "rival:task"; then
a line of the input, "rival task hidden calls", is answered by the times of so many calls in µs, and "rival task hidden
output" by what the network gives after ten steps from rest. All use one thread. Calls go through the library's
Python interface, whose own time is part of theirs; that of reading the clock is taken off.
"""

import contextlib
import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np

INPUTS, OUTPUTS, LAYERS = 21, 280, 2
MLP = [42, 128, 128, 7]
BATCH, TIME, ROWS = 16, 32, 64
# Steps before the output that is compared.
STEPS = 10
FOLDER = Path(sys.argv[1])


def sample(count):
    """sin(k) for each input k."""
    return np.sin(np.arange(count)).astype(np.float32)


def onnx_session(name):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = str(FOLDER / f"{name}.onnx")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnx_lstm(hidden):
    session = onnx_session(f"lstm{hidden}")
    feed = {value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()}
    feed["x"][:] = sample(INPUTS)
    names = [value.name for value in session.get_outputs()]
    states = [name.removesuffix("_next") for name in names[1:]]

    def step():
        out, *state = session.run(names, feed)
        feed.update(zip(states, state))
        return out

    return step


def onnx_mlp(_):
    session, feed = onnx_session("mlp"), {"x": sample(MLP[0])[None]}
    return lambda: session.run(["out"], feed)[0]


def inference(step):
    """A step that is called in PyTorch's inference mode."""
    import torch

    step.mode = torch.inference_mode
    return step


def torch_weights(name, module, prefix):
    """Loads those weights of a network of ours whose names start with `prefix` into a module of PyTorch's."""
    from safetensors.torch import load_file

    tensors = load_file(FOLDER / f"{name}.safetensors").items()
    module.load_state_dict({key.removeprefix(prefix): value for key, value in tensors if key.startswith(prefix)})
    return module


def torch_lstm_module(hidden):
    import torch

    lstm = torch_weights(f"lstm{hidden}", torch.nn.LSTM(INPUTS, hidden, LAYERS), "lstm.")
    head = torch_weights(f"lstm{hidden}", torch.nn.Linear(hidden, OUTPUTS), "head.")
    return lstm, head


def torch_nn_lstm(hidden):
    import torch

    lstm, head = torch_lstm_module(hidden)
    x, state = torch.from_numpy(sample(INPUTS))[None], None

    def step():
        nonlocal state
        out, state = lstm(x, state)
        return head(out)

    return inference(step)


def torch_lstm(hidden):
    """Of cells, which take a quarter of the time of the module for whole sequences."""
    import torch

    lstm, head = torch_lstm_module(hidden)
    cells = []
    for layer, weights in enumerate(lstm.all_weights):
        cells.append(torch.nn.LSTMCell(INPUTS if layer == 0 else hidden, hidden))
        cells[-1].load_state_dict(dict(zip(["weight_ih", "weight_hh", "bias_ih", "bias_hh"], weights)))
    x = torch.from_numpy(sample(INPUTS))[None]
    state = [(torch.zeros(1, hidden), torch.zeros(1, hidden))] * LAYERS

    def step():
        below = x
        for layer, cell in enumerate(cells):
            state[layer] = cell(below, state[layer])
            below = state[layer][0]
        return head(below)

    return inference(step)


def torch_layers():
    import torch

    widths = zip(MLP, MLP[1:])
    layers = [layer for pair in widths for layer in (torch.nn.Linear(*pair), torch.nn.Tanh())]
    return torch.nn.Sequential(*layers[:-1])


def torch_mlp(_):
    import torch

    network, x = torch_layers(), torch.from_numpy(sample(MLP[0]))[None]
    for layer in range(len(MLP) - 1):
        torch_weights("mlp", network[2 * layer], f"layers.{layer}.")
    return inference(lambda: network(x))


def torch_training(parameters, outputs, targets):
    """Adam in one operation over all parameters, the fastest of PyTorch's three."""
    import torch

    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(outputs(), targets).backward()
        optimizer.step()

    return step


def torch_lstm_training(hidden):
    """Time first, which is faster than the batch first."""
    import torch

    lstm, head = torch.nn.LSTM(INPUTS, hidden, LAYERS), torch.nn.Linear(hidden, OUTPUTS)
    xs, targets = torch.randn(TIME, BATCH, INPUTS), torch.randn(TIME, BATCH, OUTPUTS)
    parameters = [*lstm.parameters(), *head.parameters()]
    return torch_training(parameters, lambda: head(lstm(xs)[0]), targets)


def torch_mlp_training(_):
    import torch

    network, xs = torch_layers(), torch.randn(ROWS, MLP[0])
    return torch_training(network.parameters(), lambda: network(xs), torch.randn(ROWS, MLP[-1]))


RIVALS = {
    "onnxruntime_python": {"lstm": onnx_lstm, "mlp": onnx_mlp},
    "pytorch": {
        "lstm": torch_lstm,
        "mlp": torch_mlp,
        "lstm_training": torch_lstm_training,
        "mlp_training": torch_mlp_training,
    },
    "pytorch_nn_lstm": {"lstm": torch_nn_lstm},
}


def installed():
    """Those of the rivals that can run; the ONNX models are made where they can be."""
    here = {name: importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "safetensors", "torch")}
    rivals = []
    if here["onnx"] and here["safetensors"]:
        import models

        models.write_models(FOLDER)
        rivals += ["onnxruntime_python"] if here["onnxruntime"] else []
    if here["torch"] and here["safetensors"]:
        import torch

        torch.set_num_threads(1)
        rivals += ["pytorch", "pytorch_nn_lstm"]
    return {name: RIVALS[name] for name in rivals}


def time_of(call):
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) * 1e-3


def burst(step, calls):
    clock = np.median([time_of(lambda: None) for _ in range(101)])
    times = [time_of(step) - clock for _ in range(calls + calls // 10 + 1)]
    return {"times": times[calls // 10 + 1 :]}  # the first ones warm the caches up


def output(step):
    for _ in range(STEPS - 1):
        step()
    return np.asarray(step()).ravel().tolist()


def main():
    rivals = installed()
    print(json.dumps([f"{name}:{task}" for name, tasks in rivals.items() for task in tasks]), flush=True)
    steps = {}
    for line in sys.stdin:
        rival, task, hidden, question = line.split()
        key = (rival, task, hidden)
        if key not in steps or question == "output":
            steps[key] = rivals[rival][task](int(hidden))
        step = steps[key]
        with getattr(step, "mode", contextlib.nullcontext)():
            answer = output(step) if question == "output" else burst(step, int(question))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
