"""Networks of the benchmarks in libraries for Python, as far as they are installed: onnxruntime (with onnx) and torch.

Called by benches/inference.rs and benches/training.rs. The first line of the output is a JSON list of "rival:task"; then
each line of the input, "rival task hidden calls", is answered by a JSON list of the times of so many calls in µs. All
use one thread. Calls go through the library's Python interface, whose own time is part of theirs.
"""

import json
import sys
import time

import numpy as np

INPUTS, OUTPUTS, LAYERS = 21, 280, 2
MLP = [42, 128, 128, 7]
BATCH, TIME, ROWS = 16, 32, 64
GENERATOR = np.random.default_rng(1)


def uniform(*shape):
    """Weights in ±1/√(last dimension)."""
    bound = shape[-1] ** -0.5
    return GENERATOR.uniform(-bound, bound, shape).astype(np.float32)


def onnx_session(nodes, inputs, outputs, weights):
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        nodes,
        "net",
        [info(name, shape) for name, shape in inputs.items()],
        [info(name, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_lstm(hidden):
    from onnx import helper

    nodes, weights, below = [], {}, "x"
    inputs, outputs = {"x": [1, 1, INPUTS]}, {}
    for layer in range(LAYERS):
        name = lambda kind: f"{kind}{layer}"
        width = INPUTS if layer == 0 else hidden
        weights |= {name("w"): uniform(1, 4 * hidden, width), name("r"): uniform(1, 4 * hidden, hidden)}
        weights[name("b")] = uniform(1, 8 * hidden)
        for kind in ["h", "c"]:
            inputs[name(kind)] = outputs[name(kind + "_next")] = [1, 1, hidden]
        operands = [below, name("w"), name("r"), name("b"), "", name("h"), name("c")]
        results = ["", name("h_next"), name("c_next")]
        nodes.append(helper.make_node("LSTM", operands, results, hidden_size=hidden))
        nodes.append(helper.make_node("Reshape", [name("h_next"), "as_sequence"], [name("y")]))
        below = name("y")
    weights["as_sequence"] = np.array([1, 1, hidden], dtype=np.int64)
    weights["as_row"] = np.array([1, hidden], dtype=np.int64)
    weights |= {"head": uniform(hidden, OUTPUTS), "head_bias": uniform(OUTPUTS)}
    nodes.append(helper.make_node("Reshape", [below, "as_row"], ["row"]))
    nodes.append(helper.make_node("Gemm", ["row", "head", "head_bias"], ["out"]))
    outputs["out"] = [1, OUTPUTS]
    session = onnx_session(nodes, inputs, outputs, weights)
    names = ["out"] + [name for name in outputs if name != "out"]
    feed = {name: np.zeros(shape, np.float32) for name, shape in inputs.items()}
    feed["x"][:] = np.sin(np.arange(INPUTS))

    def step():
        results = session.run(names, feed)
        for name, value in zip(names[1:], results[1:]):
            feed[name.replace("_next", "")] = value

    return step


def onnx_mlp(_):
    from onnx import helper

    nodes, weights, below = [], {}, "x"
    for index, (width, units) in enumerate(zip(MLP, MLP[1:])):
        weights |= {f"w{index}": uniform(width, units), f"b{index}": uniform(units)}
        out = "out" if index == 2 else f"z{index}"
        nodes.append(helper.make_node("Gemm", [below, f"w{index}", f"b{index}"], [out]))
        below = f"y{index}"
        if index < 2:
            nodes.append(helper.make_node("Tanh", [out], [below]))
    session = onnx_session(nodes, {"x": [1, MLP[0]]}, {"out": [1, MLP[-1]]}, weights)
    feed = {"x": np.sin(np.arange(MLP[0], dtype=np.float32))[None]}
    return lambda: session.run(["out"], feed)


def torch_lstm(hidden):
    import torch

    cells = [torch.nn.LSTMCell(INPUTS if layer == 0 else hidden, hidden) for layer in range(LAYERS)]
    head, x = torch.nn.Linear(hidden, OUTPUTS), torch.sin(torch.arange(INPUTS, dtype=torch.float32))[None]
    state = [(torch.zeros(1, hidden), torch.zeros(1, hidden))] * LAYERS

    @torch.inference_mode()
    def step():
        below = x
        for layer, cell in enumerate(cells):
            state[layer] = cell(below, state[layer])
            below = state[layer][0]
        return head(below)

    return step


def torch_layers():
    import torch

    widths = zip(MLP, MLP[1:])
    layers = [layer for pair in widths for layer in (torch.nn.Linear(*pair), torch.nn.Tanh())]
    return torch.nn.Sequential(*layers[:-1])


def torch_mlp(_):
    import torch

    network, x = torch_layers(), torch.sin(torch.arange(MLP[0], dtype=torch.float32))[None]

    @torch.inference_mode()
    def step():
        return network(x)

    return step


def torch_training(parameters, outputs, targets):
    import torch

    optimizer = torch.optim.Adam(parameters, lr=1e-3)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(outputs(), targets).backward()
        optimizer.step()

    return step


def torch_lstm_training(hidden):
    import torch

    lstm, head = torch.nn.LSTM(INPUTS, hidden, LAYERS, batch_first=True), torch.nn.Linear(hidden, OUTPUTS)
    xs, targets = torch.randn(BATCH, TIME, INPUTS), torch.randn(BATCH, TIME, OUTPUTS)
    parameters = [*lstm.parameters(), *head.parameters()]
    return torch_training(parameters, lambda: head(lstm(xs)[0]), targets)


def torch_mlp_training(_):
    import torch

    network, xs = torch_layers(), torch.randn(ROWS, MLP[0])
    return torch_training(network.parameters(), lambda: network(xs), torch.randn(ROWS, MLP[-1]))


RIVALS = {
    "onnxruntime_python": {"lstm": onnx_lstm, "mlp": onnx_mlp},
    "torch": {
        "lstm": torch_lstm,
        "mlp": torch_mlp,
        "lstm_training": torch_lstm_training,
        "mlp_training": torch_mlp_training,
    },
}


def is_installed(rival):
    try:
        if rival == "torch":
            import torch

            torch.set_num_threads(1)
        else:
            import onnx
            import onnxruntime
    except ImportError:
        return False
    return True


def main():
    rivals = {name: tasks for name, tasks in RIVALS.items() if is_installed(name)}
    print(json.dumps([f"{name}:{task}" for name, tasks in rivals.items() for task in tasks]), flush=True)
    steps = {}
    for line in sys.stdin:
        rival, task, hidden, calls = line.split()
        key = (rival, task, hidden)
        if key not in steps:
            steps[key] = rivals[rival][task](int(hidden))
        step, times = steps[key], []
        for call in range(int(calls) + 3):
            start = time.perf_counter_ns()
            step()
            if call >= 3:  # the first ones warm the caches up
                times.append((time.perf_counter_ns() - start) * 1e-3)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
