"""`MarketDay`: one instrument's events on one day, with their starting book."""

import dataclasses
from typing import Any

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events


@dataclasses.dataclass(frozen=True, eq=False)
class MarketDay:
    """One instrument's events on one day, with everything that a replay needs.

    The replayed book is correct only if events, starting book and corrections belong together; functions that replay,
    tokenize or measure a day therefore take a `MarketDay`. A part of a day and a generated path are `MarketDay`s, too.

    Attributes:
      instrument: the instrument, with the units of the integers.
      start: the book before the first event.
      events: the events, in exchange order; columns may be memory-mapped, see `Reading.store`.
      corrections: corrections where the feed's own book contradicts the replay.
      report: the report of reading, see `lob_jax.feeds.reading.report`, plain JSON; empty if nothing was read.
    """

    instrument: Instrument
    start: BookSnapshot
    events: Events
    corrections: Corrections
    report: dict[str, Any]

    @classmethod
    def opening(cls, instrument: Instrument, start: BookSnapshot) -> "MarketDay":
        """Return a day without events and corrections, on which generated events are decoded."""
        return cls(instrument, start, Events.from_columns(), Corrections.none(), {})

    def with_events(self, events: Events) -> "MarketDay":
        """Return a copy of the day with other events."""
        return dataclasses.replace(self, events=events)

    def part(self, first: int, last: int, *, start: BookSnapshot) -> "MarketDay":
        """Return events first..last-1 with their corrections, as a day whose starting book is the book before them.

        Args:
          first: index of the first event.
          last: index after the last event.
          start: the book before event `first`, see `replay.snapshots_at`.
        """
        corrections = self.corrections.between(first, last)
        return dataclasses.replace(self, start=start, events=self.events[first:last], corrections=corrections)
