"""Distances between two samples of a quantity: total variation over bins, Wasserstein-1, Kolmogorov-Smirnov.

Both samples lie sorted in one array, and a sample is a weight for each value: how often it occurs. Halves of the
data and bootstrap resamples are then other weights for the same array, and each costs one pass over it.
"""

import dataclasses
import enum
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lob_jax.jit import njit

DECILES = np.arange(0.1, 1.0, 0.1)
_QUARTILES = np.array([0.25, 0.75])


class Distances(NamedTuple):
    """Distances between two samples; NaN if not defined.

    Attributes:
      l1: half the sum over bins of the absolute difference in share, which is the total variation; 0 to 1.
      w1: the Wasserstein-1 distance in standard deviations of the pooled sample (ddof 1); 0 and more.
      ks: the largest difference between the distribution functions; 0 to 1.
    """

    l1: float
    w1: float
    ks: float


class Binning(enum.Enum):
    """How values are put into bins."""

    DISTINCT = "every distinct value is a bin"
    FREEDMAN_DIACONIS = "numpy.histogram_bin_edges(pooled, 'fd')"
    DECILES = "between the deciles of the pooled sample"


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """What stays as it is while weights are resampled; of one group of values, or of several, one behind another.

    Attributes:
      edges: int64 [K+1], group k is from edges[k] to edges[k + 1] - 1.
      bins: int64 [N], the bin of each value, non-decreasing in a group; undefined where the value had no weight.
      sd: float64 [K], standard deviation of each group's pooled sample (ddof 1): the unit of the Wasserstein distance.
      share: float64 [K], each group's share of all values.
    """

    edges: np.ndarray
    bins: np.ndarray
    sd: np.ndarray
    share: np.ndarray


def distances(first: np.ndarray, second: np.ndarray, *, discrete: bool) -> Distances:
    """Return the distances between two samples, each a one-dimensional array of finite numbers.

    Args:
      first, second: the samples; either may be empty, see `weighted_distances`.
      discrete: whether every distinct value is a bin; otherwise the bins are by the rule of Freedman and Diaconis.
    """
    value = np.concatenate([first, second]).astype(np.float64)
    order = np.argsort(value, kind="stable")
    value, is_first = value[order], (order < len(first)).astype(np.int64)
    binning = Binning.DISTINCT if discrete else Binning.FREEDMAN_DIACONIS
    return weighted_distances(value, frame(value, np.ones_like(is_first), binning=binning), is_first, 1 - is_first)


def frame(value: np.ndarray, weight: np.ndarray, *, binning: Binning, edges: np.ndarray | None = None) -> Frame:
    """Return the frame of a pooled sample.

    Args:
      value: float64 [N], ascending in each group.
      weight: int64 [N], how often each value occurs in either sample.
      binning: how the values of a group are put into bins; a value equal to an edge belongs to the bin above it.
      edges: int64 [K+1], of the groups; None for one group.
    """
    edges = np.array([0, len(value)]) if edges is None else np.asarray(edges, np.int64)
    bins, spans = np.zeros(len(value), np.int64), list(itertools.pairwise(edges))
    for first, last in spans:
        bins[first:last] = _BINS[binning](value[first:last], weight[first:last])
    sd = np.array([_deviation(value, weight, first, last) for first, last in spans])
    total = np.array([weight[first:last].sum() for first, last in spans], np.float64)
    return Frame(edges, bins, sd, total / max(total.sum(), 1))


def weighted_distances(value: np.ndarray, frame: Frame, first: np.ndarray, second: np.ndarray) -> Distances:
    """Return the distances between two weightings of the same values.

    With several groups, the distances inside each are averaged by the groups' shares: where a group lacks one sample,
    l1 and ks are 1 and w1 counts as 0.

    Args:
      value: float64 [N], ascending in each group.
      frame: the frame of these values.
      first, second: int64 [N], how often each value occurs in the samples. If one sample is empty, l1 and ks are 1 and
        w1 is NaN; if both are, all are NaN.
    """
    has_first, has_second = first.any(), second.any()
    if not has_first or not has_second:
        missing = 1.0 if has_first or has_second else np.nan
        return Distances(missing, np.nan, missing)
    return Distances(*_distances(value, frame.edges, frame.bins, frame.sd, frame.share, first, second))


def distinct_bins(value: np.ndarray) -> np.ndarray:
    """Return a bin for every distinct value of an ascending array, int64 [N]."""
    return np.cumsum(np.concatenate([[0], np.diff(value) != 0])[: len(value)])


