"""Compare graphs with the model that they were written from, before anybody else runs them."""

import dataclasses
import itertools
from typing import Any

import jax
import numpy as np
import onnx

from lob_jax.errors import InputError
from lob_jax.export.decoder import OnnxDecoder, session
from lob_jax.export.program import any_length, exportable, parameters
from lob_jax.models.apply import apply
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import BY_NAME, Role, fields_read, zeros
from lob_jax.models.transformer import LOBTransformer

TOLERANCE = 1e-4  # of float32 logits, whatever their size
PIECES = (5, 1, 1, 8, 1)  # tokens that a step reads at once, repeated
ROWS, TOKENS = 3, 37  # of random windows, unlike any that the programs were traced with

Inputs = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Parity:
    """How closely a graph agrees with its model.

    Attributes:
      tokens: number of positions that were compared.
      difference: the largest difference of logits.
      agreement: the share of positions where the same token is the likeliest.
    """

    tokens: int
    difference: float
    agreement: float


def random_inputs(model: ModelConfig, rows: int, tokens: int, *, seed: int = 0) -> Inputs:
    """Return the arrays that a model reads, of random numbers within their ranges; events and clocks go forward."""
    rng, names = np.random.default_rng(seed), ("tokens", *fields_read(model, Role.BESIDE))
    made = zeros(model, names, windows=(rows,), tokens=tokens)
    for name, array in made.items():
        ids = BY_NAME[name].ids
        if ids is not None:
            array[:] = rng.integers(0, ids(model), array.shape)
        elif array.dtype.kind == "f":
            array[:] = rng.normal(size=array.shape)
        elif name == "clock":
            array[..., 0] = 34_200 + np.cumsum(rng.integers(0, 2, array.shape[:2]), axis=1)
            array[..., 1] = rng.integers(0, 1_000_000_000, array.shape[:2])
        else:
            array[:] = np.cumsum(rng.integers(0, 2, array.shape), axis=1)
    return made


def model_logits(params: Any, model: ModelConfig, inputs: Inputs) -> np.ndarray:
    """Return the logits of the model itself, in float32, [B, T, V]."""
    length = None if any_length(model) else inputs["tokens"].shape[1]
    module, params = LOBTransformer(exportable(model, length=length)), parameters(params, model)
    known = {name: array for name, array in inputs.items() if name != "tokens"}
    logits = jax.jit(lambda params, tokens, known: apply(module, {"params": params}, tokens, known))
    return np.asarray(logits(params, inputs["tokens"], known))


def forward_logits(graph: onnx.ModelProto, inputs: Inputs) -> np.ndarray:
    """Return the logits of a forward graph, [B, T, V]."""
    running = session(graph.SerializeToString())
    found: Any = running.run(["logits"], {each.name: inputs[each.name] for each in running.get_inputs()})
    return found[0]


def step_logits(graph: onnx.ModelProto, model: ModelConfig, inputs: Inputs) -> np.ndarray:
    """Return the logits of a step graph that reads windows in PIECES: after the last token of each, [B, P, V]."""
    decoder = OnnxDecoder(graph.SerializeToString(), model)
    rows, tokens = inputs["tokens"].shape
    decoder.reset(rows)
    spans = itertools.pairwise([0, *piece_ends(tokens)])
    pieces = ({name: array[:, first:end] for name, array in inputs.items()} for first, end in spans)
    return np.stack([decoder.extend(piece) for piece in pieces], axis=1)


def piece_ends(tokens: int) -> list[int]:
    """Return where each of the pieces ends that a window of some tokens is read in."""
    lengths = np.cumsum(np.resize(PIECES, tokens))
    return [int(end) for end in lengths if end < tokens] + [tokens]


def compared(found: np.ndarray, expected: np.ndarray) -> Parity:
    """Return how closely logits agree, [..., V] each."""
    difference = np.abs(found - expected).max(initial=0.0)
    agreement = (found.argmax(-1) == expected.argmax(-1)).mean()
    return Parity(int(np.prod(found.shape[:-1])), float(difference), float(agreement))


def check_graphs(
    forward: onnx.ModelProto, step: onnx.ModelProto | None, params: Any, model: ModelConfig, windows: Inputs
) -> dict[str, Parity]:
    """Compare float32 graphs with their model, on random and on real tokens, and return how closely they agree.

    Args:
      forward: the graph of complete windows.
      step: the graph with a cache; None for a model that is not causal.
      params, model: the model itself.
      windows: real windows, arrays [B, T, ...] by name.

    Raises:
      InputError: a logit is not finite, or differs by more than TOLERANCE.
    """
    found = {}
    for kind, inputs in (("random", random_inputs(model, ROWS, TOKENS)), ("real", windows)):
        expected = model_logits(params, model, inputs)
        found[f"forward, {kind} tokens"] = checked("forward", forward_logits(forward, inputs), expected)
        if step is not None:
            ends = np.array(piece_ends(inputs["tokens"].shape[1]))
            found[f"step, {kind} tokens"] = checked("step", step_logits(step, model, inputs), expected[:, ends - 1])
    return found


def checked(name: str, found: np.ndarray, expected: np.ndarray) -> Parity:
    """Return how closely logits agree.

    Raises:
      InputError: one is not finite, or differs by more than TOLERANCE.
    """
    parity = compared(found, expected)
    if not np.isfinite(found).all() or parity.difference > TOLERANCE:
        raise InputError(
            "the graph does not compute what the model does; nothing was written",
            where=f"the {name} graph",
            expected=f"finite logits within {TOLERANCE:g} of the model's",
            was=f"a difference of {parity.difference:.3g}",
            remedy="report this with the model's configuration; --config.export.formats=stablehlo writes no graph",
        )
    return parity
