"""Raw Binance captures, spot and futures: depth updates synchronised with their snapshot, and trades."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.feeds.binance import lines
from lob_jax.feeds.binance.block import Block, read_block
from lob_jax.feeds.binance.files import Capture, captures_at, whole_lines
from lob_jax.feeds.binance.messages import ANOTHER_SYMBOL, TRADES, Content, Message, refusal
from lob_jax.feeds.binance.numbers import Numbers, count_places, parse_numbers
from lob_jax.feeds.binance.sync import BookSync, Drop, Outcome, Update
from lob_jax.feeds.feed import STRICT, DaySource, Reading
from lob_jax.feeds.format import Format
from lob_jax.feeds.levels.changes import LevelChanges
from lob_jax.feeds.levels.loops import LevelRows, What
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.report import reading_report
from lob_jax.feeds.reading.scale import Steps, read_at_fitting_places
from lob_jax.feeds.reading.source import DAMAGED, Source
from lob_jax.feeds.reading.store import EventStore

_AGGREGATE = "an aggregate of trades listed individually"
_NOT_TAKEN = -1  # beside the values of `What`
_SUPERSEDED = "rows superseded in their message"  # counts levels, whereas this report counts messages


@dataclasses.dataclass(frozen=True)
class BinanceFeed:
    """Reads captures of Binance's websocket streams and REST snapshots, plain or compressed.

    Attributes:
      tick: the smallest price step, such as "0.01"; None infers it from the levels of the day.
      lot: the unit of size, such as "0.00001"; None infers it from the sizes of the day.
    """

    tick: str | None = None
    lot: str | None = None

    def days(self, path: pathlib.Path) -> list[DaySource]:
        """List the days of all symbols in the captures at a path, a file or a folder, by date and symbol.

        Raises:
          InputError: there is no capture, or two captures contain the same symbol and day.
        """
        found = captures_at(pathlib.Path(path)).items()
        listed = [DaySource(file, symbol, capture.trading_day) for file, capture in found for symbol in capture.symbols]
        return sorted(listed, key=lambda day: (day.trading_day, day.symbol))

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return the sha256 of every capture from which the days are read, by name, and the settings."""
        files = {day.file for day in days}
        return {**{path.name: Source(path).sha256() for path in sorted(files)}, "tick": self.tick, "lot": self.lot}

    def read(self, day: DaySource | pathlib.Path, reading: Reading = STRICT) -> MarketDay:
        """Read one symbol of a capture, from its first usable snapshot on.

        A gap in the update ids becomes a FEED_GAP event; the next snapshot restores the book by a CLEAR with
        corrections. An update that arrived before the snapshot that it continues takes effect with the snapshot and
        gets its time of arrival. If a symbol has `trade` messages, its `aggTrade` messages are left out. Other streams,
        replies to requests, and trades that are not executions (field `X`) are only counted. Prices and sizes have the
        decimal places that the symbol's numbers need; a named tick or lot takes precedence.

        Raises:
          InputError: the first line that violates the format; no snapshot that the depth updates continue; a gap that
            no snapshot closes; or more depth updates lost than used.
        """
        path = pathlib.Path(day.file if isinstance(day, DaySource) else day)
        capture = next(iter(captures_at(path).values()))
        symbol = day.symbol if isinstance(day, DaySource) else _only_symbol(path, capture)
        return read_at_fitting_places(
            lambda steps: _Reader(path, symbol, capture, reading, steps=steps).read(),
            tick=self.tick,
            lot=self.lot,
            count=lambda: _count_places(Source(path), symbol),
        )


def _count_places(source: Source, symbol: str) -> np.ndarray:
    """Return what `count_places` counts for the prices and quantities of a symbol's messages, int64 [2, 2, P]."""
    reading = Reading(on_error="skip")
    blocks = whole_lines(source, reading, faults=Faults(reading, source.name))
    return np.sum([count_places(read_block(block, symbol, where=source).texts) for block in blocks], axis=0)


def _only_symbol(path: pathlib.Path, capture: Capture) -> str:
    if len(capture.symbols) != 1:
        raise InputError(
            "a capture of several symbols",
            where=path,
            expected="one symbol, or a DaySource that names it",
            was=list(capture.symbols)[:10],
            remedy="read one of the days that days() lists: feed.read(feed.days(path)[0])",
        )
    return next(iter(capture.symbols))


