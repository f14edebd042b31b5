"""The book of one path on the device: occupied levels in order, each with its queue of orders.

Prices are int32 ticks from an origin that the host keeps (the middle of the starting book), so that a level far away
still fits. Sizes are int32 lots. What a level's queue or a side's places cannot hold, the mask does not let a path add
(see `book_mask`), so nothing is ever lost.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.features import book_features
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Kind
from lob_jax.tokens.bins import MOST_DISTANCE, MOST_LOTS

FAR = np.int32(2**31 - 1)  # the key of an unoccupied place
NO_FLOOR = -MOST_DISTANCE  # as low as a price can lie from the origin
_SIGN = np.array([-1, 1], np.int32)  # bid keys are turned prices


class LiveBook(NamedTuple):
    """Levels of one path; vmap gives the paths.

    A side's levels lie in key order; each has a row of its own in `queue_2PQ`, which `row_2P` names, so that a level
    that comes or goes moves indices, not orders.

    Attributes:
      key_2P: int32 [2, P], ascending: ticks from the origin, sign turned for bids, so that the best comes first on
        either side; FAR where a place is unoccupied.
      row_2P: int32 [2, P], a permutation of the rows; those of unoccupied places are free.
      queue_2PQ: int32 [2, P, Q], by row: lots of a level's orders, front of the queue first, then 0.
      total_2P: int32 [2, P], by row: lots at the level, 0 in a free row.
      last_2: int32 [2], the last best price of either side, in ticks from the origin.
      seen_2: bool [2], whether a side ever had a best price.
      lowest: int32, the lowest price an order may have, in ticks from the origin; NO_FLOOR for none.
      zero: int32, price 0, in ticks from the origin.
      pooled: bool, whether a level is one order, which ADDs enlarge.
      closed: int32, what is closed: 0 nothing, 1 trading alone, 2 quoting too.
      refused: int32, events that the book could not take; what obeys the mask adds none.
    """

    key_2P: jax.Array
    row_2P: jax.Array
    queue_2PQ: jax.Array
    total_2P: jax.Array
    last_2: jax.Array
    seen_2: jax.Array
    lowest: jax.Array
    zero: jax.Array
    pooled: jax.Array
    closed: jax.Array
    refused: jax.Array


def from_snapshot(
    snapshot: BookSnapshot, *, tick: int, places: int, orders: int, closed: int = 0, signed: bool = False
) -> tuple[LiveBook, int]:
    """Return the live book of a snapshot and the origin of its prices, in price quanta.

    Args:
      snapshot: the book to start from; how many levels its feed shows is of no importance here.
      tick: price quanta in a tick.
      places: levels a side that there is room for, P.
      orders: orders a level that there is room for, Q.
      closed: see `LiveBook`.
      signed: whether prices may be zero or negative, see `Instrument`.

    Raises:
      InputError: the book has more levels or orders, or more lots at a level.
    """
    best = [snapshot.price[snapshot.side == side] for side in (1, -1)]
    known = [int(prices[0]) for prices in best if len(prices)] or snapshot.last_best[snapshot.seen].tolist()
    origin = known[0] // tick * tick if known else 0
    key_2P, queue_2PQ = np.full((2, places), FAR), np.zeros((2, places, orders), np.int32)
    for index, side in enumerate((1, -1)):
        rows = snapshot.side == side
        keys, level = np.unique(_SIGN[index] * ((snapshot.price[rows] - origin) // tick), return_inverse=True)
        _check_room(len(keys), places, "levels", "places")
        key_2P[index, : len(keys)] = keys
        for number in range(len(keys)):
            queue = snapshot.size[rows][level == number]
            _check_room(len(queue), orders, "orders at a level", "orders")
            _check_room(int(queue.sum()), MOST_LOTS, "lots at a level", "lot")
            queue_2PQ[index, number, : len(queue)] = queue
    last = np.where(snapshot.seen, (snapshot.last_best - origin) // tick, 0)
    present = key_2P[:, 0] != FAR
    book = LiveBook(
        key_2P=jnp.asarray(key_2P),
        row_2P=jnp.asarray(np.tile(np.arange(places, dtype=np.int32), (2, 1))),
        queue_2PQ=jnp.asarray(queue_2PQ),
        total_2P=jnp.asarray(queue_2PQ.sum(2, dtype=np.int32)),
        last_2=jnp.asarray(np.where(present, _SIGN * key_2P[:, 0], last), jnp.int32),
        seen_2=jnp.asarray(present | snapshot.seen),
        lowest=jnp.int32(NO_FLOOR if signed else max(1 - origin // tick, NO_FLOOR + 1)),
        zero=jnp.int32(-origin // tick),
        pooled=jnp.bool_(snapshot.pooled),
        closed=jnp.int32(closed),
        refused=jnp.int32(0),
    )
    return book, origin


def _check_room(count: int, room: int, what: str, name: str) -> None:
    if count > room:
        raise InputError(
            f"the starting book has more {what} than there is room for",
            where="generation",
            expected=f"at most {room}",
            was=count,
            remedy=f"generate with more {name}" if name != "lot" else "prepare the records with a larger data.lot",
        )


def to_levels(book: LiveBook, origin: int, *, tick: int) -> list[list[tuple[int, list[int]]]]:
    """Return (price in quanta, lots of its orders from the front) of each level, best first, bids then asks."""
    keys, rows, queues = (np.asarray(array) for array in (book.key_2P, book.row_2P, book.queue_2PQ))
    return [
        [
            (origin + int(_SIGN[s]) * int(key) * tick, [int(lots) for lots in queues[s, row] if lots])
            for key, row in zip(keys[s], rows[s], strict=True)
            if key != FAR
        ]
        for s in range(2)
    ]


def reference(book: LiveBook, side: jax.Array) -> jax.Array:
    """Return the price, in ticks, that a side's relative prices count from (`lob_jax.book.kernel.reference`)."""
    own, other = book.last_2[side], book.last_2[1 - side]
    return jnp.where(book.seen_2[side], own, jnp.where(book.key_2P[1 - side, 0] != FAR, other, book.zero))


