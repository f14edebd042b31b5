"""The compiled book: price levels with their queues of orders, updated in place.

A `Book` is a tuple of arrays, so other compiled loops can hold one and call `apply`, `correct` and `reference`
on it. The levels of a side are kept in a sorted array with the best one last, because most events happen near the
best price. The array has room at both ends: adding or removing a level shifts either its better or its worse
neighbours, whichever are fewer, and a snapshot may list its levels in either order.

An event always removes its size from the level that it names; an order id only decides which order of that level is
reduced first. Prices, sizes and references therefore never depend on ids, and a book that is rebuilt without ids
stays identical in all three.
"""

import numpy as np

from lob_jax.book.orders import (
    AHEAD,
    ANONYMOUS,
    BACK,
    BEHIND,
    CROSSED,
    END,
    FIRST,
    FRONT,
    ID,
    LAST_BEST,
    LOCKED,
    MARK,
    MOVED,
    NOBODY,
    OVER_REMOVAL,
    OWN,
    PRICE,
    SEEN,
    SIDE,
    SIZE,
    UNKNOWN_LEVEL,
    UNKNOWN_ORDER,
    Book,
    charge,
    enqueue,
    free_slot,
    live_orders,
    named_slot,
    new_book,
    trim,
)
from lob_jax.book.orders import (
    COUNTERS as COUNTERS,
)
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import ANONYMOUS_ID, Kind
from lob_jax.jit import in_place

_ADD, _CANCEL, _DELETE, _EXECUTE = int(Kind.ADD), int(Kind.CANCEL), int(Kind.DELETE), int(Kind.EXECUTE)
_ANONYMOUS_ID = ANONYMOUS_ID - 2**64  # its bits as an int64


def load(snapshot: BookSnapshot, order_capacity: int, *, levels: int = 0) -> Book:
    """Build the book of a snapshot, with room for `order_capacity` more orders (ADDs and corrections).

    It has room for so many `levels` a side, by default for a level of each order, or for those of a window.
    """
    orders = len(snapshot) + order_capacity
    # A window that reaches an end of its array is moved to the middle; room for four windows makes that rare.
    levels = levels or 4 * snapshot.window or orders
    book = new_book(orders, levels, window=snapshot.window, pooled=snapshot.pooled)
    book.side[:, LAST_BEST], book.side[:, SEEN] = snapshot.last_best, snapshot.seen
    _append_all(
        book,
        np.asarray(snapshot.side, np.int64),
        np.asarray(snapshot.price, np.int64),
        np.asarray(snapshot.size, np.int64),
        np.asarray(snapshot.order_id, np.uint64).view(np.int64),
        np.where(snapshot.anonymous, ANONYMOUS, 0) | np.where(snapshot.is_own(), OWN, 0),
    )
    return book


def to_snapshot(book: Book, time_ns: int) -> BookSnapshot:
    """Return a snapshot of a book's live orders, in O(live orders)."""
    rows = live_orders(book)
    return BookSnapshot(
        time_ns=int(time_ns),
        side=(1 - 2 * rows[:, SIDE]).astype(np.int8),
        price=rows[:, PRICE].copy(),
        size=rows[:, SIZE].copy(),
        order_id=rows[:, ID].copy().view(np.uint64),
        anonymous=(rows[:, MARK] & ANONYMOUS) > 0,
        last_best=book.side[:, LAST_BEST].copy(),
        seen=book.side[:, SEEN] > 0,
        window=int(book.window),
        pooled=bool(book.pooled),
        own=np.flatnonzero(rows[:, MARK] & OWN),
    )


