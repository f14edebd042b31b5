"""Build a book from LOBSTER's messages alone: the part that they prove, without what they cannot show."""

import enum
from typing import Any

import numpy as np

from lob_jax.book.kernel import apply, best_price, best_size, correct, level_of, load
from lob_jax.book.loops import EventColumns, event_columns
from lob_jax.book.orders import NOBODY, SIZE, Book, named_slot, with_room
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.jit import inner, njit

_ADD, _EXECUTE, _CONTROL = int(Kind.ADD), int(Kind.EXECUTE), int(Kind.CONTROL)
_HALTS, _TRADES = (int(Code.HALT), int(Code.RESUME_QUOTE)), int(Code.RESUME_TRADE)


class Tally(enum.IntEnum):
    """What is counted, named as in the report."""

    REMOVALS_OF_UNKNOWN_ORDERS = 0
    DISPROVED_LEVELS = 1


class MessageBook:
    """Follows the messages of a day without its order-book file, using no information from later messages.

    The book begins empty, since the orders that rest at the start of the session are unknown. A message about such an
    order becomes an event like any other, but must not reduce the known orders; a correction after it undoes that. No
    event is lost this way, and no order appears in the book before its time. A file of N levels does not show what
    happens behind them, so the book keeps only its own N best levels. As a consequence, an order may leave unseen and
    be kept too long. Trades happen only in a book that is not crossed and only at its best price, so a message at a
    price disproves the levels of the opposite side that it would have traded with and, if it is an execution, the
    better levels of its own side. They are removed by corrections. Nothing is disproved between a halt and the
    resumption of trading.
    """

    def __init__(self, start: BookSnapshot):
        """Begin with the book before the first event."""
        self._book = load(start, 0)
        self._halted = np.zeros(1, np.bool_)
        self._tally = np.zeros(len(Tally), np.int64)

    def corrections(self, events: Events, book: np.ndarray, line: np.ndarray) -> Corrections:
        """Return the corrections that restrict a replay of the next events to known orders; `book` has no rows."""
        columns = event_columns(events)
        self._book = with_room(self._book, int(np.count_nonzero(events.kind == Kind.ADD)))
        found = _known(self._book, columns, self._halted, self._tally)
        return Corrections(found[:, 0].copy(), found[:, 1].astype(np.int8), found[:, 2].copy(), found[:, 3].copy())

    def report(self) -> dict[str, Any]:
        """Return the number of removals of more than the known size of an order, and of levels kept too long."""
        return {"order_book": "none", **{count.name.lower(): int(self._tally[count]) for count in Tally}}


@njit
def _known(book: Book, events: EventColumns, halted: np.ndarray, tally: np.ndarray) -> np.ndarray:
    """Apply the events to the known orders; return rows (event, side, price, size) of corrections."""
    found = np.empty((1024, 4), np.int64)
    count = 0
    for i in range(len(events.kind)):
        kind = np.int64(events.kind[i])
        if kind == _CONTROL and events.code[i] in _HALTS:
            halted[0] = True
        elif kind == _CONTROL and events.code[i] == _TRADES:
            halted[0] = False
        if kind > _EXECUTE:
            continue
        if count + 2 * book.window + 1 > len(found):
            larger = np.empty((2 * len(found) + 2 * book.window, 4), np.int64)
            larger[:count] = found[:count]
            found = larger
        s, price, size = 0 if events.side[i] > 0 else 1, events.price[i], events.size[i]
        order_id = np.int64(events.order_id[i])
        if kind == _ADD:
            apply(book, kind, 1 - 2 * s, price, size, order_id)
        else:
            held, left, paid = _remove(book, s, kind, price, size, order_id)
            tally[Tally.REMOVALS_OF_UNKNOWN_ORDERS] += paid < size
            if left != max(held - size, 0):
                found[count, 0], found[count, 1], found[count, 2], found[count, 3] = i, 1 - 2 * s, price, left
                count += 1
        if not halted[0]:
            known = count
            count = _disprove(book, 1 - s, 1, price, i, found, count)
            if kind == _EXECUTE:
                count = _disprove(book, s, 0, price, i, found, count)
            tally[Tally.DISPROVED_LEVELS] += count - known
    return found[:count].copy()


@inner
def _remove(book: Book, s: int, kind: int, price: int, size: int, order_id: int) -> tuple[int, int, int]:
    """Remove the known part of an order; return the level's size before and after, and the lots removed."""
    row, slot = level_of(book, s, price), named_slot(book, s, price, order_id)
    if row < 0:
        return 0, 0, 0
    held = book.levels[s, row, SIZE]
    paid = min(size, book.orders[slot, SIZE]) if slot != NOBODY else 0
    apply(book, kind, 1 - 2 * s, price, paid, order_id)
    return held, held - paid, paid


@inner
def _disprove(book: Book, s: int, least: int, price: int, i: int, found: np.ndarray, count: int) -> int:
    """Remove levels of a side better than a price, or equal if `least` is 1; return the corrections so far."""
    side = 1 - 2 * s
    while best_size(book, s) > 0:
        best = best_price(book, s)
        if side * (best - price) + least <= 0:
            break
        found[count, 0], found[count, 1], found[count, 2], found[count, 3] = i, side, best, 0
        correct(book, side, best, 0)
        count += 1
    return count
