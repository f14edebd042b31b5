"""The sums that direction scores are functions of: bins, classes, and blocks that add up."""

import math

import numpy as np
import pytest

from lob_jax.evaluation.direction.scores import scores
from lob_jax.evaluation.direction.sums import Sums, block_sums


def one_block(probability, label):
    return block_sums(np.array(probability, float), np.array(label), np.zeros(len(label), np.int64))


def test_edges_of_the_bins():
    """A probability of exactly k / 15 belongs to the lower bin, and 1 to the last bin."""
    sums = one_block([[1.0, 0, 0], [0.6, 0.4, 0.0], [0.61, 0.39, 0.0]], [0, 0, 0])
    assert np.flatnonzero(sums.bins[0, 0, :, 0]).tolist() == [8, 9, 14]
    assert sums.bins[0, 3, 0].tolist() == [3, 0, 0]  # up: three times probability 0, never


def test_rows_of_the_confusion_are_what_came():
    sums = one_block([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]], [1, 1, 0])
    np.testing.assert_array_equal(sums.confusion[0], [[1, 0, 0], [0, 0, 2], [0, 0, 0]])


def test_an_impossible_example_costs_no_more_than_the_least_probability():
    assert one_block([[1.0, 0.0, 0.0]], [1]).log_loss[0] == pytest.approx(-math.log(1e-9))


def test_blocks_add_up_to_the_whole():
    random = np.random.default_rng(0)
    probability, label = random.dirichlet(np.ones(3), 100), random.integers(0, 3, 100)
    parts = block_sums(probability, label, np.arange(100) // 7)
    whole = one_block(probability, label).whole()
    for name, score in scores(whole).items():
        assert scores(parts.drawn(np.ones((1, 15))))[name][0] == pytest.approx(score)
        assert scores(parts.whole())[name] == pytest.approx(score)
    twice = scores(parts.drawn(np.eye(15)[[3]] * 2))["log_loss"][0]
    assert twice == pytest.approx(-np.log(probability[np.arange(21, 28), label[21:28]]).mean())
    half, other = (
        block_sums(probability[part], label[part], np.zeros(50, int)) for part in (slice(50), slice(50, 100))
    )
    both: Sums = half.plus(other)
    np.testing.assert_allclose(both.whole().bins, whole.bins)
