"""Compare generated flow with real flow: all scores, their distances, intervals, floors and ratios."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

import lob_jax
from lob_jax.evaluation.fidelity.conditional import CONDITIONALS
from lob_jax.evaluation.fidelity.distances.comparison import (
    Compared,
    compared,
    floor_distances,
    half_distances,
    row,
    undefined,
    why_undefined,
)
from lob_jax.evaluation.fidelity.distances.divergence import divergence
from lob_jax.evaluation.fidelity.distances.opponents import Opponent, Progress, Steps, comparable, opponent_of
from lob_jax.evaluation.fidelity.distances.parts import cropped
from lob_jax.evaluation.fidelity.distances.summary import summarize
from lob_jax.evaluation.fidelity.measure import all_measures, compare_measures
from lob_jax.evaluation.fidelity.samples import Rule, Sample, joint, measure
from lob_jax.evaluation.fidelity.score import GROUPS, Score, all_scores
from lob_jax.statistics.flow import Flow

CONDITIONAL_GROUPS = ("conditional", "lagged")


def compare(
    real: Flow,
    generated: Mapping[str, Flow],
    *,
    training: Flow | None = None,
    splits: int = 50,
    resamples: int = 100,
    block: int = 100,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare flows by all scores, at the levels per side that all of them have.

    Args:
      real: held-out real flow.
      generated: the flows to compare with it, by name. If one has as many sequences as `real`, sequence i is taken to
        continue the same prompt as real sequence i, and the two are never compared with each other in the halves.
      training: real flow that the generators were fitted on: how far it is from `real` is a second reference.
      splits: random splits of the real sequences into two halves.
      resamples: bootstrap resamples for the intervals.
      block: messages per block of the divergence by horizon.
      seed: the seed of splits and resamples; the same seed gives the same result.
      on_progress: called with what was done, the number of steps that are done, and that of all.

    Returns:
      Plain values as in JSON, None for what is not defined:
      * package: version of lob_jax; splits, resamples, block, seed.
      * flows: for "real", each generated flow and "training" if given: sequences, messages, levels, and
        messages_per_sequence (min, median, max).
      * scores: by the score's name: label, unit, group, version, discrete, and models: by the flow's name `n_real` and
        `n_generated` (numbers of values), `reason` (why it is not defined, or None), and for each of "l1", "w1", "ks"
        value; low, high (resamples of whole sequences), low_values, high_values (resamples of single values); half,
        half_low, half_high (mean and 95 % range over splits of half A of real v half B of the flow); floor, floor_low,
        floor_high (the same of half A v half B of real); and ratio (half / floor).
      * conditional: the same, for the conditional scores: of LOB-Bench (group "conditional"), and of a quantity given
        the state 100 messages before it (group "lagged").
      * summary: by group ("lob_bench", "further", "conditional", "lagged"), model and distance: scores (how many are
        defined), mean, median and iqm, each with value, low, high, low_values, high_values; half, floor, their ranges,
        and ratio, all of the mean over the scores.
      * divergence: by model: first_message (of each block), scores (how many are defined), and mean over the scores of
        "lob_bench" of L1 of block j of the flow: value (v all of real), half, floor, floor_high (99 % of the splits),
        ratio; and by_score: the same for each score.
      * measures: see `measure.compare_measures`; None without splits.

    Raises:
      InputError: there is no generated flow or real sequence, a flow has the name of a real one, or units differ.
    """
    real, flows = comparable(real, generated, training)
    scores, lob_bench, measures = all_scores(), all_scores("lob_bench"), all_measures()
    rules = (*scores, *CONDITIONALS)
    steps = Steps(on_progress, len(flows) * (len(rules) + len(lob_bench)) + len(measures))
    opponents = {name: opponent_of(real, flow, splits=splits, seed=seed) for name, flow in flows.items()}
    lots = _Lots(resamples=resamples, seed=seed)
    results = {rule.name: _compare_by(rule, real, opponents, lots=lots, steps=steps) for rule in rules}
    groups = {group: [rule.name for rule in rules if rule.group == group] for group in (*GROUPS, *CONDITIONAL_GROUPS)}
    return {
        "package": lob_jax.__version__,
        "splits": splits,
        "resamples": resamples,
        "block": block,
        "seed": seed,
        "flows": {name: _about(flow) for name, flow in {"real": real, **flows}.items()},
        "scores": {score.name: _entry(score, results[score.name]) for score in scores},
        "conditional": {rule.name: _entry(rule, results[rule.name]) for rule in CONDITIONALS},
        "summary": {group: _summary(names, results, list(flows), seed=seed) for group, names in groups.items()},
        "divergence": {
            name: divergence(
                lob_bench,
                real,
                flows[name],
                messages=block,
                draws=opponent.draws,
                on_score=lambda: steps.done("divergence"),
            )
            for name, opponent in opponents.items()
        },
        "measures": compare_measures(real, flows, seed=seed, on_progress=steps.of_part) if splits else None,
    }


