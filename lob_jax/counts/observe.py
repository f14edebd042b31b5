"""Pass over a record's events and note the items, the slots and the orders that the decisions of training need."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import apply, clear, reference
from lob_jax.book.loops import CorrectionColumns, amend
from lob_jax.book.orders import Book
from lob_jax.counts.candidates import (
    ABSENT,
    MOST_ORDERS,
    MOST_SLOTS,
    N_SLOTS,
    QUEUE,
    fill_slots,
    weigh_orders,
)
from lob_jax.counts.watch import (
    ADD,
    CANCEL,
    DELETE,
    N_ITEMS,
    NONE,
    PLACE_NOW,
    Past,
    action_items,
    distance_of,
    price_items,
    remember,
    size_items,
    state_items,
    unit_of,
)
from lob_jax.events.schema import Code
from lob_jax.jit import in_place, inner

_CLEAR_ACTION = 12 + int(Code.CLEAR) - 1


class Steps(NamedTuple):
    """A record's events as decisions.

    Attributes:
      action: int64 [E], 2 * (kind - 1) + side index, or 11 + the code of a CONTROL event.
      price: int64 [E], price quanta.
      size: int64 [E], lots.
      head: int64 [E], the token.
      gap: int64 [E], the leading code of the gap.
      begin: int64 [E], position of each event's first token.
    """

    action: np.ndarray
    price: np.ndarray
    size: np.ndarray
    head: np.ndarray
    gap: np.ndarray
    begin: np.ndarray


@inner
def take(book: Book, past: Past, corrections: CorrectionColumns, cursor: int, i: int, steps: Steps, place: int) -> int:
    """Apply event i to book and memory; return the cursor of corrections."""
    action, price, size = steps.action[i], steps.price[i], steps.size[i]
    if action < 12:
        kind = 1 + action // 2
        apply(book, kind, 1 - 2 * (action % 2), price, size, i + 1 if kind == ADD else 0)
    elif action == _CLEAR_ACTION:
        clear(book)
    remember(book, past, i, action, price, size, steps.gap[i], steps.head[i], place)
    return amend(book, corrections, cursor, i)


def observe(
    book: Book, past: Past, corrections: CorrectionColumns, steps: Steps, tick: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the items of each event, and by view the slot that came and the number of slots with a value.

    Returns:
      items int64 [E, N_ITEMS]; slot int64 [E, 5], N_SLOTS of the view if none has the value; filled int64 [E, 5].
    """
    count = len(steps.action)
    items = np.full((count, N_ITEMS), NONE, np.int64)  # those inside a number stay NONE
    slot, filled = np.empty((count, 5), np.int64), np.empty((count, 5), np.int64)
    _observe(book, past, corrections, steps, tick, np.empty(MOST_SLOTS, np.int64), items, slot, filled)
    return items, slot, filled


@in_place
def _observe(
    book: Book,
    past: Past,
    corrections: CorrectionColumns,
    steps: Steps,
    tick: int,
    slots: np.ndarray,
    items: np.ndarray,
    slot: np.ndarray,
    filled: np.ndarray,
) -> None:
    """Fill what `observe` returns."""
    cursor = 0
    for i in range(len(steps.action)):
        action, price = steps.action[i], steps.price[i]
        state_items(book, past, tick, items[i])
        action_items(book, past, tick, action, items[i])
        price_items(book, past, action, price, steps.head[i], items[i])
        size_items(book, past, i, action, price, steps.size[i], items[i])
        for view in range(5):
            value = steps.size[i]
            if view != QUEUE and action < 12:
                value = distance_of(
                    reference(book, 1 - 2 * (action % 2)), action % 2, price, unit_of(1 + action // 2, tick)
                )
            n = N_SLOTS[view]
            filled[i, view] = fill_slots(book, past, tick, view, action, price, slots[:n])
            slot[i, view] = n
            for k in range(n):
                if slots[k] == value and slots[k] != ABSENT:
                    slot[i, view] = k
        cursor = take(book, past, corrections, cursor, i, steps, items[i, PLACE_NOW])


def tally_orders(
    book: Book,
    past: Past,
    corrections: CorrectionColumns,
    steps: Steps,
    counted: np.ndarray,
    rates: np.ndarray,
    tally: np.ndarray,
) -> None:
    """Count the orders that removals could have taken, by class, as observed and as expected at the given rates.

    Args:
      book, past: at the start; changed in place.
      corrections, steps: of the record.
      counted: bool [E].
      rates: float64 [2, N_WEIGHTS], of CANCELs and DELETEs.
      tally: float64 [2, 2, N_WEIGHTS]; observed and expected counts are added by kind.
    """
    found, weight = np.empty((MOST_ORDERS, 3), np.int64), np.empty(MOST_ORDERS)
    _tally_orders(book, past, corrections, steps, counted, rates, found, weight, tally)


@in_place
def _tally_orders(
    book: Book,
    past: Past,
    corrections: CorrectionColumns,
    steps: Steps,
    counted: np.ndarray,
    rates: np.ndarray,
    found: np.ndarray,
    weight: np.ndarray,
    tally: np.ndarray,
) -> None:
    """Do what `tally_orders` says, with room for the orders and their weights."""
    cursor = 0
    for i in range(len(steps.action)):
        action = steps.action[i]
        kind = 1 + action // 2
        if counted[i] and action < 12 and kind in (CANCEL, DELETE):
            k = kind - CANCEL
            n = weigh_orders(book, past, i, action % 2, rates[k], found, weight)
            hit = -1
            for j in range(n):
                right = found[j, 1] == steps.size[i] if kind == DELETE else found[j, 1] > steps.size[i]
                if hit < 0 and found[j, 0] == steps.price[i] and right:
                    hit = j
            if hit >= 0:
                tally[k, 0, found[hit, 2]] += 1
                for j in range(n):
                    tally[k, 1, found[j, 2]] += weight[j]
        cursor = take(book, past, corrections, cursor, i, steps, 0)
