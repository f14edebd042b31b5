"""Clients of a server: `Client`, and `AsyncClient` with the same methods for asyncio.

```
with Client("http://127.0.0.1:8000", key="...") as client, client.session(opening) as market:
    market.feed(records)
    print(market.predict()["heads"][0])
    for frame in market.stream(paths=4, events=100):
        print(frame)
```

Answers are the JSON objects that the API describes. A request that changes nothing is sent again where the server has
no room for it and says when to; everything else that it refuses is raised as `Problem`.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import Any, Self

import httpx

from lob_jax.serving.asking import Asker, Following
from lob_jax.serving.calls import (
    RETRIES,
    Answer,
    Call,
    FrameReader,
    Interrupted,
    Problem,
    Record,
    Retries,
    exchange,
    finished,
    history,
)

ENDED = (Problem, httpx.TransportError)  # a session that cannot be closed has ended, or will when it is not used

__all__ = ["AsyncClient", "AsyncSession", "Client", "Interrupted", "Problem", "Retries", "Session", "history"]


class Client(Asker[Answer, Iterator[Answer]]):
    """A client that waits for each answer; threads can share one."""

    def __init__(self, url: str, key: str = "", *, timeout_s: float = 60.0, retries: Retries = RETRIES, **options: Any):
        """Prepare; nothing is sent yet.

        Args:
          url: the server's address, such as "http://127.0.0.1:8000".
          key: the key that says who asks; empty for a server without keys.
          timeout_s: how long the server may be silent.
          retries: how often to ask again where the server says when to.
          **options: of `httpx.Client`, such as `verify`.
        """
        self._key, self._retries = key, retries
        self._http = httpx.Client(base_url=url, timeout=timeout_s, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def session(self, opening: Record, events: Sequence[Record] = (), **fields: Any) -> "Session":
        """Return a session that begins with a starting book; entering it opens it, leaving it closes it.

        Further fields are model, or experiment and unit, and deadline_s.
        """
        return Session(self, history(opening, events), fields)

    def _send(self, call: Call, *, stream: bool = False) -> httpx.Response:
        steps, response = exchange(call, self._retries), None
        while True:
            try:
                step = steps.send(response)
            except StopIteration as end:
                return end.value
            response = self._take(step, stream=stream)

    def _take(self, step: Call | float, *, stream: bool) -> httpx.Response | None:
        if not isinstance(step, Call):
            return time.sleep(step)
        request = self._http.build_request(step.method, step.path, json=step.body, headers=step.headers(self._key))
        response = self._http.send(request, stream=stream)
        if not response.is_success:
            response.read()
        return response

    def _ask(self, call: Call) -> Answer:
        return self._send(call).json()

    def _frames(self, call: Call) -> Iterator[Answer]:
        reader = FrameReader()
        with contextlib.closing(self._send(call, stream=True)) as response:
            for line in response.iter_lines():
                frame = reader.event(line)
                if frame is not None:
                    yield frame
                    if finished(frame):
                        return
        raise Interrupted(call.path)


class Session(Following[Answer, Iterator[Answer]]):
    """A session of a `Client`."""

    def __enter__(self) -> Self:
        return self._begin(self._ask(self._opening))

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(*ENDED):
            self.close()


class AsyncClient(Asker[Awaitable[Answer], AsyncIterator[Answer]]):
    """A client for asyncio."""

    def __init__(self, url: str, key: str = "", *, timeout_s: float = 60.0, retries: Retries = RETRIES, **options: Any):
        """Prepare; nothing is sent yet. The arguments are those of `Client`."""
        self._key, self._retries = key, retries
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_s, **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def session(self, opening: Record, events: Sequence[Record] = (), **fields: Any) -> "AsyncSession":
        """Return a session that begins with a starting book; entering it opens it, leaving it closes it.

        Further fields are model, or experiment and unit, and deadline_s.
        """
        return AsyncSession(self, history(opening, events), fields)

    async def _send(self, call: Call, *, stream: bool = False) -> httpx.Response:
        steps, response = exchange(call, self._retries), None
        while True:
            try:
                step = steps.send(response)
            except StopIteration as end:
                return end.value
            response = await self._take(step, stream=stream)

    async def _take(self, step: Call | float, *, stream: bool) -> httpx.Response | None:
        if not isinstance(step, Call):
            return await asyncio.sleep(step)
        request = self._http.build_request(step.method, step.path, json=step.body, headers=step.headers(self._key))
        response = await self._http.send(request, stream=stream)
        if not response.is_success:
            await response.aread()
        return response

    async def _ask(self, call: Call) -> Answer:
        return (await self._send(call)).json()

    async def _frames(self, call: Call) -> AsyncIterator[Answer]:
        reader = FrameReader()
        async with contextlib.aclosing(await self._send(call, stream=True)) as response:
            async for line in response.aiter_lines():
                frame = reader.event(line)
                if frame is not None:
                    yield frame
                    if finished(frame):
                        return
        raise Interrupted(call.path)


class AsyncSession(Following[Awaitable[Answer], AsyncIterator[Answer]]):
    """A session of an `AsyncClient`."""

    async def __aenter__(self) -> Self:
        return self._begin(await self._ask(self._opening))

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(*ENDED):
            await self.close()
