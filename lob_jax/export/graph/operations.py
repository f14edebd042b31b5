"""The registry of StableHLO operations: one function translates each of them."""

from collections.abc import Callable, Sequence
from typing import Any

from jax.extend.mlir import ir

from lob_jax.errors import InputError
from lob_jax.export.graph.builder import Builder, Value

# (graph, operation, operands) -> its results
Translation = Callable[[Builder, Any, Sequence[Value]], Value | Sequence[Value]]
OPERATIONS: dict[str, Translation] = {}
COMPOSITE = "stablehlo.composite"  # an operation of another dialect, and a function that it can be replaced by


def operation(*names: str) -> Callable[[Translation], Translation]:
    """Register the translation of operations."""

    def register(translation: Translation) -> Translation:
        OPERATIONS.update(dict.fromkeys(names, translation))
        return translation

    return register


def name_of(op: Any) -> str:
    """Return the name of an operation; that of a composite if it stands for one, such as chlo.erf."""
    name = op.operation.name
    return ir.StringAttr(op.attributes["name"]).value if name == COMPOSITE else name


def short_name(op: Any) -> str:
    """Return the name of an operation without its dialect."""
    return name_of(op).rpartition(".")[2]


def refused(op: Any, why: str) -> InputError:
    """Return the error for an operation that cannot be written as ONNX."""
    text = str(op).strip().splitlines()[0]
    return InputError(
        f"{op.operation.name} cannot be written as ONNX: {why}",
        where=text if len(text) <= 300 else f"{text[:300]} ...",
        expected="the operations of transformers and forecasters, see lob_jax/export/graph",
        was=op.operation.name,
        remedy="export the program as StableHLO, which holds any operation, or change the model",
    )


def dtype_of(value: Any) -> str:
    """Return the element type of a value of the program."""
    return str(ir.RankedTensorType(value.type).element_type)


def static_dims(result: Any) -> tuple[int | None, ...]:
    """Return the shape of a value of the program, None where it depends on the caller."""
    kind = ir.RankedTensorType(result.type)
    return tuple(None if kind.is_dynamic_dim(axis) else kind.get_dim_size(axis) for axis in range(kind.rank))


def numbers_of(op: Any, attribute: str) -> list[int]:
    """Return an attribute of an operation that is a list of integers."""
    return list(ir.DenseI64ArrayAttr(op.attributes[attribute]))


def number_of(op: Any, attribute: str) -> int:
    """Return an attribute of an operation that is an integer."""
    return ir.IntegerAttr(op.attributes[attribute]).value
