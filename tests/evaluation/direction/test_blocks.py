"""The block bootstrap: blocks of time, draws of blocks, and intervals."""

import numpy as np
import pytest

from lob_jax.evaluation.direction.blocks import blocks_of, draw_blocks, interval, number
from lob_jax.evaluation.direction.scores import scores
from lob_jax.evaluation.direction.sums import block_sums


def test_a_block_is_a_span_of_one_stretch_of_time():
    sequence, position = np.array([0, 0, 0, 0, 2, 2]), np.array([0, 9, 10, 35, 35, 39])
    assert blocks_of(sequence, position, length=10).tolist() == [0, 0, 1, 2, 3, 3]


def test_draws_are_of_whole_blocks_with_replacement():
    times = draw_blocks(20, draws=400, seed=1)
    assert times.shape == (400, 20) and (times.sum(1) == 20).all()
    assert times.max() > 1 and times.min() == 0
    np.testing.assert_allclose(times.mean(0), 1, atol=0.2)
    np.testing.assert_array_equal(times, draw_blocks(20, draws=400, seed=1))
    assert draw_blocks(0, draws=3, seed=0).shape == (3, 0)


def test_blocks_widen_the_interval_of_examples_that_hang_together():
    """With stretches of 25 equal examples, the interval by blocks is about five times as wide as by examples."""
    random = np.random.default_rng(0)
    label = np.repeat(random.integers(0, 2, 40), 25)
    probability = np.tile([0.6, 0.4, 0.0], (1000, 1))

    def width(block):
        sums = block_sums(probability, label, block)
        low, high = interval(scores(sums.drawn(draw_blocks(block.max() + 1, draws=500, seed=0)))["accuracy"])
        return high - low

    assert 4 < width(np.arange(1000) // 25) / width(np.arange(1000)) < 6


def test_an_interval_leaves_out_undefined_draws_unless_they_are_most():
    drawn = np.arange(101.0)
    assert interval(drawn) == pytest.approx((2.5, 97.5))
    assert interval(np.concatenate([drawn, np.full(100, np.nan)])) == pytest.approx((2.5, 97.5))
    assert np.isnan(interval(np.concatenate([drawn, np.full(101, np.nan)]))).all()
    assert number(np.nan) is None and number(np.inf) is None and number(0.5) == 0.5
