"""Streams and their readers: those that leave, that are slow, and that wait."""

import asyncio
import contextlib
import gc
import json
import time
import weakref

import pytest

from lob_jax.errors import InputError
from lob_jax.serving.http.answers import Answer, last_of
from lob_jax.serving.requests import Failed, Finished, PathEvent
from lob_jax.serving.stub import StubServer
from tests.serving.http.conftest import HISTORY
from tests.serving.http.raw import connected, post

LONG = {"history": HISTORY, "paths": 20, "events": 1000, "seed": 1, "stream": True}
EVENT = PathEvent(0, 0, 1, 1, 0, 1, 100, 1)


def holds(condition, seconds=20):
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize(("path", "stream"), [("generate", True), ("generate", False), ("predict", False)])
def test_a_client_that_leaves_ends_its_job(start, path, stream):
    running = start(StubServer(events_per_s=50))
    if path == "predict":
        running.stub.held.clear()
    body = {"history": HISTORY} | ({"events": 1000, "stream": stream} if path == "generate" else {})
    raw = connected(running)
    raw.sendall(post(running, f"/v1/{path}", body))
    assert holds(lambda: running.stub.jobs)
    if stream:
        assert b"200" in raw.recv(1000)
    assert not running.stub.jobs[0].cancelled.wait(0.1)
    raw.close()
    assert running.stub.jobs[0].cancelled.wait(20) and running.stub.jobs[0].done.wait(20)
    assert holds(lambda: not running.service.answers)
    assert holds(lambda: any(f'"status": {200 if stream else 499}' in line for line in running.lines))


def test_an_error_that_was_told_is_not_kept():
    """Its trace leads to the events of the request: without a collection of cycles, they would be kept."""
    found = []

    def asked():
        items = [Failed(InputError("no", where="", expected="", was="", remedy=""))]
        found.append(weakref.ref(items[0].error))
        last_of(items)

    gc.disable()
    try:
        with contextlib.suppress(InputError):
            asked()
        assert found[0]() is None
    finally:
        gc.enable()


def test_a_slow_reader_holds_up_neither_the_engine_nor_others_and_is_given_up(start):
    running = start(StubServer(batch=8), stall_s=1.0, events=5_000, path_events=100_000)
    with connected(running, receive_bytes=4096) as slow:
        slow.sendall(post(running, "/v1/generate", {**LONG, "events": 5000}))
        assert holds(lambda: running.stub.jobs)
        assert running.stub.jobs[0].done.wait(20)  # the engine has delivered everything
        whole = running.client.post("/v1/generate", json=LONG).text
        assert whole.count("event: event\n") == 20_000 and whole.count("event: done\n") == 1
        assert holds(lambda: not running.service.answers)
        read = 0
        with contextlib.suppress(ConnectionResetError):
            while part := slow.recv(65_536):
                read += len(part)
    assert read < len(whole)  # of five times as much


def test_a_stream_that_waits_says_so(start):
    running = start(quiet_s=0.05)
    running.stub.held.clear()
    with running.client.stream("POST", "/v1/generate", json={**LONG, "events": 1, "paths": 1}) as response:
        parts = response.iter_text()
        assert next(parts) == ": waiting\n\n"
        running.stub.held.set()
        assert "event: done\ndata: " in "".join(parts)


def test_an_error_in_a_stream_is_its_last_event(start):
    running = start(StubServer(events_per_s=20))
    text = running.client.post("/v1/generate", json={**LONG, "deadline_s": 0.3}).text
    *events, last = text.removesuffix("\n\n").split("\n\n")
    assert events and all(event.startswith("event: event\ndata: {") for event in events)
    assert last.startswith("event: error\ndata: ") and json.loads(last.partition("data: ")[2])["status"] == 504


def test_items_are_taken_in_order_and_nothing_is_missed():
    async def use():
        answer = Answer()
        items = [EVENT] * 600 + [Finished(None, {})]
        deliver = asyncio.to_thread(lambda: [answer.deliver([item]) for item in items])
        found, _ = await asyncio.gather(answer.all_items(), deliver)
        assert found == items
        assert not await answer.wait(0.01)
        answer.deliver([EVENT] * 300)
        assert await answer.wait(5) and len(answer.take()) == 256
        assert await answer.wait(5) and len(answer.take()) == 44

    asyncio.run(use())


def test_a_job_that_starts_after_it_was_given_up_is_cancelled():
    class Job:
        cancelled = 0

        def cancel(self):
            self.cancelled += 1

    async def use():
        answer, job = Answer(), Job()
        answer.leave()
        assert job.cancelled == 0
        answer.started(job)
        assert job.cancelled == 1 and answer.gone and await answer.wait(5)
        answer.deliver([Failed(ValueError())])
        assert await answer.all_items() == []

    asyncio.run(use())
