"""Sample the next token of each path: masks, temperature, class, then top-k, top-p and min-p within the class.

The class of the token (`token // 1000`) is sampled first, from all tokens that the masks allow, or with `kinds_first`
from those that the grammar allows; truncation applies only within the sampled class. Truncation therefore does not
change the frequencies of kinds of events, as it would if a rare kind fell outside the nucleus, and only a thousand
candidates are sorted. Every sample inverts a distribution function at a number in 0..1, so that runs with the same
numbers, or with one minus them, are coupled as closely as their distributions allow.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lob_jax.generation.settings import Truncation
from lob_jax.tokens.vocabulary import CLASS_SIZE, CONTINUATION

DRAWS = 3  # random numbers per token
_DIGITS = CONTINUATION // CLASS_SIZE


class Choice(NamedTuple):
    """Sampled tokens, and the probability that the masks removed.

    Attributes:
      token_B: int32 [B].
      grammar_mass_B: float32 [B], the model's probability of tokens that the grammar forbids.
      book_mass_B: float32 [B], the share of the remaining probability on tokens that the book forbids.
    """

    token_B: jax.Array
    grammar_mass_B: jax.Array
    book_mass_B: jax.Array


def truncated(logits_BK: jax.Array, truncation: Truncation) -> jax.Array:
    """Set the logits of excluded tokens to -inf; each rule applies to the tokens that the previous rules kept.

    Tokens tied with the least likely kept token are kept too. At least one token is kept.

    Args:
      logits_BK: float32, -inf where masked.
      truncation: top-k (Fan et al., 2018), top-p (Holtzman et al., 2020), min-p (Nguyen et al., 2024), in that order.
    """
    if 0 < truncation.top_k < logits_BK.shape[-1]:
        kth_B1 = jax.lax.top_k(logits_BK, truncation.top_k)[0][..., -1:]
        logits_BK = jnp.where(logits_BK >= kth_B1, logits_BK, -jnp.inf)
    if truncation.top_p < 1:
        sorted_BK = -jnp.sort(-logits_BK, axis=-1)
        share_BK = jax.nn.softmax(sorted_BK, axis=-1)
        # A token is needed if the more likely ones together do not reach top_p.
        needed_BK = jnp.cumsum(share_BK, axis=-1) - share_BK < truncation.top_p
        least_B1 = jnp.min(jnp.where(needed_BK, sorted_BK, jnp.inf), axis=-1, keepdims=True)
        logits_BK = jnp.where(logits_BK >= least_B1, logits_BK, -jnp.inf)
    if truncation.min_p > 0:
        least_B1 = logits_BK.max(-1, keepdims=True) + jnp.log(truncation.min_p)
        logits_BK = jnp.where(logits_BK >= least_B1, logits_BK, -jnp.inf)
    return logits_BK


def inverted(weight_BK: jax.Array, at_B: jax.Array) -> jax.Array:
    """Return the index [B] where the distribution function of weights exceeds `at_B` (0..1); its weight is > 0."""
    upto_BK = jnp.cumsum(weight_BK, axis=-1)
    passed_BK = (upto_BK > at_B[:, None] * upto_BK[:, -1:]) & (weight_BK > 0)
    # Rounding can keep the sum from exceeding a number close to 1: the last possible index is taken then.
    last_B = weight_BK.shape[-1] - 1 - jnp.argmax((weight_BK > 0)[:, ::-1], axis=-1)
    return jnp.where(passed_BK.any(-1), jnp.argmax(passed_BK, axis=-1), last_B)


def inverted_by_class(weight_MV: jax.Array, at_M2: jax.Array) -> jax.Array:
    """Return tokens [M] sampled by weight: the class by the first number in 0..1, the token within it by the second.

    A cumulative sum over a class is a tenth as long as one over the vocabulary, which XLA computes in many passes.
    """
    weight_MCK = weight_MV.reshape(len(weight_MV), -1, CLASS_SIZE)
    class_M = inverted(weight_MCK.sum(-1), at_M2[:, 0])
    inside_MK = jnp.take_along_axis(weight_MCK, class_M[:, None, None], axis=1)[:, 0]
    return class_M * CLASS_SIZE + inverted(inside_MK, at_M2[:, 1])


class _Weights(NamedTuple):
    """Sums of exp(logit - maximum) per class: of all tokens, those the grammar allows, and those both masks allow."""

    all_BC: jax.Array
    spelt_BC: jax.Array
    left_BC: jax.Array


def _class_weights(logits_BV: jax.Array, grammar_BV: jax.Array, book_BV: jax.Array) -> _Weights:
    """Return the weights, computed in one pass over the logits."""
    weight_BCK = jnp.exp(logits_BV - logits_BV.max(-1, keepdims=True)).reshape(len(logits_BV), -1, CLASS_SIZE)
    spelt_BCK, left_BCK = (mask.reshape(weight_BCK.shape) for mask in (grammar_BV, grammar_BV & book_BV))
    parts = (weight_BCK, jnp.where(spelt_BCK, weight_BCK, 0), jnp.where(left_BCK, weight_BCK, 0))
    return _Weights(*(part.sum(-1) for part in parts))


def masked_masses(logits_BV: jax.Array, grammar_BV: jax.Array, book_BV: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the probability that the grammar forbids [B], and the share of the rest that the book forbids [B]."""
    return _masses(_class_weights(logits_BV, grammar_BV, book_BV))


