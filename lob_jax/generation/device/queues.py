"""The queue of orders at a level of a live book, and what an event does to it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.events.schema import Kind
from lob_jax.tokens.bins import MOST_LOTS

# Owners of orders: nobody known, or the user before this run; n + 1 stands for order n of the user's in this run.
NOBODY, EARLIER = np.int32(0), np.int32(-1)


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


def changed(
    queue: Queue, kind: jax.Array, size: jax.Array, pooled: jax.Array, owner: jax.Array
) -> tuple[Queue, jax.Array]:
    """Return a queue after an event, and whether the event is possible; the rules are those of `lob_jax.book.kernel`.

    Of the orders that are not the user's, a CANCEL reduces the newest that is larger than its size; a DELETE removes
    the newest of exactly its size, else a part of the newest anonymous one that is larger.
    """
    lots_Q, others_Q, place_Q = queue.lots_Q, queue.others_Q, jnp.arange(queue.lots_Q.shape[0])
    is_add, exact_Q, larger_Q = kind == Kind.ADD, others_Q == size, others_Q > size
    withdrawn_Q = jnp.where(exact_Q.any(), exact_Q, larger_Q & queue.anonymous_Q)
    fits_Q = jnp.where(kind == Kind.CANCEL, larger_Q, withdrawn_Q)
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
