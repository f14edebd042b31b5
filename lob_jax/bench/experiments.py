"""Simulate experiments that somebody watches: how often equal arms look different, and how soon a difference is found.

Scores are autocorrelated (phi = .9), have heavy tails, and depend on the unit; see lob_jax.bench.made_scores. After
every event three tests of level .05 are looked at: the confidence sequence of lob_jax.serving.experiments, a t-test of
events as if they were independent, and a t-test of blocks. A t-test is for one look: it fails here twice.
"""

import argparse
import dataclasses
import functools
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import beta, t

from lob_jax.bench.made_scores import NOISES, Made, Own, Shared, own_units, shared_units
from lob_jax.bench.surroundings import surroundings
from lob_jax.serving.experiments.experiment import DESIGNS, Arm, Experiment
from lob_jax.serving.experiments.statistics.blocks import block_means
from lob_jax.serving.experiments.statistics.compared import Differences, differences, limit, rho
from lob_jax.serving.experiments.statistics.sequences import bounds, running, running_by_unit

ARMS = (Arm("control", "a"), Arm("challenger", "b"))
MARKETS = 8
LEAST = 30  # observations before a t-test is looked at
LENGTHS = (150, 350)  # least and most events of a unit in the split design
TESTS = ("sequence", "by_events", "by_blocks")
NEVER = np.inf


@dataclasses.dataclass(frozen=True)
class Size:
    """How long an experiment is watched.

    Attributes:
      events: of the paired design, in all.
      unit: mean events of its units.
      units: of the split design, of 150 to 350 events each.
    """

    events: int = 120_000
    unit: int = 2_000
    units: int = 3_000


@dataclasses.dataclass(frozen=True)
class Found:
    """When the tests of one simulation first said that the arms differ; in events, infinite for never.

    Attributes:
      sequence: the confidence sequence.
      by_events: the t-test of events; of the split design only where arms are equal.
      by_blocks: the t-test of blocks.
      blocks, units: how many there were when the confidence sequence said so.
      right: whether it named the better arm, if any was.
    """

    sequence: float
    by_events: float
    by_blocks: float
    blocks: float
    units: float
    right: bool


def paired(shared: Shared, experiment: Experiment, difference: float) -> Found:
    """Watch an experiment of the paired design, after the challenger has become better by a difference."""
    scores = shared.scores + np.array([0.0, difference])[:, None, None]
    by_event = np.diff(scores, axis=0)[0].T.ravel()  # in the order in which markets take turns
    means, ends, units = [], [], []
    for unit, (market, first, last) in enumerate(shared.units):
        found = block_means(
            experiment,
            {arm.name: scores[index, market, first:last] for index, arm in enumerate(ARMS)},
            clip=experiment.clip_nats,
        )
        means.append(found)
        ends.append((first + experiment.block * np.arange(1, len(found) + 1) - 1) * MARKETS + market + 1)
        units.append(np.full(len(found), unit))
    order = np.argsort(np.concatenate(ends))
    found = differences(experiment, np.concatenate(means)[order], np.concatenate(units)[order], 1, clip=None)
    return _watched(experiment, found, np.concatenate(ends)[order], _t_paired(by_event))


def split(own: Own, experiment: Experiment, difference: float) -> Found:
    """Watch an experiment of the split design, likewise."""
    scores = own.scores + difference * own.is_challenger[:, None]
    is_complete, ends = own.lengths >= experiment.block, np.cumsum(own.lengths)
    means = np.full((int(is_complete.sum()), 2), np.nan)
    place = np.arange(len(means))
    blocks = scores[is_complete, : experiment.block]
    means[place, own.is_challenger[is_complete].astype(int)] = blocks[:, experiment.gap :].mean(axis=1)
    found = differences(experiment, means, place, 1, clip=experiment.clip_nats)
    ends = ends[is_complete] - own.lengths[is_complete] + experiment.block
    is_there = np.arange(scores.shape[1]) < own.lengths[:, None]
    by_event = _t_split(scores[is_there], np.repeat(own.is_challenger, own.lengths)) if difference == 0 else NEVER
    return _watched(experiment, found, ends, by_event)


