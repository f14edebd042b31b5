"""What depends on weights alone is computed when a graph is written; what it predicts stays the same."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lob_jax.export.decoder import session
from lob_jax.export.graph.fold import folded
from lob_jax.export.graphs import forward_graph, step_graph
from tests.export.bundled_models import lively, small

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
ORDERED = np.array([1, 0], np.int64)


def graph(nodes, outputs, initializers=(("weight", WEIGHT),)):
    """Return a graph of an input x [n, 3] and nodes (operator, inputs, output), with outputs of any shape."""
    made = helper.make_graph(
        [helper.make_node(operator, inputs, [output]) for operator, inputs, output in nodes],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in initializers],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], producer_name="us", ir_version=8)


def run(model):
    """Return what a graph computes of two rows."""
    onnx.checker.check_model(model, full_check=True)
    return session(model.SerializeToString(), threads=1).run(None, {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})


def of_weights_alone(model):
    """Return the nodes that read only initializers."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if stored.issuperset(name for name in node.input if name)]


def stored_names(model):
    return {tensor.name for tensor in model.graph.initializer}


CHAIN = [
    ("Sqrt", ["weight"], "root"),
    ("Add", ["root", "weight"], "sum"),
    ("MatMul", ["x", "sum"], "product"),
    ("Exp", ["root"], "unused"),
    ("Sub", ["product", "other"], "y"),
]
OTHER = (("weight", WEIGHT), ("other", np.ones(4, np.float32)), ("idle", np.ones(9, np.float32)))


def test_a_chain_of_weights_becomes_a_weight():
    model = graph(CHAIN, {"y": ("n", 4)}, OTHER)
    found = folded(model)
    assert [node.op_type for node in found.graph.node] == ["MatMul", "Sub"]
    assert stored_names(found) == {"sum", "other"}
    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in found.graph.initializer}
    np.testing.assert_allclose(kept["sum"], np.sqrt(WEIGHT) + WEIGHT, rtol=1e-6)
    np.testing.assert_allclose(run(found), run(model), rtol=1e-6)
    assert of_weights_alone(model) and not of_weights_alone(found)


def test_an_input_that_is_left_out_is_no_input():
    initializers = (("weight", WEIGHT), ("most", np.array(5, np.float32)))
    nodes = [("Clip", ["weight", "", "most"], "cut"), ("MatMul", ["x", "cut"], "y")]
    found = folded(graph(nodes, {"y": ("n", 4)}, initializers))
    assert [node.op_type for node in found.graph.node] == ["MatMul"]
    assert stored_names(found) == {"cut"}


def test_a_result_of_weights_alone_stays_a_result():
    model = graph([("Exp", ["weight"], "z"), ("MatMul", ["x", "weight"], "y")], {"y": ("n", 4), "z": (3, 4)})
    found = folded(model)
    assert [node.op_type for node in found.graph.node] == ["MatMul"]
    for one, other in zip(run(found), run(model), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_graph_without_such_nodes_stays_as_it_is():
    model = graph([("MatMul", ["x", "weight"], "y")], {"y": ("n", 4)})
    assert folded(model).SerializeToString() == model.SerializeToString()


def test_the_version_and_the_origin_stay():
    found = folded(graph(CHAIN, {"y": ("n", 4)}, OTHER))
    assert (found.ir_version, found.producer_name, found.opset_import[0].version) == (8, "us", 18)


@pytest.mark.parametrize("graph_of", [forward_graph, step_graph])
def test_no_node_of_a_model_reads_weights_alone(graph_of):
    model = small("tiny", pointer=False, queue_state=False, flow_state=False)
    found = graph_of(lively(model), model)
    assert not of_weights_alone(found)
    read = {name for node in found.graph.node for name in node.input}
    assert stored_names(found) <= read
    # The table that the model sums up of the rows of parts, and the output projection, which has digits of its own.
    shapes = [tuple(tensor.dims) for tensor in found.graph.initializer]
    assert (model.vocab_size, model.d_model) in shapes and (model.d_model, model.vocab_size) in shapes
    assert found.graph.input[0].name not in stored_names(found)