def queue_at(book: LiveBook, side: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the place of a key among a side's levels, and the queue [Q] there; zeros where there is no level."""
    at = jnp.sum(book.key_2P[side] < key)
    place = jnp.minimum(at, book.key_2P.shape[1] - 1)
    there = (book.key_2P[side, place] == key) & (key != FAR)
    return at, jnp.where(there, book.queue_2PQ[side, book.row_2P[side, place]], 0)


def has_room(book: LiveBook, side: jax.Array, key: jax.Array, size: jax.Array) -> jax.Array:
    """Return whether an order of this size can rest at a key: a place for its level, one in its queue, and its lots."""
    _, queue_Q = queue_at(book, side, key)
    _, fits = _changed(queue_Q, jnp.int32(Kind.ADD), size, book.pooled)
    return fits & ((queue_Q[0] > 0) | (book.key_2P[side, -1] == FAR))


def _changed(queue_Q: jax.Array, kind: jax.Array, size: jax.Array, pooled: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return a queue after an event, and whether it can take it; the rules are those of `lob_jax.book.kernel`.

    Of several orders a CANCEL takes from the newest of more than its size, a DELETE the newest of exactly that.
    """
    place_Q = jnp.arange(queue_Q.shape[0])
    count = jnp.sum(queue_Q > 0)
    is_add = kind == Kind.ADD
    fits_Q = jnp.where(kind == Kind.CANCEL, queue_Q > size, queue_Q == size)
    newest = jnp.max(jnp.where(fits_Q, place_Q, -1))
    which = jnp.where(is_add, jnp.where(pooled, 0, count), jnp.where(kind == Kind.EXECUTE, 0, newest))
    left_Q = jnp.where(place_Q == which, queue_Q + jnp.where(is_add, size, -size), queue_Q)
    gone = ~is_add & (left_Q[jnp.maximum(which, 0)] == 0)
    behind_Q = jnp.append(left_Q[1:], 0)
    closed_up_Q = jnp.where(gone & (place_Q >= which), behind_Q, left_Q)
    room = (which < queue_Q.shape[0]) & (queue_Q.sum() <= MOST_LOTS - size)
    fine = jnp.where(is_add, room, (which >= 0) & (queue_Q[jnp.maximum(which, 0)] >= size)) & (size > 0)
    return closed_up_Q, fine


def _moved(values_P: jax.Array, at: jax.Array, end: jax.Array, value: jax.Array, *, insert: jax.Array) -> jax.Array:
    """Return values with one put in at `at`, those up to `end` moving on; or with the one at `at` moved to `end`."""
    place = jnp.arange(values_P.shape[0])
    pushed = jnp.where((place > at) & (place <= end), jnp.roll(values_P, 1), jnp.where(place == at, value, values_P))
    pulled = jnp.where((place >= at) & (place < end), jnp.roll(values_P, -1), jnp.where(place == end, value, values_P))
    return jnp.where(insert, pushed, pulled)


def apply(
    book: LiveBook, *, kind: jax.Array, code: jax.Array, side: jax.Array, deeper: jax.Array, size: jax.Array
) -> LiveBook:
    """Take one event; one that the book cannot take leaves it as it is and is counted.

    Args:
      book: one path's book.
      kind: a `Kind`; hidden executions and crosses change no level.
      code: a `Code`; CLEAR empties the book, halts and resumptions open and close it.
      side: 0 bid, 1 ask.
      deeper: ticks deeper than the reference.
      size: lots.
    """
    visible = (kind >= Kind.ADD) & (kind <= Kind.EXECUTE)
    sign = jnp.where(side == 0, -1, 1)
    key = sign * reference(book, side) + deeper
    at, queue_Q = queue_at(book, side, key)
    was, levels = queue_Q[0] > 0, jnp.sum(book.key_2P[side] != FAR)
    queue_Q, fine = _changed(queue_Q, kind, size, book.pooled)
    is_add = kind == Kind.ADD
    opposite = book.key_2P[1 - side, 0]
    fine &= jnp.where(is_add, was | (levels < book.key_2P.shape[1]), was)
    fine &= ~is_add | ((sign * key >= book.lowest) & ((opposite == FAR) | (key >= 1 - opposite)))
    fine &= (kind != Kind.EXECUTE) | (at == 0)
    change = visible & fine
    now = queue_Q[0] > 0
    appears, leaves = change & ~was & now, change & was & ~now

    # A level that appears takes the first free row; one that leaves gives its own back behind the last that is taken.
    last = jnp.maximum(levels - 1, 0)
    place = jnp.minimum(at, book.key_2P.shape[1] - 1)
    row = jnp.where(appears, book.row_2P[side, jnp.minimum(levels, book.row_2P.shape[1] - 1)], book.row_2P[side, place])
    end = jnp.where(appears, levels, last)
    keys_P = _moved(book.key_2P[side], place, end, jnp.where(appears, key, FAR), insert=appears)
    rows_P = _moved(book.row_2P[side], place, end, row, insert=appears)
    moves = appears | leaves
    book = book._replace(
        key_2P=book.key_2P.at[side].set(jnp.where(moves, keys_P, book.key_2P[side])),
        row_2P=book.row_2P.at[side].set(jnp.where(moves, rows_P, book.row_2P[side])),
        queue_2PQ=book.queue_2PQ.at[side, row].set(jnp.where(change, queue_Q, book.queue_2PQ[side, row])),
        total_2P=book.total_2P.at[side, row].set(jnp.where(change, queue_Q.sum(), book.total_2P[side, row])),
        refused=book.refused + (visible & ~fine),
    )
    book = _controlled(book, kind == Kind.CONTROL, code)
    present_2 = book.key_2P[:, 0] != FAR
    return book._replace(
        last_2=jnp.where(present_2, _SIGN * book.key_2P[:, 0], book.last_2), seen_2=book.seen_2 | present_2
    )


def _controlled(book: LiveBook, control: jax.Array, code: jax.Array) -> LiveBook:
    """Clear, close or open the book where the event says so."""
    cleared = control & (code == Code.CLEAR)
    closed = jnp.where(control & (code == Code.HALT), 2, book.closed)
    closed = jnp.where(control & (code == Code.RESUME_QUOTE), 1, closed)
    closed = jnp.where(control & (code == Code.RESUME_TRADE), 0, closed)
    return book._replace(
        key_2P=jnp.where(cleared, FAR, book.key_2P),
        queue_2PQ=jnp.where(cleared, 0, book.queue_2PQ),
        total_2P=jnp.where(cleared, 0, book.total_2P),
        closed=closed.astype(jnp.int32),
    )


@functools.partial(jax.jit, static_argnames="levels")
def features(book: LiveBook, *, levels: int) -> jax.Array:
    """Return the book features of `levels` levels a side, as training computed them: float32 [4 * levels]."""
    short = max(levels - book.key_2P.shape[1], 0)
    key_2P = jnp.pad(book.key_2P[:, :levels], ((0, 0), (0, short)), constant_values=FAR)
    total_2P = jnp.take_along_axis(book.total_2P, book.row_2P[:, :levels], axis=1)
    size_2P = jnp.pad(jnp.where(book.key_2P[:, :levels] == FAR, 0, total_2P), ((0, 0), (0, short)))
    price_2P = jnp.where(key_2P == FAR, 0, _SIGN[:, None] * key_2P)
    return book_features(price_2P, size_2P, tick=1, xp=jnp)
