"""Sums per sequence, from which figures of any selection of sequences follow: means, correlations and moments.

A figure of pooled sequences is a function of the total of their sums. Splits and bootstrap draws are therefore products
of a matrix of weights and the sums, without another look at the messages.
"""

from collections.abc import Sequence

import numpy as np

from lob_jax.statistics.flow_series import pairs

PAIR = 6  # columns of `pair_sums`
MOMENTS = 5  # columns of `moment_sums`
LEAST = 20  # messages or pairs below which a share, a mean or a correlation says nothing


def totals(value: np.ndarray, sequence: np.ndarray, count: int) -> np.ndarray:
    """Return the sums of values by sequence, float64 [S, K].

    Args:
      value: [N] or [N, K].
      sequence: int64 [N].
      count: S.
    """
    value = np.asarray(value, np.float64)
    columns = value.T if value.ndim == 2 else value[None]
    return np.stack([np.bincount(sequence, column, minlength=count) for column in columns], axis=1)


def shares(category: np.ndarray, sequence: np.ndarray, *, count: int, categories: int) -> np.ndarray:
    """Return how often each category occurs in each sequence, float64 [S, C].

    Args:
      category: int64 [N], from 0 to C - 1.
      sequence: int64 [N].
      count: S.
      categories: C.
    """
    cell = sequence * categories + category
    return np.bincount(cell, minlength=count * categories).reshape(count, categories).astype(np.float64)


def ratio(above: np.ndarray, below: np.ndarray, *, least: float = 0) -> np.ndarray:
    """Return above / below, NaN where below is 0 or less than `least`."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=(below != 0) & (below >= least))


def pair_sums(x: np.ndarray, y: np.ndarray, *, sequence: np.ndarray, count: int) -> np.ndarray:
    """Return the sums of a correlation of x and y, float64 [S, 6]; pairs with a value that is not finite are left out.

    Args:
      x, y: [N].
      sequence: int64 [N].
      count: S.
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.asarray(x, np.float64)[known], np.asarray(y, np.float64)[known]
    return totals(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1), sequence[known], count)


def correlation(sums: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation from `pair_sums` [..., 6], NaN for fewer than `LEAST` pairs or a constant series."""
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    variance_x, variance_y = n * xx - x * x, n * yy - y * y
    varies = (n >= LEAST) & (variance_x > 1e-10 * n * xx) & (variance_y > 1e-10 * n * yy)
    scale = np.sqrt(np.where(varies, variance_x * variance_y, 1))
    return np.where(varies, np.clip((n * xy - x * y) / scale, -1, 1), np.nan)


def lagged_sums(value: np.ndarray, sequence: np.ndarray, *, count: int, lags: Sequence[int]) -> np.ndarray:
    """Return the sums of the autocorrelation of a series within sequences, float64 [S, lags, 6].

    Args:
      value: [N].
      sequence: int64 [N], ascending.
      count: S.
      lags: values between the two of a pair, at least 1.
    """
    rows = [pairs(sequence, lag) for lag in lags]
    parts = [
        pair_sums(value[row], value[row + lag], sequence=sequence[row], count=count)
        for row, lag in zip(rows, lags, strict=True)
    ]
    return np.stack(parts, axis=1)


def moment_sums(value: np.ndarray, sequence: np.ndarray, count: int) -> np.ndarray:
    """Return the number of finite values and the sums of their first four powers, float64 [S, 5]."""
    known = np.isfinite(value)
    value = np.asarray(value, np.float64)[known]
    return totals(np.stack([value**power for power in range(MOMENTS)], axis=1), sequence[known], count)


def variance(sums: np.ndarray) -> np.ndarray:
    """Return the variance of the population from `moment_sums` [..., 5]."""
    mean, square = ratio(sums[..., 1], sums[..., 0]), ratio(sums[..., 2], sums[..., 0])
    return np.maximum(square - mean**2, 0)


def skewness(sums: np.ndarray) -> np.ndarray:
    """Return the skewness from `moment_sums` [..., 5]: the third central moment over that of order two to the 3/2."""
    m1, m2, m3 = (ratio(sums[..., power], sums[..., 0]) for power in (1, 2, 3))
    return ratio(m3 - 3 * m1 * m2 + 2 * m1**3, variance(sums) ** 1.5)


def excess_kurtosis(sums: np.ndarray) -> np.ndarray:
    """Return the excess kurtosis from `moment_sums` [..., 5]: 0 for a normal distribution."""
    m1, m2, m3, m4 = (ratio(sums[..., power], sums[..., 0]) for power in (1, 2, 3, 4))
    return ratio(m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4, variance(sums) ** 2) - 3
