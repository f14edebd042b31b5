"""Choose the next token of each path: masks, temperature, a class, then what is left of it by top-k, top-p and min-p.

The class of the token (`token // 1000`) is drawn first, from all that the masks allow; truncation acts inside the class
that was drawn. So it never changes how often each kind of event comes, as it would if a rare kind fell out of the
nucleus, and only a thousand candidates are ever sorted. Every draw inverts a distribution function at a number of
0..1, so that two runs with the same numbers, or with one minus them, are coupled as closely as their distributions are.
"""

import dataclasses
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lob_jax.errors import InputError
from lob_jax.tokens.vocabulary import CLASS_SIZE, CONTINUATION

DRAWS = 3  # numbers that a token needs
# At 1e-38 quotients of float32 logits overflow, and a sum over infinities draws what is masked. These ends are far
# inside: nobody can tell 1e-6 from 0, or 1e6 from a uniform distribution.
LEAST_TEMPERATURE, GREATEST_TEMPERATURE = 1e-6, 1e6
_DIGITS = CONTINUATION // CLASS_SIZE


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


def require(name: str, value: Any, holds: Callable[[float], bool], *, expected: str, remedy: str) -> None:
    """Refuse a setting that is no real number, or not one that holds."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number and holds(value)):
        raise InputError(
            "there is no such sampling",
            where=name,
            expected=expected if is_number else f"a number: {expected}",
            was=repr(value),
            remedy=remedy,
        )


def require_whole(name: str, value: Any, *, least: int, most: int, remedy: str) -> None:
    """Refuse a setting that is no whole number from `least` to `most`."""
    whole = isinstance(value, numbers.Integral)
    expected = f"a whole number from {least} to {most:,}"
    require(name, value, lambda number: whole and least <= number <= most, expected=expected, remedy=remedy)


@dataclasses.dataclass(frozen=True)
class Truncation:
    """What of a class may be drawn; plain Python numbers, so that what is off costs nothing.

    Attributes:
      top_k: the so many most likely tokens; 0 for all.
      top_p: the most likely tokens that together reach this share of their class; 1 for all.
      min_p: tokens at least this share as likely as the most likely one; 0 for all.
      named: what stands in front of these names in errors, such as "config.generate.".

    Raises:
      InputError: a number outside its range: with top_p = 0, say, no token would be left.
    """

    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    named: dataclasses.InitVar[str] = ""

    def __post_init__(self, named: str) -> None:
        zero, one = "0 draws from all tokens", "1 draws from all tokens"
        require_whole(f"{named}top_k", self.top_k, least=0, most=2**31 - 1, remedy=zero)
        require(f"{named}top_p", self.top_p, lambda p: 0 < p <= 1, expected="above 0, at most 1", remedy=one)
        require(f"{named}min_p", self.min_p, lambda p: 0 <= p < 1, expected="0 or more, below 1", remedy=zero)


EVERYTHING = Truncation()


def check_temperature(temperature: float, *, named: str = "") -> None:
    """Refuse a temperature that float32 logits cannot be divided by.

    Args:
      temperature: that is asked for.
      named: what stands in front of its name in errors.

    Raises:
      InputError: not 0, and not a number from LEAST_TEMPERATURE to GREATEST_TEMPERATURE.
    """
    require(
        f"{named}temperature",
        temperature,
        lambda number: number == 0 or LEAST_TEMPERATURE <= number <= GREATEST_TEMPERATURE,
        expected=f"0, or {LEAST_TEMPERATURE:g} to {GREATEST_TEMPERATURE:g}",
        remedy="1 draws from the model as it is, 0 takes the most likely token",
    )


def truncated(logits_BK: jax.Array, truncation: Truncation) -> jax.Array:
    """Set the logits of what may not be drawn to -inf; each rule sees what the one before has left.

    Ties with the last token that stays stay with it. At least one token stays.

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
        needed_BK = jnp.cumsum(share_BK, axis=-1) - share_BK < truncation.top_p  # those before do not reach it
        least_B1 = jnp.min(jnp.where(needed_BK, sorted_BK, jnp.inf), axis=-1, keepdims=True)
        logits_BK = jnp.where(logits_BK >= least_B1, logits_BK, -jnp.inf)
    if truncation.min_p > 0:
        least_B1 = logits_BK.max(-1, keepdims=True) + jnp.log(truncation.min_p)
        logits_BK = jnp.where(logits_BK >= least_B1, logits_BK, -jnp.inf)
    return logits_BK


def inverted(weight_BK: jax.Array, at_B: jax.Array) -> jax.Array:
    """Return the index [B] at which the distribution function of weights passes `at_B` (0..1); its weight is > 0."""
    upto_BK = jnp.cumsum(weight_BK, axis=-1)
    passed_BK = (upto_BK > at_B[:, None] * upto_BK[:, -1:]) & (weight_BK > 0)
    last_B = weight_BK.shape[-1] - 1 - jnp.argmax((weight_BK > 0)[:, ::-1], axis=-1)
    return jnp.where(passed_BK.any(-1), jnp.argmax(passed_BK, axis=-1), last_B)


