"""The cache of keys and values that lets tokens be read one after another, and forgets the oldest when it is full."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from lob_jax.models.attention.dense import heads_first
from lob_jax.models.attention.positions import Positions


@flax.struct.dataclass
class KVCache:
    """Keys and values of the last S tokens seen, in S slots: token i lies in slot i modulo S.

    Every row of a batch advances in lockstep. A cache is a value: a call returns a new one. Each layer has arrays of
    its own, which a jitted loop updates in place and a product reads as they lie, the heads of all sequences in one
    axis R = B * N: with one array for all layers, each step copied every layer out of it, half of a decoding step of 64
    paths on a CPU; with axes B and N apart, XLA copied the keys of a single path three times.

    Attributes:
      keys: of each layer, [R, S, H], rotary positions already applied, in the model's dtype; inside a scan over layers
        one array [L, R, S, H], see `stacked`.
      values: likewise.
      positions: of the tokens in the slots, [B, S]; of unfilled slots they mean nothing.
      length: int32 scalar, tokens seen. Tokens written at once lie side by side: only one at a time may go on behind
        the last slot, at the first.
    """

    keys: tuple[jax.Array, ...] | jax.Array
    values: tuple[jax.Array, ...] | jax.Array
    positions: Positions
    length: jax.Array

    @property
    def batch(self) -> int:
        """Return how many rows there are."""
        return self.positions.position_BT.shape[0]

    @property
    def slots(self) -> int:
        """Return how many slots there are."""
        return self.positions.position_BT.shape[1]

    @property
    def next_slot(self) -> jax.Array:
        """Return the slot of the next token."""
        return self.length % self.slots

    def of_layer(self, layer: int | jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return a layer's keys and values."""
        return self.keys[layer], self.values[layer]

    def write(self, key_BTNH: jax.Array, value_BTNH: jax.Array, *, layer: int | jax.Array) -> "KVCache":
        """Return the cache with a layer's new keys and values behind the last ones; length is left as it is."""

        def put(slots: tuple[jax.Array, ...] | jax.Array, new_BTNH: jax.Array) -> tuple[jax.Array, ...] | jax.Array:
            new_RTH = heads_first(new_BTNH)
            if isinstance(slots, tuple):
                at = (0, self.next_slot, 0)
                return (*slots[:layer], jax.lax.dynamic_update_slice(slots[layer], new_RTH, at), *slots[layer + 1 :])
            return jax.lax.dynamic_update_slice(slots, new_RTH[None], (layer, 0, self.next_slot, 0))

        return dataclasses.replace(self, keys=put(self.keys, key_BTNH), values=put(self.values, value_BTNH))

    def with_positions(self, new: Positions) -> "KVCache":
        """Return the cache with the positions of new tokens behind the last ones; length is left as it is."""

        def put(slots: jax.Array, tokens: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(slots, tokens.astype(slots.dtype), self.next_slot, 1)

        return dataclasses.replace(self, positions=jax.tree.map(put, self.positions, new))

    def stacked(self) -> "KVCache":
        """Return the cache with one array for all layers, of which a scan can name one by number."""
        return dataclasses.replace(self, keys=jnp.stack(self.keys), values=jnp.stack(self.values))

    def unstacked(self) -> "KVCache":
        """Return the cache with arrays of each layer again."""
        return dataclasses.replace(self, keys=tuple(self.keys), values=tuple(self.values))
