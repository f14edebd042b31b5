"""The stub keeps to the protocol of engines."""

import threading

import pytest

from lob_jax.generation.settings import SamplingConfig
from lob_jax.serving import requests
from lob_jax.serving.openings import read_opening
from lob_jax.serving.requests import Failed, Finished, History, InSession, PathEvent
from lob_jax.serving.stub import StubServer
from lob_jax.serving.units import Units

BOOK, _ = read_opening({"time": 10, "bids": [[1, 1]], "asks": []}, Units(1, 1, signed=False), window=0, pooled=False)
HISTORY = History(BOOK)


def asked(stub, request, **options):
    """Return all items of an answer."""
    items, ended = [], threading.Event()

    def deliver(parts):
        items.extend(parts)
        if items and isinstance(items[-1], Finished | Failed):
            ended.set()

    stub.submit(request, deliver, **options)
    assert ended.wait(20)
    return items


def generate(**sampling):
    return requests.Generate(HISTORY, SamplingConfig(**{"paths": 2, "events": 10, "seed": 3, **sampling}))


def test_the_same_seed_gives_the_same_events_however_they_are_delivered():
    one, other = (asked(StubServer(batch=batch), generate()) for batch in (1, 7))
    assert one[:-1] == other[:-1] and len(one) == 21
    assert [event.number for event in one[:-1] if event.path == 1] == [*range(10)]
    assert all(isinstance(event, PathEvent) and event.time_ns >= 10 for event in one[:-1])
    assert asked(StubServer(), generate(seed=4))[:-1] != one[:-1]


def test_a_job_that_is_cancelled_or_late_fails():
    stub = StubServer(events_per_s=1)
    items = []
    job = stub.submit(generate(), items.extend)
    job.cancel()
    assert job.done.wait(20)
    assert isinstance(
        asked(StubServer(events_per_s=100), generate(events=1000), deadline_s=0.0)[-1].error, requests.Late
    )


def test_sessions_are_their_owners():
    stub = StubServer()
    state = asked(stub, requests.OpenSession(HISTORY, "alice"))[-1].result
    for owner, last in (("alice", Finished), ("bob", Failed)):
        market = InSession(state.session, owner)
        for request in (requests.Look(market), requests.Predict(market), requests.Close(market)):
            assert isinstance(asked(stub, request)[-1], last)
    assert stub.load().sessions == 0


def test_it_takes_no_more_at_the_end():
    stub = StubServer(events_per_s=1)
    job = stub.submit(generate(), lambda items: None)
    stub.drain(0.0)
    assert job.cancelled.is_set()
    with pytest.raises(requests.Leaving):
        stub.submit(generate(), lambda items: None)
    with pytest.raises(requests.Busy):
        StubServer(most_jobs=0).submit(generate(), lambda items: None)
