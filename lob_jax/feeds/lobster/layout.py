"""Check from the first lines of a LOBSTER day's files which half each is, and how many columns the messages have."""

import collections

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.lobster.files import Pair
from lob_jax.feeds.lobster.mpids import PARTICIPANT_COLUMN
from lob_jax.feeds.lobster.rows import MESSAGE_COLUMNS
from lob_jax.feeds.reading.csv_rows import Column
from lob_jax.feeds.reading.source import Source

_BYTES = 1 << 16  # inspected at the beginning of a file
_WIDTHS = (len(MESSAGE_COLUMNS), len(MESSAGE_COLUMNS) + 1)  # columns of a message file; an order book has 4, 8, 12, ...


def message_columns(pair: Pair) -> list[Column]:
    """Return the columns of a day's message file: seven if most of its first lines have a participant, else six.

    Raises:
      InputError: a file has the content of the other one.
    """
    messages = _widths(pair.message)
    books = _widths(pair.orderbook) if pair.orderbook is not None else collections.Counter()
    in_book = 4 * pair.name.levels
    book_first, messages_last = _usual(messages) == in_book, _usual(books) in _WIDTHS
    if book_first or messages_last:
        raise _misplaced(pair, swapped=book_first and messages_last, book_first=book_first)
    six, seven = (messages[width] for width in _WIDTHS)
    return [*MESSAGE_COLUMNS, PARTICIPANT_COLUMN] if seven > six else list(MESSAGE_COLUMNS)


def _widths(source: Source) -> collections.Counter[int]:
    """Count the first lines by their number of columns; an unreadable file is left to the actual reading."""
    try:
        begin = next(source.blocks(Reading(block_bytes=_BYTES)), b"")
    except InputError:
        return collections.Counter()
    *lines, last = begin.split(b"\n")
    return collections.Counter(line.count(b",") + 1 for line in lines or [last])


def _usual(widths: collections.Counter[int]) -> int:
    return widths.most_common(1)[0][0] if widths else 0


def _misplaced(pair: Pair, *, swapped: bool, book_first: bool) -> InputError:
    book_columns, six_or_seven = f"{4 * pair.name.levels} columns", " or ".join(map(str, _WIDTHS)) + " columns"
    if swapped:
        return InputError(
            "the message and the order-book file are swapped",
            where=pair.message,
            expected=f"{six_or_seven} here, {book_columns} in {pair.orderbook}",
            was="the other way round",
            remedy="swap the names of the two files",
        )
    what = "a message file that holds an order book" if book_first else "an order-book file that holds messages"
    return InputError(
        what,
        where=pair.message if book_first else pair.orderbook,
        expected=six_or_seven if book_first else book_columns,
        was=book_columns if book_first else six_or_seven,
        remedy="replace it by the right file of this name; this is the other file of the pair, or a copy of it",
    )
