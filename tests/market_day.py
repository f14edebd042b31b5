"""Days for tests that care for events and books alone."""

import dataclasses

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.halts import OPEN
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Kind
from lob_jax.tokens.sets.fitting import fitting

INSTRUMENT = Instrument(symbol="SYN", venue="SIM", trading_day="2024-01-02", time_zone="America/New_York", tick=1)


def market_day(events, *, start=None, corrections=None, instrument=INSTRUMENT):
    """Return a day; without more, from an empty book and without corrections."""
    start = BookSnapshot.empty() if start is None else start
    return MarketDay(instrument, start, events, Corrections.none() if corrections is None else corrections, {})


def clean_day(day):
    """Return a day without corrections, nor the events that a feed's book would not take: CONTROL and time that jumps.

    Its events have no ids, so that the book's own rule says which order a removal means.
    """
    kept = (day.events.kind < Kind.CONTROL) & (np.diff(day.events.time_ns, prepend=day.start.time_ns) >= 0)
    events = day.events[np.flatnonzero(kept)]
    events = events.replace(order_id=np.zeros(len(events), np.uint64))
    day = dataclasses.replace(day, events=events, corrections=Corrections.none())
    applied, _ = fitting(day, events, np.arange(len(events)), np.zeros(len(events), np.bool_), closed=OPEN)
    return day.with_events(events[applied])
