"""What a server knows of experiments: standings, counts, breakers and guards."""

import time

import pytest

from lob_jax.serving.experiments.breaker import LEAST, WINDOW, Breaker
from lob_jax.serving.experiments.results import Decision, Requests
from lob_jax.serving.experiments.running import Experiments
from lob_jax.serving.experiments.store.errors import Missing, Unavailable
from tests.serving.experiments.memory import MemoryStore, analysed, made

NEVER = 3600.0


@pytest.fixture
def store():
    found = MemoryStore()
    found.create(made())
    return found


@pytest.fixture
def experiments(store):
    found = Experiments(store, analysed, refresh_s=NEVER, guards_s=NEVER)
    yield found
    store.away = False
    found.close()
    assert store.closed


def until(holds):
    limit = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_breaker_opens_when_more_than_half_have_failed():
    breaker = Breaker()
    assert [breaker.note(failed=True) for _ in range(LEAST)] == [False] * (LEAST - 1) + [True]
    breaker.reset()
    for _ in range(WINDOW // 2):
        breaker.note(failed=False)
    assert [breaker.note(failed=True) for _ in range(WINDOW // 2 + 1)] == [False] * (WINDOW // 2) + [True]
    assert breaker.because == "26 of its last 50 requests have failed"
    for _ in range(30):
        breaker.note(failed=False)
    assert not breaker.open  # only the last ones count


def test_what_is_created_or_decided_elsewhere_takes_effect(store):
    experiments = Experiments(store, analysed, refresh_s=0.01, guards_s=NEVER)
    assert experiments.last("other") is None
    store.create(made("other"))
    assert experiments.find("other").standing.status == "running"
    store.decide("other", Decision("stop", "", "me", "enough", 1.0, {}))
    until(lambda: experiments.last("other").standing.status == "stopped")
    experiments.close()
    with pytest.raises(Missing):
        Experiments(store, analysed).find("none")


def test_counts_are_kept_by_arm_and_survive_a_database_that_is_away(store, experiments, monkeypatch):
    experiments.note("test", "a", seconds=0.5)
    experiments.note("test", "a", seconds=2.0, failed=True)
    experiments.note("test", "b", seconds=0.25, refused=True)
    experiments.note("unknown", "b", seconds=0.25)
    count = store.count

    def goes_away(*given):
        store.away = True
        count(*given)

    monkeypatch.setattr(store, "count", goes_away)
    experiments.refresh()
    monkeypatch.undo()
    experiments.refresh()
    experiments.note("test", "a", seconds=0.5)
    store.away = False
    experiments.refresh()
    experiments.refresh()
    assert store.requests["test"] == {"a": Requests(3, 1, 1, 0, 3.0), "b": Requests(1, 0, 0, 1, 0.25)}


def test_counts_are_kept_at_the_end(store):
    experiments = Experiments(store, analysed, refresh_s=NEVER)
    experiments.note("test", "a", seconds=0.5)
    experiments.close()
    assert store.requests["test"]["a"].answered == 1


def fail(experiments, arm, times=LEAST):
    for _ in range(times):
        experiments.note("test", arm, seconds=0.1, failed=True)


def test_an_arm_that_fails_is_out_at_once_and_recorded_as_soon_as_the_database_answers(store, experiments):
    store.away = True
    fail(experiments, "b")
    assert experiments.last("test").standing.tripped == {"b"}
    experiments.refresh()
    assert experiments.last("test").standing.tripped == {"b"} and store.requests["test"] == {}
    store.away = False
    experiments.refresh()
    experiments.refresh()
    (decision,) = store.decisions("test")
    assert (decision.decision, decision.arm, decision.by) == ("trip", "b", "server")
    assert store.standing("test").tripped == {"b"}


def test_the_control_is_never_taken_out(store, experiments):
    fail(experiments, "a", 100)
    experiments.refresh()
    assert not experiments.last("test").standing.tripped and not store.decisions("test")


def test_an_arm_that_is_resumed_begins_anew(store, experiments):
    fail(experiments, "b")
    experiments.refresh()
    experiments.decide("test", "resume", arm="b", by="me", because="repaired")
    fail(experiments, "b", LEAST - 1)
    experiments.refresh()
    assert not experiments.last("test").standing.tripped
    fail(experiments, "b", 1)
    assert experiments.last("test").standing.tripped == {"b"}


def test_a_decision_is_not_undone_by_a_reading_that_began_before_it(store, experiments, monkeypatch):
    standing = store.standing

    def slowly(name):
        found = standing(name)
        monkeypatch.undo()
        experiments.decide("test", "stop", arm="", by="me", because="enough")
        return found

    monkeypatch.setattr(store, "standing", slowly)
    experiments.refresh()
    assert experiments.last("test").standing.status == "stopped"
    experiments.refresh()
    assert experiments.last("test").standing.status == "stopped"


def refuse(experiments, arm, times):
    for _ in range(times):
        experiments.note("test", arm, seconds=0.1, refused=True)
    experiments.refresh()


def test_a_guard_takes_an_arm_out_until_somebody_resumes_it(store, experiments):
    refuse(experiments, "a", 20)
    refuse(experiments, "b", 20)
    experiments.look_at_guards()
    assert experiments.last("test").standing.tripped == {"b"}
    (decision,) = store.decisions("test")
    assert decision.because == "more requests than tolerated: refused 100.0% of 5.0%"
    assert decision.known["arms"]["b"]["guards"]["refused"]["tripped"]
    experiments.decide("test", "resume", arm="b", by="me", because="it was the network")
    experiments.look_at_guards()
    assert not experiments.last("test").standing.tripped  # what was known then does not take it out again


def test_guards_are_looked_at_as_time_goes_by(store):
    experiments = Experiments(store, analysed, refresh_s=0.01, guards_s=0.0)
    for _ in range(20):
        experiments.note("test", "b", seconds=0.1, refused=True)
    until(lambda: store.standing("test").tripped == {"b"})
    experiments.close()


def test_decisions_have_what_was_known(store, experiments):
    known = experiments.decide("test", "promote", arm="b", by="me", because="better")
    assert (known.standing.status, known.standing.winner) == ("promoted", "b")
    (decision,) = experiments.decisions("test")
    assert decision.known["advice"] == "keep" and decision.at_s > 1e9
    fail(experiments, "b")
    assert not experiments.last("test").standing.tripped  # its open sessions go on
    experiments.refresh()
    assert len(store.decisions("test")) == 1  # an experiment that has ended is not touched


def test_a_database_that_is_away_is_told(store, experiments):
    store.away = True
    with pytest.raises(Unavailable):
        experiments.find("other")
    assert experiments.find("test").experiment == made()  # what is known is enough
