"""Choose the next token of each path: masks, temperature, a class, then what is left of it by top-k, top-p and min-p.

The class of the token (`token // 1000`) is drawn first, from all that the masks allow; truncation acts inside the class
that was drawn. So it never changes how often each kind of event comes, as it would if a rare kind fell out of the
nucleus, and only a thousand candidates are ever sorted or need random numbers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lob_jax.tokens.vocabulary import CLASS_SIZE


class Choice(NamedTuple):
    """What was drawn, and what the masks took away.

    Attributes:
      token_B: int32 [B].
      grammar_mass_B: float32 [B], the probability that the model gave to what the grammar forbids.
      book_mass_B: float32 [B], of the rest, the share that it gave to what the book forbids.
    """

    token_B: jax.Array
    grammar_mass_B: jax.Array
    book_mass_B: jax.Array


class Truncation(NamedTuple):
    """What of a class may be drawn; plain Python numbers, so that what is off costs nothing.

    Attributes:
      top_k: the so many most likely tokens; 0 for all.
      top_p: the most likely tokens that together reach this share of their class; 1 for all.
      min_p: tokens at least this share as likely as the most likely one; 0 for all.
    """

    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


def truncated(logits_BK: jax.Array, truncation: Truncation) -> jax.Array:
    """Set the logits of what may not be drawn to -inf; each rule sees what the one before has left.

    Ties with the last token that stays stay with it. At least one token stays.

    Args:
      logits_BK: float32, -inf where masked.
      truncation: top-k (Fan et al., 2018), top-p (Holtzman et al., 2020), min-p (Nguyen et al., 2024), in that order.
    """
    if 0 < truncation.top_k < logits_BK.shape[-1]:
        kth_B1 = jax.lax.top_k(logits_BK, truncation.top_k)[0][:, -1:]
        logits_BK = jnp.where(logits_BK >= kth_B1, logits_BK, -jnp.inf)
    if truncation.top_p < 1:
        sorted_BK = -jnp.sort(-logits_BK, axis=-1)
        share_BK = jax.nn.softmax(sorted_BK, axis=-1)
        needed_BK = jnp.cumsum(share_BK, axis=-1) - share_BK < truncation.top_p  # those before do not reach it
        least_B1 = jnp.min(jnp.where(needed_BK, sorted_BK, jnp.inf), axis=-1, keepdims=True)
        logits_BK = jnp.where(logits_BK >= least_B1, logits_BK, -jnp.inf)
    if truncation.min_p > 0:
        least_B1 = logits_BK.max(-1, keepdims=True) + jnp.log(truncation.min_p)
        logits_BK = jnp.where(logits_BK >= least_B1, logits_BK, -jnp.inf)
    return logits_BK


def masked_masses(logits_BV: jax.Array, grammar_BV: jax.Array, book_BV: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the probability that the grammar forbids [B], and of the rest the share that the book forbids [B]."""
    whole_B = jax.nn.logsumexp(logits_BV, -1)
    spelt_B = jax.nn.logsumexp(jnp.where(grammar_BV, logits_BV, -jnp.inf), -1)
    left_B = jax.nn.logsumexp(jnp.where(grammar_BV & book_BV, logits_BV, -jnp.inf), -1)
    return tuple(jnp.maximum(1 - jnp.exp(part_B), 0) for part_B in (spelt_B - whole_B, left_B - spelt_B))


def choose(
    keys_B: jax.Array,
    logits_BV: jax.Array,
    grammar_BV: jax.Array,
    book_BV: jax.Array,
    *,
    temperature: float,
    truncation: Truncation,
) -> Choice:
    """Draw one token a path, each with its own key, so that a path does not depend on its batch.

    Args:
      keys_B: one typed PRNG key a path.
      logits_BV: float32, unmasked.
      grammar_BV: bool, what the grammar allows.
      book_BV: bool, what the book allows; together with it at least one token in each row.
      temperature: divides the logits; 0 takes the most likely allowed token of all.
      truncation: what of the class drawn may be drawn.
    """
    grammar_mass_B, book_mass_B = masked_masses(logits_BV, grammar_BV, book_BV)
    masked_BV = jnp.where(grammar_BV & book_BV, logits_BV, -jnp.inf)
    if temperature == 0:
        return Choice(jnp.argmax(masked_BV, -1).astype(jnp.int32), grammar_mass_B, book_mass_B)
    classes_BCK = (masked_BV / temperature).reshape(masked_BV.shape[0], -1, CLASS_SIZE)
    draw = jax.vmap(jax.random.categorical)
    class_B = draw(_part(keys_B, 0), jax.nn.logsumexp(classes_BCK, -1))
    inside_BK = jnp.take_along_axis(classes_BCK, class_B[:, None, None], axis=1)[:, 0]
    token_B = class_B * CLASS_SIZE + draw(_part(keys_B, 1), truncated(inside_BK, truncation))
    return Choice(token_B.astype(jnp.int32), grammar_mass_B, book_mass_B)


def _part(keys_B: jax.Array, number: int) -> jax.Array:
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys_B)
