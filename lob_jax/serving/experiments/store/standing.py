"""How an experiment stands after its decisions, and which decisions it allows."""

import dataclasses
from collections.abc import Iterable

from lob_jax.errors import InputError
from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.results import Decision, Standing
from lob_jax.serving.experiments.store.errors import Conflict

DECISIONS = ("promote", "keep", "stop", "trip", "resume")
OF_AN_ARM = ("promote", "trip", "resume")


def standing_of(experiment: Experiment, decisions: Iterable[Decision]) -> Standing:
    """Return how an experiment stands after decisions that it allowed."""
    standing = Standing(status="running", winner=experiment.control.name, tripped=frozenset())
    for decision in decisions:
        standing = after(standing, decision)
    return standing


def after(standing: Standing, decision: Decision) -> Standing:
    """Return how an experiment stands after one more decision."""
    match decision.decision:
        case "promote":
            return dataclasses.replace(standing, status="promoted", winner=decision.arm)
        case "stop":
            return dataclasses.replace(standing, status="stopped")
        case "trip":
            return dataclasses.replace(standing, tripped=standing.tripped | {decision.arm})
        case "resume":
            return dataclasses.replace(standing, tripped=standing.tripped - {decision.arm})
    return standing


def check_decision(experiment: Experiment, standing: Standing, decision: Decision) -> None:
    """Check that a decision can be taken.

    Raises:
      InputError: it is none, has no reason, or is about no arm, or not about one that it can be about.
      Conflict: the experiment does not allow it as it stands.
    """
    name = decision.decision
    _require(name in DECISIONS, "decision", " | ".join(DECISIONS), name, "choose one of these")
    _require(bool(decision.because.strip()), "because", "a reason", decision.because, "say why it is decided")
    if name in OF_AN_ARM or decision.arm:
        experiment.arm(decision.arm)
    of_control = decision.arm == experiment.control.name and name in OF_AN_ARM
    _require(not of_control, "arm", "an arm that is not the control", decision.arm, REMEDIES_OF_CONTROL.get(name, ""))
    _require(name != "stop" or not decision.arm, "arm", "no arm: the control answers", decision.arm, "leave it out")
    if standing.status != "running":
        raise _conflict(experiment, f"the experiment has ended: it was {standing.status}", "begin another experiment")
    if name == "promote":
        _check_promotion(experiment, standing, decision)
    if name == "resume" and decision.arm not in standing.tripped:
        raise _conflict(experiment, f"the circuit breaker of {decision.arm} is not open", "nothing is to be resumed")


REMEDIES_OF_CONTROL = {
    "promote": "stop ends the experiment with the control",
    "trip": "the control has nothing that could answer in its place",
    "resume": "the control is never tripped",
}


def _check_promotion(experiment: Experiment, standing: Standing, decision: Decision) -> None:
    if decision.known.get("ratio_broken"):
        raise _conflict(
            experiment,
            "units are not distributed over the arms as the weights say, so nothing can be concluded",
            "find out why units are lost or counted twice, stop the experiment, and begin another with a new salt",
        )
    if decision.arm in standing.tripped:
        raise _conflict(experiment, f"the circuit breaker of {decision.arm} is open", "resume the arm first, or stop")


def _conflict(experiment: Experiment, was: str, remedy: str) -> Conflict:
    return Conflict(
        "the decision is refused",
        where=f"experiment {experiment.name}",
        expected="a decision that the experiment allows as it stands",
        was=was,
        remedy=remedy,
    )


def _require(holds: bool, key: str, expected: object, was: object, remedy: str) -> None:
    if not holds:
        where = f"decision.{key}"
        raise InputError("the decision is invalid", where=where, expected=expected, was=was, remedy=remedy)
