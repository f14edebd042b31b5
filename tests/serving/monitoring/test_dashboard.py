"""The dashboard: valid by a schema, of metrics that a server exports, in PromQL that Prometheus reads."""

import json
import pathlib
import re
import subprocess

import jsonschema
import pytest
import yaml

from lob_jax.serving.monitoring import dashboard
from lob_jax.serving.stub import StubServer
from tests.serving.monitoring.markets import reference
from tests.serving.monitoring.test_rules import ALERTS, GROUPS, RECORDED, ROOT, find_promtool

SCHEMA = json.loads(pathlib.Path(__file__).with_name("grafana.json").read_text())
MADE = dashboard.dashboard()
GRAPHS = [panel for panel in MADE["panels"] if panel["type"] == "timeseries"]
QUERIES = [target["expr"] for panel in GRAPHS for target in panel["targets"]]
RUNBOOK = [line for block in re.findall(r"```promql\n(.*?)```", (ROOT / "docs/alerts.md").read_text(), re.DOTALL)
           for line in block.splitlines()]  # fmt: skip
EXPRESSIONS = [rule["expr"] for group in GROUPS for rule in group["rules"]]
NAME = re.compile(r"\blob[_:][\w:]+")


def test_the_file_is_the_dashboard():
    assert dashboard.FILE.read_text() == dashboard.text(), "run python -m lob_jax.serving.monitoring.dashboard"


def test_it_is_valid_and_a_mistake_is_seen():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(MADE, SCHEMA)
    for wrong in ({"schemaVersion": "38"}, {"panels": [{**GRAPHS[0], "type": "graph"}]}, {"refresh": "soon"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**MADE, **wrong}, SCHEMA)


def test_panels_have_numbers_of_their_own_and_do_not_overlap():
    numbers = [panel["id"] for panel in MADE["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken = set()
    for panel in MADE["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24
        taken |= cells


def test_rows_are_there():
    rows = [panel["title"] for panel in MADE["panels"] if panel["type"] == "row"]
    assert rows == ["Traffic", "Latency", "Engine", "Feeds", "Model", "Drift", "Experiments"]


@pytest.fixture(scope="module")
def exported(start):
    """Return the names of all series that a server exports."""
    stub = StubServer(reference=reference())
    text = start(stub, servers={"stub": stub}).client.get("/metrics").text
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names


def names_in(expression):
    return set(NAME.findall(re.sub(r'"[^"]*"', "", expression)))


def test_every_metric_that_is_asked_for_is_exported_or_recorded(exported):
    recorded = {name for name, _ in RECORDED}
    for expression in (*QUERIES, *EXPRESSIONS, *RUNBOOK):
        assert names_in(expression) <= exported | recorded, expression
    assert not names_in("sum(lob_nothing_total)") <= exported


def test_every_query_is_read_by_prometheus(tmp_path):
    interval = [query.replace("$__rate_interval", "5m") for query in (*QUERIES, *RUNBOOK)]
    rules = [{"record": f"r:{number}", "expr": query} for number, query in enumerate(interval)]

    def check(rules):
        file = tmp_path / "rules.yml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
        return subprocess.run(
            [find_promtool(), "check", "rules", str(file)], capture_output=True, text=True, timeout=60
        )

    done = check(rules)
    assert done.returncode == 0, done.stderr
    assert check([*rules, {"record": "r:wrong", "expr": "sum(lob_rows"}]).returncode != 0


def test_labels_in_legends_are_those_of_the_query():
    for panel in GRAPHS:
        for target in panel["targets"]:
            by = set(re.findall(r"\w+", (re.search(r"by \(([^)]*)\)", target["expr"]) or [""])[0]))
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert shown <= by, panel["title"]


def test_alerts_are_marked():
    (marked,) = MADE["annotations"]["list"]
    pattern = re.search(r'alertname=~"([^"]*)"', marked["expr"])
    assert all(re.fullmatch(pattern[1], name) for name in ALERTS)
