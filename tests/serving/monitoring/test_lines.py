"""The log: each line is JSON with the same names of fields, and none has a secret."""

import json
import logging
import time

import pytest
from websockets.sync.client import connect

from lob_jax.serving.http.keys import new_key
from lob_jax.serving.http.service import log
from lob_jax.serving.monitoring.lines import HIDDEN, Lines, message_line, request_line, without_secrets
from tests.serving.http.conftest import ADD, HISTORY

MARK = "585.3319"  # a price that bodies alone have
URL = "postgresql+psycopg://desk:s3cret/p@ss@db.example:5432/experiments"
REQUEST = {"time", "level", "event", "method", "route", "status", "seconds", "request_id", "key"}
MESSAGE = {"time", "level", "event", "message", "logger"}


def busy(running):
    """Ask for everything, with and without success."""
    client = running.client
    marked = {"opening": {**HISTORY["opening"], "bids": [[MARK, 100]]}, "events": []}
    session = client.post("/v1/sessions", json={"history": marked}).json()["session"]
    client.post(f"/v1/sessions/{session}/events", json={"events": [{**ADD, "price": MARK}]})
    client.post("/v1/predict", json={"history": marked, "wrong": MARK})
    client.post("/v1/predict?key=" + running.key, content=f'{{"history": {MARK}')
    client.get("/v1/models", headers={"Authorization": f"Bearer {new_key()}"})
    client.get("/nothing", headers={"X-Request-Id": "mine"})
    running.stub.error = RuntimeError(f"no connection to {URL} with {running.key}, Authorization: Bearer abc.def")
    for stream in (False, True):
        client.post("/v1/generate", json={"history": marked, "events": 1, "stream": stream})
    running.stub.error = None
    session = client.post("/v1/sessions", json={"history": marked}).json()["session"]
    url = f"{running.listening.url.replace('http', 'ws', 1)}/v1/sessions/{session}/live"
    with connect(url, additional_headers={"Authorization": f"Bearer {running.key}"}) as live:
        running.stub.error = ValueError(f"failed at {URL}")
        live.send(json.dumps({"id": 1, "predict": {}}))
        live.recv()
    running.stub.error = None
    return session


def test_a_busy_server_writes_lines_of_json_without_secrets(start, capsys, monkeypatch):
    monkeypatch.setattr(log, "propagate", False)
    running, handler = start(), Lines()
    log.addHandler(handler)
    try:
        session = busy(running)
    finally:
        log.removeHandler(handler)
    limit = time.monotonic() + 10
    while len(running.lines) < 10 and time.monotonic() < limit:
        time.sleep(0.01)
    told, messages = [json.loads(line) for line in running.lines], capsys.readouterr().err.splitlines()
    said = [json.loads(line) for line in messages]
    assert len(told) == 10 and all(set(line) == REQUEST and line["event"] == "request" for line in told)
    assert len(said) == 3 and all(set(line) == {*MESSAGE, "trace", "request_id"} for line in said)
    assert {line["request_id"] for line in said} <= {line["request_id"] for line in told}
    assert all("Traceback" in line["trace"] and HIDDEN in line["trace"] for line in said)
    text = "\n".join([*running.lines, *messages])
    for secret in (running.key, "s3cret", "p@ss", "abc.def", MARK, session, session.partition("~")[2]):
        assert secret not in text
    assert "db.example:5432/experiments" in text  # without it, nobody could repair anything


def test_a_line_of_a_request_has_the_time_at_which_it_ended():
    line = json.loads(
        request_line(method="GET", route="/v1/models", status=503, seconds=0.1234567, request_id="a", key="", at_s=1.5)
    )
    assert line["time"] == "1970-01-01T00:00:01.500Z"
    assert (line["level"], line["seconds"], line["key"]) == ("ERROR", 0.123457, "")


def test_a_message_without_a_failure_has_no_trace():
    record = logging.LogRecord("lob_jax.serving.x", logging.WARNING, "f", 1, "arm %s", ("new",), None)
    assert set(json.loads(message_line(record))) == MESSAGE


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (URL, f"postgresql+psycopg://desk:{HIDDEN}@db.example:5432/experiments"),
        ("see https://example.com/a and mail me@example.com", "see https://example.com/a and mail me@example.com"),
        ("Authorization: bearer abc", f"Authorization: bearer {HIDDEN}"),
        ("lob_jax.serving.lob_queued_requests", "lob_jax.serving.lob_queued_requests"),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_not(text, shown):
    assert without_secrets(text) == shown


def test_a_key_is_hidden():
    key = new_key()
    assert without_secrets(f"key {key}.") == f"key {HIDDEN}."
