"""Score generated paths as forecasts of the mid price, against random walks and the moves of the training split."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.stats

from lob_jax.evaluation.paths.comparison import compare_losses
from lob_jax.evaluation.paths.ensembles import (
    BANDS,
    LEVELS,
    covered,
    crps,
    energy_score,
    fewest_draws,
    pinball,
    pit,
    quantiles,
)
from lob_jax.evaluation.paths.moves import Horizons

DRAWS = 1000  # of a forecast that is a distribution
ENERGY_DRAWS = 200  # of these in the energy score, whose cost is that of all pairs
PIT_BINS = 10
PATHS, WALK, PROMPT_WALK, HISTORY = "paths", "random walk", "random walk, prompt's volatility", "training moves"


@dataclasses.dataclass(frozen=True, eq=False)
class Outcomes:
    """Forecasts of moves of the mid price and what happened, in ticks, prompts in the order of time.

    Attributes:
      horizons: the H horizons.
      truth_NH: the real moves after N prompts; NaN where the real continuation does not reach the horizon.
      paths_NPH: the moves of P paths from each prompt; NaN likewise.
      volatility_N: root mean square move of the mid in each prompt, per event or per root of a second.
      history_MH: moves in the training split.
    """

    horizons: Horizons
    truth_NH: np.ndarray
    paths_NPH: np.ndarray
    volatility_N: np.ndarray
    history_MH: np.ndarray


def walks(scale_NH: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return draws of random walks with normal steps and the given standard deviations, float64 [N, DRAWS, H]."""
    variance_NH = np.diff(np.square(scale_NH), axis=1, prepend=0)
    step_NH = np.sqrt(np.maximum(variance_NH, 0))
    return np.cumsum(rng.standard_normal((len(scale_NH), DRAWS, scale_NH.shape[1])) * step_NH[:, None], axis=2)


