"""Load on a server over HTTP/1.1, in a process of its own: clients in a closed loop, or arrivals at a given rate.

It writes requests and counts frames on plain asyncio streams: a complete HTTP client would take more of the cores than
the server, with which it shares them.
"""

import asyncio
import collections
import dataclasses
import json
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

FRAME, LAST = b"event: event\n", (b"event: done\n", b"event: error\n")
END = b"\r\n0\r\n\r\n"  # of a chunked body
READ = 1 << 18
NO_ANSWER = 0  # instead of a status, where the connection broke


@dataclasses.dataclass(frozen=True)
class Target:
    """Where requests go.

    Attributes:
      host: the server's address.
      port: its port.
      key: the key that is sent; empty for none.
    """

    host: str
    port: int
    key: str = ""


@dataclasses.dataclass
class Tally:
    """What was measured; lists have one number per request, or per event.

    Attributes:
      statuses: number of requests by status, `NO_ANSWER` for broken connections; streams that failed count as 500.
      latency_s: until the complete answer; in an open loop since the request was due, not since it was sent.
      first_s: until the first event of a stream, likewise.
      between_s: between neighbouring events of a stream.
      events: how many events came.
      seconds: how long all of it took.
    """

    statuses: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    latency_s: list[float] = dataclasses.field(default_factory=list)
    first_s: list[float] = dataclasses.field(default_factory=list)
    between_s: list[float] = dataclasses.field(default_factory=list)
    events: int = 0
    seconds: float = 0.0


class Connection:
    """A connection that is used again, one request after another."""

    def __init__(self, target: Target):
        self._target = target
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def _sent(self, method: str, path: str, body: Mapping[str, Any] | None) -> asyncio.StreamReader:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._target.host, self._target.port)
        reader, writer = self._streams
        content = b"" if body is None else json.dumps(body).encode()
        key = f"Authorization: Bearer {self._target.key}\r\n" if self._target.key else ""
        kind = "" if body is None else "Content-Type: application/json\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._target.host}\r\n{key}{kind}"
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()
        return reader

    async def _head(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def _body(self, reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "") != "chunked":
            return await reader.readexactly(int(headers.get("content-length", "0")))
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readline()
        return b"".join(parts)

    async def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Return status and JSON of an answer."""
        status, content = await self._answered(method, path, body)
        return status, json.loads(content) if content else None

    async def text(self, path: str) -> str:
        """Return the body of an answer that is no JSON."""
        return (await self._answered("GET", path, None))[1].decode()

    async def _answered(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, bytes]:
        reader = await self._sent(method, path, body)
        status, headers = await self._head(reader)
        content = await self._body(reader, headers)
        if headers.get("connection", "").lower() == "close":
            await self.close()
        return status, content

    async def stream(self, path: str, body: Mapping[str, Any], *, came: Callable[[int], None]) -> int:
        """Read a stream to its end, and return its status; `came` is called with the number of events of each read."""
        reader = await self._sent("POST", path, body)
        status, headers = await self._head(reader)
        if headers.get("transfer-encoding", "") != "chunked":
            await self._body(reader, headers)
            return status
        tail, failed = b"", False
        while True:
            read = await reader.read(READ)
            if not read:
                raise ConnectionError("the stream has no end")
            seen = tail + read
            if count := seen.count(FRAME):
                came(count)
            failed = failed or LAST[1] in seen
            if seen.endswith(END):
                return 500 if failed else status
            tail = _unfinished(seen)

    async def close(self) -> None:
        """Close the connection; the next request opens another one."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()


def _unfinished(seen: bytes) -> bytes:
    """Return the end of what was read, in which a marker may have begun; a complete one is not in it."""
    found = seen.rfind(FRAME)
    after = found + len(FRAME) if found >= 0 else 0
    return seen[max(after, len(seen) - len(FRAME) + 1) :]


async def measured(connection: Connection, body: Mapping[str, Any], tally: Tally, *, due: float, path: str) -> None:
    """Send a request, and add what is measured, with times since it was due."""
    last = due
    count = 0

    def came(events: int) -> None:
        nonlocal last, count
        now = time.perf_counter()
        if not count:
            tally.first_s.append(now - due)
        tally.between_s.extend([now - last] * bool(count) + [0.0] * (events - 1))
        last, count = now, count + events

    try:
        if body.get("stream"):
            status = await connection.stream(path, body, came=came)
        else:
            status, _ = await connection.request("POST", path, body)
    except (OSError, asyncio.IncompleteReadError):
        await connection.close()
        status = NO_ANSWER
    tally.statuses[status] += 1
    tally.events += count
    if status == 200:
        tally.latency_s.append(time.perf_counter() - due)


async def closed_loop(target: Target, bodies: list[Mapping[str, Any]], *, path: str, seconds: float) -> Tally:
    """Let one client per body ask for it again and again, each as soon as its last answer is complete."""
    tally, began = Tally(), time.perf_counter()

    async def client(body: Mapping[str, Any]) -> None:
        connection = Connection(target)
        while (now := time.perf_counter()) < began + seconds:
            await measured(connection, body, tally, due=now, path=path)
        await connection.close()

    await asyncio.gather(*(client(body) for body in bodies))
    tally.seconds = time.perf_counter() - began
    return tally


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Return the times of a Poisson process, seconds from its start."""
    chance, found, at = random.Random(seed), [], 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        found.append(at)
    return found


async def open_loop(
    target: Target, body: Mapping[str, Any], *, path: str, rate: float, seconds: float, seed: int = 0
) -> Tally:
    """Send requests at times of a Poisson process, whether or not those before are answered.

    A request that is sent late, since this process was busy, is measured from the time at which it was due.
    """
    tally, began = Tally(), time.perf_counter()
    idle: list[Connection] = []
    tasks: set[asyncio.Task] = set()

    async def one(due: float) -> None:
        connection = idle.pop() if idle else Connection(target)
        await measured(connection, body, tally, due=due, path=path)
        idle.append(connection)

    for after_s in arrivals(rate, seconds, seed):
        await asyncio.sleep(max(0.0, began + after_s - time.perf_counter()))
        task = asyncio.create_task(one(began + after_s))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    tally.seconds = time.perf_counter() - began
    for connection in idle:
        await connection.close()
    return tally


def run(work: Callable[..., Coroutine[Any, Any, Tally]], *arguments: Any, **named: Any) -> Tally:
    """Run one of the loops in this process; by name, so that another process can be asked to."""
    return asyncio.run(work(*arguments, **named))