@in_place
def apply(book: Book, kind: int, side: int, price: int, size: int, order_id: int, mark: int = 0) -> None:
    """Apply one event to the book; kinds without effect on it, including CONTROL (see `clear`), are ignored.

    An ADD joins the back of its level's queue; in a pooled book it enlarges the order there, unless that order or the
    added one is the user's own. CANCEL, DELETE and EXECUTE remove `size` from the level at `price`, starting with the
    order named by `order_id` if it rests on that level, and otherwise with the order that a rule selects: for EXECUTE
    the front of the queue, whoever owns it; for CANCEL the newest order larger than `size`; for DELETE the newest order
    of exactly `size`, else the newest anonymous one larger than `size`, which may contain an order of that size; and
    the back of the queue if there is no such order. The rules for CANCEL and DELETE pass over the user's own orders,
    which others cannot withdraw. ANONYMOUS_ID names the order that these rules select among the anonymous ones. If the
    order is smaller than `size`, the remainder is taken from the front for EXECUTE
    and from the back otherwise. A level of at most `size` is removed completely; a removal from a level that does not
    exist is counted and changes nothing, as does a size of 0.

    Args:
      book: changed in place.
      kind: a `Kind`.
      side: +1 bid, -1 ask.
      price: price quanta.
      size: lots.
      order_id: the bits of the uint64 id, 0 for none.
      mark: OWN if an ADD is the user's own order, else 0.

    Raises:
      IndexError: the book has no room for another order or level.
    """
    # Cast here so that the code below compiles once, for one set of types, whatever dtypes the caller's columns have.
    _apply(book, np.int64(kind), np.int64(side), np.int64(price), np.int64(size), np.int64(order_id), np.int64(mark))


@in_place
def correct(book: Book, side: int, price: int, size: int) -> None:
    """Set a level's size: it grows by an anonymous order and shrinks from the back; 0 removes it.

    Args:
      book: changed in place.
      side: +1 bid, -1 ask.
      price: price quanta.
      size: the new total size of the level, lots.
    """
    _correct(book, np.int64(side), np.int64(price), np.int64(size))


@in_place
def clear(book: Book) -> None:
    """Empty both sides; the last best prices are kept."""
    for s in range(2):
        while not is_empty(book, s):
            _drop_level(book, s, book.side[s, END] - 1)


@in_place
def is_empty(book: Book, side_index: int) -> bool:
    """Return whether a side (0 bid, 1 ask) has no level."""
    return book.side[side_index, END] == book.side[side_index, FIRST]


@in_place
def best_price(book: Book, side_index: int) -> int:
    """Return the best price of a side (0 bid, 1 ask), 0 if it is empty."""
    return 0 if is_empty(book, side_index) else book.levels[side_index, book.side[side_index, END] - 1, PRICE]


@in_place
def best_size(book: Book, side_index: int) -> int:
    """Return the size at the best price of a side (0 bid, 1 ask), 0 if it is empty."""
    return 0 if is_empty(book, side_index) else book.levels[side_index, book.side[side_index, END] - 1, SIZE]


@in_place
def reference(book: Book, side: int) -> int:
    """Return the reference price of a side (+1 bid, -1 ask), from which its prices are counted.

    It is the best price of the side, else its last best price, else the best of the other side, else 0.
    """
    s = 0 if side > 0 else 1
    return book.side[s, LAST_BEST] if book.side[s, SEEN] else best_price(book, 1 - s)


@in_place
def count_state(book: Book) -> None:
    """Increment the crossed or the locked counter if the best prices cross or are equal."""
    if not is_empty(book, 0) and not is_empty(book, 1):
        spread = best_price(book, 1) - best_price(book, 0)
        if spread < 0:
            book.counters[CROSSED] += 1
        elif spread == 0:
            book.counters[LOCKED] += 1


@in_place
def level_of(book: Book, side_index: int, price: int) -> int:
    """Return the row of a price in `book.levels[side_index]`, -1 if there is no such level."""
    row = rank(book, side_index, price)
    if row < book.side[side_index, END] and book.levels[side_index, row, PRICE] == price:
        return row
    return -1


@in_place
def queue_length(book: Book, side_index: int, row: int, most: int) -> int:
    """Return the number of orders of the level in a row, at most `most`."""
    count, slot = 0, book.levels[side_index, row, BACK]
    while slot != NOBODY and count < most:
        count += 1
        slot = book.orders[slot, AHEAD]
    return count


