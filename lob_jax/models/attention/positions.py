"""Where tokens stand, and which of them a query may see."""

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Positions:
    """Where tokens stand: by this attention decides how they see each other. None for what the model does not need.

    Attributes:
      position_BT: int32, place in the sequence.
      event_BT: int32, number of the event that a token belongs to; it never falls.
      clock_BT2: int32, the time known at a token: seconds and nanoseconds (0..999,999,999); it need not be monotone.
    """

    position_BT: jax.Array
    event_BT: jax.Array | None = None
    clock_BT2: jax.Array | None = None


def visible_slots(queries: int, slots: int, filled: int | jax.Array, *, mask_BTS: jax.Array | None = None) -> jax.Array:
    """Return which slots each query may see, bool [B or 1, T, S]: its own, and those before that the mask allows.

    Query t is token filled + t, and stored in the slot of that number modulo S; a slot holds the newest token that is
    stored there. The mask can only narrow what is causal. Its own slot a query always sees: a softmax over nothing
    would spread over everything, the future included.
    """
    own_1T1 = (filled + jnp.arange(queries))[None, :, None]
    newest = filled + queries - 1
    held_11S = (newest - (newest - jnp.arange(slots)) % slots)[None, None, :]
    if mask_BTS is None:
        return (held_11S <= own_1T1) & (held_11S >= 0)
    return (held_11S == own_1T1) | ((held_11S < own_1T1) & (held_11S >= 0) & mask_BTS)
