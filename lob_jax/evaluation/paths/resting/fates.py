"""Follow the orders of a starting book: when each is filled, cancelled, or lost from view.

On a generated path no event names an order, and removals take from the order that the book's rule selects. Real events
of a feed with order ids name it, and only they decide: what an id that is not in the book removes is part of an
anonymous order, and never taken from another one.
"""

import dataclasses
import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.kernel import correct, level_of, load
from lob_jax.book.loops import CorrectionColumns, EventColumns, correction_columns, event_columns, most_added, step
from lob_jax.book.orders import BEHIND, END, FIRST, FRONT, MARK, NOBODY, OWN, PRICE, SIZE, Book
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import BID, Code, Events, Kind
from lob_jax.jit import in_place

OUTCOMES = ("first fill", "full fill", "cancel", "lost from view")


class Fate(enum.IntEnum):
    """What may become of an order, in the order of OUTCOMES."""

    FIRST_FILL = 0
    FULL_FILL = 1
    CANCELLED = 2
    LOST = 3


FIRST_FILL, FULL_FILL, CANCELLED, LOST = (int(fate) for fate in Fate)
NEVER = np.iinfo(np.int64).max
_ADD, _CANCEL, _DELETE, _EXECUTE = int(Kind.ADD), int(Kind.CANCEL), int(Kind.DELETE), int(Kind.EXECUTE)
_CONTROL, _CLEAR, _OUT_OF_VIEW = int(Kind.CONTROL), int(Code.CLEAR), 0
_NEVER, _TAG = int(NEVER), 2 * OWN  # the number of an order of the start is in the bits of MARK above OWN


class _Start(NamedTuple):
    """The orders of the starting book; rows of a level are adjacent.

    Attributes:
      edge: int64 [3]: levels edge[s]..edge[s+1]-1 are those of side s (0 bid, 1 ask).
      price: int64 [L], ascending within a side.
      first: int64 [L], the first row of each level.
      last: int64 [L], the row after its last one.
      left: int64 [O], lots that are left of each order.
      seen: int64 [O], when each order was last found in its queue, by `clock`.
      clock: int64 [1], number of queues looked through.
      when: int64 [O, 4], the event of each of OUTCOMES.
    """

    edge: np.ndarray
    price: np.ndarray
    first: np.ndarray
    last: np.ndarray
    left: np.ndarray
    seen: np.ndarray
    clock: np.ndarray
    when: np.ndarray


def follow_by_rule(day: MarketDay) -> np.ndarray:
    """Return when each order of a day's starting book is filled, cancelled or lost, int64 [O, 4], by OUTCOMES.

    A removal takes from the order that it names, otherwise from the one that the book's rule selects, see
    `kernel.apply`. An entry is the index of an event, NEVER without one. A full fill is the execution of the last lot,
    a cancel takes the last lots by CANCEL or DELETE, and an order is lost with a level that leaves the window, when the
    book is cleared, or if a correction takes it. At most one of these three happens to an order.

    Args:
      day: a part of a day or a generated path.

    Raises:
      InputError: corrections are out of order, or refer to events that do not exist.
    """
    events, corrections = event_columns(day.events), correction_columns(day.corrections, len(day.events))
    start, book = _start(day.start), load(day.start, most_added(events, corrections))
    _follow(book, events, corrections, start)
    return start.when


def follow_by_id(day: MarketDay) -> np.ndarray:
    """Return the same as `follow_by_rule`, decided by the ids of the events alone.

    An event without an id, or with one that no order of the starting book has, takes from none of its orders. Orders
    without an id are never filled or cancelled, but lost with their level.

    Raises:
      InputError: a level of the book is one order, or most removals name none.
    """
    _check_ids(day)
    start, events = day.start, day.events
    when = np.full((len(start), len(OUTCOMES)), NEVER)
    gone, left = _levels_gone(day).tolist(), start.size.tolist()
    row_of = {order_id: row for row, order_id in enumerate(start.order_id.tolist()) if order_id}
    named = np.isin(events.order_id, start.order_id) & (events.order_id != 0) & _removes(events)
    for event in np.flatnonzero(named).tolist():
        row = row_of[int(events.order_id[event])]
        if left[row] <= 0 or event > gone[row]:
            continue
        kind, size = int(events.kind[event]), int(events.size[event])
        if kind == _EXECUTE:
            when[row, FIRST_FILL] = min(when[row, FIRST_FILL], event)
        left[row] = 0 if kind == _DELETE else left[row] - size
        if left[row] <= 0:
            when[row, FULL_FILL if kind == _EXECUTE else CANCELLED] = event
    alive = np.array(left, np.int64) > 0
    when[alive, LOST] = np.array(gone, np.int64)[alive]
    return when


