"""Statistics of each sequence as a row of numbers: its measures, quantiles of its scores, and its transitions."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.stats

from lob_jax.evaluation.fidelity.measure import all_measures, same_knowledge
from lob_jax.evaluation.fidelity.measures.transitions import transition_counts
from lob_jax.evaluation.fidelity.score import Need, Values, all_scores, lacking
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_sums import ratio

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
LEAST_KNOWN = 0.5  # share of all sequences that must have a feature


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Features of the sequences of several flows.

    Attributes:
      names: F labels.
      value: by flow, float64 [S, F], normal scores of the ranks among the sequences of all flows; 0 if unknown.
    """

    names: tuple[str, ...]
    value: dict[str, np.ndarray]


def sequence_features(flows: Mapping[str, Flow]) -> Features:
    """Return features of sequences, such as all of the flows have.

    Ranks make every feature normal whatever its scale and tails. They come from the sequences of all flows together,
    without a look at which flow a sequence is of.
    """
    cut, _ = same_knowledge(dict(flows))
    columns: dict[str, list[np.ndarray]] = {}
    for measure in all_measures():
        if all(_has(flow, measure.needs) for flow in cut.values()):
            parts = [measure.figures(measure.sums(flow)) for flow in cut.values()]
            columns |= {f"{measure.label}: {label}": [part[label] for part in parts] for label in parts[0]}
    for score in all_scores():
        if all(_has(flow, score.needs) for flow in cut.values()):
            parts = [sequence_quantiles(score.values(flow), len(flow)) for flow in cut.values()]
            columns |= {
                f"{score.label}: quantile {share:g}": [part[:, at] for part in parts]
                for at, share in enumerate(QUANTILES)
            }
    if all(_has(flow, frozenset({Need.MESSAGES})) for flow in cut.values()):
        columns |= _transitions(list(cut.values()))
    sequences = sum(len(flow) for flow in cut.values())
    table = np.array([np.concatenate(parts) for parts in columns.values()]).reshape(len(columns), sequences).T
    varies = [_varies(column) for column in table.T]
    scored = np.stack([normal_scores(column) for column in table.T[varies]], axis=1) if any(varies) else table[:, :0]
    names = tuple(name for name, kept in zip(columns, varies, strict=True) if kept)
    ends = np.cumsum([len(flow) for flow in cut.values()])[:-1]
    return Features(names, dict(zip(cut, np.split(scored, ends), strict=True)))


def _has(flow: Flow, needs: frozenset[Need]) -> bool:
    return flow.edges[-1] > 0 and lacking(needs, flow) is None


def sequence_quantiles(values: Values, sequences: int) -> np.ndarray:
    """Return the quantiles of each sequence's values at `QUANTILES`, float64 [S, Q], NaN without values."""
    order = np.lexsort((values.value, values.sequence))
    value = values.value[order]
    edges = np.searchsorted(values.sequence[order], np.arange(sequences + 1))
    count = np.diff(edges)
    place = edges[:-1, None] + np.floor(np.asarray(QUANTILES) * np.maximum(count - 1, 0)[:, None] + 0.5).astype(int)
    known = count[:, None] > 0
    return (
        np.where(known, value[np.minimum(place, len(value) - 1)], np.nan)
        if len(value)
        else np.full(place.shape, np.nan)
    )


def _transitions(flows: list[Flow]) -> dict[str, list[np.ndarray]]:
    parts = [transition_counts(flow, 1) for flow in flows]
    parts = [ratio(part, part.sum(axis=1, keepdims=True)) for part in parts]
    states = [f"{kind.name.lower()} {side}" for kind in list(Kind)[:6] for side in ("bid", "ask")]
    cells = [f"{one}, then {other}" for one in states for other in states]
    return {cell: [part[:, at] for part in parts] for at, cell in enumerate(cells)}


def _varies(column: np.ndarray) -> bool:
    known = column[np.isfinite(column)]
    return len(known) >= LEAST_KNOWN * len(column) and len(known) > 1 and bool(np.ptp(known) > 0)


def normal_scores(column: np.ndarray) -> np.ndarray:
    """Return the normal quantiles of the ranks of a column with standard deviation 1, ties in the middle, NaN as 0."""
    known = np.isfinite(column)
    rank = scipy.stats.rankdata(column[known])
    score = scipy.stats.norm.ppf((rank - 0.5) / len(rank))
    result = np.zeros(len(column))
    result[known] = (score - score.mean()) / score.std()
    return result
