"""Whether the times to fills and cancels are calibrated: their PIT, and a test that it is uniform."""

from typing import Any

import numpy as np

from lob_jax.evaluation.paths.ensembles import pit
from lob_jax.evaluation.paths.resting.fates import CANCELLED, FIRST_FILL, OUTCOMES
from lob_jax.evaluation.paths.resting.orders import BUCKETS
from lob_jax.evaluation.paths.resting.outcomes import Watched

BINS = 10
DRAWS = 2000  # signs of the test
FINITE = "if it comes"
ALL = "all"


def time_pits(watched: Watched, *, block: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return the PIT of how many events it takes to the first fill and to the cancel of each order.

    An order to which something else happens, or nothing before the end of the paths, has an infinite time, later than
    all others: a cancel competes with a fill, and both with the loss from view. The PIT of the time as it is, ties in
    random order, says mainly how often it is finite. That of finite times alone, among the paths with a finite time,
    says when. Each is uniform if the real continuation is as good as a further path.

    Args:
      watched: the orders.
      block: consecutive prompts whose orders may depend on each other.
      rng: source of the random numbers.

    Returns:
      By "all" and BUCKETS, by outcome, and by outcome with FINITE: orders, counts in ten bins, and the p-value of
      `uniform_p`, None without orders.
    """
    known, bucket_O = watched.known, watched.known.orders.bucket()
    found: dict[str, Any] = {}
    for bucket in (ALL, *BUCKETS):
        among_O = np.ones(len(bucket_O), bool) if bucket == ALL else bucket_O == BUCKETS.index(bucket)
        moment_O, of = known.moment_O[among_O], {}
        for outcome in (FIRST_FILL, CANCELLED):
            draws_OP, truth_O = watched.paths["events"][among_O][..., outcome], known.truth["events"][among_O, outcome]
            of[OUTCOMES[outcome]] = _tested(pit(draws_OP, truth_O, rng), moment_O, len(known.books), block, rng)
            both_O = np.isfinite(truth_O) & np.isfinite(draws_OP).any(1)
            values = finite_pit(draws_OP[both_O], truth_O[both_O], rng)
            of[f"{OUTCOMES[outcome]}, {FINITE}"] = _tested(values, moment_O[both_O], len(known.books), block, rng)
        found[bucket] = of
    return found


def finite_pit(draws_NP: np.ndarray, truth_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the PIT of finite outcomes among the finite draws of each forecast, float64 [N].

    Given how many of the draws and the truth are finite, the rank of the truth among them is uniform if they are
    exchangeable.

    Args:
      draws_NP: P draws of each of N forecasts, infinite ones left aside.
      truth_N: finite.
      rng: source of the random numbers for ties.
    """
    below_N, equal_N = (draws_NP < truth_N[:, None]).sum(1), (draws_NP == truth_N[:, None]).sum(1)
    return (below_N + rng.random(len(truth_N)) * (equal_N + 1)) / (np.isfinite(draws_NP).sum(1) + 1)


def _tested(
    values: np.ndarray, moment: np.ndarray, moments: int, block: int, rng: np.random.Generator
) -> dict[str, Any]:
    counts = np.histogram(values, bins=BINS, range=(0, 1))[0]
    p = uniform_p(values, moment, moments=moments, block=block, rng=rng) if len(values) else None
    return {"orders": len(values), "counts": counts.tolist(), "p": p}


def uniform_p(pit_O: np.ndarray, moment_O: np.ndarray, *, moments: int, block: int, rng: np.random.Generator) -> float:
    """Return the p-value of a test that values are uniform on 0..1, which may depend on each other within blocks.

    The statistic is that of the chi-squared test in ten bins. Its distribution is that under random signs of what each
    block of consecutive moments contributes to the deviations from the mean count (the wild cluster bootstrap).

    Args:
      pit_O: the values.
      moment_O: the moment of each, from 0.
      moments: number of moments.
      block: moments per block.
      rng: source of the signs.
    """
    bin_O = np.minimum((pit_O * BINS).astype(int), BINS - 1)
    blocks = -(-moments // block)
    counts_GB = np.zeros((blocks, BINS))
    np.add.at(counts_GB, (moment_O // block, bin_O), 1)
    off_GB = counts_GB - counts_GB.sum(1, keepdims=True) / BINS
    observed = np.square(off_GB.sum(0)).sum()
    drawn_R = np.square(rng.choice((-1.0, 1.0), (DRAWS, blocks)) @ off_GB).sum(1)
    return float((1 + (drawn_R >= observed - 1e-9).sum()) / (1 + DRAWS))
