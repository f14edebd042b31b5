"""Divergence by horizon: the distance of the first, second, ... block of generated messages from real flow."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lob_jax.evaluation.fidelity.distances.comparison import half_distances, mean_and_range, plain
from lob_jax.evaluation.fidelity.distances.draws import Halves
from lob_jax.evaluation.fidelity.distances.parts import block, common_length
from lob_jax.evaluation.fidelity.samples import between, joint, measure
from lob_jax.evaluation.fidelity.score import Score
from lob_jax.statistics.flow import Flow

_L1 = 0
_HIGH = 99  # percentile of splits


def divergence(
    scores: tuple[Score, ...],
    real: Flow,
    generated: Flow,
    *,
    messages: int,
    draws: Halves,
    on_score: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Return the divergence of a flow by blocks of messages, see `compare.compare`.

    The floor is what blocks of real sequences differ by from other real sequences: half B's block j v half A, at the
    count of sequences and of messages that a generated block has.

    Args:
      scores: the scores whose L1 is measured.
      real, generated: the flows.
      messages: messages per block.
      draws: halves of the real sequences.
      on_score: called after each score.
    """
    number = common_length(real, generated) // messages
    parts = [(block(generated, j, messages), block(real, j, messages)) for j in range(number)]
    curves: dict[str, np.ndarray] = {}
    for score in scores:
        curves[score.name] = np.array([_of_block(score, real, *part, draws) for part in parts])
        on_score()
    defined = [curve for curve in curves.values() if number and np.isfinite(curve[:, 0, 0]).all()]
    return {
        "first_message": [j * messages for j in range(number)],
        "scores": len(defined),
        **_figures(np.mean(defined, axis=0) if defined else np.full((number, 3, 1), np.nan)),
        "by_score": {name: _figures(curve) for name, curve in curves.items()} if number else {},
    }


def _of_block(score: Score, real: Flow, generated_block: Flow, real_block: Flow, draws: Halves) -> np.ndarray:
    """Return L1 of a block v all of real, of halves, and of real halves, float64 [3, max(K, 1)]."""
    whole, found, own = (measure(score, flow) for flow in (real, generated_block, real_block))
    if found.reason is not None or len(own.value) == 0:
        return np.full((3, max(len(draws.first), 1)), np.nan)
    both, alone = joint(score, whole, found), joint(score, whole, own)
    is_first = np.arange(len(real) + len(generated_block)) < len(real)
    value = between(both, is_first.astype(np.int64), (~is_first).astype(np.int64)).l1
    half = half_distances(both, draws.first, draws.generated, real=len(real), generated=len(generated_block))
    floor = half_distances(alone, draws.first, draws.second, real=len(real), generated=len(real))
    if len(half) == 0:
        half = floor = np.full((1, 3), np.nan)
    return np.stack([np.full(len(half), value), half[:, _L1], floor[:, _L1]])


def _figures(curve: np.ndarray) -> dict[str, list[float | None]]:
    """Return the figures of each block, from values, halves and floors of each split, float64 [J, 3, K]."""
    figures: dict[str, list[float | None]] = {name: [] for name in ("value", "half", "floor", "floor_high", "ratio")}
    for value, half, floor in curve:
        mean, floor_mean = mean_and_range(half)[0], mean_and_range(floor)[0]
        defined = floor[np.isfinite(floor)]
        found = {
            "value": float(value[0]),
            "half": mean,
            "floor": floor_mean,
            "floor_high": float(np.percentile(defined, _HIGH)) if len(defined) else np.nan,
            "ratio": mean / floor_mean if floor_mean > 0 else np.nan,
        }
        for name, figure in plain(found).items():
            figures[name].append(figure)
    return figures
