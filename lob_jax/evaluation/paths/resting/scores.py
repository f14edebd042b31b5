"""Score the share of paths on which an order is filled or cancelled as the probability that it really is.

Orders of a prompt share its future, so intervals are of a block bootstrap over prompts, never over orders.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.evaluation.likelihood.bootstrap import RESAMPLES, Blocks, interval
from lob_jax.evaluation.paths.resting.benchmarks import Climatology, touch_probability
from lob_jax.evaluation.paths.resting.fates import CANCELLED, FIRST_FILL, FULL_FILL, LOST, OUTCOMES
from lob_jax.evaluation.paths.resting.orders import BUCKETS
from lob_jax.evaluation.paths.resting.outcomes import UNITS, Watched
from lob_jax.evaluation.paths.resting.uniform import time_pits

ALL = "all"
SCORED = (FIRST_FILL, FULL_FILL, CANCELLED)
PATHS, CELLS, OVERALL, WALK = "paths", "climatology", "overall rate", "random walk"
BENCHMARKS = (CELLS, OVERALL, WALK)
RELIABILITY = ("orders", "probability", "frequency", "low", "high", "calibrated")
EDGES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)  # between bins of forecasts


@dataclasses.dataclass(frozen=True, eq=False)
class Benchmarks:
    """What paths are compared with.

    Attributes:
      climatology: frequencies of the training split.
      scale: by unit and horizon, the root mean square move of the mid in training, ticks.
    """

    climatology: Climatology
    scale: Mapping[str, Mapping[float, float]]


@dataclasses.dataclass(frozen=True, eq=False)
class Forecast:
    """Forecasts of one outcome within one horizon for O orders.

    Attributes:
      came_O: bool, whether it came.
      hits_O: int64, paths on which it came.
      paths: P, paths of each prompt.
      probability: by name, float64 [O], of the paths and of the benchmarks.
    """

    came_O: np.ndarray
    hits_O: np.ndarray
    paths: int
    probability: dict[str, np.ndarray]


def score_orders(
    watched: Watched, benchmarks: Benchmarks, horizons: Mapping[str, tuple[int, ...]], *, seed: int = 0
) -> dict[str, Any]:
    """Score paths and benchmarks as forecasts of what becomes of resting orders.

    A prompt counts at a horizon that its real continuation and all of its paths reach.

    Args:
      watched: the orders of at least three prompts, with at least two paths.
      benchmarks: fitted on the training split.
      horizons: by unit, ascending; none for a unit that is not scored.
      seed: seed of the bootstrap and of the PIT.

    Returns:
      Plain values as in JSON, None for what is not defined:
      * prompts, orders, paths, without_id (orders in the same part of the books that have none), same_queue (share of
        orders at whose price the generator's book holds orders of the same sizes), lost (share of orders that are lost
        from view, "real" and on "paths"), block (prompts per block of the bootstrap).
      * events, seconds: None without a horizon, else horizons; prompts and orders (numbers that count at each);
        buckets: by "all" and BUCKETS, by outcome: happened (share), forecasts (by name, lists over horizons of mean,
        brier and log), and skill (by benchmark, 1 - Brier score / Brier score of the benchmark, with low and high);
        and reliability: by outcome, see `reliability`.
      * time: what `uniform.time_pits` returns.
    """
    known, P = watched.known, watched.paths["events"].shape[1]
    N = len(known.books)
    block = max(1, round(N ** (1 / 3)))
    rng = np.random.default_rng(seed)
    blocks = Blocks.draw(N, block, resamples=RESAMPLES, rng=rng)
    lost = watched.paths["events"][..., LOST], known.truth["events"][:, LOST]
    return {
        "prompts": N,
        "orders": len(known.orders),
        "paths": P,
        "without_id": known.without_id,
        "same_queue": float(watched.same_O.mean()),
        "lost": {name: float(np.isfinite(one).mean()) for name, one in zip(("paths", "real"), lost, strict=True)},
        "block": block,
        **{
            unit: _of_unit(watched, benchmarks, unit, horizons[unit], blocks) if horizons[unit] else None
            for unit in UNITS
        },
        "time": time_pits(watched, block=block, rng=rng),
    }


def _of_unit(
    watched: Watched, benchmarks: Benchmarks, unit: str, horizons: tuple[int, ...], blocks: Blocks
) -> dict[str, Any]:
    moment_O, bucket_O = watched.known.moment_O, watched.known.orders.bucket()
    counts_HN = [watched.reach[unit] >= horizon for horizon in horizons]
    found: dict[str, Any] = {
        "horizons": list(horizons),
        "prompts": [int(counts_N.sum()) for counts_N in counts_HN],
        "orders": [int(counts_N[moment_O].sum()) for counts_N in counts_HN],
        "buckets": {name: {} for name in (ALL, *BUCKETS)},
        "reliability": {},
    }
    for outcome in SCORED:
        name = OUTCOMES[outcome]
        forecasts = [forecast(watched, benchmarks, unit, outcome, horizon) for horizon in horizons]
        for bucket, of in found["buckets"].items():
            among_O = np.ones(len(bucket_O), bool) if bucket == ALL else bucket_O == BUCKETS.index(bucket)
            each = zip(forecasts, counts_HN, strict=True)
            of[name] = _listed([_scores(one, counts_N[moment_O] & among_O, moment_O, blocks) for one, counts_N in each])
        found["reliability"][name] = [
            reliability(one, counts_N[moment_O], moment_O, blocks)
            for one, counts_N in zip(forecasts, counts_HN, strict=True)
        ]
    return found


def forecast(watched: Watched, benchmarks: Benchmarks, unit: str, outcome: int, horizon: float) -> Forecast:
    """Return the forecasts of an outcome within a horizon; a random walk says nothing of cancels."""
    orders, climatology = watched.known.orders, benchmarks.climatology
    paths_OP = watched.paths[unit][:, :, outcome] <= horizon
    probability = {
        PATHS: paths_OP.mean(1),
        CELLS: climatology.probability(orders, unit, outcome, horizon),
        OVERALL: np.full(len(orders), climatology.overall(unit, outcome, horizon)),
    }
    if outcome != CANCELLED:
        probability[WALK] = touch_probability(orders.barrier_O, benchmarks.scale[unit][horizon])
    came_O = watched.known.truth[unit][:, outcome] <= horizon
    return Forecast(came_O, paths_OP.sum(1), paths_OP.shape[1], probability)


def brier_losses(one: Forecast, name: str) -> np.ndarray:
    """Return the Brier score (p - y)^2 of each order, float64 [O].

    That of the paths is an unbiased estimate of the score of the probability that they are drawn with: a share f of P
    paths has a variance, estimated by f (1 - f) / (P - 1) (Ferro, 2014).
    """
    p_O = one.probability[name]
    spread_O = p_O * (1 - p_O) / (one.paths - 1) if name == PATHS else 0.0
    return np.square(p_O - one.came_O) - spread_O


def log_losses(one: Forecast, name: str) -> np.ndarray:
    """Return the logarithmic score -ln p(what came) of each order, nats, float64 [O].

    No path says that an outcome is impossible: k of P paths stand for (k + 1/2) / (P + 1), and benchmarks are kept as
    far from 0 and 1.
    """
    least = 0.5 / (one.paths + 1)
    p_O = (one.hits_O + 0.5) / (one.paths + 1) if name == PATHS else one.probability[name].clip(least, 1 - least)
    return -np.log(np.where(one.came_O, p_O, 1 - p_O))


def _scores(one: Forecast, counts_O: np.ndarray, moment_O: np.ndarray, blocks: Blocks) -> dict[str, Any]:
    """Return the scores of the orders that count, at one horizon."""
    total = functools.partial(_per_moment, counts_O=counts_O, moment_O=moment_O, moments=blocks.observations)
    orders_N = total(np.ones(len(moment_O)))
    count = orders_N.sum()
    found: dict[str, Any] = {"happened": _ratio(total(one.came_O).sum(), count), "forecasts": {}, "skill": {}}
    brier_N = {name: total(brier_losses(one, name)) for name in one.probability}
    for name, p_O in one.probability.items():
        log = _ratio(total(log_losses(one, name)).sum(), count)
        mean, brier = _ratio(total(p_O).sum(), count), _ratio(brier_N[name].sum(), count)
        found["forecasts"][name] = {"mean": mean, "brier": brier, "log": log}
    for name in one.probability:
        if name != PATHS:
            found["skill"][name] = _skill(brier_N[PATHS], brier_N[name], blocks)
    return found


def _per_moment(values_O: np.ndarray, *, counts_O: np.ndarray, moment_O: np.ndarray, moments: int) -> np.ndarray:
    """Return the sums of values over the orders that count of each moment, float64 [N]."""
    return np.bincount(moment_O[counts_O], np.asarray(values_O, float)[counts_O], minlength=moments)


def _ratio(total: float, count: float) -> float | None:
    return float(total / count) if count else None


def _skill(ours_N: np.ndarray, theirs_N: np.ndarray, blocks: Blocks) -> dict[str, float] | None:
    """Return 1 - our loss / their loss with its 95 % interval; None if theirs is 0."""
    ours_R, theirs_R = blocks.sums(np.stack([ours_N, theirs_N], axis=1)).T
    kept_R = theirs_R > 0
    if theirs_N.sum() <= 0 or not kept_R.any():
        return None
    low, high = interval(1 - ours_R[kept_R] / theirs_R[kept_R])
    return {"value": float(1 - ours_N.sum() / theirs_N.sum()), "low": low, "high": high}


def _listed(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the scores at all horizons as one dictionary, with lists in place of values."""
    names = each[0]["forecasts"]
    return {
        "happened": [one["happened"] for one in each],
        "forecasts": {
            name: {score: [one["forecasts"][name][score] for one in each] for score in ("mean", "brier", "log")}
            for name in names
        },
        "skill": {name: [one["skill"][name] for one in each] for name in names if name != PATHS},
    }


