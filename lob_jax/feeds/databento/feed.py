"""Databento MBO days: orders one by one, in DBN files or CSV, plain or compressed."""

import collections
import dataclasses
import pathlib
import re
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.feeds.databento.book import InstrumentBook
from lob_jax.feeds.databento.days import Days, MboRecords, days_in, list_days, open_records
from lob_jax.feeds.databento.files import date_of
from lob_jax.feeds.databento.records import Rows
from lob_jax.feeds.feed import STRICT, DaySource, Reading
from lob_jax.feeds.format import Format
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.report import reading_report
from lob_jax.feeds.reading.scale import scale_of, steps_of
from lob_jax.feeds.reading.source import Source
from lob_jax.feeds.reading.store import EventStore

_DECIMALS = 9  # of Databento's prices


@dataclasses.dataclass(frozen=True)
class DatabentoFeed:
    """Reads MBO in DBN files and in Databento's CSV: plain, .zst, .gz, or alone in a .zip.

    Prices are exact: the smallest power of ten that holds those of a day is its quantum, their common step its tick.
    CSV without symbols names an instrument by its id.

    Attributes:
      symbols: those that are listed and read; all of a file's if none is named.
    """

    symbols: tuple[str, ...] = ()

    def days(self, path: pathlib.Path) -> list[DaySource]:
        """List the days at a path, a file or a folder, by date and symbol; a file may hold several of both.

        Raises:
          InputError: there is no MBO, none of the symbols, or one day of a symbol lies there twice.
        """
        return list_days(pathlib.Path(path), self.symbols)

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return the sha256 of every file that some days are read from, by name."""
        return {path.name: Source(path).sha256() for path in {pathlib.Path(day.path): None for day in days}}

    def read(self, day: DaySource | pathlib.Path, reading: Reading = STRICT) -> MarketDay:
        """Read one symbol's day.

        Records flagged as a snapshot are the starting book at the beginning, and replace the book later. Trades and
        fills change no book; the fill of a resting order is an EXECUTE, and what cancels the filled order adds
        nothing to it. Records of the other instruments and days are walked over and counted.

        Raises:
          InputError: the first record that is not what the format says, with its number; or a file with several
            symbols or days and none named.
        """
        if not isinstance(day, DaySource):
            days = self.days(day)
            if len(days) != 1:
                raise InputError(
                    "a path with several days or symbols",
                    where=day,
                    expected="one of one symbol",
                    was=[f"{source.symbol} {source.trading_day}" for source in days[:8]],
                    remedy="name the symbol, read what days() lists one by one, or a file at once with read_all()",
                )
            (day,) = days
        path, symbol, date = pathlib.Path(day.path), day.symbol, day.trading_day
        found = self._read(path, lambda own, own_date: own == symbol and own_date in (date, None), reading, apart=False)
        if len(found) != 1:
            raise InputError(
                "no such symbol and day in a file",
                where=path,
                expected=[f"{own} {own_date}" for own, own_date in days_in(path)[:8]],
                was=f"{symbol} {date}",
                remedy="read one of the days that days() lists",
            )
        return found[0]

    def read_all(self, path: pathlib.Path, reading: Reading = STRICT) -> list[MarketDay]:
        """Read the days of all wanted symbols of one file, in one pass, by date and symbol; errors as `read`.

        With a store, the events of each symbol and day lie in a folder of their own within it.
        """
        return self._read(
            pathlib.Path(path), lambda symbol, _: not self.symbols or symbol in self.symbols, reading, apart=True
        )

    def _read(
        self, path: pathlib.Path, chosen: Callable[[str, str | None], bool], reading: Reading, *, apart: bool
    ) -> list[MarketDay]:
        """Read the days of which symbol and date are chosen; the date is None where a file is one day."""
        source = Source(path)
        records = open_records(source, reading)
        parts = _Parts(source, records, chosen, reading, apart=apart)
        days = Days(records.one_day)
        for rows in records:
            for number, day, own in days.cut(rows):
                parts.push(number, day, own)
        return parts.finish()


class _Parts:
    """The symbols and days of a file that is being read."""

    def __init__(
        self,
        source: Source,
        records: MboRecords,
        chosen: Callable[[str, str | None], bool],
        reading: Reading,
        *,
        apart: bool,
    ):
        self._source, self._records, self._reading, self._apart = source, records, reading, apart
        self._chosen = chosen
        self._seen: collections.Counter[str] = collections.Counter()  # records of each symbol
        self._symbols: dict[tuple[int, int], str] = {}
        self._parts: dict[tuple[int, int], _Part] = {}
        for number in records.listed():
            self._begin(number, records.one_day)

    def push(self, number: int, day: int, rows: Rows) -> None:
        """Take records of one instrument and day."""
        if (number, day) not in self._symbols:
            self._begin(number, day)
        self._seen[self._symbols[number, day]] += len(rows.records)
        if (number, day) in self._parts:
            self._parts[number, day].book.push(rows)

    def finish(self) -> list[MarketDay]:
        """End the days; the file has been read."""
        parts = sorted(self._parts.values(), key=lambda part: (part.date, part.symbol))
        return [part.day(self._records, self._seen[part.symbol]) for part in parts]

    def _begin(self, number: int, day: int) -> None:
        symbol, records = self._records.symbol(number, day), self._records
        self._symbols[number, day] = symbol
        if self._chosen(symbol, None if records.one_day is not None else date_of(day)):
            self._parts[number, day] = _Part(
                self._source, symbol, number, date_of(day), records.place, self._reading, apart=self._apart
            )


class _Part:
    """One symbol and day of a file that is being read."""

    def __init__(
        self,
        source: Source,
        symbol: str,
        number: int,
        date: str,
        place: Callable[[int], str],
        reading: Reading,
        *,
        apart: bool,
    ):
        folder = f"{date}_{number}_{urllib.parse.quote(symbol, safe='')}"
        store = reading.store / folder if apart and reading.store is not None else reading.store
        self.symbol, self.date, self._source = symbol, date, source
        self._store = EventStore(store)
        self._faults = Faults(reading, f"{source.name}.{folder}")
        self.book = InstrumentBook(lambda record: f"{source}, {place(record)}", self._store, self._faults)

    def day(self, records: MboRecords, rows_of_symbol: int) -> MarketDay:
        """End the day; the file has been read, with so many records of the symbol, whatever their day."""
        book = self.book
        book.finish()
        scale = scale_of(
            steps_of(None, None, price_decimals=_DECIMALS, size_decimals=0),
            price_divisor=book.price_divisor,
            quantum_divisor=book.quantum_divisor,
            size_divisor=0,
        )
        events, corrections = self._store.finish(divide_price=scale.divide_price)
        instrument = Instrument(
            self.symbol,
            records.venue(book.publisher or 0),
            self.date,
            "UTC",
            scale.price_scale,
            scale.tick,
            scale.lot_scale,
            book.signed,
        )
        counts = book.counts
        report = reading_report(
            "databento",
            events,
            inputs={self._source.path.name: self._source.sha256()},
            rows_read=records.read,
            dropped={
                "records of another instrument": records.read_mbo - rows_of_symbol,
                "records of another day": rows_of_symbol - book.rows,
                "records of another kind": records.beside.total(),
                "records without an action": counts.pop("without_action"),
            },
            faults=[records.faults, self._faults],
            corrections=len(corrections),
            snapshots=book.snapshots,
            records_of_another_kind=dict(records.beside),
            **counts,
        )
        start = dataclasses.replace(
            book.start,
            price=book.start.price // scale.divide_price,
            last_best=book.start.last_best // scale.divide_price,
        )
        return MarketDay(instrument, start, events, corrections, report)


FORMAT = Format(
    feed=DatabentoFeed,
    reads="MBO in DBN or CSV, a file of one day or several",
    gives="orders; a fill and its cancel are one execution",
    begins=re.compile(rb'DBN[\x01-\x7f]|(\xef\xbb\xbf)?"?(ts_recv"?,"?)?ts_event"?,"?(rtype|publisher_id)"?,'),
)
