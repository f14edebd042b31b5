"""Distances between two samples of a quantity: total variation over bins, Wasserstein-1, Kolmogorov-Smirnov.

Both samples lie sorted in one array, and a sample is a weight for each value: how often it occurs. Halves of the
data and bootstrap resamples are then other weights for the same array, and each costs one pass over it.
"""

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np

from lob_jax.jit import njit

DECILES = np.arange(0.1, 1.0, 0.1)


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


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """What stays as it is while weights are resampled: bins, and the unit of the Wasserstein distance.

    Attributes:
      bins: int64 [N], the bin of each value, non-decreasing; undefined where the value had no weight.
      sd: standard deviation of the pooled sample (ddof 1).
    """

    bins: np.ndarray
    sd: float


def distances(first: np.ndarray, second: np.ndarray, *, discrete: bool) -> Distances:
    """Return the distances between two samples, each a one-dimensional array of finite numbers.

    Args:
      first, second: the samples; either may be empty, see `weighted_distances`.
      discrete: see `frame`.
    """
    value = np.concatenate([first, second]).astype(np.float64)
    order = np.argsort(value, kind="stable")
    value, is_first = value[order], (order < len(first)).astype(np.int64)
    return weighted_distances(value, frame(value, np.ones_like(is_first), discrete=discrete), is_first, 1 - is_first)


def frame(value: np.ndarray, weight: np.ndarray, *, discrete: bool) -> Frame:
    """Return bins and standard deviation of a pooled sample.

    Args:
      value: float64 [N], ascending.
      weight: int64 [N], how often each value occurs in either sample.
      discrete: whether every distinct value is a bin; otherwise the edges are those of
        `numpy.histogram_bin_edges(pooled, "fd")`, and a value equal to an edge belongs to the bin above it.
    """
    bins = distinct_bins(value) if discrete else freedman_diaconis_bins(value, weight)
    return Frame(bins, _deviation(value, weight, 0, len(value)))


def weighted_distances(value: np.ndarray, frame: Frame, first: np.ndarray, second: np.ndarray) -> Distances:
    """Return the distances between two weightings of the same values.

    Args:
      value: float64 [N], ascending.
      frame: bins and scale, of these values.
      first, second: int64 [N], how often each value occurs in the samples. If one sample is empty, l1 and ks are 1 and
        w1 is NaN; if both are, all are NaN.
    """
    return Distances(*_distances(value, frame.bins, frame.sd, first, second, 0, len(value)))


def distinct_bins(value: np.ndarray) -> np.ndarray:
    """Return a bin for every distinct value of an ascending array, int64 [N]."""
    return np.cumsum(np.concatenate([[0], np.diff(value) != 0])[: len(value)])


def freedman_diaconis_bins(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the bins of a weighted sample by the rule of Freedman and Diaconis as NumPy applies it, int64 [N].

    The edges are never stored: an outlier far away costs nothing.
    """
    present = np.flatnonzero(weight)
    if len(present) == 0:
        return np.zeros(len(value), np.int64)
    first, last = float(value[present[0]]), float(value[present[-1]])
    if first == last:
        first, last = first - 0.5, last + 0.5
    lower, upper = _quantiles(value, weight, np.array([0.25, 0.75]), 0, len(value))
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
    return _quantiles(value, weight, probability, 0, len(value))


def thresholds(quantiles: np.ndarray) -> np.ndarray:
    """Return the edges of bins between quantiles; a value that several of them share gets a bin of its own."""
    edges, count = np.unique(quantiles, return_counts=True)
    return np.sort(np.concatenate([edges, np.nextafter(edges[count > 1], np.inf)]))


@dataclasses.dataclass(frozen=True, eq=False)
class GroupedFrame:
    """Frames of groups of values that lie behind each other.

    Attributes:
      edges: int64 [K+1], group k is from edges[k] to edges[k + 1] - 1.
      bins: int64 [N], the bin of each value, non-decreasing in a group.
      sd: float64 [K], standard deviation of each group's pooled sample (ddof 1).
      share: float64 [K], each group's share of all values.
    """

    edges: np.ndarray
    bins: np.ndarray
    sd: np.ndarray
    share: np.ndarray


def grouped_frame(value: np.ndarray, weight: np.ndarray, edges: np.ndarray, *, discrete: bool) -> GroupedFrame:
    """Return frames of groups: the bins of a group are its distinct values, or lie between its deciles.

    Args:
      value: float64 [N], ascending in each group.
      weight: int64 [N], how often each value occurs in either sample.
      edges: int64 [K+1].
      discrete: whether every distinct value is a bin.
    """
    spans = list(itertools.pairwise(edges))
    bins = np.zeros(len(value), np.int64)
    for first, last in spans:
        part = value[first:last]
        if discrete:
            bins[first:last] = distinct_bins(part)
        elif weight[first:last].any():
            deciles = _quantiles(value, weight, DECILES, first, last)
            bins[first:last] = np.searchsorted(thresholds(deciles), part, side="right")
    sd = np.array([_deviation(value, weight, first, last) for first, last in spans])
    total = np.array([weight[first:last].sum() for first, last in spans], np.float64)
    return GroupedFrame(np.asarray(edges), bins, sd, total / max(total.sum(), 1))


def grouped_distances(value: np.ndarray, frame: GroupedFrame, first: np.ndarray, second: np.ndarray) -> Distances:
    """Return the distances inside each group, averaged by the groups' shares; one that is not defined counts as 0.

    Args:
      value: float64 [N], ascending in each group.
      frame: the groups.
      first, second: int64 [N], how often each value occurs in the samples. If both are empty, all are NaN.
    """
    if not first.any() and not second.any():
        return Distances(np.nan, np.nan, np.nan)
    if not first.any() or not second.any():
        return Distances(1.0, np.nan, 1.0)
    return Distances(*_grouped(value, frame.edges, frame.bins, frame.sd, frame.share, first, second))


@njit
def _distances(
    value: np.ndarray, bins: np.ndarray, sd: float, a: np.ndarray, b: np.ndarray, first: int, last: int
) -> tuple[float, float, float]:
    """Return l1, w1, ks of the values from `first` to `last` - 1."""
    total_a, total_b = 0, 0
    for i in range(first, last):
        total_a += a[i]
        total_b += b[i]
    if total_a == 0 or total_b == 0:
        missing = np.nan if total_a == total_b else 1.0
        return missing, np.nan, missing
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
def _grouped(
    value: np.ndarray,
    edges: np.ndarray,
    bins: np.ndarray,
    sd: np.ndarray,
    share: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
) -> tuple[float, float, float]:
    """Return l1, w1, ks averaged over groups."""
    mean_l1 = mean_w1 = mean_ks = 0.0
    for k in range(len(share)):
        l1, w1, ks = _distances(value, bins, sd[k], a, b, edges[k], edges[k + 1])
        mean_l1 += share[k] * (0.0 if np.isnan(l1) else l1)
        mean_w1 += share[k] * (0.0 if np.isnan(w1) else w1)
        mean_ks += share[k] * (0.0 if np.isnan(ks) else ks)
    return mean_l1, mean_w1, mean_ks


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
def _quantiles(value: np.ndarray, weight: np.ndarray, probability: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return quantiles with the same rounding as numpy.quantile, so that edges are equal to the last bit."""
    total = 0
    for i in range(first, last):
        total += weight[i]
    result = np.empty(len(probability))
    row, below = first - 1, 0  # `below`: how many values there are up to and including `row`
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
