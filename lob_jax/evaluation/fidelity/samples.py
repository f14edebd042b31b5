"""Values of real and generated sequences, sorted together, and the distances between weightings of the sequences."""

import dataclasses

import numpy as np

from lob_jax.evaluation.fidelity.conditional import Conditional
from lob_jax.evaluation.fidelity.score import Score, lacking
from lob_jax.statistics.distances import Binning, Distances, Frame, frame, weighted_distances
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import earlier

Rule = Score | Conditional


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """What a rule measured in a flow.

    Attributes:
      value: float64 [N].
      sequence: int64 [N], the sequence that each value comes from.
      condition: float64 [N], of a conditional rule; otherwise [0].
      sequences: the number of sequences of the flow.
      reason: why nothing could be measured, or None.
    """

    value: np.ndarray
    sequence: np.ndarray
    condition: np.ndarray
    sequences: int
    reason: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Joint:
    """Two samples as one, in ascending order of value.

    Attributes:
      value, condition: as of `Sample`.
      sequence: int64 [N], the sequences of the second sample numbered after those of the first.
      rule: the rule that measured them.
    """

    value: np.ndarray
    sequence: np.ndarray
    condition: np.ndarray
    rule: Rule


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """A joint sample with the groups and bins of one comparison: values lie group by group, ascending in each.

    Attributes:
      value, sequence: float64, int64 [N].
      frame: groups, bins and scale.
    """

    value: np.ndarray
    sequence: np.ndarray
    frame: Frame

    def between(self, first: np.ndarray, second: np.ndarray) -> Distances:
        """Return the distances between two weightings of the values, int64 [N] each."""
        return weighted_distances(self.value, self.frame, first, second)


def measure(rule: Rule, flow: Flow) -> Sample:
    """Return what a rule measures in a flow; if the flow lacks something that it needs, nothing and the reason."""
    reason = lacking(rule.needs, flow)
    if reason is None and isinstance(rule, Score):
        values = rule.values(flow)
        return Sample(values.value, values.sequence, np.zeros(0), len(flow))
    if reason is None and isinstance(rule, Conditional):
        value, condition = rule.value(flow), earlier(flow, rule.condition(flow), rule.lag)
        defined = np.isfinite(value) & np.isfinite(condition)
        return Sample(value[defined], flow.sequence()[defined], condition[defined], len(flow))
    return Sample(np.zeros(0), np.zeros(0, np.int64), np.zeros(0), len(flow), reason)


def joint(rule: Rule, first: Sample, second: Sample | None = None) -> Joint:
    """Return two samples of a rule as one, or one sample alone."""
    samples = (first,) if second is None else (first, second)
    value = np.concatenate([sample.value for sample in samples])
    order = np.argsort(value, kind="stable")
    sequence = np.concatenate([first.sequence, *(first.sequences + sample.sequence for sample in samples[1:])])
    condition = np.concatenate([sample.condition for sample in samples])
    return Joint(value[order], sequence[order], condition[order] if isinstance(rule, Conditional) else condition, rule)


def view(sample: Joint, weight: np.ndarray) -> View:
    """Return groups and bins for a comparison in which each sequence occurs `weight` times, int64 [sequences]."""
    rule, occurs = sample.rule, weight[sample.sequence]
    if isinstance(rule, Score):
        binning = Binning.DISTINCT if rule.discrete else Binning.FREEDMAN_DIACONIS
        return View(sample.value, sample.sequence, frame(sample.value, occurs, binning=binning))
    group = rule.grouping(sample.condition, occurs)
    order = np.argsort(group, kind="stable")  # the values stay in ascending order inside each group
    edges = np.append(np.flatnonzero(np.diff(group[order], prepend=-1)), len(order))
    value = sample.value[order]
    return View(value, sample.sequence[order], frame(value, occurs[order], binning=rule.binning, edges=edges))


def between(sample: Joint, first: np.ndarray, second: np.ndarray) -> Distances:
    """Return the distances between two weightings of the sequences, int64 [sequences] each."""
    weight = first + second
    rows = np.flatnonzero(weight[sample.sequence])
    condition = sample.condition[rows] if len(sample.condition) else sample.condition
    seen = view(Joint(sample.value[rows], sample.sequence[rows], condition, sample.rule), weight)
    return seen.between(first[seen.sequence], second[seen.sequence])
