"""Read the two files of a LOBSTER day in parallel, keeping rows that are good in both; or the messages alone."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.lobster.files import Pair
from lob_jax.feeds.lobster.layout import message_columns
from lob_jax.feeds.lobster.rows import BookRules, MessageRules, book_columns
from lob_jax.feeds.reading.csv_rows import Block, Column, CsvRows, Rules
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.source import Source


class Chunk(NamedTuple):
    """Rows of both files, R of each.

    Attributes:
      messages: int64 [6, R], or [7, R] with the participant.
      book: int64 [4N, R], the columns of the order-book file; [0, R] if it is not read.
      line: int64 [R], counted from 1.
    """

    messages: np.ndarray
    book: np.ndarray
    line: np.ndarray


class PairRows:
    """Iterates once over the rows of a pair of files as `Chunk`s.

    A row that is bad in one file is left out of both, and counted once.

    Attributes:
      faults: the bad rows of the messages, and of the order book if there is one.
    """

    def __init__(self, pair: Pair, *, tick: int, reading: Reading):
        """Open the files.

        Raises:
          InputError: they are swapped.
        """
        levels, self._messages = pair.name.levels, MessageRules(tick, pair.name)
        kinds: list[tuple[Source, list[Column], Rules]] = [(pair.message, message_columns(pair), self._messages)]
        if pair.orderbook is not None:
            kinds.append((pair.orderbook, book_columns(levels), BookRules(levels, tick)))
        progress = _progress([source for source, _, _ in kinds], reading)
        self._halves = [
            _Half(*kind, dataclasses.replace(reading, on_bytes=told))
            for kind, told in zip(kinds, progress, strict=True)
        ]
        self._pair = pair
        self.faults = [half.faults for half in self._halves]

    @property
    def rows_read(self) -> int:
        """The number of rows of the longer file."""
        return max(half.rows.rows_read for half in self._halves)

    @property
    def unended_line(self) -> int:
        """The last line of the order-book file if it has been read and does not end in a line feed, else 0."""
        books = [half.rows for half in self._halves[1:]]
        return next((book.rows_read for book in books if not book.ended), 0)

    def report(self) -> dict[str, Any]:
        """Return the number of rounded times in good messages, and the participants that they name."""
        return {"rounded_times": self._messages.rounded_times, **self._messages.participants.report()}

    def __iter__(self) -> Iterator[Chunk]:
        with contextlib.ExitStack() as threads:
            for half in self._halves:
                threads.callback(half.close)
            yield from self._chunks()

    def _chunks(self) -> Iterator[Chunk]:
        while not all(half.exhausted for half in self._halves):
            for half in self._halves:
                half.fill()
            until = min(half.reach for half in self._halves)
            chunk = _common(*(half.take(until) for half in self._halves))
            self._count_once(until)
            if len(chunk.line):
                yield chunk
            if any(half.exhausted and half.reach == until for half in self._halves):
                break
        self._refuse_excess()

    def _count_once(self, until: int) -> None:
        """Count a row that is bad in both files only once, and forget the bad rows up to a line."""
        message, *books = (half.rows.refused for half in self._halves)
        for book in books:
            for line in [line for line in book if line <= until]:
                what = book.pop(line)
                if line in message:
                    self.faults[1].dropped[what] -= 1
        for line in [line for line in message if line <= until]:
            del message[line]

    def _refuse_excess(self) -> None:
        """Refuse the excess rows of the longer file, if the lengths differ."""
        excess = sum(half.skip() for half in self._halves)
        messages, rows = (self._halves[k].rows.rows_read for k in (0, -1))
        if messages != rows:
            error = InputError(
                "the message and the order-book file differ in length",
                where=f"{self._pair.orderbook}, line {min(messages, rows) + 1}",
                expected=f"{messages} rows, as in {self._pair.message}",
                was=f"{rows} rows",
                remedy="fetch both files again: one of them is truncated, or they are from different days",
            )
            self.faults[1].refuse(error, raw="", rows=excess)


class _Half:
    """One of the two files, with the rows that have been read but not taken yet.

    Attributes:
      reach: the last line read.
      exhausted: whether the file has been read completely.
    """

    def __init__(self, source: Source, columns: list[Column], rules: Rules, reading: Reading):
        self.faults = Faults(reading, source.name)
        self.rows = CsvRows(source, columns, header=None, reading=reading, faults=self.faults, rules=rules)
        self._blocks = iter(self.rows)
        self._held = Block(np.empty((len(columns), 0), np.int64), np.empty(0, np.int64))
        self._taken = self.reach = 0
        self.exhausted = False

    def close(self) -> None:
        """Stop reading."""
        self._blocks.close()

    def fill(self) -> None:
        """Read more rows if all rows read so far have been taken."""
        while self._taken == self.reach and not self.exhausted:
            block = next(self._blocks, None)
            self.exhausted = block is None
            self._held = self._held if block is None else block
            self.reach = self.rows.rows_read

    def take(self, until: int) -> Block:
        """Return and remove the rows up to a line."""
        count = int(np.searchsorted(self._held.line, until, side="right"))
        taken = Block(self._held.values[:, :count], self._held.line[:count])
        self._held = Block(self._held.values[:, count:], self._held.line[count:])
        self._taken = until
        return taken

    def skip(self) -> int:
        """Read to the end of the file; return the number of good rows that remained."""
        count = len(self._held.line) + sum(len(block.line) for block in self._blocks)
        self.exhausted = True
        return count


def _common(messages: Block, book: Block | None = None) -> Chunk:
    """Return the rows that both files have."""
    if book is None:
        return Chunk(messages.values, np.empty((0, len(messages.line)), np.int64), messages.line)
    if np.array_equal(messages.line, book.line):
        return Chunk(messages.values, book.values, messages.line)
    line, first, second = np.intersect1d(messages.line, book.line, assume_unique=True, return_indices=True)
    return Chunk(messages.values[:, first], book.values[:, second], line)


def _progress(sources: Sequence[Source], reading: Reading) -> list[Callable[[int, int], None] | None]:
    """Return a progress callback for each file that adds up the progress of both."""
    report = reading.on_bytes
    if report is None:
        return [None] * len(sources)
    sizes, done = [source.path.stat().st_size for source in sources], [0] * len(sources)

    def tell(half: int, so_far: int) -> None:
        done[half] = so_far
        report(sum(done), sum(sizes))

    return [lambda so_far, _, half=half: tell(half, so_far) for half in range(len(sources))]
