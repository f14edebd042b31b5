"""`Feed`, the interface of all feeds: list the days at a path, and read one instrument's day."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError

ON_ERROR = ("strict", "skip", "quarantine")


@dataclasses.dataclass(frozen=True)
class DaySource:
    """The source of one instrument's day, known before the day is read.

    Attributes:
      path: the file that identifies the day; None for a simulated day.
      symbol: the instrument.
      trading_day: ISO date.
    """

    path: pathlib.Path | None
    symbol: str
    trading_day: str

    @property
    def file(self) -> pathlib.Path:
        """Return the path, of a day that a feed of files has listed."""
        assert self.path is not None
        return self.path


@dataclasses.dataclass(frozen=True)
class Reading:
    """Options of reading a file of any format.

    Attributes:
      on_error: the treatment of a row that violates its format: "strict" raises an error that names it, "skip" leaves
        it out and counts it, "quarantine" also writes it to a file.
      quarantine: folder of the quarantine files; required for "quarantine".
      store: folder for files with the events, which are memory-mapped, so that a day can be larger than memory; None
        keeps events in memory. The folder must exist as long as the events are used.
      on_bytes: called with (bytes read so far, total bytes) of the files on disk.
      block_bytes: decompressed bytes that are processed at once.
    """

    on_error: str = "strict"
    quarantine: pathlib.Path | None = None
    store: pathlib.Path | None = None
    on_bytes: Callable[[int, int], None] | None = None
    block_bytes: int = 1 << 21

    def __post_init__(self) -> None:
        if self.on_error not in ON_ERROR or (self.on_error == "quarantine" and self.quarantine is None):
            raise InputError(
                "unknown treatment of bad rows",
                where="Reading.on_error",
                expected=f"one of {ON_ERROR}; with quarantine, also a folder",
                was=f"{self.on_error!r} with the folder {self.quarantine}",
                remedy="pass one of these, and a folder to keep bad rows",
            )


STRICT = Reading()


class Feed(Protocol):
    """Lists and reads days of one format."""

    def days(self, path: pathlib.Path) -> list[DaySource]:
        """List the days at a path (a file, or a folder of files), by date and symbol.

        Raises:
          InputError: there is nothing of this format, or a day occurs twice.
        """

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return what determines the content of some days, as plain JSON values: the sha256 of files, and settings."""

    def read(self, day: DaySource | pathlib.Path, reading: Reading = STRICT) -> MarketDay:
        """Read one day that `days` lists, or the only day of a file.

        Raises:
          InputError: the file violates its format; names file, line, what was expected and what was found.
        """


@runtime_checkable
class OnePassFeed(Feed, Protocol):
    """A feed that reads all instruments of a file in one pass."""

    def read_all(self, path: pathlib.Path, reading: Reading = STRICT) -> list[MarketDay]:
        """Read the days of all wanted instruments of a file; errors as `read`."""


def each_once(days: Sequence[DaySource], *, expected: str, remedy: str) -> list[DaySource]:
    """Return days by date and symbol.

    Args:
      days: the days found, in any order.
      expected: how the feed's files hold days, for the error.
      remedy: what to do about a day that occurs twice.

    Raises:
      InputError: two of them are of the same symbol and date.
    """
    found = sorted(days, key=lambda day: (day.trading_day, day.symbol))
    for day, after in itertools.pairwise(found):
        if (day.trading_day, day.symbol) == (after.trading_day, after.symbol):
            raise InputError(
                "the same symbol and day occurs twice",
                where=f"{day.path} and {after.path}",
                expected=expected,
                was=f"{day.symbol} {day.trading_day}",
                remedy=remedy,
            )
    return found
