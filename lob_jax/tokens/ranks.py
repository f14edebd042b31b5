"""Ranks: compiled functions that tell apart the orders that a removal may mean, and name the one that it takes from.

A CANCEL may mean any order at its price that is larger than its size, a DELETE any of exactly its size, and any larger
anonymous one, which may contain an order of that size. They are ranked as the book's rule for removals prefers them:
from the back of the queue, and for a DELETE those of its size first. Which of several anonymous orders contains an
order is not known, so only the first of them has a rank. The user's own orders have none, since no event of others
withdraws them. An EXECUTE takes from the front, whatever its order.

The books here begin with an id for every order but the anonymous ones, see `BookSnapshot.identified`. In the encoder's,
an order loses its id when the feed gives it to a new one, since in the feed the old one has gone. No event means it any
more, so that it is only taken where it is first among the orders that fit, and there the book's rule selects it, too.
"""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import apply, clear, level_of, reference
from lob_jax.book.loops import CorrectionColumns, EventColumns, amend, mark_of
from lob_jax.book.orders import AHEAD, ANONYMOUS, BACK, FRONT, ID, MARK, NOBODY, OWN, PRICE, SIZE, Book, named_slot
from lob_jax.events.schema import ANONYMOUS_ID, BID, Code, Kind
from lob_jax.jit import in_place
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.compiled import MOST, Parsed, unit_of

_ADD, _CANCEL, _DELETE, _EXECUTE = int(Kind.ADD), int(Kind.CANCEL), int(Kind.DELETE), int(Kind.EXECUTE)
_CONTROL, _CLEAR = int(Kind.CONTROL), int(Code.CLEAR)
_ANONYMOUS_ID = ANONYMOUS_ID - 2**64  # its bits as an int64
NO_RANK = -1
FIRST_ID = -2  # of added orders without an id, downwards: bits of ids far from those of feeds


class Resolution(enum.IntEnum):
    """What `resolve` found: events up to the end, one whose price or time is out of range, or one with a wrong rank."""

    RESOLVED = 0
    OUT_OF_RANGE = 1
    WRONG_RANK = 2


RESOLVED, OUT_OF_RANGE, WRONG_RANK = (int(found) for found in Resolution)


class Ranking(NamedTuple):
    """The orders of a level that a removal may mean.

    Attributes:
      count: how many there are, up to MOST_RANKS.
      slot: that of the order with the rank asked for, NOBODY if there is none.
      rank: that of the slot asked for, NO_RANK if it has none.
      anonymous: the rank of the anonymous order, NO_RANK if there is none.
    """

    count: int
    slot: int
    rank: int
    anonymous: int


@in_place
def ranking(book: Book, s: int, row: int, kind: int, size: int, rank: int, slot: int) -> Ranking:
    """Rank the orders that a removal from a level may mean, and look up one rank and one slot among them."""
    count, with_rank, of_slot, anonymous = 0, NOBODY, NO_RANK, NO_RANK
    if size <= 0 or (kind != _CANCEL and kind != _DELETE):
        return Ranking(count, with_rank, of_slot, anonymous)
    for larger in range(1 if kind == _CANCEL else 0, 2):
        at = book.levels[s, row, BACK]
        while at != NOBODY and count < v.MOST_RANKS:
            held, divisible = book.orders[at, SIZE], book.orders[at, MARK] & ANONYMOUS > 0
            fits = held > size and (kind == _CANCEL or divisible) if larger else held == size
            fits = fits and not book.orders[at, MARK] & OWN
            if fits and not (divisible and anonymous != NO_RANK):
                with_rank = at if count == rank else with_rank
                of_slot = count if at == slot else of_slot
                anonymous = count if divisible else anonymous
                count += 1
            at = book.orders[at, AHEAD]
    return Ranking(count, with_rank, of_slot, anonymous)


@in_place
def choices(book: Book, s: int, row: int, kind: int, size: int) -> int:
    """Return how many ranks a removal from a level (row < 0 for no level) may have; 0 if it has none."""
    count = ranking(book, s, row, kind, size, NO_RANK, NOBODY).count if row >= 0 else 0
    return count if count > 1 else 0


@in_place
def taken_id(book: Book, s: int, row: int, kind: int, size: int, rank: int) -> int:
    """Return the id of the order that a removal takes from, as int64 bits, given its rank or NO_RANK; 0 for none."""
    if row < 0:
        return 0
    slot = book.levels[s, row, FRONT]
    if kind != _EXECUTE:
        slot = ranking(book, s, row, kind, size, max(rank, 0), NOBODY).slot
    if slot == NOBODY:
        return 0
    return _ANONYMOUS_ID if book.orders[slot, MARK] & ANONYMOUS else book.orders[slot, ID]