def reliability(one: Forecast, counts_O: np.ndarray, moment_O: np.ndarray, blocks: Blocks) -> dict[str, list[Any]]:
    """Return how often an outcome came, by the share of paths on which it does.

    A share of few paths is a noisy estimate of their probability, so that outcomes come less often than large shares
    say, and more often than small ones, even if a real continuation is as good as a further path. `calibrated` is what
    comes then: the mean over all paths, each taken for the real continuation and compared with the others.

    Returns:
      Lists over bins with orders: orders, probability (mean share), frequency with low and high (95 %, bootstrap over
      prompts), and calibrated; None where it is not defined.
    """
    P, bins = one.paths, len(EDGES) + 1
    total = functools.partial(_per_moment, counts_O=counts_O, moment_O=moment_O, moments=blocks.observations)
    bin_O = np.digitize(one.probability[PATHS], EDGES)
    in_bin = [bin_O == at for at in range(bins)]
    orders_NB, came_NB = (np.stack([total(x * values) for x in in_bin], axis=1) for values in (1, one.came_O))
    share_NB = np.stack([total(x * one.probability[PATHS]) for x in in_bin], axis=1)
    came_RB, orders_RB = blocks.sums(came_NB), blocks.sums(orders_NB)
    calibrated_B = _calibrated(one.hits_O[counts_O], P)
    found: dict[str, list[Any]] = {key: [] for key in RELIABILITY}
    for at in np.flatnonzero(orders_NB.sum(0)):
        count, drawn_R = orders_NB[:, at].sum(), orders_RB[:, at] > 0
        low, high = interval(came_RB[drawn_R, at] / orders_RB[drawn_R, at])
        row = (int(count), share_NB[:, at].sum() / count, came_NB[:, at].sum() / count, low, high, calibrated_B[at])
        for key, value in zip(found, row, strict=True):
            found[key].append(value if value is None or isinstance(value, int) else float(value))
    return found


def _calibrated(hits_O: np.ndarray, paths: int) -> list[float | None]:
    """Return for each bin how often a path meets the outcome if the share of the others is in the bin."""
    came, all_of = np.zeros(len(EDGES) + 1), np.zeros(len(EDGES) + 1)
    for others, weight_O, comes in ((hits_O - 1, hits_O, 1), (hits_O, paths - hits_O, 0)):
        bin_O = np.digitize(np.maximum(others, 0) / (paths - 1), EDGES)
        sums = np.bincount(bin_O, weight_O, minlength=len(all_of))
        all_of += sums
        came += comes * sums
    return [_ratio(one, count) for one, count in zip(came, all_of, strict=True)]
