"""Metrics that are read when they are asked for."""

import dataclasses

from lob_jax.serving.monitoring.drift import Drift
from lob_jax.serving.monitoring.exported import Engines, Reports, Standings, buckets
from lob_jax.serving.monitoring.metrics import Metrics
from lob_jax.serving.monitoring.monitor import Monitor
from lob_jax.serving.requests import Load
from lob_jax.serving.stub import StubServer
from lob_jax.serving.tally import Tallied
from tests.serving.monitoring.markets import reference
from tests.serving.monitoring.reading import samples


def exported(collector):
    metrics = Metrics()
    metrics.register(collector)
    return samples(metrics.text().decode())


def test_buckets_count_what_is_at_most_their_bound():
    assert buckets(Tallied((1.0, 2.0), (3, 0, 4), 9.0)) == [("1.0", 3.0), ("2.0", 3.0), ("+Inf", 7.0)]


def test_steps_of_engines_are_histograms(monkeypatch):
    stub = StubServer()
    steps = Tallied((1.0, 4.0), (5, 1, 2), 30.0), Tallied((0.01,), (8, 0), 0.04)
    load = Load(2, 8, 3, 1, 100, 20, most_queued=64, step_rows=steps[0], step_s=steps[1])
    monkeypatch.setattr(stub, "load", lambda: load)
    found = exported(Engines({"m": stub}))
    model = ("model", "m")
    assert found["lob_step_rows_bucket", ("le", "4.0"), model] == 6 and found["lob_step_rows_count", model] == 8
    assert found["lob_step_rows_sum", model] == 30 and found["lob_step_seconds_sum", model] == 0.04
    assert found["lob_queued_requests", model] == 3 and found["lob_queued_requests_limit", model] == 64


def test_what_is_not_known_is_left_out():
    report = Monitor(reference()).report()
    found = exported(Reports(lambda: {"m": report}))
    assert ("lob_drift_psi", ("feature", "size"), ("model", "m")) not in found
    assert found["lob_drift_events", ("feature", "size"), ("model", "m")] == 0
    assert found["lob_quality_events", ("model", "m")] == 0 and found["lob_quality_comparable", ("model", "m")] == 1
    assert ("lob_quality_gain_nats_per_event", ("model", "m")) not in found


def test_what_is_known_is_told_by_feature_and_level():
    report = Monitor(reference()).report()
    drift = {**report.drift, "gap": Drift(events=8192, psi=0.3, expected=0.01, excess=0.29)}
    quality = dataclasses.replace(report.quality, covered_50=0.4, covered_90=0.8, gain_nats=-0.5)
    report = dataclasses.replace(report, drift=drift, quality=quality, gain_change=-1.5)
    found = exported(Reports(lambda: {"m": report}))
    model = ("model", "m")
    assert found["lob_drift_psi", ("feature", "gap"), model] == 0.3
    assert found["lob_drift_psi_expected", ("feature", "gap"), model] == 0.01
    levels = [found["lob_quality_coverage_ratio", ("level", level), model] for level in ("0.5", "0.9")]
    assert levels == [0.4, 0.8] and found["lob_quality_gain_nats_per_event", model] == -0.5
    assert found["lob_quality_gain_change_nats_per_event", model] == -1.5


def test_standings_are_told_by_arm():
    found = exported(Standings(lambda: {("e", "old"): False, ("e", "new"): True}, lambda: {"e": True}))
    assert found["lob_experiment_arm_tripped", ("arm", "new"), ("experiment", "e")] == 1
    assert found["lob_experiment_arm_tripped", ("arm", "old"), ("experiment", "e")] == 0
    assert found["lob_experiment_ratio_broken", ("experiment", "e")] == 1
