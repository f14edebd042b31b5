"""Quote stuffing: a burst of orders that are entered and withdrawn at once, so that others have messages to read.

Egginton, Van Ness and Van Ness (2016, Quote stuffing) find bursts of quotes far above what is usual in a stock, with
hardly any trades among them. The orders are of usual sizes, at the best price or little behind it, and live for
microseconds.
"""

import math

import numpy as np

from lob_jax.data.windows.augment.manipulation.stretch import Action, Stretch
from lob_jax.events.schema import ASK, BID, Kind

MOST_RANK = 2  # levels before that of an order
LEAST_PAIRS, MOST_PAIRS = 10, 40  # of an ADD and a DELETE; no more than a quarter of the events of the stretch
GAP_NS, GAP_SPREAD = 20_000, 1.0  # median of the time between two events of the burst, and deviation of its logarithm


def stuffing(stretch: Stretch, random: np.random.Generator) -> list[Action]:
    """Return pairs of an ADD and a DELETE on one side, at short gaps from an event on."""
    side, first = int(random.choice([BID, ASK])), stretch.place(random)
    most = max(1, (stretch.stop - stretch.first) // 4)
    pairs = min(int(random.integers(LEAST_PAIRS, MOST_PAIRS, endpoint=True)), most)
    size = int(random.integers(1, stretch.largest(first), endpoint=True))
    gaps = np.ceil(np.exp(random.normal(math.log(GAP_NS), GAP_SPREAD, 2 * pairs))).astype(np.int64)
    times = stretch.times(first, 1, random)[0] + np.cumsum(gaps)
    # Real times may jump back: an event comes before the first one that is not earlier, nor follows one that is.
    real = np.maximum.accumulate(stretch.day.events.time_ns[first - 1 : stretch.stop + 1])
    before = first + np.searchsorted(real[1:], times)
    actions = []
    for entered, withdrawn in zip(range(0, 2 * pairs, 2), range(1, 2 * pairs, 2), strict=True):
        if before[entered] >= stretch.stop:
            break
        actions += _pair(stretch, before[[entered, withdrawn]], times[[entered, withdrawn]], side, size, random)
    return actions


def _pair(
    stretch: Stretch, before: np.ndarray, times: np.ndarray, side: int, size: int, random: np.random.Generator
) -> list[Action]:
    """Return an order that is withdrawn at its time, or earlier if an event of the market would touch it."""
    entered = int(before[0])
    prices = stretch.prices(entered, side)[: MOST_RANK + 1]
    if not prices:
        return []
    price = prices[int(random.integers(len(prices)))]
    end = min(stretch.end_of(entered, side, price, size=size, rank=0), int(before[1]))
    at = times[1] if end == before[1] else min(times[1], stretch.day.events.time_ns[end])
    return [
        Action(entered, int(times[0]), Kind.ADD, side, price, size),
        Action(end, max(int(times[0]), int(at)), Kind.DELETE, side, price, size),
    ]
