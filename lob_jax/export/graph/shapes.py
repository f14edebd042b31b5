"""Operations that arrange elements: broadcasts, reshapes, transpositions, slices, concatenations, counting."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.extend.mlir import ir

from lob_jax.export.graph.builder import STORED, Builder, Dim, Value, constant, tensor
from lob_jax.export.graph.elementwise import SMALL, narrowed, widened
from lob_jax.export.graph.operations import dtype_of, number_of, numbers_of, operation, refused, static_dims


def result_dims(op: Any, numbers: Sequence[Dim] | None) -> tuple[Dim, ...]:
    """Return the shape of an operation's result: what its type says, else what an operand says.

    Raises:
      InputError: neither says it.
    """
    dims: list[Dim] = []
    for axis, size in enumerate(static_dims(op.results[0])):
        if size is None and numbers is None:
            raise refused(op, "the shape of its result is computed from data")
        dims.append(numbers[axis] if size is None and numbers is not None else size or 0)
    return tuple(dims)


@operation("stablehlo.constant")
def constant_value(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    dtype, dims = dtype_of(op.results[0]), known_dims(op)
    elements = ir.DenseElementsAttr(op.attributes["value"])
    if elements.is_splat:
        one = _splat(elements, dtype)
        is_shape = len(dims) <= 1 and one.dtype.kind == "i"
        return constant(np.full(dims, one), dtype) if is_shape else Value(dtype, dims, (), constant=one)
    if dtype == "bf16":
        raise refused(op, "bfloat16 constants are not read")
    array = [bool(bit) for bit in ir.DenseIntElementsAttr(elements)] if dtype == "i1" else elements
    return constant(np.array(array).reshape(dims), dtype)


def _splat(elements: Any, dtype: str) -> np.ndarray:
    """Return the one number that all elements of a constant are."""
    splat = elements.get_splat_value()
    if dtype == "i1":
        return np.array(ir.BoolAttr(splat).value)
    read = ir.FloatAttr if dtype[0] in "fb" else ir.IntegerAttr
    return np.array(read(splat).value).astype(STORED[dtype][0])


def known_dims(op: Any) -> tuple[int, ...]:
    """Return the shape of an operation's result, which its type says."""
    static = static_dims(op.results[0])
    return tuple(size for size in static if size is not None)


