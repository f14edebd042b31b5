"""Distances of selections, counted for all of them at once, are those of the selected samples."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from lob_jax.evaluation.fidelity.conditional import CONDITIONALS
from lob_jax.evaluation.fidelity.faults.counted import LARGEST, of_measure, of_rule
from lob_jax.evaluation.fidelity.measure import Measure
from lob_jax.evaluation.fidelity.samples import Sample, joint, view
from lob_jax.evaluation.fidelity.score import Score, all_scores

SEQUENCES, DRAWS = 12, 7
SPREAD = next(score for score in all_scores() if score.name == "spread")


@pytest.fixture(scope="module")
def selections():
    order = np.argsort(np.random.default_rng(1).random((DRAWS, SEQUENCES)), axis=1)
    return (order < 5).astype(np.int64), ((order >= 5) & (order < 10)).astype(np.int64)


def sample(seed, scale=1.0, *, whole=False, condition=False):
    rng = np.random.default_rng(seed)
    value, sequence = scale * rng.standard_normal(300), np.sort(rng.integers(SEQUENCES, size=300))
    value = np.round(2 * value) if whole else value
    return Sample(value, sequence, np.round(rng.random(300) * 3) if condition else np.zeros(0), SEQUENCES)


def of_discrete(discrete: bool) -> Score:
    return dataclasses.replace(SPREAD, discrete=discrete)


def chosen(of, weight):
    return of.value[weight[of.sequence] > 0]


@pytest.mark.parametrize("faulty", [False, True])
def test_distribution_functions_are_compared_as_scipy_does(selections, faulty):
    """Every value of the samples is one of the points, so that nothing is approximate."""
    real, planted = sample(0, whole=True), sample(1, 2.0, whole=True)
    planted = dataclasses.replace(planted, value=np.clip(planted.value, real.value.min(), real.value.max()))
    assert set(planted.value) <= set(real.value)
    statistics = of_rule(of_discrete(True), real, planted)
    w1, ks = (statistics[name](*selections, faulty) for name in ("w1", "ks"))
    for draw, (one, other) in enumerate(zip(*selections, strict=True)):
        pair = chosen(real, one), chosen(planted if faulty else real, other)
        assert ks[draw] == pytest.approx(ks_2samp(*pair).statistic)
        assert w1[draw] == pytest.approx(wasserstein_distance(*pair))


@pytest.mark.parametrize("faulty", [False, True])
def test_l1_is_total_variation_over_distinct_values(selections, faulty):
    real, planted = sample(0, whole=True), sample(1, 2.0, whole=True)
    l1 = of_rule(of_discrete(True), real, planted)["l1"](*selections, faulty)
    for draw, (one, other) in enumerate(zip(*selections, strict=True)):
        pair = chosen(real, one), chosen(planted if faulty else real, other)
        values = np.unique(np.concatenate(pair))
        shares = [(part[:, None] == values).mean(axis=0) for part in pair]
        assert l1[draw] == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)


@pytest.mark.parametrize("rule", [of_discrete(False), *CONDITIONALS], ids=lambda rule: rule.name)
def test_l1_is_that_of_the_comparison_with_the_bins_of_all_real_flow(rule, selections):
    conditional = not isinstance(rule, Score)
    real, planted = sample(0, condition=conditional), sample(1, 1.5, condition=conditional)
    l1 = of_rule(rule, real, planted)["l1"](*selections, True)
    seen = view(joint(rule, real, planted), np.repeat([1, 0], SEQUENCES))
    zeros = np.zeros(SEQUENCES, np.int64)
    for draw, (one, other) in enumerate(zip(*selections, strict=True)):
        first, second = np.concatenate([one, zeros]), np.concatenate([zeros, other])
        expected = seen.between(first[seen.sequence], second[seen.sequence]).l1
        assert l1[draw] == pytest.approx(expected)


def test_selections_without_values_are_apart_or_undefined(selections):
    real, none = sample(0), Sample(np.zeros(0), np.zeros(0, np.int64), np.zeros(0), SEQUENCES)
    for statistic in of_rule(of_discrete(False), real, none).values():
        assert (statistic(*selections, True) >= 1).all()
    for statistic in of_rule(of_discrete(False), none, none).values():
        assert np.isnan(statistic(*selections, True)).all()


def test_the_largest_difference_is_in_deviations_of_real_selections(selections):
    rng = np.random.default_rng(0)
    real, planted = rng.random((SEQUENCES, 3)), rng.random((SEQUENCES, 3))

    def figures(total):
        return {"ratio": total[:, 0] / total[:, 1], "sum": total[:, 2], "nothing": np.full(len(total), np.nan)}

    measure = Measure("m", "m", "", lambda flow: real, figures)
    found = of_measure(measure, real, planted)[LARGEST](*selections, True)
    first, second = figures(selections[0] @ real), figures(selections[1] @ planted)
    apart = [np.abs(first[name] - second[name]) / first[name].std() for name in ("ratio", "sum")]
    np.testing.assert_allclose(found, np.max(apart, axis=0))
    assert np.isinf(of_measure(measure, real, real[:0])[LARGEST](*selections, True)).all()
    assert np.isnan(of_measure(measure, real[:0], real)[LARGEST](*selections, False)).all()
