"""The attention weights of a model, layer by layer, for figures and for a look inside."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Conditioning
from lob_jax.models.transformer import LOBTransformer


@functools.partial(jax.jit, static_argnames="config")
def attention_weights(config: ModelConfig, params: Any, tokens_BT: jax.Array, conditioning: Conditioning) -> jax.Array:
    """Return how much each token takes from each other one, weight_LBNTS, float32.

    Rows sum to one, and what lies above the diagonal is zero (but in a model that is not causal); a Linformer's are
    made of learned projections and may be negative. Whatever kind and backend the model has, the whole T x T of every
    head is held: choose a short window.

    Args:
      config, params: the model.
      tokens_BT: int token ids.
      conditioning: what is known beside each token.
    """
    model = LOBTransformer(config)
    _, state = model.apply({"params": params}, tokens_BT, conditioning, mutable=["attention"])
    left = state["attention"]
    if config.scan_layers:
        (weight_LBNTS,) = left["blocks"]["attention"]["weights_BNTS"]
        return weight_LBNTS
    layers = [left[f"blocks_{layer}"]["attention"]["weights_BNTS"][0] for layer in range(config.n_layers)]
    return jnp.stack(layers)
