"""Sessions of units: which model they get, what counts for their arm, and where they end."""

import json

import pytest
from websockets.sync.client import connect

from lob_jax.serving.requests import Late
from lob_jax.serving.stub import StubServer, stub_facts
from tests.serving.experiments.memory import MemoryStore, made
from tests.serving.http.conftest import HISTORY, OPENING
from tests.serving.http.trials.conftest import events, serving
from tests.serving.http.trials.test_outcomes import kind


def counted(server, experiment="test"):
    server.experiments.refresh()
    return server.store.requests[experiment]


def test_a_unit_gets_the_model_of_its_arm_and_keeps_it(server):
    found = server.opened("even", "parted")
    assert found.status_code == 201 and found.headers["Location"].endswith(found.json()["session"])
    told = found.json()
    assert {name: told[name] for name in ("experiment", "unit", "arm", "model", "events")} == {
        "experiment": "parted", "unit": "even", "arm": "b", "model": "two", "events": 1,
    }  # fmt: skip
    assert server.opened("even", "parted").json()["arm"] == "b"
    assert "arm" not in server.look(told["session"])


def test_a_unit_without_a_name_gets_one(server):
    units = {server.opened(None).json()["unit"] for _ in range(2)}
    assert len(units) == 2 and all(len(unit) == 16 for unit in units)


@pytest.mark.parametrize(
    ("fields", "status", "name"),
    [
        ({"experiment": "none"}, 404, "unknown-experiment"),
        ({"experiment": "\u0000"}, 404, "unknown-experiment"),
        ({"experiment": "test", "unit": ""}, 422, "invalid-request"),
        ({"experiment": "test", "unit": "a" * 201}, 422, "invalid-request"),
        ({"experiment": "test", "unit": "a\u0000"}, 422, "invalid-request"),
        ({"experiment": "test", "unit": "a", "model": "one"}, 422, "invalid-request"),
        ({"unit": "a", "model": "one"}, 422, "invalid-request"),
        ({"unit": "a"}, 422, "invalid-request"),
    ],
)
def test_what_names_no_unit_is_refused(server, fields, status, name):
    assert kind(server.client.post("/v1/sessions", json={"history": HISTORY, **fields})) == (status, name)


def test_a_server_without_experiments_says_so(start):
    answer = start().client.post("/v1/sessions", json={"history": HISTORY, "experiment": "test"})
    assert kind(answer) == (404, "unknown-experiment")


def test_when_it_has_ended_units_get_the_winner_or_the_control(server):
    server.experiments.decide("parted", "promote", arm="b", by="me", because="better")
    assert [server.opened(unit, "parted").json()["arm"] for unit in ("odd", "even", None)] == ["b"] * 3
    server.experiments.decide("test", "stop", arm="", by="me", because="enough")
    assert server.opened().json()["arm"] == "a"


def test_all_requests_of_a_session_count_for_its_arm(server):
    session = server.session("even", "parted")
    server.client.post(f"/v1/sessions/{session}/events", json={"events": events(0, 2)})
    for path, body in (
        ("/v1/predict", {}),
        ("/v1/generate", {"paths": 1, "events": 2}),
        ("/v1/generate", {"paths": 1, "events": 2, "stream": True}),
        ("/v1/forecast", {"paths": 1, "events": 2}),
    ):
        assert server.client.post(path, json={"session": session, **body}).is_success
    server.client.get(f"/v1/sessions/{session}")
    server.client.post("/v1/predict", json={"session": session, "heads": -1})  # the client's own fault
    found = counted(server, "parted")
    assert set(found) == {"b"} and found["b"].answered == 7 and found["b"].seconds > 0
    server.outcome(session, "x", events(2, 3))
    assert counted(server, "parted")["b"].answered == 8


