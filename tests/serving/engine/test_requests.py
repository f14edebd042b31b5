"""What becomes of requests that are late, too many, wrong or given up, and of the others meanwhile."""

import threading
import time

import numpy as np
import pytest

from lob_jax.book.replay import snapshots_at
from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.generation.settings import SamplingConfig
from lob_jax.serving.engine.warm_up import ask
from lob_jax.serving.requests import (
    Busy,
    Cancelled,
    Close,
    Failed,
    Feed,
    Finished,
    Forecast,
    Generate,
    History,
    InSession,
    Late,
    Leaving,
    Look,
    OpenSession,
    PathEvent,
    Predict,
    Score,
    Unknown,
)
from tests.serving.engine.engines import history_of, sampled, serving
from tests.serving.market.markets import days

DAY = days()["orders"]


def asked(engine, request, **how):
    """Submit a request; return the job, its items, and an event that says that the last one is there."""
    items, done, first = [], threading.Event(), threading.Event()

    def deliver(more):
        items.extend(more)
        first.set()
        if isinstance(items[-1], Finished | Failed):
            done.set()

    return engine.submit(request, deliver, **how), items, first, done


def long(paths=3, events=5_000):
    return Generate(history_of(DAY), SamplingConfig(paths=paths, events=events, seed=1))


def until(holds):
    for _ in range(2_000):
        if holds():
            return True
        time.sleep(0.005)
    return False


def test_a_cancelled_request_frees_its_rows_and_its_paths_end():
    with serving() as (engine, network):
        job, items, first, done = asked(engine, long())
        assert first.wait(60) and engine.load().rows == 3
        job.cancel()
        assert done.wait(60) and engine.load().rows == 0
        assert isinstance(items[-1].error, Cancelled)
        steps = network.steps
        job.cancel()  # again, when it is over
        assert sampled(engine, history_of(DAY), events=2, paths=1)
        assert network.steps - steps < 60


def test_what_goes_on_is_not_changed_by_what_is_given_up():
    with serving() as (engine, _):
        alone = sampled(engine, history_of(DAY), paths=3, events=40)
        job, _, first, _ = asked(engine, long(2))
        assert first.wait(60)
        _, items, begun, done = asked(engine, Generate(history_of(DAY), SamplingConfig(paths=3, events=40, seed=5)))
        assert begun.wait(60)
        job.cancel()  # its rows are before those of the other, which move
        assert done.wait(60)
        rows = {}
        for item in items[:-1]:
            rows.setdefault(item.path, []).append(
                (item.time_ns, item.kind, item.code, item.side, item.price, item.size)
            )
        assert rows == {path: [row[:6] for row in each] for path, each in alone.items()}


def test_a_late_request_fails_at_work_and_in_the_queue():
    with serving(rows=2) as (engine, _):
        _, items, _, done = asked(engine, long(), deadline_s=0.3)
        _, behind, _, ended = asked(engine, long(), deadline_s=0.3)
        _, third, _, gone = asked(engine, long(), deadline_s=0.3)
        for event in (done, ended, gone):
            assert event.wait(60)
        assert all(isinstance(each[-1].error, Late) for each in (items, behind, third))
        assert engine.load().rows == 0 == engine.load().queued


def test_the_queue_is_bounded_and_sessions_pass_it():
    with serving(rows=2, queue=2) as (engine, network):
        here = InSession(ask(engine, OpenSession(History(DAY.start))).session)
        jobs = [asked(engine, long())]
        assert jobs[0][2].wait(60)
        jobs += [asked(engine, long())]
        assert until(lambda: engine.load().queued == 0)  # as many as rows are at work
        jobs += [asked(engine, long()) for _ in range(2)]
        assert engine.load().queued == 2
        with pytest.raises(Busy, match="2 requests are waiting") as raised:
            asked(engine, long())
        assert raised.value.retry_after_s > 0
        assert ask(engine, Feed(here, DAY.events[:5])).events == 5
        assert ask(engine, Look(here)).events == 5
        for job, *_ in jobs:
            job.cancel()
        for _, _, _, done in jobs:
            assert done.wait(60)


def test_predictions_do_not_wait_for_rows():
    with serving() as (engine, _):
        here = InSession(ask(engine, OpenSession(history_of(DAY))).session)
        at_work = [asked(engine, long(4)) for _ in range(2)]
        assert all(first.wait(60) for _, _, first, _ in at_work) and engine.load().rows == 8
        behind = asked(engine, long(4))
        assert until(lambda: engine.load().queued == 0)
        assert ask(engine, Predict(here, heads=3)).heads[0].size is not None
        assert engine.load().rows == 8 and not behind[1]
        for job, *_ in (*at_work, behind):
            job.cancel()


