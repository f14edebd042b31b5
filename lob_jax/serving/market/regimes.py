"""The regime before each event of a live market: `lob_jax.data.labels.regimes`, carried from call to call."""

from typing import NamedTuple

import numpy as np

from lob_jax.export.contents import RegimeEdges
from lob_jax.statistics.recent import LOOK_BACK


class Moved(NamedTuple):
    """What the regime depends on besides the book.

    Attributes:
      sums: float64, ascending: sums of the squared moves of the mid up to each of the last LOOK_BACK events and before
        them, or from the opening on, where the sum is 0.
      spread: the last known spread, ticks; 0 before one is known.
    """

    sums: np.ndarray
    spread: float


NOT_MOVED = Moved(np.zeros(1), 0.0)


def follow_regimes(
    before: Moved, *, mid2: np.ndarray, known: np.ndarray, spread_E: np.ndarray, tick: int, edges: RegimeEdges
) -> tuple[np.ndarray, Moved]:
    """Return the regime before each of E events and after the last, and what to carry on.

    Sums are added up in the order in which a whole day's are, so that their roundings are the same.

    Args:
      before: what was carried to the first of these events.
      mid2: int64 [E+1], best bid plus best ask.
      known: bool [E+1], whether there are both.
      spread_E: float32 [E+1], the logarithms of spreads among the book features.
      tick: price quanta per tick.
      edges: the thresholds.

    Returns:
      int32 [E+1], and what was carried to the event after these.
    """
    mid = np.where(known, mid2 / 2, np.nan) / tick
    moves = np.where(known[1:] & known[:-1], np.diff(mid), 0.0)
    more = np.cumsum(np.concatenate([before.sums[-1:], np.square(moves)]))
    sums = np.concatenate([before.sums[:-1], more])
    last = np.arange(len(before.sums) - 1, len(sums))
    count = np.minimum(last, LOOK_BACK)
    volatility = np.sqrt(np.maximum(sums[last] - sums[last - count], 0) / np.maximum(count, 1))
    spread = np.concatenate([[before.spread], np.expm1(spread_E.astype(np.float64))])
    latest = np.maximum.accumulate(np.where(known, np.arange(1, len(spread)), 0))
    by_volatility = np.searchsorted(edges.volatility_edges, volatility, side="right")
    by_spread = np.searchsorted(edges.spread_edges, spread[latest], side="right")
    regime = (by_volatility * (len(edges.spread_edges) + 1) + by_spread).astype(np.int32)
    return regime, Moved(sums[-LOOK_BACK - 1 :], float(spread[latest[-1]]))
