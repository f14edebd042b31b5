"""Which scores, measures and tests detect which planted faults, and from how many sequences."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.conditional import CONDITIONALS
from lob_jax.evaluation.fidelity.facts import FACTS
from lob_jax.evaluation.fidelity.faults.counted import Statistic, of_measure, of_rule
from lob_jax.evaluation.fidelity.faults.planted import FAULTS, Fault
from lob_jax.evaluation.fidelity.faults.tested import of_discriminator, of_fact, of_impact, of_macro_impact
from lob_jax.evaluation.fidelity.measure import Measure, all_measures, draw_halves
from lob_jax.evaluation.fidelity.memorisation import longest_runs, messages_of
from lob_jax.evaluation.fidelity.samples import measure
from lob_jax.evaluation.fidelity.score import all_scores, lacking
from lob_jax.statistics.flow import Flow

COUNTS = (4, 8, 16, 32)
FALSE_ALARMS = 0.05
POWER = 0.8  # share of draws in which a fault has to be seen
CONTROL = "nothing"  # planted: the share of false alarms itself


class Row(NamedTuple):
    """Something that may detect a fault.

    Attributes:
      name: its key, together with the group.
      label: its name in tables and figures.
      group: a key of `figures.faults.GROUPS`.
      statistics: (real flow, flow with a fault) -> functions of selections by name: how far two of real flow, or one of
        real and one of faulty flow, are apart.
    """

    name: str
    label: str
    group: str
    statistics: Callable[[Flow, Flow], dict[str, Statistic]]


class Draws(NamedTuple):
    """Selections of sequences: 1 where a sequence is chosen, int64 [D, S]; those of a row are disjoint.

    Attributes:
      real: the real ones.
      null: other real ones, from which the threshold is found.
      fresh: the same from further draws, beside `other`, for the false alarms.
      other: the sequences in which the fault is planted.
    """

    real: np.ndarray
    null: np.ndarray
    fresh: np.ndarray
    other: np.ndarray


def fault_matrix(
    real: Flow,
    training: Flow,
    *,
    counts: Sequence[int] = COUNTS,
    draws: int = 200,
    seed: int = 0,
    faults: Sequence[Fault] = FAULTS,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Test every score, measure, fact, impact and the discriminator on every fault.

    For a number n of sequences, the distance between n real and n other real sequences is drawn many times; a distance
    above 95 % of these is an alarm. A fault is detected if, for n real and n other sequences with the fault, the share
    of alarms is at least `POWER`. Bins and scales are those of all sequences, real and faulty, for every draw.

    Args:
      real: at least 2 * max(counts) sequences.
      training: earlier real flow, from which a generator may copy.
      counts: numbers n of sequences, ascending.
      draws: pairs of selections for each n.
      seed: of faults and draws.
      faults: what to plant.
      on_progress: called with the label of a fault, the faults that are done, and all.

    Returns:
      Plain values: counts, draws, sequences, messages, false_alarms, power; faults (name, label, changes); and the rows
      of `all_rows`: name, label, group, and statistics: by name and fault, power (share of alarms by count, None if it
      is not defined) and smallest (the count from which it is detected, or None). The fault "nothing" is none: its
      share of alarms should be `FALSE_ALARMS`.

    Raises:
      InputError: too few sequences.
    """
    if len(real) < 2 * max(counts) or not len(training):
        raise InputError(
            "too few sequences to test scores with",
            where="fault_matrix",
            expected=f"{2 * max(counts)} real sequences, twice the largest count, and some for training",
            was=f"{len(real)}, and {len(training)} for training",
            remedy="pass a longer day, shorter sequences or smaller counts",
        )
    drawn = [_draw(len(real), count, draws, seed=seed + count) for count in counts]
    rows = all_rows(training)
    found: list[dict[str, dict[str, Any]]] = [{} for _ in rows]
    limits: dict[tuple[int, str], list[_Limit]] = {}  # the same for every fault: bins are those of real flow
    for done, fault in enumerate(faults):
        if on_progress is not None:
            on_progress(fault.label, done, len(faults))
        planted = fault.plant(real, training, np.random.default_rng(seed))
        for at, row in enumerate(rows):
            for name, statistic in row.statistics(real, planted).items():
                if (at, name) not in limits:
                    limits[at, name] = [_limit(statistic, one) for one in drawn]
                    found[at][name] = {CONTROL: _found([limit.alarms for limit in limits[at, name]], counts)}
                pairs = zip(limits[at, name], drawn, strict=True)
                power = [limit.share(statistic(one.fresh, one.other, True)) for limit, one in pairs]
                found[at][name][fault.name] = _found(power, counts)
    return {
        "counts": list(counts),
        "draws": draws,
        "seed": seed,
        "sequences": len(real),
        "messages": int(real.edges[-1]),
        "levels": real.levels,
        "false_alarms": FALSE_ALARMS,
        "power": POWER,
        "faults": [{"name": one.name, "label": one.label, "changes": one.changes} for one in faults],
        "rows": [
            {"name": row.name, "label": row.label, "group": row.group, "statistics": of_row}
            for row, of_row in zip(rows, found, strict=True)
        ],
    }


