"""Compare flows by scores inside contexts: a distance in each group of equal states, averaged by the groups' shares."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.evaluation.fidelity.contexts.context import CONTEXTS, Context, Edges, fit, groups_of
from lob_jax.evaluation.fidelity.distances.comparison import METRICS, Compared, row, undefined, why_undefined
from lob_jax.evaluation.fidelity.distances.draws import Halves, occurrences, sequence_resamples
from lob_jax.evaluation.fidelity.distances.opponents import Opponent, Progress, Steps, comparable, opponent_of
from lob_jax.evaluation.fidelity.distances.parts import cropped
from lob_jax.evaluation.fidelity.distances.summary import summarize
from lob_jax.evaluation.fidelity.samples import Sample, View
from lob_jax.evaluation.fidelity.score import Score, Values, all_scores, lacking
from lob_jax.statistics.distances import Binning, Distances, frame
from lob_jax.statistics.flow import Flow

GROUP = "lob_bench"  # of the scores that are taken inside contexts
KEPT = ("value", "low", "high", "half", "floor", "ratio")  # of each distance, in JSON


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """A flow, and by the name of a context the group of the state before each message, float64 [E]."""

    flow: Flow
    groups: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Match:
    """A flow that is compared with the real one.

    Attributes:
      whole: the flow.
      cut, real: this flow and the real one, cut to the length at which halves are compared.
      messages: this length.
      draws: the halves.
    """

    whole: Side
    cut: Side
    real: Side
    messages: int
    draws: Halves


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """Two samples as one; equal values of one sequence in one group are one row, int64 [N] times."""

    view: View
    count: np.ndarray

    def between(self, first: np.ndarray, second: np.ndarray) -> Distances:
        """Return the distances between two weightings of the sequences, int64 [sequences] each."""
        sequence = self.view.sequence
        return self.view.between(first[sequence] * self.count, second[sequence] * self.count)


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What one contextual score gave for one flow; distances of halves and floors are float64 [K, 3]."""

    compared: Compared
    half: np.ndarray
    floor: np.ndarray