def without_ids(day: MarketDay) -> MarketDay:
    """Return a day whose events name no orders, like those of a generated path; those of its start keep their ids."""
    return day.with_events(day.events.replace(order_id=np.zeros(len(day.events), np.uint64)))


def in_events(when: np.ndarray) -> np.ndarray:
    """Return how many events it takes to each outcome, float64 like `when`; infinite without one."""
    return np.where(when == NEVER, np.inf, when + 1.0)


def in_seconds(when: np.ndarray, day: MarketDay) -> np.ndarray:
    """Return how many seconds it takes from the start of a day to each outcome, float64; infinite without one."""
    since = np.append((day.events.time_ns - day.start.time_ns) / NS_PER_SECOND, np.inf)
    return since[np.minimum(when, len(day.events))]


def _removes(events: Events) -> np.ndarray:
    return np.isin(events.kind, (_CANCEL, _DELETE, _EXECUTE))


def _check_ids(day: MarketDay) -> None:
    """Check that orders can be followed by their ids."""
    removes = _removes(day.events)
    unnamed = int((removes & (day.events.order_id == 0)).sum())
    if not day.start.pooled and 2 * unnamed <= removes.sum():
        return
    raise InputError(
        "the feed has no order ids, so that the fate of its orders is not known",
        where=f"{day.instrument.symbol} {day.instrument.trading_day}",
        expected="a feed of individual orders",
        was="price levels" if day.start.pooled else f"{unnamed:,} of {int(removes.sum()):,} removals without an id",
        remedy="use a feed that shows individual orders, such as LOBSTER, ITCH or Databento MBO",
    )


def _start(book: BookSnapshot) -> _Start:
    side = (book.side != BID).astype(np.int64)
    opens = np.ones(len(book), bool)
    opens[1:] = (side[1:] != side[:-1]) | (book.price[1:] != book.price[:-1])
    first = np.flatnonzero(opens)
    last = np.append(first[1:], len(book))[: len(first)]
    order = np.lexsort((book.price[first], side[first]))
    first, last = first[order], last[order]
    count, size = len(book), np.array(book.size, np.int64)
    edge = np.searchsorted(side[first], np.arange(3))
    numbers = (np.zeros(count, np.int64), np.zeros(1, np.int64), np.full((count, len(OUTCOMES)), NEVER))
    return _Start(edge, np.asarray(book.price[first], np.int64), first, last, size, *numbers)


def _levels_gone(day: MarketDay) -> np.ndarray:
    """Return the event after which the level of each order of the starting book is gone, int64 [O], NEVER without."""
    start, opening = day.start, _start(day.start)
    one = opening.first[np.argsort(opening.first)]  # an order of each level, which stands for the level
    total = np.add.reduceat(start.size, one) if len(one) else start.size
    columns = {name: getattr(start, name)[one] for name in ("side", "price", "order_id", "anonymous")}
    nameless = {"order_id": np.zeros(len(one), np.uint64), "anonymous": np.zeros(len(one), bool)}
    levels = dataclasses.replace(start, **{**columns, **nameless}, size=total, pooled=True)
    when = follow_by_rule(dataclasses.replace(without_ids(day), start=levels))
    return np.repeat(when[:, FULL_FILL:].min(1, initial=NEVER), np.diff(np.append(one, len(start))))


