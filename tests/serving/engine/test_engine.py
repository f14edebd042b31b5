"""What an engine samples depends on the market and the seed alone: not on the batch, the rows, or the calls."""

import dataclasses
import threading

import numpy as np
import pytest

from lob_jax.book.replay import replay, snapshots_at
from lob_jax.errors import InputError
from lob_jax.events.schema import Events
from lob_jax.generation.fan import fan
from lob_jax.generation.settings import SamplingConfig
from lob_jax.serving.engine.sampled import days_of
from lob_jax.serving.engine.warm_up import ask
from lob_jax.serving.requests import Feed, Forecast, Generate, History, InSession, Look, Moves, OpenSession, Predict
from tests.serving.engine.engines import MODELS, beginning, generated, history_of, rows_of, sampled, serving
from tests.serving.market.markets import days


@pytest.mark.parametrize(("name", "day"), [*((name, "orders") for name in MODELS), ("by time", "window")])
def test_events_are_those_of_generation(name, day):
    """The paths are longer than a context, so that it slides or begins anew."""
    market, events = days()[day], 6 if name in ("learned", "prefix") else 12
    with serving(name, day) as (engine, _):
        assert sampled(engine, history_of(market, events)) == generated(name, beginning(market, events))


@pytest.mark.parametrize("name", MODELS)
def test_a_session_is_a_history(name):
    market = days()["orders"]
    random = np.random.default_rng(3)
    with serving(name) as (engine, _):
        here, at = opened(engine, market), 0
        while at < 60:
            last = min(at + int(random.integers(1, 9)), 60)
            ask(engine, Feed(here, market.events[at:last], market.corrections.between(at, last)))
            if random.random() < 0.5:
                ask(engine, Predict(here, heads=1))
            at = last
        there = history_of(market, 60)
        assert sampled(engine, here) == sampled(engine, there)
        assert ask(engine, Predict(here)) == ask(engine, Predict(there))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("read_before", [False, True])
def test_corrections_may_come_later_than_their_events(name, read_before):
    """Also by themselves, in several calls, and where what they correct has been read already."""
    market, at, late = days()["window"], 0, 0
    with serving(name, "window") as (engine, _):
        here = opened(engine, market)
        for last in range(1, 100):
            rows = market.corrections.between(at, last)
            mine = rows.event < last - at - 1
            ask(engine, Feed(here, market.events[at:last], chosen(rows, mine)))
            if read_before:
                ask(engine, Predict(here, heads=0))
            rest = dataclasses.replace(chosen(rows, ~mine), event=np.full((~mine).sum(), -1))
            for row in range(len(rest.event)):
                ask(engine, Feed(here, market.events[:0], chosen(rest, np.arange(len(rest.event)) == row)))
            at, late = last, late + len(rest.event)
            if len(rest.event) > 0:
                there = history_of(market, last)
                assert ask(engine, Predict(here, heads=1)) == ask(engine, Predict(there, heads=1))
        assert late > 10


def chosen(corrections, mask):
    columns = (getattr(corrections, name)[mask] for name in ("event", "side", "price", "size"))
    return type(corrections)(*columns)


def opened(engine, market, events=0, owner=""):
    start = history_of(market, events) if events else History(market.start)
    return InSession(ask(engine, OpenSession(start, owner)).session, owner)


@pytest.mark.parametrize("name", ["by time", "learned"])
def test_a_request_does_not_depend_on_its_batch(name):
    market, found = days()["orders"], {}
    with serving(name) as (engine, network):
        alone = {k: sampled(engine, history_of(market, 5 + k), seed=k, paths=1 + k % 3) for k in range(6)}
        assert network.widest == 3

        def run(k):
            found[k] = sampled(engine, history_of(market, 5 + k), seed=k, paths=1 + k % 3)

        network.go_on.clear()  # so that all are there before the first step
        threads = [threading.Thread(target=run, args=(k,)) for k in alone]
        for thread in threads:
            thread.start()
        network.go_on.set()
        for thread in threads:
            thread.join()
        assert network.widest > 3
    assert found == alone


