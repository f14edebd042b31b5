"""The market's regime before each event: how volatile it has been, and how wide the spread is."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lob_jax.data.records.records import Record, mids, record_instrument, sampled_records, two_sided
from lob_jax.errors import InputError

LOOK_BACK = 50  # moves of the mid that volatility is taken over


@dataclasses.dataclass(frozen=True)
class Regimes:
    """Regimes by thresholds that the training split alone has set.

    Attributes:
      volatility_edges: ascending, ticks an event; one fewer than there are bins of volatility.
      spread_edges: ascending, ticks.
    """

    volatility_edges: tuple[float, ...]
    spread_edges: tuple[float, ...]

    @property
    def count(self) -> int:
        """Return how many regimes there are."""
        return (len(self.volatility_edges) + 1) * (len(self.spread_edges) + 1)

    def of(self, record: Record) -> np.ndarray:
        """Return the regime before each event and behind the last, int32 [E+1]: volatility's bin, then spread's.

        Regime = bin of volatility x bins of spread + bin of spread; a value on an edge lies above it.
        """
        volatility, spread = measures(record)
        by_volatility = np.searchsorted(self.volatility_edges, volatility, side="right")
        by_spread = np.searchsorted(self.spread_edges, spread, side="right")
        return (by_volatility * (len(self.spread_edges) + 1) + by_spread).astype(np.int32)


def measures(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Return volatility and spread before each event of a record and behind the last, float64 [E+1] both.

    Volatility is the root mean square of the last LOOK_BACK moves of the mid, in ticks an event; at a record's start,
    of the moves since. A move from or to a book with an empty side counts as none. The spread is the last known one,
    in ticks; 0 before any is known.
    """
    mid, known = mids(record) / record_instrument(record).tick, two_sided(record)
    moves = np.where(known[1:] & known[:-1], np.diff(mid), 0.0)
    squares = np.concatenate([[0.0], np.cumsum(np.square(moves))])
    row = np.arange(len(mid))
    first = np.maximum(row - LOOK_BACK, 0)
    volatility = np.sqrt(np.maximum(squares[row] - squares[first], 0) / np.maximum(row - first, 1))
    spread = np.expm1(record["features"][:, -2].astype(np.float64))  # the last but one of `book_features`
    latest = np.maximum.accumulate(np.where(known, row, -1))
    return volatility, np.where(latest >= 0, spread[np.maximum(latest, 0)], 0.0)


def fit_regimes(train: Sequence[Record], *, volatility_bins: int, spread_bins: int) -> Regimes:
    """Set the thresholds at quantiles of the training split, so that bins hold about as many events each.

    Spreads are whole ticks, and volatility is often exactly 0: bins are as even as such values let them be, and where
    two quantiles agree a bin between them stays empty.

    Args:
      train: records of the training split; of many, `sampled_records`.
      volatility_bins: how many.
      spread_bins: how many.

    Raises:
      InputError: there are no records.
    """
    parts = [measures(record) for record in sampled_records(train)]
    if not parts:
        raise InputError(
            "there is nothing to set the regimes by",
            where="the training split",
            expected="at least one record",
            was=0,
            remedy="prepare more events",
        )
    volatility, spread = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Regimes(_edges(volatility, volatility_bins), _edges(spread, spread_bins))


def _edges(values: np.ndarray, bins: int) -> tuple[float, ...]:
    return tuple(np.quantile(values, np.arange(1, bins) / bins).tolist())
