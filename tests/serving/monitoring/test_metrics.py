"""Metrics: counted by route, and what the engines say."""

import re

from prometheus_client.parser import text_string_to_metric_families

from lob_jax.serving.stub import StubServer
from tests.serving.http.conftest import HISTORY


def read(running):
    """Return the metrics by name and labels."""
    text = running.client.get("/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}


def test_requests_are_counted_by_the_template_of_their_route(start):
    running = start()
    session = running.opened()
    for _ in range(3):
        running.client.get(f"/v1/sessions/{session}")
    running.client.get("/v1/sessions/other")
    running.client.request("PATCH", "/nothing")
    found = read(running)

    def count(route, method, status):
        return found["lob_http_requests_total", ("method", method), ("route", route), ("status", status)]

    assert count("/v1/sessions/{session_id}", "GET", "200") == 3
    assert count("/v1/sessions/{session_id}", "GET", "404") == 1
    assert count("none", "OTHER", "404") == 1
    assert not any(session in str(labels) for labels in found)
    assert found["lob_http_requests_in_progress",] == 1  # this one
    assert found["lob_http_request_duration_seconds_count", ("method", "POST"), ("route", "/v1/sessions")] == 1


def test_engines_and_streams_are_measured(start):
    one = StubServer()
    running = start(one, servers={"one": one, "two": StubServer()})
    body = {"history": HISTORY, "model": "one", "paths": 2, "events": 5, "stream": True}
    running.client.post("/v1/generate", json=body)
    running.client.post("/v1/sessions", json={"history": HISTORY, "model": "two"})
    found = read(running)
    for name, values in {"lob_events_total": (10, 0), "lob_tokens_total": (50, 0), "lob_sessions": (0, 1)}.items():
        assert (found[name, ("model", "one")], found[name, ("model", "two")]) == values
    assert found["lob_ready", ("model", "one")] == 1 and found["lob_first_event_seconds_count",] == 1


def test_names_have_base_units(server):
    for family in text_string_to_metric_families(server.client.get("/metrics").text):
        assert re.fullmatch(r"lob_[a-z_]+", family.name) and family.documentation.endswith(".")
        assert not re.search(r"_(ms|milliseconds|minutes|kb)\b", family.name)
