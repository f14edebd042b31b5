"""Open what an engine serves: a bundle in ONNX Runtime, without JAX."""

import functools
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

import lob_jax
from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError
from lob_jax.export.bundle import open_bundle
from lob_jax.export.contents import Contents
from lob_jax.export.generate import forward_of, open_network, open_windows, recommended
from lob_jax.export.score import Forward, score
from lob_jax.serving.config import EngineConfig
from lob_jax.serving.engine.courses import Served, checked_market
from lob_jax.serving.engine.engine import Engine
from lob_jax.serving.engine.warm_up import warm_up
from lob_jax.serving.predict.scored import scored
from lob_jax.serving.requests import ModelFacts, Score, Scored

TYPES = {"tensor(int16)": "int16", "tensor(int32)": "int32", "tensor(float)": "float32"}  # of arrays of a graph
Arrays = Mapping[str, tuple[str, tuple[int | str, ...]]]


def open_server(folder: pathlib.Path | str, *, name: str, settings: EngineConfig) -> Engine:
    """Return an engine that serves a bundle; it is warm.

    Args:
      folder: the folder of the bundle.
      name: the name of the model.
      settings: how the engine works.

    Raises:
      InputError: the bundle is damaged, or has no such precision.
    """
    bundle = open_bundle(folder)
    how: dict[str, Any] = {"precision": settings.precision, "threads": settings.threads}
    windows = open_windows(bundle, **how)
    forward = forward_of(windows)
    served = Served(
        contents=bundle.contents,
        tokenizer=bundle.tokenizer,
        network=open_network(bundle, **how),
        score=lambda asked: scored_history(asked, bundle.contents, forward=forward),
        infer=functools.partial(_infer, windows),
    )
    facts = facts_of(
        bundle.contents,
        name=name,
        precision=settings.precision or recommended(bundle.card),
        weights=bundle.weights(),
        card=bundle.card,
        fingerprint=bundle.fingerprint,
        version=bundle.version,
        inputs=_arrays(windows.get_inputs()),
        outputs=_arrays(windows.get_outputs()),
    )
    return warm_up(Engine(served, facts, settings), bundle.contents)


def scored_history(asked: Score, contents: Contents, *, forward: Forward) -> Scored:
    """Return how likely events were.

    Args:
      asked: the events.
      contents: the model.
      forward: the network, see `lob_jax.export.score.score`.

    Raises:
      InputError: an event contradicts the book before it, or there is no event to score.
    """
    history = asked.history
    market = checked_market(history, contents)
    day = MarketDay(market.instrument, history.book, history.events, history.corrections, {})
    return scored(score(contents, day, forward, closed=history.closed, first=asked.first))


def facts_of(
    contents: Contents,
    *,
    name: str,
    precision: str,
    weights: Mapping[str, np.ndarray],
    card: Mapping[str, Any],
    inputs: Arrays,
    outputs: Arrays,
    fingerprint: str = "",
    version: str = lob_jax.__version__,
) -> ModelFacts:
    """Return what clients may know of a model; of no bundle, with a hash of its weights."""
    return ModelFacts(
        name=name,
        fingerprint=fingerprint or _hash(weights),
        version=version,
        instrument=contents.instrument,
        precision=precision,
        slots=contents.model.max_seq_length,
        book_levels=contents.settings.book_levels,
        window=contents.settings.window,
        pooled=contents.settings.pooled,
        parameters=sum(array.size for array in weights.values()),
        card=card,
        inputs=inputs,
        outputs=outputs,
    )


def _hash(weights: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()


def _arrays(described: Any) -> Arrays:
    return {each.name: (TYPES[each.type], tuple(each.shape)) for each in described}


def _infer(
    windows: onnxruntime.InferenceSession, inputs: Mapping[str, np.ndarray], outputs: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Run the graph of complete windows."""
    check_arrays(inputs, outputs, _arrays(windows.get_inputs()), _arrays(windows.get_outputs()))
    names = outputs or tuple(each.name for each in windows.get_outputs())
    found: Any = windows.run(list(names), dict(inputs))
    return dict(zip(names, found, strict=True))


def check_arrays(inputs: Mapping[str, np.ndarray], outputs: tuple[str, ...], read: Arrays, returned: Arrays) -> None:
    """Check that arrays are those that a graph reads, and results those that it returns.

    Raises:
      InputError: one is missing or unknown, or has another dtype or shape.
    """
    if set(inputs) != set(read):
        raise _unlike("the inputs of the model are others", "inputs", sorted(read), sorted(inputs))
    if unknown := sorted(set(outputs) - set(returned)):
        raise _unlike("the model has no such output", "outputs", sorted(returned), unknown)
    sizes: dict[str, int] = {}
    for name, (dtype, shape) in read.items():
        array, wanted = inputs[name], list(shape)
        if array.ndim == len(shape):
            pairs = zip(shape, array.shape, strict=True)
            wanted = [sizes.setdefault(axis, found) if isinstance(axis, str) else axis for axis, found in pairs]
        if array.dtype != dtype or list(array.shape) != wanted or 0 in wanted:
            raise _unlike(
                "an input has another type or shape", name, f"{dtype} {wanted}", f"{array.dtype} {array.shape}"
            )


def _unlike(what: str, where: str, expected: object, was: object) -> InputError:
    remedy = "send what the description of the model lists"
    return InputError(what, where=where, expected=expected, was=was, remedy=remedy)
