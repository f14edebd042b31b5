"""Databento MBO days: orders one by one, in DBN files, plain or compressed."""

import dataclasses
import pathlib
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.feeds.databento_book import InstrumentBook
from lob_jax.feeds.databento_files import list_days, peek
from lob_jax.feeds.databento_records import Records, Rows
from lob_jax.feeds.faults import Faults
from lob_jax.feeds.feed import STRICT, DaySource, MarketDay, Reading
from lob_jax.feeds.report import reading_report
from lob_jax.feeds.scale import scale_of, steps_of
from lob_jax.feeds.source import Source
from lob_jax.feeds.store import EventStore

_DECIMALS = 9  # of DBN's prices


@dataclasses.dataclass(frozen=True)
class DatabentoFeed:
    """Reads MBO in DBN files: .dbn, .dbn.zst, .dbn.gz, or alone in a .zip.

    Prices are exact: the smallest power of ten that holds those of a day is its quantum, their common step its tick.

    Attributes:
      symbols: those that are listed and read; all of a file's if none is named.
    """

    symbols: tuple[str, ...] = ()

    def days(self, path: pathlib.Path) -> list[DaySource]:
        """List the days at a path, a file or a folder: one a file and symbol, by date and symbol.

        Raises:
          InputError: there is no MBO in DBN, none of the symbols, or one day of a symbol lies there twice.
        """
        return list_days(pathlib.Path(path), self.symbols)

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return the sha256 of every file that some days are read from, by name."""
        return {path.name: Source(path).sha256() for path in {pathlib.Path(day.path): None for day in days}}

    def read(self, day: DaySource | pathlib.Path, reading: Reading = STRICT) -> MarketDay:
        """Read one symbol's day.

        Records flagged as a snapshot are the starting book at the beginning, and replace the book later. Trades and
        fills change no book; the fill of a resting order is an EXECUTE, and what cancels the filled order adds
        nothing to it. Records of the other instruments are walked over and counted.

        Raises:
          InputError: the first record that is not what the format says, with its number; or a file with several
            symbols and none named.
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
        (only,) = self._read(pathlib.Path(day.path), (day.symbol,), reading, apart=False)
        return only

    def read_all(self, path: pathlib.Path, reading: Reading = STRICT) -> list[MarketDay]:
        """Read the days of all wanted symbols of one file, in one pass; errors as `read`.

        With a store, each symbol's events lie in a folder of their own within it.
        """
        header = peek(pathlib.Path(path))
        wanted = sorted(symbol for symbol in header.symbols.values() if not self.symbols or symbol in self.symbols)
        return self._read(pathlib.Path(path), tuple(wanted), reading, apart=True)

    def _read(self, path: pathlib.Path, symbols: tuple[str, ...], reading: Reading, *, apart: bool) -> list[MarketDay]:
        source = Source(path)
        records = Records(source, reading)
        ids = {symbol: number for number, symbol in records.header.symbols.items()}
        missing = [symbol for symbol in symbols if symbol not in ids]
        if missing:
            raise InputError(
                "no such symbol in a file",
                where=source,
                expected=f"one of {sorted(ids)[:8]}",
                was=missing,
                remedy="read one of the days that days() lists",
            )
        parts = {ids[symbol]: _Part(source, symbol, ids[symbol], reading, apart=apart) for symbol in symbols}
        for rows in records:
            for number, own in _by_instrument(rows):
                if number in parts:
                    parts[number].book.push(own)
        return [parts[ids[symbol]].day(records) for symbol in symbols]


def _by_instrument(rows: Rows) -> Iterator[tuple[int, Rows]]:
    """Yield the records of each instrument, in their order."""
    ids = rows.records["instrument_id"]
    if (ids == ids[0]).all():
        yield int(ids[0]), rows
        return
    order = np.argsort(ids, kind="stable")
    records, number = rows.records[order], rows.number[order]
    edges = np.flatnonzero(np.diff(records["instrument_id"])) + 1
    for own, numbers in zip(np.split(records, edges), np.split(number, edges), strict=True):
        yield int(own["instrument_id"][0]), Rows(own, numbers)


class _Part:
    """One symbol of a file that is being read."""

    def __init__(self, source: Source, symbol: str, number: int, reading: Reading, *, apart: bool):
        folder, self._source, self._symbol = f"{number}_{urllib.parse.quote(symbol, safe='')}", source, symbol
        store = reading.store / folder if apart and reading.store is not None else reading.store
        self._store = EventStore(store)
        self._faults = Faults(reading, f"{source.name}.{folder}")
        self.book = InstrumentBook(source, self._store, self._faults)

    def day(self, records: Records) -> MarketDay:
        """End the day; the file has been read."""
        book, header = self.book, records.header
        book.finish()
        scale = scale_of(
            steps_of(None, None, price_decimals=_DECIMALS, size_decimals=0),
            price_divisor=book.price_divisor,
            quantum_divisor=book.quantum_divisor,
            size_divisor=0,
        )
        events, corrections = self._store.finish(divide_price=scale.divide_price)
        steps = (scale.price_scale, scale.tick, scale.lot_scale)
        instrument = Instrument(self._symbol, header.dataset, header.trading_day, "UTC", *steps, signed=book.signed)
        counts = book.counts
        report = reading_report(
            "databento",
            events,
            inputs={self._source.path.name: self._source.sha256()},
            rows_read=records.read,
            dropped={
                "records of another instrument": records.read_mbo - book.rows,
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
