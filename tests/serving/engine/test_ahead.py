"""What is predicted while an engine is idle is what would be answered anyway, and no more than will be asked for."""

import queue
import threading
import time

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.generation.settings import SamplingConfig
from lob_jax.serving.engine import engine as engine_module
from lob_jax.serving.engine.ahead import Wanted, go_ahead
from lob_jax.serving.engine.warm_up import ask
from lob_jax.serving.requests import (
    Close,
    Feed,
    Finished,
    Generate,
    History,
    Infer,
    InSession,
    Moves,
    OpenSession,
    Predict,
)
from tests.serving.engine.engines import history_of, serving
from tests.serving.market.markets import days

DAY = days()["orders"]


def idle(engine):
    """Wait until nothing is left to do ahead."""
    for _ in range(4_000):
        if engine._sessions.fed is None:
            return
        time.sleep(0.005)
    raise AssertionError("the engine has something to do")


def opened(engine, events=20):
    return InSession(ask(engine, OpenSession(history_of(DAY, events))).session)


def fed(engine, here, at, count=1):
    ask(engine, Feed(here, DAY.events[at : at + count], DAY.corrections.between(at, at + count)))
    idle(engine)


def looks_of(engine, network, request):
    """Return the answer to a request, and how many passes of the network it took."""
    before = network.looks
    return ask(engine, request), network.looks - before


@pytest.mark.parametrize("name", ["by time", "compact"])
def test_a_session_that_is_asked_again_and_again_is_predicted_ahead(name):
    with serving(name) as (engine, network):
        here = opened(engine)
        first, passes = looks_of(engine, network, Predict(here))
        assert (passes > 0) == (name != "compact")
        assert looks_of(engine, network, Predict(here)) == (first, 0)  # nothing has changed
        for at in range(20, 26):
            fed(engine, here, at)
            found, passes = looks_of(engine, network, Predict(here))
            assert passes == 0 and found == ask(engine, Predict(history_of(DAY, at + 1)))


def test_nothing_is_predicted_ahead_that_was_not_asked_for_last_time():
    with serving() as (engine, network):
        here = opened(engine)
        fed(engine, here, 20)
        assert network.looks == 0
        ask(engine, Predict(here, heads=2, most=5))
        fed(engine, here, 21)
        ahead = network.looks
        fed(engine, here, 22)
        assert network.looks == ahead
        _, passes = looks_of(engine, network, Predict(here, heads=2, most=5))
        assert passes > 0
        fed(engine, here, 23)
        for heads, most in ((3, 5), (2, 6)):  # another prediction than the one that was made
            found, passes = looks_of(engine, network, Predict(here, heads=heads, most=most))
            assert passes > 0 and found == ask(engine, Predict(history_of(DAY, 24), heads=heads, most=most))
        assert looks_of(engine, network, Predict(here, heads=2, most=6))[1] == 0


def test_a_prediction_that_is_made_in_part_is_completed_or_given_up():
    with serving() as (engine, network):
        here = opened(engine)
        session = engine._sessions.find(here)
        for at, completed in ((20, True), (21, False), (22, True)):
            ask(engine, Predict(here))
            fed(engine, here, at)
            session.ahead = None
            assert go_ahead(session, engine._work.served)
            if completed:
                found, passes = looks_of(engine, network, Predict(here))
                assert passes == 1 and found == ask(engine, Predict(history_of(DAY, at + 1)))


def test_a_context_without_room_is_not_begun_anew_ahead():
    with serving("learned") as (engine, network):
        here, ahead = opened(engine), []
        session = engine._sessions.find(here)
        for at in range(20, 45):
            ask(engine, Predict(here))
            fed(engine, here, at)
            ahead.append((session.context.has_room(16), session.ahead is not None))
        assert set(ahead) == {(True, True), (False, False)}
        assert ask(engine, Predict(here)) == ask(engine, Predict(history_of(DAY, 45)))


def test_paths_are_those_of_a_history_whatever_is_predicted_ahead():
    random = np.random.default_rng(1)
    with serving() as (engine, _):
        here, at = opened(engine), 20
        for _ in range(8):
            count = int(random.integers(1, 5))
            ask(engine, Predict(here))
            fed(engine, here, at, count)
            at += count
        there, sampling = history_of(DAY, at), SamplingConfig(paths=2, events=4, seed=1)
        assert ask(engine, Predict(here, moves=Moves(2, 2))) == ask(engine, Predict(there, moves=Moves(2, 2)))
        assert ask(engine, Generate(here, sampling)) == ask(engine, Generate(there, sampling))


def test_what_fails_ahead_ends_no_request(monkeypatch, caplog):
    monkeypatch.setattr(engine_module, "go_ahead", lambda *_: 1 / 0)
    with serving() as (engine, _):
        going_on, found = threading.Event(), queue.SimpleQueue()
        object.__setattr__(engine._work.served, "infer", lambda *_: going_on.wait(30))
        here = opened(engine)
        engine.submit(Infer({}), found.put)
        fed(engine, here, 20)
        going_on.set()
        (last,) = found.get(timeout=30)
        assert isinstance(last, Finished) and "ZeroDivisionError" in caplog.text


def test_of_sessions_that_are_closed_nothing_is_to_be_done(monkeypatch):
    monkeypatch.setattr(engine_module.Engine, "_go_ahead", lambda *_: None)  # as if it were never idle
    with serving() as (engine, _):
        for _ in range(3):
            here = opened(engine)
            ask(engine, Feed(here, DAY.events[20:21], DAY.corrections.between(20, 21)))
            ask(engine, Close(here))
        assert not engine._sessions._fed


def test_a_session_of_which_nothing_can_be_predicted_is_left_alone():
    with serving() as (engine, network):
        here = InSession(ask(engine, OpenSession(History(DAY.start))).session)
        session = engine._sessions.find(here)
        with pytest.raises(InputError, match="nothing has happened"):
            ask(engine, Predict(here))
        session.wanted = Wanted(3, 20)
        assert not go_ahead(session, engine._work.served)
        fed(engine, here, 0)
        assert network.looks == 0 and session.ahead is None
