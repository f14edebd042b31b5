"""Tardis days: `incremental_book_L2` and the corresponding `trades`, merged by time of arrival."""

import contextlib
import dataclasses
import datetime
import functools
import pathlib
import re
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.feeds.feed import STRICT, DaySource, Reading
from lob_jax.feeds.format import Format
from lob_jax.feeds.levels.changes import LevelChanges, LevelDay
from lob_jax.feeds.levels.loops import LevelRows
from lob_jax.feeds.reading.ahead import hashing
from lob_jax.feeds.reading.csv_fields import MOST_UNITS
from lob_jax.feeds.reading.csv_rows import Block, Column, CsvRows
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.report import reading_report
from lob_jax.feeds.reading.scale import Steps, read_at_fitting_places
from lob_jax.feeds.reading.source import Source
from lob_jax.feeds.reading.store import EventStore
from lob_jax.feeds.tardis.files import DEPTH_HEADER, TRADES_HEADER, depth_files, find_trades, peek
from lob_jax.feeds.tardis.loops import AMOUNT, LOCAL_US, NS_PER_US, PRICE, Taken, check, merge

_LAST_US = 2**61 // NS_PER_US
_NO_TRADES = Taken(np.empty((8, 0), np.int64), 0, 0)


@dataclasses.dataclass(frozen=True)
class TardisFeed:
    """Reads Tardis CSV files, plain or compressed.

    Attributes:
      tick: the smallest price step, such as "0.01"; None infers it from the levels of the day.
      lot: the unit of size, such as "0.001"; None infers it from the sizes of the day.
      trades: the file of trades; None searches for it in the folder of the depth file.
    """

    tick: str | None = None
    lot: str | None = None
    trades: pathlib.Path | None = None

    def days(self, path: pathlib.Path) -> list[DaySource]:
        """List the days of the depth files at a path, a file or a folder, by date and symbol.

        Raises:
          InputError: there is no depth file, or the same instrument and day occurs twice.
        """
        found = depth_files(pathlib.Path(path))
        return [DaySource(file, seen.symbol, seen.trading_day) for file, seen in found.items()]

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return the sha256 of every file from which the days are read, by name, and the settings."""
        files = [file for day in days for file in self._files(day.file)]
        return {**{file.path.name: file.sha256() for file in files}, "tick": self.tick, "lot": self.lot}

    def read(self, day: DaySource | pathlib.Path, reading: Reading = STRICT) -> MarketDay:
        """Read a day of depth, and the corresponding trades.

        Rows before the first snapshot are left out. A later snapshot becomes a CLEAR with corrections; if snapshots
        follow each other, their differences become events. Crossed books are counted, but not corrected. Prices may be
        zero or negative, as for combinations. Prices and sizes have the decimal places that the numbers need; a named
        tick or lot takes precedence.

        Raises:
          InputError: the first row that violates the format; no snapshot; or most rows before the first snapshot.
        """
        path = pathlib.Path(day.file if isinstance(day, DaySource) else day)
        depth_files(path)
        files = self._files(path)
        return read_at_fitting_places(
            functools.partial(_read, path, files, reading),
            tick=self.tick,
            lot=self.lot,
            count=functools.partial(_count_places, files),
        )

    def _files(self, path: pathlib.Path) -> list[Source]:
        trades = self.trades or find_trades(path)
        return [Source(path)] if trades is None else [Source(path), Source(pathlib.Path(trades))]


def _read(path: pathlib.Path, files: list[Source], reading: Reading, steps: Steps) -> MarketDay:
    """Read a day, with prices and sizes at the decimal places of `steps`."""
    streams = [_Stream(file, reading, steps, trades=bool(k)) for k, file in enumerate(files)]
    with contextlib.ExitStack() as threads:
        hashes = threads.enter_context(hashing(files))
        for stream in streams:
            threads.callback(stream.close)
        changes = LevelChanges(EventStore(reading.store))
        for rows in _merged(streams):
            _refuse_other_trades(streams)
            changes.push(rows)
        made = changes.finish(steps)
        if reading.on_error == "strict":
            _refuse_lost_rows(streams[0], made)
        inputs = hashes()
    report = reading_report(
        "tardis",
        made.events,
        inputs=inputs,
        rows_read=sum(stream.rows.rows_read for stream in streams),
        dropped=made.dropped,
        faults=[stream.faults for stream in streams],
        corrections=len(made.corrections),
        trades_file=len(files) > 1,
        prices_not_positive=sum(stream.prices_not_positive for stream in streams),
        **made.counts,
    )
    instrument = _instrument(path, streams[0].rows.first, made)
    return MarketDay(instrument, made.start, made.events, made.corrections, report)


def _count_places(files: list[Source]) -> np.ndarray:
    """Return what `csv_fields.count_places` counts for the prices and sizes of some files, int64 [2, 2, P]."""
    steps = Steps(price=0, size=0, price_decimals=0, size_decimals=0)
    streams = [_Stream(file, Reading(on_error="skip"), steps, trades=bool(k)) for k, file in enumerate(files)]
    return np.sum([stream.rows.count_places()[-2:] for stream in streams], axis=0)


def _refuse_lost_rows(depth: "_Stream", made: LevelDay) -> None:
    """Refuse a day of which more is lost than used, because rows before the first snapshot change an unknown book."""
    rows, early = depth.rows.rows_read, made.dropped["rows before the first snapshot"]
    if 2 * early > rows:
        found = "without any snapshot" if not made.counts["snapshots"] else "mostly before its first snapshot"
        raise InputError(
            f"order-book changes {found}",
            where=depth.source,
            expected="rows with is_snapshot true at the beginning of the day",
            was=f"{early} of {rows} rows before the first snapshot",
            remedy="fetch the file again; on_error='skip' reads what follows a snapshot and counts the rest",
        )


def _instrument(path: pathlib.Path, first: tuple[str, ...], made: LevelDay) -> Instrument:
    """Return the instrument of a file from its first row; the day is that of this row, or else of the starting book."""
    if not first:
        raise InputError(
            "a file without a row that can be read",
            where=path,
            expected="one row per level that changes",
            was="none",
            remedy="fetch the file again",
        )
    exchange, symbol = first[:2]
    start_day = datetime.datetime.fromtimestamp(made.start.time_ns // NS_PER_SECOND, datetime.UTC).date().isoformat()
    seen = peek(path)
    day = start_day if seen is None else seen.trading_day or start_day
    steps = (made.scale.price_scale, made.scale.tick, made.scale.lot_scale)
    return Instrument(symbol, exchange, day, "UTC", *steps, signed=made.signed)


def _refuse_other_trades(streams: "list[_Stream]") -> None:
    """Refuse trades of another exchange or symbol than the depth's, since prices alone would not reveal them."""
    depth, *others = (stream.rows.first[:2] for stream in streams)
    for stream, trades in zip(streams[1:], others, strict=True):
        if depth and trades and trades != depth:
            raise InputError(
                "trades of another instrument than the depth's",
                where=stream.source,
                expected=" ".join(depth),
                was=" ".join(trades),
                remedy="pass the trades that belong to the depth: TardisFeed(trades=...)",
            )