@in_place
def rule_slot(book: Book, side_index: int, row: int, kind: int, size: int) -> int:
    """Return the slot of the order that is reduced first by a removal that names no order.

    Args:
      book: holds the level.
      side_index: 0 bid, 1 ask.
      row: the level's row in `book.levels[side_index]`.
      kind: CANCEL, DELETE or EXECUTE.
      size: lots to be removed.
    """
    if kind == _EXECUTE:
        return book.levels[side_index, row, FRONT]
    slot = book.levels[side_index, row, BACK]
    otherwise, divisible = slot, False
    while slot != NOBODY:
        held = book.orders[slot, SIZE]
        fits = held == size if kind == _DELETE else held > size
        if fits and not book.orders[slot, MARK] & OWN:
            return slot
        if not divisible and held > size and book.orders[slot, MARK] & ANONYMOUS:
            otherwise, divisible = slot, True
        slot = book.orders[slot, AHEAD]
    return otherwise


@in_place
def ordered_slot(book: Book, side_index: int, row: int, kind: int, size: int, order_id: int) -> int:
    """Return the slot of the order that a removal names, NOBODY if it names none that rests on its level.

    Args:
      book: holds the level.
      side_index: 0 bid, 1 ask.
      row: the level's row in `book.levels[side_index]`.
      kind: CANCEL, DELETE or EXECUTE.
      size: lots to be removed.
      order_id: the uint64's bits; 0 for none.
    """
    if order_id != _ANONYMOUS_ID:
        return named_slot(book, side_index, book.levels[side_index, row, PRICE], order_id)
    larger = NOBODY
    slot = book.levels[side_index, row, BACK] if kind != _EXECUTE else NOBODY
    while slot != NOBODY:
        held = book.orders[slot, SIZE]
        if book.orders[slot, MARK] & ANONYMOUS:
            if kind == _DELETE and held == size:
                return slot
            if larger == NOBODY and held > size:
                larger = slot
        slot = book.orders[slot, AHEAD]
    return larger


@in_place
def _apply(book: Book, kind: int, side: int, price: int, size: int, order_id: int, mark: int) -> None:
    """Apply one event, all arguments int64."""
    if size <= 0:
        return
    s = 0 if side > 0 else 1
    if kind == _ADD:
        _add(book, s, price, size, order_id, mark)
    elif kind in (_CANCEL, _DELETE, _EXECUTE):
        _remove(book, s, kind, price, size, order_id)
    else:
        return
    _note_best(book, s)


@in_place
def _correct(book: Book, side: int, price: int, size: int) -> None:
    """Set a level's size, all arguments int64."""
    s = 0 if side > 0 else 1
    row = level_of(book, s, price)
    held = book.levels[s, row, SIZE] if row >= 0 else 0
    if size > held:
        _add(book, s, price, size - held, 0, 0 if book.pooled else ANONYMOUS)
    elif row >= 0 and size <= 0:
        _drop_level(book, s, row)
    elif row >= 0:
        trim(book, s, row, held - size, False)
    _note_best(book, s)


@in_place
def _append_all(
    book: Book, side: np.ndarray, price: np.ndarray, size: np.ndarray, order_id: np.ndarray, mark: np.ndarray
) -> None:
    """Add orders in sequence, those of a level from front to back."""
    for i in range(len(side)):
        s = 0 if side[i] > 0 else 1
        _add(book, s, price[i], size[i], order_id[i], mark[i])
        _note_best(book, s)


@in_place
def _note_best(book: Book, s: int) -> None:
    """Remember a side's best price, if it has one."""
    if not is_empty(book, s):
        book.side[s, LAST_BEST], book.side[s, SEEN] = book.levels[s, book.side[s, END] - 1, PRICE], 1


@in_place
def rank(book: Book, s: int, price: int) -> int:
    """Return the row just after the levels of a side that are worse than a price.

    Galloping search from the best level: the stride doubles until it passes the price, then the last stride is
    bisected. A price near the touch is found in one or two steps, a distant one in logarithmic time.
    """
    sign = 1 - 2 * s
    key = sign * price
    high = book.side[s, END]
    low = high - 1
    stride = 1
    while low >= book.side[s, FIRST] and sign * book.levels[s, low, PRICE] >= key:
        high = low
        stride *= 2
        low -= stride
    low = max(low + 1, book.side[s, FIRST])
    while low < high:
        middle = (low + high) // 2
        if sign * book.levels[s, middle, PRICE] < key:
            low = middle + 1
        else:
            high = middle
    return low


