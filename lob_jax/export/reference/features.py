"""Features of events as numbers of bins, whose counts say what a market looks like.

| feature | of each event | bins |
|---|---|---|
| class | its kind and side, as `Prediction.kinds` | 13 |
| size | lots | none, then powers of two: 1, 2-3, 4-7, ... |
| gap | ns since the event before | 0 and below, then powers of ten: 1-9, 10-99, ... |
| step | ticks from the price of the last event on its side, positive deeper | 0, and powers of two either way |
| spread | ticks between the best quotes after it | a side is empty, 0 and below, then `SPREADS` |

A step is a distance that needs no book, so that it costs little where events stream in.
"""

from typing import NamedTuple

import numpy as np

from lob_jax.events.schema import ASK, BID, Events, Kind

CLASSES, CONTROL = 13, 12  # kinds and sides; the class of CONTROL
SPREADS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # the lowest ticks of each bin but the first two
_SIZES, _GAPS, _STEPS = 20, 13, 8  # the last bin of sizes and of gaps; the last one on either side of 0 of steps
BINS = {
    "class": CLASSES,
    "size": _SIZES + 1,
    "gap": _GAPS + 1,
    "step": 2 * _STEPS + 2,
    "spread": len(SPREADS) + 2,
}
FEATURES = tuple(BINS)
UNKNOWN = -1  # in place of a bin: the feature of this event is not known, and is not counted

_POWERS_OF_TEN = 10 ** np.arange(_GAPS, dtype=np.int64)
_POWERS_OF_TWO = 2 ** np.arange(_SIZES, dtype=np.int64)
_NO_GAP = np.iinfo(np.int64).min  # of the first event
_NO_STEP = 2 * _STEPS + 1  # the bin of events without a price


class Before(NamedTuple):
    """What of earlier events the features of the next one need.

    Attributes:
      time_ns: of the last event; None before the first.
      price: of the last event of the bids and of the asks, price quanta; None where there has been none.
    """

    time_ns: int | None = None
    price: tuple[int | None, int | None] = (None, None)


class Columns(NamedTuple):
    """The columns of events that features are made of, [E] each, see `Events`."""

    time_ns: np.ndarray
    kind: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray


def columns_of(events: Events) -> Columns:
    """Return the columns of events that features are made of."""
    return Columns(events.time_ns, events.kind, events.side, events.price, events.size)


def places_on(columns: Columns, side: int) -> np.ndarray:
    """Return which events are on a side and have a price, int64, ascending."""
    return np.flatnonzero((columns.side == side) & (columns.kind != Kind.CONTROL))


def classes_of(kind: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Return the class of events, int64: kinds in order, bid before ask, CONTROL last."""
    order = 2 * (kind.astype(np.int64) - 1) + (side == ASK)
    return np.where(kind == Kind.CONTROL, CONTROL, order)


def binned(columns: Columns, *, before: Before, tick: int) -> tuple[dict[str, np.ndarray], Before]:
    """Return the bins of events by feature, int64 [E] each, but for spreads; and what the events after them need.

    Args:
      columns: the events.
      before: what came before them. Without a last event the gap of the first is UNKNOWN, and so is the step of the
        first on each side.
      tick: price quanta in a tick.
    """
    gap_E, step_E = gaps_of(columns.time_ns, before.time_ns), steps_of(columns, before=before, tick=tick)
    found = {
        "class": classes_of(columns.kind, columns.side),
        "size": np.searchsorted(_POWERS_OF_TWO, columns.size, side="right"),
        "gap": np.where(gap_E == _NO_GAP, UNKNOWN, np.searchsorted(_POWERS_OF_TEN, gap_E, side="right")),
        "step": step_E,
    }
    return found, after(columns, before)


def gaps_of(time_ns: np.ndarray, last_ns: int | None) -> np.ndarray:
    """Return the time since the event before each, ns, int64 [E]; the smallest integer if there is none."""
    if not len(time_ns):
        return np.zeros(0, np.int64)
    first = _NO_GAP if last_ns is None else int(time_ns[0]) - last_ns
    return np.concatenate([np.array([first], np.int64), np.diff(time_ns)])


def steps_of(columns: Columns, *, before: Before, tick: int) -> np.ndarray:
    """Return the bin of each event's step, int64 [E]."""
    bin_E = np.full(len(columns.kind), _NO_STEP, np.int64)
    for side, last in zip((BID, ASK), before.price, strict=True):
        at = places_on(columns, side)
        if not len(at):
            continue
        price = columns.price[at]
        came = np.concatenate([[price[0] if last is None else last], price[:-1]])
        ticks = side * (came // tick - price // tick)
        far = np.searchsorted(_POWERS_OF_TWO[:_STEPS], np.abs(ticks), side="right")
        bin_E[at] = _STEPS + np.sign(ticks) * far
        if last is None:
            bin_E[at[0]] = UNKNOWN
    return bin_E


def after(columns: Columns, before: Before) -> Before:
    """Return what the events after some events need."""
    if not len(columns.kind):
        return before
    prices = []
    for side, last in zip((BID, ASK), before.price, strict=True):
        at = places_on(columns, side)
        prices.append(int(columns.price[at[-1]]) if len(at) else last)
    return Before(int(columns.time_ns[-1]), (prices[0], prices[1]))


def spread_bins(ticks: np.ndarray) -> np.ndarray:
    """Return the bins of spreads, int64: of numbers of ticks; NaN where a side is empty."""
    known = np.searchsorted(SPREADS, np.where(np.isnan(ticks), 0, ticks), side="right") + 1
    return np.where(np.isnan(ticks), 0, known)