def test_failures_and_refusals_count_and_what_the_client_hurries_does_not(server):
    session = server.session("even", "parted")
    server.stubs["two"].error = ArithmeticError("broken")
    assert server.client.get(f"/v1/sessions/{session}").status_code == 500
    server.stubs["two"].error = Late("too late")
    for body in ({}, {"deadline_s": 1.0}):
        assert server.client.post("/v1/predict", json={"session": session, **body}).status_code == 504
    found = counted(server, "parted")["b"]
    assert (found.answered, found.failed, found.refused) == (3, 1, 1)
    assert set(counted(server, "parted")) == {"b"}


def test_a_session_of_no_unit_counts_for_nothing(server):
    session = server.client.post("/v1/sessions", json={"history": HISTORY, "model": "one"}).json()["session"]
    server.client.get(f"/v1/sessions/{session}")
    assert counted(server) == {} and counted(server, "parted") == {}


def test_a_session_of_an_arm_that_was_taken_out_ends_and_its_unit_goes_to_the_control(server):
    session, other = server.session("even", "parted"), server.session("odd", "parted")
    server.store.decide("parted", decision("trip", "b"))
    server.experiments.refresh()
    assert kind(server.client.get(f"/v1/sessions/{session}")) == (404, "unknown-session")
    assert kind(server.outcome(session, "x", events(0, 1))) == (404, "unknown-session")
    assert server.client.get(f"/v1/sessions/{other}").is_success
    found = server.opened("even", "parted").json()
    assert (found["arm"], found["model"]) == ("a", "one")
    assert server.outcome(found["session"], "x", events(0, 1)).json()["recorded"] == "not"
    server.experiments.decide("parted", "resume", arm="b", by="me", because="repaired")
    assert server.opened("even", "parted").json()["arm"] == "b"


def decision(name, arm=""):
    from lob_jax.serving.experiments.results import Decision

    return Decision(name, arm, "me", "why", 1.0, {})


def live(server, session):
    url = f"{server.url.replace('http', 'ws', 1)}/v1/sessions/{session}/live"
    return connect(url, additional_headers={"Authorization": f"Bearer {server.key}"})


def test_events_of_a_socket_are_context_and_count(server):
    session = server.session("even", "parted")
    with live(server, session) as socket:
        socket.send(json.dumps({"id": 1, "events": events(0, 3)}))
        assert json.loads(socket.recv())["state"]["events"] == 4
        socket.send(json.dumps({"id": 2, "predict": {}}))
        assert "prediction" in json.loads(socket.recv())
        server.outcome(session, "x", events(3, 4))
        assert server.stubs["two"].jobs[-2].request.first == 4
        server.stubs["two"].error = ArithmeticError("broken")
        socket.send(json.dumps({"id": 3, "predict": {}}))
        assert json.loads(socket.recv())["problem"]["status"] == 500
        server.stubs["two"].error = None
        server.store.decide("parted", decision("trip", "b"))
        server.experiments.refresh()
        socket.send(json.dumps({"id": 4, "events": events(4, 5)}))
        assert json.loads(socket.recv())["problem"]["type"] == "/problems/unknown-session"
    found = counted(server, "parted")["b"]
    assert (found.answered, found.failed) == (5, 1)  # opened, three messages, an outcome


def test_what_a_refused_feed_has_followed_is_known(server, monkeypatch):
    """An engine may say that it is late after it has followed."""
    session, feed = server.session(), StubServer._feed

    def late(self, asked):
        feed(self, asked)
        raise Late("too late")

    monkeypatch.setattr(StubServer, "_feed", late)
    found = server.outcome(session, "x", events(0, 3)).json()
    assert (found["recorded"], found["state"]["events"]) == ("now", 4)
    monkeypatch.setattr(StubServer, "_feed", lambda self, asked: (_ for _ in ()).throw(Late("too late")))
    assert server.outcome(session, "y", events(3, 5)).status_code == 504
    monkeypatch.undo()
    assert server.outcome(session, "y", events(3, 5)).json()["state"]["events"] == 6
    assert server.stubs["one"].jobs[-2].request.first == 4


