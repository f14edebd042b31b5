"""The benchmark of the server: times of requests, and a complete run with each kind of server."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from lob_jax.bench import serve
from lob_jax.bench.http_load import Tally, Target
from lob_jax.bench.server_process import served_bundle, target_of
from lob_jax.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[2]


def last_line(environment: dict[str, str], *options: str) -> dict:
    """Run the benchmark and return its JSON object."""
    command = [sys.executable, "-W", "error", "-m", "lob_jax.bench.serve", *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_a_row_has_rates_and_times_of_one_case():
    tally = Tally(latency_s=[1.0], first_s=[0.1, 0.3], between_s=[0.002] * 99 + [1.0], events=40, seconds=4.0)
    tally.statuses.update({200: 8, 429: 2, 0: 1})
    row = serve.row_of("name", tally)
    assert (row["requests_per_s"], row["events_per_s"]) == (2.0, 10.0)
    assert row["statuses"] == {"0": 1, "200": 8, "429": 2}
    assert np.isclose(row["first_event"]["p50_ms"], 200) and row["between_events"]["p50_ms"] == 2
    assert row["between_events"]["count"] == 100 and row["between_events"]["p99_ms"] > 2
    assert serve.row_of("none", Tally(seconds=1.0))["complete"] is None
    assert serve.table([row, serve.row_of("none", Tally(seconds=1.0))]).row_count == 2


def test_a_market_has_as_many_events_as_are_asked_for():
    market = serve.market_of(70)
    assert len(market["events"]) == 70 and market["opening"]["bids"]
    assert len(serve.market_of(20)["events"]) == 20


def test_one_server_is_chosen():
    for options in ([], ["--stub", "--make=tiny"]):
        with pytest.raises(SystemExit):
            serve.parsed(options)
    assert serve.parsed(["--stub", "--clients=1,2", "--rates="]).clients == [1, 2]
    assert target_of("http://h:9", "k") == Target("h", 9, "k")


def test_a_bundle_that_cannot_be_served_is_told(tmp_path, capfd):
    with pytest.raises(InputError, match="the server has not started"), served_bundle(tmp_path / "none"):
        pass
    assert "none" in capfd.readouterr().err


@pytest.mark.slow
def test_the_api_alone(one_device, compiled_folder):
    found = last_line(one_device(compiled_folder), "--stub", "--seconds=0.5")
    assert [row["case"] for row in found["rows"]] == [
        "stub, 1 connections, at once",
        "stub, 4 connections, at once",
        "stub, 1 connections, event by event",
        "stub, 4 connections, event by event",
    ]
    assert all(row["statuses"].keys() == {"200"} and row["events_per_s"] > 0 for row in found["rows"])


@pytest.mark.slow
def test_a_model(one_device, compiled_folder):
    short = ("--clients=2", "--rates=4", "--seconds=1", "--predictions=3", "--events=3", "--history=5")
    found = last_line(one_device(compiled_folder), "--make=tiny", *short, "--option=--config.serve.threads=1")
    closed, opened = found["rows"]
    assert closed["case"] == "closed loop, 2 clients" and opened["case"] == "open loop, 4 requests/s"
    assert all(row["statuses"].keys() == {"200"} for row in found["rows"])
    assert found["predictions"]["predict"]["count"] == found["predictions"]["at_once"]["count"] == 3
    assert found["predictions"]["feed"]["count"] == 6
    assert found["predictions"]["sampled"]["ms_per_100_paths"] > 0
    assert found["models"][0]["precision"] in ("float32", "int8")