def freedman_diaconis_bins(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the bins of a weighted sample by the rule of Freedman and Diaconis as NumPy applies it, int64 [N].

    The edges are never stored: an outlier far away costs nothing.
    """
    if not weight.any():
        return np.zeros(len(value), np.int64)
    first, last = float(value[np.argmax(weight > 0)]), float(value[len(value) - 1 - np.argmax(weight[::-1] > 0)])
    if first == last:
        first, last = first - 0.5, last + 0.5
    lower, upper = quantiles(value, weight, _QUARTILES)
    width = 2.0 * (upper - lower) * int(weight.sum()) ** (-1.0 / 3.0)
    count = int(np.ceil((last - first) / width)) if width else 1
    return _regular_bins(value, first, last, count)


def quantiles(value: np.ndarray, weight: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return quantiles of a weighted sample, interpolated linearly as `numpy.quantile` does.

    Args:
      value: float64 [N], ascending.
      weight: int64 [N], how often each value occurs; not all 0.
      probability: float64 [Q], ascending.
    """
    return _quantiles(value, weight, probability)


def thresholds(quantiles: np.ndarray) -> np.ndarray:
    """Return the edges of bins between quantiles; a value that several of them share gets a bin of its own."""
    edges, count = np.unique(quantiles, return_counts=True)
    return np.sort(np.concatenate([edges, np.nextafter(edges[count > 1], np.inf)]))


def quantile_bins(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the bins between the deciles of a weighted sample, int64 [N]."""
    if not weight.any():
        return np.zeros(len(value), np.int64)
    edges = thresholds(quantiles(value, weight, DECILES))
    return np.searchsorted(edges, value, side="right")


_BINS: dict[Binning, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    Binning.DISTINCT: lambda value, weight: distinct_bins(value),
    Binning.FREEDMAN_DIACONIS: freedman_diaconis_bins,
    Binning.DECILES: quantile_bins,
}


@njit
def _distances(
    value: np.ndarray,
    edges: np.ndarray,
    bins: np.ndarray,
    sd: np.ndarray,
    share: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
) -> tuple[float, float, float]:
    """Return l1, w1, ks, averaged over groups."""
    l1 = w1 = ks = 0.0
    for k in range(len(share)):
        of_group = _of_group(value, bins, sd[k], a, b, edges[k], edges[k + 1])
        l1 += share[k] * of_group[0]
        w1 += share[k] * of_group[1]
        ks += share[k] * of_group[2]
    return l1, w1, ks


@njit
def _of_group(
    value: np.ndarray, bins: np.ndarray, sd: float, a: np.ndarray, b: np.ndarray, first: int, last: int
) -> tuple[float, float, float]:
    """Return l1, w1, ks of the values from `first` to `last` - 1."""
    total_a, total_b = 0, 0
    for i in range(first, last):
        total_a += a[i]
        total_b += b[i]
    if total_a == 0 or total_b == 0:
        missing = 0.0 if total_a == total_b else 1.0
        return missing, 0.0, missing
    # In units of 1 / (total_a * total_b), so that l1 and ks are sums and maxima of integers, without rounding.
    l1, ks, w1 = 0, 0, 0.0
    below_a, below_b, bin_a, bin_b = 0, 0, 0, 0
    previous = -1
    for i in range(first, last):
        if a[i] == 0 and b[i] == 0:
            continue
        if previous >= 0 and value[i] != value[previous]:
            gap = abs(below_a * total_b - below_b * total_a)
            w1 += gap * (value[i] - value[previous])
            ks = max(ks, gap)
            if bins[i] != bins[previous]:
                l1 += abs(bin_a * total_b - bin_b * total_a)
                bin_a, bin_b = 0, 0
        below_a += a[i]
        below_b += b[i]
        bin_a += a[i]
        bin_b += b[i]
        previous = i
    l1 += abs(bin_a * total_b - bin_b * total_a)
    unit = float(total_a) * float(total_b)
    return l1 / unit / 2, w1 / unit / sd if sd > 0 else 0.0, ks / unit


@njit
def _deviation(value: np.ndarray, weight: np.ndarray, first: int, last: int) -> float:
    """Return the standard deviation (ddof 1), 0 for fewer than two values."""
    total, mean, squares = 0, 0.0, 0.0
    for i in range(first, last):
        total += weight[i]
        mean += weight[i] * value[i]
    if total < 2:
        return 0.0
    mean /= total
    for i in range(first, last):
        squares += weight[i] * (value[i] - mean) ** 2
    return np.sqrt(squares / (total - 1))


@njit
def _quantiles(value: np.ndarray, weight: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return quantiles with the same rounding as numpy.quantile, so that edges are equal to the last bit."""
    total = weight.sum()
    result = np.empty(len(probability))
    row, below = -1, 0  # `below`: how many values there are up to and including `row`
    for q in range(len(probability)):
        place = (total - 1) * probability[q]
        rank = int(np.floor(place))
        while below <= rank:
            row += 1
            below += weight[row]
        low = high = value[row]
        if below == rank + 1 and rank + 1 < total:
            following = row + 1
            while weight[following] == 0:
                following += 1
            high = value[following]
        share = place - rank
        result[q] = high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share
    return result


@njit
def _regular_bins(value: np.ndarray, first: float, last: float, count: int) -> np.ndarray:
    """Return how many of the edges of `numpy.linspace(first, last, count + 1)` are at or below each value."""
    bins = np.empty(len(value), np.int64)
    step = (last - first) / count
    for i in range(len(value)):
        x = value[i]
        if x < first or x >= last:
            bins[i] = 0 if x < first else count + 1
            continue
        k = min(int((x - first) / step), count - 1)
        while k + 1 < count and (k + 1) * step + first <= x:  # the quotient may be rounded up or down
            k += 1
        while k > 0 and k * step + first > x:
            k -= 1
        bins[i] = k + 1
    return bins
