"""The registry of kinds of attention: each module of `kinds/` defines one as an `AttentionKind`.

A kind's Flax module mixes the values of a sequence, causally:

  __call__(query_BTNH, key_BTNH, value_BTNH, positions) -> mixed_BTNH
  weights(query_BTNH, key_BTNH, value_BTNH, positions) -> weight_BNTS, float32: the weights of each token's mixture, for
      figures; every kind is linear in the values, so mixed = weights x values up to rounding.

This module imports neither JAX nor any kind, so that names in a configuration are checked quickly. Nor do the built-in
modules of `kinds/`: their Flax modules lie in `mixers/`, see `later`, so that a configuration can be checked, and an
exported model run, where JAX does not exist.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lob_jax.errors import InputError
from lob_jax.registry import Registry

if TYPE_CHECKING:
    import flax.linen as nn
    import jax

    from lob_jax.models.attention.positions import Positions
    from lob_jax.models.config import ModelConfig

    Pattern = Callable[[ModelConfig, Positions, Positions], jax.Array | None]

MIXERS = "lob_jax.models.attention.mixers"


def later(name: str) -> Callable[..., Any]:
    """Return a function of `mixers/`, by module and name; the module is imported when the function is first called."""
    module, _, function = name.partition(".")

    def call(*arguments: Any) -> Any:
        return getattr(importlib.import_module(f"{MIXERS}.{module}"), function)(*arguments)

    return call


@dataclasses.dataclass(frozen=True)
class AttentionKind:
    """The definition of a kind of attention.

    Attributes:
      module: creates its Flax module from the `ModelConfig`.
      sees: short description of the tokens that a query attends to, for the table in docs/models.md.
      settings: the keys of `model.attention` that it reads; they are validated and are part of a run's identity.
      pattern: for a kind that is full attention under a mask, that mask: (config, queries, keys) ->
        bool [B or 1, N or 1, T, S], causality not included; it may return None for all keys. Only such kinds can attend
        over a cache and over side branches, so only their models can generate. None for other kinds.
      keys_a_query: number of keys that a query is multiplied with: (config, context) -> number; None for dense
        products, where each query is multiplied with every key of the context.
      both_ways: whether the kind supports models that are not causal.
      roles: number of equal groups of consecutive heads that differ in what they see, by their place among the heads;
        heads can be removed only from each group equally. 1 if all heads see the same.
    """

    module: Callable[[ModelConfig], nn.Module]
    sees: str
    settings: tuple[str, ...] = ()
    pattern: Pattern | None = None
    keys_a_query: Callable[[ModelConfig, int], float] | None = None
    both_ways: bool = False
    roles: Callable[[ModelConfig], int] = lambda config: 1


KINDS = Registry(
    "kind of attention",
    files="models/attention/kinds/*.py",
    attribute="KIND",
    of=AttentionKind,
    where="config.model.attention.kind",
    first=("full", "multi_scale", "block_sparse", "performer", "linformer"),
)


def is_mask(kind: str) -> bool:
    """Return whether a kind is full attention under a mask, which a cache and side branches require."""
    return KINDS[kind].pattern is not None


def pattern(config: ModelConfig, queries: Positions, keys: Positions) -> jax.Array | None:
    """Return the keys that each query may see, bool [B or 1, N or 1, T, S], causality not included; None for all.

    Raises:
      InputError: the kind is not a mask.
    """
    mask = KINDS[config.attention.kind].pattern
    if mask is None:
        raise InputError(
            f"{config.attention.kind} attention has neither a cache nor a mask",
            where="model.attention.kind",
            expected=" | ".join(kind for kind in KINDS if is_mask(kind)),
            was=config.attention.kind,
            remedy="use it only for complete sequences, or train a model with another kind",
        )
    return mask(config, queries, keys)
