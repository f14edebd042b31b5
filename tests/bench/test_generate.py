"""The benchmarks of generation: consistent figures, each side in a process of its own."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def last_line(*command: str) -> dict:
    """Run a benchmark and return its JSON."""
    command = [sys.executable, "-m", *command]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
def test_tokens_and_events_of_both_kinds():
    shape = ("--layers=1", "--width=64", "--context=128", "--prompt=8", "--tokens=12")
    found = last_line("lob_jax.bench.generate", *shape, "--batches=32", "--rounds=1", "--sides=exact,compact")
    exact, compact = found["rows"]
    assert [(row["side"], row["batch"], row["ratio"]) for row in found["rows"]] == [
        ("exact", 32, None),
        ("compact", 32, None),
    ]
    assert 0 < exact["events_a_second"] < exact["tokens_a_second"]
    assert compact["events_a_second"] == compact["tokens_a_second"] > 0
    assert found["devices"] == os.cpu_count() and found["platform"] == "cpu"


@pytest.mark.slow
def test_drafts_of_two_tokens():
    shape = ("--layers=1", "--width=64", "--steps=1", "--events=4", "--rounds=1", "--temperatures=1", "--drafts=2")
    found = last_line("lob_jax.bench.speculative", *shape)["temperatures"]["1.0"]
    assert [row["drafts"] for row in found] == [0, 2]
    assert found[0]["tokens_a_pass"] == found[0]["speed_up"] == 1
    for row in found[1:]:
        assert 0 <= row["acceptance"] <= 1
        assert row["tokens_a_pass"] == pytest.approx(1 + row["drafts"] * row["acceptance"])
