"""The check of the shares of units."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lob_jax.serving.experiments.statistics.ratio import BROKEN, UNITS, ratio_evidence


def of_arms(arms, shares, chances=None):
    chances = [shares] * len(arms) if chances is None else chances
    log_chance = sum(np.log(chance[arm]) for arm, chance in zip(arms, chances, strict=True))
    counts = [list(arms).count(arm) for arm in range(len(shares))]
    return ratio_evidence(counts, shares, log_chance=log_chance)


def test_without_units_there_is_no_evidence():
    assert ratio_evidence([0, 0], [0.5, 0.5], log_chance=0.0) == pytest.approx(1.0)


def test_it_is_the_product_of_what_the_mixture_predicts():
    shares, arms, product = [0.2, 0.3, 0.5], [2, 2, 0, 1, 2, 2, 2], 1.0
    for place, arm in enumerate(arms):
        seen = arms[:place].count(arm)
        product *= (UNITS * shares[arm] + seen) / (UNITS + place) / shares[arm]
    assert of_arms(arms, shares) == pytest.approx(product)


@hypothesis.given(st.lists(st.floats(0.05, 0.95), min_size=1, max_size=8))
def test_its_mean_is_one_also_where_chances_differ_from_unit_to_unit(firsts):
    chances = [(first, 1 - first) for first in firsts]
    mean = 0.0
    for arms in itertools.product([0, 1], repeat=len(chances)):
        weight = np.prod([chance[arm] for arm, chance in zip(arms, chances, strict=True)])
        mean += weight * of_arms(arms, (0.5, 0.5), chances)
    assert mean == pytest.approx(1.0)


def watched(chance, share, units=3_000, series=100):
    """Return the largest evidence of each series, looked at after every 10 units."""
    first = np.random.default_rng(0).random((series, units)) < chance
    count = np.cumsum(first, axis=1)[:, 9::10]
    total = np.arange(10, units + 1, 10)
    found = [
        [
            ratio_evidence([k, n - k], [share, 1 - share], log_chance=k * np.log(share) + (n - k) * np.log1p(-share))
            for k, n in zip(row, total, strict=True)
        ]
        for row in count
    ]
    return np.max(found, axis=1)


def test_right_shares_are_never_broken_and_wrong_ones_soon():
    right = watched(0.8, 0.8)
    assert (right < BROKEN).all() and (right >= 20).mean() < 0.1
    assert (watched(0.55, 0.5) >= BROKEN).mean() > 0.8


def test_huge_counts():
    assert ratio_evidence([10**9, 0], [0.5, 0.5], log_chance=10**9 * np.log(0.5)) > BROKEN
    assert 0 <= ratio_evidence([10**9, 10**9], [0.5, 0.5], log_chance=2 * 10**9 * np.log(0.5)) < 1