def ensembles_of(outcomes: Outcomes, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the draws of each forecast by name, float64 [N, P or DRAWS, H].

    The random walk has the root mean square moves of the training split at each horizon; the other one has the
    volatility of each prompt, times the root of the horizon. The moves of the training split are a forecast, too.
    """
    N = len(outcomes.truth_NH)
    since = np.sqrt(np.array(outcomes.horizons.moments))
    found = {PATHS: outcomes.paths_NPH, PROMPT_WALK: walks(outcomes.volatility_N[:, None] * since, rng)}
    history_MH = outcomes.history_MH
    if len(history_MH):
        scale_H = np.sqrt(np.square(history_MH).mean(0))
        drawn_ND = rng.integers(len(history_MH), size=(N, DRAWS))
        found |= {WALK: walks(np.tile(scale_H, (N, 1)), rng), HISTORY: history_MH[drawn_ND]}
    return found


def score_forecasts(outcomes: Outcomes, *, seed: int = 0) -> dict[str, Any]:
    """Score paths and benchmarks, and compare the paths with each benchmark.

    A prompt counts at a horizon that its real continuation and all of its paths reach.

    Args:
      outcomes: forecasts and outcomes; at least two paths per prompt.
      seed: seed of the benchmarks' draws, the PIT and the bootstrap.

    Returns:
      Plain values as in JSON, None for what is not defined:
      * by, horizons, prompts (numbers that count at each horizon), paths (per prompt), training_moves (number).
      * forecasts: by name, lists over horizons of crps (ticks), pinball (by level, ticks), coverage (by band, with
        share, low and high; None with too few draws), pit (counts in ten bins), pit_p (p-value of the chi-squared test
        that they are uniform), and skill (1 - CRPS / CRPS of the random walk); and energy: the mean energy score over
        the prompts that count at all horizons, each in units of the root mean square move in training.
      * against: by benchmark, the `Comparison` of the paths' CRPS with the benchmark's at each horizon, and of the
        energy score.
    """
    rng = np.random.default_rng(seed)
    forecasts = ensembles_of(outcomes, rng)
    counts_NH = np.isfinite(outcomes.truth_NH) & np.isfinite(outcomes.paths_NPH).all(1)
    losses = {name: _crps_by_horizon(draws, outcomes.truth_NH, counts_NH) for name, draws in forecasts.items()}
    energies = _energies(forecasts, outcomes, counts_NH)
    scored = {
        name: {**_scored(draws, outcomes.truth_NH, counts_NH, rng), "energy": _mean(energies[name])}
        for name, draws in forecasts.items()
    }
    for name, of in losses.items():
        scored[name]["crps"] = [_mean(one) for one in of]
        scored[name]["skill"] = [_skill(one, walk) for one, walk in zip(of, losses.get(WALK, of), strict=True)]
    against = {
        name: {
            "crps": [_compared(ours, theirs, seed) for ours, theirs in zip(losses[PATHS], losses[name], strict=True)],
            "energy": _compared(energies[PATHS], energies[name], seed),
        }
        for name in forecasts
        if name != PATHS
    }
    return {
        "by": outcomes.horizons.by,
        "horizons": list(outcomes.horizons.moments),
        "prompts": counts_NH.sum(0).tolist(),
        "paths": outcomes.paths_NPH.shape[1],
        "training_moves": len(outcomes.history_MH),
        "forecasts": scored,
        "against": against,
    }


def _crps_by_horizon(draws_NPH: np.ndarray, truth_NH: np.ndarray, counts_NH: np.ndarray) -> list[np.ndarray]:
    """Return the CRPS of the prompts that count, for each horizon."""
    return [crps(draws_NPH[at, :, h], truth_NH[at, h]) for h, at in enumerate(counts_NH.T)]


def _energies(forecasts: Mapping[str, np.ndarray], outcomes: Outcomes, counts_NH: np.ndarray) -> dict[str, np.ndarray]:
    """Return the energy scores of the prompts that count at all horizons."""
    at_N, moves_MH = counts_NH.all(1), outcomes.history_MH
    scale_H = np.sqrt(np.square(moves_MH if len(moves_MH) else outcomes.truth_NH[at_N]).mean(0)) if at_N.any() else 1.0
    unit_H = np.where(np.asarray(scale_H) > 0, scale_H, 1.0)
    truth_NH = outcomes.truth_NH[at_N] / unit_H
    few = {name: draws[at_N, :ENERGY_DRAWS] / unit_H for name, draws in forecasts.items()}
    return {name: energy_score(draws_NPH, truth_NH) for name, draws_NPH in few.items()}


def _scored(
    draws_NPH: np.ndarray, truth_NH: np.ndarray, counts_NH: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """Return pinball losses, coverage and PIT of a forecast, lists over horizons."""
    found: dict[str, Any] = {"pinball": {}, "coverage": {}, "pit": [], "pit_p": []}
    for h, at_N in enumerate(counts_NH.T):
        draws_NP, truth_N = draws_NPH[at_N, :, h], truth_NH[at_N, h]
        lost_NQ = pinball(quantiles(draws_NP, LEVELS), truth_N, LEVELS) if at_N.any() else np.zeros((0, len(LEVELS)))
        for q, level in enumerate(LEVELS):
            found["pinball"].setdefault(f"{level:g}", []).append(_mean(lost_NQ[:, q]))
        for band in BANDS:
            found["coverage"].setdefault(f"{band:g}", []).append(_coverage(draws_NP, truth_N, band))
        counts = np.histogram(pit(draws_NP, truth_N, rng), bins=PIT_BINS, range=(0, 1))[0]
        found["pit"].append(counts.tolist())
        found["pit_p"].append(float(scipy.stats.chisquare(counts).pvalue) if counts.sum() else None)
    return found


def _coverage(draws_NP: np.ndarray, truth_N: np.ndarray, band: float) -> dict[str, float] | None:
    """Return the share of outcomes within a band, with its 95 % interval (Wilson); None with too few draws."""
    if draws_NP.shape[1] < fewest_draws(band) or not len(truth_N):
        return None
    inside = int(covered(draws_NP, truth_N, band).sum())
    interval = scipy.stats.binomtest(inside, len(truth_N)).proportion_ci(0.95, method="wilson")
    return {"share": inside / len(truth_N), "low": float(interval.low), "high": float(interval.high)}


def _compared(first: np.ndarray, second: np.ndarray, seed: int) -> dict[str, float | None] | None:
    if len(first) < 3:
        return None
    return compare_losses(first, second, seed=seed).to_json()


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _skill(losses: np.ndarray, walk: np.ndarray) -> float | None:
    return float(1 - losses.mean() / walk.mean()) if len(walk) and walk.mean() > 0 else None
