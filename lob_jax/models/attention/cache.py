"""The cache of keys and values that lets tokens be read one after another, and forgets the oldest when it is full."""

import flax.struct
import jax
import jax.numpy as jnp

from lob_jax.models.attention.places import Places


@flax.struct.dataclass
class KVCache:
    """Keys and values of the last S tokens seen, in S slots: token i lies in slot i modulo S.

    Every row of a batch advances in lockstep. A cache is a value: a call returns a new one.

    Attributes:
      key_LBNSH: keys, rotary positions already applied, in the model's dtype.
      value_LBNSH: values.
      places: of the tokens in the slots, [B, S]; of unfilled slots they mean nothing.
      length: int32 scalar, tokens seen. Tokens written at once lie side by side: only one at a time may go on behind
        the last slot, at the first.
    """

    key_LBNSH: jax.Array
    value_LBNSH: jax.Array
    places: Places
    length: jax.Array

    @property
    def next_slot(self) -> jax.Array:
        """Return the slot of the next token."""
        return self.length % self.key_LBNSH.shape[3]

    def write(self, key_BTNH: jax.Array, value_BTNH: jax.Array, *, layer: int | jax.Array) -> "KVCache":
        """Return the cache with a layer's new keys and values behind the last ones; length is left as it is."""
        at = (layer, 0, 0, self.next_slot, 0)
        # One update of the whole array, rather than of a layer's slice, is done in place inside a jitted loop.
        return self.replace(
            key_LBNSH=jax.lax.dynamic_update_slice(self.key_LBNSH, jnp.swapaxes(key_BTNH, 1, 2)[None], at),
            value_LBNSH=jax.lax.dynamic_update_slice(self.value_LBNSH, jnp.swapaxes(value_BTNH, 1, 2)[None], at),
        )

    def place(self, new: Places) -> "KVCache":
        """Return the cache with the places of new tokens behind the last ones; length is left as it is."""

        def put(slots: jax.Array, tokens: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(slots, tokens.astype(slots.dtype), self.next_slot, 1)

        return self.replace(places=jax.tree.map(put, self.places, new))
