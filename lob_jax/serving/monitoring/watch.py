"""What monitoring sees of a server: answers on their way out, what sessions are fed with, and scores of a part of it.

Engines only append to a queue. Everything else happens four times a second in a thread of its own: counting, comparing
input with that of training, and asking for scores while the engine has nothing else to do.
"""

import asyncio
import collections
import dataclasses
import logging
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lob_jax.book.snapshot import Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.serving import requests
from lob_jax.serving.market.tail import Tail, kept_events
from lob_jax.serving.monitoring.metrics import LIVE_S, Metrics
from lob_jax.serving.monitoring.monitor import Monitor, Report
from lob_jax.serving.monitoring.quality import CONTEXT
from lob_jax.serving.requests import Deliver, Failed, Finished, InSession, Item, Refusal, Request, Server

ROUND_S = 0.25  # between two rounds
BLOCK = 100  # events that are scored together
MOST = 10_000  # answers that may wait for the next round
SCORING_S = 30.0  # the deadline of a score
_LOG = logging.getLogger(__name__)


class Seen(NamedTuple):
    """An answer that an engine has given; of its result, only what is counted."""

    model: str
    request: Request
    item: Finished | Failed
    at_s: float
    for_monitor: bool


@dataclasses.dataclass
class Followed:
    """A session.

    Attributes:
      tail: its recent past; None if nothing is scored.
      idle_s: after how many seconds without a request its engine closes it.
      used_s: when it was last used, UNIX seconds.
      fed_s: when it was last fed, UNIX seconds; 0 for never.
      live: whether its newest event was within an hour of the time at which it came.
      fresh: what it was fed with since the last block.
    """

    tail: Tail | None
    idle_s: float
    used_s: float
    fed_s: float = 0.0
    live: bool = False
    fresh: list[requests.Feed] = dataclasses.field(default_factory=list)


