"""NASDAQ TotalView-ITCH 5.0 files, with all orders of all stocks of a day; read one stock, or all in one pass."""

import dataclasses
import datetime
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events, Flag
from lob_jax.feeds.feed import STRICT, DaySource, Reading, each_once
from lob_jax.feeds.format import Format
from lob_jax.feeds.itch.codes import ALL, STOCKS, Tally
from lob_jax.feeds.itch.messages import Rows, Rules
from lob_jax.feeds.itch.scan import Scan, listed_symbols
from lob_jax.feeds.lobster.rows import HIDDEN_SIDE_UNTIL
from lob_jax.feeds.reading.report import reading_report, reversals
from lob_jax.feeds.reading.source import Source
from lob_jax.feeds.reading.store import EventStore

TICKS = (100, 50, 1)  # ticks of Nasdaq's visible prices: one cent, half a cent, and 0.0001 below one dollar
_PRICE_SCALE, _TIME_ZONE = 10_000, "America/New_York"
_DATE = re.compile(r"(?<!\d)(?:(?P<iso>\d{4}-\d{2}-\d{2})|S(?P<short>\d{6})|(?P<long>\d{8}))(?!\d)")
_DATE_FORMATS = {"iso": ("%Y-%m-%d",), "short": ("%m%d%y",), "long": ("%m%d%Y", "%Y%m%d")}
_ROWS_AT_ONCE = 1 << 20


