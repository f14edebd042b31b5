"""Parameters, operations and bytes of a model, counted from its shapes without making it."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp

from lob_jax.models.attention.kind import KINDS
from lob_jax.models.axes import axes_of
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import initial_parameters

LAYER = re.compile(r"blocks_\d+")


@dataclasses.dataclass(frozen=True)
class ParameterRow:
    """One parameter of a model, those of all its layers together.

    Attributes:
      name: its path, "blocks" for every layer.
      shape: of one layer's.
      axes: what they stand for, None for one that is never split.
      layers: how many of them there are.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    layers: int

    @property
    def parameters(self) -> int:
        """Return how many numbers they are together."""
        return self.layers * math.prod(self.shape)


def parameter_count(config: ModelConfig) -> int:
    """Return the exact number of parameters; a tied token table counts once."""
    return sum(row.parameters for row in parameter_rows(config))


def non_embedding_count(config: ModelConfig) -> int:
    """Return the parameters outside the tables that are only looked up: tokens, positions, clock, regime, instrument.

    The output projection of an untied head is counted; a tied one is the token table and is not.
    """
    return sum(row.parameters for row in parameter_rows(config) if not row.name.endswith("/table"))


def parameter_rows(config: ModelConfig) -> list[ParameterRow]:
    """Return the parameters by name, in the order of the model's modules; layers that are alike in one row."""
    shapes = jax.eval_shape(lambda key: initial_parameters(config, key), jax.random.key(0))
    rows: dict[str, ParameterRow] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        keys, axes, shape = [entry.key for entry in path], axes_of(path) or (None,) * leaf.ndim, leaf.shape
        layers = 1
        if keys[0] == "blocks":
            layers, shape, axes = shape[0], shape[1:], axes[1:]
        name = LAYER.sub("blocks", "/".join(keys))
        before = rows[name].layers if name in rows else 0
        rows[name] = ParameterRow(name, shape, axes, before + layers)
    order = {"embeddings": 0, "blocks": 1, "norm": 2, "head": 3}
    return sorted(rows.values(), key=lambda row: order.get(row.name.split("/")[0], 4))


def keys_a_query(config: ModelConfig, context: int) -> float:
    """Return how many keys each query is multiplied with, in attention of a whole context, as `flops_per_token` counts.

    It is all T where the products are dense, and masked; see each kind's own `keys_a_query`.
    """
    count = KINDS[config.attention.kind].keys_a_query
    return float(context) if count is None else count(config, context)


def flops_per_token(config: ModelConfig, context: int) -> int:
    """Return the floating-point operations of one training step, forward and backward, per token.

    6 N + 12 L D S (Kaplan et al., 2020; Chowdhery et al., 2022, appendix B), where
      N = parameters that a token is multiplied by: those outside the lookup tables, the output projection included,
          tied or not, and once more for each further token ahead. Each costs a multiplication and an addition forward,
          and twice that backward.
      12 L D S = attention's two products, scores and mixture, over S keys, see `keys_a_query`; with cross-asset
          attention, over T more. Of full attention S is the whole context T. A causal kernel need do only half of
          this; the full count is the custom, so utilisations compare with published ones.
    A forward pass alone is a third of it.
    """
    projections = config.heads.next_tokens - (0 if config.tie_embeddings else 1)
    multiplied = non_embedding_count(config) + projections * config.vocab_size * config.d_model
    keys = keys_a_query(config, context) + (context if config.attention.cross_asset else 0)
    return round(6 * multiplied + 12 * config.n_layers * config.d_model * keys)


def cache_bytes_per_token(config: ModelConfig) -> int:
    """Return the bytes that a cached token adds: a key and a value, 2 L D, in the model's dtype."""
    return 2 * config.n_layers * config.d_model * jnp.dtype(config.dtype).itemsize


def bytes_per_generated_token(config: ModelConfig, context: int) -> int:
    """Return the bytes that generating one token with a full cache reads: weights once, and the cache.

    Weights are those that a token is multiplied by, in the model's dtype: a batch of paths shares one reading of them,
    while each path reads a cache of its own.
    """
    projection = config.vocab_size * config.d_model if config.tie_embeddings else 0
    weights = (non_embedding_count(config) + projection) * jnp.dtype(config.dtype).itemsize
    return weights + context * cache_bytes_per_token(config)
