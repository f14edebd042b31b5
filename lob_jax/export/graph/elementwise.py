"""Operations that act on each element by itself."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lob_jax.export.graph.builder import STORED, Builder, Dim, Value, constant
from lob_jax.export.graph.operations import dtype_of, operation, short_name

ONE_OPERAND = {
    "exponential": "Exp",
    "log": "Log",
    "tanh": "Tanh",
    "sqrt": "Sqrt",
    "negate": "Neg",
    "abs": "Abs",
    "logistic": "Sigmoid",
    "sine": "Sin",
    "cosine": "Cos",
    "floor": "Floor",
    "ceil": "Ceil",
    "sign": "Sign",
    "erf": "Erf",  # of CHLO
    "round_nearest_even": "Round",
}
TWO_OPERANDS = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "maximum": "Max",
    "minimum": "Min",
    "power": "Pow",
}
OF_TRUTHS = {"and": "And", "or": "Or", "xor": "Xor", "maximum": "Or", "minimum": "And", "add": "Or", "multiply": "And"}
COMPARED = {
    "EQ": "Equal",
    "NE": "Equal",
    "LT": "Less",
    "LE": "LessOrEqual",
    "GT": "Greater",
    "GE": "GreaterOrEqual",
}
TWO_TO_32 = 1 << 32
NEUTRAL = {"add": 0, "multiply": 1}  # which JAX adds and multiplies by where it counts from a start in steps
SMALL = ("i8", "i16")


def together(operands: Sequence[Value]) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
    """Return the shape of a result, and that of the tensor that ONNX's broadcasting computes it in."""
    dims = tuple(_common(axis) for axis in zip(*(value.dims for value in operands), strict=True))
    rank = max(len(value.held) for value in operands)
    rows = [(1,) * (rank - len(value.held)) + value.held for value in operands]
    return dims, tuple(_common(axis) for axis in zip(*rows, strict=True))


def _common(sizes: Sequence[Dim]) -> Dim:
    """Return the size that sizes of 1 are broadcast to; a number rather than the name of the same size."""
    others = [size for size in sizes if size != 1]
    return next((size for size in others if isinstance(size, int)), others[0] if others else 1)


def elementwise(graph: Builder, operator: str, *operands: Value, dtype: str, **attributes: Any) -> Value:
    """Return the value of one node that acts on each element."""
    dims, held = together(operands)
    names = (graph.name(value) for value in operands)
    return Value(dtype, dims, held, graph.emit(operator, *names, **attributes))


def number(value: float, like: Value) -> Value:
    """Return a scalar that is broadcast to the shape of another value."""
    return Value(like.dtype, like.dims, (), constant=np.array(value, STORED[like.dtype][0]))


def wrapped(graph: Builder, value: Value) -> Value:
    """Return the remainder by 2^32 of unsigned 32-bit integers, as they wrap around; other values as they are."""
    return elementwise(graph, "Mod", value, number(TWO_TO_32, value), dtype="ui32") if value.dtype == "ui32" else value


def widened(graph: Builder, value: Value) -> Value:
    """Return small integers as int32; ONNX Runtime selects, pads and compares only those."""
    if value.dtype not in SMALL:
        return value
    return Value("i32", value.dims, value.held, graph.cast(graph.name(value), "i32"))


def narrowed(graph: Builder, value: Value, dtype: str) -> Value:
    """Return a value as `dtype` again, see `widened`."""
    if dtype == value.dtype:
        return value
    return Value(dtype, value.dims, value.held, graph.cast(graph.name(value), dtype))