@dataclasses.dataclass(frozen=True)
class ItchFeed:
    """Reads ITCH 5.0 files, plain or compressed.

    Attributes:
      symbols: the stocks to list and read; empty for all in the file's directory.
      trading_day: ISO date; None infers it from the file name, such as 01302019.NASDAQ_ITCH50 or S081321-v50.
      venue: where the orders rest.
      tick: price quanta (0.0001) between visible prices; other prices are bad rows. None infers for each stock the
        largest of `TICKS` that divides all its visible prices.
    """

    symbols: tuple[str, ...] = ()
    trading_day: str | None = None
    venue: str = "NASDAQ"
    tick: int | None = None

    def __post_init__(self) -> None:
        if self.tick is not None and self.tick < 1:
            raise InputError(
                "a tick that is not a positive number of price quanta",
                where="ItchFeed.tick",
                expected="1 or more, or None",
                was=self.tick,
                remedy="pass 100 for a tick of one cent",
            )
        if self.trading_day is not None:
            _as_date(self.trading_day, ("%Y-%m-%d",), where="ItchFeed.trading_day")

    def days(self, path: pathlib.Path) -> list[DaySource]:
        """List the stocks in the files at a path, a file or a folder, by date and then by symbol.

        Each file is read until all wanted symbols have been found, or to its end if none are specified.

        Raises:
          InputError: there is no ITCH file, a wanted symbol is not in it, the date is unknown, or a day occurs twice.
        """
        found = [
            DaySource(file, symbol, self._trading_day(file))
            for file in _files(pathlib.Path(path))
            for symbol in self._symbols(file)
        ]
        return each_once(found, expected="one file per trading day", remedy="move one of the files elsewhere")

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return the sha256 of every file from which the days are read, by name, and the settings."""
        files = {day.file: Source(day.file) for day in days}
        settings = {"symbols": list(self.symbols), "trading_day": self.trading_day, "tick": self.tick}
        return {**{file.path.name: file.sha256() for file in files.values()}, **settings, "venue": self.venue}

    def read(self, day: DaySource | pathlib.Path, reading: Reading = STRICT) -> MarketDay:
        """Read one stock's day; the book starts empty, and `sequence` is the number of the message in the file, from 1.

        A replacement (U) becomes a DELETE and an ADD. An execution at another price (C) removes its shares at the price
        of the resting order. A cross, which has no side in the format, gets the side bid. Backward times are flagged.

        Raises:
          InputError: the first message that violates the format, of this stock or of unknown type or length.
        """
        if not isinstance(day, DaySource):
            day = _only(self.days(day), day)
        scan = Scan(Source(day.file), reading, symbols=(day.symbol,), rules=self._rules(day.trading_day))
        events = _collected(scan, reading.store, instrument_kept=False)
        _check_found((day.symbol,), scan.symbols, day.file)
        return self._market_day(scan, 0, day.trading_day, _marked(events))

    def read_all(self, path: pathlib.Path, reading: Reading = STRICT) -> list[MarketDay]:
        """Read all wanted stocks of one file in one pass, by symbol; with a store, each in a separate subfolder.

        Raises:
          InputError: as `read`, for any of the stocks, or if a wanted symbol is not in the file.
        """
        path = pathlib.Path(path)
        trading_day = self._trading_day(path)
        scan = Scan(Source(path), reading, symbols=self.symbols, rules=self._rules(trading_day))
        events = _collected(scan, reading.store and reading.store / "all", instrument_kept=True)
        _check_found(self.symbols, scan.symbols, path)
        parts = _rows_by_instrument(events.receive_ns, len(scan.symbols))
        days = []
        for index in sorted(range(len(scan.symbols)), key=lambda index: scan.symbols[index]):
            store = EventStore(reading.store and reading.store / scan.symbols[index])
            for first in range(0, len(parts[index]), _ROWS_AT_ONCE):
                part = events[parts[index][first : first + _ROWS_AT_ONCE]]
                store.append(part.replace(receive_ns=np.zeros(len(part), np.int64)))
            days.append(self._market_day(scan, index, trading_day, _marked(store.finish()[0])))
        return days

    def _rules(self, trading_day: str) -> Rules:
        midnight = Instrument("", self.venue, trading_day, _TIME_ZONE).midnight_ns()
        return Rules(midnight, self.tick or 1, int(trading_day < HIDDEN_SIDE_UNTIL))

    def _market_day(self, scan: Scan, index: int, trading_day: str, events: Events) -> MarketDay:
        divisor = int(scan.reader.divisor[index])
        tick = self.tick or next(tick for tick in TICKS if divisor % tick == 0)
        instrument = Instrument(scan.symbols[index], self.venue, trading_day, _TIME_ZONE, _PRICE_SCALE, tick)
        start = BookSnapshot.empty(time_ns=instrument.midnight_ns())
        return MarketDay(instrument, start, events, Corrections.none(), _report(scan, index, events))

    def _symbols(self, path: pathlib.Path) -> list[str]:
        symbols = listed_symbols(Source(path), self.symbols)
        _check_found(self.symbols, symbols, path)
        return symbols

    def _trading_day(self, path: pathlib.Path) -> str:
        if self.trading_day is not None:
            return self.trading_day
        match = _DATE.search(path.name)
        if match is None:
            raise InputError(
                "the trading day is unknown",
                where=path,
                expected="a file name with a date, such as 01302019.NASDAQ_ITCH50, S081321-v50 or 2019-01-30",
                was=path.name,
                remedy="pass trading_day to the feed, or rename the file",
            )
        ((form, date),) = ((form, text) for form, text in match.groupdict().items() if text is not None)
        return _as_date(date, _DATE_FORMATS[form], where=path)


def _as_date(text: str, formats: tuple[str, ...], *, where: object) -> str:
    """Return a date as ISO text; the formats are mutually exclusive, since no month is 19 or 20."""
    for layout in formats:
        try:
            return datetime.datetime.strptime(text, layout).date().isoformat()
        except ValueError:
            continue
    raise InputError(
        "a trading day that is not a date",
        where=where,
        expected=" or ".join(formats),
        was=text,
        remedy="pass trading_day to the feed as YYYY-MM-DD",
    )


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    """Return the file at a path, or the files of a folder."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    if not files or not path.exists():
        raise InputError(
            "there is no ITCH file",
            where=path,
            expected="an ITCH 5.0 file, or a folder of them",
            was="an empty folder" if path.is_dir() else "nothing",
            remedy="check the path",
        )
    return files