def test_work_aside_that_is_given_up_is_not_done():
    scores, go_on = [], threading.Event()
    with serving(score=lambda asked: (go_on.wait(60), scores.append(len(asked.history.events)))) as (engine, _):
        jobs = [asked(engine, Score(history_of(DAY, events))) for events in (1, 2, 3)]
        assert until(lambda: engine.load().queued == 0)
        jobs[1][0].cancel()
        assert jobs[1][3].wait(60)
        go_on.set()
        assert jobs[2][3].wait(60) and scores == [1, 3]


def test_an_error_does_not_hold_the_market():
    with serving() as (engine, _):
        here = InSession(ask(engine, OpenSession(history_of(DAY))).session)
        _, items, _, done = asked(engine, Feed(here, DAY.events[:5]))  # which are before those of the session
        assert done.wait(60) and isinstance(items[-1].error, InputError)
        assert items[-1].error.__traceback__ is None


def test_sessions_are_counted_and_are_their_owners():
    with serving() as (engine, _):
        mine = [InSession(ask(engine, OpenSession(History(DAY.start), "a")).session, "a") for _ in range(2)]
        with pytest.raises(Busy, match="2 sessions are open"):
            ask(engine, OpenSession(History(DAY.start), "a"))
        ask(engine, OpenSession(History(DAY.start), "b"))
        with pytest.raises(Busy, match="no room"):
            ask(engine, OpenSession(History(DAY.start), "c"))
        stranger = InSession(mine[0].session, "b")
        for request in (Look(stranger), Close(stranger), Feed(stranger, DAY.events[:1]), Predict(stranger)):
            with pytest.raises(Unknown, match="no such session"):
                ask(engine, request)
        assert ask(engine, Close(mine[0])).events == 0
        with pytest.raises(Unknown, match="no such session"):
            ask(engine, Look(mine[0]))
        ask(engine, OpenSession(History(DAY.start), "c"))
        assert engine.load().sessions == 3


def test_unused_sessions_end():
    with serving(idle_s=0.2) as (engine, _):
        here = InSession(ask(engine, OpenSession(History(DAY.start))).session)
        assert 0 < ask(engine, Look(here)).seconds_left <= 0.2
        time.sleep(0.3)
        with pytest.raises(Unknown, match="no such session"):
            ask(engine, Look(here))


@pytest.mark.parametrize("events", [3, 700])
def test_events_that_contradict_the_book_are_refused_by_number_and_nothing_is_taken(events):
    wrong = DAY.events[:events].replace(size=np.where(np.arange(events) == events - 1, 10**8, DAY.events.size[:events]))
    wrong = wrong.replace(kind=np.where(np.arange(events) == events - 1, Kind.EXECUTE, wrong.kind))
    with serving() as (engine, _):
        here = InSession(ask(engine, OpenSession(history_of(DAY, 10))).session)
        before, drawn = ask(engine, Look(here)), sampled(engine, here, events=3)
        for request in (
            Feed(here, wrong),
            OpenSession(History(DAY.start, wrong)),
            Generate(History(DAY.start, wrong), SamplingConfig(paths=1, events=1, seed=0)),
        ):
            with pytest.raises(InputError) as raised:
                ask(engine, request)
            assert raised.value.event == (0 if isinstance(request, Feed) else events - 1)
            assert raised.value.where.startswith(f"event {raised.value.event}: ")
        after = ask(engine, Look(here))
        assert (after.events, after.time_ns, after.tokens) == (before.events, before.time_ns, before.tokens)
        assert sampled(engine, here, events=3) == drawn
        empty = InSession(ask(engine, OpenSession(History(DAY.start))).session)
        with pytest.raises(InputError) as raised:
            ask(engine, Feed(empty, wrong))
        assert raised.value.event == events - 1
        assert ask(engine, Look(empty)).events == 0
        ask(engine, Feed(empty, DAY.events[:10]))
        assert sampled(engine, empty, events=3) == drawn


def test_the_state_of_a_session_is_that_of_its_market():
    with serving() as (engine, _):
        here = InSession(ask(engine, OpenSession(history_of(DAY, 10))).session)
        state = ask(engine, Feed(here, DAY.events[10:25], DAY.corrections.between(10, 25)))
    assert state.events == 25 and state.time_ns == DAY.events.time_ns[24] and state.closed == 0
    (book,) = snapshots_at(DAY, np.array([25]))
    for side, found in ((1, state.bid), (-1, state.ask)):
        mine = book.side == side
        best = book.price[mine].max() if side > 0 else book.price[mine].min()
        assert found == (best, book.size[mine & (book.price == best)].sum())


