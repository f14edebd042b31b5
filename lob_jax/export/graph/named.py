"""Functions of the model that are one node each: those of `lob_jax.models.named`, by their names."""

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from lob_jax.export.graph.builder import STORED, Builder, Value, tensor
from lob_jax.export.graph.elementwise import elementwise, number
from lob_jax.export.graph.products import arranged

NORM_EPSILON = 1e-5  # of `models.named`, held equal by a test
GELU_OPSET = 20  # the first with a node for it
LOWERED = re.compile(r"(?P<name>[a-z_]+?)(_\d+)?")  # JAX numbers the variants of a function


def layer_norm(graph: Builder, operands: Sequence[Value]) -> Value | None:
    """Normalise the last axis; None where `jax.vmap` has given scale and bias an axis more."""
    value, scale, bias = operands
    if scale.rank != 1 or bias.rank != 1:
        return None
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


def lstm(graph: Builder, operands: Sequence[Value]) -> Sequence[Value] | None:
    """Return the outputs of a long short-term memory, its last output and its last cell; None under `jax.vmap`."""
    value, hidden, cell, kernel, recurrent, bias = operands
    if (value.rank, kernel.rank) != (3, 2):
        return None
    first, units, dtype = graph.integers(0), recurrent.dims[0], value.dtype
    weights = (graph.emit("Unsqueeze", arranged(graph, each, [1, 0]), first) for each in (kernel, recurrent))
    # ONNX has a bias of each of the two kernels, which are added up.
    nothing = graph.initializer(np.zeros(4 * int(units), STORED[dtype][0]))
    biases = graph.emit("Unsqueeze", graph.emit("Concat", graph.whole(bias), nothing, axis=0), first)
    states = ("" if _is_zero(each) else graph.emit("Unsqueeze", graph.whole(each), first) for each in (hidden, cell))
    steps = arranged(graph, value, [1, 0, 2])
    found = graph.emit_all("LSTM", steps, *weights, biases, "", *states, outputs=3, hidden_size=units)
    outputs = graph.emit("Transpose", graph.emit("Squeeze", found[0], graph.integers(1)), perm=[1, 0, 2])
    last = (tensor(dtype, cell.dims, graph.emit("Squeeze", name, first)) for name in found[1:])
    return [tensor(dtype, (*value.dims[:2], units), outputs), *last]


def _is_zero(value: Value) -> bool:
    return value.constant is not None and not value.constant.any()


Node = Callable[[Builder, Sequence[Value]], Value | Sequence[Value] | None]
NAMED: dict[str, Node] = {function.__name__: function for function in (layer_norm, softmax, gelu, gelu_by_tanh, lstm)}
OPERANDS = {"layer_norm": 3, "softmax": 1, "gelu": 1, "gelu_by_tanh": 1, "lstm": 6}


def as_one_node(graph: Builder, function: str, operands: Sequence[Value]) -> Sequence[Value] | None:
    """Return the results of a call of a named function; None if the function has no node and is written out.

    Sizes that are only known when the program runs precede a function's own operands.
    """
    matched = LOWERED.fullmatch(function)
    name = matched["name"] if matched else ""
    found = NAMED[name](graph, operands[-OPERANDS[name] :]) if name in NAMED else None
    return [found] if isinstance(found, Value) else found
