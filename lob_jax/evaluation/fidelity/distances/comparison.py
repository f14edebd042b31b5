"""Compare two flows by one score: distances with intervals, and how they relate to those between real halves."""

import dataclasses
from typing import Any

import numpy as np

from lob_jax.evaluation.fidelity.distances.draws import Halves, occurrences, sequence_resamples, value_resamples
from lob_jax.evaluation.fidelity.samples import Joint, Rule, Sample, between, joint, view

METRICS = ("l1", "w1", "ks")
CONFIDENCE = (0.5, 99.5)  # percentiles of the intervals
RANGE = (2.5, 97.5)  # of what splits give


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """The distances between a real and a generated sample, [.., 3] in the order of `METRICS`; NaN if not defined.

    Attributes:
      value: float64 [3].
      by_sequence: float64 [K, 3], of resamples of whole sequences.
      by_value: float64 [K, 3], of resamples of single values.
      n_real, n_generated: the numbers of values.
      reason: why a distance is not defined, or None.
    """

    value: np.ndarray
    by_sequence: np.ndarray
    by_value: np.ndarray
    n_real: int
    n_generated: int
    reason: str | None


def compared(rule: Rule, real: Sample, generated: Sample, *, resamples: int, seed: int) -> Compared:
    """Return the distances between two samples with their resamples."""
    both, count = joint(rule, real, generated), real.sequences
    seen = view(both, np.ones(count + generated.sequences, np.int64))
    is_real = seen.sequence < count
    of_sequences = sequence_resamples(count, generated.sequences, resamples=resamples, seed=seed)
    by_sequence = [seen.between(one[seen.sequence], two[seen.sequence]) for one, two in zip(*of_sequences, strict=True)]
    of_values = value_resamples(seen, is_real, resamples=resamples, name=rule.name, seed=seed)
    return Compared(
        np.array(seen.between(is_real.astype(np.int64), (~is_real).astype(np.int64))),
        _array(by_sequence),
        _array([seen.between(one, two) for one, two in of_values]),
        len(real.value),
        len(generated.value),
        None if len(generated.value) else "generated flow has no values",
    )


def undefined(real: Sample, generated: Sample, reason: str, *, resamples: int) -> Compared:
    """Return distances that are not defined, and why."""
    nothing = np.full((resamples, len(METRICS)), np.nan)
    value = np.full(len(METRICS), np.nan)
    return Compared(value, nothing, nothing, len(real.value), len(generated.value), reason)


def why_undefined(real: Sample, generated: Sample, *, comparable: Sample, messages: int) -> str | None:
    """Return why two samples cannot be compared, or None.

    Args:
      real, generated: the samples.
      comparable: the sample of the real sequences, cut to the length of the generated ones.
      messages: this length.
    """
    reasons = {"real": real.reason, "generated": generated.reason}
    if any(reasons.values()):
        return "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason)
    if len(comparable.value) == 0:
        return f"real flow has no values in sequences of {messages} messages"
    return None


def _array(found: list) -> np.ndarray:
    return np.array(found, np.float64).reshape(-1, len(METRICS))


def half_distances(both: Joint, first: np.ndarray, second: np.ndarray, *, real: int, generated: int) -> np.ndarray:
    """Return the distances of half of the first sample v half of the second one in each split, float64 [K, 3].

    Args:
      both: the samples.
      first, second: int64 [K, H], the sequences of each sample that are compared.
      real, generated: the numbers of sequences of the samples.
    """
    count = real + generated
    pairs = zip(first, real + second, strict=True)
    return _array([between(both, occurrences(a, count), occurrences(b, count)) for a, b in pairs])


def floor_distances(alone: Joint, draws: Halves, *, real: int) -> np.ndarray:
    """Return the distances of half A v half B of real in each split, float64 [K, 3]."""
    pairs = zip(draws.first, draws.second, strict=True)
    return _array([between(alone, occurrences(a, real), occurrences(b, real)) for a, b in pairs])


def interval(value: float, resampled: np.ndarray) -> tuple[float, float]:
    """Return percentiles .5 and 99.5 of resampled values, shifted so that their mean is the value; 0 at least.

    A resample has less diverse sequences than the data, so its distances are larger on average: unshifted, the interval
    could lie above the value. NaN if less than half of the resamples are defined.
    """
    known = _known(resampled)
    if len(known) == 0:
        return np.nan, np.nan
    low, high = np.percentile(known, CONFIDENCE) - np.mean(known) + value
    return max(float(low), 0.0), float(high)


def percentiles(value: float, resampled: np.ndarray) -> tuple[float, float]:
    """Return percentiles .5 and 99.5 of a value and its resamples together, which is LOB-Bench's interval."""
    known = _known(resampled)
    if len(known) == 0:
        return np.nan, np.nan
    low, high = np.percentile(np.append(known, value), CONFIDENCE)
    return float(low), float(high)


def _known(resampled: np.ndarray) -> np.ndarray:
    """Return the resamples that are defined; none if they are too few for an interval."""
    known = resampled[np.isfinite(resampled)]
    return known if 2 * len(known) >= len(resampled) else known[:0]


def mean_and_range(of_splits: np.ndarray) -> tuple[float, float, float]:
    """Return the mean over splits and the range of 95 % of them, of those that are defined; NaN if none is."""
    defined = of_splits[np.isfinite(of_splits)]
    if len(defined) == 0:
        return np.nan, np.nan, np.nan
    low, high = np.percentile(defined, RANGE)
    return float(defined.mean()), float(low), float(high)


def against_floor(half: np.ndarray, floor: np.ndarray) -> dict[str, float | None]:
    """Return how distances of generated halves relate to those of real halves, both float64 [K], one per split."""
    mean, low, high = mean_and_range(half)
    floor_mean, floor_low, floor_high = mean_and_range(floor)
    return plain(
        {
            "half": mean,
            "half_low": low,
            "half_high": high,
            "floor": floor_mean,
            "floor_low": floor_low,
            "floor_high": floor_high,
            "ratio": mean / floor_mean if floor_mean > 0 else np.nan,
        }
    )


def row(found: Compared, half: np.ndarray, floor: np.ndarray) -> dict[str, Any]:
    """Return the entry of one score and flow in the result of `compare.compare`."""
    entry: dict[str, Any] = {"n_real": found.n_real, "n_generated": found.n_generated, "reason": found.reason}
    for m, metric in enumerate(METRICS):
        value = float(found.value[m])
        shown = with_intervals(value, found.by_sequence[:, m], found.by_value[:, m])
        entry[metric] = shown | against_floor(half[:, m], floor[:, m])
    return entry


def with_intervals(value: float, by_sequence: np.ndarray, by_value: np.ndarray) -> dict[str, float | None]:
    """Return a value with its interval by whole sequences, and LOB-Bench's by single values."""
    low, high = interval(value, by_sequence)
    low_values, high_values = percentiles(value, by_value)
    return plain({"value": value, "low": low, "high": high, "low_values": low_values, "high_values": high_values})


def plain(values: dict[str, float]) -> dict[str, float | None]:
    """Return values as in JSON, None for those that are not defined."""
    return {name: float(value) if np.isfinite(value) else None for name, value in values.items()}
