"""The queue of orders at a level of a live book, and what an event does to it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.queue import BACKS, FRONTS, RECENT_OF_KIND, RECENT_SIZES
from lob_jax.events.schema import Kind
from lob_jax.generation.device.spelled import number_code
from lob_jax.tokens.bins import MOST_LOTS

# Owners of orders: nobody known, or the user before this run; n + 1 stands for order n of the user's in this run.
NOBODY, EARLIER = np.int32(0), np.int32(-1)
NO_RANK = np.int32(-1)


class Queue(NamedTuple):
    """The orders of a level, from the front; those of an absent level have 0 lots.

    Attributes:
      lots_Q: int32 [Q].
      anonymous_Q: bool [Q].
      owner_Q: int32 [Q], NOBODY behind the last.
    """

    lots_Q: jax.Array
    anonymous_Q: jax.Array
    owner_Q: jax.Array

    @property
    def others_Q(self) -> jax.Array:
        """Return the lots of the orders that are not the user's, int32 [Q]; 0 in the place of the user's."""
        return jnp.where(self.owner_Q == NOBODY, self.lots_Q, 0)


def ranks(queue: Queue, kind: jax.Array, size: jax.Array) -> jax.Array:
    """Return the rank of each order that a CANCEL or DELETE may mean, int32 [Q], NO_RANK for the others.

    The ranks are those of `lob_jax.tokens.ranks`: from the back, for a DELETE the orders of its size first; of the
    anonymous orders only the first has one, and the user's have none.
    """
    others_Q, anonymous_Q = queue.others_Q, queue.anonymous_Q
    exact_Q = (kind == Kind.DELETE) & (others_Q == size) & (size > 0)
    larger_Q = (others_Q > size) & ((kind == Kind.CANCEL) | ((kind == Kind.DELETE) & anonymous_Q)) & (size > 0)

    def preferred(chosen_Q: jax.Array) -> jax.Array:
        """Return how many of the chosen orders are preferred to each order."""
        first_Q, rest_Q = chosen_Q & exact_Q, chosen_Q & ~exact_Q
        return jnp.where(exact_Q, _behind(first_Q), first_Q.sum() + _behind(rest_Q))

    fits_Q = exact_Q | larger_Q
    place_Q = preferred(fits_Q)
    first_anonymous = jnp.min(jnp.where(fits_Q & anonymous_Q, place_Q, len(place_Q)))
    fits_Q &= ~anonymous_Q | (place_Q == first_anonymous)
    return jnp.where(fits_Q, preferred(fits_Q), NO_RANK)


def with_size(recent_2R: jax.Array, *, kind: jax.Array, side: jax.Array, size: jax.Array) -> jax.Array:
    """Return the last sizes after a complete event, int32 [2, RECENT_SIZES], see `recent_sizes`; side is 0 or 1."""
    mine_2R = (jnp.arange(2) == side)[:, None] & (jnp.arange(RECENT_SIZES) == jnp.asarray(RECENT_OF_KIND)[kind])
    is_last_R = jnp.arange(RECENT_SIZES) == RECENT_SIZES - 1
    return jnp.where((mine_2R | is_last_R) & (kind != Kind.CONTROL), size, recent_2R)


def codes(queue: Queue, recent_R: jax.Array) -> jax.Array:
    """Return what a model reads of a queue and of the last sizes, int16 [QUEUE_NUMBERS], see `lob_jax.book.queue`."""
    lots_Q, count = queue.lots_Q, jnp.sum(queue.lots_Q > 0)
    from_back = count - 1 - jnp.arange(BACKS)
    backs = jnp.where(from_back >= 0, lots_Q[jnp.maximum(from_back, 0)], 0)
    divisible = jnp.max(jnp.where(queue.anonymous_Q, lots_Q, 0))
    fronts = jnp.pad(lots_Q[:FRONTS], (0, max(FRONTS - len(lots_Q), 0)))
    numbers = jnp.concatenate([jnp.stack([count, lots_Q.sum()]), backs, fronts, divisible[None], recent_R])
    return number_code(numbers).astype(jnp.int16)


def _behind(chosen_Q: jax.Array) -> jax.Array:
    """Return how many of the chosen orders are behind each order, int32 [Q]."""
    return chosen_Q.sum(dtype=jnp.int32) - jnp.cumsum(chosen_Q, dtype=jnp.int32)


def changed(
    queue: Queue, kind: jax.Array, size: jax.Array, pooled: jax.Array, owner: jax.Array, rank: jax.Array | None = None
) -> tuple[Queue, jax.Array]:
    """Return a queue after an event, and whether the event is possible; the rules are those of `lob_jax.book.kernel`.

    Of the orders that are not the user's, a CANCEL reduces the newest that is larger than its size; a DELETE removes
    the newest of exactly its size, else a part of the newest anonymous one that is larger. With a rank, they take the
    order that has it.
    """
    lots_Q, others_Q, place_Q = queue.lots_Q, queue.others_Q, jnp.arange(queue.lots_Q.shape[0])
    is_add, exact_Q, larger_Q = kind == Kind.ADD, others_Q == size, others_Q > size
    withdrawn_Q = jnp.where(exact_Q.any(), exact_Q, larger_Q & queue.anonymous_Q)
    fits_Q = jnp.where(kind == Kind.CANCEL, larger_Q, withdrawn_Q)
    if rank is not None:
        fits_Q = ranks(queue, kind, size) == rank
    newest = jnp.max(jnp.where(fits_Q, place_Q, -1))
    count = jnp.sum(lots_Q > 0)
    last = jnp.maximum(count - 1, 0)
    joins = pooled & (owner == NOBODY) & (count > 0) & (queue.owner_Q[last] == NOBODY)
    back = jnp.where(joins, last, count)
    which = jnp.where(is_add, back, jnp.where(kind == Kind.EXECUTE, 0, newest))
    left_Q = jnp.where(place_Q == which, lots_Q + jnp.where(is_add, size, -size), lots_Q)
    gone_Q = ~is_add & (left_Q[jnp.maximum(which, 0)] == 0) & (place_Q >= which)
    owner_Q = jnp.where((place_Q == which) & is_add, owner, queue.owner_Q)
    stays = Queue(left_Q, queue.anonymous_Q, owner_Q)
    after = jax.tree.map(
        lambda leaf_Q: jnp.where(gone_Q, jnp.append(leaf_Q[1:], jnp.zeros_like(leaf_Q[:1])), leaf_Q), stays
    )
    # MOST_LOTS - size, not the sum plus size, which could overflow an int32.
    room = (which < lots_Q.shape[0]) & (lots_Q.sum() <= MOST_LOTS - size)
    fine = jnp.where(is_add, room, (which >= 0) & (lots_Q[jnp.maximum(which, 0)] >= size)) & (size > 0)
    return after, fine
