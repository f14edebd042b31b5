"""Metrics that are read when Prometheus asks for them: what engines are doing, and how feeds stand."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from lob_jax.export.reference.quality import LEVELS
from lob_jax.serving.monitoring.monitor import Report
from lob_jax.serving.requests import Load, Server
from lob_jax.serving.tally import Tallied

GAUGES = {
    "lob_rows": ("Paths at work.", "rows"),
    "lob_rows_limit": ("Paths that there is room for.", "most_rows"),
    "lob_queued_requests": ("Requests that wait.", "queued"),
    "lob_queued_requests_limit": ("Requests that may wait.", "most_queued"),
    "lob_sessions": ("Open sessions.", "sessions"),
}
COUNTERS = {
    "lob_tokens": ("Tokens sampled.", "tokens"),
    "lob_events": ("Events delivered.", "events"),
}
HISTOGRAMS = {
    "lob_step_rows": ("Rows that were read together in a step.", "step_rows"),
    "lob_step_seconds": ("Time of a step: one token in all rows.", "step_s"),
}

DRIFT = {
    "lob_drift_psi": ("Population stability index of the latest events beside training.", "psi"),
    "lob_drift_psi_expected": ("What the index is expected to be by chance.", "expected"),
    "lob_drift_events": ("How many of the latest events the index is of.", "events"),
}
QUALITY = {
    "lob_quality_events": ("How many of the latest scored events the quality is of.", "events"),
    "lob_quality_nats_per_event": ("Mean log-likelihood of an event under the model.", "nats"),
    "lob_quality_paired_events": ("How many of these events counts have predicted, too.", "paired"),
    "lob_quality_baseline_nats_per_event": ("Mean log-likelihood of an event under counts.", "baseline_nats"),
    "lob_quality_gain_nats_per_event": ("By how much the model exceeds counts on the same events.", "gain_nats"),
    "lob_quality_gain_standard_error_nats": ("Standard error of the gain, from blocks of events.", "gain_se"),
    "lob_quality_brier_score": ("Mean Brier score of kind and side, 0 to 2.", "brier"),
    "lob_quality_class_events": ("How many of these events have probabilities of kind and side.", "classes"),
    "lob_quality_calibration_error_ratio": ("Distance of the transforms from uniform ones.", "transform_error"),
    "lob_quality_calibration_error_expected_ratio": (
        "What the distance is expected to be by chance.",
        "transform_error_by_chance",
    ),
    "lob_quality_outside_ratio": ("Share of events outside what the book allows.", "outside"),
}
REPORT = {
    "lob_drift_outside_hours_ratio": ("Share of events at times of the day without training.", "outside_hours"),
    "lob_quality_comparable": ("Whether the gain is of the same events in the same units.", "comparable"),
    "lob_quality_gain_change_nats_per_event": ("Gain over counts beyond that of validation.", "gain_change"),
    "lob_quality_gain_change_standard_error_nats": ("Standard error of the change.", "gain_change_se"),
}


class Engines(Collector):
    """What engines say that they are doing, at the time at which it is asked."""

    def __init__(self, servers: Mapping[str, Server]):
        self._servers = servers

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        loads = {name: server.load() for name, server in self._servers.items()}
        for name, (told, field) in GAUGES.items():
            yield gauge(name, told, {model: getattr(load, field) for model, load in loads.items()})
        for name, (told, field) in COUNTERS.items():
            yield counter(name, told, {model: getattr(load, field) for model, load in loads.items()})
        for name, (told, field) in HISTOGRAMS.items():
            yield _histogram(name, told, field, loads)
        told = "Whether the model takes requests."
        yield gauge("lob_ready", told, {model: float(server.ready) for model, server in self._servers.items()})


class Feeds(Collector):
    """How the feeds of open sessions stand.

    `idle` returns, by model, the time since the last event came of the live session that has waited longest.
    """

    def __init__(self, idle: Callable[[], Mapping[str, float]], dropped: Callable[[], int]):
        self._idle, self._dropped = idle, dropped

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        told = "Time since the last event came, of the live session that has waited longest; 0 for none."
        yield gauge("lob_feed_longest_idle_seconds", told, self._idle())
        told = "Answers that monitoring has not seen, since it was behind."
        yield CounterMetricFamily("lob_monitor_dropped", told, value=self._dropped())


class Standings(Collector):
    """How experiments that run stand, as the server knows it."""

    def __init__(self, tripped: Callable[[], Mapping[tuple[str, str], bool]], broken: Callable[[], Mapping[str, bool]]):
        self._tripped, self._broken = tripped, broken

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        told = "Whether an arm is taken out of its experiment."
        rows = [(names, float(value)) for names, value in self._tripped().items()]
        yield _known("lob_experiment_arm_tripped", told, ("experiment", "arm"), rows)
        told = "Whether units are spread over arms in other shares than those of their weights."
        broken = [((name,), float(value)) for name, value in self._broken().items()]
        yield _known("lob_experiment_ratio_broken", told, ("experiment",), broken)


class Reports(Collector):
    """How live events, and the predictions of them, compare with training: of the latest events of each model.

    Values that are not known yet are left out: an alert on them is silent.
    """

    def __init__(self, reports: Callable[[], Mapping[str, Report]]):
        self._reports = reports

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        reports = self._reports()
        for name, (told, field) in DRIFT.items():
            rows = [((model, feature), getattr(one, field)) for model, report in reports.items()
                    for feature, one in report.drift.items()]  # fmt: skip
            yield _known(name, told, ("model", "feature"), rows)
        for name, (told, field) in QUALITY.items():
            yield gauge(name, told, {model: getattr(report.quality, field) for model, report in reports.items()})
        for name, (told, field) in REPORT.items():
            yield gauge(name, told, {model: getattr(report, field) for model, report in reports.items()})
        told = "Share of events whose class was in the smallest set of classes with a probability of level."
        rows = [((model, str(level)), getattr(report.quality, f"covered_{100 * level:.0f}"))
                for model, report in reports.items() for level in LEVELS]  # fmt: skip
        yield _known("lob_quality_coverage_ratio", told, ("model", "level"), rows)


def _known(
    name: str, told: str, labels: tuple[str, ...], rows: Iterable[tuple[tuple[str, ...], float | None]]
) -> Metric:
    """Return a gauge of the values that are known."""
    made = GaugeMetricFamily(name, told, labels=labels)
    for values, value in rows:
        if value is not None:
            made.add_metric(values, float(value))
    return made


def gauge(name: str, told: str, values: Mapping[str, float | None]) -> Metric:
    """Return a gauge with a value for each model of which it is known."""
    return _known(name, told, ("model",), [((model,), value) for model, value in values.items()])


def counter(name: str, told: str, values: Mapping[str, float]) -> Metric:
    """Return a counter with a value for each model; its name is without "_total"."""
    made = CounterMetricFamily(name, told, labels=("model",))
    for model, value in values.items():
        made.add_metric((model,), value)
    return made


def _histogram(name: str, told: str, field: str, loads: Mapping[str, Load]) -> Metric:
    made = HistogramMetricFamily(name, told, labels=("model",))
    for model, load in loads.items():
        tallied: Tallied = getattr(load, field)
        made.add_metric((model,), buckets(tallied), tallied.total)
    return made


def buckets(tallied: Tallied) -> list[tuple[str, float]]:
    """Return how many values were at most each bound, as Prometheus has them."""
    below = itertools.accumulate(tallied.counts)
    return list(zip([*(str(bound) for bound in tallied.bounds), "+Inf"], map(float, below), strict=True))
