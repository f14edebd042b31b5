"""A cache that the caller holds: a step reads it and returns the new keys and values instead of writing them.

A compiled loop updates its cache in place. A runtime that is called once per token would copy the entire cache at each
call to return it with one more token, so the caller writes the new token into its own arrays instead.
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from lob_jax.models import named
from lob_jax.models.attention.cache import KVCache
from lob_jax.models.attention.dense import MASKED
from lob_jax.models.attention.positions import Positions
from lob_jax.models.config import full_precision


@flax.struct.dataclass
class HeldCache:
    """Keys and values of earlier tokens, token i in slot i modulo S, and those of the tokens that a call reads.

    Attributes:
      keys: held keys of each layer, [B, N, S, H], with rotary positions applied.
      values: held values of each layer, [B, N, S, H].
      positions: positions of the tokens in the slots, [B, S]; during a call also of the new ones, [B, S + T].
      length: int32 scalar, number of tokens seen. New tokens must fit into free slots; a single one may also replace
        the oldest.
      new_keys: keys of the new tokens, of each layer that has been computed, [B, N, T, H].
      new_values: values of the new tokens, likewise.
    """

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    positions: Positions
    length: jax.Array
    new_keys: tuple[jax.Array, ...] = ()
    new_values: tuple[jax.Array, ...] = ()

    @property
    def batch(self) -> int:
        """Return the number of rows, B."""
        return self.keys[0].shape[0]

    @property
    def slots(self) -> int:
        """Return the number of slots, S."""
        return self.keys[0].shape[2]

    def with_positions(self, new: Positions) -> "HeldCache":
        """Return the cache with the positions of new tokens behind those of the slots."""
        together = jax.tree.map(lambda held, more: jnp.concatenate([held, more], axis=1), self.positions, new)
        return dataclasses.replace(self, positions=together)

    def visible(self, queries: int, mask_BTS: jax.Array | None) -> jax.Array:
        """Return which slots and new tokens each new token may see, bool [1, T, S + T].

        Where the slots are full, the oldest token makes room for the new one: it is hidden.
        """
        assert mask_BTS is None  # side branches are read with the other cache
        slot_S = jnp.arange(self.slots)
        replaced_S = (self.length >= self.slots) & (slot_S == jax.lax.rem(self.length, self.slots))
        held_1TS = jnp.broadcast_to(((slot_S < self.length) & ~replaced_S)[None, None], (1, queries, self.slots))
        token_T = jnp.arange(queries)
        return jnp.concatenate([held_1TS, (token_T[None, :] <= token_T[:, None])[None]], axis=-1)

    def attend(
        self,
        query_BTNH: jax.Array,
        key_BTNH: jax.Array,
        value_BTNH: jax.Array,
        *,
        layer: int | jax.Array,
        mask_BNTS: jax.Array,
    ) -> tuple[jax.Array, "HeldCache"]:
        """Return the mixture of the values that the mask shows, [B, T, N, H], and the cache with the new ones kept."""
        assert isinstance(layer, int)  # layers are computed one by one, not in a scan
        query_BNTH, key_BNTH, value_BNTH = (jnp.swapaxes(x, 1, 2) for x in (query_BTNH, key_BTNH, value_BTNH))
        scale, full, S = query_BTNH.shape[-1] ** -0.5, full_precision(query_BTNH.dtype.name), self.slots
        scaled_BNTH = scale * query_BNTH
        equation = "BNTH,BNSH->BNTS"
        score_BNTS = jnp.concatenate(
            [
                jnp.einsum(equation, scaled_BNTH, keys, preferred_element_type=full)
                for keys in (self.keys[layer], key_BNTH)
            ],
            axis=-1,
        )
        weight_BNTS = named.softmax(jnp.where(mask_BNTS, score_BNTS, MASKED)).astype(value_BNTH.dtype)
        mixed_BNTH = jnp.einsum("BNTS,BNSH->BNTH", weight_BNTS[..., :S], self.values[layer])
        mixed_BNTH += jnp.einsum("BNTS,BNSH->BNTH", weight_BNTS[..., S:], value_BNTH)
        kept = dataclasses.replace(self, new_keys=(*self.new_keys, key_BNTH), new_values=(*self.new_values, value_BNTH))
        return jnp.swapaxes(mixed_BNTH, 1, 2), kept


Cache = KVCache | HeldCache
