"""Figures of one model or baseline: the counts of its metrics by event, their figures, and confidence intervals."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.errors import InputError
from lob_jax.evaluation.likelihood.bootstrap import Blocks, block_length, interval
from lob_jax.evaluation.metric import METRICS, Scored
from lob_jax.tokens import vocabulary as v

Figures = dict[str, Any]
_NATS = "loss"  # the metric whose counts are nats, by field


@dataclasses.dataclass(frozen=True, eq=False)
class EventCounts:
    """The counts of all metrics for each of E events, in the order of the events.

    Attributes:
      values: float64 [E, K], the counts of the metrics side by side; the last column is the number of tokens.
    """

    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def nats(self) -> np.ndarray:
        """Return the negative log likelihood of each event, float64 [E], nats."""
        return self.values[:, _columns()[_NATS]].sum(1)


def count_events(parts: Sequence[Scored]) -> EventCounts:
    """Count scored tokens by event, those of each record in turn.

    Args:
      parts: the scored tokens of consecutive records, each of complete events.

    Raises:
      InputError: no event was scored.
    """
    found = [_counts_of(part) for part in parts if len(part.target)]
    if not found:
        raise InputError(
            "no event was scored",
            where="the likelihood of a split",
            expected="at least one scored event",
            was=f"{len(parts)} records without scored tokens",
            remedy="evaluate on a split with events after the lead of its records",
        )
    return EventCounts(np.concatenate(found))


def _counts_of(scored: Scored) -> np.ndarray:
    rows = [metric.count(scored).astype(np.float64) for _, metric in METRICS.items()]
    begins = np.flatnonzero(scored.field == v.FIELD_HEAD)
    return np.add.reduceat(np.concatenate([*rows, np.ones((len(scored.target), 1))], axis=1), begins, axis=0)


@functools.cache
def _columns() -> dict[str, slice]:
    """Return the columns of each metric's counts."""
    none = np.zeros(0, np.int64)
    nothing = Scored(predicted=none, target=none, nll=np.zeros(0), field=none)
    widths = [metric.count(nothing).shape[1] for _, metric in METRICS.items()]
    edges = itertools.pairwise(itertools.accumulate(widths, initial=0))
    return {name: slice(*edge) for name, edge in zip(METRICS, edges, strict=True)}


def figures(counts: EventCounts) -> Figures:
    """Return the numbers of events and tokens and the figures of all metrics, as `LOBMetrics.compute`."""
    sums = counts.values.sum(0)
    return {"events": len(counts), "tokens": int(sums[-1]), **_figures(sums, len(counts))}


def _figures(sums: np.ndarray, events: int) -> Figures:
    found: Figures = {}
    for name, columns in _columns().items():
        found |= METRICS[name].figures(sums[columns], events, int(sums[-1]))
    return found


def draw_blocks(counts: Sequence[EventCounts], *, resamples: int, seed: int) -> Blocks:
    """Draw the resamples that all models of a split share, so that their differences are paired.

    The block length is the longest of those that `block_length` gives for the models' code lengths of the events.
    """
    length = max(block_length(one.nats()) for one in counts)
    return Blocks.draw(len(counts[0]), length, resamples=resamples, rng=np.random.default_rng(seed))


def resampled_figures(counts: EventCounts, blocks: Blocks) -> dict[str, np.ndarray]:
    """Return every figure in each resample, float64 [R] by key; figures in dicts have their own keys."""
    found = [leaves(_figures(sums, blocks.drawn)) for sums in blocks.sums(counts.values)]
    return {key: np.array([one[key] for one in found]) for key in found[0]}


def leaves(found: Mapping[str, Any]) -> dict[str, float]:
    """Return figures by key, with those of dicts beside the others."""
    flat: dict[str, float] = {}
    for key, value in found.items():
        flat |= value if isinstance(value, dict) else {key: value}
    return flat


def intervals(resampled: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """Return the confidence interval [low, high] of each figure that is finite in every resample."""
    return {key: interval(values) for key, values in resampled.items() if np.isfinite(values).all()}


def differences(
    found: Figures, other: Figures, resampled: Mapping[str, np.ndarray], of_other: Mapping[str, np.ndarray]
) -> dict[str, list[float]]:
    """Return the difference of each figure of a model from that of another as [value, low, high].

    Args:
      found: the figures of the model.
      other: those of the other one.
      resampled: the figures of the model in each resample.
      of_other: those of the other one in the same resamples.
    """
    values, others = leaves(found), leaves(other)
    return {
        key: [values[key] - others[key], *interval(resampled[key] - of_other[key])]
        for key in resampled
        if key in values and key in others and math.isfinite(values[key] - others[key])
    }
