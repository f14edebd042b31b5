"""The study of drift finds its defects on short simulated days, and tells so in a table."""

import json

import numpy as np
import pytest

from lob_jax.bench import drift
from lob_jax.export.reference.features import FEATURES
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.serving.monitoring.drift import THRESHOLDS
from lob_jax.writers.lobster import write_lobster


@pytest.fixture(scope="module")
def found():
    return drift.study(drift.simulated(days=1, events=10_000), {})


@pytest.mark.parametrize(
    ("defect", "feature"),
    [("tick / 5", "step"), ("tick / 5", "spread"), ("sizes x 3", "size"), ("gaps / 5", "gap"), (drift._LOST, "class")],
)
def test_defects_are_noticed_where_they_are(found, defect, feature):
    noticed = found[feature]["noticed"][defect]
    assert noticed["after"] > 0 and noticed["most"] > THRESHOLDS[feature]


def test_normal_days_are_below_the_thresholds(found):
    for name in FEATURES:
        assert found[name]["windows"][8192]["silent_above"] == 0
        assert found[name]["windows"][1000]["most"] > found[name]["windows"][1000]["median"] > 0


def test_longer_windows_drift_less_by_chance(found):
    chance = [row["chance"] for row in found["class"]["windows"].values()]
    assert chance == sorted(chance, reverse=True) and chance[0] == (found["class"]["bins"] - 1) / 1000


def test_the_table_has_a_line_for_each_window_and_each_defect(found):
    lines = drift.table(found)
    defects = len(found["class"]["noticed"])
    assert len(lines) == 1 + len(FEATURES) * len(drift.COUNTS) + 1 + defects
    assert "never" in "".join(lines)


def test_parts_of_a_day_are_all_of_it():
    day = SyntheticFeed(events=9000).read("2024-01-02")
    for by_time in (True, False):
        days = drift.parts_of_day(day, by_time=by_time)
        parts = [*days.train, *days.thresholds, *days.silent]
        ordered = sorted(parts, key=lambda part: part.start.time_ns)
        joined = np.concatenate([part.events.order_id for part in ordered])
        np.testing.assert_array_equal(joined, day.events.order_id)
        assert len(days.train) == (1 if by_time else -(-len(day.events) // drift.CHUNK // 3))


def test_a_real_day_is_studied_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(drift, "COUNTS", (1000,))
    monkeypatch.setattr(drift, "WINDOW", 1000)
    monkeypatch.setattr(drift, "CHUNK", 1500)
    day = SyntheticFeed(events=6000).read("2024-01-02")
    message = write_lobster(tmp_path, day, levels=10).message
    drift.main(["--lobster", str(message), "--other", str(message)])
    *_, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert result["benchmark"] == "drift" and "SYN" in result["features"]["size"]["noticed"]
