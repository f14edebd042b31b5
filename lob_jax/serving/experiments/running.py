"""`Experiments`: what a server knows of experiments while it answers: standings, counts of requests, breakers."""

import collections
import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import EllipsisType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from lob_jax.serving.experiments.breaker import Breaker
from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.results import (
    Analysis,
    Assignment,
    Decision,
    Kept,
    Outcome,
    Recorded,
    Requests,
    Standing,
)
from lob_jax.serving.experiments.store.errors import Conflict, Missing, Unavailable

if TYPE_CHECKING:
    from lob_jax.serving.experiments.store.store import Store

REFRESH_S = 2.0  # after which a decision elsewhere has taken effect, and counts are kept
GUARDS_S = 60.0  # between two looks at the guards
THREADS = 4  # that ask the database
SERVER = "server"  # who decides where nobody did

_LOG = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
Of = tuple[str, str]  # an experiment and one of its arms


@dataclasses.dataclass(frozen=True)
class Known:
    """An experiment, and how it stands.

    Attributes:
      experiment: the experiment.
      standing: its standing.
    """

    experiment: Experiment
    standing: Standing


class Experiments:
    """What a server knows of the experiments of a database; safe from any thread.

    One thread keeps it fresh: it reads standings, so that decisions of other processes take effect, adds the counts of
    requests to the database, and looks at the guards. Where the database does not answer, what was known last holds.
    """

    def __init__(
        self,
        store: "Store",
        analysed: Callable[[Experiment, Kept], Analysis],
        *,
        refresh_s: float = REFRESH_S,
        guards_s: float = GUARDS_S,
    ):
        """Read what there is, and begin to keep it fresh.

        Args:
          store: the database; it is closed at the end.
          analysed: what may be concluded from what is kept.
          refresh_s: seconds between two readings.
          guards_s: seconds between two looks at the guards.
        """
        self._store, self._analysed, self._refresh_s, self._guards_s = store, analysed, refresh_s, guards_s
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="experiments")
        self._lock, self._turn, self._ending = threading.Lock(), threading.Lock(), threading.Event()
        self._known: dict[str, Known] = {}
        self._counts: dict[Of, Requests] = {}
        self._breakers: dict[Of, Breaker] = collections.defaultdict(Breaker)
        self._broken: dict[str, bool] = {}  # whether the ratio of an experiment was broken at the last look
        self._untold: dict[Of, str] = {}  # arms that are taken out here, and not yet in the database
        self.refresh()
        self._thread = threading.Thread(target=self._run, name="experiments", daemon=True)
        self._thread.start()

    def begin(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Do something that waits for the database in a thread of the pool."""
        return self._pool.submit(work, *args, **kwargs)

    def known(self) -> tuple[Known, ...]:
        """Return all experiments, as they were known last."""
        return tuple(self._known.values())

    def last(self, name: str) -> Known | None:
        """Return an experiment as it was known last, with arms that were taken out here; None if it is not known."""
        found = self._known.get(name)
        if found is None or not self._untold:
            return found
        here = frozenset(arm for experiment, arm in list(self._untold) if experiment == name)
        standing = dataclasses.replace(found.standing, tripped=found.standing.tripped | here)
        return dataclasses.replace(found, standing=standing)

    def tripped(self) -> dict[Of, bool]:
        """Return whether each arm of the experiments that run is taken out."""
        known = [self.last(one.experiment.name) or one for one in self.known()]
        return {
            (one.experiment.name, arm.name): arm.name in one.standing.tripped
            for one in known
            for arm in one.experiment.arms
            if one.standing.status == "running"
        }

    def broken(self) -> dict[str, bool]:
        """Return whether the ratio of each experiment that runs was broken when the guards were last looked at."""
        running = [one.experiment.name for one in self.known() if one.standing.status == "running"]
        return {name: self._broken.get(name, False) for name in running}

    def find(self, name: str) -> Known:
        """Return an experiment; one that is not known is read from the database; raise Missing or Unavailable."""
        if name not in self._known:
            self._keep(Known(self._store.experiment(name), self._store.standing(name)))
        found = self.last(name)
        assert found is not None
        return found

    def assign(self, experiment: Experiment, unit: str) -> Assignment:
        """Return which arm a unit has; raise Unavailable."""
        return self._store.assign(experiment, unit, at_s=time.time())

    def recorded(self, experiment: Experiment, unit: str, outcome: str, digest: str) -> Recorded | None:
        """Return what is kept of an outcome, None if it is not; raise Conflict if it was another, or Unavailable."""
        return self._store.recorded(experiment, unit, outcome, digest)

    def record(self, experiment: Experiment, outcome: Outcome) -> Recorded:
        """Keep an outcome, once; raise Conflict if another one of its name is kept, or Unavailable."""
        return self._store.record(experiment, outcome, at_s=time.time())

    def create(self, experiment: Experiment) -> Known:
        """Begin an experiment; raise Conflict or Unavailable."""
        self._store.create(experiment)
        self._keep(Known(experiment, self._store.standing(experiment.name)))
        return self.find(experiment.name)

    def analysis(self, name: str) -> Analysis:
        """Return what may be concluded from an experiment now; raise Missing or Unavailable."""
        experiment = self.find(name).experiment
        return self._analysed(experiment, self._store.kept(experiment))

    def decisions(self, name: str) -> tuple[Decision, ...]:
        """Return what was decided; raise Missing or Unavailable."""
        return self._store.decisions(name)

    def decide(self, name: str, decision: str, *, arm: str, by: str, because: str) -> Known:
        """Record a decision with what is known now; it takes effect at once here, and soon in other processes.

        Raises:
          Missing: there is no such experiment.
          Conflict: it does not fit how the experiment stands.
          Unavailable: the database does not answer.
        """
        found = self.find(name)
        known = self.analysis(name).to_json()
        standing = self._store.decide(name, Decision(decision, arm, by, because, time.time(), known))
        self._keep(Known(found.experiment, standing))
        return self.find(name)

    def note(self, name: str, arm: str, *, seconds: float, failed: bool = False, refused: bool = False) -> None:
        """Count a request of an arm; where too many fail, the arm is taken out."""
        known = self._known.get(name)
        if known is None:
            return
        experiment, of = known.experiment, (name, arm)
        slow = seconds > experiment.guards.latency_s
        with self._lock:
            more = Requests(1, int(slow), int(failed), int(refused), seconds)
            self._counts[of] = _sum(self._counts.get(of, Requests()), more)
            opens = self._breakers[of].note(failed=failed) and arm != experiment.control.name
        if opens:
            self._trip(of, self._breakers[of].because)

    def refresh(self) -> None:
        """Read all experiments and standings, and keep what was counted; what fails is tried again the next time."""
        with self._turn, contextlib.suppress(Unavailable):
            for experiment in self._store.experiments():
                before = self._known.get(experiment.name)
                self._keep(Known(experiment, self._store.standing(experiment.name)), instead_of=before)
            self._tell()
            self._flush()

    def look_at_guards(self) -> None:
        """Take arms out whose guards have tripped, unless somebody has resumed them after that."""
        for known in self.known():
            if known.standing.status != "running":
                continue
            with contextlib.suppress(Unavailable):
                for arm, because in self._tripped_by_guards(known.experiment):
                    self._trip((known.experiment.name, arm), because)
        with self._turn, contextlib.suppress(Unavailable):
            self._tell()

    def close(self) -> None:
        """Keep what was counted, and end."""
        self._ending.set()
        self._thread.join()
        self.refresh()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._store.close()

    def _run(self) -> None:
        looked = time.monotonic()
        while not self._ending.wait(self._refresh_s):
            try:
                self.refresh()
                if time.monotonic() - looked >= self._guards_s:
                    looked = time.monotonic()
                    self.look_at_guards()
            except Exception:  # the thread goes on: without it, decisions would no longer take effect
                _LOG.exception("experiments could not be refreshed")

    def _keep(self, known: Known, *, instead_of: Known | EllipsisType | None = ...) -> None:
        """Note how an experiment stands; a breaker begins anew where somebody has resumed its arm.

        Args:
          known: how it stands.
          instead_of: how it stood before that was read: if it is another now, a decision was faster than the reading.
        """
        name = known.experiment.name
        with self._lock:
            before = self._known.get(name)
            if instead_of is not ... and before is not instead_of:
                return
            for arm in before.standing.tripped - known.standing.tripped if before else ():
                self._breakers[name, arm].reset()
            self._known[name] = known

    def _trip(self, of: Of, because: str) -> None:
        """Take an arm out here at once, and in the database as soon as it answers; not after the experiment's end."""
        known = self.last(of[0])
        if known is not None and known.standing.status == "running" and of[1] not in known.standing.tripped:
            self._untold[of] = because
            _LOG.warning("arm %s of experiment %s is taken out: %s", of[1], of[0], because)

    def _tell(self) -> None:
        """Record which arms were taken out here."""
        for (name, arm), because in list(self._untold.items()):
            known = self._known[name]
            if arm not in known.standing.tripped and known.standing.status == "running":
                with contextlib.suppress(Conflict):  # another process was faster
                    self.decide(name, "trip", arm=arm, by=SERVER, because=because)
            del self._untold[name, arm]

    def _flush(self) -> None:
        """Add what was counted to the database."""
        with self._lock:
            taken, self._counts = self._counts, {}
        for name in {name for name, _ in taken}:
            by_arm = {arm: counted for (of, arm), counted in taken.items() if of == name}
            try:
                self._store.count(name, by_arm)
            except (Unavailable, Missing):
                with self._lock:
                    for arm, counted in by_arm.items():
                        self._counts[name, arm] = _sum(self._counts.get((name, arm), Requests()), counted)

    def _tripped_by_guards(self, experiment: Experiment) -> list[tuple[str, str]]:
        """Return the arms that guards take out, and why."""
        analysis, resumed = self.analysis(experiment.name), _resumed(self._store.decisions(experiment.name))
        self._broken[experiment.name] = analysis.ratio_broken
        found = []
        for arm in experiment.arms[1:]:
            guards = analysis.arms[arm.name].guards
            known = resumed.get(arm.name, frozenset())
            names = [name for name, guard in guards.items() if guard.tripped and name not in known]
            if names:
                shares = ", ".join(f"{name} {guards[name].share:.1%} of {guards[name].tolerated:.1%}" for name in names)
                found.append((arm.name, f"more requests than tolerated: {shares}"))
        return found


def _sum(one: Requests, other: Requests) -> Requests:
    pairs = zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    return Requests(*(a + b for a, b in pairs))


def _resumed(decisions: tuple[Decision, ...]) -> dict[str, frozenset[str]]:
    """Return the guards that had tripped when an arm was last resumed, by arm: somebody knew of them, and went on."""
    found = {}
    for decision in decisions:
        if decision.decision == "resume":
            found[decision.arm] = frozenset(_tripped(decision.known, decision.arm))
    return found


def _tripped(known: Mapping[str, Any], arm: str) -> list[str]:
    guards = known.get("arms", {}).get(arm, {}).get("guards", {})
    return [name for name, guard in guards.items() if guard["tripped"]]