def test_more_paths_than_rows_are_sampled_in_waves():
    market = days()["orders"]
    with serving(rows=4) as (engine, network):
        waves = sampled(engine, history_of(market), paths=7, events=5)
        assert network.widest == 2  # half of the rows: others need some
    with serving(rows=32) as (engine, network):
        assert waves == sampled(engine, history_of(market), paths=7, events=5)
        assert network.widest == 7


def test_waves_continue_the_market_of_the_first_one():
    market = days()["orders"]
    with serving(rows=4) as (engine, network):
        here, items, begun, done = opened(engine, market, 10), [], threading.Event(), threading.Event()

        def deliver(more):
            if not begun.is_set():
                network.go_on.clear()  # in the first wave, until the session is to be fed
                begun.set()
            items.extend(more)
            if hasattr(items[-1], "seconds"):
                done.set()

        engine.submit(Generate(here, SamplingConfig(paths=6, events=5, seed=5)), deliver)
        assert begun.wait(60)
        fed = threading.Event()
        engine.submit(Feed(here, market.events[10:30]), lambda _: fed.set())
        network.go_on.set()
        assert fed.wait(60) and not done.is_set()
        assert done.wait(60)
        assert ask(engine, Look(here)).events == 30
        assert rows_of(items[:-1]) == sampled(engine, history_of(market, 10), paths=6, events=5)


def test_settings_are_those_of_the_request():
    market = days()["orders"]
    with serving() as (engine, _):
        greedy = sampled(engine, history_of(market), temperature=0.0, paths=2)
        assert greedy[0] == greedy[1]
        assert greedy == generated("by time", beginning(market), temperature=0.0, paths=2)
        assert sampled(engine, history_of(market), seed=6) != sampled(engine, history_of(market))


def test_a_forecast_is_that_of_the_paths():
    market, sampling = days()["window"], SamplingConfig(paths=6, events=8, seed=2)
    with serving(day="window") as (engine, _):
        history = history_of(market, 12)
        found = ask(engine, Forecast(history, sampling))
        paths = [[] for _ in range(6)]
        for event in ask(engine, Generate(history, sampling)):
            paths[event.path].append(event)
    last = beginning(market, 12)
    (book,) = snapshots_at(last, np.array([12]))
    made = days_of(paths, instrument=market.instrument, start=book)
    np.testing.assert_equal(found.to_json(), fan(made).to_json())


def test_moves_count_paths():
    market = days()["orders"]
    with serving() as (engine, _):
        history = history_of(market)
        moves = ask(engine, Predict(history, moves=Moves(paths=9, events=6, seed=1))).moves
        paths = sampled(engine, history, paths=9, events=6, seed=1)
    assert moves.paths == 9 and moves.events == 6
    assert moves.down + moves.same + moves.up == pytest.approx(1)
    shares = np.array([moves.down, moves.same, moves.up])
    np.testing.assert_allclose(moves.standard_errors, np.sqrt(shares * (1 - shares) / 9))
    changes = [move_of(beginning(market), path) for path in paths.values()]
    np.testing.assert_allclose(shares, [np.mean(np.sign(changes) == sign) for sign in (-1, 0, 1)])


def move_of(day, path):
    """Return by how much the mid price moves along a path, by a replay of its events."""
    (start,) = snapshots_at(day, np.array([len(day.events)]))
    names = ("time_ns", "kind", "code", "side", "price", "size")
    events = Events.from_columns(**dict(zip(names, map(np.array, list(zip(*path, strict=True))[:6]), strict=True)))
    states = replay(dataclasses.replace(day, start=start, events=events), levels=1)
    return int(states.price[-1, :, 0].sum() - states.price[0, :, 0].sum())


def test_nothing_can_be_predicted_before_the_first_event():
    market = days()["orders"]
    with serving() as (engine, _):
        here = opened(engine, market)
        for request in (Predict(here), Generate(here, SamplingConfig(paths=1, events=1, seed=0))):
            with pytest.raises(InputError, match="nothing has happened yet"):
                ask(engine, request)
