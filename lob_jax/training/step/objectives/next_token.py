"""Predict the next token from those before it, as GPT does."""

import jax

from lob_jax.models.config import ModelConfig
from lob_jax.training.step.objective import Objective, TokenObjective
from lob_jax.training.step.shift import Batch, Task, shift


def next_tokens(batch: Batch, key: jax.Array | None, model: ModelConfig, objective: Objective) -> Task:
    """Return a task whose targets are the next tokens; see `shift`."""
    return shift(batch)


OBJECTIVE = TokenObjective(predicts="the next token, from those before it", task=next_tokens)