@in_place
def _follow(book: Book, events: EventColumns, corrections: CorrectionColumns, start: _Start) -> None:
    """Replay events, and note in `start` what becomes of its orders.

    Args:
      book: the starting book; changed in place.
      events: E events.
      corrections: those of these events.
      start: the orders of the starting book; changed in place.
    """
    _number(book)
    cursor = 0
    for i in range(len(events.kind)):
        kind, price = np.int64(events.kind[i]), events.price[i]
        s = 0 if events.side[i] > 0 else 1
        worst = _worst_price(book, s)
        step(book, events, i)
        if kind == _CONTROL and events.code[i] == _CLEAR:
            for side in range(2):
                for level in range(start.edge[side], start.edge[side + 1]):
                    _look(book, start, side, start.price[level], i, _OUT_OF_VIEW)
        elif kind <= _EXECUTE:
            _look(book, start, s, price, i, kind)
            if kind == _ADD:  # a new level may have moved the last one out of view
                _look(book, start, s, worst, i, _OUT_OF_VIEW)
        while cursor < len(corrections.event) and corrections.event[cursor] == i:
            s, price = 0 if corrections.side[cursor] > 0 else 1, corrections.price[cursor]
            worst = _worst_price(book, s)
            correct(book, corrections.side[cursor], price, corrections.size[cursor])
            _look(book, start, s, price, i, _OUT_OF_VIEW)
            _look(book, start, s, worst, i, _OUT_OF_VIEW)
            cursor += 1


@in_place
def _number(book: Book) -> None:
    """Number the orders of a book in the order of its snapshot, from 1, in their marks."""
    number = 0
    for s in range(2):
        for row in range(book.side[s, END] - 1, book.side[s, FIRST] - 1, -1):
            slot = book.levels[s, row, FRONT]
            while slot != NOBODY:
                number += 1
                book.orders[slot, MARK] += _TAG * number
                slot = book.orders[slot, BEHIND]


@in_place
def _worst_price(book: Book, s: int) -> int:
    """Return the price of the last level of a side, 0 if it is empty."""
    return book.levels[s, book.side[s, FIRST], PRICE] if book.side[s, END] > book.side[s, FIRST] else 0


@in_place
def _look(book: Book, start: _Start, s: int, price: int, i: int, kind: int) -> None:
    """Compare the queue at a price with what was there of the starting book, and note what event i took.

    Args:
      book: the book after the event.
      start: changed in place.
      s: side index, 0 bid, 1 ask.
      price: price quanta.
      i: index of the event.
      kind: its kind, _OUT_OF_VIEW for what no event takes.
    """
    at, end = start.edge[s], start.edge[s + 1]
    while at < end:  # bisect: the levels of the side from `at` on are those at the price or above it
        middle = (at + end) // 2
        if start.price[middle] < price:
            at = middle + 1
        else:
            end = middle
    if at == start.edge[s + 1] or start.price[at] != price:
        return
    start.clock[0] += 1
    row = level_of(book, s, price)
    slot = NOBODY if row < 0 else book.levels[s, row, FRONT]
    while slot != NOBODY:
        order = book.orders[slot, MARK] // _TAG - 1
        if order >= 0:
            start.seen[order] = start.clock[0]
            if book.orders[slot, SIZE] < start.left[order]:
                _note_fill(start, order, i, kind)
            start.left[order] = book.orders[slot, SIZE]
        slot = book.orders[slot, BEHIND]
    for order in range(start.first[at], start.last[at]):
        if start.left[order] > 0 and start.seen[order] != start.clock[0]:
            start.left[order] = 0
            _note_fill(start, order, i, kind)
            if kind == _EXECUTE:
                start.when[order, FULL_FILL] = i
            elif kind in (_CANCEL, _DELETE):
                start.when[order, CANCELLED] = i
            else:
                start.when[order, LOST] = i


@in_place
def _note_fill(start: _Start, order: int, i: int, kind: int) -> None:
    """Note the first fill of an order, if the event is an execution."""
    if kind == _EXECUTE and start.when[order, FIRST_FILL] == _NEVER:
        start.when[order, FIRST_FILL] = i
