"""`Tail`: the recent past of one market, which is all that scores of its next events need."""

import dataclasses

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.halts import OPEN, closed_before, halts_of
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Events
from lob_jax.serving.requests import History, ModelFacts, Score

LEAST = 500  # events that are kept: flows count hundreds, and each score reads all that is kept
LONGEST = 8  # times as many events as are kept, for which a book may stay crossed


def kept_events(facts: ModelFacts) -> int:
    """Return how many events fill a model's context, of which an event takes one token at least, and its flow."""
    return max(facts.slots, LEAST)


class Tail:
    """The recent past of one market: a book, and the events and corrections since.

    When it holds more than twice as many events as it keeps, the book moves forward, so that memory is bounded. What a
    model reads of the more distant past is then missing from scores: sums of the flow with longer half-lives, the age
    of prices that a pointer remembers, levels that have left the view of a feed with a window, and which day it was
    before midnight.

    Attributes:
      lost: whether it was given up, since no market opens with a book that is crossed, and the book stayed so.
    """

    def __init__(self, history: History, *, keep: int, instrument: Instrument):
        """Begin with a history.

        Args:
          history: the market so far.
          keep: how many events are kept at least, once there are so many.
          instrument: its instrument.
        """
        self._history, self._keep, self._instrument, self.lost = history, keep, instrument, False
        self._bound()

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._history.events)

    def history(self) -> tuple[History, int]:
        """Return the market, and the number of its events."""
        return self._history, len(self)

    def score(self, events: Events, corrections: Corrections) -> Score:
        """Return the request for scores of the next events, which the tail does not follow by that.

        Args:
          events: E events.
          corrections: by index of the event that they follow; -1 is before the first.
        """
        return Score(_joined(self._history, events, corrections), first=len(self))

    def extend(self, events: Events, corrections: Corrections) -> None:
        """Follow more events; the arguments are those of `score`."""
        if not self.lost:
            self._history = _joined(self._history, events, corrections)
            self._bound()

    def _bound(self) -> None:
        """Move the book forward if there are too many events before it; forget corrections that were corrected."""
        if len(self._history.corrections.event) > LONGEST * self._keep:
            self._history = dataclasses.replace(self._history, corrections=_latest(self._history.corrections))
        first = len(self) - self._keep
        if first <= self._keep:
            return
        history, events = self._history, self._history.events
        day = MarketDay(self._instrument, history.book, events, history.corrections, {})
        (book,) = snapshots_at(day, np.array([first]))
        closed = closed_before(halts_of(events.kind, events.code), first, closed=history.closed)
        if closed == OPEN and _crossed(book):  # the next events will have put an end to it
            if len(events) > LONGEST * self._keep:
                self._history, self.lost = History(book), True
            return
        book = dataclasses.replace(book, order_id=np.where(book.anonymous, np.uint64(0), book.order_id))
        rest = Events.concatenate([events[first:]])  # a copy: a view would keep the events before it in memory
        corrections = history.corrections.between(first, len(events))
        self._history = History(book, _numbered(rest), corrections, closed)


def _joined(history: History, events: Events, corrections: Corrections) -> History:
    """Return a history that goes on with more events."""
    counts = len(history.events), len(events)
    return dataclasses.replace(
        history,
        events=_numbered(Events.concatenate([history.events, events])),
        corrections=Corrections.concatenate([history.corrections, corrections], events=counts),
    )


def _latest(corrections: Corrections) -> Corrections:
    """Return corrections without those of a level that the same event has corrected again later."""
    names = "event", "side", "price"
    levels = np.stack([np.asarray(getattr(corrections, name), np.int64)[::-1] for name in names])
    _, from_end = np.unique(levels, axis=1, return_index=True)
    kept = np.sort(len(corrections.event) - 1 - from_end)
    return Corrections(*(getattr(corrections, field.name)[kept] for field in dataclasses.fields(Corrections)))


def _numbered(events: Events) -> Events:
    """Return events that are numbered from 0."""
    return dataclasses.replace(events, sequence=np.arange(len(events), dtype=events.sequence.dtype))


def _crossed(book: BookSnapshot) -> bool:
    bids, asks = book.price[book.side == BID], book.price[book.side == ASK]
    return bool(len(bids) and len(asks) and bids.max() >= asks.min())
