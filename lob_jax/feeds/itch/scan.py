"""One pass over an ITCH file: convert blocks of bytes to chunks of events, and collect bad messages."""

import dataclasses
import functools
import re
from collections.abc import Iterator

import numpy as np

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.itch.codes import ALL, SIZES, STOCKS, UNNAMED, UNWANTED, At, Outcome
from lob_jax.feeds.itch.messages import Rows, Rules, new_reader, new_rows, read_messages
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.order_table import new_table, room_for
from lob_jax.feeds.reading.recognise import refuse_known
from lob_jax.feeds.reading.source import Source, refuse_unreadable

_ROWS_AT_ONCE = 1 << 16
_BLOCK_BYTES = 1 << 18  # of the file at once: they stay in the processor's cache
_FEW_ORDERS = 1 << 10
_BYTES_AN_EVENT = 24  # estimates the events of a file; buffers that are too large cost nothing until written to
_MOST_AT_FIRST = 1 << 24
SYMBOL = re.compile(rb"(?!\.+ *$)[!-.0-~]{1,8} *")  # printable, and valid as the name of a folder


class Scan:
    """The reading of one file.

    Attributes:
      source: the file.
      wanted: the requested stocks; empty for all.
      symbols: the wanted stocks that the directory has named so far, by instrument.
      listed: all stocks that the directory has named, with their locate codes.
      reader: state and counts of the compiled loop.
      faults: the bad messages.
      session_messages: number of messages that became events of every stock.
      lost_bytes: number of bytes in which no messages can be located.
      damage: the damage that ended the reading before the end of the file, if any.
    """

    def __init__(self, source: Source, reading: Reading, *, symbols: tuple[str, ...], rules: Rules):
        """Begin a file."""
        self.source, self.wanted = source, symbols
        self.symbols: list[str] = []
        self.listed: dict[str, int] = {}
        self.reader = new_reader(_ROWS_AT_ONCE)
        self.faults = Faults(reading, source.name)
        self.session_messages = self.lost_bytes = 0
        self.damage: InputError | None = None
        self._reading = dataclasses.replace(reading, block_bytes=min(reading.block_bytes, _BLOCK_BYTES))
        self._rules = rules
        self._table = new_table(_FEW_ORDERS)
        self._offset = 0  # position in the file of the first byte of the block
        self._unreadable = -1  # number of the last message of unknown type or length
        self._more_rows = 0  # number of losses that are not messages
        self._lost = self._end_mark = False

    @property
    def rows_read(self) -> int:
        """The number of messages found, with each loss of bytes counted as one."""
        return int(self.reader.at[At.NUMBER]) + self._more_rows

    @functools.cached_property
    def sha256(self) -> str:
        """The hash of the file."""
        return self.source.sha256()

    def whole(self) -> Rows:
        """Return the events of the wanted stocks in memory; errors as `pieces`."""
        likely = self.source.path.stat().st_size // _BYTES_AN_EVENT if self.source.path.is_file() else 0
        self.reader = self.reader._replace(rows=new_rows(min(max(likely, _ROWS_AT_ONCE), _MOST_AT_FIRST)))
        for _ in self._blocks():
            if self._is_full():
                self.reader = self.reader._replace(rows=_doubled(self.reader.rows))
        self._count_sessions()
        return self._rows()

    def pieces(self) -> Iterator[Rows]:
        """Yield the events of the wanted stocks in full buffers, each of which is valid only until the next one.

        Raises:
          InputError: reading is strict, and something violates the format.
        """
        for _ in self._blocks():
            if self._is_full():
                self._count_sessions()
                yield self._rows()
                self.reader.at[At.ROWS] = 0
        self._count_sessions()
        yield self._rows()

    def directory(self) -> Iterator[None]:
        """Read the file for its directory alone: yield after every block; errors as `pieces`."""
        for _ in self._blocks():
            self.reader.at[At.ROWS] = 0  # messages of the session became events
            yield

    def _is_full(self) -> bool:
        """Return whether there may be no room for the events of another message."""
        return bool(self.reader.at[At.ROWS] + 2 > len(self.reader.rows.kind))

    def _blocks(self) -> Iterator[None]:
        """Read the file; yield after every block, and whenever the buffers for events are full."""
        refuse_known(self.source)
        rest = b""
        try:
            for block in self.source.blocks(self._reading):
                data = rest + block
                yield from self._work(data)
                yield
                done = int(self.reader.at[At.POSITION])
                self._offset += done
                rest = data[done:]
        except InputError as error:
            self._more_rows += 1
            self.damage = error
            self.faults.refuse(error, raw=b"")
        if rest:
            self._lose("a message cut off by the end of the file", len(rest), rest, "all bytes of the message")

    def _work(self, data: bytes) -> Iterator[None]:
        """Read the complete messages in a block; yield when there is no room for more events."""
        at, view = self.reader.at, np.frombuffer(data, np.uint8)
        at[At.POSITION] = 0
        outcome = Outcome.TABLE_FULL
        while outcome != Outcome.FINE:
            if self._lost or self._end_mark:
                self._pass_over(data)
                return
            outcome = read_messages(view, len(data), self.reader, self._table, self._rules)
            if outcome == Outcome.TABLE_FULL:
                self._table = room_for(self._table, len(self._table.keys) // 2)
            elif outcome == Outcome.ROWS_FULL:
                yield
            elif outcome == Outcome.DIRECTORY:
                self._enter_stock(data)
            elif outcome == Outcome.END_MARK:
                self._end_mark = True
            elif outcome.what:
                self._refuse_message(outcome, data)

    def _pass_over(self, data: bytes) -> None:
        """Skip the bytes after a broken chain of lengths; after the end mark, only zeros are allowed."""
        left = len(data) - int(self.reader.at[At.POSITION])
        if left and not self._lost:
            if not data[-left:].strip(b"\0"):  # the mark repeated, or padding
                self.reader.at[At.POSITION] = len(data)
                return
            self._lost = True
            raw = data[-left:][:64]
            self._lose("bytes after the empty message that marks the end", 0, raw, "the end of the file")
        self.lost_bytes += left
        self.reader.at[At.POSITION] = len(data)

    def _rows(self) -> Rows:
        """Return the events in the buffers."""
        return Rows(*(values[: self.reader.at[At.ROWS]] for values in self.reader.rows))

    def _count_sessions(self) -> None:
        self.session_messages += int(np.count_nonzero(self._rows().instrument == ALL))

    def _enter_stock(self, data: bytes) -> None:
        """Register a stock's locate code from the current directory message."""
        begin = int(self.reader.at[At.MESSAGE]) + 2
        locate, raw = int.from_bytes(data[begin + 1 : begin + 3], "big"), data[begin + 11 : begin + 19]
        name = int.from_bytes(raw, "big", signed=True)
        if SYMBOL.fullmatch(raw) is None:
            self._refuse("an invalid symbol", data, "printable letters, then blanks", raw)
            return
        symbol, known = raw.decode().rstrip(" "), self.reader.instrument[locate] != UNNAMED
        if self.listed.get(symbol, locate) != locate or (known and self.reader.name[locate] != name):
            was = f"{symbol} with the code {locate}"
            self._refuse("a directory that contradicts itself", data, "one locate code per stock", was)
            return
        self.reader.idle[STOCKS, ord("R")] += 1
        if not known:
            wanted = not self.wanted or symbol in self.wanted
            self.listed[symbol], self.reader.name[locate] = locate, name
            self.reader.instrument[locate] = len(self.symbols) if wanted else UNWANTED
            self.symbols += [symbol] * wanted

    def _refuse_message(self, outcome: Outcome, data: bytes) -> None:
        """Refuse the current message; a second one in a row of unknown type or length breaks the chain of lengths."""
        at = self.reader.at
        letter, was = chr(data[at[At.MESSAGE] + 2]), int(at[At.WAS])
        what, expected = outcome.what, outcome.expected
        if outcome in (Outcome.BAD_TYPE, Outcome.BAD_LENGTH):
            expected = SIZES[letter] if outcome == Outcome.BAD_LENGTH else expected
            if outcome == Outcome.BAD_LENGTH and self._unreadable == at[At.NUMBER] - 1:
                what, self._lost = "a broken chain of lengths: the rest of the file is lost", True
            self._unreadable = int(at[At.NUMBER])
        if outcome in (Outcome.BAD_TYPE, Outcome.BAD_LETTER):
            was = repr(chr(was))
        elif outcome in (Outcome.IN_USE, Outcome.NO_ORDER):
            was %= 1 << 64
        self._refuse(what, data, expected, was)

    def _refuse(self, what: str, data: bytes, expected: object, was: object) -> None:
        begin, end = int(self.reader.at[At.MESSAGE]), int(self.reader.at[At.POSITION])
        message = f"message {self.reader.at[At.NUMBER]}, type {chr(data[begin + 2])!r}"
        error = InputError(
            what,
            where=f"{self.source}, byte {self._offset + begin}, {message}",
            expected=expected,
            was=was,
            remedy="fetch the file again; on_error='skip' leaves such messages out",
        )
        self.faults.refuse(error, raw=data[begin:end])

    def _lose(self, what: str, count: int, raw: bytes, expected: str) -> None:
        """Refuse bytes that are not a message."""
        self._more_rows += 1
        self.lost_bytes += count
        where = f"{self.source}, after message {self.reader.at[At.NUMBER]}"
        remedy = "fetch the file again; on_error='skip' keeps what came before"
        self.faults.refuse(
            InputError(what, where=where, expected=expected, was=f"{len(raw)} bytes", remedy=remedy), raw=raw
        )


def _doubled(rows: Rows) -> Rows:
    """Return a copy with room for twice as many events."""
    larger = new_rows(2 * len(rows.kind))
    for values, column in zip(rows, larger, strict=True):
        column[: len(values)] = values
    return larger


def listed_symbols(source: Source, wanted: tuple[str, ...]) -> list[str]:
    """Return the symbols in a file's directory, the wanted ones or all, in file order.

    Bad messages are skipped here and reported by the actual reading.

    Raises:
      InputError: the file cannot be read, is damaged before all wanted symbols are found, or has no directory.
    """
    rules = Rules(midnight_ns=0, tick=1, hidden_known=0)
    scan = Scan(source, Reading(on_error="skip"), symbols=("",), rules=rules)
    for _ in scan.directory():
        if wanted and scan.listed.keys() >= set(wanted):
            break
    if scan.damage is not None and (not scan.listed or set(wanted) - scan.listed.keys()):
        raise scan.damage
    if not scan.listed:
        refuse_unreadable([source.path], expected="an ITCH 5.0 file")
        raise InputError(
            "a file without a stock directory",
            where=source,
            expected="messages of type R before those of the stocks, as in every ITCH 5.0 file",
            was=f"{scan.rows_read} messages, left out: {dict(scan.faults.dropped)}",
            remedy="check that it is an ITCH 5.0 file, each message preceded by its length of 2 bytes",
        )
    return [symbol for symbol in scan.listed if not wanted or symbol in wanted]
