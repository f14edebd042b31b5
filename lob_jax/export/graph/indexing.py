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
      indexed: axes of the operand that the entries of an index are places of.
      vector: the axis of the indices that holds an index; their rank if each index is a scalar.
    """

    offset: list[int]
    dropped: list[int]
    batching: list[int]
    indexed: list[int]
    vector: int


@operation("stablehlo.gather", "stablehlo.dynamic_gather")
def gather(graph: Builder, op: Any, operands: Sequence[Value]) -> Value:
    numbers = stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])
    plan = Plan(
        list(numbers.offset_dims),
        list(numbers.collapsed_slice_dims),
        list(numbers.operand_batching_dims),
        list(numbers.start_index_map),
        numbers.index_vector_dim,
    )
    value, index = operands[:2]
    sizes = operands[2].numbers if short_name(op) == "dynamic_gather" else tuple(numbers_of(op, "slice_sizes"))
    if sizes is None:
        raise refused(op, "the sizes of its slices are computed from data")
    if index.rank == 1 and plan.vector == 0 and not plan.batching:
        return _slice_at(graph, value, index, plan, sizes)
    if len(plan.indexed) == 1 and plan.dropped == plan.indexed:
        if not plan.batching:
            return _rows(graph, value, index, plan)
        ones = [axis for axis in range(value.rank) if axis not in plan.batching + plan.indexed]
        if all(value.dims[axis] == 1 for axis in ones):
            return _along_axis(graph, value, index, plan, ones)
    if plan.dropped == plan.indexed == list(range(len(plan.indexed))) and not plan.batching:
        return _elements(graph, value, index, plan)
    raise refused(op, "it gathers in a way that no indexing of NumPy in a model does")


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


def _along_axis(graph: Builder, value: Value, index: Value, plan: Plan, ones: list[int]) -> Value:
    """Return one element along an axis for each place of the others, as `take_along_axis` does; `ones` have size 1."""
    whole = graph.whole(value)
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
    """Return the elements, or slices behind the indexed axes, that indices of several entries name."""
    sizes = [graph.cast(graph.size(size), index.dtype) for size in value.dims[: len(plan.indexed)]]
    ends = sizes[0] if len(sizes) == 1 else graph.emit("Concat", *sizes, axis=0)
    last = graph.emit("Sub", ends, graph.scalar(1, index.dtype))
    near = graph.emit("Min", graph.emit("Max", graph.whole(index), graph.scalar(0, index.dtype)), last)
    name = graph.emit("GatherND", graph.whole(value), graph.cast(near, "i64"))
    return tensor(value.dtype, (*index.dims[:-1], *value.dims[len(plan.indexed) :]), name)


def _slice_at(graph: Builder, value: Value, index: Value, plan: Plan, sizes: Sequence[Dim]) -> Value:
    """Return one slice, which begins at one index."""
    starts = [_start(graph, index, entry) for entry in range(len(plan.indexed))]
    cut = _cut(graph, value, dict(zip(plan.indexed, starts, strict=True)), tuple(sizes))
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
    known = {axis: _inside(start, value.dims[axis], sizes[axis]) for axis, start in starts.items()
             if not isinstance(start, Value)}  # fmt: skip
    value = sliced(graph, value, known, tuple(sizes[k] if k in known else size for k, size in enumerate(value.dims)))
    for axis, start in starts.items():
        if isinstance(start, Value) and sizes[axis] != value.dims[axis]:
            first = _computed_start(graph, start, value.dims[axis], sizes[axis])
            end = graph.emit("Add", first, graph.size(sizes[axis]))
            name = graph.emit("Slice", graph.whole(value), first, end, graph.integers(axis))
            value = tensor(value.dtype, (*value.dims[:axis], sizes[axis], *value.dims[axis + 1 :]), name)
    return value


def _inside(start: Dim, size: Dim, part: Dim) -> Dim:
    """Return a start moved so that the part is inside the axis, where the sizes are known."""
    if isinstance(start, int) and isinstance(size, int) and isinstance(part, int):
        return min(max(start, 0), size - part)
    return start


def _computed_start(graph: Builder, start: Value, size: Dim, part: Dim) -> str:
    """Return an int64 vector of one element, a start moved so that the part is inside the axis."""
    name = graph.cast(graph.name(start), "i64") if start.dtype != "i64" else graph.name(start)
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
    first = (
        graph.size(_inside(start, value.dims[axis], update.dims[axis]))
        if not isinstance(start, Value)
        else _computed_start(graph, start, value.dims[axis], update.dims[axis])
    )
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
        list(numbers.scattered_dims_to_operand_dims),
        numbers.index_vector_dim,
    )
    body = [short_name(inner) for inner in op.regions[0].blocks[0].operations]
    how = {("return",): "none", ("add", "return"): "add", ("maximum", "return"): "max"}.get(tuple(body))
    if how is None or plan.batching:
        raise refused(op, f"it combines by {', '.join(body[:-1])}, or in batches")
    if how == "none" and index.numbers is not None and len(plan.indexed) == 1 and not plan.dropped:
        axis = plan.indexed[0]
        return _replaced(graph, value, update, axis, graph.size(index.numbers[0]))
    if plan.dropped != plan.indexed or plan.indexed != list(range(len(plan.indexed))) or plan.vector != index.rank - 1:
        raise refused(op, "it scatters windows")
    places = graph.cast(graph.whole(index), "i64")
    name = graph.emit("ScatterND", graph.whole(value), places, graph.whole(update), reduction=how)
    return tensor(value.dtype, value.dims, name)
