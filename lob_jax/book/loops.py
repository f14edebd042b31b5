"""Compiled loops over events: replay a book, compare it with the feed's own book, evaluate the removal rule."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import apply, clear, correct, count_state, level_of, rank, reference, rule_slot
from lob_jax.book.orders import END, FIRST, NOBODY, OWN, PRICE, SIZE, Book, named_slot
from lob_jax.book.snapshot import Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Code, Events, Flag, Kind
from lob_jax.jit import in_place, njit

_CONTROL, _CLEAR, _OF_USER = int(Kind.CONTROL), int(Code.CLEAR), int(Flag.OWN)


class EventColumns(NamedTuple):
    """The event columns that a book needs, as compiled loops expect them: contiguous and writable."""

    kind: np.ndarray
    code: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    order_id: np.ndarray
    flags: np.ndarray


class CorrectionColumns(NamedTuple):
    """Corrections as compiled loops expect them."""

    event: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray


def event_columns(events: Events) -> EventColumns:
    """Return the event columns for compiled loops; a column is copied only if its layout does not fit."""
    return EventColumns(*(as_column(getattr(events, name), None) for name in EventColumns._fields))


def correction_columns(corrections: Corrections, n_events: int) -> CorrectionColumns:
    """Return corrections as compiled loops expect them.

    Raises:
      InputError: the corrections are not ordered by event, or refer to events that do not exist.
    """
    event = as_column(corrections.event, np.int64)
    if len(event) and (event[0] < 0 or event[-1] >= n_events or np.any(np.diff(event) < 0)):
        raise InputError(
            "corrections do not follow their events",
            where="Corrections.event",
            expected=f"non-decreasing event indices within 0..{n_events - 1}",
            was=f"indices within {event.min()}..{event.max()}",
            remedy="sort corrections by event, and slice them with Corrections.between when slicing events",
        )
    rest = zip((corrections.side, corrections.price, corrections.size), (np.int8, np.int64, np.int64), strict=True)
    return CorrectionColumns(event, *(as_column(values, dtype) for values, dtype in rest))


def as_column(values: np.ndarray, dtype: np.dtype | type | None) -> np.ndarray:
    """Return a contiguous, writable array: Numba compiles once per array type, so all columns share one."""
    if values.flags.carray and (dtype is None or values.dtype == dtype):  # much faster than to find the same out there
        return values
    return np.array(values, dtype, order="C")


def cut(
    events: EventColumns, corrections: CorrectionColumns, first: int, stop: int
) -> tuple[EventColumns, CorrectionColumns]:
    """Return events first..stop-1 and their corrections, renumbered so that event `first` is 0."""
    low, high = np.searchsorted(corrections.event, (first, stop))
    corrected = CorrectionColumns(*(column[low:high] for column in corrections))
    part = EventColumns(*(column[first:stop] for column in events))
    return part, corrected._replace(event=corrected.event - first)


def most_added(events: EventColumns, corrections: CorrectionColumns) -> int:
    """Return an upper bound on the orders, and on the levels, that these events and corrections can add."""
    return int(np.count_nonzero(events.kind == Kind.ADD)) + len(corrections.event)


@in_place
def step(book: Book, events: EventColumns, i: int) -> None:
    """Apply event i, including CLEAR, without its corrections."""
    kind = events.kind[i]
    if kind != _CONTROL:
        apply(book, kind, events.side[i], events.price[i], events.size[i], events.order_id[i], mark_of(events, i))
    elif events.code[i] == _CLEAR:
        clear(book)


@in_place
def mark_of(events: EventColumns, i: int) -> int:
    """Return the MARK of the order that event i adds."""
    return OWN if events.flags[i] & _OF_USER else 0


@in_place
def amend(book: Book, corrections: CorrectionColumns, cursor: int, i: int) -> int:
    """Apply the corrections of event i, the first of which is at `cursor`; return the cursor after them.

    Args:
      book: changed in place.
      corrections: of all events, ordered by event.
      cursor: index of the first correction not yet applied.
      i: the event.
    """
    while cursor < len(corrections.event) and corrections.event[cursor] == i:
        correct(book, corrections.side[cursor], corrections.price[cursor], corrections.size[cursor])
        cursor += 1
    return cursor


@in_place
def run(
    book: Book,
    events: EventColumns,
    corrections: CorrectionColumns,
    first: int,
    stop: int,
    price: np.ndarray,
    size: np.ndarray,
    references: np.ndarray,
) -> None:
    """Advance the book over events first..stop-1 and write every state, the one before `first` included.

    Args:
      book: changed in place.
      events: E events.
      corrections: those of these events.
      first: the first event to apply.
      stop: the one after the last event to apply.
      price: int64 [E+1, 2, P], indexed by event; not written if it has no rows.
      size: int64 [E+1, 2, P], like `price`.
      references: int64 [E+1, 2], reference prices (bid, ask); not written if it has no rows.
    """
    cursor = np.searchsorted(corrections.event, first)
    for i in range(first, stop + 1):
        if i > first:
            step(book, events, i - 1)
            cursor = amend(book, corrections, cursor, i - 1)
            count_state(book)
        if len(references):
            references[i, 0] = reference(book, BID)
            references[i, 1] = reference(book, ASK)
        if len(price):
            write_levels(book, price[i], size[i])


@in_place
def write_levels(book: Book, price: np.ndarray, size: np.ndarray) -> None:
    """Write the best levels into arrays [2, P], best first, 0 beyond the last one."""
    for s in range(2):
        best = book.side[s, END] - 1
        for k in range(price.shape[1]):
            shown = best - k >= book.side[s, FIRST]
            price[s, k] = book.levels[s, best - k, PRICE] if shown else 0
            size[s, k] = book.levels[s, best - k, SIZE] if shown else 0


@njit
def contradictions(book: Book, events: EventColumns, price: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the corrections that make the replayed book agree with the feed's own book.

    Args:
      book: the book before the first event; changed in place.
      events: E events.
      price: int64 [E, 2, N], the N levels that the feed shows after each event.
      size: int64 [E, 2, N], lots, 0 for an empty level.

    Returns:
      int64 [C, 4], rows (event, side, price, size).
    """
    n_levels = price.shape[2]
    found = np.empty((1024, 4), np.int64)
    count = 0
    for i in range(len(events.kind)):
        step(book, events, i)
        at_most = count + 2 * n_levels
        for s in range(2):
            at_most += book.side[s, END] - book.side[s, FIRST]
        if at_most > len(found):  # grow here: the compiled callees below cannot replace `found`
            larger = np.empty((2 * at_most, 4), np.int64)
            larger[:count] = found[:count]
            found = larger
        for s in range(2):
            # Retract first: in a windowed book a level that the feed denies would keep out one that it shows.
            count = _retract(book, s, i, price[i, s], size[i, s], found, count)
            count = _assert_shown(book, s, i, price[i, s], size[i, s], found, count)
    return found[:count].copy()