def _watched(experiment: Experiment, found: Differences, ends: np.ndarray, by_event: float) -> Found:
    """Return when the bounds of a confidence sequence first leave out 0; `ends` is after which events blocks end."""
    low, high = bounds(
        running_by_unit(found.x, found.unit),
        rho=rho(experiment, 1, score="nats"),
        alpha=experiment.alpha,
        limit=limit(experiment, score="nats"),
    )
    first, plain, ends = _first((low > 0) | (high < 0)), running(found.x), ends[found.block]
    by_block = _at(ends, _first_t(plain.mean, plain.squares, plain.count))
    if first is None:
        return Found(NEVER, by_event, by_block, NEVER, NEVER, False)
    seen = len(np.unique(found.unit[: first + 1]))
    return Found(float(ends[first]), by_event, by_block, first + 1.0, float(seen), bool(low[first] > 0))


def _first(says_so: np.ndarray) -> int | None:
    return int(np.argmax(says_so)) if says_so.any() else None


def _at(ends: np.ndarray, place: int | None) -> float:
    return NEVER if place is None else float(ends[place])


def _first_t(mean: np.ndarray, squares: np.ndarray, count: np.ndarray) -> int | None:
    """Return the first place at which a t-test of a mean of 0 rejects it."""
    error = np.sqrt(np.maximum(squares, 1e-300) / np.maximum(count - 1, 1) / count)
    return _first((count >= LEAST) & (np.abs(mean) > _critical(len(mean)) * error))


@functools.cache
def _critical(count: int) -> np.ndarray:
    """Return the two-sided .05 points of t for 1 to `count` observations."""
    return t.ppf(0.975, np.maximum(np.arange(count), 1))


def _t_paired(difference: np.ndarray) -> float:
    found = running(difference)
    place = _first_t(found.mean, found.squares, found.count)
    return NEVER if place is None else place + 1.0


def _t_split(scores: np.ndarray, is_challenger: np.ndarray) -> float:
    """Return after how many events Welch's t-test of two samples rejects equal means; by its normal limit."""
    centred, parts = scores - scores[0], []
    for mine in (is_challenger, ~is_challenger):
        count = np.maximum(np.cumsum(mine), 1)
        mean = np.cumsum(centred * mine) / count
        squares = np.cumsum(centred * centred * mine) / count - mean * mean
        parts.append((mean, np.maximum(squares, 1e-300) / count, count))
    (mean, error, count), (other, others, least) = parts
    place = _first((np.minimum(count, least) >= LEAST) & (np.abs(mean - other) > 1.96 * np.sqrt(error + others)))
    return NEVER if place is None else place + 1.0


def simulations(design: str, made: Made, size: Size, chosen: argparse.Namespace) -> dict[str, dict[str, list[Found]]]:
    """Return what was found by setting of blocks, of equal arms and of different ones, on the same random numbers."""
    found = {blocks: {"equal": [], "different": []} for blocks in chosen.blocks}
    for number in range(chosen.simulations):
        scores = _scores(np.random.default_rng([chosen.seed, DESIGNS.index(design), number]), design, made, size)
        for blocks, cases in found.items():
            experiment = _experiment(design, blocks)
            for name, difference in (("equal", 0.0), ("different", chosen.difference)):
                cases[name].append(_watch(scores, experiment, difference))
    return found


