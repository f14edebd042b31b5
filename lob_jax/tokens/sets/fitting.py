"""Which of some events the book takes, by the rules of the token sets, if those that it does not take are left out."""

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.kernel import correct, level_of, load, rank, reference
from lob_jax.book.loops import (
    CorrectionColumns,
    EventColumns,
    as_column,
    correction_columns,
    event_columns,
    most_added,
    step,
)
from lob_jax.book.orders import END, FIRST, FRONT, ID, NOBODY, SIZE, Book, named_slot
from lob_jax.events.schema import ANONYMOUS_ID, Events, Kind
from lob_jax.jit import in_place, inner
from lob_jax.tokens.sets.limits import (
    CANCEL,
    DELETE,
    EXECUTE,
    Rules,
    closed_after,
    has_order,
    is_halted,
    sizes,
    unit_of,
)
from lob_jax.tokens.sets.streams import rules_of

_CONTROL = int(Kind.CONTROL)
_ANONYMOUS_ID = ANONYMOUS_ID - 2**64  # its bits as an int64
_GAP_DIGITS = 10  # of rules that are asked for no gap


def fits(day: MarketDay, *, closed: int) -> np.ndarray:
    """Return whether the book before each of a day's events takes it, bool [E]; all of them are applied.

    The book takes an event if its tokens are inside their sets, whatever its time; CONTROL events are always taken.

    Args:
      day: the day.
      closed: what halts before the first event have closed, see `lob_jax.events.halts`.
    """
    everything = np.ones(len(day.events), np.bool_)
    taken, _ = _follow(day, day.events, np.arange(len(day.events)), everything, closed=closed)
    return taken


def fitting(
    day: MarketDay, events: Events, origin: np.ndarray, insisted: np.ndarray, *, closed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Apply the events that the book takes, one after the other, and leave out the others.

    A correction of the day takes effect where its event is, or where it was left out. One that would show a level where
    the side has none to spare, behind all those in view, is left out.

    Args:
      day: starting book and corrections, and the events that the corrections belong to.
      events: E' events in place of those of the day.
      origin: int64 [E'], the index of the day's event that each is, ascending, or -1. The first is 0.
      insisted: bool [E'], events that are applied whether the book takes them or not.
      closed: what halts before the first event have closed.

    Returns:
      Which events are applied, bool [E']; and for each correction of the day the index among the applied events of the
      one it follows, -1 if it is left out, int64 [C].
    """
    taken, after = _follow(day, events, origin, insisted, closed=closed)
    return taken | insisted, after


def _follow(
    day: MarketDay, events: Events, origin: np.ndarray, insisted: np.ndarray, *, closed: int
) -> tuple[np.ndarray, np.ndarray]:
    columns, corrected = event_columns(events), correction_columns(day.corrections, len(day.events))
    rules = rules_of(day, gap_digits=_GAP_DIGITS)
    taken, after = np.zeros(len(events), np.bool_), np.full(len(corrected.event), -1, np.int64)
    book = load(day.start, most_added(columns, corrected))
    _apply_fitting(book, columns, as_column(origin, np.int64), insisted, corrected, rules, closed, taken, after)
    return taken, after


@in_place
def _apply_fitting(
    book: Book,
    events: EventColumns,
    origin: np.ndarray,
    insisted: np.ndarray,
    corrections: CorrectionColumns,
    rules: Rules,
    closed: int,
    taken: np.ndarray,
    after: np.ndarray,
) -> None:
    """Fill what `_follow` returns."""
    cursor, applied = 0, 0
    for i in range(len(taken)):
        if origin[i] >= 0:
            cursor = _amend(book, corrections, cursor, origin[i] - 1, applied - 1, after)
        taken[i] = _is_taken(book, events, i, closed, rules)
        if taken[i] or insisted[i]:
            step(book, events, i)
            applied += 1
            if events.kind[i] == _CONTROL:
                closed = closed_after(events.code[i], closed)
        if origin[i] >= 0:
            cursor = _amend(book, corrections, cursor, origin[i], applied - 1, after)


@inner
def _amend(book: Book, corrections: CorrectionColumns, cursor: int, event: int, last: int, after: np.ndarray) -> int:
    """Apply the corrections up to those of an event, behind the last applied one; return the cursor after them."""
    while cursor < len(corrections.event) and corrections.event[cursor] <= event:
        side, price = corrections.side[cursor], corrections.price[cursor]
        if last >= 0 and not _is_out_of_view(book, 0 if side > 0 else 1, price):
            correct(book, side, price, corrections.size[cursor])
            after[cursor] = last
        cursor += 1
    return cursor


@inner
def _is_out_of_view(book: Book, s: int, price: int) -> bool:
    """Return whether a level is behind the last one of a side that has as many as the book's window."""
    first, end = book.side[s, FIRST], book.side[s, END]
    return 0 < book.window <= end - first and rank(book, s, price) == first and level_of(book, s, price) < 0


@inner
def _is_taken(book: Book, events: EventColumns, i: int, closed: int, rules: Rules) -> bool:
    kind, side, price = np.int64(events.kind[i]), np.int64(events.side[i]), events.price[i]
    if kind == _CONTROL:
        return True
    if is_halted(kind, closed):
        return False
    s, size, unit = 0 if side > 0 else 1, events.size[i], unit_of(kind, rules)
    quanta = side * (reference(book, side) - price)
    distance = quanta // unit
    if distance * unit != quanta or size < 1:
        return False
    row, most = sizes(book, kind, s, distance, rules)
    exact = kind == DELETE and row >= 0 and size <= rules.most_lots and has_order(book, s, row, size)
    if size > most and not exact:
        return False
    return not CANCEL <= kind <= EXECUTE or _is_there(book, s, row, kind, price, size, np.int64(events.order_id[i]))


@inner
def _is_there(book: Book, s: int, row: int, kind: int, price: int, size: int, order_id: int) -> bool:
    """Return whether the order that a removal names, if it does, is where it can be removed."""
    if order_id == 0 or order_id == _ANONYMOUS_ID:
        return True
    if kind == EXECUTE:
        return book.orders[book.levels[s, row, FRONT], ID] == order_id
    slot = named_slot(book, s, price, order_id)
    if slot == NOBODY:
        return False
    return book.orders[slot, SIZE] > size if kind == CANCEL else book.orders[slot, SIZE] == size
