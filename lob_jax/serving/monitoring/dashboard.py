"""The dashboard for Grafana, `dashboard.json`; `python -m lob_jax.serving.monitoring.dashboard` writes it.

Grafana asks for a data source of Prometheus when it imports the file.
"""

import json
import pathlib
import sys
from typing import Any, NamedTuple

FILE = pathlib.Path(__file__).with_suffix(".json")
SCHEMA = 38  # of dashboards of Grafana 10; later versions migrate it
WIDTH, HEIGHT, COLUMNS = 8, 7, 3
SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
HERE = 'job="$job", model=~"$model"'
RATE = "[$__rate_interval]"


class Panel(NamedTuple):
    """A graph over time.

    Attributes:
      title: what it shows.
      unit: Grafana's name of the unit.
      lines: (PromQL, legend) each.
    """

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]


def quantiles(metric: str, by: str, *, where: str = HERE, legend: str = "{{model}}") -> tuple[tuple[str, str], ...]:
    """Return the median and the 99th percentile of a histogram, by labels."""
    rate = f"sum by (le, {by}) (rate({metric}_bucket{{{where}}}{RATE}))"
    return tuple((f"histogram_quantile({q}, {rate})", f"{legend} p{100 * q:g}") for q in (0.5, 0.99))


def sums(metric: str, by: str, *, where: str = HERE, legend: str = "") -> tuple[tuple[str, str], ...]:
    """Return the rate of a counter, by labels."""
    shown = legend or " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return ((f"sum by ({by}) (rate({metric}{{{where}}}{RATE}))", shown),)


def plain(*metrics: str, by: str = "model", where: str = HERE) -> tuple[tuple[str, str], ...]:
    """Return metrics as they are, over all processes: of each label the largest."""
    labels = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    short = [metric.removeprefix("lob_").replace("_", " ") for metric in metrics]
    return tuple(
        (f"max by ({by}) ({metric}{{{where}}})", f"{labels} {name}" if len(metrics) > 1 else labels)
        for metric, name in zip(metrics, short, strict=True)
    )


JOB = 'job="$job"'
ROWS: dict[str, tuple[Panel, ...]] = {
    "Traffic": (
        Panel("Requests by status", "reqps", sums("lob_http_requests_total", "status", where=JOB)),
        Panel("Requests by route", "reqps", sums("lob_http_requests_total", "route", where=JOB)),
        Panel("Problems", "reqps", sums("lob_problems_total", "problem", where=JOB)),
        Panel("Requests in progress", "short", (("sum(lob_http_requests_in_progress{" + JOB + "})", "requests"),)),
        Panel(
            "Spending of the error budget, times its own rate",
            "short",
            tuple(
                (f"lob:failed:ratio_rate{w}{{{JOB}}} / (1 - scalar(lob:objective_answered:ratio))", w)
                for w in ("5m", "1h", "6h")
            ),
        ),
        Panel("Sessions", "short", plain("lob_sessions")),
    ),
    "Latency": (
        Panel(
            "Requests",
            "s",
            quantiles("lob_http_request_duration_seconds", "route", where=JOB, legend="{{route}}"),
        ),
        Panel(
            "Waiting",
            "s",
            quantiles(
                "lob_engine_request_part_seconds", "kind", where=f'{HERE}, part="queued"', legend="{{kind}}"
            ),
        ),
        Panel(
            "At work",
            "s",
            quantiles(
                "lob_engine_request_part_seconds", "kind", where=f'{HERE}, part!="queued"', legend="{{kind}}"
            ),
        ),
        Panel("First event of a stream", "s", quantiles("lob_first_event_seconds", "job", where=JOB, legend="first")),
        Panel(
            "Spending of the latency budget, times its own rate",
            "short",
            tuple(
                (f"lob:predict_slow:ratio_rate{w}{{{JOB}}} / (1 - scalar(lob:objective_predict_quick:ratio))", w)
                for w in ("5m", "1h", "6h")
            ),
        ),
    ),
    "Engine": (
        Panel("Queue", "short", plain("lob_queued_requests", "lob_queued_requests_limit")),
        Panel("Rows at work", "short", plain("lob_rows", "lob_rows_limit")),
        Panel("Rows of a step", "short", quantiles("lob_step_rows", "model")),
        Panel("Time of a step", "s", quantiles("lob_step_seconds", "model")),
        Panel("Events generated per second", "short", sums("lob_events_total", "model")),
        Panel("Tokens sampled per second", "short", sums("lob_tokens_total", "model")),
        Panel("Requests by outcome", "reqps", sums("lob_engine_requests_total", "kind, outcome")),
        Panel("Ready", "short", (("min by (model) (lob_ready{" + HERE + "})", "{{model}}"),)),
    ),
    "Feeds": (
        Panel("Events fed per second", "short", sums("lob_fed_events_total", "model")),
        Panel("Lag of live feeds", "s", quantiles("lob_feed_lag_seconds", "model")),
        Panel("Longest time without an event", "s", plain("lob_feed_longest_idle_seconds")),
        Panel("Gaps that feeds report", "short", sums("lob_feed_gaps_total", "model")),
    ),
    "Model": (
        Panel(
            "Nats per event",
            "short",
            plain("lob_quality_nats_per_event", "lob_quality_baseline_nats_per_event"),
        ),
        Panel(
            "Gain over counts, nats per event",
            "short",
            plain("lob_quality_gain_nats_per_event", "lob_quality_gain_change_nats_per_event"),
        ),
        Panel("Events that were scored", "short", plain("lob_quality_events", "lob_quality_paired_events")),
        Panel(
            "Calibration error",
            "percentunit",
            plain("lob_quality_calibration_error_ratio", "lob_quality_calibration_error_expected_ratio"),
        ),
        Panel("Coverage", "percentunit", plain("lob_quality_coverage_ratio", by="model, level")),
        Panel("Brier score", "short", plain("lob_quality_brier_score")),
        Panel("Entropy of predictions, bits", "short", quantiles("lob_entropy_bits", "model, source")),
        Panel("Share that the mask removes", "percentunit", quantiles("lob_mask_removed_ratio", "model")),
        Panel("Blocks for scoring", "short", sums("lob_monitor_blocks_total", "outcome")),
    ),
    "Drift": (
        Panel(
            "Stability index beyond chance",
            "short",
            (("max by (model, feature) (lob:drift:psi{" + HERE + "})", "{{model}} {{feature}}"),),
        ),
        Panel("Events that it is of", "short", plain("lob_drift_events", by="model, feature")),
        Panel("Events at times without training", "percentunit", plain("lob_drift_outside_hours_ratio")),
        Panel("Events outside what the book allows", "percentunit", plain("lob_quality_outside_ratio")),
    ),
    "Experiments": (
        Panel("Outcomes", "short", sums("lob_outcomes_total", "experiment, arm", where=JOB)),
        Panel(
            "Lag of outcomes",
            "s",
            quantiles(
                "lob_outcome_lag_seconds", "experiment, arm", where=JOB, legend="{{experiment}} {{arm}}"
            ),
        ),
        Panel("Breakers", "short", plain("lob_experiment_arm_tripped", by="experiment, arm", where=JOB)),
        Panel("Broken ratios", "short", plain("lob_experiment_ratio_broken", by="experiment", where=JOB)),
    ),
}  # fmt: skip


