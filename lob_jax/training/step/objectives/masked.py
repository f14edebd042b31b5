"""Predict hidden tokens from those around them, as BERT does (Devlin et al., 2019)."""

import jax
import jax.numpy as jnp

from lob_jax.models.config import ModelConfig
from lob_jax.models.layers import example_keys
from lob_jax.tokens.vocabulary import CLASS_SIZE, IS_HEAD_V, MASK
from lob_jax.training.step.objective import Objective, TokenObjective
from lob_jax.training.step.shift import Batch, Task, shift

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1  # of the hidden tokens: replaced by MASK, by a random token; others stay
IGNORED = -100  # label of a token that is not hidden
EVALUATION_SEED = 0  # used without a dropout key, so that every validation hides the same tokens
HIDING = 1  # folded into the key, so that hiding and dropout are independent


def hidden_tokens(batch: Batch, key: jax.Array | None, model: ModelConfig, objective: Objective) -> Task:
    """Return a task whose targets are the hidden tokens; see `shift`."""
    known_BT, conditioning, _, _ = shift(batch)
    hiding = jax.random.key(EVALUATION_SEED) if key is None else jax.random.fold_in(key, HIDING)
    shown_BT, label_BT = create_mlm_batch(
        known_BT,
        example_keys(hiding, batch["example"]),
        scored_BT=batch["scored"][:, :-1],
        share=objective.mask_share,
        vocab_size=model.vocab_size,
        events=objective.mask_events,
    )
    return shown_BT, conditioning, known_BT, (label_BT != IGNORED).astype(jnp.float32)


def create_mlm_batch(
    tokens_BT: jax.Array,
    keys_B: jax.Array,
    *,
    scored_BT: jax.Array,
    share: float,
    vocab_size: int,
    events: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Hide a share of the scored tokens: 80 % become MASK, 10 % a random token, 10 % stay (Devlin et al., 2019).

    A random token is of the class of the token that it replaces (`token // 1000`), so that the grammar alone does not
    tell them apart.

    Args:
      tokens_BT: int32.
      keys_B: one key per example, so that what is hidden does not depend on the rest of a batch.
      scored_BT: which tokens may be hidden, as bool or weights.
      share: probability that a scored token is hidden.
      vocab_size: V.
      events: whether all scored tokens of an event are hidden together, and replaced in the same way, as SpanBERT does
        with its spans (Joshi et al., 2020). An event is hidden with probability `share`, so that the expected share of
        hidden tokens is the same. Otherwise each token is hidden independently of the others.

    Returns:
      (shown_BT, label_BT), int32: the tokens to read, and the hidden tokens, with IGNORED in the place of others.
    """
    low_BT = tokens_BT // CLASS_SIZE * CLASS_SIZE
    size_BT = jnp.minimum(CLASS_SIZE, vocab_size - low_BT)

    def draw(key: jax.Array, size_T: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        shape = size_T.shape
        which, how, what = (jax.random.fold_in(key, number) for number in range(3))
        return (
            jax.random.uniform(which, shape),
            jax.random.uniform(how, shape),
            jax.random.randint(what, shape, 0, size_T),
        )

    which_BT, how_BT, random_BT = jax.vmap(draw)(keys_B, size_BT)
    if events:
        event_BT = _events(tokens_BT)
        which_BT, how_BT = (jnp.take_along_axis(drawn_BT, event_BT, axis=1) for drawn_BT in (which_BT, how_BT))
    hidden_BT = (which_BT < share) & scored_BT.astype(bool)
    random_BT = (low_BT + random_BT).astype(tokens_BT.dtype)
    shown_BT = jnp.where(how_BT < MASKED_SHARE + RANDOM_SHARE, random_BT, tokens_BT)
    shown_BT = jnp.where(how_BT < MASKED_SHARE, MASK, shown_BT)
    return jnp.where(hidden_BT, shown_BT, tokens_BT), jnp.where(hidden_BT, tokens_BT, IGNORED)


def _events(tokens_BT: jax.Array) -> jax.Array:
    """Return which event of its window each token belongs to, int32 [B, T], counted from 0, and below T.

    Tokens before the first head, of an event that began before the window, are an event as well.
    """
    is_head_BT = jnp.take(jnp.asarray(IS_HEAD_V), tokens_BT, mode="clip").astype(jnp.int32)
    return jnp.cumsum(is_head_BT, axis=1) - is_head_BT[:, :1]


OBJECTIVE = TokenObjective(
    predicts="hidden tokens, a share of `train.mask_share`, from those around them",
    task=hidden_tokens,
    causal=False,
    settings=("mask_share", "mask_events"),
    revision=1,
)
