"""The benchmark of the loader: the extrapolation by hand, and the last line is one JSON object."""

import json

import pytest

from lob_jax.bench import loader
from lob_jax.data.windows.pipeline import MOST_THREADS


def test_more_cores_only_share_what_is_not_serial():
    assert loader.extrapolated(100.0, 0.0, 0.0, 16) == pytest.approx(10_000)
    assert loader.extrapolated(50.0, 0.0, 750.0, 16) == pytest.approx(10_000)
    assert loader.extrapolated(50.0, 25.0 * MOST_THREADS, 375.0, 16) == pytest.approx(10_000)
    assert loader.extrapolated(50.0, 100.0, 50.0, 2) == pytest.approx(1e6 / 150)


@pytest.mark.slow
def test_the_last_line_is_one_json_object(capfd, monkeypatch):
    monkeypatch.setattr(loader, "PROCESSES", (0, 2))
    loader.main(["--cases", "tiny", "--context", "64", "--batch-size", "4", "--seconds", "0.2", "--events", "6000"])
    *table, last = capfd.readouterr().out.splitlines()
    figures = json.loads(last)
    assert list(figures["cases"]) == ["tiny, records in memory", "tiny, records from the disk"]
    memory, disk = figures["cases"].values()
    assert "prepare" not in memory["stages_us"] and disk["stages_us"]["prepare"] > 0
    for case in figures["cases"].values():
        assert case["rates"]["0"]["others_us"] == 0 < case["rates"]["2"]["others_us"]
        assert 0 < case["extrapolated_per_s"] < case["capped_at_per_s"] == pytest.approx(1e6 / case["serial_us"])
        assert case["bytes_per_window"] > 65 * 1_250
    assert len(table) == 10 and {"command", "commit", "machine", "versions"} <= set(figures)
