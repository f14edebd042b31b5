"""Scores of direction forecasts against hand-computed values; the bootstrap and the averages over seeds."""

import math

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.forecasting import scores as f

CONFUSION = np.array([[4.0, 1, 0], [2, 3, 1], [0, 0, 5]])  # rows are true classes, columns predicted classes


def one_block(probability, label):
    return f.block_sums(np.array(probability, float), np.array(label), np.zeros(len(label), np.int64))


def test_macro_f1_by_hand():
    """Class 0: 2*4/(5+6); class 1: 2*3/(6+4); class 2: 2*5/(5+6)."""
    assert f.macro_f1(CONFUSION) == pytest.approx((8 / 11 + 6 / 10 + 10 / 11) / 3)
    never = np.array([[3.0, 0, 0], [1, 0, 0], [0, 0, 0]])  # class 2 neither occurs nor is predicted
    assert f.macro_f1(never) == pytest.approx((6 / 7 + 0 + 0) / 3)


def test_mcc_by_hand():
    """c = 12 of s = 16; predicted 6, 4, 6 times; occurring 5, 6, 5 times."""
    above = 12 * 16 - (6 * 5 + 4 * 6 + 6 * 5)
    assert f.mcc(CONFUSION) == pytest.approx(above / math.sqrt((256 - 88) * (256 - 86)))


def test_mcc_of_two_classes_is_the_usual_one():
    tp, fn, fp, tn = 7.0, 3.0, 2.0, 8.0
    usual = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert f.mcc(np.array([[tp, 0, fn], [0, 0, 0], [fp, 0, tn]])) == pytest.approx(usual)


def test_mcc_is_one_for_the_truth_and_zero_for_a_constant():
    assert f.mcc(np.diag([3.0, 4.0, 5.0])) == pytest.approx(1)
    assert f.mcc(np.array([[5.0, 0, 0], [3, 0, 0], [2, 0, 0]])) == 0
    assert f.mcc(np.array([[0.0, 0, 0], [3, 2, 1], [0, 0, 0]])) == 0


def test_ece_and_log_loss_by_hand():
    """Bins of width 1/15: .7 and .68 are in the eleventh; .4 is on the upper edge of the sixth, and in it."""
    probability = [[0.7, 0.2, 0.1], [0.16, 0.68, 0.16], [0.3, 0.3, 0.4], [0.35, 0.4, 0.25]]
    label = [0, 2, 2, 0]
    got = f.scores(one_block(probability, label))
    in_high = abs(0.7 + 0.68 - 1)  # one of two right
    in_low = abs(0.4 + 0.4 - 1)
    assert got["ece"][0] == pytest.approx((in_high + in_low) / 4)
    assert got["log_loss"][0] == pytest.approx(-np.log([0.7, 0.16, 0.4, 0.35]).mean())
    assert got["accuracy"][0] == 0.5


def test_edges_of_the_bins():
    """A probability of exactly k / 15 belongs to the lower bin, and 1 to the last bin."""
    sums = one_block([[1.0, 0, 0], [0.6, 0.4, 0.0], [0.61, 0.39, 0.0]], [0, 0, 0])
    assert np.flatnonzero(sums.bins[0, :, 1]).tolist() == [8, 9, 14]


def test_rows_of_the_confusion_are_what_came():
    sums = one_block([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]], [1, 1, 0])
    np.testing.assert_array_equal(sums.confusion[0], [[1, 0, 0], [0, 0, 2], [0, 0, 0]])


def test_an_impossible_example_costs_no_more_than_the_least_probability():
    got = f.scores(one_block([[1.0, 0.0, 0.0]], [1]))
    assert got["log_loss"][0] == pytest.approx(-math.log(1e-9))


def test_blocks_add_up_to_the_whole():
    random = np.random.default_rng(0)
    probability, label = random.dirichlet(np.ones(3), 100), random.integers(0, 3, 100)
    parts = f.block_sums(probability, label, np.arange(100) // 7)
    whole, drawn = one_block(probability, label), parts.drawn(np.ones((1, 15)))
    for name, score in f.scores(whole).items():
        assert f.scores(drawn)[name][0] == pytest.approx(score[0])
    twice = f.scores(parts.drawn(np.eye(15)[[3]] * 2))["log_loss"][0]
    assert twice == pytest.approx(-np.log(probability[np.arange(21, 28), label[21:28]]).mean())


def test_draws_are_of_whole_blocks_with_replacement():
    times = f.draw_blocks(20, draws=400, seed=1)
    assert times.shape == (400, 20) and (times.sum(1) == 20).all()
    assert times.max() > 1 and times.min() == 0
    np.testing.assert_allclose(times.mean(0), 1, atol=0.2)
    np.testing.assert_array_equal(times, f.draw_blocks(20, draws=400, seed=1))


def test_blocks_widen_the_interval_of_examples_that_hang_together():
    """With stretches of 25 equal examples, the interval by blocks is about five times as wide as by examples."""
    random = np.random.default_rng(0)
    label = np.repeat(random.integers(0, 2, 40), 25)
    probability = np.tile([0.6, 0.4, 0.0], (1000, 1))

    def width(block):
        sums = f.block_sums(probability, label, block)
        low, high = f.interval(f.scores(sums.drawn(f.draw_blocks(block.max() + 1, draws=500, seed=0)))["accuracy"])
        return high - low

    assert 4 < width(np.arange(1000) // 25) / width(np.arange(1000)) < 6


def test_scores_are_averaged_over_seeds_on_the_same_draws():
    random = np.random.default_rng(0)
    label, block = random.integers(0, 3, 60), np.arange(60) // 6
    seeds = [f.block_sums(random.dirichlet(np.ones(3), 60), label, block) for _ in range(3)]
    times = f.draw_blocks(10, draws=200, seed=0)
    got = f.seed_scores(seeds, times)
    alone = [f.seed_scores([one], times)["mcc"] for one in seeds]
    assert got["mcc"]["mean"] == pytest.approx(np.mean([one["mean"] for one in alone]))
    assert got["mcc"]["std"] == pytest.approx(np.std([one["mean"] for one in alone])) and got["mcc"]["std"] > 0
    np.testing.assert_allclose(got["mcc"]["draws"], np.mean([one["draws"] for one in alone], axis=0))
    assert got["mcc"]["low"] < got["mcc"]["mean"] < got["mcc"]["high"]
    assert alone[0]["std"] == 0


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


def test_nothing_to_score_is_refused():
    with pytest.raises(InputError, match="no forecast to score"):
        f.block_sums(np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(0, np.int64))
