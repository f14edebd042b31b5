"""The benchmark of the loader: the extrapolations by hand, and the last line is one JSON object."""

import collections
import json
import types

import pytest

from lob_jax.bench import loader
from lob_jax.data.windows.pipeline import MOST_THREADS, UNPACKING


def test_the_slowest_part_decides_if_all_go_on_at_once():
    assert loader.at_once(100.0, 0.0, 0.0, 16) == pytest.approx(10_000)
    assert loader.at_once(50.0, 100.0 * MOST_THREADS, 50.0, 16) == pytest.approx(10_000)
    assert loader.at_once(50.0, 150.0, 1400.0, 16) == pytest.approx(10_000)
    assert loader.at_once(50.0, 100.0, 50.0, 2) == pytest.approx(10_000)


def test_more_cores_only_share_what_is_not_serial():
    assert loader.one_after_the_other(100.0, 0.0, 0.0, 16) == pytest.approx(10_000)
    assert loader.one_after_the_other(50.0, 0.0, 750.0, 16) == pytest.approx(10_000)
    assert loader.one_after_the_other(50.0, 25.0 * MOST_THREADS, 375.0, 16) == pytest.approx(10_000)
    assert loader.one_after_the_other(50.0, 100.0, 50.0, 2) == pytest.approx(1e6 / 150)


def test_threads_are_told_apart_by_their_names(monkeypatch):
    thread = collections.namedtuple("Thread", "native_id name")
    used = collections.namedtuple("Used", "id user_time system_time")
    named = [thread(1, "MainThread"), thread(2, f"{UNPACKING}_0"), thread(3, "grain-prefetch")]
    times = [used(1, 50.0, 50.0), used(2, 1.0, 2.0), used(3, 4.0, 0.5), used(4, 0.25, 0.0), used(5, 0.5, 0.0)]
    monkeypatch.setattr(loader.threading, "enumerate", lambda: named)
    monkeypatch.setattr(loader.threading, "main_thread", lambda: named[0])
    monkeypatch.setattr(loader.psutil, "Process", lambda: types.SimpleNamespace(threads=lambda: times))
    assert loader.thread_s() == {"unpack": 3.0, "grain": 4.5, "native": 0.75}


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
        assert 0 < case["one_after_the_other_per_s"] < case["at_once_per_s"] <= 1e6 / case["serial_us"]
        assert case["bytes_per_window"] > 65 * 1_250
    assert len(table) == 10 and {"command", "commit", "machine", "versions"} <= set(figures)
