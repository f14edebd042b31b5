"""Products of matrices, and sums and greatest elements along axes."""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.extend.mlir.dialects import stablehlo

from lob_jax.export.graph.builder import Builder, Value, tensor
from lob_jax.export.graph.elementwise import narrowed, two, widened, wrapped
from lob_jax.export.graph.operations import dtype_of, numbers_of, operation, refused, short_name
from lob_jax.export.graph.shapes import reshaped

REDUCED = {"add": "ReduceSum", "maximum": "ReduceMax", "minimum": "ReduceMin", "multiply": "ReduceProd"}
OF_TRUTHS = {"and": "ReduceMin", "or": "ReduceMax", "minimum": "ReduceMin", "maximum": "ReduceMax"}
LIMITS = {
    **{f"i{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"ui{bits}": (0, (1 << bits) - 1) for bits in (8, 32)},
}
ARGUMENTS = 4  # of the comparison that finds the greatest element and its place


@operation("stablehlo.dot_general")
def dot_general(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    left, right = operands = [widened(graph, operand) for operand in operands]
    axes = stablehlo.DotDimensionNumbers(op.attributes["dot_dimension_numbers"])
    batch = (list(axes.lhs_batching_dimensions), list(axes.rhs_batching_dimensions))
    summed = (list(axes.lhs_contracting_dimensions), list(axes.rhs_contracting_dimensions))
    free = [
        [axis for axis in range(value.rank) if axis not in batch[side] + summed[side]]
        for side, value in enumerate(operands)
    ]
    dims = (*(left.dims[k] for k in batch[0] + free[0]), *(right.dims[k] for k in free[1]))
    if len(summed[0]) == 1 and (len(free[0]) == 1 or not batch[0]) and len(free[1]) == 1:
        columns = arranged(graph, right, batch[1] + summed[1] + free[1])
        name = graph.emit("MatMul", arranged(graph, left, batch[0] + free[0] + summed[0]), columns)
    elif not batch[0] and right.constant is not None and right.is_whole:
        return _product_with_weights(graph, (left, right), summed, free)
    else:
        names = (graph.whole(value) for value in operands)
        name = graph.emit("Einsum", *names, equation=_equation(batch, summed, free))
    dtype = dtype_of(op.results[0])
    return wrapped(graph, tensor(dtype, dims, name if dtype == left.dtype else graph.cast(name, dtype)))


def arranged(graph: Builder, value: Value, order: list[int]) -> str:
    """Return the name of a tensor with the axes in another order; weights are written in that order."""
    if order == list(range(value.rank)):
        return graph.whole(value)
    if value.constant is not None and value.is_whole:
        suffix = "".join(str(axis) for axis in order)
        name = None if value.name is None else f"{value.name}:{suffix}"
        return graph.initializer(np.ascontiguousarray(value.constant.transpose(order)), name)
    return graph.emit("Transpose", graph.whole(value), perm=order)


def _product_with_weights(
    graph: Builder, operands: Sequence[Value], summed: Sequence[list[int]], free: Sequence[list[int]]
) -> Value:
    """Return a product with weights over several axes, as one of matrices, which quantizers recognise."""
    left, right = operands
    assert right.constant is not None
    matrix = right.constant.transpose(summed[1] + free[1])
    inner = int(np.prod([right.constant.shape[k] for k in summed[1]]))
    name = None if right.name is None else f"{right.name}:matrix"
    weights = graph.initializer(np.ascontiguousarray(matrix.reshape(inner, -1)), name)
    rows = tensor(left.dtype, [left.dims[k] for k in free[0] + summed[0]], arranged(graph, left, free[0] + summed[0]))
    flat = reshaped(graph, rows, (*(left.dims[k] for k in free[0]), inner))
    columns = [right.dims[k] for k in free[1]]
    product = tensor(
        left.dtype,
        (*(left.dims[k] for k in free[0]), matrix.reshape(inner, -1).shape[1]),
        graph.emit("MatMul", graph.whole(flat), weights),
    )
    return reshaped(graph, product, (*(left.dims[k] for k in free[0]), *columns))


def _equation(batch: Sequence[list[int]], summed: Sequence[list[int]], free: Sequence[list[int]]) -> str:
    """Return the equation of an Einsum."""
    letters = iter(string.ascii_lowercase)
    names: tuple[dict[int, str], dict[int, str]] = ({}, {})
    for pairs in (batch, summed):
        for one, other in zip(*pairs, strict=True):
            names[0][one] = names[1][other] = next(letters)
    for side in range(2):
        names[side].update({axis: next(letters) for axis in free[side]})
    inputs = ("".join(names[side][axis] for axis in range(len(names[side]))) for side in range(2))
    output = "".join([names[0][k] for k in batch[0]] + [names[0][k] for k in free[0]] + [names[1][k] for k in free[1]])
    return f"{','.join(inputs)}->{output}"


@operation("stablehlo.reduce")
def reduce(graph: Builder, op: Any, operands: Sequence[Value]) -> Value | Sequence[Value]:
    axes = numbers_of(op, "dimensions")
    body = [short_name(inner) for inner in op.regions[0].blocks[0].operations]
    if len(operands) == ARGUMENTS:
        return _place_of_greatest(graph, op, operands[0], axes)
    if len(operands) != 2:
        raise refused(op, "it reduces several values at once")
    value, start = operands
    table = OF_TRUTHS if value.dtype == "i1" else REDUCED
    if len(body) != 2 or body[0] not in table:
        raise refused(op, f"it reduces by {', '.join(body[:-1])}")
    found = _reduced(graph, table[body[0]], value, axes) if axes else value
    if start.constant is not None and is_neutral(body[0], start.constant.item(), value.dtype):
        return found
    start = Value(start.dtype, found.dims, (), graph.name(start))
    return two(graph, body[0], found, start)


def is_neutral(name: str, number: float, dtype: str) -> bool:
    """Return whether a reduction that starts from a number is as one that starts from nothing."""
    if dtype == "i1" or name in ("add", "multiply"):
        return number == (name in ("and", "minimum", "multiply"))
    least, greatest = (-np.inf, np.inf) if dtype[0] in "fb" else LIMITS[dtype]
    return number == (least if name == "maximum" else greatest)


def _reduced(graph: Builder, operator: str, value: Value, axes: list[int]) -> Value:
    """Return a value reduced along some axes."""
    dtype, value = value.dtype, widened(graph, value)
    dims = tuple(size for axis, size in enumerate(value.dims) if axis not in axes)
    repeated = any(value.padded[axis] != value.dims[axis] for axis in axes)
    held = value.dims if repeated else value.padded
    name = graph.whole(value) if repeated else graph.aligned(value)
    if value.dtype == "i1":
        name = graph.cast(name, "i32")
    name = graph.emit(operator, name, graph.integers(*axes), keepdims=0)
    if value.dtype == "i1":
        name = graph.cast(name, "i1")
    found = Value(value.dtype, dims, tuple(size for axis, size in enumerate(held) if axis not in axes), name)
    return narrowed(graph, wrapped(graph, found), dtype)


def _place_of_greatest(graph: Builder, op: Any, value: Value, axes: list[int]) -> Sequence[Value]:
    """Return the greatest or least element and its place, which JAX finds by one reduction over both."""
    compared = [inner for inner in op.regions[0].blocks[0].operations if short_name(inner) == "compare"]
    ways = {way for way in ("GT", "LT") if compared and way in str(compared[0].attributes["comparison_direction"])}
    if len(axes) != 1 or not ways:
        raise refused(op, "it reduces several values at once")
    kind = "Max" if "GT" in ways else "Min"
    dims = tuple(size for axis, size in enumerate(value.dims) if axis != axes[0])
    wide = widened(graph, value)
    whole = graph.whole(wide)
    place = graph.emit(f"Arg{kind}", whole, axis=axes[0], keepdims=0)
    dtype = dtype_of(op.results[1])
    most = tensor(wide.dtype, dims, graph.emit(f"Reduce{kind}", whole, graph.integers(*axes), keepdims=0))
    return (
        narrowed(graph, most, value.dtype),
        tensor(dtype, dims, place if dtype == "i64" else graph.cast(place, dtype)),
    )
