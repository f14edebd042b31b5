"""Twenty thousand events from untrained and trained models, with each kind of tokens: none is invalid."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_no_event_is_invalid():
    """Runs in a separate process with one device."""
    command = [sys.executable, "-m", "lob_jax.bench.validity", "--events=20000", "--steps=20"]
    environment = {**os.environ, "XLA_FLAGS": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout.strip().splitlines()[-1])["runs"]
    assert [(run["tokens"], run["model"]) for run in runs] == [
        (tokens, model) for tokens in ("exact", "ranks", "compact") for model in ("untrained", "trained")
    ]
    assert sum(run["events"] for run in runs) >= 20_000
    for run in runs:
        assert (run["faults"], run["books"], run["clocks"]) == ({}, run["paths"], run["paths"])
