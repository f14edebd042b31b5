"""Distributions of numbers that are predicted by ranges: leading codes of exact tokens, or bins of compact ones."""

import functools
from typing import NamedTuple

import numpy as np

from lob_jax.serving.requests import Distribution
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import MOST_GAP
from lob_jax.tokens.numbers import POWER, SKIP_NS

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_LEVELS = np.array(LEVELS)
LIKELIEST = 5  # ranges that are listed


class NumberRanges(NamedTuple):
    """Ascending ranges of numbers, int64 [N] each.

    Attributes:
      low: the lowest number.
      high: the highest one.
      value: the number that stands for the range.
    """

    low: np.ndarray
    high: np.ndarray
    value: np.ndarray


@functools.cache
def code_ranges(digits: int) -> NumberRanges:
    """Return the numbers of the codes 0..999, of which at most so many `digits` follow; the lowest stands for all."""
    code = np.arange(v.CLASS_SIZE)
    more = np.where(code < 10, 0, (code - 10) // 90)
    low = np.where(code < 10, code, (code - 90 * more) * POWER[more])
    kept = np.minimum(more, digits)
    return NumberRanges(low, low + (POWER[kept] - 1) * POWER[more - kept], low)


@functools.cache
def gap_ranges(digits: int) -> NumberRanges:
    """Return the gaps in ns of the codes 0..999, and those of TIME_SKIP, which is at least a skip."""
    codes = code_ranges(digits)
    return NumberRanges(*(np.append(one, at) for one, at in zip(codes, (SKIP_NS, MOST_GAP, SKIP_NS), strict=True)))


def distribution(ranges: NumberRanges, chance_N: np.ndarray) -> Distribution:
    """Return the distribution of a number; a quantile is the value of the range that it falls into.

    Args:
      ranges: the ranges.
      chance_N: float64 [N], their probabilities, up to a factor.
    """
    upto_N = np.cumsum(chance_N)
    at = np.searchsorted(upto_N, upto_N[-1] * _LEVELS)
    best = likeliest(chance_N, LIKELIEST)
    rows = zip(
        ranges.low[best].tolist(), ranges.high[best].tolist(), (chance_N[best] / upto_N[-1]).tolist(), strict=True
    )
    return Distribution(tuple(zip(LEVELS, ranges.value[at].tolist(), strict=True)), tuple(rows))


def likeliest(chance_N: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the greatest probabilities, the greatest first, of at most `count` that are above 0."""
    found = np.flatnonzero(chance_N)
    if count < len(found):
        found = found[np.argpartition(-chance_N[found], count)[:count]]
    return found[np.lexsort((found, -chance_N[found]))]
