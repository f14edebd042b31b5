"""Days for tests that care for events and books alone."""

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument

INSTRUMENT = Instrument(symbol="SYN", venue="SIM", trading_day="2024-01-02", time_zone="America/New_York", tick=1)


def market_day(events, *, start=None, corrections=None, instrument=INSTRUMENT):
    """Return a day; without more, from an empty book and without corrections."""
    start = BookSnapshot.empty() if start is None else start
    return MarketDay(instrument, start, events, Corrections.none() if corrections is None else corrections, {})
