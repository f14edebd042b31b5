"""Memory layout of a compiled book: its arrays, the pool of orders, and the hash table of order ids.

The orders of a level form a linked list, front to back, of slots in a shared pool; an open-addressing hash table
maps an order's id to its slot.
"""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.jit import in_place, njit


class LevelColumn(enum.IntEnum):
    """Columns of `Book.levels`; the first two are those of an order, too."""

    PRICE = 0
    SIZE = 1
    FRONT = 2  # the slots at the ends of the queue
    BACK = 3


class OrderColumn(enum.IntEnum):
    """Columns of `Book.orders`."""

    PRICE = 0
    SIZE = 1
    AHEAD = 2  # the neighbours in the queue
    BEHIND = 3  # also links the free slots
    SIDE = 4  # side index
    ID = 5
    MARK = 6  # a set of bits, ANONYMOUS and OWN


class SideColumn(enum.IntEnum):
    """Columns of `Book.side`."""

    FIRST = 0  # row of the worst level
    END = 1  # the row after the best level
    LAST_BEST = 2  # the last best price
    SEEN = 3  # 1 if there ever was a best price


class Counter(enum.IntEnum):
    """Indices of `Book.counters`, named as in reports."""

    UNKNOWN_LEVEL = 0
    OVER_REMOVAL = 1
    UNKNOWN_ORDER = 2
    DUPLICATE_ORDER = 3
    CROSSED = 4
    LOCKED = 5


# As plain integers: Numba would compile functions again for arguments that are members of an enum.
PRICE, SIZE, FRONT, BACK = (int(column) for column in LevelColumn)
_, _, AHEAD, BEHIND, SIDE, ID, MARK = (int(column) for column in OrderColumn)
FIRST, END, LAST_BEST, SEEN = (int(column) for column in SideColumn)
NOBODY = -1  # instead of a slot: no order
ANONYMOUS = 1  # bit of MARK: the order stands for a total whose orders are unknown, see `BookSnapshot`
OWN = 2  # bit of MARK: the order is the user's own, see `BookSnapshot`

COUNTERS = tuple(counter.name.lower() for counter in Counter)
UNKNOWN_LEVEL, OVER_REMOVAL, UNKNOWN_ORDER, DUPLICATE_ORDER, CROSSED, LOCKED = (int(counter) for counter in Counter)
MOVED = len(Counter)  # behind them: levels moved, to make room or to close a gap, as which the work grows


class Book(NamedTuple):
    """A book in memory; side index 0 is the bid, 1 the ask.

    Attributes:
      levels: int64 [2, L, 4], by `LevelColumn`; rows first..end-1 in use, the best one last.
      orders: int64 [O, 7], by `OrderColumn`.
      names: int64 [H, 2], open-addressing hash table of order id (the uint64's bits, 0 for none) and slot.
      side: int64 [2, 4], by `SideColumn`.
      free: int64 [2], the first free slot and the number of free slots.
      counters: int64, by `Counter`, and MOVED.
      window: levels kept per side, 0 for all.
      pooled: 1 if ADDs enlarge the last order of a level, unless one of the two is the user's own, else 0.
    """

    levels: np.ndarray
    orders: np.ndarray
    names: np.ndarray
    side: np.ndarray
    free: np.ndarray
    counters: np.ndarray
    window: int
    pooled: int


def new_book(order_capacity: int, level_capacity: int, *, window: int, pooled: bool) -> Book:
    """Return an empty book with room for `order_capacity` orders and `level_capacity` levels per side.

    Args:
      order_capacity: slots in the pool of orders.
      level_capacity: rows per side.
      window: levels kept per side, 0 for all.
      pooled: whether a level is a single order.
    """
    slots = max(order_capacity, 1)
    orders = np.zeros((slots, len(OrderColumn)), np.int64)
    orders[:, BEHIND] = np.arange(1, slots + 1)
    orders[-1, BEHIND] = NOBODY
    places = 1 << max(4, (2 * slots - 1).bit_length())  # at most half full, so that probes stay short
    return Book(
        levels=np.zeros((2, max(level_capacity, 1), len(LevelColumn)), np.int64),
        orders=orders,
        names=np.zeros((places, 2), np.int64),
        side=np.zeros((2, 4), np.int64),
        free=np.array([0, slots]),
        counters=np.zeros(MOVED + 1, np.int64),
        window=int(window),
        pooled=int(pooled),
    )


def with_room(book: Book, orders: int) -> Book:
    """Return a book with room for `orders` more orders: the given one, or a larger copy."""
    lacking = orders - int(book.free[1])
    levels = book.levels.shape[1]
    wanted = levels if book.window else max(levels, int((book.side[:, END] - book.side[:, FIRST]).max()) + orders)
    if lacking <= 0 and wanted == levels:
        return book
    slots = len(book.orders)
    more = max(lacking, slots) if lacking > 0 else 0
    larger = new_book(
        slots + more, max(wanted, 2 * levels) if wanted > levels else levels, window=book.window, pooled=book.pooled
    )
    larger.levels[:, :levels] = book.levels
    larger.orders[:slots] = book.orders
    if more:  # link the new slots in front of the old free ones
        larger.orders[-1, BEHIND] = book.free[0]
        larger.free[:] = slots, book.free[1] + more
    else:
        larger.free[:] = book.free
    for name in ("side", "counters"):
        getattr(larger, name)[:] = getattr(book, name)
    enter_all(larger, book.names)
    return larger


