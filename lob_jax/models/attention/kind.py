"""The kinds of attention: `AttentionKind` says what one is, and each module of `kinds/` defines one.

A kind's module is a Flax module that mixes values within a sequence, causally:

  __call__(query_BTNH, key_BTNH, value_BTNH, positions) -> mixed_BTNH
  weights(query_BTNH, key_BTNH, value_BTNH, positions) -> weight_BNTS, float32: the weights of each token's mixture, for
      figures; every kind is linear in the values, so mixed = weights x values up to rounding.

Importing this module imports neither JAX nor any kind, so that a configuration's names are checked quickly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from lob_jax.errors import InputError
from lob_jax.registry import Registry

if TYPE_CHECKING:
    import flax.linen as nn
    import jax

    from lob_jax.models.attention.positions import Positions
    from lob_jax.models.config import ModelConfig

    Pattern = Callable[[ModelConfig, Positions, Positions], jax.Array | None]


@dataclasses.dataclass(frozen=True)
class AttentionKind:
    """What the rest of lob_jax asks of a kind of attention.

    Attributes:
      module: makes its Flax module from the `ModelConfig`.
      sees: which tokens a query attends to, in a few words, for the table in docs/models.md.
      settings: the keys of `model.attention` that it reads; they are checked, and identify a run.
      pattern: of a kind that only narrows which keys a query sees, the mask that tells: (config, queries, keys) ->
        bool [B or 1, N or 1, T, S], causality apart; None for all keys. Such a kind attends over a cache and over side
        branches, so its models generate. A kind without a pattern can do neither.
      keys_a_query: how many keys a query is multiplied with: (config, context) -> number. None where the products are
        dense: each query times every key of the context.
      both_ways: whether it also serves models that are not causal.
    """

    module: Callable[[ModelConfig], nn.Module]
    sees: str
    settings: tuple[str, ...] = ()
    pattern: Pattern | None = None
    keys_a_query: Callable[[ModelConfig, int], float] | None = None
    both_ways: bool = False


KINDS = Registry(
    "kind of attention",
    files="models/attention/kinds/*.py",
    attribute="KIND",
    of=AttentionKind,
    where="config.model.attention.kind",
    first=("full", "multi_scale", "block_sparse", "performer", "linformer"),
)


def is_mask(kind: str) -> bool:
    """Return whether a kind is a mask over the keys, which a cache and side branches need."""
    return KINDS[kind].pattern is not None


def pattern(config: ModelConfig, queries: Positions, keys: Positions) -> jax.Array | None:
    """Return which keys a kind lets each query see, bool [B or 1, N or 1, T, S], causality apart; None for all.

    Raises:
      InputError: the kind is no such mask.
    """
    mask = KINDS[config.attention.kind].pattern
    if mask is None:
        raise InputError(
            f"{config.attention.kind} attention has neither a cache nor a mask",
            where="model.attention.kind",
            expected=" | ".join(kind for kind in KINDS if is_mask(kind)),
            was=config.attention.kind,
            remedy="read whole sequences with it, or train a model of another kind",
        )
    return mask(config, queries, keys)
