"""Books at evenly spaced times of a day, for figures: best quotes, and quantity by price band."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.levels import Levels, load_levels, occupied
from lob_jax.book.loops import correction_columns, event_columns
from lob_jax.book.replay import NO_REFERENCES, advance_levels
from lob_jax.events.instrument import NS_PER_SECOND

COLUMNS = 1200  # sampled times of a day: more than the pixels of a figure would not show
_RUN_EVENTS = 1 << 16


@dataclasses.dataclass(frozen=True)
class Moments:
    """Evenly spaced times from a day's first event to its last one, or to one second after the first if that is later.

    Attributes:
      seconds: float64 [K], since midnight on the venue's clock.
      events: int64 [K], number of events up to each time; non-decreasing.
    """

    seconds: np.ndarray
    events: np.ndarray


@dataclasses.dataclass(frozen=True)
class Quotes:
    """The best quotes at K times, and how far the book extends behind them.

    Attributes:
      price: float64 [K, 2], best bid and ask in currency, NaN for an empty side.
      reach: float64 [K, 2], distance from the mid to the last of the sampled levels, currency; NaN if a side is empty.
    """

    price: np.ndarray
    reach: np.ndarray


@dataclasses.dataclass(frozen=True)
class Bands:
    """Price bands of equal width.

    Attributes:
      low, high: lower end of the first band and upper end of the last one, currency.
      count: number of bands.
      around_mid: whether prices are measured from the mid.
    """

    low: float
    high: float
    count: int
    around_mid: bool = False


def moments_of(day: MarketDay, count: int = COLUMNS) -> Moments:
    """Return evenly spaced times of a day with at least one event; backward times are replaced by the running maximum.

    The time column is read in chunks: it may be larger than memory.
    """
    first = last = int(day.events.time_ns[0])
    for begin in range(0, len(day.events), _RUN_EVENTS):
        last = max(last, int(day.events.time_ns[begin : begin + _RUN_EVENTS].max()))
    times = np.linspace(first, max(last, first + NS_PER_SECOND), count).astype(np.int64)
    events, latest = np.zeros(count, np.int64), first
    for begin in range(0, len(day.events), _RUN_EVENTS):
        run = np.maximum(np.maximum.accumulate(day.events.time_ns[begin : begin + _RUN_EVENTS]), latest)
        events += np.searchsorted(run, times, side="right")
        latest = int(run[-1])
    return Moments((times - day.instrument.midnight_ns()) / NS_PER_SECOND, events)


def books_at(day: MarketDay, events: np.ndarray) -> Iterator[Levels]:
    """Yield the book after the first `events[k]` events of a day; all yields share one object, changed in place."""
    levels, done = load_levels(day.start), 0
    columns, corrected = event_columns(day.events), correction_columns(day.corrections, len(day.events))
    for stop in events.tolist():
        levels = advance_levels(levels, columns, corrected, done, stop, NO_REFERENCES)
        done = stop
        yield levels


def sample_quotes(day: MarketDay, moments: Moments, *, levels: int) -> Quotes:
    """Return the best quotes at each time, and the reach of the best `levels` per side."""
    price, reach = np.full((len(moments.events), 2), np.nan), np.full((len(moments.events), 2), np.nan)
    for k, book in enumerate(books_at(day, moments.events)):
        for s in range(2):
            prices = occupied(book, s)[0][:levels]
            if len(prices):
                price[k, s], reach[k, s] = prices[0], prices[-1]
    scale = day.instrument.price_scale
    return Quotes(price / scale, abs(reach - price.mean(axis=1, keepdims=True)) / scale)


def sample_depth(day: MarketDay, moments: Moments, bands: list[Bands]) -> list[np.ndarray]:
    """Return the resting quantity in each band at each time, float64 [bands, K] for each element of `bands`."""
    cells = [np.zeros((division.count, len(moments.events))) for division in bands]
    scale, lot_scale = day.instrument.price_scale, day.instrument.lot_scale
    for k, book in enumerate(books_at(day, moments.events)):
        sides = [occupied(book, s) for s in range(2)]
        price, size = (np.concatenate([side[part] for side in sides]) for part in range(2))
        mid = (sides[0][0][0] + sides[1][0][0]) / 2 if len(sides[0][0]) and len(sides[1][0]) else np.nan
        for division, drawn in zip(bands, cells, strict=True):
            place = ((price - mid if division.around_mid else price) / scale - division.low) * (
                division.count / (division.high - division.low)
            )
            inside = (place >= 0) & (place < division.count)
            np.add.at(drawn[:, k], place[inside].astype(np.int64), size[inside] / lot_scale)
    return cells
