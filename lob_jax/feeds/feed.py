"""What every feed yields: one instrument's day."""

import dataclasses
import pathlib
from typing import Any, Protocol

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events


@dataclasses.dataclass(frozen=True, eq=False)
class MarketDay:
    """One instrument's events on one day, with the book they start from.

    Attributes:
      instrument: what the integers stand for.
      start: the book before the first event.
      events: the events, in exchange order.
      corrections: where the feed's own book contradicts the replay.
      report: what was read (rows, kept, dropped by reason, sha256 of each input, ...), plain JSON values.
    """

    instrument: Instrument
    start: BookSnapshot
    events: Events
    corrections: Corrections
    report: dict[str, Any]


class Feed(Protocol):
    """A format that days can be read from."""

    def days(self, path: pathlib.Path) -> list[pathlib.Path]:
        """List the days that lie at a path (a file, or a folder of files), oldest first."""

    def read(self, path: pathlib.Path) -> MarketDay:
        """Read one day.

        Raises:
          InputError: the file is not what the format says, with file, line, expected and was.
        """