def dashboard() -> dict[str, Any]:
    """Return the dashboard, in Grafana's JSON model."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        at = {"h": 1, "w": WIDTH * COLUMNS, "x": 0, "y": top}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": at, "panels": []}
        )
        for number, panel in enumerate(row):
            line, column = divmod(number, COLUMNS)
            at = {"h": HEIGHT, "w": WIDTH, "x": WIDTH * column, "y": top + 1 + HEIGHT * line}
            panels.append(_graph(panel, len(panels) + 1, at))
        top += 1 + HEIGHT * -(-len(row) // COLUMNS)
    return {
        "title": "lob_jax",
        "uid": "lob-jax",
        "description": "A server of lob_jax: traffic, latency, engines, feeds, models, drift and experiments.",
        "tags": ["lob_jax"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "timezone": "utc",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_variable("job", "label_values(lob_ready, job)"), _models()]},
        "__inputs": [{"name": "DS_PROMETHEUS", "label": "Prometheus", "type": "datasource", "pluginId": "prometheus"}],
        "__requires": [{"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"}],
        "annotations": {"list": [_alerts()]},
        "panels": panels,
    }


def _graph(panel: Panel, number: int, at: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
        for i, (expr, legend) in enumerate(panel.lines)
    ]
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": at,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {"name": name, "type": "query", "datasource": SOURCE, "query": query, "refresh": 2, "sort": 1}


def _models() -> dict[str, Any]:
    made = _variable("model", 'label_values(lob_ready{job="$job"}, model)')
    return {**made, "multi": True, "includeAll": True}


def _alerts() -> dict[str, Any]:
    query = 'ALERTS{alertname=~"Lob.*", alertstate="firing"}'
    return {
        "name": "Alerts", "datasource": SOURCE, "enable": True, "iconColor": "red", "expr": query,
        "titleFormat": "{{alertname}}",
    }  # fmt: skip


def text() -> str:
    """Return the dashboard as the text of a file."""
    return json.dumps(dashboard(), indent=1) + "\n"


def main() -> int:
    """Write the file beside this module; return the exit status."""
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
