"""Operations that read and write elements at places that are computed: gather, scatter, dynamic slices."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jax.extend.mlir.dialects import stablehlo

from lob_jax.export.graph.builder import Builder, Dim, Value, tensor
from lob_jax.export.graph.operations import numbers_of, operation, refused, short_name
from lob_jax.export.graph.shapes import sliced


@dataclasses.dataclass(frozen=True)
class Plan:
    """The dimension numbers of a gather or a scatter.

    Attributes:
      offset: axes of the result that a slice fills, or of the updates that a window is read from.
      dropped: axes of the operand along which a slice has one element, which the result lacks.
      batching: axes of the operand that go with axes of the indices.
      batches: those axes of the indices.
      indexed: axes of the operand that the entries of an index are places of.
      vector: the axis of the indices that holds an index; their rank if each index is a scalar.
    """

    offset: list[int]
    dropped: list[int]
    batching: list[int]
    batches: list[int]
    indexed: list[int]
    vector: int


@operation("stablehlo.gather", "stablehlo.dynamic_gather")
def gather(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    numbers = stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])
    plan = Plan(
        list(numbers.offset_dims),
        list(numbers.collapsed_slice_dims),
        list(numbers.operand_batching_dims),
        list(numbers.start_indices_batching_dims),
        list(numbers.start_index_map),
        numbers.index_vector_dim,
    )
    value, index = operands[0], _as_places(graph, operands[1])
    sizes = _slice_sizes(op, operands)
    if index.rank == 1 and plan.vector == 0 and not plan.batching:
        return _slice_at(graph, value, index, plan, sizes)
    if sorted(plan.dropped) != sorted(plan.indexed):
        raise refused(op, "it gathers windows of several elements")
    rest = dict.fromkeys((k for k in range(value.rank) if k not in plan.batching + plan.indexed), 0)
    value = sliced(graph, value, rest, tuple(sizes[k] if k in rest else size for k, size in enumerate(value.dims)))
    if len(plan.indexed) == 1 and not plan.batching:
        return _rows(graph, value, index, plan)
    if _goes_along_axis(value, index, plan):
        return _along_axis(graph, value, index, plan)
    return _elements(graph, value, index, plan)


def _slice_sizes(op: Any, operands: Sequence[Value]) -> tuple[Dim, ...]:
    if short_name(op) != "dynamic_gather":
        return tuple(numbers_of(op, "slice_sizes"))
    if operands[2].numbers is None:
        raise refused(op, "the sizes of its slices are computed from data")
    return operands[2].numbers


def _as_places(graph: Builder, index: Value) -> Value:
    """Return indices in a type that ONNX takes as indices."""
    if index.dtype in ("i32", "i64", "ui32"):
        return index
    return Value("i64", index.dims, index.held, graph.cast(graph.name(index), "i64"))


def _scalar_index(graph: Builder, index: Value, plan: Plan) -> tuple[str, tuple[Dim, ...]]:
    """Return the indices without the axis that holds an index of one entry, and their shape."""
    dims = tuple(size for axis, size in enumerate(index.dims) if axis != plan.vector)
    name = graph.whole(index)
    return (name if plan.vector == index.rank else graph.emit("Squeeze", name, graph.integers(plan.vector))), dims


def _within(graph: Builder, index: str, dtype: str, size: Dim) -> str:
    """Return indices moved to the nearest place of an axis, as XLA reads them."""
    if isinstance(size, int):
        return graph.emit("Clip", index, graph.scalar(0, dtype), graph.scalar(size - 1, dtype))
    last = graph.emit("Sub", graph.cast(graph.size(size), dtype), graph.scalar(1, dtype))
    return graph.emit("Min", graph.emit("Max", index, graph.scalar(0, dtype)), last)


def _within_if_unknown(graph: Builder, index: Value, name: str, size: Dim) -> str:
    """Return indices moved to the nearest place, unless they are known to be places."""
    if index.constant is None or not isinstance(size, int):
        return _within(graph, name, index.dtype, size)
    inside = index.constant.min(initial=0) >= 0 and index.constant.max(initial=0) < size
    return name if inside else _within(graph, name, index.dtype, size)


def _rows(graph: Builder, value: Value, index: Value, plan: Plan) -> Value:
    """Return slices of one element along an axis, such as rows of a table."""
    axis = plan.indexed[0]
    name, places = _scalar_index(graph, index, plan)
    name = _within_if_unknown(graph, index, name, value.dims[axis])
    found = graph.emit("Gather", graph.whole(value), name, axis=axis)
    dims = (*value.dims[:axis], *places, *value.dims[axis + 1 :])
    here = list(range(axis, axis + len(places)))  # where ONNX puts the axes of the indices
    slices = iter(k for k in range(len(dims)) if k not in here)
    indices = iter(here)
    order = [next(slices) if k in plan.offset else next(indices) for k in range(len(dims))]
    if order != list(range(len(dims))):
        found = graph.emit("Transpose", found, perm=order)
    return tensor(value.dtype, [dims[k] for k in order], found)


def _goes_along_axis(value: Value, index: Value, plan: Plan) -> bool:
    """Return whether each place of the indices is the same place of the operand, but along one axis."""
    if len(plan.indexed) != 1:
        return False
    kept = sorted(plan.batching + plan.indexed)
    places = [axis for axis in range(index.rank) if axis != plan.vector]
    pairs = zip(plan.batching, plan.batches, strict=True)
    aligned = all(axis in places and kept.index(other) == places.index(axis) for other, axis in pairs)
    ones = all(value.dims[axis] == 1 for axis in range(value.rank) if axis not in kept)
    return len(places) == len(kept) and aligned and ones


def _along_axis(graph: Builder, value: Value, index: Value, plan: Plan) -> Value:
    """Return one element along an axis for each place of the others, as `take_along_axis` does."""
    whole, ones = graph.whole(value), [axis for axis in range(value.rank) if axis not in plan.batching + plan.indexed]
    if ones:
        whole = graph.emit("Squeeze", whole, graph.integers(*ones))
    axis = plan.indexed[0] - sum(one < plan.indexed[0] for one in ones)
    name, places = _scalar_index(graph, index, plan)
    name = _within_if_unknown(graph, index, name, value.dims[plan.indexed[0]])
    found = graph.emit("GatherElements", whole, name, axis=axis)
    if not plan.offset:
        return tensor(value.dtype, places, found)
    rest = iter(places)
    dims = [1 if axis in plan.offset else next(rest) for axis in range(len(places) + len(plan.offset))]
    return tensor(value.dtype, dims, graph.emit("Unsqueeze", found, graph.integers(*plan.offset)))


def _elements(graph: Builder, value: Value, index: Value, plan: Plan) -> Value:
    """Return the elements, or slices along the axes that are not indexed, that indices of several entries name."""
    rest = [axis for axis in range(value.rank) if axis not in plan.batching + plan.indexed]
    sizes = [graph.cast(graph.size(value.dims[axis]), index.dtype) for axis in plan.indexed]
    ends = sizes[0] if len(sizes) == 1 else graph.emit("Concat", *sizes, axis=0)
    last = graph.emit("Sub", ends, graph.scalar(1, index.dtype))
    entries, places = _entries_last(graph, index, plan)
    near = graph.cast(graph.emit("Min", graph.emit("Max", entries, graph.scalar(0, index.dtype)), last), "i64")
    found = graph.emit(
        "GatherND", _moved(graph, value, plan.batching + plan.indexed + rest), near, batch_dims=len(plan.batching)
    )
    dims = [*(index.dims[axis] for axis in places), *(value.dims[axis] for axis in rest)]
    slices, indices = iter(range(len(places), len(dims))), iter(places.index(axis) for axis in sorted(places))
    order = [next(slices) if k in plan.offset else next(indices) for k in range(len(dims))]
    result = tensor(value.dtype, dims, found)
    return tensor(value.dtype, [dims[k] for k in order], _moved(graph, result, order))


def _entries_last(graph: Builder, index: Value, plan: Plan) -> tuple[str, list[int]]:
    """Return indices whose last axis is that of their entries, and the order of the others: batching axes first."""
    places = plan.batches + [k for k in range(index.rank) if k not in (*plan.batches, plan.vector)]
    if plan.vector < index.rank:
        return _moved(graph, index, [*places, plan.vector]), places
    return graph.emit("Unsqueeze", _moved(graph, index, places), graph.integers(index.rank)), places


def _moved(graph: Builder, value: Value, order: list[int]) -> str:
    """Return the name of a tensor with all elements of a value, its axes in another order."""
    name = graph.whole(value)
    return name if order == list(range(value.rank)) else graph.emit("Transpose", name, perm=order)


def _slice_at(graph: Builder, value: Value, index: Value, plan: Plan, sizes: tuple[Dim, ...]) -> Value:
    """Return one slice, which begins at one index."""
    starts: dict[int, Dim | Value] = dict.fromkeys(range(value.rank), 0)
    starts.update({axis: _start(graph, index, entry) for entry, axis in enumerate(plan.indexed)})
    cut = _cut(graph, value, starts, sizes)
    if not plan.dropped:
        return cut
    name = graph.emit("Squeeze", graph.whole(cut), graph.integers(*plan.dropped))
    return tensor(value.dtype, [size for axis, size in enumerate(cut.dims) if axis not in plan.dropped], name)


def _start(graph: Builder, index: Value, entry: int) -> Dim | Value:
    """Return an entry of an index: a size if it is known as one."""
    if index.numbers is not None:
        return index.numbers[entry]
    ends = (graph.integers(entry), graph.integers(entry + 1))
    return tensor(index.dtype, (1,), graph.emit("Slice", graph.whole(index), *ends, graph.integers(0)))


def _cut(graph: Builder, value: Value, starts: dict[int, Dim | Value], sizes: tuple[Dim, ...]) -> Value:
    """Return the part of a value from some starts, known or computed, moved so that it is inside."""
    known = {axis: _inside(start, value.dims[axis], sizes[axis]) for axis, start in starts.items()}
    there = {axis: start for axis, start in known.items() if start is not None}
    value = sliced(graph, value, there, tuple(sizes[k] if k in there else size for k, size in enumerate(value.dims)))
    for axis, start in starts.items():
        if axis not in there and sizes[axis] != value.dims[axis]:
            first = _computed_start(graph, start, value.dims[axis], sizes[axis])
            end = graph.emit("Add", first, graph.size(sizes[axis]))
            name = graph.emit("Slice", graph.whole(value), first, end, graph.integers(axis))
            value = tensor(value.dtype, (*value.dims[:axis], sizes[axis], *value.dims[axis + 1 :]), name)
    return value


def _inside(start: Dim | Value, size: Dim, part: Dim) -> int | None:
    """Return a start moved so that the part is inside the axis; None if that is only known when the graph runs."""
    if isinstance(start, int) and isinstance(size, int) and isinstance(part, int):
        return min(max(start, 0), size - part)
    return 0 if isinstance(start, int) and start <= 0 else None


def _computed_start(graph: Builder, start: Dim | Value, size: Dim, part: Dim) -> str:
    """Return an int64 vector of one element, a start moved so that the part is inside the axis."""
    known = _inside(start, size, part)
    if known is not None:
        return graph.integers(known)
    name = graph.cast(graph.name(start), "i64") if isinstance(start, Value) else graph.size(start)
    last = graph.emit("Sub", graph.size(size), graph.size(part))
    return graph.emit("Min", graph.emit("Max", name, graph.integers(0)), last)


def _scalar_start(graph: Builder, start: Value) -> Dim | Value:
    if start.numbers is not None:
        return start.numbers[0]
    return tensor(start.dtype, (1,), graph.emit("Unsqueeze", graph.name(start), graph.integers(0)))


@operation("stablehlo.dynamic_slice")
def dynamic_slice(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    starts = {axis: _scalar_start(graph, start) for axis, start in enumerate(operands[1:])}
    return _cut(graph, operands[0], starts, tuple(numbers_of(op, "slice_sizes")))


@operation("stablehlo.dynamic_update_slice")
def dynamic_update_slice(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    value, update, *starts = operands
    partial = [axis for axis in range(value.rank) if update.dims[axis] != value.dims[axis]]
    if not partial:
        return update
    if len(partial) > 1:
        raise refused(op, "the update is smaller along several axes")
    axis = partial[0]
    start = _scalar_start(graph, starts[axis])
    first = _computed_start(graph, start, value.dims[axis], update.dims[axis])
    return _replaced(graph, value, update, axis, first)


def _replaced(graph: Builder, value: Value, update: Value, axis: int, first: str) -> Value:
    """Return a value with the part from `first` along one axis replaced."""
    whole, along = graph.whole(value), graph.integers(axis)
    before = graph.emit("Slice", whole, graph.integers(0), first, along)
    end = graph.emit("Add", first, graph.size(update.dims[axis]))
    behind = graph.emit("Slice", whole, end, graph.size(value.dims[axis]), along)
    name = graph.emit("Concat", before, graph.whole(update), behind, axis=axis)
    return tensor(value.dtype, value.dims, name)


@operation("stablehlo.scatter")
def scatter(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    value, index, update = operands
    numbers = stablehlo.ScatterDimensionNumbers(op.attributes["scatter_dimension_numbers"])
    plan = Plan(
        list(numbers.update_window_dims),
        list(numbers.inserted_window_dims),
        list(numbers.input_batching_dims),
        list(numbers.scatter_indices_batching_dims),
        list(numbers.scattered_dims_to_operand_dims),
        numbers.index_vector_dim,
    )
    body = [short_name(inner) for inner in op.regions[0].blocks[0].operations]
    how = {("return",): "none", ("add", "return"): "add", ("maximum", "return"): "max"}.get(tuple(body))
    if how is None or plan.batching:
        raise refused(op, f"it combines by {', '.join(body[:-1])}, or in batches")
    if how == "none" and index.numbers is not None and len(index.numbers) == 1 and not plan.dropped:
        axis = plan.indexed[0]
        if all(update.dims[k] == size for k, size in enumerate(value.dims) if k != axis):
            return _replaced(graph, value, update, axis, graph.size(index.numbers[0]))
    rest = [axis for axis in range(value.rank) if axis not in plan.indexed]
    full = all(update.dims[window] == value.dims[axis] for window, axis in zip(plan.offset, rest, strict=False))
    if sorted(plan.dropped) != sorted(plan.indexed) or not full:
        raise refused(op, "it scatters windows")
    return _scattered(graph, value, index, update, plan, how)


def _scattered(graph: Builder, value: Value, index: Value, update: Value, plan: Plan, how: str) -> Value:
    """Return a value with elements, or slices along the axes that are not indexed, written at some places.

    XLA ignores places outside; ONNX Runtime refuses them.
    """
    order = plan.indexed + [axis for axis in range(value.rank) if axis not in plan.indexed]
    entries, _ = _entries_last(graph, _as_places(graph, index), plan)
    places, dims = graph.cast(entries, "i64"), [value.dims[k] for k in order]
    windows_last = [axis for axis in range(update.rank) if axis not in plan.offset] + plan.offset
    names = (_moved(graph, value, order), places, _moved(graph, update, windows_last))
    if how == "none":
        name = graph.emit("ScatterND", *names)
    else:
        name = _accumulated(graph, *names, dims, len(plan.indexed), how)
    back = [order.index(axis) for axis in range(value.rank)]
    return tensor(value.dtype, value.dims, _moved(graph, tensor(value.dtype, dims, name), back))


def _accumulated(
    graph: Builder, value: str, places: str, update: str, dims: Sequence[Dim], indexed: int, how: str
) -> str:
    """Return a tensor with rows added, or otherwise combined, at places of its first axes, which may be equal.

    ONNX Runtime's ScatterND does that in several threads, which lose additions to the same place; ScatterElements does
    not, so it is written with the indexed axes as one, and the others as one.
    """
    number = graph.emit("Gather", places, graph.scalar(0, "i64"), axis=-1)
    for entry in range(1, indexed):
        number = graph.emit("Mul", number, graph.size(dims[entry]))
        number = graph.emit("Add", number, graph.emit("Gather", places, graph.scalar(entry, "i64"), axis=-1))
    width: Dim = 1
    for size in dims[indexed:]:
        width = graph.times(width, size)
    rows = graph.shape((-1, width))
    value, update = graph.emit("Reshape", value, rows), graph.emit("Reshape", update, rows)
    number = graph.emit("Reshape", number, graph.integers(-1, 1))
    if width != 1:
        number = graph.emit("Expand", number, graph.emit("Shape", update))
    return graph.emit(
        "Reshape", graph.emit("ScatterElements", value, number, update, axis=0, reduction=how), graph.shape(dims)
    )
