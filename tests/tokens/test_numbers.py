"""Numbers as tokens, against hand-made spellings and a second way of spelling by text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.tokens import numbers

SECOND = 10**9


def write(write_one, *arguments):
    tokens = np.zeros(64, np.uint16)
    return tokens[: write_one(tokens, 0, *arguments)].tolist()


def groups_by_text(digits):
    """Cut digits into threes from the left, pad the last with zeros, drop what is all zeros at the end."""
    groups = [digits[k : k + 3].ljust(3, "0") for k in range(0, len(digits), 3)]
    while groups and groups[-1] == "000":
        groups.pop()
    return [7000 + int(group) for group in groups]


def number_by_text(base, number):
    text = str(number)
    if len(text) == 1:
        return [base + number]
    return [base + 90 * (len(text) - 2) + int(text[:2]), *groups_by_text(text[2:])]


@pytest.mark.parametrize(
    ("number", "tokens"),
    [
        (0, [8000]),
        (9, [8009]),
        (10, [8010]),
        (99, [8099]),
        (100, [8100]),
        (105, [8100, 7500]),
        (1005, [8190, 7050]),
        (100_500, [8370, 7050]),
        (100_005, [8370, 7000, 7500]),
        (123_456_789_012, [8000 + 12 + 900, 7345, 7678, 7901, 7200]),
        (10**12 - 1, [8999, 7999, 7999, 7999, 7900]),
    ],
)
def test_spelling_of_a_number(number, tokens):
    assert write(numbers.write_number, 8000, number) == tokens


@pytest.mark.parametrize(
    ("distance", "tokens"),
    [
        (0, [1000]),
        (12, [1012]),
        (9900, [1279]),
        (9999, [1279, 7990]),
        (10_000, [1469, 7100]),
        (12_345, [1469, 7123, 7450]),
        (1_000_000, [1471, 7100]),
        (10**14 - 1, [1478, 7999, 7999, 7999, 7999, 7990]),
        (-1, [1280]),
        (-9, [1288]),
        (-990, [1468]),
        (-999, [1468, 7900]),
        (-1000, [1479, 7100]),
        (-1234, [1479, 7123, 7400]),
        (-(10**14) + 1, [1489, 7999, 7999, 7999, 7999, 7990]),
    ],
)
def test_spelling_of_a_price(distance, tokens):
    assert write(numbers.write_price, 1000, distance) == tokens
    assert numbers.read_price(np.array(tokens), 1, tokens[0] - 1000) == (distance, len(tokens))


@pytest.mark.parametrize(
    ("gap", "tokens"),
    [
        (0, [9000]),
        (120_000, [9372]),
        (10**12, [6, 9000]),
        (3 * 10**12 + 5, [6, 6, 6, 9005]),
        (-1, [7, 9001]),
        (-(10**12), [7, 6, 9000]),
    ],
)
def test_spelling_of_a_gap(gap, tokens):
    assert write(numbers.write_gap, gap) == tokens
    assert numbers.read_gap(np.array(tokens), 0) == (gap, len(tokens))


# Numbers of every length, and of every run of zeros at their end.
lengths = st.integers(1, 14).flatmap(lambda n: st.integers(0, 10**n - 1))
values = st.builds(lambda number, zeros: number // 10**zeros * 10**zeros, lengths, st.integers(0, 12))


@settings(max_examples=300)
@given(values.filter(lambda n: n < 10**12))
def test_a_number_is_spelled_as_text_says_and_comes_back(number):
    tokens = write(numbers.write_number, 8000, number)
    assert tokens == number_by_text(8000, number)
    follower = [*tokens, 9000]
    assert numbers.read_number(np.array(follower), 1, tokens[0] - 8000) == (number, len(tokens))


@settings(max_examples=300)
@given(values, st.sampled_from([1, -1]))
def test_a_price_is_spelled_as_text_says_and_comes_back(far, way):
    distance = way * far
    tokens = write(numbers.write_price, 2500, distance)
    if distance >= 0:
        escape, short = 469 + len(str(far)) - 5, number_by_text(2500, far)
        expected = short if len(str(far)) <= 4 else [2500 + escape, *groups_by_text(str(far))]
    else:
        escape, short = 479 + len(str(far)) - 4, number_by_text(2779, far)
        expected = short if len(str(far)) <= 3 else [2500 + escape, *groups_by_text(str(far))]
    assert tokens == expected
    assert numbers.read_price(np.array([*tokens, 8000]), 1, tokens[0] - 2500) == (distance, len(tokens))


@pytest.mark.parametrize(
    ("gap", "carry", "kept", "coded"),
    [
        (0, 400, 5, 0),  # what came at one time stays together
        (123_456, 0, 5, 123_460),
        (123_455, 0, 5, 123_460),
        (123_454, 0, 5, 123_450),
        (123_454, 1, 5, 123_460),
        (123_456, 50, 5, 123_510),  # five units: made up for
        (123_456, 51, 5, 123_460),  # more: not in this gap
        (123_456, -50, 5, 123_410),
        (3, -3, 5, 0),
        (3, -4, 5, 3),
        (999_996, 0, 5, 1_000_000),
        (10**12 - 1, 0, 5, 10**12),
        (10**12 + 7, 0, 2, 10**12 + 7),
        (10**12 + 156, 0, 2, 10**12 + 160),
        (-123_456, 40, 5, -123_460),
        (123_456, 400, 12, 123_456),
    ],
)
def test_rounding_of_a_gap(gap, carry, kept, coded):
    assert numbers.coded_gap(gap, carry, kept) == coded


@pytest.mark.parametrize("kept", [2, 5, 8])
def test_the_clock_does_not_drift_and_bursts_stay_whole(kept):
    rng = np.random.default_rng(0)
    gaps = (10 ** rng.uniform(0, 10, 5000)).astype(np.int64) * (rng.random(5000) < 0.7)
    carry = 0
    for gap in gaps.tolist():
        coded = numbers.coded_gap(gap, carry, kept)
        assert (coded == 0) == (gap == 0) or gap + carry == 0
        carry += gap - coded
        # What stays open is about half a unit of the longest gap, which has ten digits; left alone, the errors of
        # gaps as long as that would add up to ten times as much.
        assert abs(carry) <= 0.6 * 10 ** (10 - kept)


@pytest.mark.parametrize("kept", [2, 5])
def test_cell_widths_are_the_counts_of_gaps_that_round_there(kept):
    gaps = np.concatenate([np.arange(10 ** (kept + 1) + 2000), 10 ** (kept + 2) + np.arange(-1000, 1000)])
    coded, counts = np.unique([numbers.round_gap(int(gap), kept) for gap in gaps], return_counts=True)
    whole = (coded < 10 ** (kept + 1) + 1900) | (np.abs(coded - 10 ** (kept + 2)) < 400)
    widths = 2.0 ** numbers.gap_cell_log2_width(coded[whole], kept)
    assert np.allclose(widths, counts[whole])


def test_cells_of_exact_time_have_no_width():
    assert not numbers.gap_cell_log2_width(np.array([0, 7, -123_456, 10**12, 10**13 + 5]), numbers.ALL_DIGITS).any()
