import numpy as np
import pytest

from lob_jax.statistics.histograms import QUANTILES, new_histogram, note, note_all, summarize


def law_of(values, unit=1.0):
    histogram = new_histogram()
    note_all(histogram, np.array(values, np.int64))
    return summarize(histogram, unit)


def exactly(values, weights=None):
    """Compute the same quantiles by definition: the smallest number up to which a share q of the weight lies."""
    pairs = sorted(zip(values, weights or [1] * len(values), strict=True))
    total = sum(weight for _, weight in pairs)
    found = {"mean": sum(value * weight for value, weight in pairs) / total, "min": pairs[0][0], "max": pairs[-1][0]}
    for q in QUANTILES:
        found[f"q{q:g}"] = next(v for k, (v, _) in enumerate(pairs) if sum(w for _, w in pairs[: k + 1]) >= q * total)
    return found


def test_numbers_of_up_to_four_digits_are_exact():
    values = np.random.default_rng(0).integers(-9_999, 10_000, 500).tolist()
    assert law_of(values) == pytest.approx(exactly(values))


def test_numbers_of_more_digits_are_cut_to_four():
    for value, cut in ((10_000, 10_000), (99_999, 99_990), (123_456, 123_400), (-123_456, -123_400)):
        found = law_of([value - 10**7, value, value + 10**7])
        assert found["q0.5"] == cut
    assert law_of([5, 2**63 - 1, 2**63 - 1])["q0.5"] == 9_223 * 10**15
    assert law_of([-(2**63) + 1, 7, 8])["min"] == -(2.0**63)


def test_quantiles_never_leave_the_extremes():
    found = law_of([123_456, 123_456])
    assert {found[f"q{q:g}"] for q in QUANTILES} == {123_456} and found["max"] == 123_456


def test_weights_count_and_a_number_without_weight_does_not():
    values, weights = [5, 1, 700, 3], [10, 50, 7, 33]
    histogram = new_histogram()
    for value, weight in [*zip(values, weights, strict=True), (9_999, 0), (-4, 0)]:
        note(histogram, value, weight)
    assert summarize(histogram) == pytest.approx(exactly(values, weights))


def test_a_distribution_is_in_the_unit_that_is_asked_for_and_of_nothing_is_empty():
    assert law_of([10, 20, 30], unit=10)["q0.5"] == 2 and law_of([10, 20, 30], unit=10)["mean"] == 2
    assert law_of([]) == {}