def all_rows(training: Flow) -> list[Row]:
    """Return everything that is tested: scores, conditional scores, measures, copies, facts, impact, discriminator."""
    scores = [(score, score.group) for score in all_scores()] + [(one, "conditional") for one in CONDITIONALS]
    rows = [
        Row(rule.name, rule.label, group, lambda *flows, rule=rule: of_rule(rule, *(measure(rule, f) for f in flows)))
        for rule, group in scores
    ]
    rows += [
        Row(one.name, one.label, "measures", lambda *flows, one=one: of_measure(one, *(_sums(one, f) for f in flows)))
        for one in (*all_measures(), memorised(training))
    ]
    rows += [Row(fact.name, fact.label, "facts", functools.partial(of_fact, fact)) for fact in FACTS]
    return [
        *rows,
        Row("impact", "price impact, response", "tests", of_impact),
        Row("macro_impact", "price impact, by participation", "tests", of_macro_impact),
        Row("discriminator", "discriminator", "tests", of_discriminator),
    ]


def _sums(one: Measure, flow: Flow) -> np.ndarray:
    """Return what each sequence adds to a measure; of none, if the flow lacks what it needs."""
    return one.sums(flow if lacking(one.needs, flow) is None else flow.select([]))


def memorised(training: Flow) -> Measure:
    """Return the mean over sequences of the longest run of messages that occurs in training, as a measure."""
    runs = messages_of(training)

    def sums(flow: Flow) -> np.ndarray:
        length, _ = longest_runs(messages_of(flow), runs)
        longest = np.zeros(len(flow))
        np.maximum.at(longest, flow.sequence(), length)
        return np.stack([np.ones(len(flow)), longest], axis=1)

    def figures(total: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": total[:, 1] / np.maximum(total[:, 0], 1)}

    return Measure("memorisation", "longest run that occurs in training", "messages", sums, figures)


def _found(power: list[float | None], counts: Sequence[int]) -> dict[str, Any]:
    """Return the shares of alarms, and the first count from which on the fault is detected."""
    smallest = None
    for count, share in zip(reversed(counts), reversed(power), strict=True):
        if share is None or share < POWER:
            break
        smallest = count
    return {"power": power, "smallest": smallest}


def _draw(sequences: int, count: int, draws: int, *, seed: int) -> Draws:
    rng = np.random.default_rng(seed)

    def halves() -> tuple[np.ndarray, np.ndarray]:
        drawn = draw_halves(sequences, splits=draws, rng=rng, most=count)
        return drawn.first.astype(np.int64), drawn.second.astype(np.int64)

    real, null = halves()
    fresh, other = halves()
    return Draws(real, null, fresh, other)


class _Limit(NamedTuple):
    """What real flow alone shows of a statistic.

    Attributes:
      threshold: above it is an alarm; None if the statistic is not defined.
      alarms: the share of alarms among further draws of real flow.
    """

    threshold: float | None
    alarms: float | None

    def share(self, found: np.ndarray) -> float | None:
        """Return the share of alarms; a distance that is not defined where that of real flow is, is an alarm."""
        return None if self.threshold is None else float(np.mean(~(found <= self.threshold)))


def _limit(statistic: Statistic, draws: Draws) -> _Limit:
    """Return the threshold for one count; undefined if fewer than half of the distances of real flow are defined."""
    null = statistic(draws.real, draws.null, False)
    known = null[~np.isnan(null)]  # an infinite distance is one
    if 2 * len(known) < len(null):
        return _Limit(None, None)
    threshold = _Limit(float(np.quantile(known, 1 - FALSE_ALARMS, method="higher")), None)
    return threshold._replace(alarms=threshold.share(statistic(draws.fresh, draws.other, False)))
