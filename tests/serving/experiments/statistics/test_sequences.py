"""Confidence sequences: what the closed forms say, and that the bounds hold at all times at once."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lob_jax.serving.experiments.statistics.sequences import (
    Sums,
    bounds,
    by_unit,
    log_evidence,
    rho_for,
    running,
    running_by_unit,
    sums,
)

RHO, ALPHA, LIMIT = 0.06, 0.05, 2.0
VALUES = st.lists(st.floats(-LIMIT, LIMIT), min_size=1, max_size=200).map(np.array)


def at(found, place):
    return Sums(*(part[..., place] for part in (found.count, found.mean, found.squares)))


def log_evidence_by_hand(x, mu):
    total, spread = np.sum(x - mu), np.sum((x - mu) ** 2)
    return 0.5 * np.log(RHO / (RHO + spread)) + total**2 / (2 * (RHO + spread))


def test_the_mixture_is_that_of_its_definition():
    x, mu = np.array([0.3, -0.1, 0.4, 0.2]), 0.05
    # The integral over l of exp(l S - l^2 V / 2) and the density of a normal distribution with variance 1 / rho.
    grid = np.linspace(-80, 80, 400_001)
    total, spread = np.sum(x - mu), np.sum((x - mu) ** 2)
    density = np.sqrt(RHO / (2 * np.pi)) * np.exp(-RHO * grid**2 / 2)
    mixture = np.sum(np.exp(grid * total - grid**2 * spread / 2) * density) * (grid[1] - grid[0])
    assert np.exp(log_evidence(sums(x), mu, rho=RHO)) == pytest.approx(mixture, rel=1e-9)


def test_the_mean_of_the_next_factor_is_at_most_one_for_symmetric_observations():
    """The mixture, after +s or -s of the same probability, is on average at most what it was before, for every s."""
    before = sums(np.array([0.3, -0.2, 0.25]))
    for step in (0.0, 0.01, 0.1, 1.0, 50.0):
        after = [np.exp(log_evidence(sums(np.array([0.3, -0.2, 0.25, sign * step])), 0.0, rho=RHO)) for sign in (-1, 1)]
        assert np.mean(after) <= np.exp(log_evidence(before, 0.0, rho=RHO)) * (1 + 1e-12)


@hypothesis.given(VALUES, st.floats(-LIMIT, LIMIT))
def test_sums_at_once_and_one_by_one_give_the_evidence_of_the_definition(x, mu):
    every = running(x)
    for place in range(len(x)):
        for found in (sums(x[: place + 1]), at(every, place)):
            assert log_evidence(found, mu, rho=RHO) == pytest.approx(
                log_evidence_by_hand(x[: place + 1], mu), rel=1e-6, abs=1e-6
            )


@hypothesis.given(VALUES, st.floats(1e-3, 10), st.floats(1e-4, 0.5))
def test_bounds_are_the_hull_of_the_means_with_little_evidence(x, rho, alpha):
    found = sums(x)
    low, high = bounds(found, rho=rho, alpha=alpha, limit=LIMIT)
    grid = np.linspace(-LIMIT, LIMIT, 2_001)
    inside = grid[np.array([log_evidence(found, mu, rho=rho) for mu in grid]) < -np.log(alpha)]
    assert low <= high and not np.isnan(low)
    for mu in inside:
        assert low <= mu <= high
    for bound, end in ((low, -LIMIT), (high, LIMIT)):
        if np.isinf(bound):
            assert log_evidence(found, end, rho=rho) < -np.log(alpha) and bound * end > 0
        else:
            assert log_evidence(found, bound, rho=rho) == pytest.approx(-np.log(alpha), rel=1e-6)


@hypothesis.given(VALUES, st.randoms())
def test_the_order_of_observations_makes_no_difference_to_bounds(x, random):
    mixed = x.tolist()
    random.shuffle(mixed)
    before, after = (bounds(sums(np.array(one)), rho=RHO, alpha=ALPHA, limit=LIMIT) for one in (x, mixed))
    assert np.array(before) == pytest.approx(np.array(after), rel=1e-9, abs=1e-12)


def test_several_series_at_once_are_those_one_by_one():
    x = np.random.default_rng(0).normal(0.02, 0.07, (3, 60))
    low, high = bounds(running(x), rho=RHO, alpha=ALPHA, limit=LIMIT)
    assert low.shape == high.shape == (3, 60)
    for series in range(3):
        for count in (1, 20, 60):
            one = bounds(sums(x[series, :count]), rho=RHO, alpha=ALPHA, limit=LIMIT)
            both = np.array([low[series, count - 1], high[series, count - 1]])
            assert both == pytest.approx(np.array(one), rel=1e-9)
    assert np.isinf(low[:, 0]).all() and np.isfinite(high[:, -1]).all()


@pytest.mark.parametrize("x", [[], [0.0], [2.0], [-2.0], [0.0, 0.0], [2.0, 2.0], [2.0, -2.0]])
def test_of_few_observations_nothing_can_be_said(x):
    assert bounds(sums(np.array(x)), rho=RHO, alpha=ALPHA, limit=LIMIT) == (-np.inf, np.inf)


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1.0, 1e9, 1e100])
def test_bounds_are_numbers_for_values_of_any_size(scale):
    x = scale * np.random.default_rng(1).standard_normal(500)
    low, high = bounds(sums(x), rho=rho_for(0.07, 0.02), alpha=ALPHA, limit=1e3 * scale)
    assert not np.isnan([low, high]).any() and low < x.mean() < high
    low, high = bounds(running(x), rho=rho_for(0.07, 0.02), alpha=ALPHA, limit=1e3 * scale)
    assert not np.isnan([low, high]).any()


def test_equal_scores_show_that_there_is_no_difference():
    low, high = bounds(sums(np.zeros(1_000)), rho=RHO, alpha=ALPHA, limit=LIMIT)
    assert -0.05 < low < 0 < high < 0.05


HEAVY = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "without a mean": lambda rng, shape: rng.standard_cauchy(shape),
    "two values": lambda rng, shape: rng.choice([-1.0, 1.0], shape),
    "of growing size": lambda rng, shape: rng.choice([-1.0, 1.0], shape) * 1.01 ** np.arange(shape[1]),
}


@pytest.mark.parametrize("kind", HEAVY)
def test_symmetric_observations_of_any_tails_reach_the_level_no_more_often_than_alpha(kind):
    """The exact case: 1,000 series of 500; 75 would be three standard deviations above 50."""
    x = HEAVY[kind](np.random.default_rng(2), (1_000, 500)) * 0.07
    total, spread = np.cumsum(x, axis=1), np.cumsum(x * x, axis=1)
    found = Sums(np.arange(1.0, 501), total / np.arange(1, 501), spread - total**2 / np.arange(1, 501))
    reached = (log_evidence(found, 0.0, rho=RHO) >= -np.log(ALPHA)).any(axis=1).sum()
    assert reached <= 70
    if kind == "normal":
        assert reached >= 10  # the bounds are not so wide that nothing is ever found


def test_the_bounds_hold_the_mean_at_all_times_and_grow_narrow():
    x = np.random.default_rng(3).normal(0.3, 0.1, (1_000, 1_000))
    low, high = bounds(running(x), rho=rho_for(0.1, 0.02), alpha=ALPHA, limit=LIMIT)
    assert ((low > 0.3) | (high < 0.3)).any(axis=1).sum() <= 70
    assert (high - low)[:, -1].max() < 0.03 < (high - low)[:, 99].min()


def test_skewed_observations_reach_the_level_about_as_often_as_alpha():
    """The asymptotic case, by the means of many events that blocks are; exponential ones, which are skewed to 2."""
    x = (np.random.default_rng(4).standard_gamma(20, (1_000, 1_000)) - 20) / 20**0.5 * 0.07
    low, high = bounds(running(x), rho=RHO, alpha=ALPHA, limit=LIMIT)
    assert ((low > 0) | (high < 0)).any(axis=1).sum() <= 70


def test_where_the_mean_drifts_the_bounds_are_about_its_average_so_far():
    drift = np.repeat([0.2, -0.2], 300)
    x = drift + np.random.default_rng(5).normal(0, 0.05, (500, 600))
    low, high = bounds(running(x), rho=RHO, alpha=ALPHA, limit=LIMIT)
    average = np.cumsum(drift) / np.arange(1, 601)
    assert ((low > average) | (high < average)).any(axis=1).sum() <= 40
    assert (low.max(axis=1) > high.min(axis=1)).all()  # so that bounds of all times have nothing in common


def test_the_rho_is_near_the_best_for_what_it_was_chosen_for():
    x = np.random.default_rng(6).normal(0.02, 0.07, (300, 1_000))

    def median(rho):
        low, _ = bounds(running(x), rho=rho, alpha=ALPHA, limit=LIMIT)
        return np.median(np.where((low > 0).any(axis=1), np.argmax(low > 0, axis=1) + 1, np.inf))

    best = rho_for(0.07, 0.02)
    assert 80 <= median(best) <= 130  # nine times .07^2 / .02^2 is 110
    assert median(best) < median(best / 30) and median(best) < median(best * 30)
    assert median(best / 10) < 1.35 * median(best) and median(best * 10) < 1.7 * median(best)


def test_units_whose_observations_are_alike_make_the_bounds_wider():
    unit = np.repeat([7, 2, 5], [2, 1, 3])
    x = np.array([0.3, 0.5, -0.1, -0.2, -0.3, -0.2])
    away = np.array([0.8, -0.1, -0.7])  # the sums of units, whose mean is 0
    assert by_unit(x, unit).squares == pytest.approx(np.sum(away**2) * 3 / 2)
    assert by_unit(x, unit).squares > sums(x).squares
    opposite = np.array([0.3, -0.3, 0.0, 0.1, -0.2, 0.1])
    assert by_unit(opposite, unit).squares == sums(opposite).squares  # it never falls
    assert by_unit(x, np.zeros(6)).squares == sums(x).squares  # one unit says nothing about others
    low, high = bounds(by_unit(np.tile(x, 20), np.tile(unit, 20)), rho=RHO, alpha=ALPHA, limit=LIMIT)
    narrow = bounds(sums(np.tile(x, 20)), rho=RHO, alpha=ALPHA, limit=LIMIT)
    assert low < narrow[0] and high > narrow[1]


@hypothesis.given(VALUES, st.integers(1, 9), st.randoms())
def test_units_one_by_one_are_those_at_once(x, count, random):
    unit = np.array([random.randrange(count) for _ in x])
    every = running_by_unit(x, unit)
    for place in range(len(x)):
        at_once = by_unit(x[: place + 1], unit[: place + 1])
        now = at(every, place)
        assert (now.count, now.mean) == (at_once.count, pytest.approx(at_once.mean, abs=1e-9))
        assert now.squares == pytest.approx(at_once.squares, rel=1e-6, abs=1e-6)


def test_arms_that_differ_from_unit_to_unit_are_not_told_apart_if_they_are_equal_on_average():
    """Units of 10 blocks, for which the difference is .05 or -.05; blocks taken for independent are wrong here."""
    rng, unit = np.random.default_rng(7), np.repeat(np.arange(60), 10)
    wrong = {"by unit": 0, "by block": 0}
    for _ in range(200):
        x = rng.normal(0, 0.05, 60)[unit] + rng.normal(0, 0.07, 600)
        for name, found in (("by unit", running_by_unit(x, unit)), ("by block", running(x))):
            low, high = bounds(found, rho=RHO, alpha=ALPHA, limit=LIMIT)
            wrong[name] += bool((low[100:] > 0).any() or (high[100:] < 0).any())
    assert wrong["by unit"] <= 25 and wrong["by block"] >= 60
