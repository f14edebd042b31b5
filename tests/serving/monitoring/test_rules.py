"""The rules: accepted by promtool, tested by its unit tests, of metrics that there are, each alert with a runbook."""

import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from lob_jax.serving.monitoring import drift
from lob_jax.serving.monitoring.metrics import SECONDS

ROOT = pathlib.Path(__file__).resolve().parents[3]
RULES = sorted((ROOT / "lob_jax/serving/monitoring/rules").glob("*.yml"))
TESTS = [pathlib.Path(__file__).with_name(name) for name in ("objectives_test.yml", "rules_test.yml")]
GROUPS = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
RECORDED = {(rule["record"], rule.get("labels", {}).get("feature", "")): rule["expr"] for group in GROUPS
            for rule in group["rules"] if "record" in rule}  # fmt: skip


def find_promtool():
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("needs promtool, of the Debian package prometheus")
    return found


def promtool(*words):
    return subprocess.run([find_promtool(), *map(str, words)], capture_output=True, text=True, timeout=300)


def test_promtool_accepts_the_rules():
    done = promtool("check", "rules", *RULES)
    assert done.returncode == 0 and len(RULES) == 4, done.stderr


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_each_alert_fires_where_it_should_and_nowhere_else(file):
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_promtool_sees_an_alert_that_fires_too_early(tmp_path):
    folder = tmp_path / "lob_jax/serving/monitoring/rules"
    folder.mkdir(parents=True)
    for file in RULES:
        (folder / file.name).write_text(file.read_text().replace("vector(8192)", "vector(8191)"))
    there = tmp_path / "tests/serving/monitoring/rules_test.yml"
    there.parent.mkdir(parents=True)
    there.write_text(TESTS[1].read_text())
    done = promtool("test", "rules", there)
    assert done.returncode != 0 and "LobInputDrift" in done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent():
    firing, silent = set(), set()
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for check in test["promql_expr_test"]:
                named = re.search(r'alertname=~?"([^"]*)"', check["expr"])
                selected = {name for name in ALERTS if named is None or re.fullmatch(named[1], name)}
                seen = set(re.findall(r'alertname="(\w+)"', str(check["exp_samples"])))
                if check["expr"].startswith("ALERTS"):
                    firing |= seen
                    silent |= selected - seen
    assert firing == set(ALERTS) and silent == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_what_it_means(name):
    rule = ALERTS[name]
    told = rule["annotations"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(told) == {"summary", "description", "runbook_url"}
    assert told["runbook_url"] == f"docs/alerts.md#{name.lower()}"
    assert "$value" not in told["summary"] and told["description"].endswith(".")


def test_runbooks_are_those_of_the_alerts():
    headings = re.findall(r"^## (Lob\w+)$", (ROOT / "docs/alerts.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)


def test_runbooks_say_what_to_do():
    page = (ROOT / "docs/alerts.md").read_text()
    for text in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        parts = re.findall(r"^\*\*(.*?)\.\*\*", text, re.MULTILINE)
        assert parts == ["Means", "Likely causes", "Look at", "Do"], text.splitlines()[0]
        assert "```promql" in text


def test_thresholds_are_those_of_drift():
    for feature, threshold in drift.THRESHOLDS.items():
        assert RECORDED["lob:most_drift:psi", feature] == f"vector({threshold})"
    assert RECORDED["lob:least_drift_events:count", ""] == f"vector({drift.WINDOW})"


def test_the_objective_of_latency_is_a_bucket():
    (bound,) = {float(found) for rule in RECORDED.values() for found in re.findall(r'le="([\d.]+)"', rule)}
    assert bound in SECONDS
