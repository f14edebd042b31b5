"""What every feed does and yields: it lists the days at a path, and reads one instrument's day."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError

ON_ERROR = ("strict", "skip", "quarantine")


@dataclasses.dataclass(frozen=True)
class DaySource:
    """Where one instrument's day lies, known before it is read.

    Attributes:
      path: the file that names the day; None if it lies in no file.
      symbol: the instrument.
      trading_day: ISO date.
    """

    path: pathlib.Path | None
    symbol: str
    trading_day: str

    @property
    def file(self) -> pathlib.Path:
        """Return the path of a day that lies in a file, as all days do that a feed of files lists."""
        assert self.path is not None
        return self.path


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a file is read, whatever its format.

    Attributes:
      on_error: what is done with a row that is not what the format says: "strict" raises an error that names it,
        "skip" leaves it out and counts it, "quarantine" also writes it into a file.
      quarantine: folder of these files; needed for "quarantine".
      store: folder for the events, which are mapped from there: a day then need not fit the memory; None keeps
        them in memory. The folder must live as long as the events are used.
      on_bytes: called with (bytes read so far, bytes in all) of the files as they lie on disk.
      block_bytes: decompressed bytes that are worked on at once.
    """

    on_error: str = "strict"
    quarantine: pathlib.Path | None = None
    store: pathlib.Path | None = None
    on_bytes: Callable[[int, int], None] | None = None
    block_bytes: int = 1 << 21

    def __post_init__(self) -> None:
        if self.on_error not in ON_ERROR or (self.on_error == "quarantine" and self.quarantine is None):
            raise InputError(
                "no such way to treat bad rows",
                where="Reading.on_error",
                expected=f"one of {ON_ERROR}; a folder beside quarantine",
                was=f"{self.on_error!r} with the folder {self.quarantine}",
                remedy="name one of them, and a folder if bad rows are to be kept",
            )


STRICT = Reading()


class Feed(Protocol):
    """A format that days can be read from."""

    def days(self, path: pathlib.Path) -> list[DaySource]:
        """List the days that lie at a path (a file, or a folder of files), oldest first, then by symbol.

        Raises:
          InputError: nothing of this format is there, or a day lies there twice.
        """

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return what decides the content of some days, as plain JSON values: sha256 of each file, settings."""

    def read(self, day: DaySource | pathlib.Path, reading: Reading = STRICT) -> MarketDay:
        """Read one day that `days` lists, or that of a file which holds just one.

        Raises:
          InputError: the file is not what the format says, with file, line, expected and was.
        """


@runtime_checkable
class OnePassFeed(Feed, Protocol):
    """A feed of files with several instruments each, which reads all of a file in one pass."""

    def read_all(self, path: pathlib.Path, reading: Reading = STRICT) -> list[MarketDay]:
        """Read the days of all wanted instruments of a file; errors as `read`."""
