"""The routes of experiments and outcomes."""

import dataclasses
import secrets
import time
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from starlette.responses import Response

from lob_jax.serving.config import NAME
from lob_jax.serving.experiments.config import OF_AN_ARM
from lob_jax.serving.experiments.experiment import Experiment, experiment_of
from lob_jax.serving.experiments.results import Analysis, Decision
from lob_jax.serving.experiments.running import Experiments, Known
from lob_jax.serving.experiments.store.errors import Missing
from lob_jax.serving.http import schemas
from lob_jax.serving.http.app import Route
from lob_jax.serving.http.problems import Problem, invalid, problem_of
from lob_jax.serving.http.routes import json_response
from lob_jax.serving.http.service import Service, exchange_of
from lob_jax.serving.http.trials import described
from lob_jax.serving.http.trials.database import asked as ask
from lob_jax.serving.http.trials.outcomes import Outcomes, read_outcome
from lob_jax.serving.http.trials.schemas import DecisionAsked, ExperimentAsked, OutcomeAsked
from lob_jax.serving.http.trials.trials import Trials
from lob_jax.serving.records import Fault


def with_experiments(service: Service, experiments: Experiments, *, operators: Sequence[str]) -> list[Route]:
    """Give a service its experiments, and return their routes.

    Args:
      service: the service.
      experiments: the experiments.
      operators: the names of keys that may create experiments and decide about them.
    """
    service.trials = Trials(service, experiments, operators=operators)
    routes, one = TrialRoutes(service.trials), "/v1/experiments/{name}"
    standing = described.ExperimentStanding
    return [
        Route("POST", "/v1/outcomes", routes.outcome, OutcomeAsked, described.OutcomeKept),
        Route("GET", "/v1/experiments", routes.experiments, None, described.Experiments),
        Route("POST", "/v1/experiments", routes.create, ExperimentAsked, standing, status=201),
        Route("GET", one, routes.experiment, None, described.ExperimentResults),
        Route("POST", f"{one}/decisions", routes.decide, DecisionAsked, standing, status=201),
    ]


class TrialRoutes:
    """The endpoints, which share `Trials`."""

    def __init__(self, trials: Trials):
        self.trials, self._outcomes = trials, Outcomes(trials)

    async def outcome(self, request: Request) -> Response:
        """Let a session follow events that were realised, and score and record them: once, however often it is sent."""
        service, owner = self.trials.service, exchange_of(request.scope).owner

        def read(plain: Any) -> Any:
            asked = schemas.validated(OutcomeAsked, plain)
            name = service.of_session(asked.session, owner)
            return asked, read_outcome(asked, service.terms(name, owner))

        asked, told = await service.read(request, read)
        followed = self.trials.sessions.find(asked.session, owner)
        if followed is None:
            raise Problem("unknown-session", "there is no such session of an experiment", pointer="/session")
        try:
            async with service.rates.opened(owner):
                found = await self.trials.to_its_end(self._outcomes.take(followed, told))
        except ValueError as error:
            raise problem_of(error, locate=told.feed.locate) from error
        return json_response(found)

    async def experiments(self) -> Response:
        """List all experiments, with how they stand."""
        experiments = self.trials.experiments
        await ask(experiments, experiments.refresh)
        return json_response({"experiments": [standing_json(known) for known in experiments.known()]})

    async def experiment(self, name: str) -> Response:
        """Return an experiment, how it stands, what may be concluded now, and what was decided."""
        self._check_name(name)
        found = await ask(self.trials.experiments, results, self.trials.experiments, name)
        return json_response(results_json(*found))

    async def create(self, request: Request) -> Response:
        """Begin an experiment; the same one again changes nothing."""
        self._check_operator(request)
        asked = await self.trials.service.read(request, lambda plain: schemas.validated(ExperimentAsked, plain))
        known = await ask(self.trials.experiments, created, self.trials, asked)
        return json_response(standing_json(known), status=201, headers={"Location": f"/v1/experiments/{asked.name}"})

    async def decide(self, request: Request, name: str) -> Response:
        """Promote an arm, keep on, stop, or resume an arm that was taken out; what is known now is recorded with it."""
        self._check_operator(request)
        self._check_name(name)
        asked = await self.trials.service.read(request, lambda plain: schemas.validated(DecisionAsked, plain))
        experiments, by = self.trials.experiments, exchange_of(request.scope).owner
        known = await self.trials.known(name)
        of_an_arm, names = asked.decision in OF_AN_ARM, [arm.name for arm in known.experiment.arms]
        if not (asked.arm in names if of_an_arm else asked.arm is None):
            wanted = " | ".join(names) if of_an_arm else "nothing"
            raise invalid([Fault("/arm", wanted, str(asked.arm))], detail=f"the arm does not fit {asked.decision}")
        how = {"arm": asked.arm or "", "by": by, "because": asked.because}
        return json_response(
            standing_json(await ask(experiments, experiments.decide, name, asked.decision, **how)), status=201
        )

    def _check_operator(self, request: Request) -> None:
        owner = exchange_of(request.scope).owner
        if owner not in self.trials.operators:
            raise Problem("forbidden", f"the key {owner} is not among config.serve.operators")

    def _check_name(self, name: str) -> None:
        if not NAME.fullmatch(name):
            raise Problem("unknown-experiment", "there is no such experiment")


def results(experiments: Experiments, name: str) -> tuple[Known, Analysis, tuple[Decision, ...]]:
    """Return an experiment as it stands, what may be concluded, and what was decided; it waits for the database."""
    return experiments.find(name), experiments.analysis(name), experiments.decisions(name)


def created(trials: Trials, asked: ExperimentAsked) -> Known:
    """Begin an experiment; what the request leaves to the server is that of the same one, if it is there already."""
    experiments, plain = trials.experiments, asked.model_dump()
    try:
        before: Experiment | None = experiments.find(asked.name).experiment
    except Missing:
        before = None
    if plain["salt"] is None:
        plain["salt"] = before.salt if before else secrets.token_hex(16)
    if plain["created_s"] is None:
        plain["created_s"] = before.created_s if before else time.time()
    experiment = experiment_of(plain)
    trials.check_models(experiment)
    return experiments.create(experiment)


def standing_json(known: Known) -> dict[str, Any]:
    """Return an experiment, and how it stands."""
    standing = known.standing
    return {
        "experiment": known.experiment.to_json(),
        "standing": {"status": standing.status, "winner": standing.winner, "tripped": sorted(standing.tripped)},
    }


def results_json(known: Known, analysis: Analysis, decisions: Sequence[Decision]) -> dict[str, Any]:
    """Return what is known of an experiment."""
    told = [dataclasses.asdict(decision) for decision in decisions]
    return {**standing_json(known), "analysis": analysis.to_json(), "decisions": told}
