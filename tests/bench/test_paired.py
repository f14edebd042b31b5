import math

import pytest

from lob_jax.bench.paired import (
    Difference,
    compare_paired,
    detectable_difference,
    differences_by_seed,
    pooled_deviation,
)


def test_differences_are_of_the_seeds_that_both_have():
    assert differences_by_seed({0: 5.0, 2: 7.0, 3: 1.0}, {2: 4.0, 0: 3.5, 1: 9.0}) == {0: 1.5, 2: 3.0}


def test_deviations_are_pooled_within_variants():
    # (1, 2, 3) has the sum of squares 2, (10, 14) has 8: 10 in all, over 2 + 1 degrees of freedom.
    deviation, degrees = pooled_deviation([[1.0, 2.0, 3.0], [10.0, 14.0]])
    assert deviation == pytest.approx(math.sqrt(10 / 3))
    assert degrees == pytest.approx(3 / 1.25)


def test_one_variant_has_the_degrees_of_its_seeds():
    assert pooled_deviation([[1.0, 2.0, 3.0]]) == (pytest.approx(1.0), 2.0)


def test_many_variants_have_less_than_four_times_the_degrees_of_one():
    degrees = [pooled_deviation([[0.0, 1.0, 2.0]] * count)[1] for count in (1, 4, 1000)]
    assert degrees == [2.0, pytest.approx(8 / 1.75), pytest.approx(2000 / 250.75)]
    assert degrees[-1] < 4 * 2


def test_single_seeds_have_no_deviation():
    deviation, degrees = pooled_deviation([[1.0], [2.0]])
    assert math.isnan(deviation) and degrees == 0
    assert math.isnan(detectable_difference(deviation, degrees, 1))


def test_what_can_be_detected_is_that_of_the_table_of_t():
    assert detectable_difference(1.0, 2, 3) == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert detectable_difference(2.0, 10, 4) == pytest.approx(2.228139, rel=1e-6)


@pytest.mark.parametrize(
    ("mean", "detectable", "detected"),
    [(0.3, 0.2, True), (-0.3, 0.2, True), (0.1, 0.2, False), (0.0, 0.0, False), (0.3, math.nan, False)],
)
def test_a_difference_is_detected_beyond_what_can_be(mean, detectable, detected):
    assert Difference((0, 1), mean, 0.1, detectable).detected is detected


def test_variants_are_compared_with_their_own_reference():
    figures = {
        "plain": {0: 10.0, 1: 20.0, 2: 30.0},
        "other": {0: 1.0, 1: 2.0},
        "mirror": {0: 9.0, 1: 18.0, 2: 27.0},
        "ahead": {0: 1.5, 1: 2.5},
        "missing": {5: 1.0},
    }
    references = {"mirror": "plain", "ahead": "other", "missing": "plain", "absent": "plain"}
    found, deviation, degrees = compare_paired(figures, references)
    assert set(found) == {"mirror", "ahead"}  # the others have no seed in common with their reference
    assert found["mirror"].mean == -2.0 and found["mirror"].deviation == 1.0
    assert found["ahead"].seeds == (0, 1) and found["ahead"].mean == 0.5 and found["ahead"].deviation == 0.0
    assert deviation == pytest.approx(math.sqrt(2 / 3)) and degrees == pytest.approx(3 / 1.25)
    assert found["ahead"].detectable == pytest.approx(found["mirror"].detectable * math.sqrt(3 / 2))
