"""The book of one path on the device: occupied levels, sorted, whole.

Prices are int32 ticks from an origin that the host keeps (the middle of the starting book), so that a
level far away still fits. Sizes are int32 lots.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.features import book_features
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import Code, Kind
from lob_jax.generation.assembler import TOO_LARGE

FAR = np.int32(2**31 - 1)  # the key of an unoccupied place
REASONS = ("out_of_range", "absent_level", "over_removal", "not_at_best", "crossing")


class LiveBook(NamedTuple):
    """Levels of one path; vmap gives the paths.

    Attributes:
      key_2P: int32 [2, P], ascending: ticks from the origin, sign turned for bids, so that the best comes
        first on either side; FAR where a place is unoccupied.
      size_2P: int32 [2, P], lots; 0 where unoccupied.
      last_2: int32 [2], the last best price of either side, in ticks from the origin.
      seen_2: bool [2], whether a side ever had a best price.
      lowest: int32, the lowest price an order may have, in ticks from the origin.
      impossible: int32 [len(REASONS)], events that the book could not take, by reason.
      forgotten: int32, levels dropped since the arrays were full.
    """

    key_2P: jax.Array
    size_2P: jax.Array
    last_2: jax.Array
    seen_2: jax.Array
    lowest: jax.Array
    impossible: jax.Array
    forgotten: jax.Array


_SIGN = np.array([-1, 1], np.int32)  # bid keys are turned prices


def from_snapshot(snapshot: BookSnapshot, *, tick: int, places: int) -> tuple[LiveBook, int]:
    """Return the live book of a snapshot and the origin of its prices, in price quanta.

    Args:
      snapshot: the book to start from; only its level totals are used.
      tick: price quanta in a tick.
      places: levels a side that the arrays hold, P; deeper ones are forgotten, and counted.
    """
    best = [snapshot.price[snapshot.side == side] for side in (1, -1)]
    known = [int(prices[0]) for prices in best if len(prices)] or [int(p) for p in snapshot.last_best if p]
    origin = known[0] // tick * tick if known else 0
    key_2P, size_2P = np.full((2, places), FAR), np.zeros((2, places), np.int32)
    forgotten = 0
    for index, side in enumerate((1, -1)):
        rows = snapshot.side == side
        prices, level = np.unique(snapshot.price[rows], return_inverse=True)
        sizes = np.bincount(level, snapshot.size[rows], len(prices)).astype(np.int64)
        keys = _SIGN[index] * ((prices - origin) // tick)
        order = np.argsort(keys)[:places]
        forgotten += len(prices) - len(order)
        key_2P[index, : len(order)] = keys[order]
        size_2P[index, : len(order)] = np.minimum(sizes[order], TOO_LARGE)
    last = np.where(snapshot.last_best != 0, (snapshot.last_best - origin) // tick, 0)
    present = key_2P[:, 0] != FAR
    book = LiveBook(
        key_2P=jnp.asarray(key_2P),
        size_2P=jnp.asarray(size_2P),
        last_2=jnp.asarray(np.where(present, _SIGN * key_2P[:, 0], last), jnp.int32),
        seen_2=jnp.asarray(present | (snapshot.last_best != 0)),
        lowest=jnp.int32(1 - origin // tick),
        impossible=jnp.zeros(len(REASONS), jnp.int32),
        forgotten=jnp.int32(forgotten),
    )
    return book, origin


def reference(book: LiveBook, side: jax.Array) -> jax.Array:
    """Return the price, in ticks, that a side's relative prices count from (`lob_jax.book.kernel.reference`)."""
    own, other = book.last_2[side], book.last_2[1 - side]
    nothing = book.lowest - 1  # price 0
    return jnp.where(book.seen_2[side], own, jnp.where(book.key_2P[1 - side, 0] != FAR, other, nothing))


def _inserted(values_P: jax.Array, at: jax.Array, value: jax.Array) -> jax.Array:
    place = jnp.arange(len(values_P))
    return jnp.where(place < at, values_P, jnp.where(place == at, value, jnp.roll(values_P, 1)))


def _removed(values_P: jax.Array, at: jax.Array, blank: int) -> jax.Array:
    place = jnp.arange(len(values_P))
    return jnp.where(place < at, values_P, jnp.roll(values_P, -1).at[-1].set(blank))


def _add(book: LiveBook, side: jax.Array, key: jax.Array, size: jax.Array) -> LiveBook:
    keys_P, sizes_P = book.key_2P[side], book.size_2P[side]
    at = jnp.sum(keys_P < key)
    there = keys_P[jnp.minimum(at, len(keys_P) - 1)] == key
    lost = ~there & (keys_P[-1] != FAR)
    keys_P, sizes_P = (
        jnp.where(there, keys_P, _inserted(keys_P, at, key)),
        jnp.where(there, sizes_P.at[at].add(size, mode="drop"), _inserted(sizes_P, at, size)),
    )
    return book._replace(
        key_2P=book.key_2P.at[side].set(keys_P),
        size_2P=book.size_2P.at[side].set(sizes_P),
        forgotten=book.forgotten + lost,
    )


