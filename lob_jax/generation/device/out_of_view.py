"""Levels behind the view of a windowed book: those that left it, and the distribution of unknown ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.generation.prompt import RevealDistribution

_REVEALS = np.uint32(2**32 - 1)  # folded into a path's key; events, which are numbered below 2^30, use other numbers


class Unseen(NamedTuple):
    """A level of which nothing was known: ticks behind the last one in view, and lots, 0 if there is none."""

    ticks: jax.Array
    lots: jax.Array


def nothing_unseen() -> Unseen:
    """Return no level."""
    return Unseen(jnp.int32(0), jnp.int32(0))


def drawn(
    reveals: RevealDistribution, key: jax.Array, event: jax.Array, own: jax.Array, *, side: jax.Array, flip: jax.Array
) -> Unseen:
    """Draw the level that one event of a path may bring into view.

    Args:
      reveals: the reveals.
      key: the key of the path.
      event: number of events that the model has begun.
      own: number of tokens of the user's orders, 0 in an event of the model: several such events may have one number.
      side: 0 bid, 1 ask.
      flip: whether the random number is replaced by one minus it.
    """
    if not reveals.ticks_2K.shape[1]:
        return nothing_unseen()
    ticks_2K, lots_2K, count_2 = (jnp.asarray(part) for part in reveals)
    for number in (_REVEALS, event, own):
        key = jax.random.fold_in(key, number)
    at = jax.random.uniform(key)
    at, count = jnp.where(flip, 1 - at, at), count_2[side]
    pair = jnp.clip((at * count.astype(jnp.float32)).astype(jnp.int32), 0, count - 1)
    lots = jnp.where(count > 0, lots_2K[side, pair], 0)
    return Unseen(ticks_2K[side, pair], lots)