def test_a_fault_fails_the_requests_concerned_and_no_others(caplog):
    with serving() as (engine, network):
        network.failure = RuntimeError("out of order")
        for request in (long(), Forecast(history_of(DAY), SamplingConfig(paths=2, events=2, seed=0))):
            with pytest.raises(RuntimeError, match="out of order"):
                ask(engine, request)
        assert "the network has failed" in caplog.text
        assert engine.load().rows == 0
        network.failure = None
        assert len(sampled(engine, history_of(DAY), events=2)) == 3


def test_an_engine_outlives_its_own_faults(caplog, monkeypatch):
    with serving() as (engine, network):
        here = InSession(ask(engine, OpenSession(history_of(DAY, 3))).session)
        monkeypatch.setattr(engine._pool, "grant", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ask(engine, long())
        monkeypatch.undo()
        monkeypatch.setattr(network, "read", lambda *_: 1 / 0)
        ask(engine, Feed(here, DAY.events[3:5]))
        assert until(lambda: "what was to be done ahead has failed" in caplog.text)
        assert caplog.text.count("the engine has failed") == 1
        monkeypatch.undo()
        assert sampled(engine, here, events=2) == sampled(engine, history_of(DAY, 5), events=2)


def test_an_answer_that_cannot_be_delivered_is_given_up(caplog):
    with serving() as (engine, _):

        def deliver(items):
            if isinstance(items[0], PathEvent):
                raise OSError("gone")

        engine.submit(long(), deliver)
        assert until(lambda: "could not be delivered" in caplog.text)
        assert until(lambda: engine.load().rows == 0)
        assert len(sampled(engine, history_of(DAY), events=2)) == 3


def test_draining_lets_those_at_work_finish_and_takes_no_more():
    with serving() as (engine, network):
        network.go_on.clear()
        _, items, _, done = asked(engine, Generate(history_of(DAY), SamplingConfig(paths=1, events=3, seed=1)))
        leaving = threading.Thread(target=engine.drain, args=(60.0,))
        leaving.start()
        assert until(lambda: not engine.ready)
        with pytest.raises(Leaving):
            asked(engine, long())
        network.go_on.set()
        leaving.join(60)
        assert done.is_set() and isinstance(items[-1], Finished) and len(items) == 4
    assert until(lambda: not any("lob_jax" in thread.name for thread in threading.enumerate()))


def test_draining_gives_up_what_takes_too_long():
    with serving() as (engine, _):
        _, items, first, done = asked(engine, long())
        assert first.wait(60)
        engine.drain(0.1)
        assert done.wait(60) and isinstance(items[-1].error, Cancelled)


def test_a_request_for_more_rows_than_there_are_is_answered():
    with serving(rows=1) as (engine, _):
        assert len(ask(engine, Predict(history_of(DAY), heads=5)).heads) == 20
        assert len(sampled(engine, history_of(DAY), paths=3, events=2)) == 3


def test_scores_are_computed_aside():
    with serving() as (engine, network):
        job, _, first, _ = asked(engine, long())
        assert first.wait(60)
        assert ask(engine, Score(history_of(DAY, 7))) == 7
        job.cancel()


def test_an_idle_engine_reads_what_sessions_are_fed():
    with serving() as (engine, network):
        first, second = (InSession(ask(engine, OpenSession(history_of(DAY, 5))).session) for _ in range(2))
        for here in (first, second):
            ask(engine, Feed(here, DAY.events[5:80], DAY.corrections.between(5, 80)))
        assert until(lambda: engine._sessions.fed is None)
        tail = network.blocks
        expected = ask(engine, Predict(history_of(DAY, 80)))
        assert network.blocks > tail
        tail = network.blocks
        assert ask(engine, Predict(first)) == expected == ask(engine, Predict(second))
        assert network.blocks == tail  # all had been read
        ask(engine, Feed(first, DAY.events[80:81]))
        ask(engine, Close(first))
        assert until(lambda: engine._sessions.fed is None)


def test_the_time_of_each_part_is_told():
    with serving() as (engine, _):
        _, items, _, done = asked(engine, long(1, 3))
        assert done.wait(60)
        assert set(items[-1].seconds) == {"queued", "worked"}
        assert all(seconds >= 0 for seconds in items[-1].seconds.values())
