"""The scores of a quantity given another: the distances inside groups of equal conditions, averaged by group size."""

import dataclasses
from collections.abc import Callable

import numpy as np

from lob_jax.evaluation.fidelity.score import Need
from lob_jax.evaluation.fidelity.scores.order_flow import imbalance
from lob_jax.events.instrument import NS_PER_DAY, NS_PER_SECOND
from lob_jax.statistics.distances import DECILES, Binning, quantiles, thresholds
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import ASK, BID, mid, spread

LAG = 100  # messages
_RETURN_NS = NS_PER_SECOND // 10
_HOUR_NS = 3600 * NS_PER_SECOND

Grouping = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Conditional:
    """A quantity whose distribution given a condition is compared.

    Attributes:
      name: its key in JSON.
      label: its name in tables and figures.
      unit: the unit of the quantity.
      value: flow -> the quantity after each message, float64 [E], NaN where it is not defined.
      condition: flow -> the condition of each message, float64 [E], NaN where it is not defined.
      grouping: (conditions [N], weights [N]) -> the group of each, int64 [N].
      binning: how the quantity is put into bins inside a group.
      needs: what a flow must have, see `score.lacking`.
      lag: how many messages before the quantity the condition is taken.
      group: what summaries are made of: "conditional", or "lagged" with a lag.
      version: number of the definition.
    """

    name: str
    label: str
    unit: str
    value: Callable[[Flow], np.ndarray]
    condition: Callable[[Flow], np.ndarray]
    grouping: Grouping
    binning: Binning
    needs: frozenset[Need] = frozenset()
    lag: int = 0
    group: str = "conditional"
    version: int = 1


def by_distinct(condition: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return a group for every distinct condition."""
    return np.unique(condition, return_inverse=True)[1]


def by_deciles(condition: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the groups between the deciles of the weighted conditions."""
    if not weight.any():
        return np.zeros(len(condition), np.int64)
    order = np.argsort(condition, kind="stable")
    edges = thresholds(quantiles(condition[order], weight[order], DECILES))
    return np.searchsorted(edges, condition, side="right")


def by_hours(condition: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the hour of each time of day in ns."""
    return (condition // _HOUR_NS).astype(np.int64)


def volatility(flow: Flow) -> np.ndarray:
    """Return for each message its sequence's volatility: the standard deviation of log returns of the mid over 0.1 s.

    Returns are between neighbouring intervals of 0.1 s that both have messages, of the last mid in each (ddof 1); the
    volatility of a sequence with fewer than two returns is 0.
    """
    middle = mid(flow)
    row = np.flatnonzero(np.isfinite(middle))
    interval, sequence = flow.time_ns[row] // _RETURN_NS, flow.sequence()[row]
    last = np.append((interval[1:] != interval[:-1]) | (sequence[1:] != sequence[:-1]), len(row) > 0)[: len(row)]
    row, interval, sequence = row[last], interval[last], sequence[last]
    follows = (np.diff(interval) == 1) & (np.diff(sequence) == 0)
    change, owner = np.diff(np.log(middle[row]))[follows], sequence[1:][follows]
    return _deviation(change, owner, len(flow))[flow.sequence()]


def _deviation(value: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Return the standard deviation (ddof 1) of each owner's values, 0 for fewer than two."""
    number = np.bincount(owner, minlength=count)
    mean = np.bincount(owner, weights=value, minlength=count) / np.maximum(number, 1)
    squares = np.bincount(owner, weights=(value - mean[owner]) ** 2, minlength=count)
    return np.sqrt(squares / np.maximum(number - 1, 1))


def _ask_volume(flow: Flow) -> np.ndarray:
    return flow.book_size[:, ASK, 0].astype(np.float64)


def _bid_volume(flow: Flow) -> np.ndarray:
    return flow.book_size[:, BID, 0].astype(np.float64)


def _time(flow: Flow) -> np.ndarray:
    return (flow.time_ns % NS_PER_DAY).astype(np.float64)


def _lagged(
    name: str,
    label: str,
    value: Callable[[Flow], np.ndarray],
    condition: Callable[[Flow], np.ndarray],
    grouping: Grouping,
) -> Conditional:
    return Conditional(name, label, "lots", value, condition, grouping, Binning.DECILES, lag=LAG, group="lagged")


CONDITIONALS = (
    Conditional(
        "ask_volume_given_spread",
        "ask volume | spread",
        "lots",
        _ask_volume,
        spread,
        by_distinct,
        Binning.DECILES,
    ),
    Conditional(
        "spread_given_time",
        "spread | time of day",
        "price quanta",
        spread,
        _time,
        by_hours,
        Binning.DECILES,
        frozenset({Need.TIMES}),
    ),
    Conditional(
        "spread_given_volatility",
        "spread | volatility",
        "price quanta",
        spread,
        volatility,
        by_deciles,
        Binning.DISTINCT,
        frozenset({Need.TIMES}),
    ),
    _lagged("ask_volume_given_spread_before", "ask volume | spread before", _ask_volume, spread, by_distinct),
    _lagged("ask_volume_given_ofi_before", "ask volume | imbalance before", _ask_volume, imbalance, by_deciles),
    _lagged("bid_volume_given_ofi_before", "bid volume | imbalance before", _bid_volume, imbalance, by_deciles),
)
