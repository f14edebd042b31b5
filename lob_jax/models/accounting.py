"""Count the parameters, operations and bytes of a model from its shapes, without creating it."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp

from lob_jax.models.attention.kind import KINDS
from lob_jax.models.axes import axes_of
from lob_jax.models.config import ModelConfig
from lob_jax.models.expert import TABLES
from lob_jax.models.transformer import initial_parameters

LAYER = re.compile(r"blocks_\d+")


@dataclasses.dataclass(frozen=True)
class ParameterRow:
    """A parameter of a model; layers with the same parameter share a row.

    Attributes:
      name: its path, with "blocks" for every layer.
      shape: its shape in one layer.
      axes: names of its axes, see `models.axes`; None for an axis that is never sharded.
      layers: number of layers that have it.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    layers: int

    @property
    def parameters(self) -> int:
        """Return the number of scalars in all layers together."""
        return self.layers * math.prod(self.shape)


def parameter_count(config: ModelConfig) -> int:
    """Return the exact number of parameters; a tied token embedding counts once."""
    return sum(row.parameters for row in parameter_rows(config))


def non_embedding_count(config: ModelConfig) -> int:
    """Return the number of parameters outside the embedding tables: tokens, positions, clock, regime, instrument.

    The output projection is counted if it is untied; a tied one is the token embedding and is not. Nor are tables of
    counts, which no token is multiplied by.
    """
    looked_up = (row.name.endswith("/table") or row.name.startswith(f"{TABLES}/") for row in parameter_rows(config))
    return sum(row.parameters for row, table in zip(parameter_rows(config), looked_up, strict=True) if not table)


def parameter_rows(config: ModelConfig) -> list[ParameterRow]:
    """Return the parameters in the order of the model's modules, with one row for all layers."""
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
    """Return the number of keys that each query is multiplied with in a full context, as `flops_per_token` counts them.

    It is T for kinds whose products are dense and masked; other kinds define their own `keys_a_query`.
    """
    count = KINDS[config.attention.kind].keys_a_query
    return float(context) if count is None else count(config, context)


def flops_per_token(config: ModelConfig, context: int) -> int:
    """Return the floating-point operations of one training step, forward and backward, per token.

    6 P + 12 L N H S (Kaplan et al., 2020; Chowdhery et al., 2022, appendix B), where
      P = parameters that a token is multiplied by: those outside the embedding tables, and the output projection,
          tied or not, once for each predicted token. Each costs a multiplication and an addition in the forward pass,
          and twice that in the backward pass.
      12 L N H S = the two products of attention, scores and weighted sum, over S keys, see `keys_a_query`; cross-asset
          attention adds T keys. For full attention, S is the context T. A causal kernel needs only half of these
          operations; the full count is the convention, so that utilisations compare with published ones.
    A forward pass alone costs a third of it.
    """
    projections = config.heads.next_tokens - (0 if config.tie_embeddings else 1)
    multiplied = non_embedding_count(config) + projections * config.vocab_size * config.d_model
    keys = keys_a_query(config, context) + (context if config.attention.cross_asset else 0)
    return round(6 * multiplied + 12 * config.n_layers * config.n_heads * config.head_width * keys)


def cache_bytes_per_token(config: ModelConfig) -> int:
    """Return the bytes that each cached token takes: a key and a value, 2 L N H numbers in the model's dtype."""
    return 2 * config.n_layers * config.n_heads * config.head_width * jnp.dtype(config.dtype).itemsize


def bytes_per_generated_token(config: ModelConfig, context: int) -> int:
    """Return the bytes read to generate one token with a full cache: the weights, and the cache.

    Weights are those that a token is multiplied by, in the model's dtype. All paths of a batch share one read of the
    weights, while each path reads its own cache.
    """
    projection = config.vocab_size * config.d_model if config.tie_embeddings else 0
    weights = (non_embedding_count(config) + projection) * jnp.dtype(config.dtype).itemsize
    return weights + context * cache_bytes_per_token(config)
