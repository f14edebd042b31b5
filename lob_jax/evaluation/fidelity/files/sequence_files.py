"""The two files of one sequence in LOBSTER's format, of any generator: its messages, and the book after each."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.lobster.files import MOST_MS, LobsterName
from lob_jax.feeds.lobster.rows import (
    DIRECTION,
    EMPTY_PRICE,
    MAX_SIZE,
    MESSAGE_COLUMNS,
    ORDER_ID,
    PRICE,
    SIZE,
    TIME,
    TYPE,
    BookRules,
    MessageFault,
    MessageRules,
    book_columns,
    to_levels,
)
from lob_jax.feeds.lobster.times import UNITS_PER_NS
from lob_jax.feeds.reading.csv_rows import Column, CsvRows, Rules
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.source import Source, empty_file

_FIRST_BYTES = 1 << 16
_NO_PRICE = (0, -1, EMPTY_PRICE, -EMPTY_PRICE)  # of a level without orders
# Simulators number the orders that rest at the start with negative ids.
_COLUMNS = (*MESSAGE_COLUMNS[:ORDER_ID], Column("order id", "int"), *MESSAGE_COLUMNS[ORDER_ID + 1 :])
_PARTICIPANT = Column("participant", "any")
_NO_NAME = LobsterName("", "", 0, MOST_MS, 1)


class SequenceRows(NamedTuple):
    """The columns of one sequence of R messages, as those of `Flow`; zeros for messages that there are none of.

    Attributes:
      time_ns: int64 [R].
      kind: uint8 [R].
      side: int8 [R].
      price: int64 [R].
      size: int64 [R].
      order_id: uint64 [R]; a negative id as its two's complement.
      book_price: int64 [R, 2, P].
      book_size: int64 [R, 2, P].
      halts: rows left out because their message announces a halt or a resumption.
    """

    time_ns: np.ndarray
    kind: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    order_id: np.ndarray
    book_price: np.ndarray
    book_size: np.ndarray
    halts: int = 0


class SequenceMessageRules(MessageRules):
    """The rules for a generator's message; unlike a feed's, its time may run backwards, which is not refused."""

    def __init__(self) -> None:
        super().__init__(1, _NO_NAME)

    def judge(self, values: np.ndarray, text: Callable[[int], tuple[str, ...]]) -> np.ndarray:
        """Return the rows at fault; round times to ns."""
        printed, kind, size, price = (values[column] for column in (TIME, TYPE, SIZE, PRICE))
        time = (np.maximum(printed, 0) + UNITS_PER_NS // 2) // UNITS_PER_NS
        order = kind != Kind.CONTROL
        faults = {
            MessageFault.OUTSIDE: (printed < 0) | (time > MOST_MS * 10**6),
            MessageFault.UNKNOWN_TYPE: (kind < Kind.ADD) | (kind > Kind.CONTROL),
            MessageFault.NO_DIRECTION: order & (np.abs(values[DIRECTION]) != 1),
            MessageFault.NEGATIVE_SIZE: order & (size < 0),
            MessageFault.LARGE_SIZE: order & (size > MAX_SIZE),
            MessageFault.NO_SIZE: order & (size == 0) & (kind != Kind.CROSS),
            MessageFault.FAR_PRICE: order & ((price <= -EMPTY_PRICE) | (price >= EMPTY_PRICE)),
        }
        found = np.select(list(faults.values()), [int(fault) for fault in faults], int(MessageFault.FINE))
        values[TIME] = time
        wrong = np.flatnonzero(found != MessageFault.FINE)
        return np.stack([wrong, found[wrong], np.zeros_like(wrong)], axis=1)


class SequenceBookRules(BookRules):
    """The rules for a generator's row of levels; unlike a feed's, an empty level may have the price 0 or -1."""

    def __init__(self, levels: int):
        super().__init__(levels, 1)

    def judge(self, values: np.ndarray, text: Callable[[int], tuple[str, ...]]) -> np.ndarray:
        """Return the rows at fault; give empty levels LOBSTER's price and no size."""
        for place, dummy in ((0, EMPTY_PRICE), (2, -EMPTY_PRICE)):
            price, size = values[place::4], values[place + 1 :: 4]
            empty = ((size == 0) | ((size == -1) & (price == -1))) & np.isin(price, _NO_PRICE)
            values[place::4], values[place + 1 :: 4] = np.where(empty, dummy, price), np.where(empty, 0, size)
        return super().judge(values, text)