@operation("stablehlo.broadcast_in_dim", "stablehlo.dynamic_broadcast_in_dim")
def broadcast_in_dim(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    value = operands[0]
    dims = result_dims(op, operands[1].numbers if len(operands) > 1 else None)
    axes = numbers_of(op, "broadcast_dimensions")
    if value.numbers is not None and value.name is None and not value.rank and dims == (1,):
        return Value(value.dtype, dims, dims, constant=_reshaped(value.constant, dims), numbers=value.numbers)
    if not axes:
        return Value(value.dtype, dims, (), graph.name(value), value.constant)
    if axes == list(range(len(dims) - value.rank, len(dims))):
        return Value(value.dtype, dims, value.held, value.name, value.constant)
    placed = dict(zip(axes, value.padded, strict=True))
    first = axes[0]
    held = tuple(placed.get(axis, 1) for axis in range(first, len(dims)))
    if value.constant is not None and value.name is None:
        return Value(value.dtype, dims, held, constant=_reshaped(value.constant, held))
    missing = [axis - first for axis in range(first, len(dims)) if axis not in placed]
    name = graph.aligned(value)
    return Value(value.dtype, dims, held, graph.emit("Unsqueeze", name, graph.integers(*missing)) if missing else name)


@operation("stablehlo.reshape", "stablehlo.dynamic_reshape")
def reshape(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    value = operands[0]
    dims = result_dims(op, operands[1].numbers if len(operands) > 1 else None)
    if value.numbers is not None and len(dims) <= 1:
        return Value(value.dtype, dims, dims, constant=_reshaped(value.constant, dims), numbers=value.numbers)
    if value.constant is not None and value.name is None:
        if not value.held:
            return Value(value.dtype, dims, (), constant=value.constant)
        if value.is_whole:
            return constant(value.constant.reshape([int(size) for size in dims]), value.dtype)
    if dims[len(dims) - value.rank :] == value.dims and all(size == 1 for size in dims[: len(dims) - value.rank]):
        name = graph.name(value) if value.constant is None else value.name
        return Value(value.dtype, dims, value.held, name, value.constant)
    return reshaped(graph, value, dims)


def reshaped(graph: Builder, value: Value, dims: tuple[Dim, ...]) -> Value:
    """Return a value with the same elements in another shape."""
    return tensor(value.dtype, dims, _reshape(graph, value, dims))


def _reshaped(array: np.ndarray | None, dims: Sequence[Dim]) -> np.ndarray | None:
    return None if array is None else array.reshape([int(size) for size in dims])


def _reshape(graph: Builder, value: Value, dims: tuple[Dim, ...]) -> str:
    """Return the name of a tensor of another shape; by Unsqueeze or Squeeze if only axes of size 1 come or go."""
    new = [axis for axis, size in enumerate(dims) if size == 1]
    if tuple(size for size in dims if size != 1) == value.dims and value.is_whole:
        return graph.emit("Unsqueeze", graph.name(value), graph.integers(*new)) if new else graph.name(value)
    gone = [axis for axis, size in enumerate(value.dims) if size == 1]
    if tuple(size for size in value.dims if size != 1) == dims and value.is_whole:
        return graph.emit("Squeeze", graph.name(value), graph.integers(*gone))
    entries: list[Dim | None] = []  # 0 keeps the size of the same axis, None is what is left
    for axis, size in enumerate(dims):
        same = axis < value.rank and value.dims[axis] == size
        entries.append(size if isinstance(size, int) else 0 if same else None)
    unknown = [axis for axis, entry in enumerate(entries) if entry is None]
    if len(unknown) > 1:
        parts = [-1 if axis == unknown[0] else dims[axis] for axis in range(len(dims))]
        shape = graph.shape(parts)
    else:
        shape = graph.integers(*(-1 if entry is None else int(entry) for entry in entries))
    return graph.emit("Reshape", graph.whole(value), shape)


@operation("stablehlo.transpose")
def transpose(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    (value,), order = operands, numbers_of(op, "permutation")
    dims, held = (tuple(row[axis] for axis in order) for row in (value.dims, value.padded))
    if value.constant is not None and value.name is None:
        array = value.constant.reshape([int(size) for size in value.padded]).transpose(order)
        return Value(value.dtype, dims, held, constant=np.ascontiguousarray(array))
    return Value(value.dtype, dims, held, graph.emit("Transpose", graph.aligned(value), perm=order))


@operation("stablehlo.concatenate")
def concatenate(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    axis = number_of(op, "dimension")
    if all(value.numbers is not None and value.rank == 1 for value in operands):
        numbers = tuple(number for value in operands for number in value.numbers or ())
        return Value(operands[0].dtype, (len(numbers),), (len(numbers),), numbers=numbers)
    size: Dim = 0
    for value in operands:
        size = graph.plus(size, value.dims[axis])
    along = zip(*(value.dims for value in operands), strict=True)
    dims = tuple(size if k == axis else _known(sizes) for k, sizes in enumerate(along))
    names = (graph.whole(value) for value in operands)
    return tensor(operands[0].dtype, dims, graph.emit("Concat", *names, axis=axis))


def _known(sizes: Sequence[Dim]) -> Dim:
    return next((size for size in sizes if isinstance(size, int)), sizes[0])


@operation("stablehlo.slice")
def static_slice(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    (value,) = operands
    starts, ends, steps = (numbers_of(op, name) for name in ("start_indices", "limit_indices", "strides"))
    dims = tuple(-(-(end - start) // step) for start, end, step in zip(starts, ends, steps, strict=True))
    cut = [axis for axis, size in enumerate(value.dims) if size != dims[axis] or steps[axis] != 1]
    if value.numbers is not None and value.rank == 1:
        numbers = value.numbers[starts[0] : ends[0] : steps[0]]
        return Value(value.dtype, dims, dims, constant=None, numbers=numbers)
    if not cut:
        return value
    rows = ([row[axis] for axis in cut] for row in (starts, ends))
    name = graph.emit(
        "Slice",
        graph.whole(value),
        *(graph.integers(*row) for row in rows),
        graph.integers(*cut),
        graph.integers(*(steps[axis] for axis in cut)),
    )
    return tensor(value.dtype, dims, name)


@operation("stablehlo.real_dynamic_slice")
def real_dynamic_slice(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    value, starts, ends, steps = operands
    if steps.numbers is None or any(step != 1 for step in steps.numbers):
        raise refused(op, "its strides are not 1")
    if starts.numbers is None or ends.numbers is None:
        return _slice_between(graph, op, value, starts, ends)
    spans = zip(starts.numbers, ends.numbers, strict=True)
    dims = result_dims(op, [graph.plus(end, start, -1) for start, end in spans])
    return sliced(graph, value, dict(enumerate(starts.numbers)), dims)


def _slice_between(graph: Builder, op: Any, value: Value, starts: Value, ends: Value) -> Value:
    """Return a slice whose bounds are computed from data; they are within the value."""
    first, end = graph.whole(starts), graph.whole(ends)
    spans = graph.cast(graph.emit("Sub", end, first), "i64")

    def span(axis: int) -> Dim:
        ends = graph.integers(axis), graph.integers(axis + 1)
        return graph.computed_size(graph.emit("Slice", spans, *ends, graph.integers(0)))

    dims = [span(axis) if size is None else size for axis, size in enumerate(static_dims(op.results[0]))]
    return tensor(value.dtype, dims, graph.emit("Slice", graph.whole(value), first, end))


def sliced(graph: Builder, value: Value, starts: Mapping[int, Dim], dims: tuple[Dim, ...]) -> Value:
    """Return the part of a value that begins at known places of some axes and has a given shape."""
    cut = [axis for axis in sorted(starts) if dims[axis] != value.dims[axis] or starts[axis] != 0]
    if not cut:
        return value
    firsts = graph.shape([starts[axis] for axis in cut])
    ends = graph.shape([graph.plus(starts[axis], dims[axis]) for axis in cut])
    name = graph.emit("Slice", graph.whole(value), firsts, ends, graph.integers(*cut))
    return tensor(value.dtype, dims, name)


@operation("stablehlo.pad")
def pad(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    value, filler = operands
    low, high, inside = (numbers_of(op, f"{name}_padding{end}") for name, end in PADDINGS)
    if any(inside) or min(low + high) < 0:
        raise refused(op, "it pads between elements, or cuts them off")
    dims = tuple(graph.plus(size, before + after) for size, before, after in zip(value.dims, low, high, strict=True))
    wide = (graph.whole(widened(graph, value)), graph.integers(*low, *high), graph.name(widened(graph, filler)))
    padded = tensor("i32" if value.dtype in SMALL else value.dtype, dims, graph.emit("Pad", *wide))
    return narrowed(graph, padded, value.dtype)


PADDINGS = (("edge", "_low"), ("edge", "_high"), ("interior", ""))


@operation("stablehlo.iota", "stablehlo.dynamic_iota")
def iota(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    axis, dtype = number_of(op, "iota_dimension"), dtype_of(op.results[0])
    dims = result_dims(op, operands[0].numbers if operands else None)
    held = (dims[axis], *(1,) * (len(dims) - axis - 1))
    if isinstance(dims[axis], int):
        counted = np.arange(dims[axis], dtype=STORED[dtype][0]).reshape([int(size) for size in held])
        return Value(dtype, dims, held, constant=counted)
    end = graph.emit("Squeeze", graph.size(dims[axis]), graph.integers(0))
    name = graph.cast(graph.emit("Range", graph.scalar(0, "i64"), end, graph.scalar(1, "i64")), dtype)
    behind = range(1, len(held))
    return Value(dtype, dims, held, graph.emit("Unsqueeze", name, graph.integers(*behind)) if behind else name)


@operation("stablehlo.get_dimension_size")
def get_dimension_size(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    size = operands[0].dims[number_of(op, "dimension")]
    return Value("i32", (), (), numbers=(size,))