def _masses(weights: _Weights) -> tuple[jax.Array, jax.Array]:
    all_B, spelt_B, left_B = (part.sum(-1) for part in weights)
    return 1 - spelt_B / all_B, jnp.where(spelt_B > 0, 1 - left_B / spelt_B, 1)


def class_weights(masked_BCK: jax.Array) -> jax.Array:
    """Return the unnormalised probability of each class, [B, C], from masked logits divided by the temperature."""
    greatest_B11 = masked_BCK.max((1, 2), keepdims=True)
    return jnp.exp(masked_BCK - greatest_B11).sum(-1)


def _counted(grammar_BV: jax.Array, book_BV: jax.Array, *, kinds_first: bool) -> jax.Array:
    """Return the tokens whose probabilities are those of their classes, bool [B, C, K].

    They are the tokens that both masks allow. With `kinds_first`, they are all tokens of the grammar in the classes of
    order events, as far as the book allows any token of the class: the share of a kind then does not depend on how many
    of its events the book excludes. In the class of CONTROL events, every token is a kind of its own.
    """
    shape = (len(book_BV), -1, CLASS_SIZE)
    spelt_BCK, left_BCK = grammar_BV.reshape(shape), (grammar_BV & book_BV).reshape(shape)
    if not kinds_first:
        return left_BCK
    class_C = jnp.arange(spelt_BCK.shape[1])
    of_orders_C = (class_C > 0) & (class_C < _DIGITS)
    return jnp.where((of_orders_C & left_BCK.any(-1))[..., None], spelt_BCK, left_BCK)


def draw_class(weight_BC: jax.Array, at_B2: jax.Array) -> jax.Array:
    """Sample a class: first whether the current number continues, then which of the other classes follows.

    Whether an event is complete thus depends only on the first of the two random numbers.
    """
    at_digits_C = jnp.arange(weight_BC.shape[1]) == _DIGITS
    digits_B, total_B = jnp.where(at_digits_C, weight_BC, 0).sum(-1), weight_BC.sum(-1)
    others_BC = jnp.where(at_digits_C, 0, weight_BC)
    goes_on_B = (at_B2[:, 0] * total_B < digits_B) | (others_BC.sum(-1) == 0)
    return jnp.where(goes_on_B, _DIGITS, inverted(others_BC, at_B2[:, 1]))