def _columns(steps: Steps, *, trades: bool) -> list[Column]:
    """Return the columns of a file."""
    own = [Column("id", "any"), Column("side", "word", words=("buy", "sell", "unknown"))]
    if not trades:
        own = [Column("is_snapshot", "word", words=("false", "true")), Column("side", "word", words=("bid", "ask"))]
    return [
        Column("exchange", "same"),
        Column("symbol", "same"),
        Column("timestamp", "int", low=0, high=_LAST_US),
        Column("local_timestamp", "int", low=0, high=_LAST_US),
        *own,
        Column(
            "price",
            "decimal",
            steps.price_decimals,
            low=-MOST_UNITS,
            high=MOST_UNITS,
            step="tick",
            scale_from=_scale_from(steps.price, steps),
        ),
        Column(
            "amount",
            "decimal",
            steps.size_decimals,
            low=int(trades),
            high=MOST_UNITS,
            step="lot",
            scale_from=_scale_from(steps.size, steps),
        ),
    ]


def _scale_from(step: int, steps: Steps) -> str:
    """Return the origin of a column's scale, see `Column.scale_from`."""
    return "step" if step else "guess" if steps.guessed else "file"


class _Stream:
    """The rows of one file that have been read but not taken yet.

    Attributes:
      rows: the iterator over all rows.
      faults: the bad rows.
      source: the file.
      prices_not_positive: number of zero or negative prices so far, which combinations may have.
    """

    def __init__(self, source: Source, reading: Reading, steps: Steps, *, trades: bool):
        self.faults = Faults(reading, source.name)
        header = TRADES_HEADER if trades else DEPTH_HEADER
        quiet = dataclasses.replace(reading, on_bytes=None) if trades else reading
        columns = _columns(steps, trades=trades)
        self.rows = CsvRows(source, columns, header=header, reading=quiet, faults=self.faults)
        self._blocks: Generator[Block] | None = iter(self.rows)
        self.source, self._steps = source, steps
        self._held, self._first = np.empty((len(columns), 0), np.int64), 0
        self._latest = self.prices_not_positive = 0

    def close(self) -> None:
        """Stop reading."""
        if self._blocks is not None:
            self._blocks.close()

    def whole_until(self) -> int:
        """Return the local time before which all rows have been read, after reading on until this covers some rows."""
        while self._blocks is not None and self._covers_nothing():
            block = next(self._blocks, None)
            if block is None:
                self._blocks = None
            else:
                self._hold(self._checked(block))
        return self._latest if self._blocks is not None else np.iinfo(np.int64).max

    def take(self, until: int) -> Taken:
        """Return and remove the rows with a local time before `until`."""
        local, first = self._held[LOCAL_US], self._first
        self._first += int(np.searchsorted(local[first:], until))
        return Taken(self._held, first, self._first)

    def _covers_nothing(self) -> bool:
        """Return whether no row is held, or none but those of the latest time, which the next block may continue."""
        return self._first == self._held.shape[1] or self._held[LOCAL_US, self._first] == self._latest

    def _hold(self, values: np.ndarray) -> None:
        rest = self._held[:, self._first :]
        self._held = np.ascontiguousarray(np.concatenate([rest, values], axis=1) if rest.shape[1] else values)
        self._first = 0

    def _checked(self, block: Block) -> np.ndarray:
        """Refuse rows that break rules across rows or columns; return the values of the others."""
        before, steps = self._latest, (max(self._steps.price, 1), max(self._steps.size, 1))
        sound, not_positive, self._latest = check(block.values, before, *steps)
        if sound:
            self.prices_not_positive += not_positive
            return block.values
        good = self._refuse(block, before)
        self.prices_not_positive += int(np.count_nonzero(good & (block.values[PRICE] <= 0)))
        return block.values[:, good]

    def _refuse(self, block: Block, before: int) -> np.ndarray:
        """Refuse the rows of a block that break a rule, after rows up to the local time `before`; return the others."""
        values, steps = block.values, self._steps
        local, price, amount = values[LOCAL_US], values[PRICE], values[AMOUNT]
        reached = np.maximum.accumulate(np.append(before, local))
        wrong = {
            "a local_timestamp that runs backwards": (local < reached[:-1], "no earlier than the rows before", local),
            "a price between ticks": (price % max(steps.price, 1) != 0, "a multiple of the tick", price),
            "an amount between lots": (amount % max(steps.size, 1) != 0, "a multiple of the lot", amount),
        }
        good = np.ones(len(local), bool)
        for what, (bad, expected, was) in wrong.items():
            for row in np.flatnonzero(bad & good):
                where = f"{self.source}, line {block.line[row]}"
                remedy = "correct the row, or set another tick or lot" if "between" in what else "fetch the file again"
                error = InputError(what, where=where, expected=expected, was=int(was[row]), remedy=remedy)
                self.faults.refuse(error, raw=f"line {block.line[row]}: {values[:, row].tolist()}")
            good &= ~bad
        return good


def _merged(streams: list[_Stream]) -> Iterator[LevelRows]:
    """Yield the rows of depth and trades by local time, trades first among equal times, in complete messages."""
    group, last = 0, np.iinfo(np.int64).max
    while True:
        until = min(stream.whole_until() for stream in streams)
        depth, trades = (*(stream.take(until) for stream in streams), _NO_TRADES)[:2]
        count = depth.stop - depth.first + trades.stop - trades.first
        if count:
            rows = LevelRows(*(np.empty(count, np.int64) for _ in LevelRows._fields))
            group = merge(depth, trades, group, rows)
            yield rows
        if until == last:
            return


FORMAT = Format(
    feed=TardisFeed,
    reads="`incremental_book_L2`, with the corresponding `trades`",
    gives="levels; trades explain what a level lost",
    begins=re.compile(rb"(?:\xef\xbb\xbf)?(?=[^\n]*exchange)(?=[^\n]*symbol)(?=[^\n]*local_timestamp)"),
)
