"""Build an ONNX graph: nodes, initializers, sizes that are only known when it runs, and what of them is needed."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lob_jax.export.config import OPSETS

Dim = int | str  # a size: known, or the name of one that a caller chooses, such as "batch" or "batch*8"

# By the element type of MLIR. ONNX Runtime has no arithmetic on unsigned 32-bit integers; int64 holds them exactly.
STORED: dict[str, tuple[Any, int]] = {
    "f64": (np.float64, TensorProto.DOUBLE),
    "f32": (np.float32, TensorProto.FLOAT),
    "f16": (np.float16, TensorProto.FLOAT16),
    "bf16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16),
    "i1": (np.bool_, TensorProto.BOOL),
    "i8": (np.int8, TensorProto.INT8),
    "i16": (np.int16, TensorProto.INT16),
    "i32": (np.int32, TensorProto.INT32),
    "i64": (np.int64, TensorProto.INT64),
    "ui8": (np.uint8, TensorProto.UINT8),
    "ui32": (np.int64, TensorProto.INT64),
}
SHARED_BYTES = 1 << 16  # equal constants up to this size are written once
IR_VERSION = dict(zip(OPSETS, (8, 9, 11), strict=True))  # the file format that came with each set of operators
PRODUCER = "lob_jax"
SHARED = "cache_"  # what inputs begin with whose batch may be of one row for all


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A value of the program, and the tensor that holds it.

    Broadcasting is explicit in StableHLO and implicit in ONNX. A value that was broadcast is held by a smaller tensor,
    of size 1 where it was repeated, until an operation needs all of it, see `Builder.whole`.

    Attributes:
      dtype: element type, a key of STORED.
      dims: its shape.
      held: the shape of the tensor that holds it: aligned with the last of `dims`, 1 where the value repeats.
      name: the tensor's name; None for a constant that is not written yet.
      constant: its elements, of shape `held`, if they are known.
      numbers: its elements as sizes, for an integer or a vector of them, if they are known.
    """

    dtype: str
    dims: tuple[Dim, ...]
    held: tuple[Dim, ...]
    name: str | None = None
    constant: np.ndarray | None = None
    numbers: tuple[Dim, ...] | None = None

    @property
    def rank(self) -> int:
        """Return the number of axes."""
        return len(self.dims)

    @property
    def is_whole(self) -> bool:
        """Return whether the tensor holds every element."""
        return self.held == self.dims

    @property
    def padded(self) -> tuple[Dim, ...]:
        """Return `held` with ones in front, one entry per axis."""
        return (1,) * (self.rank - len(self.held)) + self.held


def tensor(dtype: str, dims: Sequence[Dim], name: str) -> Value:
    """Return a value that a tensor holds entirely."""
    return Value(dtype, tuple(dims), tuple(dims), name)


def constant(array: np.ndarray, dtype: str) -> Value:
    """Return a constant; an integer, or a short vector of them, is also known as sizes."""
    array = np.asarray(array, STORED[dtype][0])
    few = dtype in ("i32", "i64") and array.ndim <= 1 and array.size <= 16
    numbers = tuple(int(number) for number in array.reshape(-1)) if few else None
    return Value(dtype, array.shape, array.shape, constant=array, numbers=numbers)


