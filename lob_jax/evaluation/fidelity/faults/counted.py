"""Distances between many pairs of selections of sequences at once, from what each sequence counts."""

from collections.abc import Callable

import numpy as np

from lob_jax.evaluation.fidelity.measure import Measure
from lob_jax.evaluation.fidelity.samples import Rule, Sample, joint, view
from lob_jax.evaluation.fidelity.score import Score

POINTS = 512  # quantiles of real flow at which distribution functions are compared
LARGEST = "largest"  # the statistic of a measure

# (real selections [D, S], other selections [D, S], whether the others are faulty) -> distances [D]
Statistic = Callable[[np.ndarray, np.ndarray, bool], np.ndarray]


def of_rule(rule: Rule, real: Sample, planted: Sample) -> dict[str, Statistic]:
    """Return the distances of a score between selections: L1, and W1 and KS unless the score is conditional.

    Bins, groups and scales are those of all real sequences. W1 and KS compare the distribution functions at `POINTS`
    quantiles of them, and at the extremes of both.
    """
    sample, count = joint(rule, real, planted), real.sequences
    total = count + planted.sequences
    seen = view(sample, (np.arange(total) < count).astype(np.int64))
    group = np.repeat(np.arange(len(seen.frame.share)), np.diff(seen.frame.edges))
    begins = (np.diff(seen.frame.bins, prepend=-1) != 0) | (np.diff(group, prepend=-1) != 0)
    cell = np.cumsum(begins) - 1
    cells = _counts(seen.sequence, cell, total, int(begins.sum()))
    first_cell = np.searchsorted(group[begins], np.arange(len(seen.frame.share)))
    share = seen.frame.share

    def l1(one: np.ndarray, other: np.ndarray, faulty: bool) -> np.ndarray:
        return _total_variation(*_selected(cells, count, one, other, faulty), first_cell, share)

    if not isinstance(rule, Score):
        return {"l1": l1}
    point = _points(real.value, planted.value)
    steps = _counts(sample.sequence, np.searchsorted(point, sample.value, side="left"), total, len(point))
    apart = np.diff(point, append=point[-1:])

    def w1(one: np.ndarray, other: np.ndarray, faulty: bool) -> np.ndarray:
        return _functions_apart(*_selected(steps, count, one, other, faulty)) @ apart

    def ks(one: np.ndarray, other: np.ndarray, faulty: bool) -> np.ndarray:
        return _functions_apart(*_selected(steps, count, one, other, faulty)).max(axis=1, initial=0)

    return {"l1": l1, "w1": w1, "ks": ks}


def _counts(sequence: np.ndarray, cell: np.ndarray, sequences: int, cells: int) -> np.ndarray:
    """Return how many values each sequence has in each cell, float64 [S, C]."""
    return np.bincount(sequence * cells + cell, minlength=sequences * cells).reshape(sequences, cells).astype(float)


def _selected(
    counts: np.ndarray, real: int, one: np.ndarray, other: np.ndarray, faulty: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of two selections, [D, C] each: of real sequences, and of real or of faulty ones."""
    return one @ counts[:real], other @ (counts[real:] if faulty else counts[:real])


def _total_variation(first: np.ndarray, second: np.ndarray, first_cell: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return half the sum of absolute differences in share of the cells, averaged over groups; NaN without values."""
    if not first.shape[1]:
        return np.full(len(first), np.nan)
    totals = [np.add.reduceat(counts, first_cell, axis=1) for counts in (first, second)]
    cells = np.diff(first_cell, append=first.shape[1])
    shares = [
        counts / np.maximum(np.repeat(total, cells, axis=1), 1)
        for counts, total in zip((first, second), totals, strict=True)
    ]
    apart = np.add.reduceat(np.abs(shares[0] - shares[1]), first_cell, axis=1) / 2
    apart = np.where((totals[0] == 0) != (totals[1] == 0), 1.0, apart)
    known = (totals[0] > 0).any(axis=1) | (totals[1] > 0).any(axis=1)
    return np.where(known, apart @ share, np.nan)


def _points(real: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """Return ascending values at which to compare distribution functions; the last is the largest of all values."""
    if not len(real):
        return np.unique(planted)[-1:] if len(planted) else np.zeros(1)
    inner = np.quantile(real, np.linspace(0, 1, POINTS), method="inverted_cdf")
    ends = [extreme for values in (real, planted) if len(values) for extreme in (values.min(), values.max())]
    return np.unique(np.concatenate([inner, ends]))


def _functions_apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the absolute differences of the distribution functions, [D, C]; 1 where one sample is empty, else NaN."""
    totals = [counts.sum(axis=1, keepdims=True) for counts in (first, second)]
    functions = [
        np.cumsum(counts, axis=1) / np.maximum(total, 1) for counts, total in zip((first, second), totals, strict=True)
    ]
    apart = np.abs(functions[0] - functions[1])
    apart = np.where((totals[0] == 0) != (totals[1] == 0), 1.0, apart)
    return np.where((totals[0] == 0) & (totals[1] == 0), np.nan, apart)


def of_measure(measure: Measure, real: np.ndarray, planted: np.ndarray) -> dict[str, Statistic]:
    """Return the largest difference of a measure's figures, each in standard deviations over real selections.

    Args:
      measure: the measure.
      real: float64 [S, K], what each real sequence adds.
      planted: float64 [S, K], the same with the fault. Either is [0, K] if the measure cannot be taken.
    """

    def largest(one: np.ndarray, other: np.ndarray, faulty: bool) -> np.ndarray:
        of_other = planted if faulty else real
        if not len(real) or not len(of_other):
            return np.full(len(one), np.inf if len(real) else np.nan)
        first = measure.figures(one @ real)
        second = measure.figures(other @ of_other)
        apart = [_standardised(first[label], second[label]) for label in first]
        return np.max(apart, axis=0)

    return {LARGEST: largest}


def _standardised(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return absolute differences in standard deviations of the first; 0 where one is not defined or both agree."""
    known = first[np.isfinite(first)]
    scale = known.std() if len(known) else 0.0
    apart = np.abs(np.where(np.isfinite(first) & np.isfinite(second), first - second, 0.0))
    return apart / scale if scale > 0 else np.where(apart > 0, np.inf, 0.0)