def test_corrections_that_may_have_been_followed_end_the_session(server, monkeypatch):
    session = server.session()
    monkeypatch.setattr(StubServer, "_feed", lambda self, asked: (_ for _ in ()).throw(Late("too late")))
    level = {"kind": "level", "side": "bid", "price": "585.33", "size": 1}
    assert server.client.post(f"/v1/sessions/{session}/events", json={"events": [level]}).status_code == 504
    assert kind(server.client.get(f"/v1/sessions/{session}")) == (404, "unknown-session")


def test_what_a_feed_has_followed_before_it_failed_is_known(server, monkeypatch):
    session, feed = server.session(), StubServer._feed

    def fails(self, asked):
        feed(self, asked)
        raise RuntimeError("the network has failed")

    monkeypatch.setattr(StubServer, "_feed", fails)
    assert server.outcome(session, "x", events(0, 3)).json()["state"]["events"] == 4
    monkeypatch.undo()
    assert server.outcome(session, "x", events(0, 3)).json()["state"]["events"] == 4  # and not twice
    assert server.outcome(session, "y", events(3, 5)).json()["first"] == 3


def test_of_a_session_that_its_client_has_closed_no_past_is_kept(server):
    session = server.session()
    followed = server.service.trials.sessions.find(session, "local")
    server.outcome(session, "x", events(0, 3))
    assert followed.tail is not None and followed.done
    assert server.client.delete(f"/v1/sessions/{session}").is_success
    assert followed.tail is None and not followed.done
    assert kind(server.client.get(f"/v1/sessions/{session}")) == (404, "unknown-session")
    assert counted(server, "test")["a"].answered == 3  # opened, an outcome, closed


def test_sessions_that_have_ended_are_forgotten(server, monkeypatch):
    sessions, session = server.service.trials.sessions, server.session()
    followed = sessions.find(session, "local")
    followed.used -= followed.idle_s + 61
    sessions._swept -= 61
    server.session("other")
    assert sessions.find(session, "local") is None
    closed = server.session()
    server.client.delete(f"/v1/sessions/{closed}")
    assert kind(server.outcome(closed, "x", events(0, 1))) == (404, "unknown-session")


def test_sessions_are_their_owners(server):
    followed = server.service.trials.sessions.find(server.session(), "local")
    followed.owner = "somebody else"
    assert kind(server.outcome(followed.session, "x", events(0, 1))) == (404, "unknown-session")


def test_what_other_keys_ask_of_a_session_changes_nothing(server, monkeypatch):
    session, client = server.session(), server.client
    with monkeypatch.context() as other:
        other.setattr(server.service.keys, "_name", "other")
        asked = [
            client.post(f"/v1/sessions/{session}/events", json={"events": events(0, 1)}),
            client.get(f"/v1/sessions/{session}"),
            client.post("/v1/predict", json={"session": session}),
            server.outcome(session, "x", events(0, 3)),
            client.delete(f"/v1/sessions/{session}"),
        ]
    assert [kind(answer) for answer in asked] == [(404, "unknown-session")] * 5
    found = server.outcome(session, "x", events(0, 3)).json()
    assert (found["recorded"], found["state"]["events"]) == ("now", 4)
    assert counted(server)["a"].answered == 2  # opened, an outcome


def test_models_that_read_other_markets_are_no_arms():
    store = MemoryStore()
    store.create(made())
    store.create(made("lacking", arms=made().arms[:1] + (made().arms[1].__class__("c", "three"),)))
    with serving(store, two=StubServer(stub_facts("two", window=5))) as server:
        assert kind(server.opened()) == (422, "invalid-request")
        assert kind(server.opened("u", "lacking")) == (404, "unknown-model")
        assert server.client.post("/v1/sessions", json={"history": {"opening": OPENING}, "model": "two"}).is_success
