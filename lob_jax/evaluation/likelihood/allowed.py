"""The log-likelihood of tokens among those that may come, without JAX: the counterpart of `lob_jax.models.masking`."""

import math
from typing import NamedTuple

import numpy as np

from lob_jax.jit import in_place, inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.token_sets import is_in

CLASSES = v.VOCAB_SIZE // v.CLASS_SIZE


class Allowed(NamedTuple):
    """Which tokens may stand in the places of T tokens, and how often others do.

    Attributes:
      grammar_SV: bool [S, V], the tokens that each state of the grammar allows.
      state_T: int16 [T], the state before each token.
      by_grammar: 1 if only these tokens count; 0 if all do.
      by_book: 1 if the book counts as well; then the grammar does, too.
      kind_T: int8 [T], the class of the newest head before each token.
      escape_SKC: float32 [S, K, C], see `lob_jax.tokens.sets.shares.share_table`.
      offset, first, last: the tokens that the book allows, see `TokenSets`.
    """

    grammar_SV: np.ndarray
    state_T: np.ndarray
    by_grammar: int
    by_book: int
    kind_T: np.ndarray
    escape_SKC: np.ndarray
    offset: np.ndarray
    first: np.ndarray
    last: np.ndarray


@in_place
def write_factors(allowed: Allowed, place_N: np.ndarray, logits_NV: np.ndarray, factor_N2C: np.ndarray) -> None:
    """Write the factors k of the probabilities k exp(logit) of the tokens in some places.

    Args:
      allowed: the tokens that may come.
      place_N: int64 [N], the places.
      logits_NV: float32 [N, V], the logits in these places.
      factor_N2C: float64 [N, 2, C], filled with log k by class of tokens, of those that the book forbids and of those
        that it allows; without a book, both are the same.
    """
    for n in range(len(place_N)):
        _find_factors(allowed, place_N[n], logits_NV[n], factor_N2C[n])


@in_place
def write_log_likelihoods(
    allowed: Allowed,
    tokens_T: np.ndarray,
    place_N: np.ndarray,
    logits_NV: np.ndarray,
    factor_N2C: np.ndarray,
    found_T: np.ndarray,
) -> None:
    """Write the log-likelihood of the tokens in some places, nats.

    Args:
      allowed: the tokens that may come.
      tokens_T: int64 [T], the tokens.
      place_N: int64 [N], the places.
      logits_NV: float32 [N, V], the logits in these places.
      factor_N2C: float64 [N, 2, C], see `write_factors`.
      found_T: float64 [T], filled in these places.
    """
    for n in range(len(place_N)):
        place, token = place_N[n], tokens_T[place_N[n]]
        inside = is_in(allowed.first, allowed.last, allowed.offset[place], allowed.offset[place + 1], token)
        found_T[place] = logits_NV[n, token] + factor_N2C[n, np.int64(inside), token // v.CLASS_SIZE]


@inner
def _find_factors(allowed: Allowed, place: int, logit_V: np.ndarray, factor_2C: np.ndarray) -> None:
    """Write the logarithms of the factors in a place, by the formula of `lob_jax.models.masking`."""
    grammar_V = allowed.grammar_SV[allowed.state_T[place]]
    escape_C = allowed.escape_SKC[allowed.state_T[place], allowed.kind_T[place]]
    greatest, count = _greatest(allowed, grammar_V, logit_V)
    total, escaping = 0.0, 0.0
    for one in range(len(logit_V)):
        if not allowed.by_grammar or grammar_V[one]:
            weight = math.exp(logit_V[one] - greatest)
            total += weight
            if allowed.by_book:
                escaping += escape_C[one // v.CLASS_SIZE] * weight
    log_total = greatest + math.log(total)
    factor_2C[:] = -log_total
    if not allowed.by_book:
        return
    log_sum, inside = _book_log_sum(allowed, place, grammar_V, logit_V)
    if inside == 0 or inside == count:  # as in padding, or the book allows whatever the grammar does
        return
    by_book = math.log(1 - escaping / total) - log_sum
    for of in range(CLASSES):
        escapes = math.log(np.float64(escape_C[of])) - log_total
        factor_2C[0, of] = escapes
        factor_2C[1, of] = max(by_book, escapes) + math.log1p(math.exp(-abs(by_book - escapes)))


@inner
def _greatest(allowed: Allowed, grammar_V: np.ndarray, logit_V: np.ndarray) -> tuple[float, int]:
    """Return the greatest logit of the tokens that count by the grammar, and their number."""
    greatest, count = -np.inf, 0
    for token in range(len(logit_V)):
        if not allowed.by_grammar or grammar_V[token]:
            greatest = max(greatest, logit_V[token])
            count += 1
    return greatest, count


@inner
def _book_log_sum(allowed: Allowed, place: int, grammar_V: np.ndarray, logit_V: np.ndarray) -> tuple[float, int]:
    """Return the logarithm of the sum of exp(logit) of the tokens that the book allows, and their number."""
    greatest, total, count = -np.inf, 0.0, 0
    for again in range(2):
        for at in range(allowed.offset[place], allowed.offset[place + 1]):
            for one in range(np.int64(allowed.first[at]), np.int64(allowed.last[at]) + 1):
                if not grammar_V[one]:
                    continue
                if again:
                    total += math.exp(logit_V[one] - greatest)
                else:
                    greatest = max(greatest, logit_V[one])
                    count += 1
    return (greatest + math.log(total) if count > 0 else -np.inf), count
