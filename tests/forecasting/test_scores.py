"""Means of scores over seeds and folds, differences on the same draws, and pinball loss by hand."""

import numpy as np
import pytest

from lob_jax.evaluation.direction.blocks import draw_blocks
from lob_jax.evaluation.direction.scores import SCORES
from lob_jax.evaluation.direction.sums import block_sums
from lob_jax.forecasting import scores as f


def test_scores_are_averaged_over_seeds_on_the_same_draws():
    random = np.random.default_rng(0)
    label, block = random.integers(0, 3, 60), np.arange(60) // 6
    seeds = [block_sums(random.dirichlet(np.ones(3), 60), label, block) for _ in range(3)]
    times = draw_blocks(10, draws=200, seed=0)
    got = f.seed_scores(seeds, times)
    alone = [f.seed_scores([one], times)["mcc"] for one in seeds]
    assert got["mcc"]["mean"] == pytest.approx(np.mean([one["mean"] for one in alone]))
    assert got["mcc"]["std"] == pytest.approx(np.std([one["mean"] for one in alone])) and got["mcc"]["std"] > 0
    np.testing.assert_allclose(got["mcc"]["draws"], np.mean([one["draws"] for one in alone], axis=0))
    assert got["mcc"]["low"] < got["mcc"]["mean"] < got["mcc"]["high"]
    assert alone[0]["std"] == 0


def test_a_single_block_has_scores_without_intervals():
    label = np.array([0, 1, 2])
    got = f.seed_scores([block_sums(np.eye(3), label, np.zeros(3, np.int64))], draw_blocks(1, draws=5, seed=0))
    assert got["mcc"]["mean"] == pytest.approx(1)
    assert np.isnan([got["mcc"]["low"], got["mcc"]["high"]]).all()


def test_the_mean_over_folds_has_the_interval_of_independent_folds():
    """Two folds of equal spread: the mean has 1 / sqrt(2) of it."""
    random = np.random.default_rng(0)
    folds = []
    for at in (0.2, 0.4):
        draws = at + 0.1 * random.normal(size=4000)
        folds.append({name: {"mean": at, "std": 0.0, "draws": draws} for name in SCORES})
    got = f.mean_scores(folds)["mcc"]
    assert got["mean"] == pytest.approx(0.3) and got["std"] == pytest.approx(0.1)
    assert got["high"] - got["low"] == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(2), rel=0.05)
    assert f.mean_scores(folds[:1]) is folds[0]


def test_a_difference_is_of_the_same_draws():
    """If two scores move together, their difference is the same in every draw."""
    draws = np.array([0.1, 0.3, 0.2])
    got = f.difference({"mean": 0.25, "draws": draws + 0.05}, {"mean": 0.2, "draws": draws})
    assert got == pytest.approx({"mean": 0.05, "low": 0.05, "high": 0.05})


def test_pinball_in_ticks_by_hand():
    """Level .1: a move 1 below the quantile costs .9, one 2 above it costs .2; level .5 costs half of each."""
    quantiles = np.array([[[1.0, 0.0]], [[-2.0, 0.0]]])
    move = np.array([[0.0], [0.0]])
    np.testing.assert_allclose(f.pinball_ticks(quantiles, move, (0.1, 0.5)), [(0.9 + 0 + 0.2 + 0) / 4])