@in_place
def _add(book: Book, s: int, price: int, size: int, order_id: int, mark: int) -> None:
    """Add an order at the back of its level; discard it if it lies outside a full window."""
    row = rank(book, s, price)
    if row == book.side[s, END] or book.levels[s, row, PRICE] != price:
        row = _open_level(book, s, row, price)
    elif book.pooled and not (mark | book.orders[book.levels[s, row, BACK], MARK]) & OWN:
        book.orders[book.levels[s, row, BACK], SIZE] += size
        book.levels[s, row, SIZE] += size
        return
    if row >= 0:
        enqueue(book, s, row, size, order_id, mark)


@in_place
def _remove(book: Book, s: int, kind: int, price: int, size: int, order_id: int) -> None:
    """Remove `size` from a level, first from the order that the id or else the rule selects."""
    row = level_of(book, s, price)
    if row < 0:
        book.counters[UNKNOWN_LEVEL] += 1
        return
    slot = ordered_slot(book, s, row, kind, size, order_id)
    if order_id != 0 and order_id != _ANONYMOUS_ID and slot == NOBODY:
        book.counters[UNKNOWN_ORDER] += 1
    held = book.levels[s, row, SIZE]
    if size >= held:
        book.counters[OVER_REMOVAL] += size > held
        _drop_level(book, s, row)
        return
    if slot == NOBODY:
        slot = rule_slot(book, s, row, kind, size)
    size -= charge(book, s, row, slot, size)
    trim(book, s, row, size, kind == _EXECUTE)


@in_place
def _open_level(book: Book, s: int, row: int, price: int) -> int:
    """Insert an empty level at `row`, above the worse ones; return its final row, -1 if a full window excludes it."""
    if book.window > 0 and book.side[s, END] - book.side[s, FIRST] >= book.window:
        if row == book.side[s, FIRST]:
            return -1
        _drop_level(book, s, book.side[s, FIRST])
    levels = book.levels[s]
    worse_move = row - book.side[s, FIRST] < book.side[s, END] - row
    if book.side[s, FIRST] == 0 if worse_move else book.side[s, END] == len(levels):
        row += _centre(book, s, worse_move)
    if worse_move:
        row -= 1
        _move(book, s, book.side[s, FIRST], row + 1, -1)
        book.side[s, FIRST] -= 1
    else:
        _move(book, s, row, book.side[s, END], 1)
        book.side[s, END] += 1
    levels[row, PRICE], levels[row, SIZE] = price, 0
    levels[row, FRONT], levels[row, BACK] = NOBODY, NOBODY
    return row


@in_place
def _drop_level(book: Book, s: int, row: int) -> None:
    """Remove a level and its orders."""
    slot = book.levels[s, row, FRONT]
    while slot != NOBODY:
        behind = book.orders[slot, BEHIND]
        free_slot(book, slot)
        slot = behind
    if row - book.side[s, FIRST] <= book.side[s, END] - 1 - row:
        _move(book, s, book.side[s, FIRST], row, 1)
        book.side[s, FIRST] += 1
    else:
        _move(book, s, row + 1, book.side[s, END], -1)
        book.side[s, END] -= 1


@in_place
def _centre(book: Book, s: int, worse: bool) -> int:
    """Move the levels of a side to the middle of their array and return by how many rows.

    If only one row is free, `worse` says whether it must be at the worse end.
    """
    free = len(book.levels[s]) - (book.side[s, END] - book.side[s, FIRST])
    if free == 0:
        raise IndexError("the book has no room for another level: make it with a larger level_capacity")
    by = (free + worse) // 2 - book.side[s, FIRST]
    _move(book, s, book.side[s, FIRST], book.side[s, END], by)
    book.side[s, FIRST] += by
    book.side[s, END] += by
    return by


@in_place
def _move(book: Book, s: int, first: int, end: int, by: int) -> None:
    """Move the levels in rows first..end-1 by `by` rows."""
    levels = book.levels[s]
    book.counters[MOVED] += end - first
    # The ranges overlap: copy from the far end so that no row is overwritten before it has been read.
    if by > 0:
        for k in range(end - 1, first - 1, -1):
            for column in range(4):
                levels[k + by, column] = levels[k, column]
    else:
        for k in range(first, end):
            for column in range(4):
                levels[k + by, column] = levels[k, column]
