"""A stub of an engine: it answers every request by the rules of the protocol, with events that mean nothing.

No model, no book and no check of histories is behind it: prices walk at random round a fixed one. It serves tests and
measurements of what lies between clients and an engine.
"""

import dataclasses
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.export.reference.reference import Reference
from lob_jax.generation.fan import MEASURES, Fan
from lob_jax.serving import requests
from lob_jax.serving.requests import (
    Busy,
    Deliver,
    Failed,
    Finished,
    History,
    InSession,
    Leaving,
    Load,
    ModelFacts,
    PathEvent,
    SessionState,
    Unknown,
)

INSTRUMENT = Instrument("STUB", "NASDAQ", "2012-06-21", time_zone="America/New_York")
START_NS = 1_340_285_400 * 10**9  # 2012-06-21T13:30:00Z
PRICE = 5_853_300
TOKENS = 5  # of an event
SECONDS = {"queued": 0.0, "read": 0.0, "sampled": 0.0}


def stub_facts(name: str = "stub", **changes: Any) -> ModelFacts:
    """Return facts of a model that there is not."""
    facts = ModelFacts(
        name=name,
        fingerprint="0" * 64,
        version="0",
        instrument=INSTRUMENT,
        precision="float32",
        slots=1024,
        book_levels=10,
        window=0,
        pooled=False,
        parameters=0,
        card={"about": "a stub"},
        inputs={"tokens": ("int32", ("batch", "length")), "book": ("float32", ("batch", "length", 4))},
        outputs={"logits": ("float32", ("batch", "length", 8))},
    )
    return dataclasses.replace(facts, **changes)


class StubJob:
    """A request at work.

    Attributes:
      request: the request.
      cancelled: set when it is given up.
      done: set when its last item has been delivered.
    """

    def __init__(self, request: requests.Request):
        self.request = request
        self.cancelled, self.done = threading.Event(), threading.Event()

    def cancel(self) -> None:
        """Give up the request."""
        self.cancelled.set()


@dataclasses.dataclass
class _Session:
    owner: str
    events: int
    time_ns: int
    closed: int


