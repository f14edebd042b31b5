"""The anchors of a path: prices that its next event may well name, from its live book and its last events.

They are those of `lob_jax.book.anchors`, which has the columns.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.anchors import AHEADS, LEVELS, MEMORY_OF_KIND, NO_PRICE, REMEMBERED
from lob_jax.events.schema import Kind
from lob_jax.generation.device import live_book
from lob_jax.generation.device.live_book import FAR, LiveBook
from lob_jax.generation.device.spelled import number_code, price_code
from lob_jax.tokens.bins import MOST_DISTANCE

_TRADED, _HIDDEN = int(MEMORY_OF_KIND[Kind.EXECUTE, 0]), int(MEMORY_OF_KIND[Kind.EXECUTE_HIDDEN, 0])


class Remembered(NamedTuple):
    """The prices of the last events of each side, bid and ask; vmap adds an axis of paths.

    Attributes:
      ticks_2R: int32 [2, REMEMBERED], whole ticks from the origin of the book, FAR where there was no event.
      quanta_2R: int32 [2, REMEMBERED], price quanta beyond these ticks; only hidden executions have any.
    """

    ticks_2R: jax.Array
    quanta_2R: jax.Array


def from_prices(price_2R: np.ndarray, *, origin: int, tick: int) -> Remembered:
    """Return what a path remembers at its start.

    Args:
      price_2R: int64 [2, REMEMBERED], see `remembered_prices`.
      origin: the origin of the path's book, in price quanta.
      tick: price quanta per tick.
    """
    ticks, quanta = np.divmod(price_2R - origin, tick)
    near = (price_2R != NO_PRICE) & (np.abs(ticks) < FAR)
    return Remembered(
        jnp.asarray(np.where(near, ticks, FAR), jnp.int32),
        jnp.asarray(np.where(near, quanta, 0), jnp.int32),
    )


def with_event(
    remembered: Remembered, book: LiveBook, *, kind: jax.Array, side: jax.Array, deeper: jax.Array, tick: int
) -> Remembered:
    """Return what is remembered after an event.

    Args:
      remembered: what was remembered before it.
      book: the book before it.
      kind: its `Kind`.
      side: 0 bid, 1 ask.
      deeper: its distance from the reference price of its side, in ticks, or in quanta of hidden executions.
      tick: price quanta per tick.
    """
    up = jnp.where(side == 0, -deeper, deeper)
    is_hidden = kind == Kind.EXECUTE_HIDDEN
    ticks = live_book.reference(book, side) + jnp.where(is_hidden, up // tick, up)
    first, end = jnp.asarray(MEMORY_OF_KIND)[kind]
    column_R = jnp.arange(REMEMBERED)
    mine_2R = (jnp.arange(2) == side)[:, None] & (column_R >= first) & (column_R < end)

    def put(value: jax.Array, before_2R: jax.Array) -> jax.Array:
        later_2R = jnp.roll(before_2R, 1, axis=-1)
        return jnp.where(mine_2R, jnp.where(column_R == first, value, later_2R), before_2R)

    quanta = jnp.where(is_hidden, up % tick, 0)
    return Remembered(put(ticks, remembered.ticks_2R), put(quanta, remembered.quanta_2R))


def codes(book: LiveBook, remembered: Remembered, *, tick: int) -> jax.Array:
    """Return the anchors of a path, int16 [ANCHORS]."""
    return jnp.concatenate([_side_codes(book, remembered, side, tick) for side in range(2)]).astype(jnp.int16)


def _side_codes(book: LiveBook, remembered: Remembered, side: int, tick: int) -> jax.Array:
    sign = 1 - 2 * side
    origin = live_book.reference(book, jnp.int32(side))
    short = (0, max(LEVELS - book.key_2P.shape[1], 0))
    key_L = jnp.pad(book.key_2P[side, :LEVELS], short, constant_values=FAR)
    row_L = jnp.pad(book.row_2P[side, :LEVELS], short)
    there_L, far_L = key_L != FAR, key_L + sign * origin
    ahead_L = slice(1, 1 + AHEADS)
    ticks_R = remembered.ticks_2R[side]
    known_R, behind_R = ticks_R != FAR, sign * (origin - ticks_R)
    # Products of distances in ticks that are too far in quanta would not fit into an int32.
    close_R = known_R & (jnp.abs(behind_R) <= MOST_DISTANCE // tick + 1)
    quanta_R = jnp.where(close_R, behind_R, 0) * tick
    best_2 = book.key_2P[:, 0]
    has_both = (best_2 != FAR).all()
    spread = jnp.where(has_both, best_2.sum(), 0)
    small = has_both & (jnp.abs(spread) // 2 <= MOST_DISTANCE // tick + 1)
    middle = jnp.where(small, spread // 2 * tick + spread % 2 * tick // 2, 0)
    parts = [
        (far_L, there_L),
        (far_L[ahead_L] - 1, there_L[ahead_L]),
        (behind_R[:_HIDDEN], known_R[:_HIDDEN]),
        ((quanta_R - sign * remembered.quanta_2R[side])[_HIDDEN:], close_R[_HIDDEN:]),
        (quanta_R[_TRADED, None], close_R[_TRADED, None]),
        (-middle[None], small[None]),
    ]
    far_A, there_A = (jnp.concatenate(leaves) for leaves in zip(*parts, strict=True))
    price_A = jnp.where(there_A & (jnp.abs(far_A) <= MOST_DISTANCE), price_code(far_A) + 1, 0)
    orders_L, lots_L = (book.queue_2PQ[side, row_L] > 0).sum(-1), book.total_2P[side, row_L]
    rests_A = jnp.concatenate([jnp.where(there_L, number_code(of_L), 0) for of_L in (orders_L, lots_L)])
    return jnp.concatenate([price_A, rests_A])
