"""Twenty thousand events, from untrained and trained models, in both kinds of tokens: none is invalid."""

import json

import pytest

from lob_jax.bench.validity import main


@pytest.mark.slow
def test_no_event_is_invalid(capsys):
    assert main(["--events=20000", "--steps=40"]) == 0
    runs = json.loads(capsys.readouterr().out.strip().splitlines()[-1])["runs"]
    assert [(run["tokens"], run["model"]) for run in runs] == [
        (tokens, model) for tokens in ("exact", "compact") for model in ("untrained", "trained")
    ]
    assert sum(run["events"] for run in runs) >= 20_000
    for run in runs:
        assert (run["faults"], run["books"], run["clocks"]) == ({}, run["paths"], run["paths"])
