"""The book of one path on the device: the occupied levels in order, each with its queue of orders.

Prices are int32 ticks relative to an origin that the host keeps, a best price of the starting book, so that distant
levels fit into an int32. Sizes are int32 lots. The mask (see `book_mask`) forbids orders for which a level's queue or a
side's array of levels has no room, so nothing is ever lost.

The book of a feed that shows N levels has only these in its levels, and remembers those behind its view. When one of
the N levels goes, the best of the remembered levels comes into view, else one that is drawn (see `out_of_view`).

Orders that the user injects have an owner. CANCEL and DELETE, which say what others do, never apply to them; an EXECUTE
takes the order at the front, whoever owns it. In a pooled book, a level is a single order until the user joins it: an
order of the user is one of its own behind the lots that were there, and later ADDs make up another one behind it.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.features import book_features
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.book.view import NOTHING_BEHIND, OutOfView
from lob_jax.errors import InputError
from lob_jax.events.halts import CLOSES, OPEN
from lob_jax.events.schema import Code, Kind
from lob_jax.generation.device.out_of_view import Unseen, nothing_unseen
from lob_jax.generation.device.queues import EARLIER, NOBODY, Queue, changed
from lob_jax.generation.prompt import origin_of
from lob_jax.tokens.bins import MOST_DISTANCE, MOST_LOTS

FAR = np.int32(2**31 - 1)  # the key of an unoccupied slot
NO_FLOOR = -MOST_DISTANCE  # the lowest price relative to the origin that can be represented
_SIGN = np.array([-1, 1], np.int32)  # bid keys are negated prices


class Reveal(NamedTuple):
    """A level that came into view, as a single order.

    Attributes:
      side: int32, 0 bid, 1 ask.
      key: int32, see `LiveBook`.
      lots: int32, 0 if there is no such level.
      remembered: bool, whether it had been in view before.
    """

    side: jax.Array
    key: jax.Array
    lots: jax.Array
    remembered: jax.Array


def no_reveal() -> Reveal:
    """Return that no level came into view."""
    return Reveal(jnp.int32(0), jnp.int32(0), jnp.int32(0), jnp.bool_(False))


class LiveBook(NamedTuple):
    """The book of one path; vmap over this class adds an axis of paths.

    The levels of a side are sorted by key. The orders of each level are in a row of `queue_2PQ` with the index in
    `row_2P`, so that inserting or removing a level moves indices, not orders.

    Attributes:
      key_2P: int32 [2, P], ascending: ticks from the origin, negated for bids, so that the best level is first on both
        sides; FAR in unoccupied slots.
      row_2P: int32 [2, P], a permutation of the rows; the rows of unoccupied slots are free.
      queue_2PQ: int32 [2, P, Q], by row: lots of a level's orders from the front of the queue, then 0.
      anonymous_2PQ: bool [2, P, Q], by row: whether an order is anonymous, see `BookSnapshot`; False behind the last.
      owner_2PQ: int32 [2, P, Q], by row: whose each order is, see `queues`; NOBODY behind the last.
      total_2P: int32 [2, P], by row: lots at the level, 0 in a free row.
      behind_key_2M: int32 [2, M], the keys of the levels that are remembered behind the view, ascending; FAR in
        unoccupied slots. All of them are worse than the levels in view, of which there are `window` then. M is 0 for
        books without a window.
      behind_lots_2M: int32 [2, M], their lots.
      revealed: the level that the last event brought into view.
      filled: int32, the owner of the order that the last event executed; NOBODY if it was not the user's.
      last_2: int32 [2], the last best price of either side, in ticks from the origin.
      seen_2: bool [2], whether a side ever had a best price.
      lowest: int32, the lowest allowed price of an order, in ticks from the origin; NO_FLOOR if there is none.
      zero: int32, price 0, in ticks from the origin.
      pooled: bool, whether ADDs enlarge the last order of a level, unless one of the two is the user's.
      window: int32, levels that a side keeps, 0 for all: a full side drops its last level for a better one.
      closed: int32, what is closed, see `lob_jax.events.halts`.
      refused: int32, number of events that the book could not accept; 0 for events that obey the mask.
    """

    key_2P: jax.Array
    row_2P: jax.Array
    queue_2PQ: jax.Array
    anonymous_2PQ: jax.Array
    owner_2PQ: jax.Array
    total_2P: jax.Array
    behind_key_2M: jax.Array
    behind_lots_2M: jax.Array
    revealed: Reveal
    filled: jax.Array
    last_2: jax.Array
    seen_2: jax.Array
    lowest: jax.Array
    zero: jax.Array
    pooled: jax.Array
    window: jax.Array
    closed: jax.Array
    refused: jax.Array


def from_snapshot(
    snapshot: BookSnapshot,
    *,
    tick: int,
    places: int,
    orders: int,
    remembers: int = 0,
    behind: OutOfView = NOTHING_BEHIND,
    closed: int = OPEN,
    signed: bool = False,
) -> tuple[LiveBook, int]:
    """Return the live book of a snapshot and the origin of its prices, in price quanta.

    Args:
      snapshot: the book to start from.
      tick: price quanta per tick.
      places: P, capacity in levels per side.
      orders: Q, capacity in orders per level.
      remembers: M, levels per side that a book with a window remembers behind its view; with 0, nothing is revealed.
      behind: the levels behind the view of the starting book, of which the best are remembered.
      closed: see `LiveBook`.
      signed: whether prices may be zero or negative, see `Instrument`.

    Raises:
      InputError: the book has more levels or orders than fit, or too many lots at a level.
    """
    origin = origin_of(snapshot, tick)
    key_2P, queue_2PQ = np.full((2, places), FAR), np.zeros((2, places, orders), np.int32)
    anonymous_2PQ, owner_2PQ = np.zeros(queue_2PQ.shape, bool), np.full(queue_2PQ.shape, NOBODY)
    owner = np.where(snapshot.is_own(), EARLIER, NOBODY)
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
            anonymous_2PQ[index, number, : len(queue)] = snapshot.anonymous[rows][level == number]
            owner_2PQ[index, number, : len(queue)] = owner[rows][level == number]
    behind_key_2M, behind_lots_2M = _behind(behind, origin, tick=tick, remembers=remembers)
    last = np.where(snapshot.seen, (snapshot.last_best - origin) // tick, 0)
    present = key_2P[:, 0] != FAR
    book = LiveBook(
        key_2P=jnp.asarray(key_2P),
        row_2P=jnp.asarray(np.tile(np.arange(places, dtype=np.int32), (2, 1))),
        queue_2PQ=jnp.asarray(queue_2PQ),
        anonymous_2PQ=jnp.asarray(anonymous_2PQ),
        owner_2PQ=jnp.asarray(owner_2PQ),
        total_2P=jnp.asarray(queue_2PQ.sum(2, dtype=np.int32)),
        behind_key_2M=jnp.asarray(behind_key_2M),
        behind_lots_2M=jnp.asarray(behind_lots_2M),
        revealed=no_reveal(),
        filled=jnp.int32(NOBODY),
        last_2=jnp.asarray(np.where(present, _SIGN * key_2P[:, 0], last), jnp.int32),
        seen_2=jnp.asarray(present | snapshot.seen),
        # A floor may not equal NO_FLOOR, which would mean that there is none.
        lowest=jnp.int32(NO_FLOOR if signed else max(1 - origin // tick, NO_FLOOR + 1)),
        zero=jnp.int32(-origin // tick),
        pooled=jnp.bool_(snapshot.pooled),
        window=jnp.int32(snapshot.window),
        closed=jnp.int32(closed),
        refused=jnp.int32(0),
    )
    return book, origin


def _behind(behind: OutOfView, origin: int, *, tick: int, remembers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return keys and lots of the best levels behind the view, int32 [2, M] each."""
    key_2M, lots_2M = np.full((2, remembers), FAR), np.zeros((2, remembers), np.int32)
    for index, side in enumerate((1, -1)):
        rows = np.flatnonzero(behind.side == side)[:remembers]
        key_2M[index, : len(rows)] = _SIGN[index] * ((behind.price[rows] - origin) // tick)
        lots_2M[index, : len(rows)] = behind.size[rows]
    return key_2M, lots_2M


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
    """Return (price in quanta, lots of the orders from the front) of each level, best first, bids then asks."""
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
    """Return the reference of a side's relative prices, in ticks from the origin (`lob_jax.book.kernel.reference`)."""
    own, other = book.last_2[side], book.last_2[1 - side]
    return jnp.where(book.seen_2[side], own, jnp.where(book.key_2P[1 - side, 0] != FAR, other, book.zero))


def queue_at(book: LiveBook, side: jax.Array, key: jax.Array) -> tuple[jax.Array, Queue]:
    """Return the index of a key among a side's levels, and the queue there."""
    at = jnp.sum(book.key_2P[side] < key)
    place = jnp.minimum(at, book.key_2P.shape[1] - 1)
    there = (book.key_2P[side, place] == key) & (key != FAR)
    row = book.row_2P[side, place]
    whole = Queue(book.queue_2PQ[side, row], book.anonymous_2PQ[side, row], book.owner_2PQ[side, row])
    return at, jax.tree.map(lambda leaf_Q: jnp.where(there, leaf_Q, jnp.zeros_like(leaf_Q)), whole)


def has_room(book: LiveBook, side: jax.Array, key: jax.Array, size: jax.Array) -> jax.Array:
    """Return whether an order of the user can rest at a key: there is room for its level, for itself and its lots."""
    at, queue = queue_at(book, side, key)
    _, fits = changed(queue, jnp.int32(Kind.ADD), size, book.pooled, jnp.int32(1))
    return fits & ((queue.lots_Q[0] > 0) | _opens(book, side, at))


def is_full(book: LiveBook, side: jax.Array | int) -> jax.Array:
    """Return whether a side has as many levels as its window keeps, so that a new one must replace the last."""
    return (book.window > 0) & (jnp.sum(book.key_2P[side] != FAR) >= book.window)


def _opens(book: LiveBook, side: jax.Array, at: jax.Array) -> jax.Array:
    """Return whether a level may open with this index: it is within the window, and there is room for it."""
    levels = jnp.sum(book.key_2P[side] != FAR)
    return jnp.where(is_full(book, side), at < levels, levels < book.key_2P.shape[1])


def _moved(values_P: jax.Array, at: jax.Array, end: jax.Array, value: jax.Array, *, insert: jax.Array) -> jax.Array:
    """Insert a value at `at`, shifting those up to `end` back; or remove that at `at`, and put the value at `end`."""
    place = jnp.arange(values_P.shape[0])
    pushed = jnp.where((place > at) & (place <= end), jnp.roll(values_P, 1), jnp.where(place == at, value, values_P))
    pulled = jnp.where((place >= at) & (place < end), jnp.roll(values_P, -1), jnp.where(place == end, value, values_P))
    return jnp.where(insert, pushed, pulled)


def _incoming(
    book: LiveBook, side: jax.Array, at: jax.Array, key: jax.Array, unseen: Unseen, *, leaves: jax.Array
) -> Reveal:
    """Return the level that comes into view if the level with index `at` and this key leaves a side.

    It is the best of those remembered. If there is none, it is the unseen one, provided that the side has as many
    levels as its window keeps, or only the one that goes; a side of fewer levels shows all that it has.
    """
    if not book.behind_key_2M.shape[1]:
        return no_reveal()
    levels, known_key = jnp.sum(book.key_2P[side] != FAR), book.behind_key_2M[side, 0]
    last = jnp.maximum(jnp.where(at == levels - 1, levels - 2, levels - 1), 0)
    unseen_key = jnp.where(levels == 1, key, book.key_2P[side, last]) + unseen.ticks
    valid = (jnp.where(side == 0, -1, 1) * unseen_key >= book.lowest) & (unseen_key <= MOST_DISTANCE)
    drawn = (is_full(book, side) | (levels == 1)) & (unseen.ticks > 0) & valid
    remembered = known_key != FAR
    lots = jnp.where(remembered, book.behind_lots_2M[side, 0], jnp.where(drawn, unseen.lots, 0))
    lots = jnp.where(leaves & (book.window > 0), lots, 0)
    return Reveal(side, jnp.where(remembered, known_key, unseen_key), lots, remembered)


def _remembered(
    book: LiveBook, side: jax.Array, gone: tuple[jax.Array, jax.Array], *, hides: jax.Array, returns: jax.Array
) -> LiveBook:
    """Remember the level `gone` (key, lots) if the event hides it; forget the best one if it returns to the view.

    A level that leaves the view is better than all that left it before, so that the best is the last that was added.
    """
    last = book.behind_key_2M.shape[1] - 1
    if last < 0:
        return book

    def changed(values_2M: jax.Array, value: jax.Array, none: int | np.integer) -> jax.Array:
        moved_M = _moved(values_2M[side], jnp.int32(0), jnp.int32(last), jnp.where(hides, value, none), insert=hides)
        return values_2M.at[side].set(jnp.where(hides | returns, moved_M, values_2M[side]))

    keys_2M, lots_2M = changed(book.behind_key_2M, gone[0], FAR), changed(book.behind_lots_2M, gone[1], 0)
    return book._replace(behind_key_2M=keys_2M, behind_lots_2M=lots_2M)


def apply(
    book: LiveBook,
    *,
    kind: jax.Array,
    code: jax.Array,
    side: jax.Array,
    deeper: jax.Array,
    size: jax.Array,
    owner: jax.Array | int = 0,
    rank: jax.Array | None = None,
    unseen: Unseen | None = None,
) -> LiveBook:
    """Apply one event; an impossible one leaves the book unchanged and is counted in `refused`.

    Args:
      book: one path's book.
      kind: a `Kind`; hidden executions and crosses change no level.
      code: a `Code`; CLEAR empties the book, halts and resumptions close and open it.
      side: 0 bid, 1 ask.
      deeper: ticks deeper than the reference.
      size: lots.
      owner: the owner of an order that is added, see `LiveBook`; NOBODY for the events that the model writes.
      rank: the order that a CANCEL or DELETE takes from, see `queues.ranks`; None for the newest that it fits.
      unseen: the level that comes into view if a level goes and none is remembered; None for none.
    """
    visible = (kind >= Kind.ADD) & (kind <= Kind.EXECUTE)
    sign = jnp.where(side == 0, -1, 1)
    key = sign * reference(book, side) + deeper
    at, queue = queue_at(book, side, key)
    was, levels = queue.lots_Q[0] > 0, jnp.sum(book.key_2P[side] != FAR)
    after, fine = changed(queue, kind, size, book.pooled, jnp.asarray(owner, jnp.int32), rank)
    is_add = kind == Kind.ADD
    opposite = book.key_2P[1 - side, 0]
    fine &= jnp.where(is_add, was | _opens(book, side, at), was)
    fine &= ~is_add | ((sign * key >= book.lowest) & ((opposite == FAR) | (key >= 1 - opposite)))
    fine &= (kind != Kind.EXECUTE) | (at == 0)
    change = visible & fine
    now = after.lots_Q[0] > 0
    appears, leaves = change & ~was & now, change & was & ~now

    # A new level takes the first free row, or on a full side that of the last level, which it replaces; a removed level
    # returns its row, which becomes the first free one, or that of the level which comes into view instead.
    full, last = is_full(book, side), jnp.maximum(levels - 1, 0)
    place = jnp.minimum(at, book.key_2P.shape[1] - 1)
    end = jnp.where(appears & ~full, jnp.minimum(levels, book.row_2P.shape[1] - 1), last)
    row = book.row_2P[side, jnp.where(appears, end, place)]
    shown = _incoming(book, side, at, key, nothing_unseen() if unseen is None else unseen, leaves=leaves)
    reveals, first_Q = shown.lots > 0, jnp.arange(len(after.lots_Q)) == 0
    alone = Queue(jnp.where(first_Q, shown.lots, 0), first_Q & ~book.pooled, jnp.zeros_like(after.owner_Q))
    after = jax.tree.map(functools.partial(jnp.where, reveals), alone, after)
    gone = (book.key_2P[side, last], book.total_2P[side, row])
    book = _remembered(book, side, gone, hides=appears & full, returns=reveals & shown.remembered)
    end_key = jnp.where(reveals, shown.key, jnp.where(appears, key, FAR))
    keys_P = _moved(book.key_2P[side], place, end, end_key, insert=appears)
    rows_P = _moved(book.row_2P[side], place, end, row, insert=appears)
    moves = appears | leaves
    book = book._replace(
        key_2P=book.key_2P.at[side].set(jnp.where(moves, keys_P, book.key_2P[side])),
        row_2P=book.row_2P.at[side].set(jnp.where(moves, rows_P, book.row_2P[side])),
        queue_2PQ=book.queue_2PQ.at[side, row].set(jnp.where(change, after.lots_Q, book.queue_2PQ[side, row])),
        anonymous_2PQ=book.anonymous_2PQ.at[side, row].set(
            jnp.where(change, after.anonymous_Q, book.anonymous_2PQ[side, row])
        ),
        owner_2PQ=book.owner_2PQ.at[side, row].set(jnp.where(change, after.owner_Q, book.owner_2PQ[side, row])),
        total_2P=book.total_2P.at[side, row].set(jnp.where(change, after.lots_Q.sum(), book.total_2P[side, row])),
        revealed=shown,
        filled=jnp.where(change & (kind == Kind.EXECUTE), queue.owner_Q[0], NOBODY),
        refused=book.refused + (visible & ~fine),
    )
    book = _controlled(book, kind == Kind.CONTROL, code)
    present_2 = book.key_2P[:, 0] != FAR
    return book._replace(
        last_2=jnp.where(present_2, _SIGN * book.key_2P[:, 0], book.last_2), seen_2=book.seen_2 | present_2
    )


def _controlled(book: LiveBook, control: jax.Array, code: jax.Array) -> LiveBook:
    """Clear, close or open the book on a CONTROL event."""
    cleared = control & (code == Code.CLEAR)
    closed = book.closed
    for of, closes in CLOSES.items():
        closed = jnp.where(control & (code == of), closes, closed)
    return book._replace(
        key_2P=jnp.where(cleared, FAR, book.key_2P),
        queue_2PQ=jnp.where(cleared, 0, book.queue_2PQ),
        anonymous_2PQ=book.anonymous_2PQ & ~cleared,
        owner_2PQ=jnp.where(cleared, NOBODY, book.owner_2PQ),
        total_2P=jnp.where(cleared, 0, book.total_2P),
        behind_key_2M=jnp.where(cleared, FAR, book.behind_key_2M),
        closed=closed.astype(jnp.int32),
    )


@functools.partial(jax.jit, static_argnames="levels")
def features(book: LiveBook, *, levels: int) -> jax.Array:
    """Return the book features of `levels` levels per side, float32 [4 * levels], equal to those used in training."""
    short = max(levels - book.key_2P.shape[1], 0)
    key_2P = jnp.pad(book.key_2P[:, :levels], ((0, 0), (0, short)), constant_values=FAR)
    total_2P = jnp.take_along_axis(book.total_2P, book.row_2P[:, :levels], axis=1)
    size_2P = jnp.pad(jnp.where(book.key_2P[:, :levels] == FAR, 0, total_2P), ((0, 0), (0, short)))
    price_2P = jnp.where(key_2P == FAR, 0, _SIGN[:, None] * key_2P)
    return book_features(price_2P, size_2P, tick=1, xp=jnp)
