"""Positions of tokens in sequence, events and time, and the cache slots that a query may see."""

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Positions:
    """Positions of tokens, from which attention derives masks and rotations; None if the model does not read them.

    Attributes:
      position_BT: int32, position in the sequence.
      event_BT: int32, number of the event that a token belongs to, non-decreasing.
      clock_BT2: int32, the time known at a token: seconds and nanoseconds (0..999,999,999); not always monotone.
    """

    position_BT: jax.Array
    event_BT: jax.Array | None = None
    clock_BT2: jax.Array | None = None


def visible_slots(queries: int, slots: int, filled: int | jax.Array, *, mask_BTS: jax.Array | None = None) -> jax.Array:
    """Return which slots each query may see, bool [B or 1, T, S]: its own, and earlier ones that the mask allows.

    Query t is token filled + t, and is stored in the slot of that number modulo S; a slot holds the newest token stored
    there. The mask can only narrow the causal mask. A query always sees its own slot: with every slot masked, softmax
    would give equal weights to all of them, the future included.
    """
    own_1T1 = (filled + jnp.arange(queries))[None, :, None]
    newest = filled + queries - 1
    held_11S = (newest - (newest - jnp.arange(slots)) % slots)[None, None, :]
    if mask_BTS is None:
        return (held_11S <= own_1T1) & (held_11S >= 0)
    return (held_11S == own_1T1) | ((held_11S < own_1T1) & (held_11S >= 0) & mask_BTS)
