"""The state of a live market: its books and what is carried from event to event, in arrays that change in place."""

import enum
from typing import Any, NamedTuple

import numpy as np

from lob_jax.book.anchors import ANCHORS, NO_PRICE, REMEMBERED
from lob_jax.book.day import MarketDay
from lob_jax.book.kernel import load
from lob_jax.book.loops import correction_columns
from lob_jax.book.orders import Book, with_room
from lob_jax.book.price_memory import PAST_EVENTS, PRICE_MEMORIES, PastColumn
from lob_jax.book.queue import QUEUE_NUMBERS, RECENT_SIZES
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.serving.market.behind import Behind, nothing_behind
from lob_jax.tokens.latest import LATEST_TOKENS, NO_TOKEN
from lob_jax.tokens.sets.streams import rules_of
from lob_jax.tokens.sets.walk import Walk, new_walk

EVENT_TOKENS = 20  # more than an event can have, not counting TIME_SKIPs
MOST_SKIPS = 512  # more TIME_SKIPs than there can be between the opening and the last valid time
FREE = 64  # orders and levels that a new book has room for


class Number(enum.IntEnum):
    """Columns of `State.number`."""

    CLOCK = 0  # the time of the last event, UNIX ns
    CARRY = 1  # accumulated rounding error of the gaps, ns
    CLOSED = 2  # what is closed, see `lob_jax.events.halts`
    EVENTS = 3  # how many were taken


CLOCK, CARRY, CLOSED, EVENTS = (int(number) for number in Number)


class State(NamedTuple):
    """What is carried from event to event.

    Attributes:
      book: the book as a replay of the events by their ids has it.
      walk: the decoder's book, in which a removal takes from the order that its tokens mean, and its spelling; for
        tokens that are events, the book above.
      number: int64, see `Number`.
      recent: int64 [2, RECENT_SIZES], see `lob_jax.book.queue`.
      remembered: int64 [2, REMEMBERED], see `lob_jax.book.anchors`.
      past: int64 [3, PAST_EVENTS], see `lob_jax.book.price_memory`; no events if no model reads them.
      latest: int16 [LATEST_TOKENS], see `lob_jax.tokens.latest`; empty if no model reads them.
      behind: the levels behind the view of the book.
    """

    book: Book
    walk: Walk
    number: np.ndarray
    recent: np.ndarray
    remembered: np.ndarray
    past: np.ndarray
    latest: np.ndarray
    behind: Behind


class Rows(NamedTuple):
    """What is noted of E events and of T tokens, T at most; what no model reads has no rows.

    Attributes:
      price: int64 [E+1, 2, P], the best levels before each event and after the last.
      size: int64 [E+1, 2, P], lots.
      anchors: int16 [E+1, ANCHORS].
      spelled_size: int64 [E], lots as tokens say them.
      gap_ns: int64 [E], as tokens say them.
      outside: uint8 [E], an `Escape` each.
      tokens: int32 [T].
      clock_row: int32 [T], the row of the clock that is known at a token, 0 before the first event.
      book_row: int32 [T], the row of the book that is known then.
      queue: int16 [T, QUEUE_NUMBERS].
      price_memory: int16 [T, PRICE_MEMORIES].
      latest: int16 [T, LATEST_TOKENS].
    """

    price: np.ndarray
    size: np.ndarray
    anchors: np.ndarray
    spelled_size: np.ndarray
    gap_ns: np.ndarray
    outside: np.ndarray
    tokens: np.ndarray
    clock_row: np.ndarray
    book_row: np.ndarray
    queue: np.ndarray
    price_memory: np.ndarray
    latest: np.ndarray


def new_state(
    start: BookSnapshot,
    instrument: Instrument,
    *,
    gap_digits: int,
    ranks: bool,
    closed: int,
    reads_latest: bool,
    reads_past: bool,
    one_book: bool,
) -> State:
    """Return the state of a market at its opening.

    Args:
      start: its book.
      instrument: its instrument.
      gap_digits: significant digits of a gap in tokens.
      ranks: whether tokens have ranks.
      closed: what is closed, see `lob_jax.events.halts`.
      reads_latest: whether a model reads the latest tokens.
      reads_past: whether a model reads what last happened at a price.
      one_book: whether the decoder's book is that of the replay.
    """
    book = _loaded(start)
    read = book if one_book else _loaded(start.identified() if ranks else start)
    rules = rules_of(MarketDay.opening(instrument, start), gap_digits=gap_digits, ranks=ranks)
    number = np.zeros(len(Number), np.int64)
    number[[CLOCK, CLOSED]] = start.time_ns, closed
    return State(
        book=book,
        walk=new_walk(read, correction_columns(Corrections.none(), 0), rules, closed=closed),
        number=number,
        recent=np.zeros((2, RECENT_SIZES), np.int64),
        remembered=np.full((2, REMEMBERED), NO_PRICE),
        past=np.zeros((len(PastColumn), PAST_EVENTS if reads_past else 0), np.int64),
        latest=np.full(LATEST_TOKENS if reads_latest else 0, NO_TOKEN, np.int16),
        behind=nothing_behind(start.window),
    )


def new_rows(
    events: int, *, levels: int, anchors: bool, queue: bool, price_memory: bool, latest: bool, compact: bool
) -> Rows:
    """Return memory for what is noted of so many events."""
    tokens = max(events, 1) if compact else EVENT_TOKENS * events + MOST_SKIPS
    return Rows(
        price=np.empty((events + 1, 2, levels), np.int64),
        size=np.empty((events + 1, 2, levels), np.int64),
        anchors=np.empty((events + 1 if anchors else 0, ANCHORS), np.int16),
        spelled_size=np.empty(events, np.int64),
        gap_ns=np.empty(events, np.int64),
        outside=np.empty(events, np.uint8),
        tokens=np.empty(tokens, np.int32),
        clock_row=np.empty(tokens, np.int32),
        book_row=np.empty(tokens, np.int32),
        queue=np.empty((tokens if queue else 0, QUEUE_NUMBERS), np.int16),
        price_memory=np.empty((tokens if price_memory else 0, PRICE_MEMORIES), np.int16),
        latest=np.empty((tokens if latest else 0, LATEST_TOKENS), np.int16),
    )


def roomier(state: State, orders: int) -> State:
    """Return the state with books that have room for so many more orders, and levels."""
    if orders == 0:
        return state
    book = with_room(state.book, orders)
    if state.walk.book is state.book:
        return state if book is state.book else state._replace(book=book, walk=state.walk._replace(book=book))
    read = with_room(state.walk.book, orders)
    if book is state.book and read is state.walk.book:
        return state
    return state._replace(book=book, walk=state.walk._replace(book=read))


def copied_state(state: State) -> State:
    """Return an independent copy of a state, in which one book remains one."""
    copy = copied(state)
    if state.walk.book is state.book:
        copy = copy._replace(walk=copy.walk._replace(book=copy.book))
    return copy


def copied(part: Any) -> Any:
    """Return a tuple of tuples and arrays with copies of all arrays."""
    if isinstance(part, np.ndarray):
        return part.copy()
    return type(part)(*(copied(each) for each in part)) if isinstance(part, tuple) else part


def nbytes(part: Any) -> int:
    """Return the bytes of all arrays in a tuple of tuples."""
    if isinstance(part, np.ndarray):
        return part.nbytes
    return sum(nbytes(each) for each in part) if isinstance(part, tuple) else 0


def _loaded(start: BookSnapshot) -> Book:
    levels = max((len(np.unique(start.price[start.side == side])) for side in (1, -1)), default=0)
    return load(start, FREE, levels=4 * start.window or levels + FREE)
