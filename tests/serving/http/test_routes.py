"""The routes of /v1, of health and of metrics, on a real socket."""

import json

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.serving import requests
from lob_jax.serving.http import described
from lob_jax.serving.http.problems import KINDS
from lob_jax.serving.records import read_records
from lob_jax.serving.stub import StubServer, stub_facts
from lob_jax.serving.units import Units
from tests.serving.http.conftest import ADD, HISTORY, OPENING

MODELS = {
    "predict": described.Prediction,
    "generate": described.Generated,
    "forecast": described.Forecast,
    "score": described.Scored,
}


def frames(text):
    """Return the server-sent events of a stream: (name, content)."""
    found = []
    for block in text.split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if lines:
            name, data = lines
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_as_they_are_described(server, name):
    response = server.client.post(f"/v1/{name}", json={"history": HISTORY})
    assert response.status_code == 200 and response.headers["content-type"] == "application/json"
    MODELS[name].model_validate(response.json(), strict=True)


def test_the_engine_is_asked_what_the_client_asks(server):
    body = {"history": HISTORY, "paths": 2, "events": 3, "seed": 9, "temperature": 0.5, "top_k": 4, "top_p": 0.9}
    body |= {"min_p": 0.01, "limit_sizes": False, "by": "seconds", "until": 2.5, "quantiles": [0.1, 0.9]}
    found = server.client.post("/v1/forecast", json=body).json()
    asked = server.stub.jobs[-1].request
    assert (asked.by, asked.until, asked.quantiles, found["seed"]) == ("seconds", 2.5, (0.1, 0.9), 9)
    sampling = asked.sampling
    assert (sampling.paths, sampling.events, sampling.seed, sampling.temperature) == (2, 3, 9, 0.5)
    assert (sampling.truncation.top_k, sampling.truncation.top_p, sampling.truncation.min_p) == (4, 0.9, 0.01)
    assert sampling.limit_sizes is False
    market = asked.market
    assert market.events.price.tolist() == [5_853_300] and market.book.price.tolist() == [5_853_300, 5_853_400]
    moves = {"paths": 3, "events": 4, "seed": 5}
    server.client.post("/v1/predict", json={"history": HISTORY, "heads": 1, "most": 1, "moves": moves})
    asked = server.stub.jobs[-1].request
    assert (asked.heads, asked.most, asked.moves) == (1, 1, requests.Moves(3, 4, 5))


def test_events_are_scored_from_the_first_that_is_asked_for(server):
    history = {"opening": OPENING, "events": [ADD, {"kind": "level", "side": "bid", "price": 1, "size": 1}, ADD, ADD]}
    found = [server.client.post("/v1/score", json={"history": history, "first": first}).json() for first in (0, 2)]
    assert server.stub.jobs[-1].request.first == 2 and len(found[0]["nats"]) == 3
    for name in set(found[0]) - {"model", "seconds"}:
        assert found[1][name] == found[0][name][2:]
    refused = server.client.post("/v1/score", json={"history": history, "first": 3})
    assert (refused.status_code, refused.json()["was"]) == (422, "3")


