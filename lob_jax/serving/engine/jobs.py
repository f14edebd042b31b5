"""A request at work: a course of steps, between which other requests have their turns."""

import logging
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from lob_jax.generation.host.context import Inputs
from lob_jax.serving.requests import Cancelled, Deliver, Failed, Finished, Item, Late, Request

_LOG = logging.getLogger(__name__)


class Rows(NamedTuple):
    """What a course yields to wait for rows; from then on, until it yields RELEASE, it yields `Step`s alone."""

    count: int


class Step(NamedTuple):
    """What a course yields to read a token in each of its rows; it is resumed with their logits, float32 [B, V]."""

    inputs: Inputs


class Aside(NamedTuple):
    """What a course yields to wait for work in another thread; it is resumed with its result."""

    work: Callable[[], Any]


RELEASE = "release"  # what a course yields to give its rows back
TURN = None  # what it yields to let others have their turns
Demand = Rows | Step | Aside | str | None
Course = Generator[Demand, Any, Any]  # returns the result


class Job:
    """A request at work; its attributes are the engine's, but for `cancel`.

    Attributes:
      request: the request.
      demand: what its course waits for.
      course: its course, once it has begun.
      answer: what its course is resumed with, when its demand is met.
      failure: what is raised in the course instead.
      ready: whether the demand is met.
    """

    def __init__(self, request: Request, deliver: Deliver, *, deadline: float) -> None:
        self.request, self.demand, self.answer, self.ready = request, TURN, None, True
        self.failure: Exception | None = None
        self.course: Course | None = None
        self._deliver, self._deadline, self._cancelled = deliver, deadline, False
        self._since = time.monotonic()
        self.seconds: dict[str, float] = {}
        self.over = False

    def cancel(self) -> None:
        """Give up the request; its rows are free after the current step."""
        self._cancelled = True

    @property
    def lost(self) -> Exception | None:
        """Return why the job is to be given up, if it is."""
        if self._cancelled:
            return Cancelled("the request was cancelled")
        if time.monotonic() > self._deadline:
            return Late("the deadline of the request has passed")
        return None

    def clock(self, part: str) -> None:
        """Account the time since the last call to a part of the work."""
        now = time.monotonic()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now

    def deliver(self, items: list[Item]) -> None:
        """Hand items to whoever asked; if that fails, the request is given up."""
        try:
            self._deliver(items)
        except Exception:
            _LOG.exception("an answer could not be delivered")
            self._cancelled = True

    def finish(self, result: Any) -> None:
        """Deliver the result, the last item."""
        self.over = True
        self.deliver([Finished(result, dict(self.seconds))])

    def fail(self, error: Exception) -> None:
        """Deliver an error as the last item."""
        if not self.over:
            self.over = True
            self.deliver([Failed(error)])
