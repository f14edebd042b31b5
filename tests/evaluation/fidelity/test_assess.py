"""One assessment holds every test of generated flow, and each has a table."""

import io
import json

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from lob_jax.evaluation.fidelity.assess import assess, assessment_tables
from lob_jax.evaluation.fidelity.memorisation import measure_memorisation
from lob_jax.evaluation.fidelity.networks import choice
from lob_jax.feeds.load import load_incremental_data
from lob_jax.statistics.flow import disjoint_spans, flow_of_spans

ADDED = {"contexts", "facts", "impact", "discriminator", "usefulness"}


@pytest.fixture(scope="module")
def flows():
    day = load_incremental_data(events=2400, seed=5)
    return flow_of_spans(day, disjoint_spans(len(day.events), length=120), levels=3)


@pytest.fixture(scope="module")
def assessed(flows):
    real, model, training = (flows.select(np.arange(first, 20, 3)) for first in range(3))
    steps = []
    result = assess(
        real,
        {"model": model},
        training=training,
        splits=4,
        resamples=4,
        on_progress=lambda what, done, total: steps.append((what, done, total)),
    )
    return real, model, training, result, steps


def test_everything_is_in_one_result_for_the_model_and_the_training_flow(assessed):
    *_, result, _ = assessed
    assert {"scores", "measures", "memorisation"} | ADDED <= set(json.loads(json.dumps(result, allow_nan=False)))
    assert list(result["facts"]["agree"]) == list(result["impact"]["models"]) == ["model", "training"]
    assert list(result["discriminator"]["models"]) == ["model", "training"]
    assert list(result["usefulness"]["flows"]) == ["real", "model", "training"]


def test_training_is_searched_for_copies_but_not_for_itself(assessed):
    real, model, training, result, _ = assessed
    assert list(result["memorisation"]["flows"]) == ["real", "model"]
    assert result["memorisation"] == measure_memorisation(training, real, {"model": model})


def test_each_part_tells_its_progress(assessed):
    *_, steps = assessed
    told = {what for what, _, _ in steps}
    assert {"impact", "discriminator of model", "spread, in contexts"} <= told
    assert all(0 <= done <= total for _, done, total in steps)


def test_every_table_fits_a_terminal(assessed):
    *_, result, _ = assessed
    shown, tables = io.StringIO(), assessment_tables(result)
    assert len(tables) == 2 + 2 + 4  # contexts and facts of each flow; impact, usefulness, memorisation, discriminator
    for table in tables:
        Console(width=100, file=shown).print(table)
    assert "Discriminator" in shown.getvalue() and "…" not in shown.getvalue()


def test_networks_that_are_named_train_on_every_flow(flows, monkeypatch):
    """What each network finds is tested where it is defined."""
    asked = []

    def network(name):
        def train(real, generated, *, seed, on_progress):
            asked.append((name, len(real), list(generated), seed))
            return {"of": name}

        return train

    for name in choice.NAMES:
        monkeypatch.setitem(choice.NETWORKS, name, network(name))
        monkeypatch.setitem(choice.TABLES, name, lambda result: Table(title=f"network {result['of']}"))
    how = {"splits": 0, "resamples": 2, "seed": 7}
    part = flows.select([0, 1])
    result = assess(part, {"model": part}, training=part, networks=choice.NAMES, **how)
    assert asked == [(name, 2, ["model", "training"], 7) for name in ("discriminator", "predictor")]
    assert result["networks"] == {name: {"of": name} for name in choice.NAMES}
    assert [table.title for table in assessment_tables(result)[-2:]] == [f"network {name}" for name in choice.NAMES]


def test_without_training_and_splits_what_needs_them_is_left_out(flows):
    result = assess(flows.select([0, 1]), {"model": flows.select([2, 3])}, splits=0, resamples=2)
    assert ADDED - {"impact"} <= set(result) and not {"impact", "memorisation", "networks"} & set(result)
    assert result["discriminator"]["models"]["model"]["reason"]
    assert len(assessment_tables(result)) == 4
