"""`MarketDay`: one instrument's events on one day, with the book that they start from."""

import dataclasses
from typing import Any

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events


@dataclasses.dataclass(frozen=True, eq=False)
class MarketDay:
    """One instrument's events on one day, with all that a replay of them needs.

    The book is only right when events, starting book and corrections belong together, so everything that replays,
    tokenizes or measures a day takes all of it. A part of a day, and a generated path, is a `MarketDay`, too.

    Attributes:
      instrument: what the integers stand for.
      start: the book before the first event.
      events: the events, in exchange order; columns may be mapped from files, see `Reading.store`.
      corrections: where the feed's own book contradicts the replay.
      report: what was read, see `lob_jax.feeds.reading.report`; plain JSON values; empty for what was not read.
    """

    instrument: Instrument
    start: BookSnapshot
    events: Events
    corrections: Corrections
    report: dict[str, Any]

    @classmethod
    def opening(cls, instrument: Instrument, start: BookSnapshot) -> "MarketDay":
        """Return a day without events yet, whose feed never contradicts it: what generated events are decoded on."""
        return cls(instrument, start, Events.from_columns(), Corrections.none(), {})

    def with_events(self, events: Events) -> "MarketDay":
        """Return the day with other events in place of its own."""
        return dataclasses.replace(self, events=events)

    def part(self, first: int, last: int, *, start: BookSnapshot) -> "MarketDay":
        """Return events first..last-1 with their corrections, as a day that begins with the book before them.

        Args:
          first: index of the first event.
          last: index behind the last one.
          start: the book before event `first`, see `replay.snapshots_at`.
        """
        corrections = self.corrections.between(first, last)
        return dataclasses.replace(self, start=start, events=self.events[first:last], corrections=corrections)
