"""The load generator counts what a server sends, whatever the pieces in which it comes."""

import asyncio
import time

import numpy as np
import pytest

from lob_jax.bench import http_load
from lob_jax.bench.http_load import Connection, Tally, Target
from tests.serving.scripted import answer, chunked, scripted

EVENT = 'event: event\ndata: {"path":0}\n\n'
DONE = "event: done\ndata: {}\n\n"
ERROR = "event: error\ndata: {}\n\n"


def streamed(content: bytes, read: int, monkeypatch) -> tuple[int, list[int]]:
    """Return the status of a stream that is read in small pieces, and the numbers of events of each."""
    monkeypatch.setattr(http_load, "READ", read)
    found: list[int] = []

    async def work(target):
        connection = Connection(target)
        status = await connection.stream("/v1/generate", {}, came=found.append)
        await connection.close()
        return status

    with scripted(content) as server:
        return asyncio.run(work(Target("127.0.0.1", server.port))), found


@pytest.mark.parametrize("read", [*range(1, 40), 1000])
def test_every_event_is_counted_once(read, monkeypatch):
    status, found = streamed(chunked(EVENT * 3, EVENT, EVENT * 2, DONE), read, monkeypatch)
    assert (status, sum(found)) == (200, 6)


@pytest.mark.parametrize("read", [1, 7, 1000])
def test_a_stream_that_fails_counts_as_an_error(read, monkeypatch):
    assert streamed(chunked(EVENT, ERROR), read, monkeypatch)[0] == 500


def measured(bodies: list[dict], *answers: bytes) -> tuple[Tally, list[str]]:
    """Return what a closed loop measures that sends as many requests as there are answers, and what it sent."""

    async def work(target):
        tally, connection = Tally(), Connection(target)
        for body in bodies:
            await http_load.measured(connection, body, tally, due=time.perf_counter(), path="/p")
        await connection.close()
        return tally

    with scripted(*answers) as server:
        return asyncio.run(work(Target("127.0.0.1", server.port, key="k"))), server.seen


def test_answers_are_counted_by_status():
    tally, seen = measured([{"a": 1}] * 3, answer(200), answer(429, Retry_After="1"), answer(200))
    assert tally.statuses == {200: 2, 429: 1} and len(tally.latency_s) == 2
    assert seen[0].splitlines()[0] == "POST /p HTTP/1.1" and "Authorization: Bearer k" in seen[0]
    assert seen[0].endswith('{"a": 1}')


def test_a_broken_connection_is_no_end():
    tally, _ = measured([{}] * 2, b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{", b"", answer(200))
    assert tally.statuses == {http_load.NO_ANSWER: 1, 200: 1}


def test_a_connection_that_the_server_closes_is_opened_again():
    tally, _ = measured([{}] * 2, answer(503, Connection="close"), b"", answer(200))
    assert tally.statuses == {503: 1, 200: 1}


def test_times_of_a_stream_are_those_between_its_events():
    tally, _ = measured([{"stream": True}] * 2, chunked(EVENT * 3, DONE), chunked(EVENT, DONE))
    assert tally.events == 4 and tally.statuses == {200: 2}
    assert len(tally.first_s) == len(tally.latency_s) == 2 and len(tally.between_s) == 2
    assert tally.between_s == [0.0, 0.0]  # both came in one piece


def test_a_request_that_is_sent_late_is_measured_from_the_time_at_which_it_was_due():
    async def work(target):
        tally, connection = Tally(), Connection(target)
        for body in ({}, {"stream": True}):
            await http_load.measured(connection, body, tally, due=time.perf_counter() - 100, path="/p")
        await connection.close()
        return tally

    with scripted(answer(200), chunked(EVENT, DONE)) as server:
        tally = asyncio.run(work(Target("127.0.0.1", server.port)))
    assert all(100 < seconds < 200 for seconds in tally.latency_s + tally.first_s) and len(tally.first_s) == 1


def test_an_open_loop_sends_all_that_arrive():
    async def work(target):
        return await http_load.open_loop(target, {}, path="/p", rate=50.0, seconds=0.4, seed=3)

    wanted = http_load.arrivals(50.0, 0.4, 3)
    with scripted(*[answer(200, Connection="close"), b""] * len(wanted)) as server:
        tally = asyncio.run(work(Target("127.0.0.1", server.port)))
    assert tally.statuses == {200: len(wanted)} and len(server.seen) == len(wanted) > 5


def test_arrivals_have_the_rate_and_no_rhythm():
    found = np.array(http_load.arrivals(100.0, 1000.0, 1))
    gaps = np.diff(found)
    assert abs(len(found) - 100_000) < 5 * 100_000**0.5 and found.max() < 1000
    assert abs(gaps.std() / gaps.mean() - 1) < 0.02  # that of an exponential distribution
    assert http_load.arrivals(100.0, 10.0, 1) != http_load.arrivals(100.0, 10.0, 2)


def test_a_closed_loop_lets_each_client_ask_again():
    async def work(target):
        return await http_load.closed_loop(target, [{"n": 0}], path="/p", seconds=0.2)

    with scripted(*[answer(200)] * 100_000) as server:
        tally = asyncio.run(work(Target("127.0.0.1", server.port)))
    assert tally.statuses[200] == len(server.seen) > 1 and tally.seconds >= 0.2
