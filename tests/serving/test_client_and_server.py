"""The clients and the API understand each other, on a real socket, with a stub of an engine behind."""

import asyncio
import dataclasses

import numpy as np
import pytest

import lob_jax
from lob_jax.book.snapshot import CORRECTION_COLUMNS, ORDER_COLUMNS
from lob_jax.serving.client import AsyncClient, Client, Problem, history
from lob_jax.serving.days import opening_of, records_of
from lob_jax.serving.openings import read_opening
from lob_jax.serving.records import read_records
from lob_jax.serving.units import Units
from tests.serving.running import running
from tests.serving.settings import limits

KEPT = ("time_ns", "kind", "code", "side", "price", "size", "order_id")


@pytest.fixture(scope="module")
def day():
    return lob_jax.load_incremental_data(events=300, seed=2)


@pytest.fixture(scope="module")
def server():
    with running() as found:
        yield found


@pytest.fixture
def client(server):
    with Client(server.url, server.key) as made:
        yield made


def test_a_day_is_exactly_what_the_server_reads(day):
    units = Units.of(day.instrument)
    read = read_records(records_of(day), units)
    assert all((getattr(read.events, name) == getattr(day.events, name)).all() for name in KEPT)
    assert all((getattr(read.corrections, n) == getattr(day.corrections, n)).all() for n in CORRECTION_COLUMNS)
    book, closed = read_opening(opening_of(day), units, window=day.start.window, pooled=day.start.pooled)
    wanted = day.start.identified()
    assert len(book) > 0 and closed == 0 and book.time_ns == wanted.time_ns
    assert all((getattr(book, name) == getattr(wanted, name)).all() for name in ORDER_COLUMNS)


def test_an_order_without_an_id_is_not_a_total_of_unknown_orders(day):
    start, nameless = day.start, np.zeros(len(day.start), bool)
    nameless[::2] = True
    start = dataclasses.replace(start, order_id=np.where(nameless, 0, start.order_id).astype(np.uint64))
    opening = opening_of(dataclasses.replace(day, start=start))
    book, _ = read_opening(opening, Units.of(day.instrument), window=start.window, pooled=False)
    assert len(book) > 2 and not book.anonymous.any()
    total = dataclasses.replace(start, anonymous=nameless)
    opening = opening_of(dataclasses.replace(day, start=total))
    book, _ = read_opening(opening, Units.of(day.instrument), window=start.window, pooled=False)
    assert (book.anonymous == nameless).all()


def test_corrections_keep_their_place(day):
    given = dict(zip(CORRECTION_COLUMNS, ([-1, 4, 4], [1, -1, 1], [5_000, 6_000, 7_000], [3, 0, 2]), strict=True))
    corrected = type(day.corrections)(**{n: np.array(v, CORRECTION_COLUMNS[n]) for n, v in given.items()})
    other = type(day)(day.instrument, day.start, day.events[:9], corrected, {})
    read = read_records(records_of(other), Units.of(day.instrument))
    assert {name: getattr(read.corrections, name).tolist() for name in CORRECTION_COLUMNS} == given


def test_a_market_of_a_request(client, day):
    market = history(opening_of(day), records_of(day))
    assert client.predict(market, most=1)["heads"][0]["probability"] == 0.75
    found = client.generate(market, paths=2, events=3, seed=1)
    assert [path["path"] for path in found["paths"]] == [0, 1] and found["seed"] == 1
    assert client.forecast(market, paths=4, events=3)
    assert len(client.score(market)["nats"]) == len(day.events)


def test_a_stream_is_what_generate_returns(client, day):
    market = history(opening_of(day))
    *events, done = client.stream(market, paths=2, events=50, seed=3)
    whole = client.generate(market, paths=2, events=50, seed=3)
    assert done["event"] == "done" and len(events) == 100
    for path in whole["paths"]:
        of_it = [record for frame in events if frame["path"] == path["path"] for record in frame["records"]]
        assert of_it == path["events"]


def test_a_session(client, server, day):
    with client.session(opening_of(day), records_of(day)[:10]) as market:
        assert market.opened["events"] == 10 and market.opened["session"] == market.id
        assert market.feed(records_of(day)[10:15])["events"] == 15
        assert market.predict(most=1)["heads"] and market.forecast(paths=1, events=2)
        assert len(market.generate(paths=1, events=4)["paths"]) == 1
        assert sum(frame["event"] == "event" for frame in market.stream(paths=1, events=4)) == 4
        assert market.state()["events"] == 15 and server.engine.load().sessions == 1
    assert server.engine.load().sessions == 0
    with pytest.raises(Problem) as raised:
        market.state()
    assert raised.value.type == "/problems/unknown-session"


def test_two_sessions_at_once_with_asyncio(server, day):
    async def follow(client, count):
        async with client.session(opening_of(day), records_of(day)[:count]) as market:
            frames = [frame async for frame in market.stream(paths=1, events=5)]
            return (await market.state())["events"], len(frames)

    async def both():
        async with AsyncClient(server.url, server.key) as client:
            return await asyncio.gather(follow(client, 1), follow(client, 2))

    assert asyncio.run(both()) == [(1, 6), (2, 6)]


def test_a_fault_is_named_by_its_place(client, day):
    broken = records_of(day)[:3]
    broken[2] = {**broken[2], "price": "a lot"}
    with pytest.raises(Problem) as raised:
        client.predict(history(opening_of(day), broken))
    assert (raised.value.status, raised.value.pointer) == (422, "/history/events/2/price")


def test_a_wrong_key_is_refused(server, day):
    with Client(server.url, "lob_wrong") as client, pytest.raises(Problem) as raised:
        client.models()
    assert raised.value.status == 401


def test_a_client_waits_where_it_has_asked_too_often(day):
    with running(limits(burst=1, rate_per_s=20.0)) as server, Client(server.url, server.key) as client:
        assert [len(client.models()["models"]) for _ in range(3)] == [1] * 3


def test_a_stream_that_is_closed_gives_up_its_work(day):
    with running(events_per_s=50.0) as server, Client(server.url, server.key) as client:
        frames = client.stream(history(opening_of(day)), paths=1, events=1000)
        next(frames)
        frames.close()
        (job,) = server.engine.jobs
        assert job.cancelled.wait(60) and job.done.wait(60)