class Builder:
    """A graph in the making.

    Equal nodes are written once. Names of sizes are resolved to tensors when they are needed.

    Attributes:
      opset: the version of the operators, one of OPSETS.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self._nodes: list[onnx.NodeProto] = []
        self._made: dict[tuple, tuple[str, ...]] = {}
        self._producer: dict[str, onnx.NodeProto] = {}
        self._initializers: dict[str, np.ndarray] = {}
        self._shared: dict[tuple, str] = {}
        self._sizes: dict[str, tuple] = {}  # of each named size, how it is computed

    def emit(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output, unless there is an equal one; return the name of the output."""
        return self.emit_all(operator, *inputs, **attributes)[0]

    def emit_all(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> tuple[str, ...]:
        """Add a node, unless there is an equal one; return the names of its outputs."""
        undone = self._undone(operator, inputs)
        if undone is not None:
            return (undone,)
        key = (operator, inputs, outputs, repr(sorted(attributes.items())))
        if key not in self._made:
            names = tuple(f"{operator}_{len(self._nodes)}" + (f"_{k}" if k else "") for k in range(outputs))
            node = helper.make_node(operator, inputs, names, name=names[0], **attributes)
            self._nodes.append(node)
            self._producer.update(dict.fromkeys(names, node))
            self._made[key] = names
        return self._made[key]

    def _undone(self, operator: str, inputs: tuple[str, ...]) -> str | None:
        """Return the tensor that a Squeeze of an Unsqueeze along the same axes gives back."""
        before = self._producer.get(inputs[0]) if inputs else None
        if operator != "Squeeze" or before is None or before.op_type != "Unsqueeze":
            return None
        return before.input[0] if tuple(before.input[1:]) == inputs[1:] else None

    def initializer(self, array: np.ndarray, name: str | None = None) -> str:
        """Return the name of an initializer with these elements."""
        array = np.asarray(array, order="C")
        key = (name, array.dtype.str, array.shape, array.tobytes() if array.nbytes <= SHARED_BYTES else id(array))
        if key not in self._shared:
            self._shared[key] = name or f"constant_{len(self._initializers)}"
            self._initializers[self._shared[key]] = array
        return self._shared[key]

    def integers(self, *numbers: int) -> str:
        """Return the name of an int64 vector, as axes and starts are given."""
        return self.initializer(np.array(numbers, np.int64))

    def scalar(self, number: float, dtype: str) -> str:
        """Return the name of a scalar."""
        return self.initializer(np.array(number, STORED[dtype][0]))

    def name(self, value: Value) -> str:
        """Return the name of the tensor that holds a value, broadcast or not."""
        if value.name is not None:
            return value.name
        if value.constant is not None:
            return self.initializer(value.constant)
        assert value.numbers is not None  # every other value has a tensor
        sizes = self.cast(self.shape(value.numbers), value.dtype)
        return sizes if value.rank else self.emit("Squeeze", sizes, self.integers(0))

    def aligned(self, value: Value) -> str:
        """Return the name of a tensor that holds a value, with one axis for each of its axes."""
        missing = value.rank - len(value.held)
        if not missing:
            return self.name(value)
        if value.constant is not None:
            return self.initializer(value.constant.reshape([int(size) for size in value.padded]))
        return self.emit("Unsqueeze", self.name(value), self.integers(*range(missing)))

    def whole(self, value: Value) -> str:
        """Return the name of a tensor that holds every element of a value."""
        if value.padded == value.dims:
            return self.aligned(value)
        return self.emit("Expand", self.name(value), self.shape(value.dims))

    def cast(self, name: str, dtype: str) -> str:
        """Return the name of a tensor with the same elements in another type."""
        return self.emit("Cast", name, to=STORED[dtype][1])

    def computed_size(self, name: str) -> Dim:
        """Return the name of a size that an int64 vector of one element holds."""
        self._sizes[f"[{name}]"] = ("computed", name, None)
        return f"[{name}]"

    def size_of_input(self, name: str, of: str, axis: int) -> None:
        """Say that a named size is that of an axis of an input; of several, the first one counts but for caches.

        The keys of a cache may be of one row for all, and their name comes before that of other inputs.
        """
        operator, other, _ = self._sizes.get(name, ("", "", 0))
        if not operator or (other.startswith(SHARED) and not of.startswith(SHARED)):
            self._sizes[name] = ("axis", of, axis)

    def plus(self, one: Dim, other: Dim, sign: int = 1) -> Dim:
        """Return the sum of two sizes, or with sign -1 their difference."""
        if isinstance(one, int) and isinstance(other, int):
            return one + sign * other
        if other == 0:
            return one
        if one == 0 and sign > 0:
            return other
        return self._named("Add" if sign > 0 else "Sub", "+" if sign > 0 else "-", one, other)

    def times(self, one: Dim, other: Dim) -> Dim:
        """Return the product of two sizes."""
        if isinstance(one, int) and isinstance(other, int):
            return one * other
        if 1 in (one, other):
            return other if one == 1 else one
        return self._named("Mul", "*", one, other)

    def bound(self, one: Dim, other: Dim, *, greatest: bool) -> Dim:
        """Return the greater or the lesser of two sizes."""
        if isinstance(one, int) and isinstance(other, int):
            return max(one, other) if greatest else min(one, other)
        return self._named("Max", " max ", one, other) if greatest else self._named("Min", " min ", one, other)

    def _named(self, operator: str, sign: str, one: Dim, other: Dim) -> str:
        name = f"({one}{sign}{other})"
        self._sizes[name] = (operator, one, other)
        return name

    def size(self, dim: Dim) -> str:
        """Return the name of an int64 vector of one element, a size."""
        if isinstance(dim, int):
            return self.integers(dim)
        operator, one, other = self._sizes[dim]
        if operator == "computed":
            return one
        if operator == "axis":
            return self.emit("Shape", one, start=other, end=other + 1)
        return self.emit(operator, self.size(one), self.size(other))

    def shape(self, dims: Sequence[Dim]) -> str:
        """Return the name of an int64 vector of sizes."""
        if all(isinstance(dim, int) for dim in dims):
            return self.initializer(np.array(dims, np.int64))
        parts = [self.size(dim) for dim in dims]
        return parts[0] if len(parts) == 1 else self.emit("Concat", *parts, axis=0)

    def model(self, inputs: Sequence[Value], outputs: dict[str, Value]) -> onnx.ModelProto:
        """Return the graph from inputs to named outputs, without what they do not need, be it an input."""
        wholes = {name: self.whole(value) for name, value in outputs.items()}
        nodes, needed = needed_nodes(named_outputs(self._nodes, wholes), outputs)
        initializers = [as_tensor(array, name) for name, array in self._initializers.items() if name in needed]
        graph = helper.make_graph(
            nodes,
            PRODUCER,
            [_described(self.name(value), value) for value in inputs if value.name in needed],
            [_described(name, value) for name, value in outputs.items()],
            initializers,
        )
        imports = [helper.make_opsetid("", self.opset)]
        return helper.make_model(
            graph, opset_imports=imports, producer_name=PRODUCER, ir_version=IR_VERSION[self.opset]
        )


def named_outputs(nodes: Sequence[onnx.NodeProto], outputs: dict[str, str]) -> list[onnx.NodeProto]:
    """Return nodes that give some tensors the names of outputs; copies where an output is an input, weights or twice.

    Args:
      nodes: the nodes.
      outputs: the tensor of each output, by the name of the output.
    """
    made = {name for node in nodes for name in node.output}
    names: dict[str, str] = {}
    for output, held in outputs.items():
        if held in made:
            names.setdefault(held, output)
    renamed = []
    for node in nodes:
        new = onnx.NodeProto()
        new.CopyFrom(node)
        for field in (new.input, new.output):
            field[:] = [names.get(name, name) for name in field]
        renamed.append(new)
    copies = {output: held for output, held in outputs.items() if names.get(held) != output}
    copied = [helper.make_node("Identity", [names.get(held, held)], [name], name=name) for name, held in copies.items()]
    return [*renamed, *copied]


def needed_nodes(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> tuple[list[onnx.NodeProto], set[str]]:
    """Return the nodes that some tensors are computed by, in order, and the names of all tensors that they read."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    return kept[::-1], needed


def with_nodes(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], weights: Iterable[TensorProto]
) -> onnx.ModelProto:
    """Return a graph with other nodes, and those of some weights that they read or that are its outputs."""
    needed = {name for node in nodes for name in node.input} | {output.name for output in model.graph.output}
    kept = [tensor for tensor in weights if tensor.name in needed]
    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, kept)
    known = {each.domain for each in model.opset_import}
    more = [helper.make_opsetid(domain, 1) for domain in sorted({node.domain for node in nodes} - known)]
    imports = [*model.opset_import, *more]
    return helper.make_model(
        graph, opset_imports=imports, producer_name=model.producer_name, ir_version=model.ir_version
    )


def as_tensor(array: np.ndarray, name: str) -> TensorProto:
    """Return an array as an initializer."""
    if array.dtype == ml_dtypes.bfloat16:
        return helper.make_tensor(name, TensorProto.BFLOAT16, array.shape, array.tobytes(), raw=True)
    return numpy_helper.from_array(array, name)


def _described(name: str, value: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, STORED[value.dtype][1], value.dims)