def _take(book: LiveBook, side: jax.Array, key: jax.Array, size: jax.Array) -> LiveBook:
    keys_P, sizes_P = book.key_2P[side], book.size_2P[side]
    at = jnp.argmax(keys_P == key)
    left = sizes_P[at] - size
    keys_P = jnp.where(left > 0, keys_P, _removed(keys_P, at, FAR))
    sizes_P = jnp.where(left > 0, sizes_P.at[at].set(left), _removed(sizes_P, at, 0))
    return book._replace(key_2P=book.key_2P.at[side].set(keys_P), size_2P=book.size_2P.at[side].set(sizes_P))


def _objections(
    book: LiveBook, kind: jax.Array, side: jax.Array, *, price: jax.Array, size: jax.Array, representable: jax.Array
) -> jax.Array:
    """Return bool [len(REASONS)]: why the book cannot take the event, at most one of them."""
    key = jnp.where(side == 0, -price, price)
    here_P = book.key_2P[side] == key
    held = jnp.sum(jnp.where(here_P, book.size_2P[side], 0))
    opposite = book.key_2P[1 - side, 0]
    removal = (kind == Kind.CANCEL) | (kind == Kind.DELETE) | (kind == Kind.EXECUTE)
    found = jnp.stack(
        [
            ~representable | (price < book.lowest) | (kind == Kind.ADD) & (held > TOO_LARGE - size),
            removal & ~here_P.any(),
            removal & (size > held),
            (kind == Kind.EXECUTE) & (key != book.key_2P[side, 0]),
            (kind == Kind.ADD) & (opposite != FAR) & (-opposite >= key),
        ]
    )
    first = jnp.argmax(found)
    return found & (jnp.arange(len(REASONS)) == first) & (kind <= Kind.EXECUTE)


def apply(
    book: LiveBook, *, kind: jax.Array, code: jax.Array, side: jax.Array, deeper: jax.Array, size: jax.Array
) -> LiveBook:
    """Take one event, or count it as impossible and leave the levels as they are.

    Args:
      book: one path's book.
      kind: a `Kind`; hidden executions and crosses change nothing.
      code: a `Code`; CLEAR empties the book.
      side: 0 bid, 1 ask.
      deeper: ticks deeper than the reference, TOO_LARGE if int32 could not hold it.
      size: lots, TOO_LARGE likewise.
    """
    start = reference(book, side)
    sign = jnp.where(side == 0, -1, 1)
    representable = (jnp.abs(deeper) < 2**30) & (size != TOO_LARGE) & (size > 0)
    price = start + sign * jnp.clip(deeper, -(2**30), 2**30)
    wrong = _objections(book, kind, side, price=price, size=size, representable=representable)
    key = sign * price
    fine = ~wrong.any()
    added, taken = _add(book, side, key, size), _take(book, side, key, size)
    is_add = fine & (kind == Kind.ADD)
    is_removal = fine & (kind >= Kind.CANCEL) & (kind <= Kind.EXECUTE)
    book = jax.tree.map(lambda a, t, b: jnp.where(is_add, a, jnp.where(is_removal, t, b)), added, taken, book)
    cleared = (kind == Kind.CONTROL) & (code == Code.CLEAR)
    book = book._replace(
        key_2P=jnp.where(cleared, FAR, book.key_2P),
        size_2P=jnp.where(cleared, 0, book.size_2P),
        impossible=book.impossible + wrong,
    )
    present_2 = book.key_2P[:, 0] != FAR
    return book._replace(
        last_2=jnp.where(present_2, _SIGN * book.key_2P[:, 0], book.last_2), seen_2=book.seen_2 | present_2
    )


@functools.partial(jax.jit, static_argnames="levels")
def features(book: LiveBook, *, levels: int) -> jax.Array:
    """Return the book features of `levels` levels a side, as training computed them: float32 [4 * levels]."""
    short = max(levels - book.key_2P.shape[1], 0)
    key_2P = jnp.pad(book.key_2P[:, :levels], ((0, 0), (0, short)), constant_values=FAR)
    size_2P = jnp.pad(book.size_2P[:, :levels], ((0, 0), (0, short)))
    price_2P = jnp.where(key_2P == FAR, 0, _SIGN[:, None] * key_2P)
    return book_features(price_2P, size_2P, tick=1, xp=jnp)
