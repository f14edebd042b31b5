"""Statistics of paired comparisons: variants against a reference, from the same seeds, with what they cannot detect.

A difference is that of a variant and its reference from the same seed. The standard deviation of differences is pooled
over all variants, since three seeds alone say little about it: with n seeds and R variants,
s^2 = sum over variants and seeds of (difference - mean difference of the variant)^2 / (R (n - 1)). The smallest
difference that can be detected is t s / sqrt(n), with the 97.5 % quantile of Student's t.

All variants share the noise of the reference, so that their deviations are not independent. If the reference is as
noisy as a variant, the correlation of two variants' differences is 1/2, and the pooled variance has the spread of one
with R (n - 1) / (1 + (R - 1) / 4) degrees of freedom (matched by its variance, as Satterthwaite did in 1946). That many
are used: below 4 (n - 1), however many variants there are.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95  # two-sided
CORRELATION = 0.5  # of the differences of two variants that share a reference

Figures = Mapping[int, float]  # by seed


@dataclasses.dataclass(frozen=True)
class Difference:
    """A variant against its reference.

    Attributes:
      seeds: the seeds that both have.
      mean: mean of the differences.
      deviation: their standard deviation; NaN for a single seed.
      detectable: the smallest difference that can be detected with so many seeds; NaN if no variant has two seeds.
    """

    seeds: tuple[int, ...]
    mean: float
    deviation: float
    detectable: float

    @property
    def detected(self) -> bool:
        """Whether the difference is one that can be told from noise; False is no verdict, not equality."""
        return abs(self.mean) > self.detectable  # False if that is NaN


def differences_by_seed(variant: Figures, reference: Figures) -> dict[int, float]:
    """Return variant minus reference for each seed that both have."""
    return {seed: variant[seed] - reference[seed] for seed in sorted(set(variant) & set(reference))}


def pooled_deviation(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the standard deviation within groups of differences, and its effective degrees of freedom.

    NaN and 0 if no group has two members. See the module for both formulas.
    """
    many = [np.asarray(group, float) for group in groups if len(group) > 1]
    nominal = sum(len(group) - 1 for group in many)
    if nominal == 0:
        return math.nan, 0.0
    squares = sum(float(np.square(group - group.mean()).sum()) for group in many)
    return math.sqrt(squares / nominal), nominal / (1 + (len(many) - 1) * CORRELATION**2)


def detectable_difference(deviation: float, degrees: float, seeds: int) -> float:
    """Return the smallest mean of `seeds` differences that is told from 0; NaN without degrees of freedom.

    A true difference of just this size is detected half of the time.
    """
    if degrees == 0:
        return math.nan
    return float(student.ppf((1 + LEVEL) / 2, degrees)) * deviation / math.sqrt(seeds)


def compare_paired(
    figures: Mapping[str, Figures], references: Mapping[str, str]
) -> tuple[dict[str, Difference], float, float]:
    """Compare variants with their references by one figure.

    Args:
      figures: the figure by variant and seed.
      references: the reference of each variant that has one.

    Returns:
      The differences by variant, for those with a seed in common with their reference; the pooled standard deviation;
      and its effective degrees of freedom.
    """
    pairs = {
        name: differences_by_seed(figures[name], figures[reference])
        for name, reference in references.items()
        if name in figures and reference in figures
    }
    pairs = {name: found for name, found in pairs.items() if found}
    deviation, degrees = pooled_deviation([list(found.values()) for found in pairs.values()])
    return {name: _difference(found, deviation, degrees) for name, found in pairs.items()}, deviation, degrees


def _difference(found: Mapping[int, float], deviation: float, degrees: float) -> Difference:
    values = np.array(list(found.values()))
    return Difference(
        seeds=tuple(found),
        mean=float(values.mean()),
        deviation=float(values.std(ddof=1)) if len(values) > 1 else math.nan,
        detectable=detectable_difference(deviation, degrees, len(values)),
    )
