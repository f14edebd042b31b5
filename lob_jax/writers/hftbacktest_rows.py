"""Convert the events of a day to hftbacktest's rows: levels and trades, or individual orders."""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.levels import END, FIRST, Levels, change, clear_levels, set_level, size_at
from lob_jax.book.loops import CorrectionColumns, EventColumns
from lob_jax.events.schema import BID, Code, Flag, Kind
from lob_jax.feeds.reading.order_table import ABSENT, PRICE, SIDE, SIZE, OrderTable, find, insert, remove
from lob_jax.jit import in_place


class What(enum.IntEnum):
    """What a row says, numbered as hftbacktest numbers it."""

    DEPTH = 1  # what a level holds
    TRADE = 2
    CLEAR = 3  # the book is gone
    SNAPSHOT = 4  # what a level holds, of a book that begins anew
    ADD_ORDER = 10
    CANCEL_ORDER = 11
    MODIFY_ORDER = 12
    FILL = 13


# As plain integers: Numba would compile functions again for arguments that are members of an enum.
DEPTH, TRADE, CLEAR, SNAPSHOT, ADD_ORDER, CANCEL_ORDER, MODIFY_ORDER, FILL = (int(what) for what in What)
MOST_ROWS = 3  # per event; a correction takes up to two more
_ADD, _DELETE, _EXECUTE, _HIDDEN, _CROSS, _CONTROL = (
    int(kind) for kind in (Kind.ADD, Kind.DELETE, Kind.EXECUTE, Kind.EXECUTE_HIDDEN, Kind.CROSS, Kind.CONTROL)
)
_CLEAR_CODE, _KNOWN = int(Code.CLEAR), int(Flag.AGGRESSOR_KNOWN)
SOUND = -1  # instead of an event index: all events fit the live orders


class Rows(NamedTuple):
    """Rows being built.

    Attributes:
      event: int64 [M], the event that a row belongs to.
      what: int64 [M], see `What`.
      side: int64 [M], +1 buy or bid, -1 sell or ask, 0 for neither.
      price, size: int64 [M], price quanta and lots.
      order_id: int64 [M], the bits of an order's id, 0 in a row without an order.
      count: int64 [1], rows in use.
    """

    event: np.ndarray
    what: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    order_id: np.ndarray
    count: np.ndarray


def new_rows(room: int) -> Rows:
    """Return an empty `Rows` with room for `room` rows."""
    return Rows(*(np.zeros(room, np.int64) for _ in range(6)), np.zeros(1, np.int64))


@in_place
def level_rows(
    rows: Rows, levels: Levels, events: EventColumns, flags: np.ndarray, corrections: CorrectionColumns
) -> None:
    """Write events and their corrections as the resulting levels, each trade before its level.

    Levels that drop out of a feed's window are written as removed, since they are removed from `levels` too.

    Args:
      rows: appended to.
      levels: the book before the first event; changed in place.
      events: the events of one chunk.
      flags: the `Flag` bits of each event.
      corrections: those of these events.
    """
    cursor = 0
    for i in range(len(events.kind)):
        kind, side = np.int64(events.kind[i]), np.int64(events.side[i])
        price, size = np.int64(events.price[i]), np.int64(events.size[i])
        restarted = kind == _CONTROL and events.code[i] == _CLEAR_CODE
        if restarted:
            _put(rows, i, CLEAR, 0, 0, 0, 0)
            clear_levels(levels)
        if _EXECUTE <= kind <= _CROSS:
            _put(rows, i, TRADE, _aggressor(kind, side, flags[i]), price, size, 0)
        if kind <= _EXECUTE:
            _put_forgotten(rows, levels, i, side, price)
            change(levels, kind, side, price, size)
            _put(rows, i, DEPTH, side, price, size_at(levels, 0 if side > 0 else 1, price), 0)
        while cursor < len(corrections.event) and corrections.event[cursor] == i:
            side, price = np.int64(corrections.side[cursor]), corrections.price[cursor]
            _put_forgotten(rows, levels, i, side, price)
            set_level(levels, side, price, corrections.size[cursor])
            left = size_at(levels, 0 if side > 0 else 1, price)
            _put(rows, i, SNAPSHOT if restarted else DEPTH, side, price, left, 0)
            cursor += 1


@in_place
def order_rows(rows: Rows, orders: OrderTable, events: EventColumns, flags: np.ndarray) -> int:
    """Write events as changes of individual orders; return the first that does not fit the live orders, else SOUND.

    An execution becomes a trade, a fill, and then the remainder of the order.

    Args:
      rows: appended to.
      orders: the live orders before the first event; changed in place.
      events: the events of one chunk.
      flags: the `Flag` bits of each event.
    """
    for i in range(len(events.kind)):
        kind, side = np.int64(events.kind[i]), np.int64(events.side[i])
        price, size, name = np.int64(events.price[i]), np.int64(events.size[i]), np.int64(events.order_id[i])
        if kind == _CONTROL:
            if events.code[i] == _CLEAR_CODE:
                _put(rows, i, CLEAR, 0, 0, 0, 0)
                orders.state[:] = 0
                orders.used[0] = 0
            continue
        if _EXECUTE <= kind <= _CROSS:
            _put(rows, i, TRADE, _aggressor(kind, side, flags[i]), price, size, 0)
        if kind > _EXECUTE:
            continue
        place = find(orders, name)
        if kind == _ADD:
            if place != ABSENT or name == 0:
                return i
            place = insert(orders, name)
            orders.values[place, SIDE], orders.values[place, PRICE], orders.values[place, SIZE] = side, price, size
            _put(rows, i, ADD_ORDER, side, price, size, name)
            continue
        if place == ABSENT or not _fits(orders, place, kind, side, price, size):
            return i
        if kind == _EXECUTE:
            _put(rows, i, FILL, side, price, size, name)
        left = orders.values[place, SIZE] - size
        orders.values[place, SIZE] = left
        _put(rows, i, MODIFY_ORDER if left > 0 else CANCEL_ORDER, side, price, left, name)
        if left == 0:
            remove(orders, place)
    return SOUND


@in_place
def _fits(orders: OrderTable, place: int, kind: int, side: int, price: int, size: int) -> bool:
    """Return whether an order has the side, price and size that an event removes."""
    values = orders.values[place]
    same = values[SIDE] == side and values[PRICE] == price
    return same and (values[SIZE] == size if kind == _DELETE else values[SIZE] >= size)


@in_place
def _aggressor(kind: int, side: int, flags: int) -> int:
    """Return the aggressor's side, 0 if unknown: known for a visible order, otherwise only if the feed states it."""
    return -side if kind == _EXECUTE or flags & _KNOWN else 0


@in_place
def _put(rows: Rows, event: int, what: int, side: int, price: int, size: int, order_id: int) -> None:
    k = rows.count[0]
    rows.event[k], rows.what[k], rows.side[k], rows.price[k], rows.size[k] = event, what, side, price, size
    rows.order_id[k] = order_id
    rows.count[0] = k + 1


@in_place
def _put_forgotten(rows: Rows, levels: Levels, i: int, side: int, price: int) -> None:
    """Write the worst level of a full window as removed if a new level at `price` would push it out."""
    s = 0 if side > 0 else 1
    first = levels.side[s, FIRST]
    if levels.window > 0 and levels.side[s, END] - first == levels.window and size_at(levels, s, price) == 0:
        worst = levels.price[s, first]
        if side * (price - worst) > 0:
            _put(rows, i, DEPTH, BID if s == 0 else -BID, worst, 0, 0)
