"""The log-likelihood of tokens among those that may come, without JAX: the counterpart of `lob_jax.models.masking`."""

import math
from typing import NamedTuple

import numpy as np

from lob_jax.jit import in_place, inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.token_sets import is_in


class Allowed(NamedTuple):
    """Which tokens may stand in the places of T tokens, and how often others do.

    Attributes:
      grammar_SV: bool [S, V], the tokens that each state of the grammar allows.
      state_T: int16 [T], the state before each token.
      by_book: 1 if the book counts as well; if 0, what follows is not read.
      kind_T: int8 [T], the class of the newest head before each token.
      escape_SKC: float32 [S, K, C], see `lob_jax.tokens.sets.shares.share_table`.
      offset, first, last: the tokens that the book allows, see `TokenSets`.
    """

    grammar_SV: np.ndarray
    state_T: np.ndarray
    by_book: int
    kind_T: np.ndarray
    escape_SKC: np.ndarray
    offset: np.ndarray
    first: np.ndarray
    last: np.ndarray


@in_place
def write_log_likelihoods(
    allowed: Allowed, tokens_T: np.ndarray, place_N: np.ndarray, logits_NV: np.ndarray, found_T: np.ndarray
) -> None:
    """Write the log-likelihood of the tokens in some places, nats.

    Args:
      allowed: the tokens that may come.
      tokens_T: int64 [T], the tokens.
      place_N: int64 [N], the places.
      logits_NV: float32 [N, V], the logits in these places.
      found_T: float64 [T], filled in these places.
    """
    for n in range(len(place_N)):
        place = place_N[n]
        grammar_V, token = allowed.grammar_SV[allowed.state_T[place]], tokens_T[place]
        if allowed.by_book:
            escape_C = allowed.escape_SKC[allowed.state_T[place], allowed.kind_T[place]]
            found_T[place] = _in_book(allowed, place, grammar_V, escape_C, logits_NV[n], token)
        else:
            greatest, _ = _greatest(grammar_V, logits_NV[n])
            total = 0.0
            for one in range(len(grammar_V)):
                if grammar_V[one]:
                    total += math.exp(logits_NV[n, one] - greatest)
            found_T[place] = logits_NV[n, token] - greatest - math.log(total)


@inner
def _greatest(grammar_V: np.ndarray, logit_V: np.ndarray) -> tuple[float, int]:
    """Return the greatest logit of the tokens that the grammar allows, and their number."""
    greatest, count = -np.inf, 0
    for token in range(len(grammar_V)):
        if grammar_V[token]:
            greatest = max(greatest, logit_V[token])
            count += 1
    return greatest, count


@inner
def _in_book(
    allowed: Allowed, place: int, grammar_V: np.ndarray, escape_C: np.ndarray, logit_V: np.ndarray, token: int
) -> float:
    """Return the log probability of a token, by the formula of `lob_jax.models.masking`."""
    greatest, count = _greatest(grammar_V, logit_V)
    total, escaping = 0.0, 0.0
    for one in range(len(grammar_V)):
        if grammar_V[one]:
            weight = math.exp(logit_V[one] - greatest)
            total += weight
            escaping += escape_C[one // v.CLASS_SIZE] * weight
    by_grammar = logit_V[token] - greatest - math.log(total)
    begin, end = allowed.offset[place], allowed.offset[place + 1]
    log_sum, inside = _book_log_sum(allowed, begin, end, grammar_V, logit_V)
    if inside == 0 or inside == count:  # as in padding, or the book allows whatever the grammar does
        return by_grammar
    escapes = math.log(escape_C[token // v.CLASS_SIZE]) + by_grammar
    if not is_in(allowed.first, allowed.last, begin, end, token):
        return escapes
    by_book = math.log(1 - escaping / total) + logit_V[token] - log_sum
    return max(by_book, escapes) + math.log1p(math.exp(-abs(by_book - escapes)))


@inner
def _book_log_sum(
    allowed: Allowed, begin: int, end: int, grammar_V: np.ndarray, logit_V: np.ndarray
) -> tuple[float, int]:
    """Return the logarithm of the sum of exp(logit) of the tokens that the book allows, and their number."""
    greatest, total, count = -np.inf, 0.0, 0
    for again in range(2):
        for at in range(begin, end):
            for one in range(np.int64(allowed.first[at]), np.int64(allowed.last[at]) + 1):
                if not grammar_V[one]:
                    continue
                if again:
                    total += math.exp(logit_V[one] - greatest)
                else:
                    greatest = max(greatest, logit_V[one])
                    count += 1
    return (greatest + math.log(total) if count > 0 else -np.inf), count
