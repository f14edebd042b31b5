"""Smaller weights for graphs: 8-bit and 4-bit integers in place of float32, and what each form costs.

Weights of matrix products become integers with a scale per column, or per block of a column; tables whose rows are
looked up, integers with a scale per row. Activations are rounded to 8 bits while the graph runs, each token's by
itself, so that what is predicted for a sequence does not depend on its batch. Norms, biases, softmax and the cache stay
in float32.
"""

import collections
import dataclasses
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lob_jax.errors import InputError
from lob_jax.export.graph.builder import with_nodes

LEAST_ELEMENTS = 1 << 12  # smaller weights stay as they are
BLOCK = 32  # elements of a column that share a scale
ACCURACY = 4  # of MatMulNBits: products of 8-bit integers, summed in 32 bits
MICROSOFT = "com.microsoft"  # the domain of operators that only ONNX Runtime has
INT8_MOST, INT8_ZERO = 127, 128
LEAST_SCALE = 1e-30  # of a row of zeros


def _float32(graph: onnx.ModelProto) -> onnx.ModelProto:
    return graph


def _by_columns(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph whose products are of 8-bit integers with a scale per column, in operators of the standard.

    Both sides are unsigned, with their zero at 128: signed products overflow 16 bits on CPUs without VNNI.
    """
    rounded: set[str] = set()  # activations that several products read
    return _replaced(graph, {"MatMul": lambda node, weights: _columns_of(node, weights, rounded)})


def _columns_of(
    node: onnx.NodeProto, weights: onnx.TensorProto, rounded: set[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return a product with weights [K, N] by integers, with a scale per column and one per row of the activations."""
    matrix_KN = numpy_helper.to_array(weights)
    most_N = np.abs(matrix_KN).max(0)
    scale_N = np.where(most_N == 0, 1, most_N) / INT8_MOST
    codes, scales = f"{weights.name}:int8", f"{weights.name}:scale8"
    given, output = node.input[0], node.output[0]
    nodes = [] if given in rounded else _rounded_rows(given)
    rounded.add(given)
    nodes += [
        helper.make_node("MatMulInteger", [f"{given}:codes", codes, "int8:zero", "int8:zero"], [f"{output}:sums"]),
        helper.make_node("DequantizeLinear", [f"{output}:sums", scales], [f"{output}:scaled"], axis=-1),
        helper.make_node("Mul", [f"{output}:scaled", f"{given}:most"], [output], name=node.name),
    ]
    arrays = {codes: (np.round(matrix_KN / scale_N) + INT8_ZERO).astype(np.uint8)}
    arrays[scales] = (scale_N / INT8_MOST).astype(np.float32)
    arrays |= {"int8:zero": np.array(INT8_ZERO, np.uint8), "int8:one": np.array(1, np.float32)}
    arrays |= {"int8:most": np.array(INT8_MOST, np.float32), "int8:least": np.array(LEAST_SCALE, np.float32)}
    arrays["int8:last"] = np.array([-1])
    return nodes, [numpy_helper.from_array(array, name) for name, array in arrays.items()]


def _rounded_rows(given: str) -> list[onnx.NodeProto]:
    """Return the nodes that round each row of activations to 8 bits: ":codes", and its greatest magnitude, ":most"."""
    name = f"{given}:".__add__
    return [
        helper.make_node("Abs", [given], [name("abs")]),
        helper.make_node("ReduceMax", [name("abs"), "int8:last"], [name("greatest")], keepdims=1),
        helper.make_node("Max", [name("greatest"), "int8:least"], [name("most")]),
        helper.make_node("Div", ["int8:most", name("most")], [name("factor")]),
        helper.make_node("Mul", [given, name("factor")], [name("steps")]),
        helper.make_node("QuantizeLinear", [name("steps"), "int8:one", "int8:zero"], [name("codes")]),
    ]


def _by_blocks(bits: int) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    """Return the quantization of products to integers of some bits with a scale per block, for ONNX Runtime."""

    def quantize(graph: onnx.ModelProto) -> onnx.ModelProto:
        made = _replaced(graph, {"MatMul": lambda node, weights: _blocks_of(node, weights, bits)})
        return _with_biases(made)

    return quantize


def _with_biases(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph whose products by blocks add the bias that is added to them next, where it is a vector."""
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    readers = collections.Counter(name for node in graph.graph.node for name in node.input)
    products = {node.output[0]: node for node in graph.graph.node if node.op_type == "MatMulNBits"}
    nodes = []
    for node in graph.graph.node:
        product = next((products[name] for name in node.input if name in products), None)
        bias = next((weights[name] for name in node.input if name in weights), None)
        alone = product is not None and readers[product.output[0]] == 1
        if node.op_type == "Add" and product is not None and alone and bias is not None and _is_vector(bias):
            vector = f"{bias.name}:vector"
            product.input.extend(["", "", vector])
            product.output[0] = node.output[0]
            weights[vector] = numpy_helper.from_array(numpy_helper.to_array(bias).reshape(-1), vector)
        else:
            nodes.append(node)
    return with_nodes(graph, nodes, weights.values())


def _is_vector(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and int(np.prod(tensor.dims[:-1])) == 1 < tensor.dims[-1]


@dataclasses.dataclass(frozen=True)
class Precision:
    """A form of the weights.

    Attributes:
      products: quantizes the weights of matrix products.
      tables: whether rows that are looked up are integers, too.
    """

    products: Callable[[onnx.ModelProto], onnx.ModelProto]
    tables: bool


PRECISIONS = {
    "float32": Precision(_float32, tables=False),
    "int8": Precision(_by_columns, tables=True),
    "int8_blocks": Precision(_by_blocks(8), tables=True),
    "int4": Precision(_by_blocks(4), tables=True),
}


def quantized(graph: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """Return a graph with weights in another precision, one of PRECISIONS.

    Raises:
      InputError: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise InputError(
            "there is no such precision",
            where="precision",
            expected=" | ".join(PRECISIONS),
            was=repr(precision),
            remedy="choose one of these",
        )
    form = PRECISIONS[precision]
    props = {each.key: each.value for each in graph.metadata_props}
    made = form.products(graph)
    made = _replaced(made, {"Gather": _rows_of}) if form.tables else made
    helper.set_model_props(made, props)
    return made


Replacement = Callable[[onnx.NodeProto, onnx.TensorProto], tuple[list[onnx.NodeProto], list[onnx.TensorProto]] | None]


def _replaced(graph: onnx.ModelProto, replacements: dict[str, Replacement]) -> onnx.ModelProto:
    """Return a graph in which some nodes that read large weights are replaced.

    Args:
      graph: the graph.
      replacements: by type of node, (node, its weights) -> the nodes and weights in its place; None to leave it.
    """
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    nodes, added = [], {}
    for node in graph.graph.node:
        found = _replacement(node, weights, replacements)
        if found is None:
            nodes.append(node)
        else:
            nodes.extend(found[0])
            added.update({tensor.name: tensor for tensor in found[1]})
    return with_nodes(graph, nodes, (weights | added).values())


def _replacement(
    node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], replacements: dict[str, Replacement]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]] | None:
    place = {"MatMul": 1, "Gather": 0}.get(node.op_type)
    if node.op_type not in replacements or place is None or node.input[place] not in weights:
        return None
    tensor = weights[node.input[place]]
    is_matrix = len(tensor.dims) == 2 and tensor.data_type == TensorProto.FLOAT
    return replacements[node.op_type](node, tensor) if is_matrix and np.prod(tensor.dims) >= LEAST_ELEMENTS else None


