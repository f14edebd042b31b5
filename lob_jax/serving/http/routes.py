"""The routes of `/v1`, of health and of metrics."""

import asyncio
import contextlib
import functools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.responses import Response

from lob_jax.serving import requests
from lob_jax.serving.http import schemas, translate
from lob_jax.serving.http.answers import EventStream, last_of
from lob_jax.serving.http.problems import KINDS, Problem, invalid, problem_of
from lob_jax.serving.http.service import Exchange, Service, exchange_of, failed
from lob_jax.serving.http.translate import Asked, Terms
from lob_jax.serving.monitoring.metrics import CONTENT_TYPE
from lob_jax.serving.records import Fault, path_json
from lob_jax.serving.requests import Finished, PathEvent
from lob_jax.serving.units import Units

if TYPE_CHECKING:
    from lob_jax.serving.http.trials.trials import Place

MANY = 1000  # items that are written in another thread, so that other requests have their turn


def json_response(content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a response with a JSON body."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    return Response(
        body, status, headers={"Cache-Control": "no-store", **(headers or {})}, media_type="application/json"
    )


class Routes:
    """The endpoints, which share a `Service`."""

    def __init__(self, service: Service):
        self.service = service

    async def _asked(self, request: Request, of: Any, build: Any) -> tuple[str, Asked, Any]:
        """Return the model, the request to its engine and what the client has asked for."""
        owner = exchange_of(request.scope).owner

        def read(plain: Any) -> tuple[str, Asked, Any]:
            asked = schemas.validated(of, plain)
            session = getattr(asked, "session", None)
            name = self.service.of_session(session, owner, asked.model) if session else self.service.named(asked.model)
            return name, build(asked, self.service.terms(name, owner)), asked

        name, asked, given = await self.service.read(request, read)
        self._about(request, getattr(given, "session", None) or "", asked)
        return name, asked, given

    def _about(self, request: Request, session: str, asked: Asked) -> None:
        """Note which session a request is about."""
        exchange = exchange_of(request.scope)
        exchange.session = session
        exchange.hurried = asked.deadline_s is not None and asked.deadline_s < self.service.limits.deadline_s

    async def _finished(self, request: Request, name: str, asked: Asked) -> Finished:
        """Return the last item of an answer; an event at fault is named by its place in the body."""
        try:
            return await self.service.finished(request, name, asked)
        except ValueError as error:
            raise problem_of(error, locate=asked.locate) from error

    def _terms(self, request: Request, name: str) -> Terms:
        return self.service.terms(name, exchange_of(request.scope).owner)

    async def predict(self, request: Request) -> Response:
        """Return the probabilities of the next event."""
        name, asked, _ = await self._asked(request, schemas.PredictAsked, translate.predict)
        last = await self._finished(request, name, asked)
        found = translate.prediction_json(last.result, self._terms(request, name))
        return json_response({**found, "seconds": translate.seconds_json(last.seconds)})

    async def generate(self, request: Request) -> Response:
        """Continue a market on several paths, in one answer or as a stream of server-sent events."""
        name, asked, given = await self._asked(request, schemas.GenerateAsked, translate.generate)
        terms = self._terms(request, name)
        if given.stream:
            return await self._stream(request, name, asked, terms)
        try:
            items = await self.service.collected(request, name, asked)
            last = last_of(items)
        except ValueError as error:
            raise problem_of(error, locate=asked.locate) from error
        head = {"model": name, "seed": asked.seed, "seconds": translate.seconds_json(last.seconds)}
        work = functools.partial(whole, head, items, paths=given.paths, units=terms.units)
        body = work() if len(items) < MANY else await asyncio.to_thread(work)
        return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")

    async def _stream(self, request: Request, name: str, asked: Asked, terms: Terms) -> Response:
        """Return a stream; a request that the engine refuses at once is answered by a problem instead."""
        service, exchange = self.service, exchange_of(request.scope)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(service.rates.opened(exchange.owner))
            answer = await stack.enter_async_context(service.answering())
            service.submit(name, asked, answer)
            held = stack.pop_all()

        def done(last: Finished, events: int) -> dict[str, Any]:
            seconds = translate.seconds_json(last.seconds)
            return {"model": name, "seed": asked.seed, "events": events, "seconds": seconds}

        return EventStream(
            answer,
            held=held,
            text=lambda event: path_json(event, terms.units),
            done=done,
            problem=lambda error: told(error, exchange, asked),
            limits=service.limits,
            first=service.metrics.first_event,
        )

    async def forecast(self, request: Request) -> Response:
        """Return quantiles over sampled paths."""
        name, asked, _ = await self._asked(request, schemas.ForecastAsked, translate.forecast)
        last = await self._finished(request, name, asked)
        found = translate.fan_json(last.result, self._terms(request, name))
        return json_response({**found, "seed": asked.seed, "seconds": translate.seconds_json(last.seconds)})

    async def score(self, request: Request) -> Response:
        """Return how likely each event of a history was."""
        name, asked, _ = await self._asked(request, schemas.ScoreAsked, translate.score)
        last = await self._finished(request, name, asked)
        found = translate.scored_json(last.result, self._terms(request, name))
        return json_response({**found, "seconds": translate.seconds_json(last.seconds)})

    async def open_session(self, request: Request) -> Response:
        """Begin to follow a market, with a model or as a unit of an experiment."""
        given = await self.service.read(request, lambda plain: schemas.validated(schemas.SessionAsked, plain))
        place = await self._place(given)
        name = self.service.named(given.model) if place is None else place.arm.model
        terms = self._terms(request, name)
        build = functools.partial(translate.open_session, given, terms)
        asked = build() if len(given.history.events) < MANY else await asyncio.to_thread(build)
        last = await self._finished(request, name, asked)
        state = translate.state_json(last.result, terms)
        if place is not None and self.service.trials is not None:
            state |= self.service.trials.opened(place, last.result, asked)
            self._about(request, state["session"], asked)
        return json_response(state, status=201, headers={"Location": f"/v1/sessions/{state['session']}"})

    async def _place(self, given: schemas.SessionAsked) -> "Place | None":
        """Return what an experiment assigns to a session; None if it names none."""
        if given.experiment is None and given.unit is None:
            return None
        if given.experiment is None or given.model is not None:
            was = "a unit without an experiment" if given.experiment is None else "experiment and model"
            fault = Fault("", "either model, or experiment and a unit", was)
            raise invalid([fault], detail="the request has to name one model")
        if self.service.trials is None:
            raise Problem("unknown-experiment", "this server has no experiments", pointer="/experiment")
        return await self.service.trials.place(given.experiment, given.unit)

    async def look(self, request: Request, session_id: str) -> Response:
        """Return how a session stands."""
        return await self._of_session(request, session_id, requests.Look)

    async def close(self, request: Request, session_id: str) -> Response:
        """End a session, and return how it stood."""
        response = await self._of_session(request, session_id, requests.Close)
        if self.service.trials is not None:
            self.service.trials.closed(session_id, exchange_of(request.scope).owner)
        return response

    async def _of_session(self, request: Request, session_id: str, of: Any) -> Response:
        name = self.service.of_session(session_id, exchange_of(request.scope).owner)
        terms = self._terms(request, name)
        asked = Asked(of(translate.in_session(session_id, terms)))
        self._about(request, session_id, asked)
        last = await self._finished(request, name, asked)
        return json_response(translate.state_json(last.result, terms))

    async def feed(self, request: Request, session_id: str) -> Response:
        """Let a session follow more events, all of them or none."""
        name = self.service.of_session(session_id, exchange_of(request.scope).owner)
        terms = self._terms(request, name)

        def read(plain: Any) -> Asked:
            return translate.feed(schemas.validated(schemas.FeedAsked, plain), terms, session=session_id)

        asked = await self.service.read(request, read)
        self._about(request, session_id, asked)
        last = await self._fed(request, name, asked, session=session_id)
        return json_response(translate.state_json(last.result, terms))

    async def _fed(self, request: Request, name: str, asked: Asked, *, session: str) -> Finished:
        """Return the state of a session that has followed events; one of an experiment does so to the end."""
        trials, owner = self.service.trials, exchange_of(request.scope).owner
        if trials is None or not trials.follows(session, owner):
            return await self._finished(request, name, asked)
        try:
            async with self.service.rates.opened(owner):
                return await trials.fed(session, owner, asked)
        except ValueError as error:
            raise problem_of(error, locate=asked.locate) from error

    async def models(self) -> Response:
        """List the models."""
        terms = [self.service.terms(name, "") for name in self.service.servers]
        return json_response({"models": [translate.facts_json(one.facts) for one in terms]})

    async def model(self, name: str) -> Response:
        """Return what is known of a model, with its card."""
        facts = self.service.terms(self.service.named(name), "").facts
        return json_response({**translate.facts_json(facts), "card": dict(facts.card)})

    async def live(self) -> Response:
        """Say that the server runs."""
        return json_response({"live": True})

    async def ready(self) -> Response:
        """Say whether the server takes requests: status 503 if it does not."""
        return json_response({"ready": self.service.ready}, status=200 if self.service.ready else 503)

    async def metrics(self) -> Response:
        """Return metrics in the text format of Prometheus."""
        return Response(self.service.metrics.text(), media_type=CONTENT_TYPE)

    async def problem(self, name: str) -> Response:
        """Describe a kind of problem."""
        if name not in KINDS:
            raise Problem("not-found", "there is no such kind of problem")
        kind = KINDS[name]
        return json_response(
            {"type": f"/problems/{name}", "title": kind.title, "status": kind.status, "means": kind.means}
        )


def whole(head: dict[str, Any], items: Sequence[requests.Item], *, paths: int, units: Units) -> bytes:
    """Return an answer that holds all paths, as JSON."""
    texts: list[list[str]] = [[] for _ in range(paths)]
    for item in items:
        if isinstance(item, PathEvent):
            texts[item.path].append(path_json(item, units)[1:-1])
    told = [f'{{"path":{path},"events":[{",".join(text)}]}}' for path, text in enumerate(texts)]
    return f'{json.dumps(head, separators=(",", ":"))[:-1]},"paths":[{",".join(told)}]}}'.encode()


def told(error: Exception, exchange: Exchange, asked: Asked | None = None) -> dict[str, Any]:
    """Return the body of the problem of an error, for an answer that has begun; write down one that is not foreseen."""
    problem = problem_of(error, locate=asked.locate if asked else None)
    exchange.problem = problem.name
    if problem.name == "failed":
        failed(error, exchange.request_id)
    return problem.body(exchange.request_id)
