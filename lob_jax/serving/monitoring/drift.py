"""Drift: how much the latest events of a market differ from those of training at the same time of day.

The population stability index of two distributions over K bins is

  PSI = sum over k of (p_k - q_k) ln(p_k / q_k),

the sum of both Kullback-Leibler divergences. p is the share of the latest n events in each bin. q is the mixture of the
training shares of the half hours in which these events were, weighted with how many were in each, so that a market that
is livelier at its opening than at noon does not drift every morning. Half a count is added to each live bin; a half
hour of training has PRIOR events added that are distributed as the whole training split (with half a count added to
each bin), so that half hours with few events or none count as an average one, and no bin is empty.

By chance alone, n and m independent draws from one distribution have PSI / (1/n + 1/m) distributed about as chi-squared
with K - 1 degrees of freedom (Yurdakul and Naranjo, Journal of Risk Model Validation 14(4), 2020: statistical
properties of the population stability index). Its mean is (K - 1)(1/n + 1/m), which is reported as `expected` with the
K bins that have a share in training. For a mixture, 1/m is the sum over the half hours of w_t^2 / m_t. Events of a
market are not independent: on a normal day the index is well above this, so that thresholds come from normal days.

`THRESHOLDS` are for WINDOW events of a market of which little more than a day is known: about twice the largest excess
in parts of GOOG's LOBSTER day that are not training, and seven times and more that of simulated days; see
`python -m lob_jax.bench.drift`, which measures those of your days. Over fewer events, normal bursts pass them. A single
day that is split by time has no normal rest: the spread of GOOG's afternoon is beyond that of its morning. What tells
such a case is `Report.outside_hours`.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from lob_jax.export.reference.features import FEATURES, UNKNOWN
from lob_jax.serving.monitoring.ring import Ring

WINDOW = 8192  # latest events that are compared
FEWEST = 1000  # events without which there is no index
THRESHOLDS = {"class": 0.1, "size": 0.25, "gap": 0.15, "step": 0.4, "spread": 1.0}  # of `Drift.excess` at WINDOW events
PRIOR = 500.0  # events distributed as the whole training split, added to each half hour


@dataclasses.dataclass(frozen=True)
class Drift:
    """How much a feature has drifted.

    Attributes:
      events: how many of the latest events it was known of.
      psi: the population stability index, 0 and more; None for fewer than FEWEST events.
      expected: what independent events of the training distribution would have on average; None likewise.
      excess: psi - expected, but not below 0; None likewise.
    """

    events: int
    psi: float | None
    expected: float | None
    excess: float | None


class Latest:
    """The bins of the latest events, at most `window` of each feature."""

    def __init__(self, window: int = WINDOW) -> None:
        self._bins = {name: Ring(2, window, np.int8) for name in FEATURES}  # bins, and half hours

    def add(self, feature: str, bin_E: np.ndarray, half_hour_E: np.ndarray) -> None:
        """Add events of which a feature has bins, int64 [E], of half hours, int64 [E]; UNKNOWN ones are left out."""
        known = bin_E != UNKNOWN
        self._bins[feature].add(np.stack([bin_E[known], half_hour_E[known]]))

    def of(self, feature: str) -> np.ndarray:
        """Return bins and half hours of the latest events, int8 [2, N]."""
        return self._bins[feature].latest()


class Shares:
    """The training shares of a feature by half hour.

    Attributes:
      share: float64 [HALF_HOURS, K].
      events: float64 [HALF_HOURS], how many events they rest on.
      bins: how many bins have had an event of training.
    """

    def __init__(self, counts: np.ndarray) -> None:
        """Take counts, int64 [HALF_HOURS, K]."""
        whole = counts.sum(0) + 0.5
        added = PRIOR * whole / whole.sum()
        self.events = counts.sum(1) + min(PRIOR, float(whole.sum()))
        self.share = (counts + added) / (counts.sum(1) + PRIOR)[:, None]
        self.bins = int((counts.sum(0) > 0).sum())


def drift_of(shares: Shares, latest: np.ndarray) -> Drift:
    """Return how much the latest events of a feature have drifted.

    Args:
      shares: those of training.
      latest: int8 [2, N], bins and half hours of the events.
    """
    count, (halves, bins) = latest.shape[1], shares.share.shape
    if count < FEWEST:
        return Drift(count, None, None, None)
    live = np.bincount(latest[0], minlength=bins)
    weight = np.bincount(latest[1], minlength=halves) / count
    psi = stability_index(live, weight @ shares.share)
    expected = (max(shares.bins, 1) - 1) * (1 / count + float((weight**2 / shares.events).sum()))
    return Drift(count, psi, expected, max(0.0, psi - expected))


def stability_index(live: np.ndarray, reference: np.ndarray) -> float:
    """Return the population stability index of counts, int64 [K], beside positive shares, float64 [K]."""
    share = (live + 0.5) / (live.sum() + len(live) / 2)
    return float(((share - reference) * np.log(share / reference)).sum())


def drifts(shares: Mapping[str, Shares], latest: Latest) -> dict[str, Drift]:
    """Return how much each feature has drifted."""
    return {name: drift_of(shares[name], latest.of(name)) for name in FEATURES}
