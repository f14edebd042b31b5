"""LOBSTER days: a message file and an order-book file, read row by row, strictly and in bounded memory.

Row k of the order-book file is the state after message k. It gives the starting book and, where it contradicts a replay
of the messages, the corrections. Optionally, only the messages are read; see `alone`.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import BID, Events, Flag, Kind
from lob_jax.feeds.feed import STRICT, DaySource, Reading
from lob_jax.feeds.format import Format
from lob_jax.feeds.lobster.alone import MessageBook
from lob_jax.feeds.lobster.book import FeedBook, start_book
from lob_jax.feeds.lobster.files import (
    LobsterName,
    Pair,
    check_order_book,
    find_pair,
    holds_messages,
    list_days,
    parse_name,
)
from lob_jax.feeds.lobster.layout import message_columns
from lob_jax.feeds.lobster.pair import Chunk, PairRows
from lob_jax.feeds.lobster.rows import (
    SIZE,
    TYPE,
    BookRules,
    MessageRules,
    book_columns,
    to_events,
    to_levels,
)
from lob_jax.feeds.reading.csv_rows import Block, Column, CsvRows, Rules
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.report import reading_report
from lob_jax.feeds.reading.scale import is_signed
from lob_jax.feeds.reading.source import Source
from lob_jax.feeds.reading.store import EventStore

_LAST_IN_GROUP = np.uint16(Flag.LAST_IN_GROUP)


@dataclasses.dataclass(frozen=True)
class LobsterFeed:
    """Reads LOBSTER days: pairs of files, plain or compressed.

    Attributes:
      tick: price quanta (1e-4 of the currency) between neighbouring valid order prices.
      venue: where the orders rest.
      time_zone: time zone of the seconds after midnight in the files.
      order_book: "required", or "none" to read only the message files; the book then contains what they prove.
    """

    tick: int = 100
    venue: str = "NASDAQ"
    time_zone: str = "America/New_York"
    order_book: str = "required"

    def __post_init__(self) -> None:
        check_order_book(self.order_book, where="LobsterFeed.order_book")
        if self.tick < 1:
            raise InputError(
                "a tick that is not a positive number of price quanta",
                where="LobsterFeed.tick",
                expected="1 or more",
                was=self.tick,
                remedy="pass 100 for a tick of one cent",
            )

    def days(self, path: pathlib.Path) -> list[DaySource]:
        """List the days at a path, a message file, a zip, or a folder of them, by date and then by symbol.

        Raises:
          InputError: there is no LOBSTER file, a name cannot be parsed, a file of a pair is missing, or a day occurs
            twice.
        """
        found = list_days(pathlib.Path(path), order_book=self.order_book)
        return [DaySource(file, name.symbol, name.trading_day) for file, name in found.items()]

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return the sha256 of every file from which the days are read, by name, and the settings."""
        hashes = [_hashes(self._pair(day)) for day in days]
        return {name: digest for pair in hashes for name, digest in pair.items()} | dataclasses.asdict(self)

    def read(self, day: DaySource | pathlib.Path, reading: Reading = STRICT) -> MarketDay:
        """Read a day, given by a `DaySource`, message file or zip; the order-book file is found by its name.

        The events keep the file's order and numbering: `sequence` is the row, from 0. The price of a trading halt
        becomes a `Code`. The starting book is the first row of the order book with its message undone, or empty without
        an order book. If reading is not strict, a row that is bad in one file is left out of both, and corrections
        repair the book. In addition to the entries of every feed, the report contains the number of rounded times
        (`rounded_times`), the rows with a participant and the participants' names, and counts about the book.

        Raises:
          InputError: the first line of either file that violates LOBSTER's format, a missing file of the pair, swapped
            files, or no good row at all.
        """
        pair = self._pair(day)
        instrument = self._instrument(pair.name)
        rows = PairRows(pair, tick=self.tick, reading=reading)
        store = EventStore(reading.store)
        found = _Reader(pair, instrument, rows, store)
        for chunk in rows:
            found.push(chunk)
        start, book = found.finish()
        events, corrections = store.finish()
        report = reading_report(
            "lobster",
            events,
            inputs=_hashes(pair),
            rows_read=rows.rows_read,
            dropped={"a cross without size": found.empty_crosses},
            faults=rows.faults,
            corrections=len(corrections),
            **rows.report(),
            **book.report(),
        )
        instrument = dataclasses.replace(instrument, signed=is_signed(start, events, corrections))
        return MarketDay(instrument, start, events, corrections, report)

    def _pair(self, day: DaySource | pathlib.Path) -> Pair:
        path = pathlib.Path(day.file if isinstance(day, DaySource) else day)
        return find_pair(path, order_book=self.order_book)

    def _instrument(self, name: LobsterName) -> Instrument:
        return Instrument(
            symbol=name.symbol,
            venue=self.venue,
            trading_day=name.trading_day,
            time_zone=self.time_zone,
            price_scale=10_000,
            tick=self.tick,
        )


