"""List the days and symbols in Databento's files at a path, and assign records to days.

A day begins with a file, and wherever a snapshot or a clear on a later UTC date of capture restarts the book. In
Databento's historical data this happens every day, for CME at 00:00 UTC and for Nasdaq before the session. Later
records without such a restart, such as trading after midnight, still belong to the day for 24 hours and are refused
after that. A DBN file whose metadata begin and end on the same date is a single day, even if its book is cleared.
"""

import collections
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.feeds.databento.checks import SNAPSHOT, R
from lob_jax.feeds.databento.csv_files import PEEKED_BYTES, CsvRecords, is_csv
from lob_jax.feeds.databento.files import date_of, read_header
from lob_jax.feeds.databento.records import Records, Rows
from lob_jax.feeds.feed import DaySource, Reading
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.source import COMPRESSIONS, Source

_LENIENT = Reading(on_error="skip")


class MboRecords(Protocol):
    """The MBO records of a file of any encoding, to be iterated once.

    Attributes:
      one_day: the day of all records, counted from 1970-01-01; None if only the records themselves show it.
      faults: the bad records.
      beside: number of records of other types so far, by type.
      read: number of records so far, including bad ones.
      read_mbo: number of good MBO records so far, of any instrument.
    """

    @property
    def one_day(self) -> int | None: ...

    @property
    def faults(self) -> Faults: ...

    @property
    def beside(self) -> collections.Counter[str]: ...

    @property
    def read(self) -> int: ...

    @property
    def read_mbo(self) -> int: ...

    def listed(self) -> dict[int, str]:
        """Return the symbols that are known before reading any record, by instrument id."""

    def symbol(self, number: int, day: int) -> str:
        """Return the symbol of an instrument on a day."""

    def venue(self, publisher: int) -> str:
        """Return the dataset of a publisher's records."""

    def place(self, number: int) -> str:
        """Return the location of a record in the file."""

    def __iter__(self) -> Iterator[Rows]:
        """Yield the records, block by block."""


def open_records(source: Source, reading: Reading) -> MboRecords:
    """Open an MBO file, DBN or CSV.

    Raises:
      InputError: the file is neither, or of another schema.
    """
    csv = is_csv(source.first_bytes(PEEKED_BYTES))
    return CsvRecords(source, reading) if csv else Records(source, reading)


class Days:
    """Splits the records of a file by instrument and day."""

    def __init__(self, one_day: int | None):
        self._one_day = one_day
        self._day: dict[int, int] = {}  # by instrument

    def cut(self, rows: Rows) -> Iterator[tuple[int, int, Rows]]:
        """Yield instrument, day and records; the records of each instrument keep their order."""
        for number, own in _by_instrument(rows):
            if self._one_day is not None:
                yield number, self._one_day, own
            else:
                yield from ((number, day, piece) for day, piece in self._pieces(number, own))

    def _pieces(self, number: int, rows: Rows) -> Iterator[tuple[int, Rows]]:
        records, received = rows.records, rows.records["ts_recv"]
        day = self._day.get(number)
        if day is None:
            times = received[received > 0]
            day = int(times[0] if len(times) else max(records["ts_event"][0], 0)) // NS_PER_DAY
        anew = (records["action"] == R) | ((records["flags"] & SNAPSHOT) != 0)
        later = np.flatnonzero(anew & (received // NS_PER_DAY > day))
        begin = 0
        while len(later):
            stop = int(later[0])
            if stop > begin:
                yield day, Rows(records[begin:stop], rows.number[begin:stop])
            day, begin = int(received[stop]) // NS_PER_DAY, stop
            later = later[received[later] // NS_PER_DAY > day]
        self._day[number] = day
        yield day, Rows(records[begin:], rows.number[begin:])


def _by_instrument(rows: Rows) -> Iterator[tuple[int, Rows]]:
    """Yield the records of each instrument in file order."""
    ids = rows.records["instrument_id"]
    if (ids == ids[0]).all():
        yield int(ids[0]), rows
        return
    order = np.argsort(ids, kind="stable")
    records, number = rows.records[order], rows.number[order]
    edges = np.flatnonzero(np.diff(records["instrument_id"])) + 1
    for own, numbers in zip(np.split(records, edges), np.split(number, edges), strict=True):
        yield int(own["instrument_id"][0]), Rows(own, numbers)


def list_days(path: pathlib.Path, symbols: tuple[str, ...]) -> list[DaySource]:
    """List the days at a path, a file or a folder, by date and symbol, for `symbols` or, if that is empty, for all.

    A file of another schema is refused, or ignored in a folder that also contains MBO files. CSV files, and DBN files
    of more than one date, are read completely to find their days.

    Raises:
      InputError: there is no MBO file, none of the symbols, or the same symbol and day twice.
    """
    days: dict[tuple[str, str], DaySource] = {}
    refused, files = None, _files(path)
    for file in files:
        try:
            found = days_in(file)
        except InputError as error:
            if path.is_file() or "of the schema" not in error.what:
                raise
            refused = error
            continue
        for symbol, date in found:
            if symbols and symbol not in symbols:
                continue
            day = DaySource(file, symbol, date)
            other = days.setdefault((date, symbol), day)
            if other is not day:
                raise _twice(day, other)
    if not days and refused is not None:
        raise refused
    if not days:
        raise InputError(
            "no MBO file with such a symbol",
            where=path,
            expected=f"files named .dbn or .csv, plain or compressed, with {symbols or 'any symbol'}",
            was=f"{len(files)} files without records of these" if files else "no files",
            remedy="check the path and the symbols",
        )
    return [days[key] for key in sorted(days)]


def days_in(file: pathlib.Path) -> Sequence[tuple[str, str]]:
    """Return symbol and date of the days in a file.

    Raises:
      InputError: the file is not MBO, or cannot be read.
    """
    source = Source(file)
    if not is_csv(source.first_bytes(PEEKED_BYTES)):
        header, _ = read_header(source, source.blocks(Reading(block_bytes=PEEKED_BYTES)))
        if header.one_day:
            return [(symbol, date_of(header.day)) for symbol in header.symbols.values()]
    stat = file.stat()
    return _days_by_records(file, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _days_by_records(file: pathlib.Path, size: int, changed_ns: int) -> tuple[tuple[str, str], ...]:
    """Find the days of a file by reading it, once per state of the file; faults are left to the actual reading."""
    del size, changed_ns  # only keys of the cache
    records = open_records(Source(file), _LENIENT)
    days = Days(None)
    found = {(number, day): None for rows in records for number, day, _ in days.cut(rows)}
    return tuple((records.symbol(number, day), date_of(day)) for number, day in found)


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file())
    return [file for file in files if _has_ending(file, ".dbn") or (_has_ending(file, ".csv") and _holds_csv(file))]


def _has_ending(file: pathlib.Path, ending: str) -> bool:
    return file.name.endswith((ending, *(ending + compression for compression in COMPRESSIONS)))


def _holds_csv(file: pathlib.Path) -> bool:
    return is_csv(Source(file).first_bytes(PEEKED_BYTES))


def _twice(day: DaySource, other: DaySource) -> InputError:
    return InputError(
        "the same symbol and day occurs twice",
        where=day.path,
        expected="one file per symbol and day",
        was=f"{day.symbol} on {day.trading_day}, also in {other.path}",
        remedy="move one of the files elsewhere",
    )