class _Reader:
    """One pass over a capture for one symbol."""

    def __init__(
        self,
        path: pathlib.Path,
        symbol: str,
        capture: Capture,
        reading: Reading,
        *,
        steps: Steps,
    ):
        self._source, self._symbol, self._capture, self._reading = Source(path), symbol, capture, reading
        self._steps, self._changes = steps, LevelChanges(EventStore(reading.store))
        self._faults = Faults(reading, self._source.name)
        self._dropped: collections.Counter[str] = collections.Counter()
        self._sync = BookSync()
        self._synced = False
        self._lines = self._groups = self._clock = self._applied = self._gap_line = self._not_positive = 0
        self._place = 0  # of the message at hand, among those of its block
        # What has been taken of a block: place, what it is, exchange time and time of arrival; and its levels.
        self._heads: list[tuple[int, int, int, int]] = []
        self._levels: list[np.ndarray] = []

    def read(self) -> MarketDay:
        """Read the capture and return the day.

        Raises:
          InputError: the first line that violates the format; no snapshot could be used; too much was lost.
          PlacesMisfit: a number does not fit guessed decimal places.
        """
        self._read_lines()
        return self._finish()

    def _read_lines(self) -> None:
        """Convert the capture to events in the store."""
        for data in whole_lines(self._source, self._reading, faults=self._faults):
            block = read_block(data, self._symbol, where=self._source, first=self._lines + 1)
            self._lines += block.lines
            self._dropped.update(block.aside)
            self._take_block(block, parse_numbers(block.texts, self._steps))

    def _take_block(self, block: Block, numbers: Numbers) -> None:
        """Process all messages of a block: trades and the depth that continues the book at once, others one by one."""
        fine = np.ones(len(block.kinds), bool)
        fine[list(numbers.wrong)] = False
        times = np.where(fine, block.numbers[:, lines.TIME_NS], 0)
        clocks = np.maximum.accumulate(np.concatenate([[self._clock], times]))
        is_trade = fine & (block.kinds == lines.TRADE)
        is_aggregate = fine & (block.kinds == lines.AGGREGATE)
        is_other = fine & (block.kinds == lines.OTHER)
        self._drop(ANOTHER_SYMBOL, is_other)
        if self._capture.symbols[self._symbol]:
            self._drop(_AGGREGATE, is_aggregate)
        else:
            is_trade |= is_aggregate
        what = np.where(is_trade, int(What.TRADE), _NOT_TAKEN)
        rest = np.flatnonzero(~(is_trade | is_aggregate | is_other))
        depth = fine[rest] & (block.kinds[rest] == lines.DEPTH)
        ids = block.numbers[rest, lines.FIRST : lines.PREVIOUS + 1]
        done = 0
        while done < len(rest):
            if count := self._sync.advance(ids[done:], depth[done:]):
                what[rest[done : done + count]] = What.LEVEL
                self._applied += count
                done += count
                continue
            number = int(rest[done])
            message, wrong = block.message(number), numbers.wrong.get(number, "")
            self._place, self._clock = number, int(clocks[number])
            if wrong or message.fault is not None:
                self._refuse(message, wrong)
            else:
                self._take(message, numbers.of(number))
            done += 1
        self._clock = int(clocks[-1])
        self._push(what, block, numbers)

    def _drop(self, reason: str, chosen: np.ndarray) -> None:
        if count := int(np.count_nonzero(chosen)):
            self._dropped[reason] += count

    def _finish(self) -> MarketDay:
        """End the reading and return the day."""
        self._sync.finish()
        self._dropped.update({str(reason): count for reason, count in self._sync.dropped.items()})
        if not self._synced:
            raise self._without_snapshot()
        self._refuse_lost_depth()
        made = self._changes.finish(self._steps)
        superseded = made.dropped.pop(_SUPERSEDED)
        report = reading_report(
            "binance",
            made.events,
            inputs={self._source.path.name: self._source.sha256()},
            rows_read=self._lines + self._faults.dropped[DAMAGED],  # damage truncates a line
            dropped=self._dropped + collections.Counter(made.dropped),
            faults=[self._faults],
            corrections=len(made.corrections),
            levels_superseded=superseded,
            prices_not_positive=self._not_positive,
            **made.counts,
        )
        venue = "binance-futures" if self._sync.futures else "binance"
        day, scale = self._capture.trading_day, made.scale
        steps = (scale.price_scale, scale.tick, scale.lot_scale)
        instrument = Instrument(self._symbol, venue, day, "UTC", *steps, signed=made.signed)
        return MarketDay(instrument, made.start, made.events, made.corrections, report)

    def _take(self, message: Message, levels: np.ndarray) -> None:
        """Process one message; its levels are int64 [3, R]: side, price and size."""
        content = message.content
        if content is Content.SNAPSHOT and not message.symbol and len(self._capture.symbols) > 1:
            self._refuse(message, "a snapshot without a symbol", expected="'s' or a stream with the symbol")
        elif message.symbol not in (self._symbol, ""):
            self._dropped[ANOTHER_SYMBOL] += 1
        elif content is Content.ASIDE:
            self._dropped[message.reason] += 1
        elif content is Content.AGGREGATE and self._capture.symbols[self._symbol]:
            self._dropped[_AGGREGATE] += 1
        elif content in TRADES:
            self._add(What.TRADE, message, levels)
        elif content is Content.SNAPSHOT:
            if not self._sync.in_step:
                self._synchronise(message, levels, at=message)
            else:
                self._sync.snapshot(message.final, content=(message, levels.copy()))
        elif self._sync.futures not in (None, message.previous >= 0):
            self._refuse(message, "depth of another market", expected="'pu' in every depthUpdate or in none")
        else:
            self._take_depth(message, levels)

    def _take_depth(self, message: Message, levels: np.ndarray) -> None:
        if not self._sync.in_step:
            levels = levels.copy()  # a view would keep the complete block in memory while the update waits
        update = Update(message.first, message.final, message.previous, (message.time_ns, levels))
        outcome = self._sync.update(update)
        if outcome is Outcome.APPLY:
            self._add(What.LEVEL, message, levels)
        elif outcome is Outcome.GAP:
            self._gap_line = message.line
            self._add(What.GAP, message, np.zeros((3, 1), np.int64))
            spare = self._sync.take_spare()
            if spare is not None:
                self._synchronise(*spare, at=message)

    def _synchronise(self, snapshot: Message, levels: np.ndarray, *, at: Message) -> None:
        """Rebuild the book from a snapshot and the updates that continue it, if any; all arrive with message `at`."""
        newer = self._sync.snapshot(snapshot.final)
        if newer is None:
            return
        self._synced = True
        # A spot snapshot has no exchange time: use that of the first update after it.
        time_ns = snapshot.time_ns or (newer[0].content[0] if newer else self._clock or at.receive_ns)
        self._add(What.SNAPSHOT, at, levels, time_ns=time_ns)
        for update in newer:
            self._add(What.LEVEL, at, update.content[1], time_ns=update.content[0])

    def _add(self, what: int, message: Message, levels: np.ndarray, *, time_ns: int | None = None) -> None:
        time_ns = message.time_ns if time_ns is None else time_ns
        self._applied += what == What.LEVEL
        self._heads.append((self._place, what, time_ns, message.receive_ns))
        self._levels.append(levels)

    def _push(self, what: np.ndarray, block: Block, numbers: Numbers) -> None:
        """Pass the rows of the current block on to the conversion, those taken one by one in their places.

        Args:
          what: int64 [M], what the messages taken at once are, _NOT_TAKEN for all others.
          block: the messages.
          numbers: their levels.
        """
        taken = what != _NOT_TAKEN
        places, size = np.flatnonzero(taken), np.diff(numbers.begin)
        if not len(places) + len(self._heads):
            return
        clocks = block.numbers[places][:, [lines.TIME_NS, lines.RECEIVE_NS]]
        heads = np.column_stack([places, what[places], clocks])
        sizes, levels = size[places], numbers.levels[:, np.repeat(taken, size)]
        if self._heads:
            heads = np.concatenate([np.array(self._heads, np.int64), heads])
            sizes = np.concatenate([[part.shape[1] for part in self._levels], sizes])
            order = np.argsort(heads[:, 0], kind="stable")
            of_row = np.argsort(np.repeat(np.argsort(order), sizes), kind="stable")
            levels = np.concatenate([*self._levels, levels], axis=1)[:, of_row]
            heads, sizes = heads[order], sizes[order]
        group = np.arange(self._groups, self._groups + len(heads))
        columns = [heads[:, 1], group, heads[:, 2], heads[:, 3]]
        rows = LevelRows(*(np.repeat(column, sizes) for column in columns), *levels)
        self._not_positive += int(np.count_nonzero((rows.price <= 0) & (rows.what != What.GAP)))
        self._changes.push(rows)
        self._groups += len(heads)
        self._heads.clear()
        self._levels.clear()

    def _refuse(self, message: Message, what: str, *, expected: str = "") -> None:
        error = message.fault or refusal(
            what,
            where=f"{self._source}, line {message.line}",
            expected=expected or "decimal numbers, level quantities of 0 or more, multiples of tick and lot",
            was=message.raw[:200].decode("utf-8", "backslashreplace"),
        )
        self._faults.refuse(error, raw=message.raw)

    def _refuse_lost_depth(self) -> None:
        """Refuse a day that ends after an open gap, or of which more is lost than used; if not strict, count it."""
        early, behind = (self._sync.dropped[reason] for reason in (Drop.BEFORE_SNAPSHOT, Drop.BEHIND_GAP))
        where, what, expected = self._source, "", ""
        if not self._sync.in_step:
            what, expected = "a gap in the depth that no later snapshot closes", "a snapshot after it"
            where = f"{self._source}, line {self._gap_line}"
        elif early + behind > self._applied:
            what, expected = "more depth lost than used", "a snapshot near the beginning, and after each gap"
        if what:
            was = f"{self._applied} updates used, {early} before the first snapshot, {behind} after a gap"
            remedy = "insert a snapshot there, or read the rest of the day with on_error=skip"
            self._faults.refuse(
                InputError(what, where=where, expected=expected, was=was, remedy=remedy), raw=was, rows=0
            )

    def _without_snapshot(self) -> InputError:
        return InputError(
            "no snapshot that the depth continues",
            where=f"{self._source}, {self._symbol}",
            expected="a REST snapshot (lastUpdateId, bids, asks) and the updates that follow it",
            was=f"{self._lines} lines: {dict(self._dropped)}",
            remedy="add a snapshot, or put the previous capture in front: cat first.gz second.gz > both.gz",
        )


FORMAT = Format(
    feed=BinanceFeed,
    reads="raw captures of depth, trades and REST snapshots, spot and futures",
    gives="levels, in step by the exchange's rules",
    begins=re.compile(rb"\d{13,19} \{"),
)
