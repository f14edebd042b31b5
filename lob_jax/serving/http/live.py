"""The socket of a session: events in, states, predictions and paths out, several at the same time."""

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from lob_jax.serving import requests
from lob_jax.serving.http import schemas, translate
from lob_jax.serving.http.answers import last_of
from lob_jax.serving.http.bodies import Gone, parse_json
from lob_jax.serving.http.problems import Problem, problem_of
from lob_jax.serving.http.routes import MANY, told
from lob_jax.serving.http.service import LARGE, Exchange, Service, exchange_of
from lob_jax.serving.http.translate import Asked, Terms
from lob_jax.serving.records import path_json
from lob_jax.serving.requests import PathEvent

WAITING = 16  # messages of events that are not answered yet

Work = Callable[[schemas.LiveMessage], Coroutine[Any, Any, None]]


class Live:
    """The endpoint of sockets."""

    def __init__(self, service: Service):
        self.service = service

    async def live(self, socket: WebSocket, session_id: str) -> None:
        """Follow a session; one that there is not is refused before the socket opens."""
        exchange = exchange_of(socket.scope)
        name = self.service.of_session(session_id, exchange.owner)
        terms = self.service.terms(name, exchange.owner)
        async with self.service.rates.opened(exchange.owner):
            look = Asked(requests.Look(translate.in_session(session_id, terms)))
            await self.service.last(name, look)
            await socket.accept()
            await Conversation(self.service, socket, terms, session_id).run()


