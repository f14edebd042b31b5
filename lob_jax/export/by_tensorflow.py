"""ONNX graphs by way of TensorFlow: written from the StableHLO that `jax2tf` puts into a function of TensorFlow."""

from collections.abc import Mapping
from typing import Any

import onnx

from lob_jax.errors import InputError
from lob_jax.export.graphs import OPSET, graph_of_module
from lob_jax.export.program import Program
from lob_jax.export.saved_model import converted, fixed_shapes

OPERATION = "XlaCallModule"
PASSED_ON = ("Identity", "ReadVariableOp")  # operations between an argument and what it is called


def module_of(signature: Any, variables: Mapping[str, Any]) -> tuple[bytes, tuple[str, ...]]:
    """Return the StableHLO of a function that `jax2tf` has converted, and the names of its arguments.

    Args:
      signature: a concrete function of TensorFlow in which one function of JAX was converted.
      variables: the variables that it reads, by name.

    Raises:
      InputError: it holds no function of JAX, or several.
    """
    graph = signature.graph
    found = [each for each in graph.get_operations() if each.type == OPERATION]
    if len(found) != 1:
        raise InputError(
            "the function of TensorFlow is not one function of JAX",
            where=signature.name,
            expected=f"one operation {OPERATION}",
            was=len(found),
            remedy="convert it with jax2tf.convert, and call nothing else in it",
        )
    names = {id(variable.handle): name for name, variable in variables.items()}
    captured = {inner.name: names[id(outer)] for outer, inner in graph.captures if id(outer) in names}

    def name(tensor: Any) -> str:
        while tensor.op.type in PASSED_ON:
            tensor = tensor.op.inputs[0]
        return captured.get(tensor.name, tensor.op.name)

    return found[0].get_attr("module"), tuple(name(tensor) for tensor in found[0].inputs)


def graph_of_converted(
    program: Program, *, opset: int = OPSET, sizes: Mapping[str, int] | None = None
) -> onnx.ModelProto:
    """Return the ONNX graph that is written from what `jax2tf` makes of a program, see `converted`.

    Raises:
      InputError: TensorFlow is not installed, a size is missing, or the program cannot be written as ONNX.
    """
    module = converted(program, sizes)
    serialized, arguments = module_of(module.signature, module.weights)
    shapes = program.inputs if sizes is None else fixed_shapes(program, sizes)
    return graph_of_module(serialized, program, arguments=arguments, inputs=shapes, opset=opset)
