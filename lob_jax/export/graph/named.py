"""Functions of the model that are one node each: those of `lob_jax.models.named`, by their names."""

import math
import re
from collections.abc import Callable, Sequence

from lob_jax.export.graph.builder import Builder, Value, tensor
from lob_jax.export.graph.elementwise import elementwise, number

NORM_EPSILON = 1e-5  # of `models.named`, held equal by a test
GELU_OPSET = 20  # the first with a node for it
LOWERED = re.compile(r"(?P<name>[a-z_]+?)(_\d+)?")  # JAX numbers the variants of a function


def layer_norm(graph: Builder, operands: Sequence[Value]) -> Value:
    """Normalise the last axis."""
    value, scale, bias = operands
    names = (graph.whole(value), graph.whole(scale), graph.whole(bias))
    return tensor(value.dtype, value.dims, graph.emit("LayerNormalization", *names, axis=-1, epsilon=NORM_EPSILON))


def softmax(graph: Builder, operands: Sequence[Value]) -> Value:
    """Return the softmax over the last axis."""
    (value,) = operands
    return tensor(value.dtype, value.dims, graph.emit("Softmax", graph.whole(value), axis=-1))


def gelu(graph: Builder, operands: Sequence[Value]) -> Value:
    """Return x times the normal distribution function; in the form that runtimes fuse where there is no node for it."""
    (value,) = operands
    if graph.opset >= GELU_OPSET:
        return elementwise(graph, "Gelu", value, dtype=value.dtype, approximate="none")
    scaled = elementwise(graph, "Div", value, number(math.sqrt(2), value), dtype=value.dtype)
    risen = elementwise(
        graph, "Add", elementwise(graph, "Erf", scaled, dtype=value.dtype), number(1, value), dtype=value.dtype
    )
    product = elementwise(graph, "Mul", value, risen, dtype=value.dtype)
    return elementwise(graph, "Mul", product, number(0.5, value), dtype=value.dtype)


def gelu_by_tanh(graph: Builder, operands: Sequence[Value]) -> Value | None:
    """Return the approximation by tanh; None where there is no node for it."""
    (value,) = operands
    if graph.opset < GELU_OPSET:
        return None
    return elementwise(graph, "Gelu", value, dtype=value.dtype, approximate="tanh")


NAMED: dict[str, Callable[[Builder, Sequence[Value]], Value | None]] = {
    function.__name__: function for function in (layer_norm, softmax, gelu, gelu_by_tanh)
}
OPERANDS = {"layer_norm": 3, "softmax": 1, "gelu": 1, "gelu_by_tanh": 1}


def as_one_node(graph: Builder, function: str, operands: Sequence[Value]) -> Value | None:
    """Return the value of a call of a named function; None if the function has no node and is written out.

    Sizes that are only known when the program runs precede a function's own operands.
    """
    matched = LOWERED.fullmatch(function)
    name = matched["name"] if matched else ""
    return NAMED[name](graph, operands[-OPERANDS[name] :]) if name in NAMED else None
