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

SPARE = 64  # slots beyond the window that a program is exported for


@flax.struct.dataclass
class HeldCache:
    """Keys and values of earlier tokens, token i in slot i modulo S, and those of the tokens that a call reads.

    With more slots than the window, a caller can take back the last tokens that it has read: they have replaced none
    that is still seen.

    Attributes:
      keys: held keys of each layer, [B, N, S, H], with rotary positions applied. They and the values may be those of a
        single row, [1, N, S, H], if all rows continue the same tokens.
      values: held values of each layer, [B, N, S, H].
      positions: positions of the tokens in the slots, [B, S]; during a call also of the new ones, [B, T + S].
      length: int32 [B], number of tokens that each row has seen. New ones replace the oldest where the slots are full.
      window: number of tokens that one sees, itself included.
      new_keys: keys of the new tokens, of each layer that has been computed, [B, N, T, H].
      new_values: values of the new tokens, likewise.
    """

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    positions: Positions
    length: jax.Array
    window: int = flax.struct.field(pytree_node=False)
    new_keys: tuple[jax.Array, ...] = ()
    new_values: tuple[jax.Array, ...] = ()

    @property
    def batch(self) -> int:
        """Return the number of rows, B."""
        return self.length.shape[0]

    @property
    def slots(self) -> int:
        """Return the number of slots, S."""
        return self.keys[0].shape[2]

    def with_positions(self, new: Positions) -> "HeldCache":
        """Return the cache with the positions of new tokens before those of the slots."""
        together = jax.tree.map(lambda more, held: jnp.concatenate([more, held], axis=1), new, self.positions)
        return dataclasses.replace(self, positions=together)

    def settled(self) -> "HeldCache":
        """Return the cache as it is: the caller writes the new keys and values."""
        return self

    def visible(self, queries: int, mask_BTS: jax.Array | None) -> jax.Array:
        """Return which new tokens and slots each new token may see, bool [B, T, T + S]: the window."""
        assert mask_BTS is None  # side branches are read with the other cache
        slot_S, token_T = jnp.arange(self.slots), jnp.arange(queries)
        length_B1 = self.length[:, None]
        # How many tokens the one in a slot is before the first new one: 1 for the newest.
        before_BS = jax.lax.rem(length_B1 - 1 - slot_S + self.slots, self.slots) + 1
        near_BTS = before_BS[:, None, :] + token_T[None, :, None] < self.window
        held_BTS = (before_BS <= length_B1)[:, None, :] & near_BTS
        new_TT = token_T[None, :] <= token_T[:, None]
        return jnp.concatenate([jnp.broadcast_to(new_TT, (self.batch, queries, queries)), held_BTS], axis=-1)

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
        scale, full, T = query_BTNH.shape[-1] ** -0.5, full_precision(query_BTNH.dtype.name), query_BTNH.shape[1]
        scaled_BNTH = scale * query_BNTH
        equation = "BNTH,BNSH->BNTS"
        score_BNTS = jnp.concatenate(
            [
                jnp.einsum(equation, scaled_BNTH, keys, preferred_element_type=full)
                for keys in (key_BNTH, self.keys[layer])
            ],
            axis=-1,
        )
        weight_BNTS = named.softmax(jnp.where(mask_BNTS, score_BNTS, MASKED)).astype(value_BNTH.dtype)
        mixed_BNTH = jnp.einsum("BNTS,BNSH->BNTH", weight_BNTS[..., :T], value_BNTH)
        mixed_BNTH += jnp.einsum("BNTS,BNSH->BNTH", weight_BNTS[..., T:], self.values[layer])
        kept = dataclasses.replace(self, new_keys=(*self.new_keys, key_BNTH), new_values=(*self.new_values, value_BNTH))
        return jnp.swapaxes(mixed_BNTH, 1, 2), kept


Cache = KVCache | HeldCache
