"""The ONNX graphs of a model: all logits of a window, and one step with a cache that the caller holds."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from lob_jax.errors import InputError
from lob_jax.export import program
from lob_jax.export.config import OPSETS
from lob_jax.export.graph.builder import Dim
from lob_jax.export.graph.fold import folded
from lob_jax.export.graph.translate import graph_of
from lob_jax.models.config import ModelConfig

OPSET = 18  # the default


def forward_graph(params: Any, model: ModelConfig, *, opset: int = OPSET) -> onnx.ModelProto:
    """Return the graph of `program.forward`: any batch and length.

    Raises:
      InputError: the model cannot be exported, or there is no such version of operators.
    """
    return graph_of_program(program.forward(params, model), opset=opset)


def step_graph(params: Any, model: ModelConfig, *, opset: int = OPSET) -> onnx.ModelProto:
    """Return the graph of `program.step`: any batch, number of new tokens and number of slots.

    Raises:
      InputError: the model cannot be exported, or there is no such version of operators.
    """
    return graph_of_program(program.step(params, model), opset=opset)


def graph_of_program(found: program.Program, *, opset: int = OPSET) -> onnx.ModelProto:
    """Return the graph of a program.

    Raises:
      InputError: the program cannot be written as ONNX, or there is no such version of operators.
    """
    serialized = found.exported.mlir_module_serialized
    return graph_of_module(serialized, found, arguments=found.arguments, inputs=found.inputs, opset=opset)


def graph_of_module(
    serialized: bytes,
    found: program.Program,
    *,
    arguments: Sequence[str],
    inputs: Mapping[str, Sequence[Dim]],
    opset: int,
) -> onnx.ModelProto:
    """Return the graph of a program, folded and checked.

    Args:
      serialized: the program as StableHLO.
      found: the program.
      arguments: the names of its weights and inputs, in the order of the arguments in StableHLO.
      inputs: the shapes of its inputs.
      opset: the version of ONNX's operators.

    Raises:
      InputError: the program cannot be written as ONNX, or there is no such version of operators.
    """
    if opset not in OPSETS:
        raise InputError(
            "the graph cannot be written for this version of ONNX's operators",
            where="opset",
            expected=" | ".join(str(known) for known in OPSETS),
            was=opset,
            remedy=f"choose one of these; {OPSET} is read by most runtimes",
        )
    written = folded(
        graph_of(
            serialized,
            weights=found.weights,
            inputs=inputs,
            outputs=found.outputs,
            opset=opset,
            arguments=arguments,
        )
    )
    onnx.checker.check_model(written, full_check=True)
    return written


def with_metadata(graph: onnx.ModelProto, about: dict[str, str]) -> onnx.ModelProto:
    """Return a graph that says what it is of, such as the hash of its vocabulary."""
    onnx.helper.set_model_props(graph, about)
    return graph