class Conversation:
    """What is going on in one socket.

    Events are followed one message after the other; a prediction and a generation at most may be at work beside, and
    each sees the events of all messages before it. The socket is read all the time, so that a client that leaves is
    noticed at once.
    """

    def __init__(self, service: Service, socket: WebSocket, terms: Terms, session_id: str):
        self._service, self._socket, self._terms, self._session = service, socket, terms, session_id
        self._exchange = exchange_of(socket.scope)
        self._tasks: dict[str, set[asyncio.Task[None]]] = {"events": set(), "predict": set(), "generate": set()}
        self._feeding: asyncio.Task[None] | None = None  # the last message of events

    async def run(self) -> None:
        """Answer messages until the client leaves or takes nothing any more."""
        try:
            while (message := await self._socket.receive())["type"] != "websocket.disconnect":
                await self._heard(message.get("text"))
        except Gone:
            pass
        finally:
            tasks = [task for tasks in self._tasks.values() for task in tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _heard(self, text: str | None) -> None:
        """Begin to answer a message."""
        message = None
        try:
            message = await self._message(text)
            if message.events is not None:
                self._feeding = self._begin("events", self._feed, message)
            elif message.predict is not None:
                self._begin("predict", self._predict, message)
            else:
                self._begin("generate", self._generate, message)
        except Problem as error:
            await self._send_problem(error, message)

    async def _message(self, text: str | None) -> schemas.LiveMessage:
        """Return a message; raise Problem for one that is none."""
        self._service.rates.spend(self._exchange.owner)
        self._service.of_session(self._session, self._exchange.owner)
        if text is None:
            raise Problem("media-type", "messages are JSON text")
        parse = functools.partial(parse_json, text, depth=self._service.limits.json_depth)
        if len(text) < LARGE:
            plain = parse()
        else:
            async with self._service.rates.reading(self._exchange.owner):
                plain = await asyncio.to_thread(parse)
        try:
            message = schemas.validated(schemas.LiveMessage, plain)
        except Problem as problem:
            own = plain.get("id") if isinstance(plain, dict) else None
            problem.members["id"] = own if isinstance(own, int | str) else None
            raise
        given = [name for name in ("events", "predict", "generate") if getattr(message, name) is not None]
        if len(given) != 1:
            raise Problem(
                "invalid-request",
                "a message has one of events, predict and generate",
                pointer="",
                was=", ".join(given) or "none",
                id=message.id,
            )
        return message

    def _begin(self, kind: str, work: Work, message: schemas.LiveMessage) -> asyncio.Task[None]:
        """Begin a task, which waits for the events before it; raise Problem if there are enough of its kind."""
        tasks = self._tasks[kind]
        if len(tasks) >= (WAITING if kind == "events" else 1):
            raise Problem("busy", f"this socket has enough of {kind} at work: wait for the answer")
        task = asyncio.create_task(self._done(work, message, after=self._feeding))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    async def _done(self, work: Work, message: schemas.LiveMessage, *, after: asyncio.Task[None] | None) -> None:
        exchange = Exchange(self._exchange.request_id, self._exchange.owner, session=self._session, hurried=True)
        try:
            if after is not None:
                await asyncio.wait({after})
            exchange.began = time.monotonic()
            await work(message)
        except Gone:
            return
        except Exception as error:
            exchange.problem = problem_of(error).name
            with contextlib.suppress(Gone):
                await self._send_problem(error, message)
        self._service.note(exchange, seconds=time.monotonic() - exchange.began)

    async def _feed(self, message: schemas.LiveMessage) -> None:
        asked = schemas.FeedAsked(events=message.events or [])
        build = functools.partial(translate.feed, asked, self._terms, session=self._session)
        fed = build() if len(asked.events) < MANY else await asyncio.to_thread(build)
        try:
            trials = self._service.trials
            if trials is not None and trials.follows(self._session, self._exchange.owner):
                last = await trials.fed(self._session, self._exchange.owner, fed)
            else:
                last = await self._service.last(self._terms.facts.name, fed)
        except ValueError as error:
            await self._send_problem(error, message, fed)
            return
        await self._send(message, state=translate.state_json(last.result, self._terms))

    async def _predict(self, message: schemas.LiveMessage) -> None:
        settings = dict(message.predict or ())
        asked = self._inside("/predict", translate.predict, schemas.PredictAsked(session=self._session, **settings))
        last = await self._service.last(self._terms.facts.name, asked)
        found = translate.prediction_json(last.result, self._terms)
        await self._send(message, prediction={**found, "seconds": translate.seconds_json(last.seconds)})

    async def _generate(self, message: schemas.LiveMessage) -> None:
        settings = dict(message.generate or ())
        asked = self._inside("/generate", translate.generate, schemas.GenerateAsked(session=self._session, **settings))
        units, events, last = self._terms.units, 0, None
        async with self._service.answering() as answer:
            self._service.submit(self._terms.facts.name, asked, answer)
            while last is None:
                await answer.wait(self._service.limits.deadline_s)
                items = answer.take()
                texts = [
                    f'{{"path":{item.path},"number":{item.number},"records":{path_json(item, units)}}}'
                    for item in items
                    if isinstance(item, PathEvent)
                ]
                events += len(texts)
                if texts:
                    await self._write(f'{{"id":{json.dumps(message.id)},"events":[{",".join(texts)}]}}')
                last = last_of(items) if len(texts) < len(items) else None
        seconds = translate.seconds_json(last.seconds)
        done = {"model": self._terms.facts.name, "seed": asked.seed, "events": events, "seconds": seconds}
        await self._send(message, done=done)

    def _inside(self, pointer: str, build: Callable[[Any, Terms], Asked], asked: Any) -> Asked:
        """Return a request; its problems are told with their place in the message."""
        try:
            return build(asked, self._terms)
        except (Problem, ValueError) as error:
            raise problem_of(error).inside(pointer) from error

    async def _send(self, message: schemas.LiveMessage, **content: Any) -> None:
        await self._write(json.dumps({"id": message.id, **content}, separators=(",", ":")))

    async def _send_problem(
        self, error: Exception, message: schemas.LiveMessage | None, asked: Asked | None = None
    ) -> None:
        body = told(error, self._exchange, asked)
        await self._write(json.dumps({"id": message.id if message else body.pop("id", None), "problem": body}))

    async def _write(self, text: str) -> None:
        """Send a message; raise Gone if the client has left, as it has for one that takes nothing for too long."""
        try:
            await self._socket.send_text(text)
        except (RuntimeError, WebSocketDisconnect) as error:  # it is closed
            raise Gone from error
