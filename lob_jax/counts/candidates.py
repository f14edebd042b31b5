"""Values that the book suggests for a price or a size: as numbered slots, and by how likely each order is to go."""

import enum

import numpy as np

from lob_jax.book.kernel import level_of, reference
from lob_jax.book.orders import AHEAD, BACK, BEHIND, END, FIRST, FRONT, NOBODY, PRICE, SIZE, Book
from lob_jax.counts.watch import (
    ADD,
    BOTH,
    DELETE,
    DEPTH,
    EXECUTE,
    LAST_ADDED,
    LAST_HIDDEN,
    LAST_REMOVED,
    NONE,
    P_ACTION,
    P_PRICE,
    P_SIZE,
    Past,
    age_of,
    distance_of,
    unit_of,
)
from lob_jax.jit import inner

ABSENT = -(2**62)  # in place of a slot's value


class View(enum.IntEnum):
    """The ways to number suggested values; each gives a value at most one number."""

    RANK = 0  # a price by its level, counted from the best
    OFFSET = 1  # a price by its distance from this side's last event
    NEAR = 2  # a price at a level, or a tick from one
    RECENT = 3  # a price by how long ago an event of this side was there
    QUEUE = 4  # a size among those of the queue, or of recent events


RANK, OFFSET, NEAR, RECENT, QUEUE = (int(view) for view in View)
REACH = 24
N_SLOTS = np.array([16, 2 * REACH + 1, 24, DEPTH, 10])
MOST_SLOTS = int(N_SLOTS.max())
MOST_LEVELS, MOST_ORDERS = 40, 200  # of a side, whose orders are weighed
AGES = 20
N_WEIGHTS = 6 * 4 * AGES * 4


@inner
def _put(slots: np.ndarray, at: int, value: int, count: int) -> int:
    """Put a value into a slot unless one of the first `count` has it; return whether it was put there."""
    for k in range(count):
        if slots[k] == value:
            return 0
    slots[at] = value
    return 1


@inner
def fill_slots(book: Book, past: Past, tick: int, view: int, action: int, price: int, slots: np.ndarray) -> int:
    """Fill the slots of a view with distances (or with sizes, at `price`); return how many have a value."""
    for k in range(len(slots)):
        slots[k] = ABSENT
    if action >= 12:
        return 0
    s, kind = action % 2, 1 + action // 2
    if view == QUEUE:
        return _fill_sizes(book, past, s, kind, price, slots)
    unit = unit_of(kind, tick)
    origin = reference(book, 1 - 2 * s)
    count = 0
    if view == OFFSET:
        anchor = past.events[s, 0, P_PRICE] if kind <= EXECUTE else past.marks[s, LAST_HIDDEN]
        if anchor != NONE:
            for k in range(len(slots)):
                slots[k] = distance_of(origin, s, anchor, unit) + k - REACH
            count = len(slots)
    elif view == RECENT:
        for k in range(DEPTH):
            if past.events[s, k, P_ACTION] >= 0:
                far = distance_of(origin, s, past.events[s, k, P_PRICE], unit)
                count += _put(slots, count, far, count)
    else:
        top = book.side[s, END] - 1
        for k in range(len(slots)):
            row = top - (k if view == RANK or k < 8 else (k - 8) // 2)
            if row >= book.side[s, FIRST]:
                far = distance_of(origin, s, book.levels[s, row, PRICE], unit)
                count += _put(slots, k, far if k < 8 or view == RANK else far + 2 * (k % 2) - 1, k)
    return count


@inner
def _fill_sizes(book: Book, past: Past, s: int, kind: int, price: int, slots: np.ndarray) -> int:
    """Fill slots with distinct sizes: of the orders at a price for a removal, of recent events otherwise."""
    count, row = 0, level_of(book, s, price)
    if kind in (DELETE, EXECUTE):
        if row >= 0:
            slot = book.levels[s, row, FRONT if kind == EXECUTE else BACK]
            steps = 0
            while slot != NOBODY and count < len(slots) and steps < 64:
                count += _put(slots, count, book.orders[slot, SIZE], count)
                slot = book.orders[slot, BEHIND if kind == EXECUTE else AHEAD]
                steps += 1
        return count
    if kind == ADD:
        for mark in (past.marks[s, LAST_REMOVED], past.marks[s, LAST_ADDED]):
            if mark != NONE:
                count += _put(slots, count, mark, count)
        if row >= 0:
            count += _put(slots, count, book.orders[book.levels[s, row, BACK], SIZE], count)
    for k in range(DEPTH):
        if count < len(slots) and past.events[BOTH, k, P_ACTION] >= 0 and past.events[BOTH, k, P_ACTION] < 12:
            count += _put(slots, count, past.events[BOTH, k, P_SIZE], count)
    return count


@inner
def _feature(better: int, behind: int, age: int, size: int) -> int:
    """Return the class of an order: levels better than its own, orders behind it, its age and size."""
    rank = better if better < 3 else 3 if better < 5 else 4 if better < 9 else 5
    newer = behind if behind < 2 else 2 if behind < 4 else 3
    big = 0 if size < 100 else 1 if size == 100 else 2 if size < 300 else 3
    return ((rank * 4 + newer) * AGES + age) * 4 + big


@inner
def weigh_orders(
    book: Book, past: Past, i: int, s: int, rates: np.ndarray, found: np.ndarray, weight: np.ndarray
) -> int:
    """Weigh the orders of a side by how often orders of their class are removed.

    Args:
      book, past: before event i.
      i: the event.
      s: side index.
      rates: float64 [N_WEIGHTS], by class.
      found: int64 [MOST_ORDERS, 3], filled with price, size and class of the orders.
      weight: float64 [MOST_ORDERS], filled with their shares, which sum to one.

    Returns:
      The number of orders.
    """
    count, total, top = 0, 0.0, book.side[s, END] - 1
    for better in range(MOST_LEVELS):
        row = top - better
        if row < book.side[s, FIRST]:
            break
        slot, behind = book.levels[s, row, BACK], 0
        while slot != NOBODY and count < MOST_ORDERS:
            size = book.orders[slot, SIZE]
            kind = _feature(better, behind, age_of(book, past, i, slot), size)
            found[count, 0], found[count, 1], found[count, 2] = book.levels[s, row, PRICE], size, kind
            weight[count] = rates[kind]
            total += weight[count]
            count += 1
            behind += 1
            slot = book.orders[slot, AHEAD]
    for k in range(count):
        weight[k] /= total
    return count
