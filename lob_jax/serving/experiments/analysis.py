"""What may be concluded from an experiment; at any time, and as often as one likes."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from lob_jax.serving.experiments.buckets import share
from lob_jax.serving.experiments.experiment import GUARDS, Experiment
from lob_jax.serving.experiments.results import Analysis, ArmResult, Assignment, Guard, Interval, Kept, Requests
from lob_jax.serving.experiments.statistics.compared import differences, interval
from lob_jax.serving.experiments.statistics.guards import guard
from lob_jax.serving.experiments.statistics.ratio import BROKEN, ratio_evidence

NOTHING = Interval(0.0, 0.0, 0.0)
BECAUSE_BROKEN = (
    "nothing can be concluded, since units do not have their arms with the chances that were meant: find out why, and "
    "begin a new experiment"
)


def analysed(experiment: Experiment, kept: Kept) -> Analysis:
    """Return what may be concluded from what is kept.

    A verdict is about the log-likelihood alone. With probability 1 - alpha no verdict about any challenger is ever
    wrong, however often one looks: each has alpha / (arms - 1). The intervals of Brier scores have the same levels, but
    nothing is concluded from them. What the bounds are about, and when they are exact, is said in
    `lob_jax.serving.experiments.statistics.sequences`.

    The shares of units are checked twice, among all that are enrolled and among those with an observation: an arm that
    loses units on the way is as bad. Units of an arm whose guard has tripped, or that was ever taken out, are left out
    of the second check: the control answers some of them, or has, without an observation. The evidence is the mean of
    the two, which ever reaches 1000 with a probability of at most .002 if nothing is wrong.
    """
    arms = {arm.name: _arm(experiment, kept, index) for index, arm in enumerate(experiment.arms)}
    tripped = frozenset(name for name, arm in arms.items() if any(guard.tripped for guard in arm.guards.values()))
    evidence = _ratio(experiment, kept, tripped | kept.taken_out)
    is_broken = evidence >= BROKEN
    advice, because = _advice(experiment, arms, tripped, is_broken=is_broken)
    return Analysis(arms=arms, ratio_evidence=evidence, ratio_broken=is_broken, advice=advice, because=because)


def _arm(experiment: Experiment, kept: Kept, index: int) -> ArmResult:
    arm = experiment.arms[index]
    nats = brier = NOTHING
    if index:
        found = differences(experiment, kept.nats_BA, kept.unit_B, index, clip=experiment.clip_nats)
        nats = interval(experiment, found, index, score="nats")
        found = differences(experiment, kept.brier_BA, kept.unit_B, index, clip=None)
        brier = interval(experiment, found, index, score="brier")
    is_shared = experiment.design == "paired"  # every arm is scored on every unit
    return ArmResult(
        units=sum(is_shared or unit.arm == arm.name for unit in kept.units),
        blocks=int(np.count_nonzero(~np.isnan(kept.nats_BA[:, index]))),
        nats=nats,
        brier=brier,
        guards=_guards(experiment, kept.requests.get(arm.name, Requests())),
        verdict="better" if nats.low > 0 else "worse" if nats.high < 0 else "open",
    )


def _guards(experiment: Experiment, requests: Requests) -> dict[str, Guard]:
    limits = experiment.guards
    return {
        name: guard(getattr(requests, name), requests.answered, tolerated=getattr(limits, name), alpha=limits.alpha)
        for name in GUARDS
    }


def _ratio(experiment: Experiment, kept: Kept, taken_out: frozenset[str]) -> float:
    if experiment.design == "paired":
        return 1.0  # all arms have all units
    observed = [kept.units[index] for index in kept.unit_B]
    return (_evidence(experiment, kept.units) + _evidence(experiment, observed, without=taken_out)) / 2


def _evidence(experiment: Experiment, units: Sequence[Assignment], without: frozenset[str] = frozenset()) -> float:
    """Return the evidence against the chances of units, given that they do not have some of the arms."""
    weights = [arm.weight for arm in experiment.arms]
    shares = {arm.name: share(weights, index) for index, arm in enumerate(experiment.arms) if arm.name not in without}
    left, counts = sum(shares.values()), Counter(unit.arm for unit in units)
    return ratio_evidence(
        [counts[name] for name in shares],
        [part / left for part in shares.values()],
        log_chance=float(sum(np.log(unit.chance / left) for unit in units if unit.arm in shares)),
    )


def _advice(
    experiment: Experiment, arms: Mapping[str, ArmResult], tripped: frozenset[str], *, is_broken: bool
) -> tuple[str, str]:
    control, challengers = experiment.control.name, [arm.name for arm in experiment.arms[1:]]
    told = {
        name: _tripped(name, arms[name]) if name in tripped else _known(name, arms[name], control=control)
        for name in challengers
    }
    worse = {name for name in challengers if arms[name].verdict == "worse" and not is_broken}
    if set(challengers) <= tripped | worse:
        return "stop", "; ".join(told.values())
    if is_broken:
        return "keep", BECAUSE_BROKEN
    better = [name for name in challengers if arms[name].verdict == "better" and name not in tripped]
    if better:
        best = max(better, key=lambda name: arms[name].nats.low)
        return f"promote {best}", told[best]
    return "keep", "; ".join(told.values())


def _known(name: str, arm: ArmResult, *, control: str) -> str:
    """Return in words how a challenger compares with the control."""
    nats = arm.nats
    if not arm.blocks or (np.isinf(nats.low) and np.isinf(nats.high)):
        return f"{name} has {arm.blocks} blocks, too few to say anything"
    figures = f"{nats.mean:+.4f} nats per event, between {nats.low:+.4f} and {nats.high:+.4f}, {arm.blocks} blocks"
    told = {"better": "is better than", "worse": "is worse than", "open": "may be better or worse than"}[arm.verdict]
    return f"{name} {told} {control}: {figures}"


def _tripped(name: str, arm: ArmResult) -> str:
    """Return in words which guards of an arm have tripped."""
    told = [
        f"{guard.share:.2%} of its requests are {key}, where {guard.tolerated:.2%} are tolerated"
        for key, guard in arm.guards.items()
        if guard.tripped
    ]
    return f"{name} has tripped: {' and '.join(told)}"
