"""The network that tells generated sequences from real ones: its inputs by hand, its split, a planted difference."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats

from lob_jax.evaluation.fidelity.classifiers import network
from lob_jax.evaluation.fidelity.classifiers.network import NetworkConfig, classify, sequence_inputs, split_sequences
from tests.made_flow import made_flow, random_flow

SMALL = NetworkConfig(filters=(4, 8), heads=2, hidden=8, learning_rate=1e-2, batch_size=16, epochs=15)


def test_inputs_by_hand():
    books = [([(99, 5), (98, 5)], [(101, 5)]), ([(98, 5)], [(101, 5)]), ([(98, 5)], [(101, 5)])]
    flow = made_flow([(0, 1, 1, 98, 5, 1), (0, 3, 1, 99, 5, 2)], [(0, 1, -1, 150, 3, 3)], books=books)
    inputs = sequence_inputs(flow, steps=3)
    assert inputs.shape == (2, 3, 3) and not inputs[0, 2].any() and not inputs[1, 1:].any()
    np.testing.assert_allclose(inputs[0, 0], [0, 2, np.log(6)], rtol=1e-6)  # second level, 5 added
    np.testing.assert_allclose(inputs[0, 1], [-np.log(1.5), 1, -np.log(6)], rtol=1e-6)  # the best is gone
    np.testing.assert_allclose(inputs[1, 0], [0, 0, np.log(4)], rtol=1e-6)  # beyond what the book shows


@pytest.mark.parametrize("generated", [40, 60])
def test_parts_have_their_shares_and_keep_pairs(generated):
    part = split_sequences(40, generated, np.random.default_rng(0))
    assert np.bincount(part[:40]).tolist() == [20, 10, 10]
    assert np.bincount(part[40:]).tolist() == [generated // 2, generated // 4, generated // 4]
    assert (generated == 40) == np.array_equal(part[:40], part[40:])


def test_figures_of_the_test():
    rng = np.random.default_rng(0)
    logit, truth = rng.integers(-3, 4, 60).astype(float), np.arange(60) >= 35
    found = network._tested(logit + truth, (35, 25), rng)
    u = scipy.stats.mannwhitneyu((logit + truth)[truth], logit[~truth], alternative="greater")
    assert found["auc"] == pytest.approx(u.statistic / (25 * 35)) and found["low"] < found["auc"] < found["high"]
    assert found["p"] == pytest.approx(u.pvalue, abs=0.03)
    assert network._tested(np.zeros(60), (35, 25), rng)["p"] == 1.0


@pytest.mark.slow
def test_a_planted_difference_is_learnt_and_equal_flow_is_not():
    real, other = (random_flow(seed, sequences=40, length=30) for seed in (0, 1))
    planted = dataclasses.replace(other, size=np.where(other.kind == 1, 1, other.size))
    found = classify(real, planted, config=SMALL, steps=30)
    json.dumps(found, allow_nan=False)
    assert found["sequences"] == {"train": 40, "validation": 20, "test": 20}
    assert found["auc"] > 0.9 and found["p"] < 0.05
    assert classify(real, other, config=SMALL, steps=30)["p"] > 0.02


@pytest.mark.slow
def test_the_seed_decides():
    flows = random_flow(2, sequences=12, length=20), random_flow(3, sequences=12, length=20)
    tiny = dataclasses.replace(SMALL, epochs=1)
    assert classify(*flows, config=tiny, steps=20) == classify(*flows, config=tiny, steps=20)


def test_too_few_sequences_give_no_figure():
    assert classify(random_flow(4, sequences=2), random_flow(5, sequences=2), config=SMALL)["auc"] is None