def compare_contexts(
    real: Flow,
    generated: Mapping[str, Flow],
    *,
    splits: int = 50,
    resamples: int = 100,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare flows by LOB-Bench's scores inside contexts; for the arguments see `compare.compare`.

    The groups of a context are of the state before each message. Their edges and shares, and the bins and the unit of
    the Wasserstein distance in each, are those of real flow, so that a flow and the floor are measured alike. Values
    before which the state is not known are left out.

    Returns:
      Plain values as in JSON, None for what is not defined:
      * splits, resamples, seed.
      * contexts: by name: label, groups (how many occur in real flow), edges (by series: unit, and at which values).
      * scores: by name: label, and contexts: by context and model: n_real, n_generated, reason, and for each of "l1",
        "w1" and "ks" value, low, high, half, floor and ratio.
      * summary: by context and model: what `summary.summarize` returns.

    Raises:
      InputError: see `opponents.comparable`.
    """
    real, flows = comparable(real, generated)
    scores, edges = all_scores(GROUP), {context.name: fit(context, real) for context in CONTEXTS}
    side = side_of(real, edges)
    matches = {
        name: _match(side, opponent_of(real, flow, splits=splits, seed=seed), edges) for name, flow in flows.items()
    }
    steps = Steps(on_progress, len(scores))
    found: dict[str, dict[str, dict[str, Result]]] = {context.name: {} for context in CONTEXTS}
    for score in scores:
        for context, results in compare_score(score, side, matches, resamples=resamples, seed=seed).items():
            found[context][score.name] = results
        steps.done(f"{score.label}, in contexts")
    return {
        "splits": splits,
        "resamples": resamples,
        "seed": seed,
        "contexts": {
            context.name: _about(context, edges[context.name], side.groups[context.name]) for context in CONTEXTS
        },
        "scores": {
            score.name: {
                "label": score.label,
                "contexts": {name: _entries(results[score.name]) for name, results in found.items()},
            }
            for score in scores
        },
        "summary": {
            context: {name: _summary([one[name] for one in results.values()], seed=seed) for name in flows}
            for context, results in found.items()
        },
    }


def side_of(flow: Flow, edges: Mapping[str, tuple[Edges, ...]]) -> Side:
    """Return a flow with its groups in every context."""
    return Side(flow, {context.name: groups_of(context, edges[context.name], flow) for context in CONTEXTS})


def _match(real: Side, opponent: Opponent, edges: Mapping[str, tuple[Edges, ...]]) -> Match:
    def cut(side: Side) -> Side:
        long = np.diff(side.flow.edges).max(initial=0) > opponent.messages
        return side_of(cropped(side.flow, opponent.messages), edges) if long else side

    whole = side_of(opponent.flow, edges)
    return Match(whole, cut(whole), cut(real), opponent.messages, opponent.draws)


def compare_score(
    score: Score, real: Side, matches: Mapping[str, Match], *, resamples: int, seed: int
) -> dict[str, dict[str, Result]]:
    """Return what a score gives by context and flow; flows of equal count and length share their floor."""
    values = functools.cache(lambda side: _values(score, side.flow))
    results: dict[str, dict[str, Result]] = {}
    for context in CONTEXTS:
        sample = functools.cache(lambda side, context=context: measured(score, context, side, values(side)))
        results[context.name], floors = {}, {}
        for name, match in matches.items():
            key = match.messages, match.draws.first.shape
            if key not in floors:
                draws = _weights(len(real.flow), match.draws.first, match.draws.second)
                floors[key] = _between(seen_by(score, sample(match.real)), *draws)
            reason = why_undefined(
                sample(real), sample(match.whole), comparable=sample(match.real), messages=match.messages
            )
            if reason is None:
                compared = _compared(score, sample(real), sample(match.whole), resamples=resamples, seed=seed)
                half = _halves(score, sample(match.real), sample(match.cut), match.draws)
            else:
                compared = _undefined(sample(real), sample(match.whole), reason, resamples)
                half = np.full_like(floors[key], np.nan)
            results[context.name][name] = Result(compared, half, floors[key])
    return results


def _values(score: Score, flow: Flow) -> Values:
    """Return a score's values in ascending order, equal ones by sequence; none if the flow lacks what it needs."""
    if lacking(score.needs, flow) is not None:
        return Values(np.zeros(0), *np.zeros((2, 0), np.int64))
    found = score.values(flow)
    order = np.argsort(found.value, kind="stable")
    return Values(found.value[order], found.sequence[order], found.row[order])


def measured(score: Score, context: Context, side: Side, values: Values) -> Sample:
    """Return a score's values before which the state is known, with their groups as conditions."""
    reason = lacking(score.needs | context.needs, side.flow)
    group = side.groups[context.name][values.row]
    known = np.isfinite(group) & (reason is None)
    return Sample(values.value[known], values.sequence[known], group[known], len(side.flow), reason)


def seen_by(score: Score, real: Sample, other: Sample | None = None) -> Seen:
    """Return two samples as one, group by group; shares, bins and the unit of W1 are those of the real one.

    The unit is the standard deviation of all real values (ddof 1): inside a group they may all be equal.
    """
    samples = (real,) if other is None else (real, other)
    value, group = (np.concatenate([getattr(one, name) for one in samples]) for name in ("value", "condition"))
    sequence = np.concatenate([real.sequence, *(real.sequences + one.sequence for one in samples[1:])])
    order = np.argsort(value, kind="stable")  # of samples that are sorted already, a merge
    order = order[np.argsort(group[order].astype(np.int16), kind="stable")]
    value, group, sequence = value[order], group[order], sequence[order]
    first = np.flatnonzero(_changes(value) | _changes(group) | _changes(sequence))
    count = np.diff(np.append(first, len(value)))
    value, group, sequence = value[first], group[first], sequence[first]
    edges = np.append(np.flatnonzero(_changes(group)), len(group))
    binning = Binning.DISTINCT if score.discrete else Binning.FREEDMAN_DIACONIS
    made = frame(value, np.where(sequence < real.sequences, count, 0), binning=binning, edges=edges)
    unit = np.std(real.value, ddof=1) if len(real.value) > 1 else 0.0
    return Seen(View(value, sequence, dataclasses.replace(made, sd=np.full(len(made.sd), unit))), count)


def _changes(column: np.ndarray) -> np.ndarray:
    """Return whether each entry differs from the one before it, which the first does."""
    return np.diff(column, prepend=np.nan) != 0


def _compared(score: Score, real: Sample, other: Sample, *, resamples: int, seed: int) -> Compared:
    seen, count = seen_by(score, real, other), real.sequences
    is_real = (np.arange(count + other.sequences) < count).astype(np.int64)
    by_sequence = _between(seen, *sequence_resamples(count, other.sequences, resamples=resamples, seed=seed))
    value = _between(seen, is_real[None], 1 - is_real[None])[0]
    reason = None if len(other.value) else "generated flow has no values"
    return Compared(value, by_sequence, by_sequence[:0], len(real.value), len(other.value), reason)


def _halves(score: Score, real: Sample, other: Sample, draws: Halves) -> np.ndarray:
    """Return the distances of half of the real sample v half of the other one in each split, float64 [K, 3]."""
    count = real.sequences
    weights = _weights(count + other.sequences, draws.first, count + draws.generated)
    return _between(seen_by(score, real, other), *weights)


def _undefined(real: Sample, other: Sample, reason: str, resamples: int) -> Compared:
    found = undefined(real, other, reason, resamples=resamples)
    return dataclasses.replace(found, by_value=found.by_value[:0])


def _weights(count: int, *selections: np.ndarray) -> list[np.ndarray]:
    """Return how often each of `count` sequences occurs in selections of them, int64 [K, H], as int64 [K, count]."""
    return [np.array([occurrences(one, count) for one in chosen]) for chosen in selections]


def _between(seen: Seen, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the distances between weightings of sequences, int64 [K, sequences] each, float64 [K, 3]."""
    found = [seen.between(a, b) for a, b in zip(first, second, strict=True)]
    return np.array(found, np.float64).reshape(-1, len(METRICS))


def _about(context: Context, edges: tuple[Edges, ...], group: np.ndarray) -> dict[str, Any]:
    by_series = zip(context.series, edges, strict=True)
    return {
        "label": context.label,
        "groups": len(np.unique(group[np.isfinite(group)])),
        "edges": {series.name: {"unit": series.unit, "at": list(bounds)} for series, bounds in by_series},
    }


def _entries(results: Mapping[str, Result]) -> dict[str, Any]:
    """Return the entry of each flow."""
    entries = {}
    for name, found in results.items():
        full = row(found.compared, found.half, found.floor)
        distances = {metric: {key: full[metric][key] for key in KEPT} for metric in METRICS}
        entries[name] = {key: full[key] for key in ("n_real", "n_generated", "reason")} | distances
    return entries


def _summary(found: Sequence[Result], *, seed: int) -> dict[str, Any]:
    halves, floors = [one.half for one in found], [one.floor for one in found]
    return summarize([one.compared for one in found], halves, floors, seed=seed)