@in_place
def enqueue(book: Book, s: int, row: int, size: int, order_id: int, mark: int) -> None:
    """Add an order at the back of a level's queue.

    Args:
      book: changed in place.
      s: side index, 0 bid, 1 ask.
      row: the level's row.
      size: lots.
      order_id: the uint64's bits, 0 for none.
      mark: the order's MARK.

    Raises:
      IndexError: the pool is full.
    """
    slot = book.free[0]
    if slot == NOBODY:
        raise IndexError("the book has no room for another order: make it with a larger order_capacity")
    level, order = book.levels[s, row], book.orders[slot]
    book.free[0] = order[BEHIND]
    book.free[1] -= 1
    order[PRICE], order[SIZE], order[SIDE], order[ID], order[MARK] = level[PRICE], size, s, order_id, mark
    order[AHEAD], order[BEHIND] = level[BACK], NOBODY
    if level[BACK] == NOBODY:
        level[FRONT] = slot
    else:
        book.orders[level[BACK], BEHIND] = slot
    level[BACK] = slot
    level[SIZE] += size
    if order_id != 0:
        enter_name(book, order_id, slot)


@in_place
def trim(book: Book, s: int, row: int, size: int, from_front: bool) -> None:
    """Remove part of a level, order by order from one end of its queue.

    Args:
      book: changed in place.
      s: side index, 0 bid, 1 ask.
      row: the level's row.
      size: lots, less than the level holds.
      from_front: start at the front of the queue; otherwise at the back.
    """
    end = FRONT if from_front else BACK
    while size > 0:
        size -= charge(book, s, row, book.levels[s, row, end], size)


@in_place
def charge(book: Book, s: int, row: int, slot: int, size: int) -> int:
    """Remove up to `size` from one order, and the order itself if nothing remains; return the lots removed.

    Args:
      book: changed in place.
      s: side index, 0 bid, 1 ask.
      row: the row of the order's level.
      slot: the order's slot.
      size: lots.
    """
    order = book.orders[slot]
    taken = min(size, order[SIZE])
    order[SIZE] -= taken
    book.levels[s, row, SIZE] -= taken
    if order[SIZE] == 0:
        ahead, behind = order[AHEAD], order[BEHIND]
        if ahead == NOBODY:
            book.levels[s, row, FRONT] = behind
        else:
            book.orders[ahead, BEHIND] = behind
        if behind == NOBODY:
            book.levels[s, row, BACK] = ahead
        else:
            book.orders[behind, AHEAD] = ahead
        free_slot(book, slot)
    return taken


@in_place
def free_slot(book: Book, slot: int) -> None:
    """Return a slot to the pool and remove its id from the hash table."""
    order = book.orders[slot]
    if order[ID] != 0:
        strike_name(book, order[ID])
    order[BEHIND] = book.free[0]
    book.free[0] = slot
    book.free[1] += 1


@njit
def live_orders(book: Book) -> np.ndarray:
    """Return the rows of `orders` that are in the book: bids, then asks, best level first, front first."""
    count = 0
    for copying in range(2):  # the first pass counts the orders, the second one copies them
        if copying:
            rows = np.empty((count, book.orders.shape[1]), np.int64)
            count = 0
        for s in range(2):
            for level in range(book.side[s, END] - 1, book.side[s, FIRST] - 1, -1):
                slot = book.levels[s, level, FRONT]
                while slot != NOBODY:
                    if copying:
                        rows[count] = book.orders[slot]
                    count += 1
                    slot = book.orders[slot, BEHIND]
    return rows


@in_place
def named_slot(book: Book, side_index: int, price: int, order_id: int) -> int:
    """Return the slot of the order with an id if it rests on this side at this price, else NOBODY.

    Args:
      book: the book.
      side_index: 0 bid, 1 ask.
      price: price quanta.
      order_id: the uint64's bits, 0 for none.
    """
    place = place_of(book, order_id)
    if order_id == 0 or book.names[place, 0] == 0:
        return NOBODY
    slot = book.names[place, 1]
    order = book.orders[slot]
    return slot if order[SIDE] == side_index and order[PRICE] == price else NOBODY


@in_place
def home_of(names: np.ndarray, order_id: int) -> int:
    """Return the hash of an id, the row at which its search begins (Fibonacci hashing)."""
    # Use the high bits of the product: its low bits depend only on the low bits of the id.
    mixed = np.uint64(order_id) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed >> np.uint64(32)) & (len(names) - 1)


@in_place
def place_of(book: Book, order_id: int) -> int:
    """Return the row of an id in the hash table, or the free row into which it would go."""
    last = len(book.names) - 1
    place = home_of(book.names, order_id)
    while book.names[place, 0] != order_id and book.names[place, 0] != 0:
        place = (place + 1) & last
    return place


@in_place
def enter_name(book: Book, order_id: int, slot: int) -> None:
    """Map an id to a slot; an order that had the id before loses it."""
    place = place_of(book, order_id)
    if book.names[place, 0] != 0:
        book.counters[DUPLICATE_ORDER] += 1
        book.orders[book.names[place, 1], ID] = 0
    book.names[place, 0], book.names[place, 1] = order_id, slot


@in_place
def enter_all(book: Book, names: np.ndarray) -> None:
    """Insert the ids of a smaller hash table."""
    for place in range(len(names)):
        if names[place, 0] != 0:
            enter_name(book, names[place, 0], names[place, 1])


@in_place
def strike_name(book: Book, order_id: int) -> None:
    """Remove an id from the hash table, shifting back the ids whose search passes its row (no tombstones)."""
    names = book.names
    last = len(names) - 1
    hole = place_of(book, order_id)
    place = (hole + 1) & last
    while names[place, 0] != 0:
        travelled = (place - home_of(names, names[place, 0])) & last
        if travelled >= ((place - hole) & last):
            names[hole, 0], names[hole, 1] = names[place, 0], names[place, 1]
            hole = place
        place = (place + 1) & last
    names[hole, 0] = 0