def test_a_stream_has_the_events_of_the_whole_answer(server):
    body = {"history": HISTORY, "paths": 3, "events": 40, "seed": 7}
    whole = server.client.post("/v1/generate", json=body).json()
    streamed = server.client.post("/v1/generate", json={**body, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.headers["cache-control"] == "no-store"
    *events, (name, done) = frames(streamed.text)
    assert (name, done["events"], done["seed"], done["model"]) == ("done", 120, 7, "stub")
    assert {kind for kind, _ in events} == {"event"}
    for path in whole["paths"]:
        parts = [content for _, content in events if content["path"] == path["path"]]
        assert [part["number"] for part in parts] == [*range(40)]
        assert [record for part in parts for record in part["records"]] == path["events"]
        assert any(record["kind"] == "level" for record in path["events"])
    assert whole["seed"] == 7 and len(whole["paths"]) == 3


def test_what_is_generated_can_be_sent_back(server):
    whole = server.client.post("/v1/generate", json={"history": HISTORY, "events": 50, "seed": 1}).json()
    records = whole["paths"][0]["events"]
    read = read_records(records, Units.of(stub_facts().instrument))
    assert len(read.events) == 50 and len(read.corrections) == len(records) - 50 > 0
    session = server.opened()
    state = server.client.post(f"/v1/sessions/{session}/events", json={"events": records})
    assert state.json()["events"] == 51
    np.testing.assert_array_equal(server.stub.jobs[-1].request.events.price, read.events.price)


def test_a_seed_that_is_left_out_is_drawn_and_told(server):
    seeds = {server.client.post("/v1/generate", json={"history": HISTORY, "events": 1}).json()["seed"] for _ in "ab"}
    assert len(seeds) == 2


def test_a_session_lives_from_post_to_delete(server):
    opened = server.client.post("/v1/sessions", json={"history": HISTORY})
    state = opened.json()
    described.SessionState.model_validate(state, strict=True)
    path = f"/v1/sessions/{state['session']}"
    assert (opened.status_code, opened.headers["location"], state["events"]) == (201, path, 1)
    fed = server.client.post(f"{path}/events", json={"events": [{**ADD, "time": 5}]}).json()
    assert (fed["events"], fed["time"]) == (2, "1970-01-01T00:00:00.000000005Z")
    assert server.client.get(path).json() == fed
    answer = server.client.post("/v1/predict", json={"session": state["session"]})
    assert answer.status_code == 200 and server.stub.jobs[-1].request.market.owner == "local"
    assert server.client.delete(path).json()["events"] == 2
    for gone in (server.client.get(path), server.client.delete(path)):
        assert (gone.status_code, gone.json()["type"]) == (404, "/problems/unknown-session")
    answer = server.client.post("/v1/generate", json={"session": state["session"], "events": 1})
    assert answer.status_code == 404


def test_models_are_named_by_the_server(start):
    one, two = StubServer(stub_facts("inner")), StubServer(stub_facts("inner"))
    running = start(one, servers={"one": one, "two": two})
    assert [model["name"] for model in running.client.get("/v1/models").json()["models"]] == ["one", "two"]
    described.Models.model_validate(running.client.get("/v1/models").json(), strict=True)
    card = running.client.get("/v1/models/two").json()
    described.ModelWithCard.model_validate(card, strict=True)
    assert (card["name"], card["card"]) == ("two", {"about": "a stub"})
    for body in ({}, {"model": "three"}, {"model": "../one"}):
        refused = running.client.post("/v1/predict", json={"history": HISTORY, **body})
        assert (refused.status_code, refused.json()["type"]) == (404, "/problems/unknown-model")
    session = running.client.post("/v1/sessions", json={"history": HISTORY, "model": "two"}).json()["session"]
    assert (len(one.jobs), len(two.jobs)) == (0, 1)
    assert running.client.post("/v1/predict", json={"session": session}).json()["model"] == "two"
    assert running.client.post("/v1/predict", json={"session": session, "model": "one"}).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models/%2e%2e", "/v1/models/%00", "/v1/models/", "/v1/models/a/b"),
        *(
            "/v1/sessions/..%2fx",
            "/v1/sessions/stub~",
            "/v1/sessions/x~y",
            "/v1/sessions/stub",
            "/problems/..%2fapp.py",
        ),
        *("/v2/models/%2e%2e/ready", "/v1/predict/", "//v1/models", "/V1/models"),
    ],
)
def test_paths_lead_nowhere_else(server, path):
    assert server.client.get(path).status_code == 404