def _only(days: list[DaySource], path: pathlib.Path) -> DaySource:
    if len(days) != 1:
        raise InputError(
            "a path with several stocks or days",
            where=path,
            expected="one stock and day, or a DaySource that names it",
            was=[f"{day.symbol} {day.trading_day}" for day in days[:8]],
            remedy="set `symbols`, or read one of the days that days() lists",
        )
    return days[0]


def _check_found(wanted: Sequence[str], found: Sequence[str], path: pathlib.Path) -> None:
    missing = [symbol for symbol in wanted if symbol not in found]
    if missing:
        raise InputError(
            "a stock that is not in the file",
            where=path,
            expected="symbols of the stock directory",
            was=missing[:8],
            remedy="spell them as in the directory, or leave `symbols` empty and see what days() lists",
        )


def _collected(scan: Scan, folder: pathlib.Path | None, *, instrument_kept: bool) -> Events:
    """Read all events of a file, into memory or, if a folder is given, into files."""
    if folder is None:
        return _as_events(scan.whole(), instrument_kept)
    store = EventStore(folder)
    for rows in scan.pieces():
        store.append(_as_events(rows, instrument_kept))
    return store.finish()[0]


def _as_events(rows: Rows, instrument_kept: bool) -> Events:
    """Return rows as events.

    The format has no time of arrival, so its column can hold the instrument until the events are split by it.
    """
    columns = {name: getattr(rows, name) for name in Rows._fields if name != "instrument"}
    columns["order_id"] = rows.order_id.view(np.uint64)
    carried = rows.instrument.astype(np.int64) if instrument_kept else np.zeros(len(rows.kind), np.int64)
    return Events(receive_ns=carried, **columns)


def _rows_by_instrument(instrument: np.ndarray, instruments: int) -> list[np.ndarray]:
    """Return for each instrument the rows of its events and of those that concern all instruments, in order."""
    order = np.argsort(instrument, kind="stable")
    bounds = np.searchsorted(instrument[order], np.arange(ALL, instruments + 1))
    common = order[: bounds[1]]
    parts = [order[bounds[k + 1] : bounds[k + 2]] for k in range(instruments)]
    return [np.sort(np.concatenate([common, part])) for part in parts]


def _marked(events: Events) -> Events:
    """Flag the events that are earlier than the previous one, in place."""
    events.flags[reversals(events.time_ns)] |= np.uint16(Flag.BAD_TIME)
    return events


def _report(scan: Scan, index: int, events: Events) -> dict[str, Any]:
    """Return the report for one stock; its rows are all messages of the file."""
    reader = scan.reader
    kept = int(reader.tally[index, Tally.MADE]) + scan.session_messages
    idle = reader.idle[index] + reader.idle[STOCKS]
    dropped = {f"type {chr(letter)}, without an event": int(idle[letter]) for letter in np.flatnonzero(idle)}
    known = kept + sum(dropped.values()) + sum(scan.faults.dropped.values())
    dropped["of other stocks"] = scan.rows_read - known
    names = {
        "non_printable": Tally.NON_PRINTABLE,
        "executed_at_another_price": Tally.OTHER_PRICE,
        "empty_crosses": Tally.EMPTY_CROSS,
    }
    return reading_report(
        "itch",
        events,
        inputs={scan.source.path.name: scan.sha256},
        rows_read=scan.rows_read,
        dropped=dropped,
        faults=[scan.faults],
        **{name: int(reader.tally[index, column]) for name, column in names.items()},
        lost_bytes=scan.lost_bytes,
    )


FORMAT = Format(
    feed=ItchFeed,
    reads="NASDAQ TotalView-ITCH 5.0, binary",
    gives="orders, every message type checked by its size",
    begins=re.compile(rb"\x00\x0cS|\x00\x27R"),
    price_decimals=4,
)
