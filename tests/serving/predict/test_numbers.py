"""Ranges of numbers by their leading codes, and the distribution over them."""

import numpy as np

from lob_jax.serving.predict.numbers import NumberRanges, code_ranges, distribution, gap_ranges, likeliest
from lob_jax.tokens.numbers import code_range, write_gap, write_number


def test_the_numbers_of_a_code_begin_with_it():
    lows, highs, values = code_ranges(12)
    assert [(*row,) for row in zip(lows.tolist(), highs.tolist(), strict=True)] == [
        code_range(code)[:2] for code in range(1000)
    ]
    assert values is lows


def test_a_rounded_gap_has_the_digits_that_are_kept():
    lows, highs, _ = gap_ranges(3)  # of five digits
    tokens = np.zeros(16, np.int64)
    for code in (5, 99, 123, 456, 999):
        for number in (int(lows[code]), int(highs[code])):
            count = write_number(tokens, 0, 9000, number)
            assert tokens[0] == 9000 + code and count <= 2
    assert (lows[459], highs[459]) == (990_000, 999_990)
    exact = gap_ranges(0)
    assert (exact.low[:-1] == exact.high[:-1]).all()


def test_a_skip_is_an_open_range_of_which_the_least_is_the_value():
    skip = gap_ranges(3)
    tokens = np.zeros(16, np.int64)
    write_gap(tokens, 0, int(skip.low[-1]))
    assert tokens[0] == 6 and skip.value[-1] == skip.low[-1] == 10**12 and skip.high[-1] == 10**15 - 1


def test_quantiles_and_the_likeliest_of_a_distribution():
    ranges = NumberRanges(np.array([0, 5, 10, 20]), np.array([4, 9, 19, 99]), np.array([1, 6, 11, 21]))
    found = distribution(ranges, np.array([1.0, 0.0, 2.0, 1.0]))
    assert found.quantiles == ((0.05, 1), (0.25, 1), (0.5, 11), (0.75, 11), (0.95, 21))
    assert found.likeliest == ((10, 19, 0.5), (0, 4, 0.25), (20, 99, 0.25))


def test_the_likeliest_come_in_order_and_are_possible():
    chance_N = np.array([0.1, 0.0, 0.4, 0.1, 0.4])
    assert likeliest(chance_N, 3).tolist() == [2, 4, 0]
    assert likeliest(chance_N, 9).tolist() == [2, 4, 0, 3]
    assert likeliest(chance_N, 0).tolist() == []
