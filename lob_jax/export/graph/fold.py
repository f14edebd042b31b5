"""Compute what depends on weights alone when a graph is written, not whenever it runs."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from lob_jax.export.graph.builder import as_tensor, needed_nodes


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph in which every tensor that depends on initializers alone is an initializer.

    Tables that the model sums up of parts, matrices that it multiplies, and weights in another layout are then weights
    themselves, which quantizers recognise.
    """
    graph = model.graph
    constant = {tensor.name for tensor in graph.initializer}
    before, after = [], []
    for node in graph.node:
        if node.input and constant.issuperset(name for name in node.input if name):
            before.append(node)
            constant.update(node.output)
        else:
            after.append(node)
    made = {name for node in before for name in node.output}
    read = {name for node in after for name in node.input} | {output.name for output in graph.output}
    wanted = sorted(made & read)
    if not wanted:
        return model
    arrays = dict(zip(wanted, _computed(model, before, wanted), strict=True))
    _, needed = needed_nodes(after, [output.name for output in graph.output])
    kept = [tensor for tensor in graph.initializer if tensor.name in needed]
    kept += [as_tensor(array, name) for name, array in arrays.items() if name in needed]
    return _with(model, after, list(graph.input), list(graph.output), kept)


def _computed(model: onnx.ModelProto, nodes: list[onnx.NodeProto], wanted: list[str]) -> list[np.ndarray]:
    """Return tensors that nodes compute from initializers."""
    _, needed = needed_nodes(nodes, wanted)
    initializers = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # warns of initializers that it folds itself
    part = _with(model, nodes, [], outputs, initializers).SerializeToString()
    found: Any = onnxruntime.InferenceSession(part, settings, providers=["CPUExecutionProvider"]).run(wanted, {})
    return found


def _with(
    model: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto],
) -> onnx.ModelProto:
    """Return a graph with the version and the origin of another."""
    graph = helper.make_graph(nodes, model.graph.name, inputs, outputs, initializers)
    return helper.make_model(
        graph, opset_imports=model.opset_import, producer_name=model.producer_name, ir_version=model.ir_version
    )