def read_sequence(message: pathlib.Path | None, orderbook: pathlib.Path, *, levels: int) -> SequenceRows:
    """Read the files of one sequence; nothing is replayed, so a message may contradict the book.

    A message that announces a halt or a resumption is left out together with its row of the book.

    Args:
      message: the message file; None if there are only books.
      orderbook: the order-book file, whose row k is the book after message k.
      levels: P, levels per side in the order-book file.

    Raises:
      InputError: a file cannot be read, a line violates LOBSTER's format, or the files differ in length.
    """
    book_price, book_size = to_levels(_values(orderbook, book_columns(levels), SequenceBookRules(levels)))
    rows = len(book_price)
    if message is None:
        integers = np.zeros(rows, np.int64)
        kind, side, order_id = integers.astype(np.uint8), integers.astype(np.int8), integers.astype(np.uint64)
        return SequenceRows(integers, kind, side, integers, integers, order_id, book_price, book_size)
    columns = [*_COLUMNS, _PARTICIPANT] if columns_of(message) > len(_COLUMNS) else list(_COLUMNS)
    values = _values(message, columns, SequenceMessageRules())
    if values.shape[1] != rows:
        raise _different_lengths(message, orderbook, messages=values.shape[1], books=rows)
    kept = np.flatnonzero(values[TYPE] != Kind.CONTROL)
    values = values[:, kept]
    return SequenceRows(
        time_ns=values[TIME],
        kind=values[TYPE].astype(np.uint8),
        side=values[DIRECTION].astype(np.int8),
        price=values[PRICE],
        size=values[SIZE],
        order_id=values[ORDER_ID].view(np.uint64),
        book_price=book_price[kept],
        book_size=book_size[kept],
        halts=rows - len(kept),
    )


def columns_of(path: pathlib.Path) -> int:
    """Return the number of columns in the first line of a file.

    Raises:
      InputError: the file is empty or cannot be read.
    """
    line = Source(path).first_bytes(_FIRST_BYTES).split(b"\n")[0]
    if not line:
        raise empty_file(path, expected="a row of numbers per message")
    return line.count(b",") + 1


def levels_of(orderbook: pathlib.Path) -> int:
    """Return the levels per side in an order-book file, by its first line.

    Raises:
      InputError: the number of its columns is no multiple of four.
    """
    columns = columns_of(orderbook)
    if columns % 4:
        raise InputError(
            "an order-book file with a wrong number of columns",
            where=f"{orderbook}, line 1",
            expected="four per level: ask price, ask size, bid price, bid size",
            was=f"{columns} columns",
            remedy="write the book without an index, a header or a time",
        )
    return columns // 4


def _values(path: pathlib.Path, columns: list[Column], rules: Rules) -> np.ndarray:
    source = Source(path)
    rows = CsvRows(source, columns, header=None, reading=STRICT, faults=Faults(STRICT, source.name), rules=rules)
    return np.concatenate([block.values for block in rows], axis=1)


def _different_lengths(message: pathlib.Path, orderbook: pathlib.Path, *, messages: int, books: int) -> InputError:
    return InputError(
        "the messages and the books of a sequence differ in number",
        where=f"{orderbook}, line {min(messages, books) + 1}",
        expected=f"{messages} rows, as in {message}",
        was=f"{books} rows",
        remedy="write one row of the book after each message; the book before the first one has no row",
    )