class _Reader:
    """Converts chunks of rows to events and corrections, one chunk behind, until the end of its last group is known.

    Attributes:
      empty_crosses: number of crosses without size left out so far.
    """

    def __init__(self, pair: Pair, instrument: Instrument, rows: PairRows, store: EventStore):
        self._pair, self._instrument, self._rows, self._store = pair, instrument, rows, store
        self._begun: tuple[BookSnapshot, FeedBook | MessageBook] | None = None  # the starting book, and the reading's
        self._held: tuple[Events, Corrections] | None = None
        self.empty_crosses = 0

    def push(self, chunk: Chunk) -> None:
        """Process the next rows; a cross without size is left out, since nothing was traded."""
        empty = (chunk.messages[TYPE] == Kind.CROSS) & (chunk.messages[SIZE] == 0)
        if empty.any():
            self.empty_crosses += int(np.count_nonzero(empty))
            chunk = Chunk(chunk.messages[:, ~empty], chunk.book[:, ~empty], chunk.line[~empty])
        if not len(chunk.line):
            return
        events = to_events(chunk.messages, chunk.line, self._instrument)
        if self._begun is None:
            self._begun = self._begin(events, chunk)
        corrections = self._begun[1].corrections(events, chunk.book, chunk.line)
        if chunk.line[-1] == self._rows.unended_line and _is_doubtful(corrections, chunk):
            self._rows.faults[1].refuse(_doubt(self._pair, chunk), raw="")
            keep = len(events) - 1
            events, corrections = events[:keep], corrections.between(0, keep)
            events.flags[-1:] |= _LAST_IN_GROUP
        if len(events):
            self._hold(events, corrections)

    def _begin(self, events: Events, chunk: Chunk) -> tuple[BookSnapshot, FeedBook | MessageBook]:
        """Return the book before the first event, and the book of the reading."""
        name = self._pair.name
        clock_ns = self._instrument.midnight_ns() + name.start_ms * 10**6
        if self._pair.orderbook is None:
            clock_ns = min(clock_ns, int(events.time_ns[0]))
            start = BookSnapshot.empty(time_ns=clock_ns, window=name.levels)
            return start, MessageBook(start)
        price, size = to_levels(chunk.book[:, :1])
        start = start_book(events, price[0], size[0], clock_ns=clock_ns)
        return start, FeedBook(start)

    def _hold(self, events: Events, corrections: Corrections) -> None:
        """Store the held chunk, and hold this one."""
        if self._held is not None:
            before = self._held[0]
            if before.time_ns[-1] == events.time_ns[0]:
                before.flags[-1] &= ~_LAST_IN_GROUP
            self._store.append(*self._held)
        self._held = (events, corrections)

    def finish(self) -> tuple[BookSnapshot, FeedBook | MessageBook]:
        """Store the held chunk, and return the starting book and the book of the reading.

        Raises:
          InputError: there is no row.
        """
        if self._held is None or self._begun is None:
            raise InputError(
                "no good row",
                where=self._pair.message,
                expected="a row that is valid in every file",
                was=f"none in {self._rows.rows_read} rows",
                remedy="read the file strictly to see the first fault",
            )
        self._store.append(*self._held)
        return self._begun


def read_messages(path: pathlib.Path, *, feed: LobsterFeed | None = None) -> Events:
    """Read only the messages of a day; errors as `LobsterFeed.read`."""
    feed = feed or LobsterFeed()
    pair = feed._pair(path)
    blocks = list(_strict(pair.message, message_columns(pair), MessageRules(feed.tick, pair.name)))
    values = np.concatenate([block.values for block in blocks], axis=1)
    line = np.concatenate([block.line for block in blocks])
    return to_events(values, line, feed._instrument(pair.name))


def read_book_rows(path: pathlib.Path, *, tick: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Read only the order book of a day, given by its message file or zip.

    Returns:
      price, size: int64 [E, 2, N], side 0 bid and 1 ask, best level first, 0 where a level is empty;
        row k is the state after message k.

    Raises:
      InputError: as `LobsterFeed.read`, except for faults that only the messages can show.
    """
    pair = find_pair(pathlib.Path(path))
    assert pair.orderbook is not None  # `find_pair` requires it by default
    message_columns(pair)
    levels = pair.name.levels
    parts = [
        to_levels(block.values) for block in _strict(pair.orderbook, book_columns(levels), BookRules(levels, tick))
    ]
    price, size = (np.concatenate(part) for part in zip(*parts, strict=True))
    return price, size


def _strict(source: Source, columns: list[Column], rules: Rules) -> Iterator[Block]:
    return iter(CsvRows(source, columns, header=None, reading=STRICT, faults=Faults(STRICT, source.name), rules=rules))


def _is_doubtful(corrections: Corrections, chunk: Chunk) -> bool:
    """Return whether the replay fails to confirm the last number of the order-book file, a bid size.

    (A truncated size is still a valid number. A message file needs no such check: its last number, the direction,
    is either complete or invalid.)
    """
    last = (corrections.event == len(chunk.line) - 1) & (corrections.side == BID)
    return bool((last & (corrections.price == chunk.book[-2, -1])).any())


def _doubt(pair: Pair, chunk: Chunk) -> InputError:
    price, size = chunk.book[-2:, -1].tolist()
    return InputError(
        "a truncated last line: no line feed ends it, and the messages do not confirm its last number",
        where=f"{pair.orderbook}, line {chunk.line[-1]}",
        expected="a line feed at the end",
        was=f"the file ends after {price},{size}",
        remedy="fetch the file again; if it is complete, add a line feed at its end",
    )


def _hashes(pair: Pair) -> dict[str, str]:
    """Return the sha256 of a day's files, by name."""
    return {source.path.name: source.sha256() for source in (pair.message, pair.orderbook) if source is not None}


FORMAT = Format(
    feed=LobsterFeed,
    reads="message and order-book files; with `--config.data.order_book=none` messages alone",
    gives="orders; the file's own book is held against every replayed row",
    begins=re.compile(rb"\d{1,6}(\.\d+)?,[1-7],-?\d+,\d+,-?\d+,-?1(,[^,\n]*)?\r?\n"),
    named=lambda path: parse_name(path.name) is not None or (path.suffix == ".zip" and holds_messages(path)),
    price_decimals=4,
)
