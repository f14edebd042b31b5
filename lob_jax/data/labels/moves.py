"""What the mid price does next: its direction and its realised volatility, at several horizons."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lob_jax.data.records.records import Record, mids, record_instrument, sampled_records
from lob_jax.errors import InputError

NO_LABEL, DOWN, FLAT, UP = -1, 0, 1, 2
FLOOR = 0.1  # ticks, added to volatility in squares: the logarithm of no move at all


@dataclasses.dataclass(frozen=True)
class Outlooks:
    """Labels at several horizons, by thresholds that the training split alone has set.

    Attributes:
      horizons: in events, k.
      flat: of each, the relative move up to which the mid counts as flat.
    """

    horizons: tuple[int, ...]
    flat: tuple[float, ...]

    def of(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """Return direction int32 [E+1, K] and log volatility float32 [E+1, K] seen from before each event.

        Direction is DOWN, FLAT or UP, or NO_LABEL where the record's own mids do not tell: within k events of its
        start or end, or near a book with an empty side. Log volatility is 0 there.
        """
        tick, mid = record_instrument(record).tick, mids(record)
        parts = [_labels(mid, k, flat, tick) for k, flat in zip(self.horizons, self.flat, strict=True)]
        if not parts:
            return np.zeros((len(mid), 0), np.int32), np.zeros((len(mid), 0), np.float32)
        direction, volatility = zip(*parts, strict=True)
        return np.stack(direction, axis=-1).astype(np.int32), np.stack(volatility, axis=-1).astype(np.float32)


def smoothed_move(mid: np.ndarray, k: int) -> np.ndarray:
    """Return (m+ - m-) / |m-| before each event, float64 [E+1]; NaN where it is not known.

    m- is the mean of the last k mids, that of the book before the event included, m+ the mean of the next k
    (FI-2010: Ntakaris et al., 2018; both sides smoothed as in Zhang et al., 2019). A mean nearer to zero than a quantum
    counts as a quantum.

    Args:
      mid: the mid before each event and behind the last, in price quanta, NaN where a side is empty.
      k: events.
    """
    move, count = np.full(len(mid), np.nan), len(mid) - 2 * k + 1
    if count < 1:
        return move
    sums = np.lib.stride_tricks.sliding_window_view(mid, k).sum(-1)  # of mids i .. i+k-1
    past, future = sums[:count], sums[k : k + count]
    move[k - 1 : k - 1 + count] = (future - past) / np.maximum(np.abs(past), k)
    return move


def log_volatility(mid: np.ndarray, k: int, tick: int) -> np.ndarray:
    """Return the log of the realised volatility of the next k events, float64 [E+1]; NaN where it is not known.

    It is log(sqrt(sum of the squared moves of the mid, in ticks, + FLOOR^2)).

    Args:
      mid: see `smoothed_move`.
      k: events.
      tick: price quanta a tick.
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


def fit_outlooks(train: Sequence[Record], horizons: Sequence[int]) -> Outlooks:
    """Set each horizon's threshold so that about a third of the training split's moves is flat.

    Where more than a third does not move at all the threshold is 0, and those are the flat ones.

    Args:
      train: records of the training split; of many, `sampled_records`.
      horizons: in events.

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
                expected="records of more than twice as many events, with orders on both sides",
                was=k,
                remedy="shorten the horizon, or prepare records of more events (config.data.record_events)",
            )
        flat.append(float(np.quantile(sizes, 1 / 3)))
    return Outlooks(tuple(horizons), tuple(flat))