def choose(
    at_B3: jax.Array,
    logits_BV: jax.Array,
    grammar_BV: jax.Array,
    book_BV: jax.Array,
    *,
    temperature: float,
    truncation: Truncation,
    kinds_first: bool = False,
) -> Choice:
    """Sample one token per path.

    Args:
      at_B3: float32, numbers in 0..1 at which distribution functions are inverted: for whether a number continues, for
        the class, and for the token within the class, in the order of ids.
      logits_BV: float32, unmasked.
      grammar_BV: bool, tokens that the grammar allows.
      book_BV: bool, tokens that the book allows; in each row, both masks must allow at least one token.
      temperature: divisor of the logits; 0 chooses the most likely allowed token.
      truncation: which tokens of the sampled class may be chosen.
      kinds_first: whether the kind of an order event is sampled before the book mask applies, see `_counted`. The book
        mask would otherwise favour kinds of which it excludes little.
    """
    weights = _class_weights(logits_BV, grammar_BV, book_BV)
    if temperature == 0:
        masked_BV = jnp.where(grammar_BV & book_BV, logits_BV, -jnp.inf)
        return Choice(jnp.argmax(masked_BV, -1).astype(jnp.int32), *_masses(weights))
    scaled_BCK, masked_BCK = _scaled(logits_BV, grammar_BV & book_BV, temperature)
    counted_BCK = _counted(grammar_BV, book_BV, kinds_first=kinds_first)
    class_B = draw_class(class_weights(jnp.where(counted_BCK, scaled_BCK, -jnp.inf)), at_B3[:, :2])
    inside_BK = truncated(jnp.take_along_axis(masked_BCK, class_B[:, None, None], axis=1)[:, 0], truncation)
    weight_BK = jnp.exp(inside_BK - inside_BK.max(-1, keepdims=True))
    token_B = class_B * CLASS_SIZE + inverted(weight_BK, at_B3[:, 2])
    return Choice(token_B.astype(jnp.int32), *_masses(weights))


def _scaled(logits_BV: jax.Array, allowed_BV: jax.Array, temperature: float) -> tuple[jax.Array, jax.Array]:
    """Return the logits divided by the temperature, float32 [B, C, K], and the same, -inf where not allowed."""
    scaled_BV = logits_BV / temperature
    parts = (scaled_BV, jnp.where(allowed_BV, scaled_BV, -jnp.inf))
    scaled_BCK, masked_BCK = (part.reshape(len(part), -1, CLASS_SIZE) for part in parts)
    return scaled_BCK, masked_BCK


def probabilities(
    logits_BV: jax.Array,
    grammar_BV: jax.Array,
    book_BV: jax.Array,
    *,
    temperature: float,
    truncation: Truncation,
    kinds_first: bool = False,
) -> jax.Array:
    """Return the distribution that `choose` samples from, float32 [B, V]."""
    if temperature == 0:
        masked_BV = jnp.where(grammar_BV & book_BV, logits_BV, -jnp.inf)
        return jax.nn.one_hot(jnp.argmax(masked_BV, -1), masked_BV.shape[-1])
    scaled_BCK, masked_BCK = _scaled(logits_BV, grammar_BV & book_BV, temperature)
    counted_BCK = _counted(grammar_BV, book_BV, kinds_first=kinds_first)
    weight_BC = class_weights(jnp.where(counted_BCK, scaled_BCK, -jnp.inf))
    inside_BCK = truncated(masked_BCK, truncation)
    greatest_BC1 = inside_BCK.max(-1, keepdims=True)
    weight_BCK = jnp.exp(inside_BCK - jnp.where(greatest_BC1 > -jnp.inf, greatest_BC1, 0))
    # The greatest weight of a class is 1, so that a sum below 1 is one of nothing but zeros.
    inside_BCK = weight_BCK / jnp.maximum(weight_BCK.sum(-1, keepdims=True), 1)
    share_BC1 = (weight_BC / weight_BC.sum(-1, keepdims=True))[..., None]
    return (share_BC1 * inside_BCK).reshape(logits_BV.shape)
