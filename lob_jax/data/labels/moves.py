"""Compute labels from the future of the mid price: its direction and realised volatility at several horizons."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lob_jax.data.records.records import Record, RecordSource, mids, record_instrument, sampled_records
from lob_jax.errors import InputError

NO_LABEL, DOWN, FLAT, UP = -1, 0, 1, 2
FLOOR = 0.1  # ticks, added to volatility in squares, so that the logarithm is finite if the mid does not move


@dataclasses.dataclass(frozen=True)
class Outlooks:
    """Labels at several horizons, with thresholds fitted on the training split only.

    Attributes:
      horizons: K horizons, in events.
      flat: for each horizon, the relative move up to which the mid counts as flat.
    """

    horizons: tuple[int, ...]
    flat: tuple[float, ...]

    def of(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """Return direction int32 [E+1, K] and log volatility float32 [E+1, K] after each time just before an event.

        Direction is DOWN, FLAT or UP. It is NO_LABEL, and log volatility is 0, where the mids of the record do not
        determine them: within k events of its start or end, or near a book with an empty side.
        """
        return self.of_mids(mids(record), record_instrument(record).tick)

    def of_mids(self, mid: np.ndarray, tick: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the same from mids in price quanta, float64 [E+1], NaN where a side is empty; `tick` is in quanta."""
        parts = [_labels(mid, k, flat, tick) for k, flat in zip(self.horizons, self.flat, strict=True)]
        if not parts:
            return np.zeros((len(mid), 0), np.int32), np.zeros((len(mid), 0), np.float32)
        direction, volatility = zip(*parts, strict=True)
        return np.stack(direction, axis=-1).astype(np.int32), np.stack(volatility, axis=-1).astype(np.float32)


def smoothed_move(mid: np.ndarray, k: int) -> np.ndarray:
    """Return (m+ - m-) / |m-| before each event, float64 [E+1]; NaN where it is unknown.

    m- is the mean of the last k mids, including that of the book before the event, m+ the mean of the next k
    (FI-2010: Ntakaris et al., 2018; both sides smoothed as in Zhang et al., 2019). The denominator is at least one
    price quantum.

    Args:
      mid: the mid before each event and after the last, in price quanta, NaN where a side is empty.
      k: horizon in events.
    """
    move, count = np.full(len(mid), np.nan), len(mid) - 2 * k + 1
    if count < 1:
        return move
    # Sums of mids i .. i+k-1. Not differences of a cumulative sum, which a single NaN would spoil from there on.
    sums = np.lib.stride_tricks.sliding_window_view(mid, k).sum(-1)
    past, future = sums[:count], sums[k : k + count]
    move[k - 1 : k - 1 + count] = (future - past) / np.maximum(np.abs(past), k)
    return move


def log_volatility(mid: np.ndarray, k: int, tick: int) -> np.ndarray:
    """Return the log of the realised volatility of the next k events, float64 [E+1]; NaN where it is unknown.

    It is log(sqrt(sum of the squared moves of the mid, in ticks, + FLOOR^2)).

    Args:
      mid: see `smoothed_move`.
      k: horizon in events.
      tick: price quanta per tick.
    """
    found = np.full(len(mid), np.nan)
    squares = np.square(np.diff(mid / tick))
    if len(squares) >= k:
        sums = np.lib.stride_tricks.sliding_window_view(squares, k).sum(-1)
        found[: len(sums)] = 0.5 * np.log(sums + FLOOR**2)
    return found


def _labels(mid: np.ndarray, k: int, flat: float, tick: int) -> tuple[np.ndarray, np.ndarray]:
    move, volatility = smoothed_move(mid, k), log_volatility(mid, k, tick)
    known = np.isfinite(move) & np.isfinite(volatility)
    direction = np.where(move > flat, UP, np.where(move < -flat, DOWN, FLAT))
    return np.where(known, direction, NO_LABEL), np.where(known, volatility, 0.0)


def fit_outlooks(train: RecordSource, horizons: Sequence[int]) -> Outlooks:
    """Fit the threshold of each horizon so that about a third of the moves in the training split is flat.

    If more than a third of the moves is zero, the threshold is 0, and exactly those are flat.

    Args:
      train: records of the training split; if there are many, `sampled_records` of them are used.
      horizons: horizons in events.

    Raises:
      InputError: no record is long enough for a horizon.
    """
    moves: dict[int, list[np.ndarray]] = {k: [] for k in horizons}
    for record in sampled_records(train) if horizons else ():
        for k in horizons:
            move = smoothed_move(mids(record), k)
            moves[k].append(np.abs(move[np.isfinite(move)]))
    flat = []
    for k, parts in moves.items():
        sizes = np.concatenate([np.zeros(0), *parts])
        if not len(sizes):
            raise InputError(
                "no record is long enough for a horizon",
                where="config.model.heads.outlook_events",
                expected="records of more than twice as many events as the horizon, with orders on both sides",
                was=k,
                remedy="shorten the horizon, or prepare records of more events (config.data.record_events)",
            )
        flat.append(float(np.quantile(sizes, 1 / 3)))
    return Outlooks(tuple(horizons), tuple(flat))
