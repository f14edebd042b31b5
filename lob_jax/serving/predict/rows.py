"""Sizes and times after some heads: each in a row of the network's batch, spelled token by token."""

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np

from lob_jax.generation.host import exact
from lob_jax.generation.host.context import Inputs
from lob_jax.generation.host.continuation import Continuation, scores_of
from lob_jax.serving.predict.chances import write_chances
from lob_jax.serving.predict.numbers import NumberRanges, code_ranges, distribution, gap_ranges
from lob_jax.serving.requests import Distribution
from lob_jax.tokens import vocabulary as v

_SIZES, _GAPS, _SKIP = slice(v.SIZE, v.TIME), slice(v.TIME, v.VOCAB_SIZE), slice(v.TIME_SKIP, v.TIME_SKIP + 1)
_CODE_DIGITS = 2  # that a code holds

Spelling = Generator[int, np.ndarray, "Numbers"]  # yields the next token, is sent the chances after it, float64 [V]


class Numbers(NamedTuple):
    """What is predicted after a head, see `lob_jax.serving.requests.Head`."""

    size: Distribution | None
    gap_ns: Distribution | None


def number_rows(continuation: Continuation, tokens: Sequence[int]) -> Generator[Inputs, np.ndarray, dict[int, Numbers]]:
    """Predict the sizes and times after some heads, one of them in each row; return them by head.

    Args:
      continuation: the rows, at least as many as heads, between two events; changed.
      tokens: the heads, at least one, none of them CONTROL.
    """
    paths, given = continuation.paths, continuation.given
    gaps = gap_ranges(int(given.rules.gap_digits) - _CODE_DIGITS)
    at_work = {row: _spelled(token, gaps) for row, token in enumerate(tokens)}
    token_B, found = np.full(len(paths.token), v.PAD, np.int64), {}
    chance_BV = np.zeros((len(token_B), v.VOCAB_SIZE))
    for row, spelling in at_work.items():
        token_B[row] = next(spelling)
    while at_work:
        exact.follow(paths, given, token_B)
        logits_BV = yield continuation.inputs()
        logit_BV, share_BV, _ = scores_of(logits_BV, 1.0)
        write_chances(paths, given, token_B, logit_BV, share_BV, chance_BV)
        for row, spelling in tuple(at_work.items()):
            try:
                token_B[row] = spelling.send(chance_BV[row])
            except StopIteration as end:
                found[tokens[row]], token_B[row] = end.value, v.PAD
                del at_work[row]
    return found


def _spelled(head: int, gaps: NumberRanges) -> Spelling:
    """Spell an event by its likeliest numbers up to its time, and return the distributions of its numbers."""
    chance_V = yield head
    while (token := _before(chance_V, _SIZES)) is not None:
        chance_V = yield token
    size_K = chance_V[_SIZES].copy()
    chance_V = yield v.SIZE + int(size_K.argmax())
    while (token := _before(chance_V, _GAPS, _SKIP)) is not None:
        chance_V = yield token
    gap_K = np.append(chance_V[_GAPS], chance_V[v.TIME_SKIP])
    return Numbers(distribution(code_ranges(v.MAX_NUMBER_DIGITS), size_K), distribution(gaps, gap_K))


def _before(chance_V: np.ndarray, *wanted: slice) -> int | None:
    """Return the likeliest other token if the wanted ones are less likely than all others together, else None."""
    other_V = chance_V.copy()
    for part in wanted:
        other_V[part] = 0
    return int(other_V.argmax()) if 2 * other_V.sum() > 1 else None
