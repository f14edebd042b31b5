"""Answers of an engine, carried from its thread to the event loop and from there to a client."""

import asyncio
import collections
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lob_jax.serving.config import Limits
from lob_jax.serving.http.problems import Problem
from lob_jax.serving.requests import Failed, Finished, Item, Job, PathEvent

BATCH = 256  # items that are written at once


class Answer:
    """What an engine delivers for one request; it waits here until the client takes it, and the engine never waits.

    The request bounds its size.

    Attributes:
      gone: whether the client has left.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: collections.deque[Item] = collections.deque()
        self._ready = asyncio.Event()
        self._told = False  # whether the loop is about to see the items
        self._job: Job | None = None
        self._cancelled = False
        self.gone = False

    def deliver(self, items: Sequence[Item]) -> None:
        """Add items; called in a thread of the engine."""
        self._items.extend(items)
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._ready.set)

    def started(self, job: Job) -> None:
        """Note the job that answers; it is cancelled at once if the answer already is."""
        self._job = job
        if self._cancelled:
            job.cancel()

    def cancel(self) -> None:
        """Give up the job."""
        self._cancelled = True
        if self._job is not None:
            self._job.cancel()

    def leave(self) -> None:
        """Note that the client has left, and give up the job."""
        self.gone = True
        self.cancel()
        self._ready.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for items or for the client to leave; return False if neither came in time."""
        if not self._ready.is_set():
            try:
                async with asyncio.timeout(timeout_s):
                    await self._ready.wait()
            except TimeoutError:
                return False
        return True

    def take(self, most: int = BATCH) -> list[Item]:
        """Return the items that have come, up to so many."""
        self._ready.clear()
        self._told = False  # before the items are read: what comes after is told again
        found = []
        while self._items and len(found) < most:
            found.append(self._items.popleft())
        if self._items or self.gone:
            self._ready.set()
        return found

    async def all_items(self) -> list[Item]:
        """Return all items when the last one is there; fewer if the client has left."""
        found: list[Item] = []
        while not self.gone and not (found and isinstance(found[-1], Finished | Failed)):
            await self._ready.wait()
            found += self.take()
        return found


@contextlib.asynccontextmanager
async def watched(answer: Answer, receive: Receive) -> Any:
    """Give an answer up as soon as its client closes the connection, and in any case at the end of the context."""
    watch = asyncio.ensure_future(_until_gone(receive))
    watch.add_done_callback(lambda task: None if task.cancelled() else answer.leave())
    try:
        yield
    finally:
        watch.cancel()
        answer.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def event_frame(event: PathEvent, records: str) -> str:
    """Return the server-sent event of an event of a path, whose records are JSON."""
    return f'event: event\ndata: {{"path":{event.path},"number":{event.number},"records":{records}}}\n\n'


def frame(name: str, content: Any) -> str:
    """Return a server-sent event; JSON as it is written here has no line breaks."""
    return f"event: {name}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n"


class EventStream(Response):
    """A response by server-sent events: one `event` per event, then `done`, or `error` with a problem.

    It looks for a client that has left itself, and gives up the job at once.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        answer: Answer,
        *,
        held: contextlib.AsyncExitStack,
        text: Callable[[PathEvent], str],
        done: Callable[[Finished, int], dict[str, Any]],
        problem: Callable[[Exception], dict[str, Any]],
        limits: Limits,
        first: Callable[[float], None],
    ):
        """Prepare the response.

        Args:
          answer: what comes from the engine.
          held: what is given back at the end.
          text: returns the records of an event as JSON.
          done: returns what the last frame says, given the last item and the number of events.
          problem: returns the body of a problem.
          limits: after how long without a frame a comment is sent, and without a reader the stream ends.
          first: called with the seconds until the first event.
        """
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=self.media_type)
        del self.headers["content-length"]
        self._answer, self._held, self._text, self._done, self._problem = answer, held, text, done, problem
        self._limits, self._first = limits, first
        self._events = 0
        self._began = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the frames."""
        async with self._held, watched(self._answer, receive):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            ended = False
            while not ended:
                came = await self._answer.wait(self._limits.quiet_s)
                items = self._answer.take() if came else []
                if self._answer.gone:
                    return
                ended = bool(items) and not isinstance(items[-1], PathEvent)
                text = "".join([self._frame(item) for item in items]) if came else ": waiting\n\n"
                if text:  # this waits for the reader; its connection is closed if it takes nothing
                    body = {"type": "http.response.body", "body": text.encode("ascii"), "more_body": not ended}
                    await send(body)

    def _frame(self, item: Item) -> str:
        if isinstance(item, PathEvent):
            if not self._events:
                self._first(time.monotonic() - self._began)
            self._events += 1
            return event_frame(item, self._text(item))
        if isinstance(item, Failed):
            return frame("error", self._problem(item.error))
        return frame("done", self._done(item, self._events))


def last_of(items: list[Item]) -> Finished:
    """Return the last item of an answer; raise the error of one that has failed, and leave it out of the items.

    The trace of an error leads to all that its request holds; what leads back to the error would keep it in memory.
    """
    if isinstance(items[-1], Failed):
        raise _error_of(items)
    last = items[-1]
    if not isinstance(last, Finished):
        raise Problem("failed", "the answer has no end")
    return last


def _error_of(items: list[Item]) -> Exception:
    last = items.pop()
    assert isinstance(last, Failed)
    return last.error
