"""Predict the next token from those before it, as GPT does."""

import jax
import jax.numpy as jnp

from lob_jax.models.config import ModelConfig
from lob_jax.tokens import vocabulary as v
from lob_jax.training.step.objective import Objective, TokenObjective
from lob_jax.training.step.shift import Batch, Task, shift


def next_tokens(batch: Batch, key: jax.Array | None, model: ModelConfig, objective: Objective) -> Task:
    """Return a task whose targets are the next tokens; see `shift`.

    In training, the digits of gaps have the weight `gap_digits_weight`; without a key, as in validation, all tokens
    count alike.
    """
    tokens_BT, conditioning, targets_BT, weights_BT = shift(batch)
    if key is not None and objective.gap_digits_weight != 1:
        is_digits_BT = gap_digits(batch["tokens"])[:, 1:]
        weights_BT = jnp.where(is_digits_BT, objective.gap_digits_weight * weights_BT, weights_BT)
    return tokens_BT, conditioning, targets_BT, weights_BT


def gap_digits(tokens_BT: jax.Array) -> jax.Array:
    """Return which tokens are further digits of a gap, bool [B, T]; not those whose first digits precede the window."""
    is_digits_BT = tokens_BT // v.CLASS_SIZE == v.CONTINUATION // v.CLASS_SIZE
    at_BT = jnp.where(is_digits_BT, 0, jnp.broadcast_to(jnp.arange(tokens_BT.shape[1]), tokens_BT.shape))
    lead_BT = jnp.take_along_axis(tokens_BT, jax.lax.cummax(at_BT, axis=1), axis=1)
    return is_digits_BT & (lead_BT >= v.TIME)


OBJECTIVE = TokenObjective(
    predicts="the next token, from those before it", task=next_tokens, settings=("gap_digits_weight",)
)
