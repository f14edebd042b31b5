"""docs/monitoring.md stays true: its metrics are those that a server exports, its thresholds those of the rules."""

import contextlib
import io
import json
import logging
import re
import time

import pytest

from lob_jax.configs import base
from lob_jax.serving.monitoring import drift
from lob_jax.serving.monitoring.lines import message_line, request_line
from lob_jax.serving.monitoring.metrics import Metrics
from lob_jax.serving.monitoring.watch import BLOCK
from lob_jax.serving.stub import StubServer
from tests.serving.http.conftest import ADD, HISTORY
from tests.serving.monitoring.markets import reference
from tests.serving.monitoring.test_rules import ROOT

PAGE = (ROOT / "docs/monitoring.md").read_text()
ROW = re.compile(r"^\| `(lob_\w+)` \| (.*?)\| (.*?) \|$", re.MULTILINE)
CODE = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
FAMILY = re.compile(r"^# HELP (lob_\w+) (.*)$", re.MULTILINE)
OF_SERIES = {"le"}
CREATED = "_created"  # the time at which a counter began, which prometheus_client adds


@pytest.fixture(scope="module")
def text(start):
    """Return what a server exports that has been asked for everything."""
    stub = StubServer(reference=reference())
    running = start(stub, servers={"stub": stub})
    session = running.opened()
    running.client.post(f"/v1/sessions/{session}/events", json={"events": [ADD]})
    running.client.post("/v1/predict", json={"history": HISTORY})
    running.client.get("/nothing")
    limit = time.monotonic() + 10
    while (found := running.client.get("/metrics").text).count('source="predict"') == 0 and time.monotonic() < limit:
        time.sleep(0.05)
    return found


def test_the_table_lists_what_is_exported(text):
    told = {name: (labels, says) for name, labels, says in ROW.findall(PAGE)}
    exported = {name: says for name, says in FAMILY.findall(text) if not name.endswith(CREATED)}
    assert {name: says for name, (_, says) in told.items()} == exported


def test_labels_of_the_table_are_those_of_the_series(text):
    told = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels, _ in ROW.findall(PAGE)}
    metrics = Metrics()
    metrics.outcome(arm="a", lag_s=1.0, experiment="e")
    metrics.removed(0.5, model="m")
    seen = set()
    for line in (text + metrics.text().decode()).splitlines():
        if line.startswith("lob_") and f"{CREATED}{{" not in line and f"{CREATED} " not in line:
            name = re.match(r"\w+", line)[0]
            family = next(one for one in (name, re.sub(r"_(bucket|sum|count)$", "", name)) if one in told)
            labels = set(re.findall(r'(\w+)="', line)) - OF_SERIES
            assert labels == told[family], line
            seen.add(family)
    assert len(seen) >= 28


def test_thresholds_are_those_of_the_rules():
    row = next(line for line in PAGE.splitlines() if line.startswith("| class "))
    told = {name: float(value) for name, value in re.findall(r"(\w+) (\d\.\d+)", row)}
    assert told == drift.THRESHOLDS and f"{drift.WINDOW:,}" in row
    assert f"followed {BLOCK} further events" in PAGE
    assert f"`--config.serve.monitor_share` ({base.get_config().serve.monitor_share:g})" in PAGE


def test_fields_of_the_log_are_listed():
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "m", (), (ValueError, ValueError("x"), None))
    record.request_id = "a"
    given = {"method": "GET", "route": "/", "status": 200, "seconds": 0.1, "request_id": "a", "key": ""}
    for event, line in (("request", request_line(**given)), ("message", message_line(record))):
        row = next(row for row in PAGE.splitlines() if row.startswith(f"| `{event}`"))
        fields = set(json.loads(line)) - {"time", "level", "event"}
        assert fields <= set(re.findall(r"`(\w+)`", row))


def test_code_prints_what_is_shown():
    assert len(CODE) == 1
    for code, shown in CODE:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, "docs/monitoring.md", "exec"), {})
        assert out.getvalue() == shown
