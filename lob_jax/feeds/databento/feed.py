"""Databento MBO days: individual orders, in DBN or CSV files, plain or compressed."""

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
    """Reads MBO from DBN files and Databento's CSV files: plain, .zst, .gz, or as the only file in a .zip.

    Prices are exact: the price quantum is the largest power of ten of which all prices of the day are multiples, and
    the tick is the greatest common divisor of the prices of visible orders. In CSV without symbols, the instrument id
    serves as symbol.

    Attributes:
      symbols: the symbols to list and read; empty for all.
    """

    symbols: tuple[str, ...] = ()

    def days(self, path: pathlib.Path) -> list[DaySource]:
        """List the days at a path, a file or a folder, by date and symbol; a file may contain several of both.

        Raises:
          InputError: there is no MBO file, none of the symbols, or the same symbol and day twice.
        """
        return list_days(pathlib.Path(path), self.symbols)

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return the sha256 of every file from which the days are read, by name."""
        return {path.name: Source(path).sha256() for path in {pathlib.Path(day.file): None for day in days}}

    def read(self, day: DaySource | pathlib.Path, reading: Reading = STRICT) -> MarketDay:
        """Read one symbol's day.

        Records flagged as a snapshot form the starting book at the beginning, and replace the book later. The fill of
        a resting order is an EXECUTE; the cancel of the filled order then adds nothing to it. Records of other
        instruments and days are skipped and counted.

        Raises:
          InputError: the first record that violates the format, with its number; or a file with several symbols or
            days of which `day` names none.
        """
        if not isinstance(day, DaySource):
            days = self.days(day)
            if len(days) != 1:
                raise InputError(
                    "a path with several days or symbols",
                    where=day,
                    expected="one day of one symbol",
                    was=[f"{source.symbol} {source.trading_day}" for source in days[:8]],
                    remedy="set `symbols`, read the days that days() lists, or read a complete file with read_all()",
                )
            (day,) = days
        path, symbol, date = pathlib.Path(day.file), day.symbol, day.trading_day
        found = self._read(path, lambda own, own_date: own == symbol and own_date in (date, None), reading, apart=False)
        if len(found) != 1:
            raise InputError(
                "no such symbol and day in the file",
                where=path,
                expected=[f"{own} {own_date}" for own, own_date in days_in(path)[:8]],
                was=f"{symbol} {date}",
                remedy="read one of the days that days() lists",
            )
        return found[0]

    def read_all(self, path: pathlib.Path, reading: Reading = STRICT) -> list[MarketDay]:
        """Read the days of all selected symbols of a file in one pass, by date and symbol; errors as `read`.

        With a store, the events of each symbol and day are kept in a separate subfolder.
        """
        return self._read(
            pathlib.Path(path), lambda symbol, _: not self.symbols or symbol in self.symbols, reading, apart=True
        )

    def _read(
        self, path: pathlib.Path, chosen: Callable[[str, str | None], bool], reading: Reading, *, apart: bool
    ) -> list[MarketDay]:
        """Read the days whose symbol and date `chosen` accepts; the date is None if the file is a single day."""
        source = Source(path)
        records = open_records(source, reading)
        parts = _Parts(source, records, chosen, reading, apart=apart)
        days = Days(records.one_day)
        for rows in records:
            for number, day, own in days.cut(rows):
                parts.push(number, day, own)
        return parts.finish()


class _Parts:
    """All symbols and days of a file that is being read."""

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
        self._seen: collections.Counter[str] = collections.Counter()  # number of records of each symbol
        self._symbols: dict[tuple[int, int], str] = {}
        self._parts: dict[tuple[int, int], _Part] = {}
        if records.one_day is not None:
            for number in records.listed():
                self._begin(number, records.one_day)

    def push(self, number: int, day: int, rows: Rows) -> None:
        """Process records of one instrument and day."""
        if (number, day) not in self._symbols:
            self._begin(number, day)
        self._seen[self._symbols[number, day]] += len(rows.records)
        if (number, day) in self._parts:
            self._parts[number, day].book.push(rows)

    def finish(self) -> list[MarketDay]:
        """End and return the days, after the file has been read."""
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
        """End and return the day; the file has `rows_of_symbol` records of the symbol on all days together."""
        book = self.book
        start = book.finish()
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
            start,
            price=start.price // scale.divide_price,
            last_best=start.last_best // scale.divide_price,
        )
        return MarketDay(instrument, start, events, corrections, report)


FORMAT = Format(
    feed=DatabentoFeed,
    reads="MBO in DBN or CSV, a file of one day or several",
    gives="orders; a fill and its cancel are one execution",
    begins=re.compile(rb'DBN[\x01-\x7f]|(\xef\xbb\xbf)?"?(ts_recv"?,"?)?ts_event"?,"?(rtype|publisher_id)"?,'),
)