@in_place
def event_rank(book: Book, s: int, row: int, kind: int, size: int, order_id: int) -> int:
    """Return the rank of a removal from a level, NO_RANK if it has none.

    If the order with its id has no rank, the rank is that of the anonymous order, which may contain it, and without one
    0, the order that the book's rule selects.
    """
    named = named_slot(book, s, book.levels[s, row, PRICE], order_id)
    found = ranking(book, s, row, kind, size, NO_RANK, named)
    if found.count <= 1:
        return NO_RANK
    if found.rank != NO_RANK or order_id == 0:
        return max(found.rank, 0)
    return max(found.anonymous, 0)


@in_place
def follow_ranks(
    book: Book, events: EventColumns, corrections: CorrectionColumns, first: int, stop: int, ranks: np.ndarray
) -> None:
    """Write the ranks of events first..stop-1, and apply the events as their tokens will be decoded.

    Args:
      book: the decoder's book before the first of them; changed in place.
      events: E events.
      corrections: those of these events.
      first: the first event.
      stop: the one after the last event.
      ranks: int64 [stop - first].
    """
    cursor = np.searchsorted(corrections.event, first)
    for i in range(first, stop):
        kind, side, price = np.int64(events.kind[i]), np.int64(events.side[i]), np.int64(events.price[i])
        size, order_id = np.int64(events.size[i]), np.int64(events.order_id[i])
        ranks[i - first] = NO_RANK
        if kind == _CONTROL:
            if events.code[i] == _CLEAR:
                clear(book)
        elif kind == _ADD:
            named = order_id if order_id != 0 else FIRST_ID - i
            apply(book, kind, side, price, size, named, mark_of(events, i))
        elif kind <= _EXECUTE:
            s = 0 if side == BID else 1
            row = level_of(book, s, price)
            if row >= 0:
                ranks[i - first] = event_rank(book, s, row, kind, size, order_id)
            apply(book, kind, side, price, size, taken_id(book, s, row, kind, size, ranks[i - first]))
        cursor = amend(book, corrections, cursor, i)


@in_place
def resolve_ranks(
    book: Book,
    parsed: Parsed,
    of_user: np.ndarray,
    corrections: CorrectionColumns,
    ids: np.ndarray,
    start_ns: int,
    tick: int,
    time_ns: np.ndarray,
    price: np.ndarray,
    order_id: np.ndarray,
) -> tuple[int, int]:
    """Convert gaps to times, distances to prices and ranks to order ids, applying each event before the next one.

    Args:
      book: the book before the first event; changed in place.
      parsed: E events.
      of_user: bool [E], whether an event belongs to an order of the user.
      corrections: those of these events.
      ids: int64 [A], the ids of the orders that they add, in sequence.
      start_ns: the clock before the first event.
      tick: price quanta per tick.
      time_ns, price: int64 [E], filled in.
      order_id: int64 [E], the bits of ids, filled in.

    Returns:
      The number of converted events, and what ended it.
    """
    n_events = len(parsed.kind)
    clock, cursor, added = start_ns, 0, 0
    for i in range(n_events):
        kind, side, size = np.int64(parsed.kind[i]), np.int64(parsed.side[i]), parsed.size[i]
        clock += parsed.gap_ns[i]
        if abs(clock) >= MOST or abs(parsed.gap_ns[i]) >= MOST:
            return i, OUT_OF_RANGE
        time_ns[i] = clock
        if kind == _CONTROL:
            if parsed.code[i] == _CLEAR:
                clear(book)
        else:
            unit, origin, s = unit_of(kind, tick), reference(book, side), 0 if side == BID else 1
            if abs(origin) >= MOST or abs(parsed.distance[i]) > (MOST - 1 - abs(origin)) // unit:
                return i, OUT_OF_RANGE
            price[i] = origin - side * parsed.distance[i] * unit
            row = level_of(book, s, price[i]) if kind <= _EXECUTE else -1
            count = choices(book, s, row, kind, size)
            if not 0 <= parsed.rank[i] < count and (count > 0 or parsed.rank[i] != NO_RANK):
                return i, WRONG_RANK
            if kind == _ADD:
                order_id[i] = ids[added]
                added += 1
            else:
                order_id[i] = taken_id(book, s, row, kind, size, parsed.rank[i])
            apply(book, kind, side, price[i], size, order_id[i], OWN if of_user[i] else 0)
        cursor = amend(book, corrections, cursor, i)
    return n_events, RESOLVED
