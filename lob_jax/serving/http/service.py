"""What all routes share: the engines, the keys, the limits of each key, and the answers that are on their way."""

import asyncio
import dataclasses
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.types import Scope

from lob_jax.serving import requests
from lob_jax.serving.config import Limits
from lob_jax.serving.http.answers import Answer, last_of, watched
from lob_jax.serving.http.bodies import Gone, parse_json, read_body
from lob_jax.serving.http.keys import Keys
from lob_jax.serving.http.problems import Problem
from lob_jax.serving.http.translate import MARK, Asked, Terms
from lob_jax.serving.monitoring.exported import Engines, Feeds, Reports, Standings
from lob_jax.serving.monitoring.metrics import Metrics
from lob_jax.serving.monitoring.watch import Watch
from lob_jax.serving.requests import Finished, Server
from lob_jax.serving.units import Units

if TYPE_CHECKING:
    from lob_jax.serving.http.trials.trials import Trials  # which a server without a database does not import

EXCHANGE = "lob_jax.exchange"  # key of a scope
LARGE = 1 << 15  # bytes of a body that is read in another thread
REFUSED = frozenset({"busy", "refused", "late"})  # problems by which a server refuses what is valid
NOBODY = frozenset({"leaving"})  # problems that say nothing of a model
READING = 2  # such bodies of one key that are read at the same time: the threads are those of all keys

log = logging.getLogger("lob_jax.serving")


@dataclasses.dataclass(slots=True)
class Exchange:
    """A request on its way.

    Attributes:
      request_id: its id.
      owner: the name of the key.
      began: in the time of `time.monotonic`.
      status: of the response, once it has begun.
      problem: the name of the problem that it is answered by; empty for none.
      session: the session that it is about; empty for none.
      hurried: whether it names a deadline of its own, which is shorter than the server's.
    """

    request_id: str
    owner: str = ""
    began: float = dataclasses.field(default_factory=time.monotonic)
    status: int = 0
    problem: str = ""
    session: str = ""
    hurried: bool = False

    @property
    def own_fault(self) -> bool:
        """Return whether it has failed by the deadline of its client alone, which says nothing of the server."""
        return self.hurried and self.problem == "late"


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange of a scope."""
    return scope[EXCHANGE]


def failed(error: Exception, request_id: str) -> None:
    """Write down a failure that is not foreseen, under the id of its request."""
    log.error("request %s has failed", request_id, exc_info=error, extra={"request_id": request_id})


@dataclasses.dataclass(slots=True)
class Bucket:
    """What a key may still ask: a token bucket.

    Attributes:
      tokens: requests that it may make at once.
      at: when that was so.
      open: requests and sockets of it that are open.
      reading: held while a large body of it is read.
    """

    tokens: float
    at: float
    open: int = 0
    reading: asyncio.Semaphore = dataclasses.field(default_factory=lambda: asyncio.Semaphore(READING))


class Rates:
    """Limits of each key; used in the event loop only."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic):
        self._limits, self._clock = limits, clock
        self._buckets: dict[str, Bucket] = {}

    def spend(self, owner: str) -> None:
        """Count a request of a key.

        Raises:
          Problem: it makes too many; says when the next one is taken.
        """
        bucket, now = self._bucket(owner), self._clock()
        limits = self._limits
        bucket.tokens = min(float(limits.burst), bucket.tokens + (now - bucket.at) * limits.rate_per_s)
        bucket.at = now
        if bucket.tokens < 1:
            wait_s = (1 - bucket.tokens) / limits.rate_per_s
            raise _too_many(f"at most {limits.rate_per_s:g} requests per second", wait_s)
        bucket.tokens -= 1

    @asynccontextmanager
    async def opened(self, owner: str) -> AsyncGenerator[None]:
        """Hold one of the places of a key.

        Raises:
          Problem: all of them are held.
        """
        bucket = self._bucket(owner)
        if bucket.open >= self._limits.streams:
            raise _too_many(f"at most {self._limits.streams} open requests", 1.0)
        bucket.open += 1
        try:
            yield
        finally:
            bucket.open -= 1

    def reading(self, owner: str) -> asyncio.Semaphore:
        """Return what a key has to hold while a large body of it is read."""
        return self._bucket(owner).reading

    def _bucket(self, owner: str) -> Bucket:
        return self._buckets.setdefault(owner, Bucket(float(self._limits.burst), self._clock()))


def _too_many(what: str, wait_s: float) -> Problem:
    return Problem("too-many-requests", f"a key may have {what}", headers={"Retry-After": str(math.ceil(wait_s) or 1)})