def _scores(rng: np.random.Generator, design: str, made: Made, size: Size) -> Shared | Own:
    if design == "paired":
        return shared_units(rng, made, markets=MARKETS, events=size.events // MARKETS, unit=size.unit)
    return own_units(rng, made, units=size.units, shortest=LENGTHS[0], longest=LENGTHS[1])


def _watch(scores: Shared | Own, experiment: Experiment, difference: float) -> Found:
    if isinstance(scores, Shared):
        return paired(scores, experiment, difference)
    return split(scores, experiment, difference)


def _experiment(design: str, blocks: str) -> Experiment:
    block, gap = map(int, blocks.split("/"))
    return Experiment("simulated", design, ARMS, salt="none", created_s=0.0, block=block, gap=gap)


def summary(equal: Sequence[Found], different: Sequence[Found]) -> dict[str, Any]:
    """Return figures of simulations: shares of false alarms with their 95 % bounds, and sample sizes."""
    found = [one for one in different if one.right]
    share = len(found) / len(different)
    return {
        "simulations": len(equal),
        **{f"false_alarms_{test}": _share(equal, test) for test in TESTS},
        "found": share,
        "wrong_arm": sum(one.sequence < NEVER and not one.right for one in different) / len(different),
        **{f"median_{what}": _median(different, what) for what in ("sequence", "blocks", "units")},
    }


def _share(found: Sequence[Found], test: str) -> dict[str, float]:
    """Return how often a test has said that the arms differ, with the exact bounds of Clopper and Pearson."""
    count, total = sum(getattr(one, test) < NEVER for one in found), len(found)
    low = float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0
    return {"share": count / total, "low": low, "high": high}


def _median(found: Sequence[Found], what: str) -> float | None:
    """Return a median over all simulations; None if most have found nothing."""
    middle = float(np.median([getattr(one, what) if one.right else NEVER for one in found]))
    return middle if np.isfinite(middle) else None


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """Return the results as lines of text."""
    lines = [
        f"{'':<16}{'false alarms of equal arms, looked at after every event':<66}{'a difference':>14}{'median':>9}",
        f"{'':<16}{'confidence sequence':<26}{'t-test of events':>18}{'t-test of blocks':>18}{'':>4}{'found':>14}"
        f"{'blocks':>9}{'units':>8}{'events':>10}",
    ]
    for name, case in results.items():
        ours, by_events, by_blocks = (case[f"false_alarms_{test}"] for test in TESTS)
        bounds_of = f"{ours['share']:.1%} ({ours['low']:.1%} to {ours['high']:.1%})"
        medians = [case[f"median_{what}"] for what in ("blocks", "units", "sequence")]
        told = [
            f"{'-' if one is None else format(one, ',.0f'):>{width}}"
            for one, width in zip(medians, (9, 8, 10), strict=True)
        ]
        lines.append(
            f"{name:<16}{bounds_of:<26}{by_events['share']:>18.1%}{by_blocks['share']:>18.1%}{'':>4}"
            f"{case['found']:>14.1%}{''.join(told)}"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.experiments", description=__doc__)
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=DESIGNS)
    parser.add_argument("--simulations", type=int, default=1_000)
    parser.add_argument("--difference", type=float, default=0.02, help="nats per event, to be found")
    parser.add_argument("--blocks", nargs="+", default=["200/50"], help="events of a block / those that do not count")
    parser.add_argument("--seed", type=int, default=0)
    for field in dataclasses.fields(Size):
        parser.add_argument(f"--{field.name}", type=int, default=field.default, help="see Size")
    for field in dataclasses.fields(Made):
        choices = NOISES if field.name == "noise" else None
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default, choices=choices)
    chosen = parser.parse_args(arguments)
    size = Size(**{field.name: getattr(chosen, field.name) for field in dataclasses.fields(Size)})
    made = Made(**{field.name: getattr(chosen, field.name) for field in dataclasses.fields(Made)})
    results, seconds = {}, {}
    for design in chosen.designs:
        start = time.perf_counter()
        for blocks, cases in simulations(design, made, size, chosen).items():
            results[f"{design} {blocks}"] = summary(cases["equal"], cases["different"])
        seconds[design] = time.perf_counter() - start
    print("\n".join(table(results)))
    scores = {**dataclasses.asdict(made), **dataclasses.asdict(size), "difference": chosen.difference}
    conditions = surroundings("experiments", packages=("numpy", "scipy"))
    print(json.dumps({"benchmark": "experiments", "made": scores, "cases": results, "seconds": seconds, **conditions}))


if __name__ == "__main__":
    main()
