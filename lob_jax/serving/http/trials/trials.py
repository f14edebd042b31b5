"""`Trials`: experiments as the other routes meet them: who opens a session, what it follows, and what counts."""

import asyncio
import dataclasses
import secrets
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from lob_jax.errors import InputError
from lob_jax.serving import requests
from lob_jax.serving.experiments.experiment import Arm, Experiment
from lob_jax.serving.experiments.results import Standing
from lob_jax.serving.experiments.running import Experiments, Known
from lob_jax.serving.http import translate
from lob_jax.serving.http.problems import Problem
from lob_jax.serving.http.service import Service
from lob_jax.serving.http.translate import Asked
from lob_jax.serving.http.trials.database import asked as ask
from lob_jax.serving.http.trials.sessions import Followed, FollowedSessions
from lob_jax.serving.market.tail import Tail, kept_events
from lob_jax.serving.requests import Feed, Finished, ModelFacts, SessionState, Unknown

R = TypeVar("R")
CLOSED = "there is no such session: it was closed"
TAKEN_OUT = "its arm was taken out of the experiment: open it again"
UNSURE = "what it has followed is not known: open it again"


@dataclasses.dataclass(frozen=True)
class Place:
    """What a unit gets.

    Attributes:
      experiment: the experiment.
      unit: the unit.
      arm: the arm that answers it.
      counted: whether the unit takes part.
    """

    experiment: Experiment
    unit: str
    arm: Arm
    counted: bool


