"""Experiments over HTTP: what is listed, created and decided, and by whom."""

import threading

import pytest

from lob_jax.serving.http.trials import database
from tests.serving.experiments.memory import MemoryStore, made
from tests.serving.http.trials.conftest import serving
from tests.serving.http.trials.test_outcomes import kind

NEW = {"name": "new", "design": "split", "arms": [{"name": "a", "model": "one"}, {"name": "b", "model": "two"}]}


def decide(server, name="test", **body):
    return server.client.post(f"/v1/experiments/{name}/decisions", json={"because": "why", **body})


def test_experiments_are_listed_with_their_standings(server):
    found = server.client.get("/v1/experiments").json()["experiments"]
    assert [one["experiment"]["name"] for one in found] == ["test", "parted"]
    assert found[0]["standing"] == {"status": "running", "winner": "a", "tripped": []}
    server.store.create(made("elsewhere"))
    assert len(server.client.get("/v1/experiments").json()["experiments"]) == 3


def test_an_experiment_is_told_with_its_analysis_and_decisions(server):
    found = server.client.get("/v1/experiments/test").json()
    assert found["analysis"]["advice"] == "keep" and found["decisions"] == []
    assert found["analysis"]["arms"]["b"]["nats"] == {"mean": None, "low": None, "high": None}
    for name in ("none", "%00", "a%2Fb", "a" * 101):
        assert kind(server.client.get(f"/v1/experiments/{name}"))[0] == 404


def test_an_experiment_is_created_once(server):
    first = server.client.post("/v1/experiments", json=NEW)
    assert first.status_code == 201 and first.headers["Location"] == "/v1/experiments/new"
    told = first.json()["experiment"]
    assert told["block"] == 200 and told["created_s"] > 1e9 and len(told["salt"]) == 32
    assert server.client.post("/v1/experiments", json=NEW).json() == first.json()
    assert kind(server.client.post("/v1/experiments", json={**NEW, "block": 300})) == (409, "conflict")
    assert server.opened("even", "new").json()["arm"] == "b"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"arms": NEW["arms"][:1]}, 422),
        ({"arms": [NEW["arms"][0], {"name": "a", "model": "two"}]}, 422),
        ({"arms": [NEW["arms"][0], {"name": "b", "model": "three"}]}, 404),
        ({"gap": 200}, 422),
        ({"name": "a b"}, 422),
        ({"design": "crossed"}, 422),
        ({"ramp": [{"after_s": 1, "share": 0.5}, {"after_s": 2, "share": 0.1}]}, 422),
        ({"salt": "\u0000"}, 422),
        ({"guards": {"slow": 1}}, 422),
        ({"more": 1}, 422),
    ],
)
def test_what_is_no_experiment_is_refused(server, changes, status):
    assert server.client.post("/v1/experiments", json={**NEW, **changes}).status_code == status


def test_decisions_take_effect_and_are_told(server):
    answer = decide(server, decision="promote", arm="b")
    assert answer.status_code == 201 and answer.json()["standing"]["winner"] == "b"
    (told,) = server.client.get("/v1/experiments/test").json()["decisions"]
    assert (told["decision"], told["arm"], told["by"], told["because"]) == ("promote", "b", "local", "why")
    assert told["known"]["advice"] == "keep"


@pytest.mark.parametrize(
    "body",
    [
        {"decision": "promote"},
        {"decision": "promote", "arm": "c"},
        {"decision": "stop", "arm": "b"},
        {"decision": "keep", "arm": "c"},
        {"decision": "resume"},
        {"decision": "trip", "arm": "b"},
        {"decision": "stop", "because": ""},
        {"decision": "stop", "because": "\u0000"},
    ],
)
def test_what_is_no_decision_is_refused(server, body):
    assert kind(decide(server, **body)) == (422, "invalid-request")
    assert server.store.decisions("test") == ()


def test_decisions_about_nothing_are_refused(server):
    assert kind(decide(server, "none", decision="stop")) == (404, "unknown-experiment")


def test_only_operators_create_and_decide():
    store = MemoryStore()
    store.create(made())
    with serving(store, operators=("desk",)) as server:
        assert kind(server.client.post("/v1/experiments", json=NEW)) == (403, "forbidden")
        assert kind(decide(server, decision="stop")) == (403, "forbidden")
        assert server.client.get("/v1/experiments/test").is_success
    assert len(store.experiments()) == 1 and store.standing("test").status == "running"


def test_a_database_that_does_not_answer_in_time_is_told(server, monkeypatch):
    monkeypatch.setattr(database, "DATABASE_S", 0.05)
    answers = threading.Event()
    monkeypatch.setattr(server.store, "experiments", lambda: answers.wait(5) and ())
    answer = server.client.get("/v1/experiments")
    answers.set()
    assert kind(answer) == (503, "unavailable") and answer.headers["Retry-After"] == "1"


def test_the_routes_are_described_where_they_are(server, start):
    with_them = server.client.get("/openapi.json").json()
    without = start().client.get("/openapi.json").json()
    more = set(with_them["paths"]) - set(without["paths"])
    assert more == {"/v1/outcomes", "/v1/experiments", "/v1/experiments/{name}", "/v1/experiments/{name}/decisions"}
    assert {"OutcomeAsked", "OutcomeKept", "ExperimentResults"} <= set(with_them["components"]["schemas"])
    assert "OutcomeAsked" not in without["components"]["schemas"]
