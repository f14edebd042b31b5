"""Weights in 8 and 4 bits: how far products and rows are from those of float32, and what is counted."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lob_jax.errors import InputError
from lob_jax.export.config import PRECISIONS as NAMES
from lob_jax.export.quantize import BLOCK, MICROSOFT, PRECISIONS, cost, quantized

INTEGERS = tuple(name for name in PRECISIONS if name != "float32")


def product(weights_KN, *, bias_N=None, reads=("x",)):
    """Return a graph of x W + b, or of x W alone."""
    K, N = weights_KN.shape
    nodes, initializers = [helper.make_node("MatMul", ["x", "W"], ["product"])], {"W": weights_KN}
    output = "product"
    if bias_N is not None:
        nodes.append(helper.make_node("Add", ["product", "b"], ["y"]))
        initializers["b"], output = bias_N, "y"
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [info("x", TensorProto.FLOAT, ["rows", K])],
        [info(output, TensorProto.FLOAT, ["rows", N])],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"lob_jax.step": "7"})
    return model


def lookup(table_RD):
    nodes = [helper.make_node("Gather", ["table", "at"], ["y"], axis=0)]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [info("at", TensorProto.INT32, ["B", "T"])],
        [info("y", TensorProto.FLOAT, ["B", "T", table_RD.shape[1]])],
        [numpy_helper.from_array(table_RD, "table")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(model, **inputs):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, inputs
    )[0]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_the_precisions_are_those_that_a_configuration_may_name():
    assert tuple(PRECISIONS) == NAMES


@pytest.mark.parametrize(("precision", "error"), [("int8", 0.02), ("int8_blocks", 0.02), ("int4", 0.15)])
def test_products_are_close_to_those_of_float32(precision, error):
    x, weights = normal(5, 96), normal(96, 200, seed=1)
    found = run(quantized(product(weights), precision), x=x)
    expected = x @ weights
    assert np.abs(found - expected).std() < error * expected.std()
    assert not np.array_equal(found, expected)


@pytest.mark.parametrize("precision", ["int8_blocks", "int4"])
@pytest.mark.parametrize("K", [64, 72])  # a multiple of the block, and not
def test_a_bias_is_added_inside_the_product(precision, K):
    weights, bias, x = normal(K, 200), 100 * normal(200, seed=1), normal(3, K, seed=2)
    made = quantized(product(weights, bias_N=bias), precision)
    assert [node.op_type for node in made.graph.node] == ["MatMulNBits"]
    found = run(made, x=x) - run(quantized(product(weights), precision), x=x)
    np.testing.assert_allclose(found, np.broadcast_to(bias, found.shape), rtol=1e-4, atol=1e-4)


def test_a_product_that_is_read_twice_keeps_its_sum_apart():
    model = product(normal(64, 200), bias_N=normal(200, seed=1))
    model.graph.node.append(helper.make_node("Relu", ["product"], ["other"]))
    model.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["rows", 200]))
    made = quantized(model, "int8_blocks")
    assert sorted(node.op_type for node in made.graph.node) == ["Add", "MatMulNBits", "Relu"]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([4, 8]), st.floats(1e-6, 1e6))
def test_a_weight_is_within_half_a_step_of_its_code(seed, bits, scale):
    """The step of a block is its furthest weight / 2^(bits - 1); a weight at the other end may be a whole step off."""
    weights = np.float32(scale) * normal(2 * BLOCK, 64, seed=seed)
    made = quantized(product(weights), "int8_blocks" if bits == 8 else "int4")
    (node,) = made.graph.node
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    code, step = arrays[node.input[1]], arrays[node.input[2]]
    if bits == 4:
        code = np.stack([code & 15, code >> 4], axis=-1).reshape(*code.shape[:-1], -1)
    held = ((code.astype(np.float32) - (1 << (bits - 1))) * step[..., None]).reshape(64, -1).T
    off = np.abs(held - weights).T.reshape(64, -1, BLOCK)
    np.testing.assert_allclose(
        np.abs(step), np.abs(weights.T.reshape(64, -1, BLOCK)).max(-1) / (1 << (bits - 1)), rtol=1e-5
    )
    assert (off <= 1.001 * np.abs(step)[..., None]).all() and (off <= 0.501 * np.abs(step)[..., None]).mean() > 0.9


@pytest.mark.parametrize("precision", INTEGERS)
def test_a_matrix_of_zeros_stays_one(precision):
    assert not run(quantized(product(np.zeros((64, 200), np.float32)), precision), x=normal(2, 64)).any()


@pytest.mark.parametrize("precision", INTEGERS)
def test_rows_are_within_half_a_step_of_their_largest_element(precision):
    table = normal(100, 64) * np.geomspace(1e-3, 1e3, 100, dtype=np.float32)[:, None]
    table[7] = 0
    made = quantized(lookup(table), precision)
    assert made.ByteSize() < 0.4 * lookup(table).ByteSize()
    at = np.arange(100, dtype=np.int32)[None]
    off = np.abs(run(made, at=at)[0] - table)
    assert (off <= 0.501 / 127 * np.abs(table).max(-1, keepdims=True) + 1e-9).all()


@pytest.mark.parametrize("precision", INTEGERS)
def test_small_weights_stay_as_they_are(precision):
    made = quantized(product(normal(8, 8)), precision)
    x = normal(3, 8, seed=1)
    if precision != "int8":  # the library's own quantization has no lower limit
        np.testing.assert_allclose(run(made, x=x), x @ normal(8, 8), rtol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_graph_keeps_what_it_says_of_itself(precision):
    made = quantized(product(normal(64, 200)), precision)
    assert {each.key: each.value for each in made.metadata_props} == {"lob_jax.step": "7"}
    onnx.checker.check_model(made)
    standard = all(each.domain != MICROSOFT for each in made.opset_import)
    assert standard == (precision in ("float32", "int8"))


def test_costs_are_counted_from_nodes_and_weights():
    model = product(normal(64, 200))
    plain, by_columns, by_blocks, in_4_bits = (cost(quantized(model, name)) for name in PRECISIONS)
    assert (plain.weight_bytes, plain.float_products, plain.integer_products) == (4 * 64 * 200, 64 * 200, 0)
    assert (by_columns.float_products, by_columns.integer_products) == (0, 64 * 200)
    assert by_columns.weight_bytes >= 64 * 200 and by_blocks.weight_bytes == 64 * 200 + 4 * 2 * 200
    assert in_4_bits.weight_bytes == 64 * 200 // 2 + 4 * 2 * 200
    assert plain.file_bytes == model.ByteSize()


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError) as refused:
        quantized(product(normal(64, 200)), "int3")
    assert refused.value.where == "precision" and "int8" in str(refused.value.expected)
