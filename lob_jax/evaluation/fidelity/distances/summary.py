"""Summaries over scores: mean, median and interquartile mean."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lob_jax.evaluation.fidelity.distances.comparison import METRICS, Compared, against_floor, with_intervals

_DRAWS = 1000


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of the values from the first to the third quartile, both included, over the last axis."""
    low, high = np.percentile(values, (25, 75), axis=-1, keepdims=True)
    kept = (values >= low) & (values <= high)
    return np.sum(values * kept, axis=-1) / np.sum(kept, axis=-1)


def _mean(values: np.ndarray) -> np.ndarray:
    return np.mean(values, axis=-1)


def _median(values: np.ndarray) -> np.ndarray:
    return np.median(values, axis=-1)


STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": _mean,
    "median": _median,
    "iqm": interquartile_mean,
}


def summarize(
    found: list[Compared], halves: list[np.ndarray], floors: list[np.ndarray], *, seed: int
) -> dict[str, dict[str, Any]]:
    """Return the summary of several scores of one flow, by distance.

    Args:
      found: each score's distances; those that are not defined are left out.
      halves, floors: each score's distances of halves, float64 [K, 3].
      seed: of the draws for the interval by single values: one resample of each score, 1,000 times.
    """
    return {
        metric: _of_metric(
            np.array([one.value[m] for one in found]),
            [one.by_sequence[:, m] for one in found],
            [one.by_value[:, m] for one in found],
            [one[:, m] for one in halves],
            [one[:, m] for one in floors],
            np.random.default_rng([seed, 3, m]),
        )
        for m, metric in enumerate(METRICS)
    }


def _of_metric(
    value: np.ndarray,
    by_sequence: list[np.ndarray],
    by_value: list[np.ndarray],
    halves: list[np.ndarray],
    floors: list[np.ndarray],
    rng: np.random.Generator,
) -> dict[str, Any]:
    defined = np.flatnonzero(np.isfinite(value))
    if len(defined) == 0:
        return {"scores": 0}
    of_sequences = np.stack([by_sequence[i] for i in defined], axis=1)
    of_values = [np.append(by_value[i], value[i]) for i in defined]
    if len(by_value[0]) == 0:
        drawn = np.zeros((0, len(defined)))
    else:
        drawn = np.stack([rng.choice(one, _DRAWS) for one in of_values], axis=1)
    summary: dict[str, Any] = {"scores": len(defined)}
    for name, statistic in STATISTICS.items():
        point = float(statistic(value[defined]))
        summary[name] = with_intervals(point, statistic(of_sequences), statistic(drawn))
    return summary | against_floor(_mean_of(halves, defined), _mean_of(floors, defined))


def _mean_of(of_scores: list[np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """Return the mean over scores in each split; NaN if one of them is not defined there."""
    return np.mean([of_scores[i] for i in chosen], axis=0)
