"""The generation benchmarks: consistent results, with each side in a separate process."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from lob_jax.bench import generate, speculative
from lob_jax.generation.speculative import Speculation

ROOT = pathlib.Path(__file__).resolve().parents[2]


def last_line(*command: str) -> dict:
    """Run a benchmark and return its JSON object."""
    command = [sys.executable, "-m", *command]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
def test_tokens_and_events_of_both_kinds_and_of_a_model_with_all_inputs():
    shape = ("--layers=1", "--width=64", "--context=128", "--prompt=8", "--tokens=12")
    found = last_line("lob_jax.bench.generate", *shape, "--batches=32", "--rounds=1", "--sides=exact,compact,inputs")
    exact, compact, inputs = found["rows"]
    assert [(row["side"], row["batch"], row["ratio"]) for row in found["rows"]] == [
        ("exact", 32, None),
        ("compact", 32, None),
        ("inputs", 32, None),
    ]
    assert 0 < inputs["events_a_second"] < inputs["tokens_a_second"]
    assert 0 < exact["events_a_second"] < exact["tokens_a_second"]
    assert compact["events_a_second"] == compact["tokens_a_second"] > 0
    assert found["devices"] == os.cpu_count() and found["platform"] == "cpu"


def test_ratios_are_within_a_round_and_the_first_does_not_count(monkeypatch):
    speeds = {0: (1.0, 10.0, 20.0, 40.0), 2: (900.0, 30.0, 40.0, 120.0)}  # tokens per second, by seed

    def once(made, *, drafts, events, temperature, seed):
        return speeds[drafts][seed], Speculation(rounds=10, drafted=10 * drafts, accepted=5 * drafts - seed)

    monkeypatch.setattr(speculative, "once", once)
    theirs = [generate.Sample(seconds=2.0, tokens=count, events=0) for count in (1_000, 20, 10, 80)]
    plain, drafted = speculative.measure(
        None, (0, 2), events=1, temperature=1.0, rounds=3, theirs=lambda seed: theirs[seed]
    )
    assert (plain.tokens_a_second, plain.speed_up, plain.over_transformers) == (20.0, 1.0, 1.0)
    assert (drafted.tokens_a_second, drafted.speed_up, drafted.over_transformers) == (40.0, 3.0, 3.0)
    assert drafted.acceptance == pytest.approx(24 / 60) and drafted.tokens_a_pass == pytest.approx(1 + 24 / 30)


@pytest.mark.slow
def test_drafts_of_two_tokens():
    shape = ("--layers=1", "--width=64", "--steps=1", "--events=4", "--rounds=1", "--temperatures=1", "--drafts=2")
    found = last_line("lob_jax.bench.speculative", *shape)["temperatures"]["1.0"]
    assert [row["drafts"] for row in found] == [0, 2]
    assert found[0]["tokens_a_pass"] == found[0]["speed_up"] == 1
    assert [row["over_transformers"] for row in found] == [None, None]
    for row in found[1:]:
        assert 0 <= row["acceptance"] <= 1
        assert row["tokens_a_pass"] == pytest.approx(1 + row["drafts"] * row["acceptance"])