PREDICT = {"history": HISTORY}


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("predict", {}, ""),
        ("predict", {"history": HISTORY, "session": "stub~x"}, ""),
        ("predict", {"history": HISTORY, "more": 1}, "/more"),
        ("predict", {"history": HISTORY, "moves": {"paths": 257, "events": 1}}, "/moves/paths"),
        (
            "predict",
            {"history": {"opening": OPENING, "events": [{**ADD, "price": "1.00001"}]}},
            "/history/events/0/price",
        ),
        ("predict", {"history": {"opening": {**OPENING, "bids": [[1]]}}}, "/history/opening/bids/0"),
        ("predict", {"history": {"opening": OPENING, "events": [ADD] * 5001}}, "/history/events"),
        ("predict", {"history": {"opening": {**OPENING, "bids": [[1, 1]] * 20_000}}}, "/history/opening"),
        ("generate", {**PREDICT, "paths": 257}, "/paths"),
        ("generate", {**PREDICT, "events": 1001}, "/events"),
        ("generate", {**PREDICT, "paths": 256, "events": 1000}, ""),
        ("generate", {**PREDICT, "temperature": -1}, "/temperature"),
        ("generate", {**PREDICT, "temperature": 1e-9}, "/temperature"),
        ("generate", {**PREDICT, "top_p": 0.0}, "/top_p"),
        ("generate", {**PREDICT, "seed": -1}, "/seed"),
        ("forecast", {**PREDICT, "quantiles": [0.9, 0.1]}, "/quantiles"),
        ("forecast", {**PREDICT, "quantiles": [1.5]}, "/quantiles/0"),
        ("forecast", {**PREDICT, "by": "years"}, "/by"),
        ("score", {"session": "stub~x"}, "/history"),
        ("score", {"history": HISTORY, "first": -1}, "/first"),
        ("score", {"history": HISTORY, "first": 1}, "/first"),
        ("sessions", {"history": {"opening": {}}}, "/history/opening/time"),
    ],
)
def test_an_invalid_request_is_named_by_its_place(server, path, body, pointer):
    before = len(server.stub.jobs)
    refused = server.client.post(f"/v1/{path}", json=body)
    problem = refused.json()
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert (problem["type"], problem["pointer"]) == ("/problems/invalid-request", pointer)
    described.Problem.model_validate(problem)
    assert len(server.stub.jobs) == before


def test_an_event_that_contradicts_the_book_is_named_by_its_record(start):
    running = start()
    session = running.opened()
    running.stub.error = InputError("there is no such order", where="event", expected="one", was="none", remedy="look")
    running.stub.error.event = 1
    level = {"kind": "level", "side": "bid", "price": 1, "size": 1}
    events = [ADD, level, {**ADD, "kind": "delete"}]
    refused = running.client.post(f"/v1/sessions/{session}/events", json={"events": events})
    assert (refused.status_code, refused.json()["pointer"]) == (409, "/events/2")
    history = {"opening": OPENING, "events": events}
    for path in ("predict", "generate", "score", "forecast", "sessions"):
        refused = running.client.post(f"/v1/{path}", json={"history": history})
        assert (refused.status_code, refused.json()["pointer"]) == (409, "/history/events/2")
    streamed = running.client.post("/v1/generate", json={"history": history, "stream": True})
    ((name, problem),) = frames(streamed.text)
    assert (name, problem["pointer"], problem["status"]) == ("error", "/history/events/2", 409)


def test_a_deadline_that_has_passed_is_told(start):
    running = start()
    running.stub.held.clear()
    late = running.client.post("/v1/predict", json={"history": HISTORY, "deadline_s": 0.05})
    assert (late.status_code, late.json()["type"]) == (504, "/problems/late")


def test_health_follows_the_engine(start):
    running = start()
    for path in ("/health/ready", "/v2/health/ready", "/v2/models/stub/ready"):
        for ready, status in ((True, 200), (False, 503)):
            running.stub.ready = ready
            found = running.client.get(path)
            assert (found.status_code, found.json()["ready"]) == (status, ready)
    assert running.client.get("/health/live").json() == {"live": True}


def test_the_kinds_of_problems_are_described(server):
    for name, kind in KINDS.items():
        found = server.client.get(f"/problems/{name}").json()
        assert (found["type"], found["status"]) == (f"/problems/{name}", kind.status)
    assert server.client.get("/problems/none").status_code == 404


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/predict"), ("PUT", "/v1/models"), ("OPTIONS", "/metrics")])
def test_other_methods_are_refused(server, method, path):
    refused = server.client.request(method, path)
    assert (refused.status_code, refused.json()["type"]) == (405, "/problems/method-not-allowed")
    assert "allow" in refused.headers