@in_place
def _retract(book: Book, s: int, i: int, price: np.ndarray, size: np.ndarray, found: np.ndarray, count: int) -> int:
    """Remove the levels of a side that the feed's N levels rule out; return the number of corrections so far.

    A feed that shows N levels says nothing about levels worse than its last one.
    """
    sign = 1 - 2 * s
    full = size[-1] > 0
    row = book.side[s, END] - 1
    while row >= book.side[s, FIRST]:
        held = book.levels[s, row, PRICE]
        if full and sign * held < sign * price[-1]:
            break
        k = 0
        while k < len(price) and not (price[k] == held and size[k] > 0):
            k += 1
        if k == len(price):
            count = _correct_and_note(book, s, i, held, 0, found, count)
        row = rank(book, s, held) - 1  # search again: removing a level may have moved the others
    return count


@in_place
def _assert_shown(
    book: Book, s: int, i: int, price: np.ndarray, size: np.ndarray, found: np.ndarray, count: int
) -> int:
    """Give a side the N levels that the feed shows; return the number of corrections so far."""
    for k in range(len(price)):
        row = level_of(book, s, price[k])
        if size[k] > 0 and (row < 0 or book.levels[s, row, SIZE] != size[k]):
            count = _correct_and_note(book, s, i, price[k], size[k], found, count)
    return count


@in_place
def _correct_and_note(book: Book, s: int, i: int, price: int, size: int, found: np.ndarray, count: int) -> int:
    """Apply one correction and record it; return the number of corrections so far.

    The level is replaced by a single order. That loses its queue, on which no price or size depends, and keeps
    orders from accumulating when a feed contradicts its events again and again.
    """
    side = 1 - 2 * s
    correct(book, side, price, 0)
    correct(book, side, price, size)
    found[count, 0], found[count, 1], found[count, 2], found[count, 3] = i, side, price, size
    return count + 1


def one_step(book: Book, events: EventColumns, price: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Check for each event whether applying it to the feed's book before it fails to give the book after it.

    The last level is not compared: after a removal, the level that moves into it was not shown before.

    Args:
      book: scratch space; changed in place.
      events: E events.
      price: int64 [E, 2, N], the feed's levels after each event.
      size: int64 [E, 2, N], lots, 0 for an empty level.

    Returns:
      bool [E], True where the books differ; False for the first event.
    """
    wrong, got = np.zeros(len(events.kind), np.bool_), np.empty((2, 2, price.shape[2]), np.int64)
    _one_step(book, events, price, size, got[0], got[1], wrong)
    return wrong


@in_place
def _one_step(
    book: Book,
    events: EventColumns,
    price: np.ndarray,
    size: np.ndarray,
    got_price: np.ndarray,
    got_size: np.ndarray,
    wrong: np.ndarray,
) -> None:
    """Fill what `one_step` returns, with room for a book's levels."""
    n_levels = price.shape[2]
    for i in range(1, len(wrong)):
        clear(book)
        for s in range(2):
            for k in range(n_levels):
                correct(book, 1 - 2 * s, price[i - 1, s, k], size[i - 1, s, k])
        step(book, events, i)
        write_levels(book, got_price, got_size)
        for s in range(2):
            for k in range(n_levels - 1):
                if got_price[s, k] != price[i, s, k] or got_size[s, k] != size[i, s, k]:
                    wrong[i] = True


@in_place
def settle(book: Book, events: EventColumns, corrections: CorrectionColumns, tally: np.ndarray) -> None:
    """Count how often the removal rule selects the same order as the event's id.

    Args:
      book: before the first event; changed in place.
      events: E events.
      corrections: those of these events.
      tally: int64 [8, 2] by kind, added to: removals whose named order is in the book, and those for which the rule
        agrees.
    """
    cursor = 0
    for i in range(len(events.kind)):
        kind, price = np.int64(events.kind[i]), events.price[i]
        if 2 <= kind <= 4:
            s = 0 if events.side[i] > 0 else 1
            row = level_of(book, s, price)
            named = named_slot(book, s, price, np.int64(events.order_id[i]))
            if named != NOBODY:
                tally[kind, 0] += 1
                tally[kind, 1] += rule_slot(book, s, row, kind, events.size[i]) == named
        step(book, events, i)
        cursor = amend(book, corrections, cursor, i)
