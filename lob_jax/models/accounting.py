"""Parameters and floating-point operations of a model, counted from its shapes without making it."""

import math

import jax

from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import initial_parameters


def parameter_count(config: ModelConfig) -> int:
    """Return the exact number of parameters; a tied token table counts once."""
    return sum(_sizes(config).values())


def non_embedding_count(config: ModelConfig) -> int:
    """Return the parameters outside the tables that are only looked up: tokens, positions, time of day, day of week.

    The output projection of an untied head is counted; a tied one is the token table and is not.
    """
    return sum(size for name, size in _sizes(config).items() if not name.endswith("['table']"))


def flops_per_token(config: ModelConfig, context: int) -> int:
    """Return the floating-point operations of one training step, forward and backward, per token.

    6 N + 12 L D T (Kaplan et al., 2020; Chowdhery et al., 2022, appendix B), where
      N = parameters that a token is multiplied by: those outside the lookup tables, the output projection included,
          tied or not. Each costs a multiplication and an addition forward, and twice that backward.
      12 L D T = attention's two products, scores and mixture, over the whole context T. A causal kernel need do only
          half of this; the full count is the custom, so utilisations compare with published ones.
    A forward pass alone is a third of it.
    """
    projection = config.vocab_size * config.d_model if config.tie_embeddings else 0
    multiplied = non_embedding_count(config) + projection
    return 6 * multiplied + 12 * config.n_layers * config.d_model * context


def _sizes(config: ModelConfig) -> dict[str, int]:
    shapes = jax.eval_shape(lambda key: initial_parameters(config, key), jax.random.key(0))
    leaves = jax.tree_util.tree_leaves_with_path(shapes)
    return {jax.tree_util.keystr(path): math.prod(leaf.shape) for path, leaf in leaves}
