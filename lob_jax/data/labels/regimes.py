"""Classify the market regime before each event by recent volatility and by the spread."""

import dataclasses

import numpy as np

from lob_jax.data.records.records import Record, RecordSource, mids, record_instrument, sampled_records, two_sided
from lob_jax.errors import InputError
from lob_jax.statistics.recent import recent_volatility


@dataclasses.dataclass(frozen=True)
class Regimes:
    """Regimes, with thresholds fitted on the training split only.

    Attributes:
      volatility_edges: ascending, ticks per event; one fewer than there are volatility bins.
      spread_edges: ascending, ticks; one fewer than there are spread bins.
    """

    volatility_edges: tuple[float, ...]
    spread_edges: tuple[float, ...]

    @property
    def count(self) -> int:
        """Return the number of regimes."""
        return (len(self.volatility_edges) + 1) * (len(self.spread_edges) + 1)

    def of(self, record: Record) -> np.ndarray:
        """Return the regime before each event and after the last, int32 [E+1].

        Regime = volatility bin x number of spread bins + spread bin; a value on an edge belongs to the upper bin.
        """
        volatility, spread = measures(record)
        by_volatility = np.searchsorted(self.volatility_edges, volatility, side="right")
        by_spread = np.searchsorted(self.spread_edges, spread, side="right")
        return (by_volatility * (len(self.spread_edges) + 1) + by_spread).astype(np.int32)


def measures(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Return volatility and spread before each event of a record and after the last, both float64 [E+1].

    Volatility is the root mean square of the last moves of the mid, see `recent_volatility`, in ticks per event; near
    the start of a record, of the moves since then. A move from or to a book with an empty side counts as zero. The
    spread is the last known one, in ticks; 0 before one is known.
    """
    mid, known = mids(record) / record_instrument(record).tick, two_sided(record)
    moves = np.where(known[1:] & known[:-1], np.diff(mid), 0.0)
    volatility = np.concatenate([[0.0], recent_volatility(moves, np.arange(len(moves)))])
    spread = np.expm1(record["features"][:, -2].astype(np.float64))  # the second to last of `book_features`
    latest = np.maximum.accumulate(np.where(known, np.arange(len(mid)), -1))
    return volatility, np.where(latest >= 0, spread[np.maximum(latest, 0)], 0.0)


def fit_regimes(train: RecordSource, *, volatility_bins: int, spread_bins: int) -> Regimes:
    """Fit thresholds at quantiles of the training split, so that all bins hold about the same number of events.

    Spreads are whole ticks, and volatility is often exactly 0, so the bins cannot be perfectly even; if two quantiles
    coincide, the bin between them is empty.

    Args:
      train: records of the training split; if there are many, `sampled_records` of them are used.
      volatility_bins: number of volatility bins.
      spread_bins: number of spread bins.

    Raises:
      InputError: there are no records.
    """
    parts = [measures(record) for record in sampled_records(train)]
    if not parts:
        raise InputError(
            "there are no records to fit regimes on",
            where="the training split",
            expected="at least one record",
            was=0,
            remedy="prepare more events",
        )
    volatility, spread = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Regimes(_edges(volatility, volatility_bins), _edges(spread, spread_bins))


def _edges(values: np.ndarray, bins: int) -> tuple[float, ...]:
    return tuple(np.quantile(values, np.arange(1, bins) / bins).tolist())
