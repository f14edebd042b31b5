"""Clients that ask for everything that a server offers, in an order that a seed decides."""

import asyncio
import collections
import dataclasses
import json
import random
import re
import socket
import time
from typing import Any

from lob_jax.bench.http_load import Connection, Target

OK = (200, 201)
FULL = 429
PAUSE_S = 0.2  # of a client that was told that there is no room


class Enough(Exception):
    """Raised by a client that has seen enough of a stream."""


@dataclasses.dataclass
class Seen:
    """What the clients have met.

    Attributes:
      answers: number of answers by what was asked and status.
      events: events of streams.
      wrong: bodies of answers that are neither right nor 429.
    """

    answers: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    events: int = 0
    wrong: list[Any] = dataclasses.field(default_factory=list)

    def add(self, what: str, status: int, content: Any = None) -> bool:
        """Count an answer; return whether it is right."""
        self.answers[what, status] += 1
        if status not in (*OK, FULL):
            self.wrong.append((what, status, content))
        return status in OK


class MixedClient:
    """A client that asks for one thing after another."""

    def __init__(self, target: Target, market: dict[str, Any], seen: Seen, *, seed: int):
        self._connection, self._market, self._seen = Connection(target), market, seen
        self._draw = random.Random(seed)

    async def run(self, seconds: float) -> None:
        """Ask, until so much time has passed."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            do = self._draw.choice([self._once, self._read, self._leave, self._follow])
            if not await do():
                await asyncio.sleep(PAUSE_S * self._draw.random())
        await self._connection.close()

    async def _asked(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[bool, Any]:
        status, content = await self._connection.request(method, path, body)
        return self._seen.add(re.sub(r"sessions/[^/]+", "sessions/_", f"{method} {path}"), status, content), content

    async def _once(self) -> bool:
        path = self._draw.choice(["predict", "generate", "forecast", "score"])
        sampled = {"paths": 2, "events": 5} if path in ("generate", "forecast") else {}
        return (await self._asked("POST", f"/v1/{path}", {"history": self._market, **sampled}))[0]

    def _streamed(self) -> dict[str, Any]:
        return {"history": self._market, "paths": 1, "events": self._draw.randint(1, 60), "stream": True}

    async def _read(self) -> bool:
        def came(events: int) -> None:
            self._seen.events += events

        status = await self._connection.stream("/v1/generate", self._streamed(), came=came)
        return self._seen.add("stream", status)

    async def _leave(self) -> bool:
        """Close the connection at the first event of a stream."""

        def came(_: int) -> None:
            raise Enough

        try:
            status = await self._connection.stream("/v1/generate", {**self._streamed(), "events": 900}, came=came)
            return self._seen.add("left", status)
        except Enough:
            await self._connection.close()
            return self._seen.add("left", 200)

    async def _follow(self) -> bool:
        """Open a session, let it follow the market, and close it."""
        opening, events = self._market["opening"], self._market["events"]
        fine, state = await self._asked("POST", "/v1/sessions", {"history": {"opening": opening}})
        if not fine:
            return False
        path, at = f"/v1/sessions/{state['session']}", 0
        while at < len(events):
            until = at + self._draw.randint(1, 5)
            if (await self._asked("POST", f"{path}/events", {"events": events[at:until]}))[0]:
                at = until
            else:
                await asyncio.sleep(PAUSE_S)
            await self._asked("POST", "/v1/predict", {"session": state["session"]})
        while not (await self._asked("DELETE", path))[0]:
            await asyncio.sleep(PAUSE_S)
        return True


async def all_clients(target: Target, market: dict[str, Any], *, clients: int, seconds: float) -> Seen:
    """Return what so many clients have met in so much time."""
    seen = Seen()
    async with asyncio.TaskGroup() as group:
        for seed in range(clients):
            group.create_task(MixedClient(target, market, seen, seed=seed).run(seconds))
    return seen


async def gauges(target: Target) -> dict[str, float]:
    """Return the metrics of a server's engines without their labels."""
    connection = Connection(target)
    text = await connection.text("/metrics")
    await connection.close()
    return {name: float(value) for name, value in re.findall(r"^(lob_\w+)\{model=[^}]*\} (\S+)$", text, re.MULTILINE)}


async def slow_reader(target: Target, market: dict[str, Any]) -> asyncio.StreamWriter:
    """Ask for a long stream, and read nothing of it; return the connection."""
    body = json.dumps({"history": market, "paths": 20, "events": 1000, "stream": True})
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else the system would take the whole stream
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, (target.host, target.port))
    _, writer = await asyncio.open_connection(sock=small, limit=1)
    head = f"POST /v1/generate HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {target.key}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    writer.transport.pause_reading()
    await writer.drain()
    return writer