class Service:
    """What the routes work with.

    Attributes:
      servers: the engines, by the name of their model.
      keys: who may use them.
      limits: what may be asked.
      rates: what each key may ask.
      metrics: what is counted.
      watch: what sees the answers of engines, for monitoring.
      leaving: whether no more requests are taken.
      trials: sessions of experiments; None for a server without a database.
    """

    def __init__(self, servers: Mapping[str, Server], keys: Keys, limits: Limits, *, monitor_share: float = 0.0):
        """Take the engines.

        Args:
          servers: the engines, by the name of their model.
          keys: who may use them.
          limits: what may be asked.
          monitor_share: share of what sessions follow that is scored in the background; 0 for none.

        Raises:
          InputError: the units of a model cannot be written as decimal numbers.
        """
        self.servers, self.keys, self.limits = dict(servers), keys, limits
        self.rates, self.metrics = Rates(limits), Metrics()
        self.watch = Watch(self.servers, self.metrics, share=monitor_share)
        self.leaving = False
        self.trials: Trials | None = None
        self._export()
        self.answers: set[Answer] = set()
        self._units = {name: Units.of(server.facts.instrument) for name, server in self.servers.items()}

    def _export(self) -> None:
        """Let metrics be read that are not counted."""
        watch = self.watch
        standings = Standings(
            lambda: self.trials.experiments.tripped() if self.trials else {},
            lambda: self.trials.experiments.broken() if self.trials else {},
        )
        for one in (Engines(self.servers), Feeds(watch.idle, lambda: watch.dropped), Reports(watch.reports), standings):
            self.metrics.register(one)

    @property
    def ready(self) -> bool:
        """Return whether all models take requests."""
        return not self.leaving and all(server.ready for server in self.servers.values())

    def named(self, model: str | None) -> str:
        """Return the name of a model, that of the only one if none is given; raise Problem if there is none such."""
        if model is None:
            if len(self.servers) == 1:
                return next(iter(self.servers))
            raise Problem("unknown-model", f"name one of {', '.join(self.servers)}", pointer="/model")
        if model not in self.servers:
            raise Problem("unknown-model", "GET /v1/models lists the models", pointer="/model")
        return model

    def of_session(self, session: str, owner: str, model: str | None = None) -> str:
        """Return the name of the model of a session; raise Problem if there is none such, or it answers no more."""
        name, mark, _ = session.partition(MARK)
        if not mark or name not in self.servers or model not in (None, name):
            raise Problem("unknown-session", "there is no such session")
        if self.trials is not None:
            self.trials.check(session, owner)
        return name

    def note(self, exchange: Exchange, *, seconds: float) -> None:
        """Count an answered request of a session for the arm of its experiment, if it is of one."""
        problem = exchange.problem
        if self.trials is not None and exchange.session and problem not in NOBODY and not exchange.own_fault:
            failed, refused = problem == "failed", problem in REFUSED
            self.trials.note(exchange.session, exchange.owner, seconds=seconds, failed=failed, refused=refused)

    def terms(self, name: str, owner: str) -> Terms:
        """Return what requests to a model are read by; its name is the one under which it is served."""
        facts = dataclasses.replace(self.servers[name].facts, name=name)
        return Terms(facts, self._units[name], self.limits, owner)

    def submit(self, name: str, asked: Asked, answer: Answer) -> None:
        """Begin to answer a request; raise InputError or Refusal if it is not taken."""
        if self.leaving:
            raise requests.Leaving("the server is about to end")
        most = self.limits.deadline_s
        deadline_s = most if asked.deadline_s is None else min(asked.deadline_s, most)
        deliver = self.watch.delivering(name, asked.request, answer.deliver)
        try:
            answer.started(self.servers[name].submit(asked.request, deliver, deadline_s=deadline_s))
        except (requests.Refusal, ValueError) as error:
            self.watch.refused(name, asked.request, error)
            raise

    @asynccontextmanager
    async def answering(self) -> AsyncGenerator[Answer]:
        """Yield an answer, which is given up if the server ends before it is complete."""
        answer = Answer()
        self.answers.add(answer)
        try:
            yield answer
        finally:
            answer.cancel()
            self.answers.discard(answer)

    async def read(self, request: Request, build: Callable[[Any], Any]) -> Any:
        """Return what `build` makes of the JSON body of a request; a large one is read in another thread.

        Raises:
          Gone: the client has left.
        """
        body = await read_body(request.receive, request.headers, self.limits)
        work = lambda: build(parse_json(body, depth=self.limits.json_depth))  # noqa: E731
        if len(body) < LARGE:
            return work()
        async with self.rates.reading(exchange_of(request.scope).owner):
            if await request.is_disconnected():
                raise Gone
            return await asyncio.to_thread(work)

    async def finished(self, request: Request, name: str, asked: Asked) -> Finished:
        """Return the last item of an answer, for requests that deliver nothing before it."""
        return last_of(await self.collected(request, name, asked))

    async def last(self, name: str, asked: Asked) -> Finished:
        """Return the last item of an answer that nobody leaves: where it is waited for, clients are not watched."""
        async with self.answering() as answer:
            self.submit(name, asked, answer)
            return last_of(await answer.all_items())

    async def collected(self, request: Request, name: str, asked: Asked) -> list[requests.Item]:
        """Return all items of an answer.

        Raises:
          Gone: the client has left; the job is cancelled at once.
        """
        async with self.rates.opened(exchange_of(request.scope).owner), self.answering() as answer:
            self.submit(name, asked, answer)
            async with watched(answer, request.receive):
                items = await answer.all_items()
            if answer.gone:
                raise Gone
            return items
