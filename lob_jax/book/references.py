"""Which order each removal of a day takes, by the event that entered it."""

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.kernel import level_of, load, ordered_slot, rule_slot
from lob_jax.book.loops import (
    CorrectionColumns,
    EventColumns,
    amend,
    correction_columns,
    event_columns,
    most_added,
    step,
)
from lob_jax.book.orders import ANONYMOUS, BACK, MARK, NOBODY, Book
from lob_jax.events.schema import Kind
from lob_jax.jit import in_place

_ADD, _CANCEL, _EXECUTE = int(Kind.ADD), int(Kind.CANCEL), int(Kind.EXECUTE)


def orders_taken(day: MarketDay) -> np.ndarray:
    """Return the ADD whose order each removal reduces (the first one, if several), int64 [E].

    An order is the one that the removal names, or without a name the one that the book's rule takes, see
    `book.kernel.rule_slot`. It is -1 for events that are no removals, and for removals of orders that were in the book
    at the start, that a correction has shown, or that are not there; and everywhere in a book of totals without orders.
    """
    columns, corrected = event_columns(day.events), correction_columns(day.corrections, len(day.events))
    book = load(day.start, most_added(columns, corrected))
    taken, entered = np.full(len(day.events), -1, np.int64), np.full(len(book.orders), -1, np.int64)
    if not book.pooled:
        _follow(book, columns, corrected, taken, entered)
    return taken


@in_place
def _follow(
    book: Book, events: EventColumns, corrections: CorrectionColumns, taken: np.ndarray, entered: np.ndarray
) -> None:
    """Fill `taken`; `entered` holds for each slot the event that has put an order there."""
    cursor = amend(book, corrections, 0, -1)
    for i in range(len(taken)):
        kind, s = np.int64(events.kind[i]), 0 if events.side[i] > 0 else 1
        if _CANCEL <= kind <= _EXECUTE:
            row = level_of(book, s, events.price[i])
            if row >= 0:
                named, size = np.int64(events.order_id[i]), events.size[i]
                slot = rule_slot(book, s, row, kind, size)
                if named != 0:
                    slot = ordered_slot(book, s, row, kind, size, named)
                if slot != NOBODY and not book.orders[slot, MARK] & ANONYMOUS:
                    taken[i] = entered[slot]
        step(book, events, i)
        if kind == _ADD:
            row = level_of(book, s, events.price[i])
            if row >= 0:
                entered[book.levels[s, row, BACK]] = i
        cursor = amend(book, corrections, cursor, i)