@operation(*(f"{'chlo' if name == 'erf' else 'stablehlo'}.{name}" for name in ONE_OPERAND))
def one_operand(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    return wrapped(graph, elementwise(graph, ONE_OPERAND[short_name(op)], *operands, dtype=operands[0].dtype))


@operation(*(f"stablehlo.{name}" for name in TWO_OPERANDS))
def two_operands(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    return two(graph, short_name(op), *operands)


def two(graph: Builder, name: str, one: Value, other: Value) -> Value:
    """Return the result of an operation of two operands, by its name."""
    if one.dtype == "i1":
        return elementwise(graph, OF_TRUTHS[name], one, other, dtype="i1")
    numbers = _of_numbers(graph, name, one, other)
    if numbers is not None:
        return Value(one.dtype, one.dims, one.dims, numbers=numbers)
    if name in NEUTRAL and any(_is_scalar(value, NEUTRAL[name]) for value in (one, other)):
        kept = other if _is_scalar(one, NEUTRAL[name]) else one
        dims, _ = together((one, other))
        return dataclasses.replace(kept, dims=dims)
    wide = (widened(graph, one), widened(graph, other))
    found = elementwise(graph, TWO_OPERANDS[name], *wide, dtype=wide[0].dtype)
    return narrowed(graph, wrapped(graph, found), one.dtype)


def _is_scalar(value: Value, number: int) -> bool:
    """Return whether a value is one number, everywhere."""
    return value.name is None and value.constant is not None and value.constant.size == 1 and value.constant == number


def _of_numbers(graph: Builder, name: str, one: Value, other: Value) -> tuple[Dim, ...] | None:
    """Return a result as sizes, if its operands are known as sizes."""
    if one.numbers is None or other.numbers is None or len(one.numbers) != len(other.numbers):
        return None
    pairs = list(zip(one.numbers, other.numbers, strict=True))
    if name in ("add", "subtract"):
        return tuple(graph.plus(a, b, 1 if name == "add" else -1) for a, b in pairs)
    if name == "multiply":
        return tuple(graph.times(a, b) for a, b in pairs)
    if name in ("maximum", "minimum"):
        return tuple(graph.bound(a, b, greatest=name == "maximum") for a, b in pairs)
    return None


@operation("stablehlo.and", "stablehlo.or", "stablehlo.xor")
def of_truths(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    name, dtype = OF_TRUTHS[short_name(op)], operands[0].dtype
    return elementwise(graph, name if dtype == "i1" else f"Bitwise{name}", *operands, dtype=dtype)


@operation("stablehlo.not")
def negation(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    (value,), dtype = operands, operands[0].dtype
    if dtype == "ui32":
        return elementwise(graph, "Sub", number(TWO_TO_32 - 1, value), value, dtype=dtype)
    return elementwise(graph, "Not" if dtype == "i1" else "BitwiseNot", value, dtype=dtype)


@operation("stablehlo.rsqrt")
def reciprocal_root(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    root = elementwise(graph, "Sqrt", *operands, dtype=operands[0].dtype)
    return elementwise(graph, "Reciprocal", root, dtype=root.dtype)


@operation("stablehlo.exponential_minus_one")
def exponential_minus_one(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    # ONNX has no operator for it: as exact as numbers near 1 are, not as those near 0.
    power = elementwise(graph, "Exp", *operands, dtype=operands[0].dtype)
    return elementwise(graph, "Sub", power, number(1, power), dtype=power.dtype)


@operation("stablehlo.log_plus_one")
def log_plus_one(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    more = elementwise(graph, "Add", operands[0], number(1, operands[0]), dtype=operands[0].dtype)
    return elementwise(graph, "Log", more, dtype=more.dtype)


@operation("stablehlo.remainder")
def remainder(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    one, other = (widened(graph, operand) for operand in operands)
    found = elementwise(graph, "Mod", one, other, dtype=one.dtype, fmod=1)  # the sign of the dividend
    return narrowed(graph, found, operands[0].dtype)


@operation("stablehlo.compare")
def compare(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    direction = re.findall(r"[A-Z]{2}", str(op.attributes["comparison_direction"]))[-1]
    one, other = operands
    if one.dtype == "i1":
        return _compared_truths(graph, direction, one, other)
    one, other = widened(graph, one), widened(graph, other)
    found = elementwise(graph, COMPARED[direction], one, other, dtype="i1")
    return elementwise(graph, "Not", found, dtype="i1") if direction == "NE" else found


def _compared_truths(graph: Builder, direction: str, one: Value, other: Value) -> Value:
    """Return a comparison of truths, where true is the greater."""
    if direction in ("EQ", "NE"):
        differ = elementwise(graph, "Xor", one, other, dtype="i1")
        return differ if direction == "NE" else elementwise(graph, "Not", differ, dtype="i1")
    if direction in ("GT", "GE"):
        direction, one, other = direction.replace("G", "L"), other, one
    return elementwise(
        graph, "And" if direction == "LT" else "Or", elementwise(graph, "Not", one, dtype="i1"), other, dtype="i1"
    )


@operation("stablehlo.select")
def select(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    truth, one, other = operands
    if not truth.rank:
        truth = Value("i1", one.dims, truth.held, truth.name, truth.constant)
    if one.dtype != "i1":
        wide = (widened(graph, one), widened(graph, other))
        return narrowed(graph, elementwise(graph, "Where", truth, *wide, dtype=wide[0].dtype), one.dtype)
    yes = elementwise(graph, "And", truth, one, dtype="i1")  # ONNX Runtime selects no truths
    no = elementwise(graph, "And", elementwise(graph, "Not", truth, dtype="i1"), other, dtype="i1")
    return elementwise(graph, "Or", yes, no, dtype="i1")


@operation("stablehlo.clamp")
def clamp(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    spread = (operand if operand.rank else _spread(operand, operands[1]) for operand in operands)
    least, value, most = (widened(graph, operand) for operand in spread)
    raised = elementwise(graph, "Max", value, least, dtype=value.dtype)
    return narrowed(graph, elementwise(graph, "Min", raised, most, dtype=value.dtype), operands[1].dtype)


def _spread(scalar: Value, like: Value) -> Value:
    """Return a scalar that is broadcast to the shape of another value."""
    if not like.rank:
        return scalar
    return Value(scalar.dtype, like.dims, scalar.held, scalar.name, scalar.constant)


@operation("stablehlo.is_finite")
def is_finite(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    infinite = elementwise(graph, "IsInf", *operands, dtype="i1")
    nothing = elementwise(graph, "IsNaN", *operands, dtype="i1")
    return elementwise(graph, "Not", elementwise(graph, "Or", infinite, nothing, dtype="i1"), dtype="i1")


@operation("stablehlo.convert")
def convert(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    (value,), dtype = operands, dtype_of(op.results[0])
    if dtype == value.dtype:
        return value
    if value.constant is not None and value.name is None:
        array = value.constant.astype(STORED[dtype][0])
        array = array % TWO_TO_32 if dtype == "ui32" else array
        numbers = constant(array, dtype).numbers if value.is_whole else None
        return Value(dtype, value.dims, value.held, constant=array, numbers=numbers)
    if value.numbers is not None and dtype in ("i32", "i64"):
        return Value(dtype, value.dims, value.held, numbers=value.numbers)
    if dtype == "ui32" and value.dtype in ("i8", "i16", "i32", "i64"):
        return wrapped(graph, Value("ui32", value.dims, value.held, graph.cast(graph.name(value), "i64")))
    return Value(dtype, value.dims, value.held, graph.cast(graph.name(value), dtype))
