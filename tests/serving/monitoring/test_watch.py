"""What monitoring sees of a server: feeds, scores of a part of them, and why requests were not answered."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from lob_jax.book.snapshot import Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Kind
from lob_jax.serving import requests
from lob_jax.serving.market.tail import Tail
from lob_jax.serving.monitoring import watch as watch_module
from lob_jax.serving.monitoring.metrics import Metrics
from lob_jax.serving.monitoring.watch import BLOCK, Watch, joined, kind_of, reason
from lob_jax.serving.requests import Close, Feed, Generate, InSession, Look, OpenSession, Predict
from lob_jax.serving.stub import StubServer
from tests.serving.monitoring.markets import at, day, feeds, opening, reference
from tests.serving.monitoring.reading import samples

NOW = 1_700_000_000.0


class Place:
    """A stub of an engine, and what watches it."""

    def __init__(self, *, share=1.0, draw=lambda: 0.0, **options):
        self.stub, self.metrics, self.now = StubServer(reference=reference(), **options), Metrics(), NOW
        self.watch = Watch({"m": self.stub}, self.metrics, share=share, draw=draw, clock=lambda: self.now)

    def ask(self, request):
        """Ask, wait for the answer, and let monitoring see it."""
        items, done = [], threading.Event()

        def deliver(some):
            items.extend(some)
            if isinstance(items[-1], requests.Finished | requests.Failed):
                done.set()

        deliver = self.watch.delivering("m", request, deliver)
        self.stub.submit(request, deliver)
        assert done.wait(10)
        return items[-1]

    def opened(self):
        return self.ask(OpenSession(opening(day(5)))).result.session

    def found(self):
        """Return the metrics after a round, when all that was asked has been answered."""
        self.watch.round()
        until = time.monotonic() + 10
        while self.watch._scoring and time.monotonic() < until:
            self.watch.round()
        self.watch.round()
        return samples(self.metrics.text().decode())

    def feed(self, events, session, step=20):
        for one in feeds(events, session, step=step):
            self.ask(one)
            self.watch.round()


def test_feeds_are_counted_and_compared_with_training():
    place = Place(share=0.0)
    session = place.opened()
    place.feed(day(5).events[:1_000], session, step=100)
    found = place.found()
    assert found["lob_fed_events_total", ("model", "m")] == 1_000
    report = place.watch.reports()["m"]
    assert report.seen == 1_000 and report.scored == 0 and len(place.stub.jobs) == 11
    assert report.drift["size"].psi is None or report.drift["size"].events >= 1_000


def test_all_blocks_are_scored_if_the_share_is_1():
    place = Place()
    session = place.opened()
    place.feed(day(5).events[:250], session)
    found = place.found()
    assert found["lob_monitor_blocks_total", ("model", "m"), ("outcome", "scored")] == 2
    scores = [job.request for job in place.stub.jobs if isinstance(job.request, requests.Score)]
    assert [(len(one.history.events), one.first) for one in scores] == [(100, 0), (200, 100)]
    np.testing.assert_array_equal(scores[1].history.events.time_ns, day(5).events.time_ns[:200])
    report = place.watch.reports()["m"]
    assert (report.scored, report.quality.events) == (200, 200)
    assert report.quality.paired >= 197  # the first events have none before them that counts could read
    assert found["lob_entropy_bits_count", ("model", "m"), ("source", "score")] == 200
    assert found["lob_mask_removed_ratio_count", ("model", "m")] == 200


def test_only_the_end_of_a_long_addition_is_scored():
    place = Place()
    place.feed(day(5).events[:330], place.opened(), step=330)
    place.found()
    (score,) = [job.request for job in place.stub.jobs if isinstance(job.request, requests.Score)]
    assert (len(score.history.events), score.first) == (330, 330 - BLOCK)


@pytest.mark.parametrize(("share", "drawn", "scored"), [(0.1, 0.09, 1), (0.1, 0.1, 0), (0.0, 0.0, 0)])
def test_a_share_of_the_blocks_is_scored(share, drawn, scored):
    place = Place(share=share, draw=lambda: drawn)
    place.feed(day(5).events[:120], place.opened())
    found = place.found()
    assert found["lob_monitor_blocks_total", ("model", "m"), ("outcome", "scored")] == scored
    left = found["lob_monitor_blocks_total", ("model", "m"), ("outcome", "not_drawn")]
    assert left == (1 if share and not scored else 0)


def test_nothing_is_scored_while_requests_wait(monkeypatch):
    place = Place()
    busy = requests.Load(0, 8, queued=1, sessions=1, tokens=0, events=0)
    monkeypatch.setattr(place.stub, "load", lambda: busy)
    place.feed(day(5).events[:120], place.opened())
    found = place.found()
    assert found["lob_monitor_blocks_total", ("model", "m"), ("outcome", "skipped")] == 1
    assert not any(isinstance(job.request, requests.Score) for job in place.stub.jobs)


def test_a_score_that_fails_is_counted_and_the_next_one_is_asked_for(caplog):
    place = Place()
    session, events = place.opened(), day(5).events
    place.watch.round()
    place.stub.error = RuntimeError("no")
    place.watch._score("m", place.watch._followed["m", session].tail)
    assert place.found()["lob_monitor_blocks_total", ("model", "m"), ("outcome", "failed")] == 1
    place.stub.error = None
    place.feed(events[:100], session)
    assert place.found()["lob_monitor_blocks_total", ("model", "m"), ("outcome", "scored")] == 1
    assert "could not be scored" in caplog.text


def test_corrections_of_feeds_keep_their_places():
    events = day(5).events

    def fed(first, last, *places):
        columns = {name: np.full(len(places), 7) for name in ("side", "price", "size")}
        return Feed(InSession("s"), events[first:last], Corrections(np.array(places, np.int64), **columns))

    together, corrections = joined([fed(0, 3, -1, 2), fed(3, 5), fed(5, 9, 0)])
    np.testing.assert_array_equal(together.time_ns, events.time_ns[:9])
    np.testing.assert_array_equal(corrections.event, [-1, 2, 5])


def test_lag_is_of_live_feeds_alone():
    place = Place(share=0.0)
    session = place.opened()
    events = day(5).events[:60]
    for lag_s, first in ((2.0, 0), (-0.5, 20), (7_200.0, 40)):
        place.ask(Feed(InSession(session), at(events[first : first + 20], NOW - lag_s)))
    found = place.found()
    assert found["lob_feed_lag_seconds_count", ("model", "m")] == 2
    assert found["lob_feed_lag_seconds_sum", ("model", "m")] == pytest.approx(2.0)
    assert found["lob_feed_lag_seconds_bucket", ("le", "1.0"), ("model", "m")] == 1


def test_gaps_that_a_feed_reports_are_counted():
    place = Place(share=0.0)
    session, events = place.opened(), day(5).events[:3]
    kind, code = events.kind.copy(), events.code.copy()
    kind[1], code[1] = Kind.CONTROL, Code.FEED_GAP
    kind[2], code[2] = Kind.CONTROL, Code.HALT
    place.ask(Feed(InSession(session), events.replace(kind=kind, code=code)))
    assert place.found()["lob_feed_gaps_total", ("model", "m")] == 1


def test_the_live_session_that_waits_longest_is_told():
    place = Place(share=0.0)
    sessions = [place.opened() for _ in range(3)]
    for session, after_s, lag_s in zip(sessions, (0.0, 10.0, 0.0), (1.0, 1.0, 7_200.0), strict=True):
        place.now = NOW + after_s
        place.ask(Feed(InSession(session), at(day(5).events[:5], place.now - lag_s)))
        place.watch.round()
    place.now = NOW + 40
    assert place.watch.idle() == {"m": 40.0}
    place.ask(Close(InSession(sessions[0])))
    place.watch.round()
    assert place.watch.idle() == {"m": 30.0}
    place.now = NOW + 800
    place.ask(Look(InSession(sessions[1])))  # it is used
    place.now = NOW + 1_000
    place.watch.round()
    assert len(place.watch._followed) == 1 and place.watch.idle() == {"m": 990.0}


def test_requests_are_counted_by_what_became_of_them():
    place = Place()
    place.ask(Predict(opening(day(5))))
    place.stub.error = requests.Late("late")
    place.ask(Predict(opening(day(5))))
    place.stub.error = KeyError("x")
    place.ask(Predict(opening(day(5))))
    place.watch.refused("m", Predict(opening(day(5))), requests.Busy("full", retry_after_s=1.0))
    found = place.found()
    labels = ("kind", "predict"), ("model", "m")
    counts = {
        o: found["lob_engine_requests_total", *labels, ("outcome", o)] for o in ("answered", "late", "failed", "busy")
    }
    assert counts == {"answered": 1, "late": 1, "failed": 1, "busy": 1}
    assert found["lob_engine_request_part_seconds_count", *labels, ("part", "queued")] == 1
    assert found["lob_entropy_bits_sum", ("model", "m"), ("source", "predict")] == pytest.approx(0.811)


def test_kinds_and_reasons_are_words():
    assert [kind_of(one) for one in (Close(InSession("")), OpenSession(opening(day(5))))] == ["close", "open_session"]
    assert kind_of(Generate(InSession(""), None)) == "generate"
    errors = (InputError("a", where="b", expected="c", was="d", remedy="e"), requests.Cancelled(""), ValueError("x"))
    assert [reason(error) for error in errors] == ["invalid", "cancelled", "failed"]


def test_a_large_result_is_not_kept():
    place = Place()
    request = requests.Infer({"tokens": np.zeros((1, 4), np.int32)})
    place.ask(request)
    assert place.watch._seen[-1].item.result is None


def test_what_was_not_seen_is_counted_and_pasts_with_holes_are_forgotten(monkeypatch):
    place = Place()
    place.opened()
    place.watch.round()
    for _ in range(watch_module.MOST + 3):
        place.watch._note("m", Look(InSession("s")), requests.Failed(requests.Unknown("no")))
    assert place.watch.dropped == 3 and place.watch._followed
    place.watch.round()
    assert not place.watch._followed


def test_blocks_are_scored_again_after_a_score_was_not_seen():
    place = Place()
    place.stub.held.clear()
    place.watch._score("m", Tail(opening(day(5)), keep=500, instrument=place.stub.facts.instrument))
    place.stub.held.set()
    assert place.stub.jobs[-1].done.wait(10)
    until = time.monotonic() + 10
    while not place.watch._seen and time.monotonic() < until:
        time.sleep(0.01)
    for _ in range(watch_module.MOST):
        place.watch._note("m", Look(InSession("s")), requests.Failed(requests.Unknown("no")))
    place.watch.round()
    place.feed(day(5).events[:120], place.opened())
    assert place.found()["lob_monitor_blocks_total", ("model", "m"), ("outcome", "scored")] == 1


def test_corrections_without_events_are_part_of_what_is_scored():
    place = Place()
    session, events = place.opened(), day(5).events
    place.feed(events[:40], session)
    level = {name: np.array([value], np.int64) for name, value in (("side", 1), ("price", 7), ("size", 3))}
    place.ask(Feed(InSession(session), events[:0], Corrections(np.array([-1]), **level)))
    place.feed(events[40:100], session)
    found = place.found()
    assert found["lob_fed_events_total", ("model", "m")] == 100
    (score,) = [job.request for job in place.stub.jobs if isinstance(job.request, requests.Score)]
    corrections = score.history.corrections
    assert (corrections.event.tolist(), corrections.price.tolist()) == ([39], [7])


def test_many_corrections_without_events_do_not_wait():
    place = Place()
    session = place.opened()
    level = {name: np.array([value], np.int64) for name, value in (("side", 1), ("price", 7), ("size", 3))}
    for _ in range(BLOCK + 1):
        place.ask(Feed(InSession(session), day(5).events[:0], Corrections(np.array([-1]), **level)))
    place.watch.round()
    assert len(place.watch._followed["m", session].fresh) == 1
    assert not any(isinstance(job.request, requests.Score) for job in place.stub.jobs)


@pytest.mark.parametrize("idle_s", [100.0, 3_600.0])
def test_a_session_is_remembered_as_long_as_its_engine_keeps_it(monkeypatch, idle_s):
    state = StubServer._state
    monkeypatch.setattr(StubServer, "_state", lambda *given: dataclasses.replace(state(*given), seconds_left=idle_s))
    place = Place(share=0.0)
    place.opened()
    for after_s, left in ((idle_s - 1, 1), (idle_s + 1, 0)):
        place.now = NOW + after_s
        place.watch.round()
        assert len(place.watch._followed) == left


def test_monitoring_goes_on_after_a_fault_of_its_own(caplog, monkeypatch):
    place = Place(share=0.0)
    session = place.opened()
    monkeypatch.setattr(place.watch._monitors["m"], "saw", lambda *_, **__: 1 / 0)
    place.ask(Feed(InSession(session), day(5).events[:5]))
    place.ask(Predict(InSession(session)))
    found = place.found()
    assert "ZeroDivisionError" in caplog.text
    assert found["lob_engine_requests_total", ("kind", "predict"), ("model", "m"), ("outcome", "answered")] == 1
