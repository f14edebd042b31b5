"""Compute the attention weights of a model in every layer, for figures and inspection."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Conditioning
from lob_jax.models.transformer import LOBTransformer


@functools.partial(jax.jit, static_argnames="config")
def attention_weights(config: ModelConfig, params: Any, tokens_BT: jax.Array, conditioning: Conditioning) -> jax.Array:
    """Return the attention weights of all layers, weight_LBNTS, float32.

    Rows sum to one, and weights above the diagonal are zero in a causal model. A Linformer's weights contain learned
    projections and may be negative. For every kind and backend, the T x T weights of all heads are materialised: choose
    a short window.

    Args:
      config: the model's configuration.
      params: its parameters.
      tokens_BT: int token ids.
      conditioning: the other inputs at each token.
    """
    model = LOBTransformer(config)
    _, state = model.apply({"params": params}, tokens_BT, conditioning, mutable=["attention"])
    left = state["attention"]
    if config.scan_layers:
        (weight_LBNTS,) = left["blocks"]["attention"]["weights_BNTS"]
        return weight_LBNTS
    layers = [left[f"blocks_{layer}"]["attention"]["weights_BNTS"][0] for layer in range(config.n_layers)]
    return jnp.stack(layers)