def _blocks_of(
    node: onnx.NodeProto, weights: onnx.TensorProto, bits: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return a product with weights [K, N] by integers, with a scale per block of a column.

    The element of a block that is furthest from 0 is exact: it becomes -2^(bits - 1), which has no counterpart.
    """
    matrix_KN = numpy_helper.to_array(weights)
    K, N = matrix_KN.shape
    block_NGE = np.pad(matrix_KN, ((0, -K % BLOCK), (0, 0))).T.reshape(N, -1, BLOCK)
    furthest_NG1 = np.take_along_axis(block_NGE, np.abs(block_NGE).argmax(-1)[..., None], axis=-1)
    half = 1 << (bits - 1)
    scale_NG1 = furthest_NG1 / -half
    code_NGE = np.round(block_NGE / np.where(scale_NG1 == 0, 1, scale_NG1)) + half
    code_NGE = np.clip(code_NGE, 0, 2 * half - 1).astype(np.uint8)
    if bits == 4:
        code_NGE = code_NGE[..., 0::2] | (code_NGE[..., 1::2] << 4)
    names = [f"{weights.name}:{kind}" for kind in (f"int{bits}", f"scale{bits}")]
    made = helper.make_node(
        "MatMulNBits",
        [node.input[0], *names],
        node.output,
        name=node.name,
        domain=MICROSOFT,
        K=K,
        N=N,
        bits=bits,
        block_size=BLOCK,
        accuracy_level=ACCURACY,
    )
    arrays = (code_NGE, scale_NG1[..., 0].astype(np.float32))
    return [made], [numpy_helper.from_array(array, name) for array, name in zip(arrays, names, strict=True)]


def _rows_of(
    node: onnx.NodeProto, weights: onnx.TensorProto
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]] | None:
    """Return a lookup of rows that are 8-bit integers with a scale each."""
    axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
    if axis != 0:
        return None
    table_RD = numpy_helper.to_array(weights)
    scale_R1 = np.abs(table_RD).max(-1, keepdims=True) / INT8_MOST
    code_RD = np.round(table_RD / np.where(scale_R1 == 0, 1, scale_R1)).astype(np.int8)
    codes, scales = f"{weights.name}:rows", f"{weights.name}:row_scales"
    at, output = node.input[1], node.output[0]
    nodes = [
        helper.make_node("Gather", [codes, at], [f"{output}:codes"], axis=0),
        helper.make_node("Cast", [f"{output}:codes"], [f"{output}:wide"], to=TensorProto.FLOAT),
        helper.make_node("Gather", [scales, at], [f"{output}:scales"], axis=0),
        helper.make_node("Mul", [f"{output}:wide", f"{output}:scales"], [output], name=node.name),
    ]
    arrays = {codes: code_RD, scales: scale_R1.astype(np.float32)}
    return nodes, [numpy_helper.from_array(array, name) for name, array in arrays.items()]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a graph costs, counted from its nodes and weights.

    Attributes:
      file_bytes: size of its file.
      weight_bytes: bytes of weights that each token reads: those of matrix products.
      float_products: multiplications of float32 numbers with weights, per token.
      integer_products: multiplications of integers with weights, per token.
    """

    file_bytes: int
    weight_bytes: int
    float_products: int
    integer_products: int


def cost(graph: onnx.ModelProto) -> Cost:
    """Return what a graph costs."""
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    bytes_read, products = 0, {"float": 0, "integer": 0}
    for node in graph.graph.node:
        held = [weights[name] for name in node.input if name in weights]
        if node.op_type == "MatMulNBits":
            sizes = {each.name: each.i for each in node.attribute}
            products["integer"] += sizes["K"] * sizes["N"]
        elif node.op_type in ("MatMul", "MatMulInteger") and held:
            products["float" if node.op_type == "MatMul" else "integer"] += int(np.prod(held[0].dims))
        else:
            continue
        bytes_read += sum(len(tensor.raw_data) for tensor in held)
    return Cost(graph.ByteSize(), bytes_read, products["float"], products["integer"])