def inverted_by_class(weight_MV: jax.Array, at_M2: jax.Array) -> jax.Array:
    """Return tokens [M] drawn by weights: the class at the first number of 0..1, the token inside it at the second.

    A running sum over a class is a tenth of one over the vocabulary, of which XLA makes many passes.
    """
    weight_MCK = weight_MV.reshape(len(weight_MV), -1, CLASS_SIZE)
    class_M = inverted(weight_MCK.sum(-1), at_M2[:, 0])
    inside_MK = jnp.take_along_axis(weight_MCK, class_M[:, None, None], axis=1)[:, 0]
    return class_M * CLASS_SIZE + inverted(inside_MK, at_M2[:, 1])


class _Weights(NamedTuple):
    """Sums of exp(logit - greatest logit) by class: of all tokens, of what the grammar allows, of what both allow."""

    all_BC: jax.Array
    spelt_BC: jax.Array
    left_BC: jax.Array


def _class_weights(logits_BV: jax.Array, grammar_BV: jax.Array, book_BV: jax.Array) -> _Weights:
    """Return the weights in one pass over the logits."""
    weight_BCK = jnp.exp(logits_BV - logits_BV.max(-1, keepdims=True)).reshape(len(logits_BV), -1, CLASS_SIZE)
    spelt_BCK, left_BCK = (mask.reshape(weight_BCK.shape) for mask in (grammar_BV, grammar_BV & book_BV))
    parts = (weight_BCK, jnp.where(spelt_BCK, weight_BCK, 0), jnp.where(left_BCK, weight_BCK, 0))
    return _Weights(*(part.sum(-1) for part in parts))


def masked_masses(logits_BV: jax.Array, grammar_BV: jax.Array, book_BV: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the probability that the grammar forbids [B], and of the rest the share that the book forbids [B]."""
    return _masses(_class_weights(logits_BV, grammar_BV, book_BV))


def _masses(weights: _Weights) -> tuple[jax.Array, jax.Array]:
    all_B, spelt_B, left_B = (part.sum(-1) for part in weights)
    return 1 - spelt_B / all_B, jnp.where(spelt_B > 0, 1 - left_B / spelt_B, 1)


def class_weights(masked_BCK: jax.Array) -> jax.Array:
    """Return how likely each class is up to a factor, [B, C], from masked logits divided by the temperature."""
    greatest_B11 = masked_BCK.max((1, 2), keepdims=True)
    return jnp.exp(masked_BCK - greatest_B11).sum(-1)


def draw_class(weight_BC: jax.Array, at_B2: jax.Array) -> jax.Array:
    """Draw a class: first whether the number in front goes on, then which of the others it is.

    Whether an event is complete then hangs on the first of the two numbers alone.
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
) -> Choice:
    """Draw one token a path.

    Args:
      at_B3: float32, the numbers of 0..1 at which distribution functions are inverted: for whether a number goes on,
        for the class, and for the token inside it, in the order of ids.
      logits_BV: float32, unmasked.
      grammar_BV: bool, what the grammar allows.
      book_BV: bool, what the book allows; together with it at least one token in each row.
      temperature: divides the logits; 0 takes the most likely allowed token of all.
      truncation: what of the class drawn may be drawn.
    """
    allowed_BV = grammar_BV & book_BV
    weights = _class_weights(logits_BV, grammar_BV, book_BV)
    masked_BV = jnp.where(allowed_BV, logits_BV, -jnp.inf)
    if temperature == 0:
        return Choice(jnp.argmax(masked_BV, -1).astype(jnp.int32), *_masses(weights))
    scaled_BCK = (masked_BV / temperature).reshape(len(masked_BV), -1, CLASS_SIZE)
    class_B = draw_class(class_weights(scaled_BCK), at_B3[:, :2])
    inside_BK = truncated(jnp.take_along_axis(scaled_BCK, class_B[:, None, None], axis=1)[:, 0], truncation)
    weight_BK = jnp.exp(inside_BK - inside_BK.max(-1, keepdims=True))
    token_B = class_B * CLASS_SIZE + inverted(weight_BK, at_B3[:, 2])
    return Choice(token_B.astype(jnp.int32), *_masses(weights))


def probabilities(
    logits_BV: jax.Array, allowed_BV: jax.Array, *, temperature: float, truncation: Truncation
) -> jax.Array:
    """Return the distribution that `choose` draws from, float32 [B, V]."""
    masked_BV = jnp.where(allowed_BV, logits_BV, -jnp.inf)
    if temperature == 0:
        return jax.nn.one_hot(jnp.argmax(masked_BV, -1), masked_BV.shape[-1])
    scaled_BCK = (masked_BV / temperature).reshape(len(masked_BV), -1, CLASS_SIZE)
    weight_BC, inside_BCK = class_weights(scaled_BCK), truncated(scaled_BCK, truncation)
    greatest_BC1 = inside_BCK.max(-1, keepdims=True)
    weight_BCK = jnp.exp(inside_BCK - jnp.where(greatest_BC1 > -jnp.inf, greatest_BC1, 0))
    inside_BCK = weight_BCK / jnp.maximum(weight_BCK.sum(-1, keepdims=True), 1)  # the greatest weight is 1
    share_BC1 = (weight_BC / weight_BC.sum(-1, keepdims=True))[..., None]
    return (share_BC1 * inside_BCK).reshape(masked_BV.shape)
