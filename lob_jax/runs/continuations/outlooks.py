"""What paths show of direction and volatility, beside the predictions of the model's direct heads."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import replay
from lob_jax.data.labels.moves import Outlooks
from lob_jax.evaluation.paths.outlooks import Labelled, score_outlooks
from lob_jax.generation.context import named
from lob_jax.generation.device.state import Window
from lob_jax.generation.prompt import Prompt
from lob_jax.models.apply import apply
from lob_jax.models.config import ModelConfig
from lob_jax.models.heads import Outlook
from lob_jax.models.transformer import LOBTransformer
from lob_jax.runs.continuations.generate import Continuations
from lob_jax.runs.continuations.prompts import Continued
from lob_jax.runs.load import Run
from lob_jax.tokens.vocabulary import field_of, is_of_gap


def compare_with_heads(run: Run, paths: Continuations, *, seed: int = 0) -> dict[str, Any] | None:
    """Return what `score_outlooks` returns for the paths and the heads of their model; None if it has no such heads.

    Args:
      run: the run that the paths are of.
      paths: the paths, at least two of each prompt.
      seed: seed of the bootstrap.
    """
    outlooks = run.beside.outlooks
    if not run.model.heads.outlook_events or outlooks is None:
        return None
    truth = [_labels(outlooks, _mid(one.day), one) for one in paths.real]
    drawn = [_labels(outlooks, np.append(_mid(one.day)[: one.events], _mid(day)), one) for one, day in paths.rows()]
    shape = (len(truth), -1, len(outlooks.horizons))
    truth_NK, truth_log_NK = (np.stack(part) for part in zip(*truth, strict=True))
    paths_NPK, paths_log_NPK = (np.stack(part).reshape(shape) for part in zip(*drawn, strict=True))
    heads = predicted(run, [one.prompt for one in paths.real])
    labelled = Labelled(outlooks.horizons, truth_NK, paths_NPK, truth_log_NK, paths_log_NPK, *heads)
    return score_outlooks(labelled, seed=seed)


def _mid(day: MarketDay) -> np.ndarray:
    """Return the mid before each event of a day and after the last, price quanta, float64 [E+1]; NaN if unknown."""
    states = replay(day, levels=1)
    return np.where(states.two_sided(), states.mid2() / 2, np.nan)


def _labels(outlooks: Outlooks, mid: np.ndarray, one: Continued) -> tuple[np.ndarray, np.ndarray]:
    """Return direction and log volatility where the prompt ends, [K] each, from the mids of the prompt and after it."""
    direction, log_volatility = outlooks.of_mids(mid, one.day.instrument.tick)
    return direction[one.events], log_volatility[one.events]


def predicted(run: Run, prompts: Sequence[Prompt]) -> tuple[np.ndarray, np.ndarray]:
    """Return what the direct heads predict at the end of each prompt, float64 [N, K, 3] and [N, K].

    They are read at the first time token of the last event, where labels are.

    Args:
      run: a run whose model has the heads.
      prompts: the prompts.

    Returns:
      The probabilities of down, flat and up, and the log volatility.
    """
    ends = [_last_time_token(prompt) + 1 for prompt in prompts]
    window, read = _windows(prompts, ends, run.model.max_seq_length)
    outlook = _outlook(run.params, named(window, run.model), model=run.model)
    rows = np.arange(len(prompts))
    probability_NK3 = jax.nn.softmax(outlook.direction_BTK3[rows, read - 1])
    return np.asarray(probability_NK3, float), np.asarray(outlook.log_volatility_BTK[rows, read - 1], float)


@functools.partial(jax.jit, static_argnames="model")
def _outlook(params: Any, window: Window, *, model: ModelConfig) -> Outlook:
    return apply(LOBTransformer(model), {"params": params}, *window, method="outlook")


def _last_time_token(prompt: Prompt) -> int:
    """Return the index of the first time token of the last event."""
    event_T = prompt.known_T["event"]
    return int(np.argmax((event_T == event_T[-1]) & is_of_gap(field_of(prompt.tokens_T))))


def _windows(prompts: Sequence[Prompt], ends: Sequence[int], longest: int) -> tuple[Window, np.ndarray]:
    """Return the tokens of each prompt up to its end, the last `longest` of them, and how many are read of each.

    They are padded on the right, which a causal model does not see.
    """
    read = np.minimum(ends, longest)
    width = int(read.max())

    def rows(*leaves: np.ndarray) -> jax.Array:
        parts = [leaf[end - count : end] for leaf, end, count in zip(leaves, ends, read, strict=True)]
        padded = [np.pad(part, [(0, width - len(part)), *[(0, 0)] * (part.ndim - 1)]) for part in parts]
        return jnp.asarray(np.stack(padded))

    return Window(*jax.tree.map(rows, *((prompt.tokens_T, prompt.known_T) for prompt in prompts))), read