@dataclasses.dataclass(frozen=True)
class _Lots:
    """How much is resampled, and from which seed."""

    resamples: int
    seed: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Result:
    """What one score gave for one flow; distances of halves and floors are float64 [K, 3]."""

    compared: Compared
    half: np.ndarray
    floor: np.ndarray


def _compare_by(
    rule: Rule, real: Flow, opponents: Mapping[str, Opponent], *, lots: _Lots, steps: Steps
) -> dict[str, _Result]:
    """Return what one score gives for each flow; flows of equal count and length share their floor."""
    whole, floors = measure(rule, real), {}
    results = {}
    for name, opponent in opponents.items():
        messages, draws = opponent.messages, opponent.draws
        sample, part = measure(rule, opponent.flow), _measure_cut(rule, real, messages, whole)
        key = messages, draws.first.shape
        if key not in floors:
            floors[key] = floor_distances(joint(rule, part), draws, real=len(real))
        reason = why_undefined(whole, sample, comparable=part, messages=messages)
        if reason is None:
            found = compared(rule, whole, sample, resamples=lots.resamples, seed=lots.seed)
            cut = _measure_cut(rule, opponent.flow, messages, sample)
            count = {"real": len(real), "generated": len(opponent.flow)}
            half = half_distances(joint(rule, part, cut), draws.first, draws.generated, **count)
        else:
            found = undefined(whole, sample, reason, resamples=lots.resamples)
            half = np.full_like(floors[key], np.nan)
        results[name] = _Result(found, half, floors[key])
        steps.done(rule.label)
    return results


def _measure_cut(rule: Rule, flow: Flow, messages: int, whole: Sample) -> Sample:
    """Return what a rule measures in sequences cut to a length, given what it measures in whole ones."""
    return whole if np.diff(flow.edges).max(initial=0) <= messages else measure(rule, cropped(flow, messages))


def _entry(rule: Rule, results: Mapping[str, _Result]) -> dict[str, Any]:
    models = {name: row(found.compared, found.half, found.floor) for name, found in results.items()}
    about = {"label": rule.label, "unit": rule.unit, "group": rule.group, "version": rule.version}
    return (
        {**about, "discrete": rule.discrete, "models": models}
        if isinstance(rule, Score)
        else about | {"models": models}
    )


def _summary(
    names: list[str], results: Mapping[str, Mapping[str, _Result]], flows: list[str], *, seed: int
) -> dict[str, Any]:
    """Return the summary of some scores for each flow; empty if there are no such scores."""
    summary = {}
    for flow in flows if names else ():
        found = [results[name][flow] for name in names]
        compared = [one.compared for one in found]
        summary[flow] = summarize(compared, [one.half for one in found], [one.floor for one in found], seed=seed)
    return summary


def _about(flow: Flow) -> dict[str, Any]:
    """Return the size of a flow."""
    lengths = np.diff(flow.edges)
    middle = {"min": lengths.min(), "median": np.median(lengths), "max": lengths.max()} if len(lengths) else {}
    return {
        "sequences": len(flow),
        "messages": int(flow.edges[-1]),
        "levels": flow.levels,
        "messages_per_sequence": {name: int(length) for name, length in middle.items()},
    }
