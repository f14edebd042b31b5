"""Distributions of numbers that are predicted by ranges: leading codes of exact tokens, or bins of compact ones."""

import functools
from typing import NamedTuple

import numpy as np

from lob_jax.serving.requests import Distribution
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import MOST_GAP
from lob_jax.tokens.numbers import POWER, SKIP_NS

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
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
    chance_N = chance_N / chance_N.sum()
    at = np.minimum(np.searchsorted(np.cumsum(chance_N), LEVELS), np.flatnonzero(chance_N)[-1])
    best = np.argsort(-chance_N, kind="stable")[:LIKELIEST]
    rows = np.stack([ranges.low[best], ranges.high[best]], 1).tolist()
    likeliest = [(*row, chance) for row, chance in zip(rows, chance_N[best].tolist(), strict=True) if chance > 0]
    return Distribution(tuple(zip(LEVELS, ranges.value[at].tolist(), strict=True)), tuple(likeliest))
