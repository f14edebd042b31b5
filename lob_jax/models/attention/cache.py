"""The cache of keys and values for reading tokens one after another; once full, it overwrites the oldest."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from lob_jax.models.attention.dense import attend_cached, heads_first
from lob_jax.models.attention.positions import Positions, visible_slots


@flax.struct.dataclass
class KVCache:
    """Keys and values of the last S tokens, in S slots: token i is in slot i modulo S.

    All rows of a batch advance in lockstep. A cache is immutable: a call returns a new one. Each layer has separate
    arrays, with the heads of all sequences in one axis R = B * N, so that a jitted loop updates them in place and
    products read them without a transposition. With one array for all layers, each step copied every layer out of it,
    which was half of a decoding step of 64 paths on a CPU; with separate axes B and N, XLA copied the keys of a single
    path three times.

    Attributes:
      keys: keys of each layer, [R, S, H], with rotary positions applied, in the model's dtype; inside a scan over
        layers one array [L, R, S, H], see `stacked`.
      values: values of each layer, in the same layout.
      positions: positions of the tokens in the slots, [B, S]; arbitrary in unfilled slots.
      length: int32 scalar, number of tokens seen. Tokens written in one call take adjacent slots, so only single tokens
        may wrap around from the last slot to the first.
      new_keys, new_values: during a call that reads one token with one array for all layers, those of the token in each
        layer that has been computed, [R, 1, H]; `settled` writes them, in one kernel of a GPU instead of one per layer.
    """

    keys: tuple[jax.Array, ...] | jax.Array
    values: tuple[jax.Array, ...] | jax.Array
    positions: Positions
    length: jax.Array
    new_keys: tuple[jax.Array, ...] = ()
    new_values: tuple[jax.Array, ...] = ()

    @property
    def batch(self) -> int:
        """Return the number of rows, B."""
        return self.positions.position_BT.shape[0]

    @property
    def slots(self) -> int:
        """Return the number of slots, S."""
        return self.positions.position_BT.shape[1]

    @property
    def next_slot(self) -> jax.Array:
        """Return the slot of the next token."""
        return self.length % self.slots

    def visible(self, queries: int, mask_BTS: jax.Array | None) -> jax.Array:
        """Return which slots the next tokens may see, see `visible_slots`."""
        return visible_slots(queries, self.slots, self.length, mask_BTS=mask_BTS)

    def attend(
        self,
        query_BTNH: jax.Array,
        key_BTNH: jax.Array,
        value_BTNH: jax.Array,
        *,
        layer: int | jax.Array,
        mask_BNTS: jax.Array,
    ) -> tuple[jax.Array, "KVCache"]:
        """Append a layer's keys and values; return the mixture of the values that the mask shows, and the cache."""
        if not isinstance(self.keys, tuple) and isinstance(layer, int) and key_BTNH.shape[1] == 1:
            new_keys = (*self.new_keys, heads_first(key_BTNH))
            cache = dataclasses.replace(self, new_keys=new_keys, new_values=(*self.new_values, heads_first(value_BTNH)))
            is_new_S1 = (jnp.arange(self.slots) == self.next_slot)[:, None]
            both = ((self.keys, cache.new_keys), (self.values, cache.new_values))
            held = (jnp.where(is_new_S1, new[layer], slots[layer]) for slots, new in both)
        else:
            cache = self.write(key_BTNH, value_BTNH, layer=layer)
            held = (cache.keys[layer], cache.values[layer])
        return attend_cached(query_BTNH, *held, mask_BNTS=mask_BNTS), cache

    def settled(self) -> "KVCache":
        """Return the cache with `new_keys` and `new_values` written; `length` is unchanged."""
        if not self.new_keys:
            return self
        assert not isinstance(self.keys, tuple) and not isinstance(self.values, tuple)
        both, at = ((self.keys, self.new_keys), (self.values, self.new_values)), (0, 0, self.next_slot, 0)
        keys, values = (jax.lax.dynamic_update_slice(slots, jnp.stack(new), at) for slots, new in both)
        return dataclasses.replace(self, keys=keys, values=values, new_keys=(), new_values=())

    def write(self, key_BTNH: jax.Array, value_BTNH: jax.Array, *, layer: int | jax.Array) -> "KVCache":
        """Return the cache with a layer's new keys and values appended; `length` is unchanged."""

        def put(slots: tuple[jax.Array, ...] | jax.Array, new_BTNH: jax.Array) -> tuple[jax.Array, ...] | jax.Array:
            new_RTH = heads_first(new_BTNH)
            if isinstance(slots, tuple):
                at = (0, self.next_slot, 0)
                return (*slots[:layer], jax.lax.dynamic_update_slice(slots[layer], new_RTH, at), *slots[layer + 1 :])
            return jax.lax.dynamic_update_slice(slots, new_RTH[None], (layer, 0, self.next_slot, 0))

        return dataclasses.replace(self, keys=put(self.keys, key_BTNH), values=put(self.values, value_BTNH))

    def with_positions(self, new: Positions) -> "KVCache":
        """Return the cache with the positions of new tokens appended; `length` is unchanged."""

        def put(slots: jax.Array, tokens: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(slots, tokens.astype(slots.dtype), self.next_slot, 1)

        return dataclasses.replace(self, positions=jax.tree.map(put, self.positions, new))

    def stacked(self) -> "KVCache":
        """Return the cache with one array for all layers, which a scan can index by a traced layer number."""
        return dataclasses.replace(self, keys=jnp.stack(self.keys), values=jnp.stack(self.values))

    def unstacked(self) -> "KVCache":
        """Return the cache with separate arrays for the layers again."""
        return dataclasses.replace(self, keys=tuple(self.keys), values=tuple(self.values))
