"""An outcome, step by step, so that the same request, sent again after any failure, is recorded once.

The database is asked first whether it is recorded. If it is not, the arms score the events before the session follows
them, and it is recorded after that: what fails before the session has followed changes nothing, and an outcome that was
followed and could not be recorded is kept with the session until the database answers. A session that is lost in
between is opened again with a history up to before the outcome, and follows it then, recorded already or not.
"""

import dataclasses
import hashlib
import json
import time
from typing import Any

from lob_jax.errors import InputError
from lob_jax.serving.experiments.results import Outcome, Recorded
from lob_jax.serving.http import translate
from lob_jax.serving.http.problems import Problem, invalid, problem_of
from lob_jax.serving.http.translate import Asked, Terms
from lob_jax.serving.http.trials.database import asked as ask
from lob_jax.serving.http.trials.schemas import OutcomeAsked
from lob_jax.serving.http.trials.scoring import scores
from lob_jax.serving.http.trials.sessions import Followed
from lob_jax.serving.http.trials.trials import UNSURE, Trials
from lob_jax.serving.records import Fault, records_of
from lob_jax.serving.requests import Feed, Finished, SessionState

CROSSED = "its book has been crossed for too long: open it again with a book that is not"


@dataclasses.dataclass(frozen=True, eq=False)
class Told:
    """An outcome of a client.

    Attributes:
      outcome: the client's name of it.
      digest: of its events.
      feed: the request by which the session follows them.
    """

    outcome: str
    digest: str
    feed: Asked

    @property
    def request(self) -> Feed:
        """Return the request to the engine."""
        assert isinstance(self.feed.request, Feed)
        return self.feed.request


def read_outcome(asked: OutcomeAsked, terms: Terms) -> Told:
    """Return an outcome as it is told; raise Problem or InvalidRecords."""
    feed = translate.fed(asked.events, terms, session=asked.session)
    assert isinstance(feed.request, Feed)
    events, corrections = feed.request.events, feed.request.corrections
    if not len(events):
        raise invalid([Fault("/events", "at least one event", "none")], detail="an outcome has events")
    plain = json.dumps(records_of(events, corrections, terms.units), sort_keys=True, separators=(",", ":"))
    return Told(asked.outcome, hashlib.sha256(plain.encode()).hexdigest(), feed)


class Outcomes:
    """What outcomes do to sessions and to the database."""

    def __init__(self, trials: Trials):
        self._trials = trials

    async def take(self, followed: Followed, told: Told) -> dict[str, Any]:
        """Let a session follow an outcome, and record it, each once; return the answer.

        Raises:
          InputError: an event contradicts the book; nothing was done.
          Problem: another outcome of this name is known, or something does not answer: the request may be sent again.
          Refusal: an engine refuses it.
        """
        async with followed.lock:
            followed.check()  # another outcome, for which this one has waited, may have ended it
            digest = followed.done.get(told.outcome)
            if digest not in (None, told.digest):
                raise Problem("conflict", "this outcome has been sent with other events", was=told.outcome)
            recorded = await self._left_over(followed, told)
            if digest is None:
                recorded, state = await self._new(followed, told)
            else:
                state = (await self._trials.look(followed)).result
                if recorded is None or recorded.outcome != told.outcome:
                    recorded = await self._recorded(followed, told)
            return _answer(followed, told, recorded, self._state(followed, state))

    async def _new(self, followed: Followed, told: Told) -> tuple[Recorded | None, SessionState]:
        """Let a session follow an outcome that it has not followed, and record it if it is not recorded yet."""
        recorded = await self._recorded(followed, told)
        outcome = None if recorded is not None else await self._scored(followed, told)
        last: Finished = await self._trials.follow(followed, told.feed)
        followed.remember(told.outcome, told.digest)
        followed.pending = outcome
        kept = await self._left_over(followed, told)
        return kept or recorded, last.result

    async def _left_over(self, followed: Followed, told: Told) -> Recorded | None:
        """Record what a session has followed, and what is not recorded yet; return None if there is nothing."""
        if followed.pending is None:
            return None
        experiments = self._trials.experiments
        try:
            recorded = await ask(experiments, experiments.record, followed.experiment, followed.pending)
        except (Problem, InputError) as error:
            if problem_of(error).name != "unavailable":  # it will never be recorded, and must not hold up others
                followed.pending = None
            raise
        followed.pending = None
        if not recorded.before:
            own = {"experiment": followed.experiment.name, "arm": followed.arm, "events": recorded.events}
            lag_s = time.time() - told.request.events.time_ns[-1] / 1e9
            self._trials.service.metrics.outcome(**own, lag_s=lag_s)
        return recorded

    async def _recorded(self, followed: Followed, told: Told) -> Recorded | None:
        if not followed.counted:
            return None
        experiments = self._trials.experiments
        given = followed.experiment, followed.unit, told.outcome, told.digest
        return await ask(experiments, experiments.recorded, *given)

    async def _scored(self, followed: Followed, told: Told) -> Outcome | None:
        """Return an outcome with its scores; None if it is not to be recorded."""
        standing, experiment = self._trials.standing(followed), followed.experiment
        if not followed.counted or standing.status != "running":
            return None
        tail = followed.tail
        assert tail is not None
        if tail.lost:
            followed.ended = CROSSED
            raise Problem("unknown-session", CROSSED)
        if experiment.design == "paired":
            arms = [arm for arm in experiment.arms if arm.name not in standing.tripped]
        else:
            arms = [experiment.arm(followed.arm)]
        score = Asked(tail.score(told.request.events, told.request.corrections))
        try:
            found = await scores(self._trials.service, self._trials.experiments, followed, arms, score)
        except InputError as error:
            raise _misplaced(error, followed, told, before=len(tail)) from error
        return Outcome(followed.unit, told.outcome, told.digest, found.nats, found.brier, found.seconds)

    def _state(self, followed: Followed, state: SessionState) -> dict[str, Any]:
        return translate.state_json(state, self._trials.service.terms(followed.model, followed.owner))


def _misplaced(error: InputError, followed: Followed, told: Told, *, before: int) -> Problem:
    """Return the problem of an event that contradicts the book, by its place among those of the outcome."""
    event = getattr(error, "event", 0) - before
    if event < 0:  # the session has followed this one
        followed.ended = UNSURE
        return Problem("unknown-session", UNSURE)
    problem = problem_of(error, locate=lambda _: told.feed.locate(event) if told.feed.locate else "/events")
    problem.members.pop("where", None)  # it counts from the opening
    problem.members["event"] = event
    return problem


def _answer(followed: Followed, told: Told, recorded: Recorded | None, state: dict[str, Any]) -> dict[str, Any]:
    by_arm = {} if recorded is None else recorded.nats
    return {
        "experiment": followed.experiment.name,
        "unit": followed.unit,
        "outcome": told.outcome,
        "arm": followed.arm,
        "events": len(told.request.events),
        "first": None if recorded is None else recorded.first,
        "recorded": "not" if recorded is None else "before" if recorded.before else "now",
        "scores": {arm: {"nats": nats, "brier": recorded.brier[arm]} for arm, nats in by_arm.items() if recorded},
        "state": state,
    }
