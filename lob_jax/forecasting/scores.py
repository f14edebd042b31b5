"""Average the scores of forecasts over seeds, compare them on the same bootstrap draws, and score quantiles."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.evaluation.direction.blocks import LEAST_BLOCKS, interval
from lob_jax.evaluation.direction.scores import SCORES, scores
from lob_jax.evaluation.direction.sums import Sums


def seed_scores(of_seeds: list[Sums], times: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return the mean of each score over seeds, with its standard deviation and its bootstrap interval.

    Args:
      of_seeds: block sums of the same examples, one per seed.
      times: the result of `blocks.draw_blocks`; every seed is scored on the same draws.

    Returns:
      For each score: mean; std over seeds (0 for a single seed); draws, float64 [D], the mean over seeds in each draw,
      for comparison with another model on the same draws; low and high, the interval of those draws. What the examples
      leave undefined is NaN.
    """
    points = [scores(one.whole()) for one in of_seeds]
    drawn = [scores(one.drawn(times)) for one in of_seeds]
    result = {}
    for name in SCORES:
        values, means = np.array([point[name] for point in points]), np.mean([one[name] for one in drawn], axis=0)
        if times.shape[1] < LEAST_BLOCKS:
            means = np.full(len(times), np.nan)
        low, high = interval(means)
        result[name] = {"mean": values.mean(), "std": values.std(), "low": low, "high": high, "draws": means}
    return result


def mean_scores(of_folds: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the mean of each score over folds, as `seed_scores` does over seeds; `std` is that over the folds.

    The folds' draws are independent, so the means of the draws are draws of the mean. A single fold is returned as it
    is.
    """
    if len(of_folds) == 1:
        return of_folds[0]
    result = {}
    for name in SCORES:
        values = np.array([one[name]["mean"] for one in of_folds])
        draws = np.mean([one[name]["draws"] for one in of_folds], axis=0)
        low, high = interval(draws)
        result[name] = {"mean": values.mean(), "std": values.std(), "low": low, "high": high, "draws": draws}
    return result


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """Return one score minus another, with its interval; both must come from the same draws of blocks.

    Differences are taken draw by draw: what both models find hard cancels, so the interval is narrower than one
    computed from two separate intervals.
    """
    low, high = interval(one["draws"] - other["draws"])
    return {"mean": float(one["mean"] - other["mean"]), "low": low, "high": high}


def pinball_ticks(quantiles: np.ndarray, move: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Return the mean pinball loss of each horizon, float64 [K]; quantiles [N, K, Q] and moves [N, K], all in ticks."""
    error = move[..., None] - quantiles
    level = np.array(levels)
    return np.maximum(level * error, (level - 1) * error).mean((0, 2))
