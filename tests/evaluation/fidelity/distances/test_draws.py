"""Random halves and resamples: what they may contain, how often, and their seeds."""

import numpy as np
import pytest

from lob_jax.evaluation.fidelity.distances.draws import halves, sequence_resamples, value_resamples
from lob_jax.evaluation.fidelity.samples import View
from lob_jax.statistics.distances import Binning, frame


@pytest.mark.parametrize(("real", "generated", "size"), [(9, 9, 4), (8, 3, 3), (4, 20, 2), (1, 5, 0)])
def test_halves_are_disjoint_and_of_one_size(real, generated, size):
    draws = halves(real, generated, splits=5, seed=0)
    for first, second, chosen in zip(draws.first, draws.second, draws.generated, strict=True):
        assert len({*first, *second}) == 2 * size and len({*chosen}) == size
        assert max([-1, *first, *second]) < real and max([-1, *chosen]) < generated
        if real == generated:
            assert not {*first} & {*chosen}


def test_the_floor_of_flows_of_one_size_is_the_same():
    one, other = halves(8, 4, splits=3, seed=2), halves(8, 100, splits=3, seed=2)
    np.testing.assert_array_equal(one.second, other.second)
    assert not np.array_equal(one.first, halves(8, 4, splits=3, seed=3).first)


def test_resamples_of_sequences_have_as_many_as_there_are():
    first, second = sequence_resamples(5, 3, resamples=200, seed=0)
    assert np.all(first.sum(axis=1) == 5) and np.all(second.sum(axis=1) == 3)
    assert not first[:, 5:].any() and not second[:, :5].any()
    np.testing.assert_allclose(first[:, :5].mean(axis=0), 1, atol=0.3)
    np.testing.assert_allclose(first[:, :5].var(axis=0), 0.8, atol=0.35)  # of a binomial distribution: 1 - 1 / 5
    assert sequence_resamples(0, 3, resamples=1, seed=0)[1].sum() == 0


def test_resamples_of_values_stay_in_their_group_and_sample():
    value = np.array([1.0, 2, 3, 1, 2, 3, 4])
    edges, is_real = np.array([0, 3, 7]), np.array([True, False, True, True, True, False, False])
    seen = View(value, np.zeros(7, np.int64), frame(value, np.ones(7, np.int64), binning=Binning.DISTINCT, edges=edges))
    drawn = list(value_resamples(seen, is_real, resamples=300, name="a", seed=0))
    for real, generated in drawn:
        assert not real[~is_real].any() and not generated[is_real].any()
        assert [real[:3].sum(), real[3:].sum(), generated[:3].sum(), generated[3:].sum()] == [2, 2, 1, 2]
    np.testing.assert_allclose(np.mean([real for real, _ in drawn], axis=0), is_real, atol=0.15)
    again = list(value_resamples(seen, is_real, resamples=300, name="a", seed=0))
    np.testing.assert_array_equal(drawn, again)
    assert not np.array_equal(drawn, list(value_resamples(seen, is_real, resamples=300, name="b", seed=0)))
