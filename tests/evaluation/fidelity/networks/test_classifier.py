"""The network that tells generated sequences from real ones: its split, its figures, a planted difference."""

import dataclasses
import io
import json

import numpy as np
import pytest
import scipy.stats
from rich.console import Console

from lob_jax.evaluation.fidelity.networks import classifier
from lob_jax.evaluation.fidelity.networks.classifier import (
    NetworkConfig,
    classifier_table,
    classify,
    discriminate_by_network,
    split_sequences,
)
from tests.made_flow import random_flow

SMALL = NetworkConfig(filters=(4, 8), heads=2, hidden=8, learning_rate=1e-2, batch_size=16, epochs=15)


@pytest.mark.parametrize("generated", [40, 60])
def test_parts_have_their_shares_and_keep_pairs(generated):
    part = split_sequences(40, generated, np.random.default_rng(0))
    assert np.bincount(part[:40]).tolist() == [20, 10, 10]
    assert np.bincount(part[40:]).tolist() == [generated // 2, generated // 4, generated // 4]
    assert (generated == 40) == np.array_equal(part[:40], part[40:])


def test_figures_of_the_test():
    rng = np.random.default_rng(0)
    logit, truth = rng.integers(-3, 4, 60).astype(float), np.arange(60) >= 35
    found = classifier._tested(logit + truth, (35, 25), rng)
    u = scipy.stats.mannwhitneyu((logit + truth)[truth], logit[~truth], alternative="greater")
    assert found["auc"] == pytest.approx(u.statistic / (25 * 35)) and found["low"] < found["auc"] < found["high"]
    assert found["p"] == pytest.approx(u.pvalue, abs=0.03)
    assert classifier._tested(np.zeros(60), (35, 25), rng)["p"] == 1.0


@pytest.mark.slow
def test_a_planted_difference_is_learnt_and_equal_flow_is_not():
    real, other = (random_flow(seed, sequences=40, length=30) for seed in (0, 1))
    planted = dataclasses.replace(other, size=np.where(other.kind == 1, 1, other.size))
    told = []
    flows = {"planted": planted, "equal": other, "few": other.select([0, 1])}
    result = discriminate_by_network(real, flows, config=SMALL, steps=30, on_progress=lambda *one: told.append(one))
    json.dumps(result, allow_nan=False)
    found = result["models"]["planted"]
    assert found["sequences"] == {"train": 40, "validation": 20, "test": 20}
    assert found["auc"] > 0.9 and found["p"] < 0.05
    assert result["models"]["equal"]["p"] > 0.02
    assert told[0] == ("network discriminator of planted", 0, 3) and told[-1] == ("network discriminator", 3, 3)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(classifier_table(result))
    text = console.export_text()
    assert "40, 20" in text and "too few sequences" in text and "…" not in text


@pytest.mark.slow
def test_the_seed_decides():
    flows = random_flow(2, sequences=12, length=20), random_flow(3, sequences=12, length=20)
    tiny = dataclasses.replace(SMALL, epochs=1)
    assert classify(*flows, config=tiny, steps=20) == classify(*flows, config=tiny, steps=20)


def test_too_few_sequences_give_no_figure():
    found = classify(random_flow(4, sequences=2), random_flow(5, sequences=2), config=SMALL)
    assert found["auc"] is None and found["reason"] == "too few sequences"
