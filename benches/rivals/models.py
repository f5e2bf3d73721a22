"""The networks that the benchmarks compare, as ONNX models of the weights of ours.

A folder holds weights as benches/inference.rs has written them: lstm32.safetensors and the like, with PyTorch's names and
gates (i, f, g, o), and mlp.safetensors. The models are written beside them. An LSTM's inputs are the sample "x" [1, 1, inputs]
and the state "h0", "c0", "h1", "c1" [1, 1, hidden]; its outputs "out" [1, outputs] and then the next state. An MLP's
are "x" and "out" [1, ...]. Hidden layers of an MLP are followed by tanh.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


def write_model(path, nodes, inputs, outputs, weights):
    def info(shapes):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", info(inputs), info(outputs), constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def onnx_gates(weight):
    """ONNX has the gates in the order i, o, f, g. [1, rows, ...]"""
    i, f, g, o = np.split(weight, 4)
    return np.concatenate([i, o, f, g])[None]


def write_lstm(path, tensors):
    nodes, weights, below, layer = [], {}, "x", 0
    inputs = {"x": [1, 1, tensors["lstm.weight_ih_l0"].shape[1]]}
    outputs = {"out": [1, tensors["head.bias"].shape[0]]}
    hidden = tensors["head.weight"].shape[1]
    while f"lstm.weight_ih_l{layer}" in tensors:
        of_gates = lambda kind: onnx_gates(tensors[f"lstm.{kind}_l{layer}"])
        weights |= {f"w{layer}": of_gates("weight_ih"), f"r{layer}": of_gates("weight_hh")}
        weights[f"b{layer}"] = np.concatenate([of_gates("bias_ih"), of_gates("bias_hh")], axis=1)
        for kind in "hc":
            inputs[f"{kind}{layer}"] = outputs[f"{kind}{layer}_next"] = [1, 1, hidden]
        operands = [below, f"w{layer}", f"r{layer}", f"b{layer}", "", f"h{layer}", f"c{layer}"]
        results = ["", f"h{layer}_next", f"c{layer}_next"]
        nodes.append(helper.make_node("LSTM", operands, results, hidden_size=hidden))
        # The last hidden state [directions, batch, hidden] is a sequence of one [time, batch, hidden] for the next layer.
        below = f"h{layer}_next"
        layer += 1
    weights |= {"row": np.array([1, hidden]), "head": tensors["head.weight"], "head_bias": tensors["head.bias"]}
    nodes.append(helper.make_node("Reshape", [below, "row"], ["features"]))
    nodes.append(helper.make_node("Gemm", ["features", "head", "head_bias"], ["out"], transB=1))
    write_model(path, nodes, inputs, outputs, weights)


def write_mlp(path, tensors):
    nodes, below = [], "x"
    count = sum(name.endswith(".weight") for name in tensors)
    for layer in range(count):
        is_last = layer + 1 == count
        affine = "out" if is_last else f"z{layer}"
        operands = [below, f"layers.{layer}.weight", f"layers.{layer}.bias"]
        nodes.append(helper.make_node("Gemm", operands, [affine], transB=1))
        below = f"y{layer}"
        if not is_last:
            nodes.append(helper.make_node("Tanh", [affine], [below]))
    inputs = {"x": [1, tensors["layers.0.weight"].shape[1]]}
    outputs = {"out": [1, tensors[f"layers.{count - 1}.bias"].shape[0]]}
    write_model(path, nodes, inputs, outputs, tensors)


def write_models(folder):
    for path in Path(folder).glob("*.safetensors"):
        write = write_mlp if path.stem == "mlp" else write_lstm
        write(path.with_suffix(".onnx"), load_file(path))
