"""The past events of a path on the device, and what they say of the price that its tokens spell.

They are those of `lob_jax.book.price_memory`, which has the columns.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.price_memory import LAST_KIND, PAST_EVENTS, PastColumn
from lob_jax.events.schema import Kind
from lob_jax.generation.device import live_book
from lob_jax.generation.device.assembler import Spelling, price_so_far
from lob_jax.generation.device.live_book import FAR, LiveBook
from lob_jax.generation.device.spelled import number_code
from lob_jax.tokens.bins import MOST_DISTANCE


class Past(NamedTuple):
    """The past events of a path, the newest first; vmap adds an axis of paths.

    Attributes:
      action_P: int32 [PAST_EVENTS], see `PastColumn.ACTION`.
      ticks_P: int32 [PAST_EVENTS], whole ticks from the origin of the book.
      size_P: int32 [PAST_EVENTS], lots.
    """

    action_P: jax.Array
    ticks_P: jax.Array
    size_P: jax.Array


def from_past(past: np.ndarray, *, origin: int, tick: int) -> Past:
    """Return the past of a path at its start.

    Args:
      past: int64 [3, PAST_EVENTS], see `past_events`.
      origin: the origin of the path's book, in price quanta.
      tick: price quanta per tick.
    """
    ticks_P, beyond_P = np.divmod(past[PastColumn.PRICE] - origin, tick)
    near_P = (np.abs(ticks_P) < FAR) & (beyond_P == 0)
    leaves = (past[PastColumn.ACTION], ticks_P, past[PastColumn.SIZE])
    return Past(*(jnp.asarray(np.where(near_P, leaf_P, 0), jnp.int32) for leaf_P in leaves))


def with_event(past: Past, book: LiveBook, spelling: Spelling) -> Past:
    """Return the past after a complete event, which the book has not yet taken."""
    kind, side = spelling.kind, spelling.side
    stays = (kind > 0) & (kind <= LAST_KIND)
    event = Past(2 * kind + side, _ticks(book, side, spelling.price), spelling.size)

    def put(leaf_P: jax.Array, newest: jax.Array) -> jax.Array:
        return jnp.concatenate([jnp.where(stays, newest, 0)[None].astype(jnp.int32), leaf_P[:-1]])

    return Past(*(put(leaf_P, newest) for leaf_P, newest in zip(past, event, strict=True)))


def codes(past: Past, book: LiveBook, spelling: Spelling) -> jax.Array:
    """Return what last happened at the price so far, int16 [PRICE_MEMORIES]; zeros once the event is applied."""
    kind, side, distance = spelling.kind, spelling.side, price_so_far(spelling)
    is_spelled = (kind > 0) & (kind <= LAST_KIND) & (spelling.in_time == 0) & (jnp.abs(distance) <= MOST_DISTANCE)
    action_P, back_P = past.action_P, jnp.arange(PAST_EVENTS)
    here_P = (action_P > 0) & (action_P % 2 == side) & (past.ticks_P == _ticks(book, side, distance))

    def newest(of_P: jax.Array, leaf_P: jax.Array) -> jax.Array:
        back = jnp.min(jnp.where(of_P, back_P, PAST_EVENTS))
        return jnp.sum(jnp.where(back_P == back, leaf_P, 0))

    is_add_P, kind_P = action_P // 2 == Kind.ADD, action_P // 2
    sizes = newest(here_P & is_add_P, past.size_P), newest(here_P & ~is_add_P, past.size_P)
    numbers_N = jnp.stack([*sizes, newest(here_P, kind_P), newest(here_P, back_P + 1)])
    return jnp.where(is_spelled, number_code(numbers_N), 0).astype(jnp.int16)


def _ticks(book: LiveBook, side: jax.Array, deeper: jax.Array) -> jax.Array:
    return live_book.reference(book, side) + jnp.where(side == 0, -deeper, deeper)