class Trials:
    """Sessions of units of experiments.

    Attributes:
      service: what all routes share.
      experiments: the experiments.
      operators: the names of keys that may create experiments and decide about them.
      sessions: the sessions of units.
    """

    def __init__(self, service: Service, experiments: Experiments, *, operators: Sequence[str] = ()):
        self.service, self.experiments, self.operators = service, experiments, frozenset(operators)
        self.sessions = FollowedSessions()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def place(self, name: str, unit: str | None) -> Place:
        """Return what a unit gets; one that an experiment knows keeps its arm.

        Raises:
          Problem: there is no such experiment, this server lacks a model of it, or the database does not answer.
        """
        known = await self.known(name)
        experiment, standing = known.experiment, known.standing
        self.check_models(experiment)
        unit = unit or secrets.token_hex(8)
        if standing.status != "running":
            return Place(experiment, unit, experiment.arm(standing.winner), False)
        assignment = await ask(self.experiments, self.experiments.assign, experiment, unit)
        taken_out = assignment.arm in standing.tripped
        arm = experiment.control if taken_out else experiment.arm(assignment.arm)
        return Place(experiment, unit, arm, assignment.enrolled and not taken_out)

    async def known(self, name: str) -> Known:
        """Return an experiment; raise Problem if there is none such, or the database does not answer."""
        found = self.experiments.last(name)
        return found if found is not None else await ask(self.experiments, self.experiments.find, name)

    def check_models(self, experiment: Experiment) -> None:
        """Check that this server has the models of an experiment, and that they read the same market.

        Raises:
          Problem: it does not.
        """
        facts = [self.service.terms(self.service.named(arm.model), "").facts for arm in experiment.arms]
        if len({_market_of(each) for each in facts}) > 1:
            models = ", ".join(each.name for each in facts)
            what = "the models of an experiment have the same units and the same kind of feed"
            raise Problem("invalid-request", what, was=models)

    def opened(self, place: Place, state: SessionState, asked: Asked) -> dict[str, str]:
        """Begin to follow a session of a unit; return what its client is told beside its state."""
        assert isinstance(asked.request, requests.OpenSession)
        history, owner = asked.request.history, asked.request.owner
        facts = self.service.terms(place.arm.model, owner).facts
        tail = Tail(history, keep=kept_events(facts), instrument=facts.instrument) if place.counted else None
        self.sessions.add(
            Followed(
                session=translate.public_id(place.arm.model, state.session),
                owner=owner,
                experiment=place.experiment,
                unit=place.unit,
                arm=place.arm.name,
                model=place.arm.model,
                counted=place.counted,
                tail=tail,
                events=state.events,
                idle_s=state.seconds_left,
            )
        )
        return {"experiment": place.experiment.name, "unit": place.unit, "arm": place.arm.name}

    def check(self, session: str, owner: str) -> None:
        """Raise Problem for a session that answers no more."""
        followed = self.sessions.find(session, owner)
        if followed is None:
            return
        if not followed.ended and followed.arm in self.standing(followed).tripped:
            followed.ended = TAKEN_OUT
        followed.check()
        followed.touch()

    def closed(self, session: str, owner: str) -> None:
        """Keep no more of a session that its client has closed than is needed to count that request."""
        followed = self.sessions.find(session, owner)
        if followed is not None:
            followed.end(CLOSED)

    def standing(self, followed: Followed) -> Standing:
        """Return how the experiment of a session stands, as it is known here."""
        known = self.experiments.last(followed.experiment.name)
        assert known is not None  # experiments are never deleted
        return known.standing

    def note(self, session: str, owner: str, *, seconds: float, failed: bool, refused: bool) -> None:
        """Count a request of a session for its arm."""
        followed = self.sessions.find(session, owner)
        if followed is not None and followed.counted:
            name = followed.experiment.name
            self.experiments.note(name, followed.arm, seconds=seconds, failed=failed, refused=refused)

    def follows(self, session: str, owner: str) -> bool:
        """Return whether a session of an owner is one of a unit."""
        return self.sessions.find(session, owner) is not None

    async def fed(self, session: str, owner: str, asked: Asked) -> Finished:
        """Let a session of a unit follow events, which are context of its outcomes; see `follow`."""
        followed = self.sessions.find(session, owner)
        if followed is None:
            raise Unknown("there is no such session")

        async def work() -> Finished:
            async with followed.lock:
                followed.check()
                return await self.follow(followed, asked)

        return await self.to_its_end(work())

    async def to_its_end(self, work: Coroutine[Any, Any, R]) -> R:
        """Do something that goes on when its client leaves: what a session follows has to be known here."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def follow(self, followed: Followed, asked: Asked) -> Finished:
        """Let a session follow events, all or none; its lock is held.

        Raises:
          InputError: they contradict the book.
          Exception: the engine has not followed them, or it is not known whether it has: then the session has ended.
        """
        assert isinstance(asked.request, Feed)
        fed = asked.request
        try:
            last = await self.service.last(followed.model, asked)
        except Unknown:
            self.sessions.forget(followed.session)
            raise
        except InputError:
            raise
        except Exception as error:  # it may have come after the engine had followed them
            last = await self._looked(followed, fed, error)
        followed.events = last.result.events
        if followed.tail is not None:
            followed.tail.extend(fed.events, fed.corrections)
        return last

    async def look(self, followed: Followed) -> Finished:
        """Return how a session stands."""
        market = translate.in_session(followed.session, self.service.terms(followed.model, followed.owner))
        return await self.service.last(followed.model, Asked(requests.Look(market)))

    async def _looked(self, followed: Followed, fed: Feed, error: Exception) -> Finished:
        """Return the state of a session that has followed events although that has failed; else raise the error."""
        try:
            last = await self.look(followed)
        except Exception:
            followed.ended = UNSURE
            raise error from None
        if not len(fed.events) and len(fed.corrections):
            followed.ended = UNSURE  # corrections alone cannot be counted
        if last.result.events == followed.events:
            raise error
        return last


def _market_of(facts: ModelFacts) -> tuple[object, ...]:
    instrument = facts.instrument
    units = instrument.price_scale, instrument.tick, instrument.lot_scale, instrument.signed, instrument.time_zone
    return (*units, facts.window, facts.pooled)
