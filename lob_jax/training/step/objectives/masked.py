"""Predict hidden tokens from those around them, as BERT does (Devlin et al., 2019)."""

import jax
import jax.numpy as jnp

from lob_jax.models.config import ModelConfig
from lob_jax.models.layers import example_keys
from lob_jax.tokens.vocabulary import MASK
from lob_jax.training.step.objective import Objective, TokenObjective
from lob_jax.training.step.shift import Batch, Task, shift

MASKED_SHARE, RANDOM_SHARE = (
    0.8,
    0.1,
)  # of the hidden tokens: replaced by MASK, by a random token; others stay
EVALUATION_SEED = 0  # used without a dropout key, so that every validation hides the same tokens
HIDING = 1  # folded into the key, so that hiding and dropout are independent


def hidden_tokens(batch: Batch, key: jax.Array | None, model: ModelConfig, objective: Objective) -> Task:
    """Return a task whose targets are the hidden tokens; see `shift`."""
    known_BT, conditioning, _, _ = shift(batch)
    hiding = jax.random.key(EVALUATION_SEED) if key is None else jax.random.fold_in(key, HIDING)
    shown_BT, hidden_BT = hide_tokens(
        known_BT,
        batch["scored"][:, :-1].astype(bool),
        example_keys(hiding, batch["example"]),
        share=objective.mask_share,
        vocab_size=model.vocab_size,
    )
    return shown_BT, conditioning, known_BT, hidden_BT.astype(jnp.float32)


def hide_tokens(
    tokens_BT: jax.Array, scored_BT: jax.Array, keys_B: jax.Array, *, share: float, vocab_size: int
) -> tuple[jax.Array, jax.Array]:
    """Hide a fraction of the scored tokens: 80 % become MASK, 10 % a random token, 10 % stay (Devlin et al., 2019).

    Args:
      tokens_BT: int32.
      scored_BT: bool, which tokens may be hidden.
      keys_B: one key per example, so that what is hidden does not depend on the rest of a batch.
      share: probability that a scored token is hidden, independently of the others.
      vocab_size: V.

    Returns:
      (shown_BT int32, hidden_BT bool).
    """

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        T = tokens_BT.shape[1]
        which, how, what = (jax.random.fold_in(key, number) for number in range(3))
        return (
            jax.random.uniform(which, (T,)),
            jax.random.uniform(how, (T,)),
            jax.random.randint(what, (T,), 0, vocab_size),
        )

    which_BT, how_BT, random_BT = jax.vmap(draw)(keys_B)
    hidden_BT = (which_BT < share) & scored_BT.astype(bool)
    shown_BT = jnp.where(how_BT < MASKED_SHARE + RANDOM_SHARE, random_BT.astype(tokens_BT.dtype), tokens_BT)
    shown_BT = jnp.where(how_BT < MASKED_SHARE, MASK, shown_BT)
    return jnp.where(hidden_BT, shown_BT, tokens_BT), hidden_BT


OBJECTIVE = TokenObjective(
    predicts="hidden tokens, a share of `train.mask_share`, from those around them",
    task=hidden_tokens,
    causal=False,
    settings=("mask_share",),
)