class StubServer:
    """An engine that has no model; each request has a thread of its own.

    Attributes:
      facts: of the model that there is not.
      ready: as it is set.
      reference: what live events are compared with; None for nothing.
      skill: what is added to the log-likelihood of each event that it scores, nats.
      jobs: all requests so far.
      error: what every request fails by; None for nothing.
      held: requests wait until this is set.
    """

    def __init__(
        self,
        facts: ModelFacts | None = None,
        *,
        events_per_s: float = 0.0,
        batch: int = 1,
        most_jobs: int = 1_000,
        skill: float = 0.0,
        reference: Reference | None = None,
    ):
        """Start an engine.

        Args:
          facts: of the model.
          events_per_s: speed of each request; 0 for as fast as it can.
          batch: events that are delivered at once.
          most_jobs: requests at the same time.
          skill: what is added to the log-likelihood of each event that it scores, nats.
          reference: what live events are compared with.
        """
        self.facts, self.ready, self.skill, self.reference = facts or stub_facts(), True, skill, reference
        self.jobs: list[StubJob] = []
        self.error: Exception | None = None
        self.held = threading.Event()
        self.held.set()
        self._pause_s, self._batch, self._most_jobs = batch / events_per_s if events_per_s else 0.0, batch, most_jobs
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()
        self._events = 0
        self._leaving = False

    def submit(self, request: requests.Request, deliver: Deliver, *, deadline_s: float | None = None) -> StubJob:
        """Begin to answer a request; see `requests.Server`."""
        if self._leaving:
            raise Leaving("the stub is about to end")
        if len([job for job in self.jobs if not job.done.is_set()]) >= self._most_jobs:
            raise Busy("the stub has no room", retry_after_s=1.0)
        job = StubJob(request)
        self.jobs.append(job)
        limit = time.monotonic() + (60.0 if deadline_s is None else deadline_s)
        threading.Thread(target=self._run, args=(job, deliver, limit), daemon=True).start()
        return job

    def load(self) -> Load:
        """Return what the engine is doing."""
        running = len([job for job in self.jobs if not job.done.is_set()])
        return Load(running, self._most_jobs, 0, len(self._sessions), TOKENS * self._events, self._events)

    def drain(self, seconds: float) -> None:
        """Take no more requests, and wait for those at work, or so long."""
        self._leaving = True
        limit = time.monotonic() + seconds
        for job in self.jobs:
            job.done.wait(max(0.0, limit - time.monotonic()))
            job.cancel()

    def _run(self, job: StubJob, deliver: Deliver, limit: float) -> None:
        try:
            self._wait(job, limit)
            if isinstance(job.request, requests.Generate):
                self._generate(job, job.request, deliver, limit)
            last: requests.Item = Finished(self._result(job.request), SECONDS)
        except Exception as error:
            last = Failed(error)
        job.done.set()
        deliver([last])

    def _wait(self, job: StubJob, limit: float) -> None:
        while not self.held.wait(0.005):
            _check(job, limit)
        if self.error is not None:
            raise self.error

    def _generate(self, job: StubJob, request: requests.Generate, deliver: Deliver, limit: float) -> None:
        self._time_of(request.market)  # of a session that there is
        waiting: list[PathEvent] = []
        for event in made_events(request):
            waiting.append(event)
            if len(waiting) == self._batch:
                _check(job, limit)
                self._events += len(waiting)
                deliver(waiting)
                waiting = []
                if self._pause_s:
                    job.cancelled.wait(self._pause_s)
        self._events += len(waiting)
        deliver(waiting)

    def _time_of(self, market: requests.Market) -> int:
        if isinstance(market, InSession):
            return self._session(market).time_ns
        return int(market.events.time_ns[-1]) if len(market.events) else market.book.time_ns

    def _session(self, market: InSession) -> _Session:
        with self._lock:
            found = self._sessions.get(market.session)
        if found is None or found.owner != market.owner:
            raise Unknown("there is no such session")
        return found

    def _result(self, request: requests.Request) -> Any:
        results: dict[type, Callable[[Any], Any]] = {
            requests.OpenSession: self._open,
            requests.Feed: self._feed,
            requests.Look: lambda asked: self._state(asked.market.session, self._session(asked.market)),
            requests.Close: self._close,
            requests.Generate: lambda asked: None,
            requests.Predict: self._predict,
            requests.Forecast: _fan,
            requests.Score: self._score,
            requests.Infer: self._infer,
        }
        return results[type(request)](request)

    def _open(self, asked: requests.OpenSession) -> SessionState:
        history, name = asked.history, secrets.token_urlsafe(16)
        session = _Session(asked.owner, len(history.events), self._time_of(history), history.closed)
        with self._lock:
            self._sessions[name] = session
        return self._state(name, session)

    def _feed(self, asked: requests.Feed) -> SessionState:
        session = self._session(asked.market)
        session.events += len(asked.events)
        session.time_ns = int(asked.events.time_ns[-1]) if len(asked.events) else session.time_ns
        return self._state(asked.market.session, session)

    def _close(self, asked: requests.Close) -> SessionState:
        session = self._session(asked.market)
        with self._lock:
            del self._sessions[asked.market.session]
        return self._state(asked.market.session, session)

    def _state(self, name: str, session: _Session) -> SessionState:
        quotes = {"bid": (PRICE, 100), "ask": (PRICE + 100, 100)}
        tokens = min(TOKENS * session.events, self.facts.slots)
        return SessionState(
            name, session.events, session.time_ns, **quotes, closed=session.closed, tokens=tokens, seconds_left=900.0
        )

    def _predict(self, asked: requests.Predict) -> requests.Prediction:
        self._time_of(asked.market)
        sizes = requests.Distribution(((0.5, 100),), ((100, 100, 0.5),))
        gaps = requests.Distribution(((0.5, 10**6),), ((0, 10**6, 0.5),))
        add = requests.Head(int(Kind.ADD), 0, BID, (PRICE, PRICE), 0.75, sizes, gaps)
        delete = requests.Head(int(Kind.DELETE), 0, ASK, (PRICE + 100, PRICE + 100), 0.25)
        kinds = ((int(Kind.ADD), BID, 0.75), (int(Kind.DELETE), ASK, 0.25))
        moves = None if asked.moves is None else _moved(asked.moves)
        return requests.Prediction((add, delete)[: asked.most], kinds, 0.811, moves)

    def _score(self, asked: requests.Score) -> requests.Scored:
        events = asked.history.events[asked.first :]
        some = (events.price * 31 + events.size * 17 + events.time_ns) % 1_000 / 1_000  # the same for all stubs
        chance = 0.1 + 0.8 * some
        columns = (self.skill + some - 2, (1 - chance) ** 2 + chance**2, chance, 0.5 * (1 - chance), 2 + some, some / 4)
        nats, *others = (tuple(column.tolist()) for column in columns)
        return requests.Scored(nats, ("",) * len(events), *others)

    def _infer(self, asked: requests.Infer) -> dict[str, np.ndarray]:
        batch, length = asked.inputs["tokens"].shape
        wanted = asked.outputs or tuple(self.facts.outputs)
        return {name: np.zeros((batch, length, 8), np.float32) for name in wanted}


def _moved(asked: requests.Moves) -> requests.Moved:
    return requests.Moved(asked.paths, asked.events, 0.25, 0.5, 0.25, (0.1, 0.1, 0.1))


def _check(job: StubJob, limit: float) -> None:
    if job.cancelled.is_set():
        raise requests.Cancelled("the request was cancelled")
    if time.monotonic() > limit:
        raise requests.Late("the deadline has passed")


def made_events(request: requests.Generate) -> Iterator[PathEvent]:
    """Yield random events, path by path in turn; the same for the same seed."""
    sampling, market = request.sampling, request.market
    start_ns = market.book.time_ns if isinstance(market, History) else START_NS
    draws = [random.Random(sampling.seed * 1_000_003 + path) for path in range(sampling.paths)]
    times, prices = [start_ns] * sampling.paths, [PRICE] * sampling.paths
    for number in range(sampling.events):
        for path, draw in enumerate(draws):
            chosen = draw.getrandbits(32)
            times[path] += chosen & 0xFFFFFF
            prices[path] += 100 * ((chosen >> 24) % 3 - 1)
            side = BID if chosen >> 31 else ASK
            kind = int(Kind.ADD) if chosen & 1 else int(Kind.DELETE)
            shown = (side, prices[path], 100) if chosen % 16 == 0 else None
            yield PathEvent(path, number, times[path], kind, 0, side, prices[path], 100 + chosen % 7, shown)


def _fan(asked: requests.Forecast) -> Fan:
    moments, paths = np.arange(3.0), asked.sampling.paths
    shape = (len(moments), len(asked.quantiles))
    named = {f"{name}_HQ": np.full(shape, 1.5) for name in MEASURES}
    each = {name: np.full((paths, len(moments)), 1.5) for name in MEASURES}
    quantiles, counts = np.asarray(asked.quantiles), np.full(len(moments), paths)
    return Fan(asked.by, moments, quantiles, counts, **named, paths_PH=each)
