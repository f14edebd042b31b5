"""The optimiser: AdamW under a global clip, with a linear warm-up and a cosine."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lob_jax.training.config import TrainConfig

NOT_DECAYED = ("bias", "scale")  # biases of any layer; scales and biases of norms


def make_schedule(config: TrainConfig, total_steps: int) -> optax.Schedule:
    """Return the learning rate as a function of the updates made so far.

    Update s of the warm-up (s from 0) has peak * (s + 1) / warmup_steps, so that the first is not lost; then half
    a cosine falls from the peak to final_lr_fraction of it at the last update. A run shorter than the warm-up
    ends within it.
    """
    peak, floor = config.learning_rate, config.learning_rate * config.final_lr_fraction
    cosine_steps = max(1, total_steps - config.warmup_steps)

    def schedule(count: jax.Array) -> jax.Array:
        warmup = peak * (count + 1) / max(1, config.warmup_steps)
        progress = jnp.clip((count + 1 - config.warmup_steps) / cosine_steps, 0.0, 1.0)
        cosine = floor + (peak - floor) * 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return jnp.where(count < config.warmup_steps, warmup, cosine)

    return schedule


def decay_mask(params: Any) -> Any:
    """Return, for each parameter, whether weight decay applies: to all, embeddings too, but norms and biases."""

    def decays(path: tuple, _: Any) -> bool:
        return path[-1].key not in NOT_DECAYED

    return jax.tree_util.tree_map_with_path(decays, params)


def make_optimizer(config: TrainConfig, total_steps: int) -> optax.GradientTransformation:
    """Return AdamW (epsilon 1e-8, moments in the parameters' float32) behind the global clip."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(
            make_schedule(config, total_steps),
            b1=config.beta1,
            b2=config.beta2,
            weight_decay=config.weight_decay,
            mask=decay_mask,
        ),
    )
