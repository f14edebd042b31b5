"""Moves of the mid price since a moment, by events or seconds: of a day, of paths, and as they were in training."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import replay
from lob_jax.data.records.records import RecordSource, mids, record_instrument, sampled_records
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND

UNITS = ("events", "seconds")
MOST_ANCHORS = 20_000  # of training moves


@dataclasses.dataclass(frozen=True)
class Horizons:
    """Moments since the end of a prompt.

    Attributes:
      by: "events" or "seconds".
      moments: ascending, above 0.
    """

    by: str
    moments: tuple[int, ...]

    def __post_init__(self) -> None:
        ascending = all(one < other for one, other in zip((0, *self.moments), self.moments, strict=False))
        if self.by not in UNITS or not self.moments or not ascending:
            raise InputError(
                "invalid horizons",
                where="Horizons",
                expected=f"ascending whole numbers above 0, by one of {UNITS}",
                was=(self.by, self.moments),
                remedy="name each horizon once",
            )


def moves_of(day: MarketDay, horizons: Horizons) -> np.ndarray:
    """Return by how many ticks the mid price has moved at each horizon since the start of a day, float64 [H].

    While a side is empty, the mid is the last known one. NaN before one is known, and where the day ends earlier.
    """
    states = replay(day, levels=1)
    mid = np.where(states.two_sided(), states.mid2() / 2, np.nan) / day.instrument.tick
    clock = np.concatenate([[day.start.time_ns], day.events.time_ns])
    return _moves(_latest(mid), clock, np.zeros(1, np.int64), horizons)[0]


def moves_in(records: RecordSource, horizons: Horizons, *, symbol: str) -> np.ndarray:
    """Return moves from many moments of the records of a split, in ticks, float64 [M, H].

    The moments are evenly spaced events from which all horizons lie within the record; M is 0 if there are none.

    Args:
      records: the records, of any instruments.
      horizons: the horizons.
      symbol: the instrument whose records are read.
    """
    parts = [np.zeros((0, len(horizons.moments)))]
    sampled = [record for record in sampled_records(records) if record_instrument(record).symbol == symbol]
    for record in sampled:
        mid, clock = _latest(mids(record) / record_instrument(record).tick), record["clock_ns"]
        stride = max(1, len(mid) * len(sampled) // MOST_ANCHORS)
        moves = _moves(mid, clock, np.arange(0, len(mid), stride), horizons)
        parts.append(moves[np.isfinite(moves).all(1)])
    return np.concatenate(parts)


def _moves(mid: np.ndarray, clock_ns: np.ndarray, start: np.ndarray, horizons: Horizons) -> np.ndarray:
    """Return moves from states `start` [A] to each horizon, float64 [A, H]; NaN beyond the last state."""
    moments = np.array(horizons.moments)
    if horizons.by == "events":
        row_AH = start[:, None] + moments
        reached_AH = row_AH < len(mid)
    else:
        since = np.maximum.accumulate(clock_ns)
        until_AH = since[start][:, None] + moments * NS_PER_SECOND
        # The state at a moment is the one after the last event up to it; without a later event it is not known.
        row_AH = np.searchsorted(since, until_AH, side="right") - 1
        reached_AH = until_AH <= since[-1]
    return np.where(reached_AH, mid[np.minimum(row_AH, len(mid) - 1)] - mid[start][:, None], np.nan)


def _latest(mid: np.ndarray) -> np.ndarray:
    """Return the last known value at each index; NaN before the first."""
    row = np.maximum.accumulate(np.where(np.isfinite(mid), np.arange(len(mid)), 0))
    return mid[row]


def reached(moves: Sequence[np.ndarray], *, share: float) -> int:
    """Return how many of the horizons at least a share of sequences reaches; `moves` are [..., H] for each."""
    known = np.stack([np.isfinite(one).reshape(-1, one.shape[-1]).all(0) for one in moves])
    return int(np.count_nonzero(known.mean(0) >= share))
