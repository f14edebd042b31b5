"""A database of experiments in memory, with the interface of `Store`, for what does not depend on a real one."""

import dataclasses
import threading
from collections import defaultdict

import numpy as np

from lob_jax.serving.experiments.experiment import Arm, Experiment
from lob_jax.serving.experiments.results import (
    Analysis,
    ArmResult,
    Assignment,
    Guard,
    Interval,
    Recorded,
    Requests,
    Standing,
)
from lob_jax.serving.experiments.store.errors import Conflict, Unavailable, missing


def made(name="test", **changes):
    """Return an experiment of two stubs."""
    fields = {
        "design": "paired",
        "arms": (Arm("a", "one"), Arm("b", "two")),
        "salt": "salt",
        "created_s": 1e9,
        "block": 4,
        "gap": 1,
    }
    return Experiment(name, **{**fields, **changes})


def analysed(experiment, kept):
    """Return an analysis that concludes nothing."""
    unknown = Interval(float("nan"), float("-inf"), float("inf"))
    arms = {
        arm.name: ArmResult(0, 0, unknown, unknown, guards_of(kept.requests.get(arm.name, Requests())), "open")
        for arm in experiment.arms
    }
    return Analysis(arms, 1.0, False, "keep", "nothing is known")


def guards_of(requests):
    """Return guards that trip when half of at least ten requests are refused."""
    share = requests.refused / requests.answered if requests.answered else float("nan")
    tripped = requests.answered >= 10 and share > 0.5
    return {"refused": Guard(share, 0.05, 1.0, tripped)}


@dataclasses.dataclass
class Kept:
    requests: dict


class MemoryStore:
    """Units with an odd number of letters get the control in the split design, others the second arm.

    Attributes:
      away: whether it does not answer.
      outcomes: everything recorded, in order, as (unit, Outcome).
    """

    def __init__(self):
        self.away, self.outcomes = False, []
        self._experiments, self._standings, self._decisions = {}, {}, defaultdict(list)
        self._units, self._kept = {}, {}
        self.requests = defaultdict(dict)
        self._lock = threading.RLock()
        self.closed = False

    def _answer(self):
        if self.away:
            raise Unavailable("it is away")

    def close(self):
        self.closed = True

    def create(self, experiment):
        self._answer()
        before = self._experiments.setdefault(experiment.name, experiment)
        if before != experiment:
            raise Conflict("another experiment", where="", expected=before, was=experiment, remedy="")
        self._standings.setdefault(experiment.name, Standing("running", experiment.control.name, frozenset()))

    def experiments(self):
        self._answer()
        return tuple(self._experiments.values())

    def experiment(self, name):
        self._answer()
        if name not in self._experiments:
            raise missing(name)
        return self._experiments[name]

    def standing(self, name):
        self.experiment(name)
        return self._standings[name]

    def assign(self, experiment, unit, *, at_s):
        self._answer()
        odd = len(unit) % 2 or experiment.design == "paired"
        enrolled = not unit.startswith("out")
        arm = experiment.control.name if odd or not enrolled else experiment.arms[1].name
        return self._units.setdefault((experiment.name, unit), Assignment(unit, arm, enrolled, 0.5))

    def recorded(self, experiment, unit, outcome, digest):
        self._answer()
        with self._lock:
            found = self._kept.get((experiment.name, unit, outcome))
            if found is None:
                return None
            if found[0] != digest:
                raise Conflict("another outcome of this name", where="", expected=found[0], was=digest, remedy="")
            return dataclasses.replace(found[1], before=True)

    def record(self, experiment, outcome, *, at_s):
        with self._lock:
            before = self.recorded(experiment, outcome.unit, outcome.outcome, outcome.digest)
            if before is not None:
                return before
            first = sum(len(next(iter(o.nats.values()))) for u, o in self.outcomes if u == outcome.unit)
            events = len(next(iter(outcome.nats.values())))
            means = [{arm: float(np.mean(x)) for arm, x in by.items()} for by in (outcome.nats, outcome.brier)]
            kept = Recorded(outcome.unit, outcome.outcome, events, first, False, *means)
            self._kept[experiment.name, outcome.unit, outcome.outcome] = outcome.digest, kept
            self.outcomes.append((outcome.unit, outcome))
            return kept

    def count(self, name, requests):
        self._answer()
        for arm, more in requests.items():
            pairs = zip(
                dataclasses.astuple(self.requests[name].get(arm, Requests())), dataclasses.astuple(more), strict=True
            )
            self.requests[name][arm] = Requests(*(a + b for a, b in pairs))

    def kept(self, experiment):
        self._answer()
        return Kept(dict(self.requests[experiment.name]))

    def decide(self, name, decision):
        before = self.standing(name)
        changes = {
            "promote": {"status": "promoted", "winner": decision.arm},
            "stop": {"status": "stopped"},
            "keep": {},
            "trip": {"tripped": before.tripped | {decision.arm}},
            "resume": {"tripped": before.tripped - {decision.arm}},
        }
        self._standings[name] = dataclasses.replace(before, **changes[decision.decision])
        self._decisions[name].append(decision)
        return self._standings[name]

    def decisions(self, name):
        self._answer()
        return tuple(self._decisions[name])
