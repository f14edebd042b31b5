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
      value: by flow, float64 [S, F].
    """

    names: tuple[str, ...]
    value: dict[str, np.ndarray]


def sequence_features(flows: Mapping[str, Flow]) -> Features:
    """Return features of sequences, such as all of the flows have and some sequences differ in.

    They are normal scores of the ranks among the sequences of all flows, without a look at which flow a sequence is of;
    0 if unknown. Ranks make every feature normal whatever its scale and tails.
    """
    raw = sequence_statistics(flows)
    table = np.concatenate(list(raw.value.values()))
    kept = varying(table)
    ends = np.cumsum([len(part) for part in raw.value.values()])[:-1]
    names = tuple(name for name, varies in zip(raw.names, kept, strict=True) if varies)
    return Features(names, dict(zip(raw.value, np.split(normal_scores(table[:, kept]), ends), strict=True)))


def sequence_statistics(flows: Mapping[str, Flow]) -> Features:
    """Return the statistics of sequences from which features are made, as they are, NaN if unknown."""
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
    tables = {
        name: np.array([parts[at] for parts in columns.values()]).reshape(len(columns), len(flow)).T
        for at, (name, flow) in enumerate(cut.items())
    }
    return Features(tuple(columns), tables)


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


def varying(table: np.ndarray) -> np.ndarray:
    """Return which columns of a table [N, F] enough rows know and differ in, bool [F]."""
    known = np.isfinite(table)
    low, high = (
        end(np.where(known, table, fill), axis=0, initial=fill) for end, fill in ((np.min, np.inf), (np.max, -np.inf))
    )
    count = known.sum(axis=0)
    return (count >= LEAST_KNOWN * len(table)) & (count > 1) & (high > low)


def normal_scores(table: np.ndarray) -> np.ndarray:
    """Return the normal quantiles of the ranks in each column of a table [N, F], with standard deviation 1.

    Ties are in the middle, NaN is 0; `varying` must hold for every column.
    """
    if not table.size:
        return table
    known = np.isfinite(table)
    rank = scipy.stats.rankdata(np.where(known, table, np.inf), axis=0)  # what is not known comes last
    count = known.sum(axis=0)
    score = np.where(known, scipy.stats.norm.ppf((np.minimum(rank, count) - 0.5) / count), 0.0)
    centred = np.where(known, score - score.sum(axis=0) / count, 0.0)
    return centred / np.sqrt((centred**2).sum(axis=0) / count)
