"""The kinds of attention by their names in a configuration, behind one interface.

A kind is a Flax module that is made with the `ModelConfig` and mixes values within a sequence, causally:

  __call__(query_BTNH, key_BTNH, value_BTNH, places) -> mixed_BTNH
  weights(query_BTNH, key_BTNH, value_BTNH, places) -> weight_BNTS, float32: what each token's mixture is made of, for
      figures; every kind is linear in the values, so mixed = weights x values up to rounding.

A kind that only narrows which keys a query sees is also told by a mask, see `pattern`: it can then attend over a cache
and over side branches. A kind that has none can do neither.
"""

import flax.linen as nn
import jax

from lob_jax.errors import InputError
from lob_jax.models.attention.block_sparse import BlockSparseAttention, block_pattern
from lob_jax.models.attention.full import FullAttention
from lob_jax.models.attention.linformer import LinformerAttention
from lob_jax.models.attention.multi_scale import MultiScaleAttention, within_horizons
from lob_jax.models.attention.performer import PerformerAttention
from lob_jax.models.attention.places import Places
from lob_jax.models.config import ModelConfig

KINDS: dict[str, type[nn.Module]] = {
    "full": FullAttention,
    "multi_scale": MultiScaleAttention,
    "block_sparse": BlockSparseAttention,
    "performer": PerformerAttention,
    "linformer": LinformerAttention,
}
MASKS = ("full", "multi_scale", "block_sparse")  # kinds that are a mask, see `pattern`


def pattern(config: ModelConfig, queries: Places, keys: Places) -> jax.Array | None:
    """Return which keys a kind lets each query see, bool [B or 1, N or 1, T, S], causality apart; None for all.

    Raises:
      InputError: the kind is no such mask.
    """
    if config.attention.kind == "full":
        return None
    if config.attention.kind == "multi_scale":
        return within_horizons(config, queries, keys)
    if config.attention.kind == "block_sparse":
        return block_pattern(config.attention, queries, keys)
    raise InputError(
        f"{config.attention.kind} attention has neither a cache nor a mask",
        where="model.attention.kind",
        expected=" | ".join(MASKS),
        was=config.attention.kind,
        remedy="read whole sequences with it, or train a model of another kind",
    )