class Watch:
    """The monitoring of one server."""

    def __init__(
        self,
        servers: Mapping[str, Server],
        metrics: Metrics,
        *,
        share: float = 0.0,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin with nothing seen.

        Args:
          servers: the engines, by the name of their model.
          metrics: what is counted.
          share: of the blocks of events that are scored; 0 for none.
          draw: returns a random number from 0 to 1.
          clock: returns the time, UNIX seconds.
        """
        self._servers, self._metrics, self._share = servers, metrics, share
        known = {name: server.reference for name, server in servers.items()}
        self._monitors = {name: Monitor(reference) for name, reference in known.items() if reference is not None}
        self._draw, self._clock = draw, clock
        self._seen: collections.deque[Seen] = collections.deque(maxlen=MOST)
        self._followed: dict[tuple[str, str], Followed] = {}
        self._scoring: set[str] = set()  # models whose last score is not there yet
        self._dropped = self._dropped_before = 0
        self._reports = {name: monitor.report() for name, monitor in self._monitors.items()}
        for name in servers:
            metrics.begin(name)

    def reports(self) -> Mapping[str, Report]:
        """Return what monitors know, by model, as of the last round."""
        return self._reports

    @property
    def dropped(self) -> int:
        """Return how many answers were not seen."""
        return self._dropped

    def idle(self) -> dict[str, float]:
        """Return, by model, the longest time for which a live session has not been fed, seconds; 0 for none."""
        now, found = self._clock(), dict.fromkeys(self._servers, 0.0)
        for (model, _), followed in list(self._followed.items()):
            if followed.live:
                found[model] = max(found[model], now - followed.fed_s)
        return found

    def delivering(self, model: str, request: Request, deliver: Deliver) -> Deliver:
        """Return what an engine is to deliver to: to `deliver`, and to here what is counted."""

        def delivered(items: Sequence[Item]) -> None:
            if items and isinstance(items[-1], Finished | Failed):
                self._note(model, request, items[-1])
            deliver(items)

        return delivered

    def refused(self, model: str, request: Request, error: Exception) -> None:
        """Count a request that an engine has not taken."""
        self._metrics.asked(model=model, kind=kind_of(request), outcome=reason(error))

    async def run(self) -> None:
        """Do a round four times a second, until it is cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            if self._seen or self._followed:
                await asyncio.to_thread(self.round)

    def round(self) -> None:
        """Count what has been seen since the last round, and ask for scores."""
        fed: set[str] = set()
        if self._dropped != self._dropped_before:  # the past of any session may have a hole
            self._dropped_before = self._dropped
            self._followed.clear()
            self._scoring.clear()  # scores may be among them
        while self._seen:
            seen = self._seen.popleft()
            try:
                self._take(seen, fed)
            except Exception:  # monitoring goes on, whatever one answer is like
                _LOG.exception("monitoring has failed")
        for name in fed & set(self._monitors):
            self._reports[name] = self._monitors[name].report()
        self._forget()

    def _note(self, model: str, request: Request, item: Finished | Failed, *, for_monitor: bool = False) -> None:
        counted = requests.SessionState, requests.Prediction, requests.Scored
        if isinstance(item, Finished) and not isinstance(item.result, counted):
            item = Finished(None, item.seconds)  # which may be large
        self._dropped += len(self._seen) == MOST
        self._seen.append(Seen(model, request, item, self._clock(), for_monitor))

    def _take(self, seen: Seen, fed: set[str]) -> None:
        model, request, item = seen.model, seen.request, seen.item
        if seen.for_monitor:
            self._scored(seen)
            fed.add(model)
            return
        outcome = "answered" if isinstance(item, Finished) else reason(item.error)
        seconds = item.seconds if isinstance(item, Finished) else None
        self._metrics.asked(model=model, kind=kind_of(request), outcome=outcome, seconds=seconds)
        if isinstance(item, Failed):
            return
        if isinstance(item.result, requests.Prediction):
            self._metrics.entropy(item.result.entropy_bits, model=model, source="predict")
        self._follow(seen, item.result)
        if isinstance(request, requests.Feed):
            self._fed(seen, request, item.result)
            fed.add(model)

    def _follow(self, seen: Seen, result: Any) -> None:
        """Note which sessions there are."""
        model, request = seen.model, seen.request
        if isinstance(request, requests.OpenSession):
            tail = self._tail(model, request.history)
            self._followed[model, result.session] = Followed(tail, result.seconds_left, seen.at_s)
        elif isinstance(request, requests.Close):
            self._followed.pop((model, request.market.session), None)
        elif isinstance(market := getattr(request, "market", None), InSession):
            followed = self._followed.get((model, market.session))
            if followed is not None:
                followed.used_s = seen.at_s

    def _fed(self, seen: Seen, feed: requests.Feed, state: requests.SessionState) -> None:
        """Count what a session was fed with, and let it be scored if it is time; corrections alone change its past."""
        model, followed = seen.model, self._followed.get((seen.model, feed.market.session))
        if len(feed.events):
            self._count_events(seen, feed, state, followed)
        if followed is not None and followed.tail is not None:
            followed.fresh.append(feed)
            events = sum(len(one.events) for one in followed.fresh)
            if events >= BLOCK or len(followed.fresh) >= BLOCK:  # many corrections without events may come
                followed.tail.extend(*joined(followed.fresh))
                followed.fresh.clear()
                if events >= BLOCK:
                    self._score(model, followed.tail)

    def _count_events(
        self, seen: Seen, feed: requests.Feed, state: requests.SessionState, followed: Followed | None
    ) -> None:
        """Count the events of a feed, and compare them with training."""
        model, events, lag_s = seen.model, feed.events, seen.at_s - state.time_ns / 1e9
        gaps = (events.kind == Kind.CONTROL) & (events.code == Code.FEED_GAP)
        self._metrics.fed(model=model, events=len(events), gaps=int(np.count_nonzero(gaps)), lag_s=lag_s)
        monitor = self._monitors.get(model)
        if monitor is not None:
            bid, ask = (quote[0] if quote else None for quote in (state.bid, state.ask))
            monitor.saw(events, bid=bid, ask=ask, market=feed.market.session)
        if followed is not None:
            followed.fed_s, followed.live = seen.at_s, abs(lag_s) < LIVE_S

    def _tail(self, model: str, history: requests.History) -> Tail | None:
        """Return what is kept of a session, if a part of it is scored."""
        if not self._share or model not in self._monitors:
            return None
        facts = self._servers[model].facts
        return Tail(history, keep=kept_events(facts) + BLOCK, instrument=facts.instrument)

    def _score(self, model: str, tail: Tail) -> None:
        """Ask how likely the last events of a session were, in the share of cases that is scored."""
        if self._draw() >= self._share:
            self._metrics.block(model=model, outcome="not_drawn")
            return
        server = self._servers[model]
        history, _ = tail.history()
        if model in self._scoring or server.load().queued or not server.ready:
            self._metrics.block(model=model, outcome="skipped")
            return
        request = requests.Score(history, max(len(history.events) - BLOCK, 0))

        def deliver(items: Sequence[Item]) -> None:
            last = items[-1]
            assert isinstance(last, Finished | Failed)  # a score delivers nothing before
            self._note(model, request, last, for_monitor=True)

        self._scoring.add(model)
        try:
            server.submit(request, deliver, deadline_s=SCORING_S)
        except (Refusal, InputError) as error:
            self._scoring.discard(model)
            self._metrics.block(model=model, outcome="skipped" if isinstance(error, Refusal) else "failed")

    def _scored(self, seen: Seen) -> None:
        """Note a score that was asked for here."""
        self._scoring.discard(seen.model)
        assert isinstance(seen.request, requests.Score)
        if isinstance(seen.item, Failed):
            _LOG.warning("a block could not be scored for monitoring: %s", reason(seen.item.error))
            skipped = isinstance(seen.item.error, Refusal)
            self._metrics.block(model=seen.model, outcome="skipped" if skipped else "failed")
            return
        found: requests.Scored = seen.item.result
        for bits in found.entropy_bits:
            self._metrics.entropy(bits, model=seen.model, source="score")
        for share in found.removed:
            self._metrics.removed(share, model=seen.model)
        self._metrics.block(model=seen.model, outcome="scored")
        events, first = seen.request.history.events, seen.request.first
        self._monitors[seen.model].scored(events[first:], found, before=events[max(first - CONTEXT, 0) : first])

    def _forget(self) -> None:
        """Forget the sessions that engines have closed because nobody used them."""
        now = self._clock()
        for key in [key for key, one in self._followed.items() if one.used_s + one.idle_s < now]:
            del self._followed[key]


def joined(feeds: Sequence[requests.Feed]) -> tuple[Events, Corrections]:
    """Return the events and corrections of feeds that came one after another."""
    counts = [len(feed.events) for feed in feeds]
    corrections = Corrections.concatenate([feed.corrections for feed in feeds], events=counts)
    return Events.concatenate([feed.events for feed in feeds]), corrections


def kind_of(request: Request) -> str:
    """Return what is asked for, in words of a label: "open_session", "feed", "predict"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(request).__name__).lower()


def reason(error: Exception) -> str:
    """Return why a request was not answered, in words of a label."""
    if isinstance(error, InputError):
        return "invalid"
    return type(error).__name__.lower() if isinstance(error, Refusal) else "failed"
