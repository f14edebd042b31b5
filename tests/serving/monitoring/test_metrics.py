"""Metrics: counted by route, and what the engines say."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lob_jax.serving.monitoring.metrics import Metrics
from lob_jax.serving.stub import StubServer
from tests.serving.http.conftest import HISTORY
from tests.serving.monitoring.reading import samples


def read(running):
    """Return the metrics by name and labels."""
    return samples(running.client.get("/metrics").text)


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


@pytest.mark.parametrize(("own", "limit", "counted"), [(0.05, 5.0, "499"), (None, 0.05, "504"), (5.0, 0.05, "504")])
def test_only_deadlines_of_the_server_count_as_its_failures(start, own, limit, counted):
    running = start(deadline_s=limit)
    running.stub.held.clear()
    late = running.client.post("/v1/predict", json={"history": HISTORY} | ({} if own is None else {"deadline_s": own}))
    assert late.status_code == 504
    key = ("lob_http_requests_total", ("method", "POST"), ("route", "/v1/predict"))
    assert {status: read(running).get((*key, ("status", status)), 0) for status in ("499", "504")} == {
        "499": float(counted == "499"),
        "504": float(counted == "504"),
    }


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


def test_problems_are_counted_by_name(start):
    running = start()
    running.client.post("/v1/predict", json={"history": HISTORY, "wrong": 1})
    running.client.get("/v1/models", headers={"Authorization": "Bearer wrong"})
    found = read(running)
    assert found["lob_problems_total", ("problem", "invalid-request")] == 1
    assert found["lob_problems_total", ("problem", "unauthorized")] == 1


def test_outcomes_are_counted_by_arm():
    metrics = Metrics()
    metrics.outcome(arm="new", lag_s=20.0, experiment="e", events=50)
    metrics.outcome(arm="new", lag_s=-3.0, experiment="e", events=10)
    metrics.outcome(arm="new", lag_s=86_401.0, experiment="e", events=5)  # of a replay
    found = samples(metrics.text().decode())
    labels = ("arm", "new"), ("experiment", "e")
    assert found["lob_outcomes_total", *labels] == 3 and found["lob_outcome_events_total", *labels] == 65
    assert found["lob_outcome_lag_seconds_count", *labels] == 2
    assert found["lob_outcome_lag_seconds_sum", *labels] == pytest.approx(20.0)


def test_counters_of_a_model_begin_at_0():
    """Otherwise Prometheus does not see the first increase."""
    metrics = Metrics()
    metrics.begin("m")
    found = samples(metrics.text().decode())
    assert found["lob_feed_gaps_total", ("model", "m")] == found["lob_fed_events_total", ("model", "m")] == 0
    assert found["lob_monitor_blocks_total", ("model", "m"), ("outcome", "failed")] == 0
