"""What every request passes: keys, ids, limits, errors and the log."""

import json
import time

import httpx
import pytest

from lob_jax.serving.http.gate import OPEN
from lob_jax.serving.http.keys import KeysFile, add, revoke
from lob_jax.serving.stub import StubServer
from tests.serving.http.conftest import HISTORY

ROUTES = [
    *(("POST", f"/v1/{name}") for name in ("predict", "generate", "forecast", "score", "sessions")),
    *(("GET", path) for path in ("/v1/models", "/v1/models/stub", "/v1/sessions/x", "/metrics", "/openapi.json")),
    *(("GET", path) for path in ("/v2", "/v2/models/stub", "/v2/models/stub/ready", "/problems/busy", "/nothing")),
    ("POST", "/v2/models/stub/infer"),
    ("DELETE", "/v1/sessions/x"),
    ("POST", "/v1/sessions/x/events"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_needs_a_key(server, method, path):
    refused = httpx.request(method, server.listening.url + path)
    assert (refused.status_code, refused.json()["type"]) == (401, "/problems/unauthorized")
    assert refused.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", sorted(OPEN))
def test_health_needs_none(server, path):
    assert httpx.get(server.listening.url + path).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Basic {key}", "Bearer x{key}", "Bearer {key}x", "{key}"])
def test_other_headers_are_no_key(server, header):
    headers = {"Authorization": header.format(key=server.key)}
    assert httpx.get(server.listening.url + "/v1/models", headers=headers).status_code == 401


def test_two_headers_are_no_key(server):
    headers = [("Authorization", f"Bearer {server.key}"), ("Authorization", f"Bearer {server.key}")]
    assert httpx.get(server.listening.url + "/v1/models", headers=headers).status_code == 401


def test_a_key_is_revoked_without_a_restart(start, tmp_path):
    file = tmp_path / "keys.json"
    alice, bob = add(file, "alice"), add(file, "bob")
    running = start(keys=KeysFile(file, look_s=0.0), key=alice)
    assert running.client.get("/v1/models").status_code == 200
    revoke(file, "alice")
    assert running.client.get("/v1/models").status_code == 401
    other = {"Authorization": f"Bearer {bob}"}
    assert running.client.get("/v1/models", headers=other).status_code == 200


def test_sessions_of_other_keys_do_not_exist(start, tmp_path):
    file = tmp_path / "keys.json"
    alice, bob = add(file, "alice"), add(file, "bob")
    running = start(keys=KeysFile(file), key=alice)
    session = running.opened()
    for key, status in ((alice, 200), (bob, 404)):
        headers = {"Authorization": f"Bearer {key}"}
        assert running.client.get(f"/v1/sessions/{session}", headers=headers).status_code == status


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2_3", True), ("a" * 65, False), ("a b", False), ("", False)])
def test_every_response_has_the_id_of_its_request(server, given, kept):
    for path in ("/health/live", "/v1/models", "/nothing"):
        response = server.client.get(path, headers={"X-Request-Id": given})
        found = response.headers["x-request-id"]
        assert (found == given) == kept and found
        if response.status_code >= 400:
            assert response.json()["request_id"] == found


def test_a_failure_tells_a_client_its_id_and_the_log_the_rest(start, caplog):
    running = start()
    running.stub.error = RuntimeError("secret of /srv/model")
    for stream in (False, True):
        response = running.client.post("/v1/generate", json={"history": HISTORY, "events": 1, "stream": stream})
        assert response.status_code == (200 if stream else 500)
        text = response.text
        assert "secret" not in text and "Traceback" not in text and "/srv" not in text and ".py" not in text
        assert response.headers["x-request-id"] in text and "/problems/failed" in text
        assert response.headers["x-request-id"] in caplog.text and "secret of /srv/model" in caplog.text
        caplog.clear()


def test_too_many_requests_wait(start):
    running = start(rate_per_s=0.01, burst=2)
    assert [running.client.get("/v1/models").status_code for _ in range(3)] == [200, 200, 429]
    refused = running.client.get("/v1/models")
    assert refused.json()["type"] == "/problems/too-many-requests" and 90 <= int(refused.headers["retry-after"]) <= 100
    assert running.client.get("/health/ready").status_code == 200


def test_a_key_has_so_many_open_requests(start):
    running = start(streams=1)
    running.stub.held.clear()
    body = {"history": HISTORY, "events": 1, "stream": True}
    with running.client.stream("POST", "/v1/generate", json=body) as first:
        assert first.status_code == 200
        refused = running.client.post("/v1/predict", json={"history": HISTORY})
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-requests")
        running.stub.held.set()
        first.read()
    assert running.client.post("/v1/predict", json={"history": HISTORY}).status_code == 200


def test_a_full_engine_says_when_to_come_back(start):
    running = start(StubServer(most_jobs=0))
    refused = running.client.post("/v1/predict", json={"history": HISTORY})
    assert (refused.status_code, refused.json()["type"], refused.headers["retry-after"]) == (429, "/problems/busy", "1")


def test_a_line_says_who_asked_what_and_nothing_secret(server):
    server.lines.clear()
    headers = {"X-Request-Id": "line-1"}
    server.client.get("/v1/sessions/secret-session?secret=1", headers=headers)
    limit = time.monotonic() + 10
    while not server.lines and time.monotonic() < limit:
        time.sleep(0.01)
    line = json.loads(server.lines[0])
    assert {key: line[key] for key in ("method", "route", "status", "request_id", "key")} == {
        "method": "GET",
        "route": "/v1/sessions/{session_id}",
        "status": 404,
        "request_id": "line-1",
        "key": "local",
    }
    assert 0 <= line["seconds"] < 60 and "secret" not in server.lines[0] and server.key not in server.lines[0]
