"""Observations of the split design: their means, their symmetry, and that outliers do no lasting harm."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lob_jax.serving.experiments.statistics.split import observations


def test_by_hand():
    score = np.array([5.0, 6.0, 4.0, 8.0, 7.0])
    is_challenger = np.array([True, True, False, False, True])
    # The centres: 5; the median of 5 and 6; the same; the median of all four, 5.5.
    expected = [(6 - 5) / 0.25, -(4 - 5.5) / 0.75, -(8 - 5.5) / 0.75, (7 - 5.5) / 0.25]
    assert observations(score, is_challenger, chance=0.25, clip=None) == pytest.approx(expected)
    clipped = [1 / 0.25, 1.5 / 0.75, -2 / 0.75, 1.5 / 0.25]
    assert observations(score, is_challenger, chance=0.25, clip=2.0) == pytest.approx(clipped)


@pytest.mark.parametrize("count", [0, 1])
def test_the_first_unit_gives_no_observation(count):
    assert observations(np.zeros(count), np.zeros(count, bool), chance=0.5, clip=2.0).shape == (0,)


@hypothesis.given(st.lists(st.floats(-20, 5), min_size=2, max_size=6), st.floats(0.05, 0.95))
def test_over_all_ways_to_draw_the_arms_the_mean_is_the_difference(score, chance):
    """Each arm adds a constant to its units; all draws of the arms, weighted by their chances, average to it."""
    score, total = np.array(score), np.zeros(len(score) - 1)
    for arms in itertools.product([False, True], repeat=len(score)):
        is_challenger = np.array(arms)
        weight = np.prod(np.where(is_challenger, chance, 1 - chance))
        total += weight * observations(score + 0.5 * is_challenger, is_challenger, chance=chance, clip=None)
    # The centre depends on earlier arms alone, so that it cancels from the mean of each observation.
    assert total == pytest.approx(np.full(len(score) - 1, 0.5), abs=1e-6)


@hypothesis.given(st.lists(st.floats(-20, 5), min_size=2, max_size=50), st.integers(1, 49), st.randoms())
def test_with_equal_arms_and_chances_the_other_arm_gives_the_opposite_and_later_units_nothing(score, place, random):
    score, place = np.array(score), min(place, len(score) - 1)
    is_challenger = np.array([random.random() < 0.5 for _ in score])
    other = is_challenger.copy()
    other[place] = ~other[place]
    before, after = (observations(score, arms, chance=0.5, clip=2.0) for arms in (is_challenger, other))
    assert before[place - 1] == -after[place - 1]
    assert (np.delete(before, place - 1) == np.delete(after, place - 1)).all()
    changed = score.copy()
    changed[place:] += 1.0
    assert (observations(changed, is_challenger, chance=0.5, clip=2.0)[: place - 1] == before[: place - 1]).all()


@pytest.mark.parametrize("outlier", [-np.inf, -1e308, 1e30])
def test_an_outlier_counts_for_one_unit_only(outlier):
    rng = np.random.default_rng(0)
    score, is_challenger = rng.normal(-6, 0.1, 400), rng.random(400) < 0.5
    score[7] = outlier
    found = observations(score, is_challenger, chance=0.5, clip=2.0)
    assert abs(found[6]) == 4.0 and np.abs(found[7:]).max() < 1.5


def test_scores_of_minus_infinity_alone_show_no_difference():
    assert (observations(np.full(9, -np.inf), np.arange(9) % 2 == 0, chance=0.5, clip=None) == 0).all()
