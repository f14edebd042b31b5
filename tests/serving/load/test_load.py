"""Many clients at once: nothing fails, nothing is left behind, and memory does not grow.

The fast suite lets a few clients ask for seconds, the slow test 200 for a minute; LOB_JAX_LOAD_SECONDS names another
time. With LOB_JAX_SERVE_URL, LOB_JAX_SERVE_KEY and LOB_JAX_SERVE_PID they ask a server that runs already, of a model of
simulated flow, instead of one with a stub of an engine.
"""

import asyncio
import os
import threading
import time
import urllib.parse
from collections.abc import Iterator

import psutil
import pytest

import lob_jax
from lob_jax.bench.http_load import Connection, Target
from lob_jax.bench.stub_service import ElsewhereStub
from lob_jax.serving.client import history
from lob_jax.serving.days import opening_of, records_of
from tests.serving.load.mixed import FULL, all_clients, gauges, slow_reader
from tests.serving.settings import limits

# As a server's own, but for many clients with one key; few enough places that some requests are refused.
LIMITS = limits(rate_per_s=2_000.0, burst=400, streams=150)
STUB = {"events_per_s": 500.0, "batch": 10, "most_jobs": 120}
MIB = 2**20
# What may be added after the first third of the time. The caches of the units' text, which hold 65,536 numbers each at
# about 150 bytes, are the largest thing that still fills. A leak of a request's body alone, at the hundreds of requests
# per second of the slow test, would be above this within it.
MOST_GROWTH = 24 * MIB


@pytest.fixture(scope="module")
def market():
    day = lob_jax.load_incremental_data(events=40, seed=2)
    return history(opening_of(day), records_of(day))


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Target, int | None]]:
    """Return where the server listens and the id of its process, if it is known."""
    url = os.environ.get("LOB_JAX_SERVE_URL")
    if url is None:
        with ElsewhereStub(LIMITS, STUB) as found:
            yield found
        return
    parts = urllib.parse.urlsplit(url)
    target = Target(parts.hostname or "127.0.0.1", parts.port or 80, os.environ.get("LOB_JAX_SERVE_KEY", ""))
    pid = os.environ.get("LOB_JAX_SERVE_PID")
    yield target, int(pid) if pid else None


class Memory:
    """Watches the memory of a process: the largest of the second and of the last third of some time."""

    def __init__(self, pid: int, seconds: float):
        self._process, self._third, self._began = psutil.Process(pid), seconds / 3, time.monotonic()
        self.most = [0, 0, 0]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _watch(self):
        while not self._end.wait(0.1):
            part = min(2, int((time.monotonic() - self._began) / self._third))
            self.most[part] = max(self.most[part], self._process.memory_info().rss)


async def until_idle(target: Target) -> dict[str, float]:
    """Return the metrics once nothing is at work, or after a minute."""
    for _ in range(600):
        found = await gauges(target)
        if found["lob_rows"] == found["lob_sessions"] == found["lob_queued_requests"] == 0:
            break
        await asyncio.sleep(0.1)
    return found


def loaded(server, market, *, clients: int, seconds: float) -> None:
    """Let clients ask for some time, and check what they have met and what they leave behind."""
    target, pid = server
    before = asyncio.run(gauges(target))
    with Memory(pid or os.getpid(), seconds) as memory:
        seen = asyncio.run(all_clients(target, market, clients=clients, seconds=seconds))
    after = asyncio.run(until_idle(target))
    assert seen.wrong == []
    asked = {what for what, status in seen.answers if status != FULL}
    assert len(asked) == 9, sorted(asked)
    assert seen.events > 0 and after["lob_events_total"] - before["lob_events_total"] > seen.events
    assert {after[name] for name in ("lob_rows", "lob_sessions", "lob_queued_requests")} == {0.0}
    _, middle, last = memory.most
    print(f"{seen.answers.total():,} answers, {seen.events:,} events; MiB {[part // MIB for part in memory.most]}")
    if pid is not None:
        assert last - middle < MOST_GROWTH


def test_a_few_clients_for_seconds(server, market):
    loaded(server, market, clients=12, seconds=3.0)


@pytest.mark.slow
def test_many_clients(server, market):
    loaded(server, market, clients=200, seconds=float(os.environ.get("LOB_JAX_LOAD_SECONDS", "60")))


def test_clients_that_leave_free_their_places(server, market):
    """Their streams end before all of their events have been made."""

    async def work(target: Target):
        writers = [await slow_reader(target, market) for _ in range(8)]
        while (await gauges(target))["lob_rows"] < 8:
            await asyncio.sleep(0.01)
        for writer in writers:
            writer.transport.abort()
        return await until_idle(target)

    before = asyncio.run(gauges(server[0]))
    after = asyncio.run(work(server[0]))
    assert after["lob_rows"] == 0
    assert after["lob_events_total"] - before["lob_events_total"] < 8 * 20 * 1000


@pytest.mark.slow
def test_slow_readers_hold_up_nobody(market):
    """Readers take nothing of streams that are larger than the buffers of their connections; others are answered."""

    async def work(target: Target):
        writers = [await slow_reader(target, market) for _ in range(8)]
        async with asyncio.timeout(60):
            connection = Connection(target)
            for _ in range(50):
                body = {"history": market, "paths": 1, "events": 20, "stream": True}
                assert await connection.stream("/v1/generate", body, came=lambda _: None) == 200
            running = await connection.text("/metrics")
            await connection.close()
        for writer in writers:
            writer.transport.abort()
        return running

    with ElsewhereStub(LIMITS) as (target, _):
        assert "\nlob_http_requests_in_progress 9.0\n" in asyncio.run(work(target))  # 8, and the one that asks


def test_memory_that_grows_is_seen():
    with Memory(os.getpid(), 1.5) as memory:
        time.sleep(1.1)
        held = bytearray(os.urandom(MIB)) * 40
        time.sleep(0.6)
    assert len(held) == 40 * MIB and memory.most[2] - memory.most[1] > MOST_GROWTH
