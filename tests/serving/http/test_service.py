"""What routes share: limits of each key."""

import asyncio
import threading
import time

import pytest

from lob_jax.serving.http import service
from lob_jax.serving.http.problems import Problem
from lob_jax.serving.http.service import LARGE, READING, Rates
from tests.serving.http.conftest import HISTORY
from tests.serving.http.raw import connected, post
from tests.serving.settings import limits


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_bucket_empties_and_fills():
    clock = Clock()
    rates = Rates(limits(rate_per_s=2.0, burst=3), clock=clock)
    for _ in range(3):
        rates.spend("alice")
    with pytest.raises(Problem) as caught:
        rates.spend("alice")
    assert (caught.value.name, caught.value.headers["Retry-After"]) == ("too-many-requests", "1")
    rates.spend("bob")  # keys do not share
    clock.now += 0.5
    rates.spend("alice")
    with pytest.raises(Problem):
        rates.spend("alice")
    clock.now += 1000
    for _ in range(3):
        rates.spend("alice")
    with pytest.raises(Problem):
        rates.spend("alice")


def test_a_long_wait_is_named():
    rates = Rates(limits(rate_per_s=0.1, burst=1), clock=Clock())
    rates.spend("alice")
    with pytest.raises(Problem) as caught:
        rates.spend("alice")
    assert caught.value.headers["Retry-After"] == "10"


def test_places_are_given_back_also_after_an_error():
    rates = Rates(limits(streams=1))

    async def use():
        for error in (ValueError, None):
            try:
                async with rates.opened("alice"):
                    async with rates.opened("bob"):
                        pass
                    with pytest.raises(Problem, match="at most 1 open"):
                        async with rates.opened("alice"):
                            pass
                    if error:
                        raise error
            except ValueError:
                pass

    asyncio.run(use())


def test_few_large_bodies_of_a_key_are_read_at_once_and_none_whose_client_has_left(start, monkeypatch):
    go_on, begun, parse = threading.Event(), [], service.parse_json

    def slow(body, **how):
        begun.append(len(body))
        go_on.wait(20)
        return parse(body, **how)

    monkeypatch.setattr(service, "parse_json", slow)
    running = start()
    connections = [connected(running) for _ in range(READING + 3)]
    for raw in connections:
        raw.sendall(post(running, "/v1/predict", {"history": HISTORY, "model": "x" * LARGE}))
    limit = time.monotonic() + 20
    while len(begun) < READING and time.monotonic() < limit:
        time.sleep(0.01)
    time.sleep(0.2)
    assert len(begun) == READING
    for raw in connections:
        raw.close()
    time.sleep(0.2)
    go_on.set()
    large = {"history": HISTORY, "model": "x" * (LARGE + 1)}
    assert running.client.post("/v1/predict", json=large).status_code == 404
    assert len(begun) == READING + 1
