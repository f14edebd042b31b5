"""Outcomes: followed and recorded once, whatever fails in between."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from lob_jax.serving.http.trials.sessions import REMEMBERED
from lob_jax.serving.requests import Busy, Late
from tests.serving.http.conftest import HISTORY
from tests.serving.http.trials.conftest import event, events


def kind(answer):
    return answer.status_code, answer.json()["type"].rpartition("/")[2]


def test_all_arms_score_the_events_of_a_paired_experiment(server):
    session = server.session()
    found = server.outcome(session, "first", events(0, 5))
    assert found.status_code == 200, found.text
    told = found.json()
    scores = told.pop("scores")
    assert told.pop("state")["events"] == 6
    wanted = {"experiment": "test", "unit": "u", "outcome": "first", "arm": "a", "events": 5, "first": 0}
    assert told == {**wanted, "recorded": "now"}
    assert scores["b"]["nats"] == pytest.approx(scores["a"]["nats"] + 0.1)
    assert scores["b"]["brier"] == scores["a"]["brier"]
    again = server.outcome(session, "second", events(5, 8)).json()
    assert (again["first"], again["state"]["events"]) == (5, 9)
    (_, kept), _ = server.store.outcomes
    assert kept.nats["b"] == pytest.approx(kept.nats["a"] + 0.1) and set(kept.seconds) == {"a", "b"}


def test_a_unit_of_a_split_experiment_is_scored_on_its_own_arm(server):
    answers = [server.opened(unit, "parted").json() for unit in ("odd", "even")]
    assert [(one["arm"], one["model"]) for one in answers] == [("a", "one"), ("b", "two")]
    told = [server.outcome(one["session"], "x", events(0, 3)).json() for one in answers]
    assert [list(one["scores"]) for one in told] == [["a"], ["b"]]


def test_an_outcome_that_is_sent_again_is_followed_and_recorded_once(server):
    session = server.session()
    first, second = (server.outcome(session, "x", events(0, 3)).json() for _ in range(2))
    assert (first.pop("recorded"), second.pop("recorded")) == ("now", "before")
    assert first.pop("state")["events"] == second.pop("state")["events"] == 4
    assert first == second and len(server.store.outcomes) == 1
    elsewhere = server.session()  # the client believes that the session is lost
    third = server.outcome(elsewhere, "x", events(0, 3)).json()
    assert (third["recorded"], third["state"]["events"], len(server.store.outcomes)) == ("before", 4, 1)


def test_duplicates_at_the_same_time_are_one(server):
    sessions = [server.session() for _ in range(2)]
    found = []

    def send(session):
        found.append(server.outcome(session, "x", events(0, 3)).json())

    threads = [threading.Thread(target=send, args=(session,)) for session in sessions * 4]
    server.stubs["one"].held.clear()
    for thread in threads:
        thread.start()
    limit = time.monotonic() + 30
    while server.service.rates._bucket("local").open < len(threads):  # all of them are there before one is answered
        assert time.monotonic() < limit
        time.sleep(0.01)
    server.stubs["one"].held.set()
    for thread in threads:
        thread.join()
    assert sorted(one["recorded"] for one in found) == ["before"] * 7 + ["now"]
    assert [server.look(session)["events"] for session in sessions] == [4, 4] and len(server.store.outcomes) == 1


def test_other_events_of_the_same_name_are_a_conflict(server):
    session = server.session()
    server.outcome(session, "x", events(0, 3))
    assert kind(server.outcome(session, "x", events(0, 4))) == (409, "conflict")
    assert kind(server.outcome(server.session(), "x", events(0, 4))) == (409, "conflict")
    assert server.look(session)["events"] == 4


def test_the_same_events_in_other_words_are_the_same(server):
    session, one = server.session(), event(0)
    server.outcome(session, "x", [one])
    other = {**one, "price": "585.000", "size": "10.0"}
    assert server.outcome(session, "x", [other]).json()["recorded"] == "before"


def test_a_database_that_is_away_changes_nothing(server):
    session = server.session()
    server.store.away = True
    answer = server.outcome(session, "x", events(0, 3))
    assert kind(answer) == (503, "unavailable") and answer.headers["Retry-After"] == "1"
    assert server.look(session)["events"] == 1
    server.store.away = False
    assert server.outcome(session, "x", events(0, 3)).json()["recorded"] == "now"


def fails_once(server, monkeypatch):
    """Let the database be away from the time at which the session has followed an outcome."""
    follow, trials = server.service.trials.follow, server.service.trials

    async def and_then(followed, asked):
        last = await follow(followed, asked)
        server.store.away = True
        return last

    monkeypatch.setattr(trials, "follow", and_then)


def test_what_was_followed_and_not_recorded_is_recorded_later_and_not_followed_again(server, monkeypatch):
    session = server.session()
    fails_once(server, monkeypatch)
    assert kind(server.outcome(session, "x", events(0, 3))) == (503, "unavailable")
    assert server.look(session)["events"] == 4
    assert kind(server.outcome(session, "y", events(3, 5))) == (503, "unavailable")  # in their order
    assert server.look(session)["events"] == 4
    monkeypatch.undo()
    server.store.away = False
    found = server.outcome(session, "x", events(0, 3)).json()
    assert (found["recorded"], found["state"]["events"]) == ("now", 4)
    assert [one.outcome for _, one in server.store.outcomes] == ["x"]


def test_what_is_left_over_is_recorded_before_the_next(server, monkeypatch):
    session = server.session()
    fails_once(server, monkeypatch)
    server.outcome(session, "x", events(0, 3))
    monkeypatch.undo()
    server.store.away = False
    assert server.outcome(session, "y", events(3, 5)).json()["first"] == 3
    assert [one.outcome for _, one in server.store.outcomes] == ["x", "y"]
    assert server.outcome(session, "x", events(0, 3)).json()["recorded"] == "before"


def test_fed_events_are_context_and_not_scored(server):
    session = server.session()
    assert server.client.post(f"/v1/sessions/{session}/events", json={"events": events(0, 4)}).is_success
    assert server.outcome(session, "x", events(4, 6)).json()["first"] == 0
    asked = server.stubs["one"].jobs[-2].request
    assert (asked.first, len(asked.history.events)) == (5, 7)
    assert [len(kept.nats["a"]) for _, kept in server.store.outcomes] == [2]


@pytest.mark.parametrize("which", ["one", "two"])
def test_an_arm_that_has_no_room_refuses_the_outcome_as_a_whole(server, which):
    session, stub = server.session(), server.stubs[which]
    stub.error = Busy("no room", retry_after_s=1.0)
    answer = server.outcome(session, "x", events(0, 3))
    stub.error = None
    assert kind(answer) == (503, "unavailable") and answer.headers["Retry-After"] == "1"
    assert server.look(session)["events"] == 1 and server.store.outcomes == []
    server.experiments.refresh()
    counts = server.store.requests["test"]
    arm = {"one": "a", "two": "b"}[which]
    assert {name: count.refused for name, count in counts.items()} == {"a": 0, "b": 0, arm: 1}
    assert server.outcome(session, "x", events(0, 3)).json()["recorded"] == "now"


def test_scores_are_bounded_and_never_nan(server, monkeypatch):
    scored = type(server.stubs["one"])._score

    def odd(self, asked):
        found = scored(self, asked)
        nats = (float("nan"), float("-inf"), -1e9, -2.0)
        return dataclasses.replace(found, nats=nats, brier=(float("nan"), 3.0, -1.0, 0.5))

    monkeypatch.setattr(type(server.stubs["one"]), "_score", odd)
    server.outcome(server.session(), "x", events(0, 4))
    ((_, kept),) = server.store.outcomes
    assert kept.nats["a"].tolist() == [-100.0, -100.0, -100.0, -2.0]
    assert kept.brier["a"].tolist() == [2.0, 2.0, 0.0, 0.5]


def test_an_arm_that_fails_is_taken_out_and_the_others_go_on(server, caplog):
    session = server.session()
    server.stubs["two"].error = ArithmeticError("broken")
    statuses = []
    for number in range(40):
        answer = server.outcome(session, f"x{number}", events(number, number + 1))
        statuses.append(answer.status_code)
        if answer.is_success:
            break
    assert statuses == [503] * 20 + [200] and set(answer.json()["scores"]) == {"a"}
    server.experiments.refresh()
    (decision,) = server.store.decisions("test")
    assert (decision.decision, decision.arm, decision.by) == ("trip", "b", "server")
    assert "20 of its last 20" in decision.because and "arms" in decision.known
    assert np.isfinite(server.store.outcomes[0][1].nats["a"]).all()


def test_a_unit_that_takes_no_part_is_followed_and_not_recorded(server):
    session = server.session("out")
    found = server.outcome(session, "x", events(0, 3)).json()
    assert (found["recorded"], found["first"], found["scores"], found["state"]["events"]) == ("not", None, {}, 4)
    again = server.outcome(session, "x", events(0, 3)).json()
    assert again["state"]["events"] == 4 and server.store.outcomes == []
    server.experiments.refresh()
    assert server.store.requests["test"] == {}


def test_an_experiment_that_has_ended_records_nothing_more(server):
    session = server.session()
    server.outcome(session, "x", events(0, 3))
    server.experiments.decide("test", "stop", arm="", by="me", because="enough")
    assert server.outcome(session, "y", events(3, 5)).json()["recorded"] == "not"
    assert server.outcome(session, "x", events(0, 3)).json()["recorded"] == "before"


def test_what_is_no_outcome_is_refused(server):
    session = server.session()
    assert kind(server.outcome(session, "x", [])) == (422, "invalid-request")
    assert kind(server.outcome(session, "x\n", events(0, 1))) == (422, "invalid-request")
    assert kind(server.outcome("one~none", "x", events(0, 1))) == (404, "unknown-session")
    plain = server.client.post("/v1/sessions", json={"history": HISTORY, "model": "one"}).json()["session"]
    assert kind(server.outcome(plain, "x", events(0, 1))) == (404, "unknown-session")
    wrong = server.outcome(session, "x", [event(0), {**event(1), "price": "x"}]).json()
    assert wrong["pointer"] == "/events/1/price"


def test_an_outcome_that_has_waited_for_one_that_ended_the_session_is_not_followed(server, monkeypatch):
    session, found = server.session(), []

    async def ends(followed, asked):
        followed.ended = "what it has followed is not known"
        raise Late("too late")

    monkeypatch.setattr(server.service.trials, "follow", ends)
    server.stubs["one"].held.clear()
    send = lambda name: found.append(kind(server.outcome(session, name, events(0, 3))))  # noqa: E731
    threads = [threading.Thread(target=send, args=(name,)) for name in "xy"]
    for thread in threads:
        thread.start()
    limit = time.monotonic() + 30
    while server.service.rates._bucket("local").open < len(threads):
        assert time.monotonic() < limit
        time.sleep(0.01)
    server.stubs["one"].held.set()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(404, "unknown-session"), (504, "late")]


def test_of_many_outcomes_the_oldest_are_forgotten(server):
    followed = server.service.trials.sessions.find(server.session(), "local")
    for number in range(REMEMBERED + 3):
        followed.remember(str(number), "")
    assert len(followed.done) == REMEMBERED and list(followed.done)[0] == "3"
