"""Compute what depends on weights alone when a graph is written, not whenever it runs."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from lob_jax.export.graph.builder import as_tensor, with_nodes


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
    folded_in = [as_tensor(array, name) for name, array in arrays.items()]
    return with_nodes(model, after, [*graph.initializer, *folded_in])


def _computed(model: onnx.ModelProto, nodes: list[onnx.NodeProto], wanted: list[str]) -> list[np.ndarray]:
    """Return tensors that nodes compute from initializers."""
    part = with_nodes(model, nodes, model.graph.initializer)
    del part.graph.input[:], part.graph.output[:]
    part.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # warns of initializers that it folds itself
    running = onnxruntime.InferenceSession(part.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    found: Any = running.run(wanted, {})
    return found
