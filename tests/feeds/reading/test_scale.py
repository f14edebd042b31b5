"""Steps and units: valid settings, and the coarsest units that represent every number."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.errors import InputError
from lob_jax.feeds.reading.csv_fields import ANY, DECIMAL, MOST_PLACES, MOST_UNITS, count_places
from lob_jax.feeds.reading.scale import (
    PlacesMisfit,
    Scale,
    Steps,
    common_divisor,
    fitting_places,
    parse_step,
    read_at_fitting_places,
    scale_of,
    step_of,
    steps_of,
)

INFERRED = Steps(price=0, size=0, price_decimals=9, size_decimals=8)


@given(st.lists(st.integers(-(2**62), 2**62), max_size=8), st.integers(0, 2**62))
def test_the_common_divisor_is_that_of_all_numbers_and_the_one_so_far(values, so_far):
    assert common_divisor(np.array(values, np.int64), so_far) == math.gcd(so_far, *values)


@pytest.mark.parametrize(
    ("text", "step"),
    [("0.05", (5, 2)), ("1", (1, 0)), ("25", (25, 0)), ("0.10", (1, 1)), ("1e-8", (1, 8)), ("1E2", (100, 0))],
)
def test_a_step_is_read_exactly(text, step):
    assert parse_step(text, where="tick") == step


@pytest.mark.parametrize("text", ["0", "-0.1", "nan", "inf", "", "a cent", "1e-19"])
def test_a_step_that_is_no_positive_decimal_number_is_refused(text):
    with pytest.raises(InputError, match="not a positive decimal number"):
        parse_step(text, where="tick")


def test_a_step_finer_than_the_parser_and_a_lot_that_does_not_divide_one_are_refused():
    with pytest.raises(InputError, match=r"too many decimal places[\s\S]*tick"):
        steps_of("0.001", None, price_decimals=2, size_decimals=8)
    with pytest.raises(InputError, match=r"does not divide one[\s\S]*lot"):
        steps_of(None, "0.03", price_decimals=9, size_decimals=8)
    with pytest.raises(InputError, match="does not divide one"):
        steps_of(None, "10", price_decimals=9, size_decimals=8)


def test_inferred_units_are_the_coarsest_that_hold_every_number():
    scale = scale_of(INFERRED, price_divisor=5 * 10**8, quantum_divisor=5 * 10**8, size_divisor=25 * 10**5)
    assert scale == Scale(price_scale=10, tick=5, lot_scale=1000, divide_price=10**8, divide_size=10**5)


def test_a_trade_between_ticks_makes_the_quantum_finer_and_not_the_tick():
    scale = scale_of(INFERRED, price_divisor=10**7, quantum_divisor=5 * 10**6, size_divisor=10**8)
    assert (scale.price_scale, scale.tick, scale.lot_scale) == (1000, 10, 1)


def test_a_named_step_wins_over_what_the_numbers_show():
    steps = steps_of("0.01", "0.001", price_decimals=9, size_decimals=8)
    scale = scale_of(steps, price_divisor=10**9, quantum_divisor=10**9, size_divisor=10**8)
    assert (scale.price_scale, scale.tick, scale.lot_scale) == (100, 1, 1000)


def test_without_a_number_everything_counts_in_ones():
    scale = scale_of(INFERRED, price_divisor=0, quantum_divisor=0, size_divisor=0)
    assert scale == Scale(price_scale=1, tick=1, lot_scale=1, divide_price=10**9, divide_size=10**8)


@given(
    st.lists(st.integers(1, 10**12), min_size=1, max_size=6),
    st.lists(st.integers(1, 10**12), max_size=3),
    st.lists(st.integers(1, 10**12), min_size=1, max_size=6),
)
def test_no_price_or_size_loses_a_digit(levels, trades, sizes):
    tick_units = math.gcd(*levels)
    scale = scale_of(
        INFERRED, price_divisor=tick_units, quantum_divisor=math.gcd(*levels, *trades), size_divisor=math.gcd(*sizes)
    )
    assert all(price % scale.divide_price == 0 for price in levels + trades)
    assert all(size % scale.divide_size == 0 for size in sizes)
    assert scale.tick * scale.divide_price == tick_units
    assert scale.price_scale * scale.divide_price == 10**9 and scale.lot_scale * scale.divide_size == 10**8


def counted(*lines, contents=(DECIMAL,)):
    counts = np.zeros((len(contents), 2, MOST_PLACES + 1), np.int64)
    data = "".join(f"{line}\n" for line in lines).encode()
    count_places(np.frombuffer(data, np.uint8), np.array(contents), counts)
    return counts


@pytest.mark.parametrize(
    ("number", "least", "most"),
    [
        ("0", 0, 18), ("1", 0, 18), ("1.2", 1, 17), ("-1.10", 1, 18), ("1e-8", 8, 18), ("1e12", 0, 6), ("0.000", 0, 18),
        ("1152921504606846976", 0, 0), ("115292150460684697.6", 1, 1), ("12345678901.12345678", 8, 7),
        ("-1152921504606846977", 0, -1), ("1e300", 0, -1), ("1e-19", 19, 18),
    ],
)  # fmt: skip
def test_a_number_is_counted_by_the_places_that_it_fits(number, least, most):
    (counts,) = counted(number)
    expected = np.zeros((2, MOST_PLACES + 1), np.int64)
    if least <= most:
        expected[0, least] = expected[1, most] = 1
    np.testing.assert_array_equal(counts, expected)


def test_only_the_numbers_of_decimal_columns_are_counted_and_what_is_none_ends_its_line():
    counts = counted("a,1.5,x,2", "a,b,x,2", "a,0.25", "", "a", "a,7,", contents=(ANY, DECIMAL, ANY, DECIMAL))
    assert counts[0].sum() == counts[2].sum() == 0
    assert counts[1, 0].nonzero()[0].tolist() == [0, 1, 2] and counts[1, 0].sum() == 3
    assert counts[3, 0].nonzero()[0].tolist() == [0] and counts[3, 0].sum() == 1


@pytest.mark.parametrize(
    ("numbers", "places"),
    [
        (["1.5", "2.25"], 2),
        (["1e12", "3.5"], 1),
        (["1e12", "0.12345678", "0.5"], 1),  # no number of places fits all three, and 1 is the smallest that fits two
        (["1e17", "99.25", "99.75"], 2),
        (["1e12", "1e12", "0.00000001"], 0),
        (["1e300"], 0),
        ([], 0),
    ],
)
def test_the_places_are_those_that_most_numbers_fit(numbers, places):
    assert fitting_places(counted(*numbers)[0]) == places


@given(st.lists(st.decimals(-(10**13), 10**13, allow_nan=False, places=6), min_size=1, max_size=5))
def test_places_that_hold_all_numbers_are_found_if_there_are_any(numbers):
    exact = [number.normalize() for number in numbers]
    least = max(max(-int(number.as_tuple().exponent), 0) for number in exact)
    fits = all(abs(number) * 10**least <= MOST_UNITS for number in exact)
    found = fitting_places(counted(*(format(number, "f") for number in numbers))[0])
    assert found == least or not fits


def test_a_reading_begins_anew_where_a_guess_of_the_places_fails():
    seen = []

    def read(steps):
        seen.append(steps)
        if steps.guessed:
            raise PlacesMisfit
        return "the day"

    counts = np.concatenate([counted("1.5"), counted("1e12")])
    assert read_at_fitting_places(read, tick=None, lot=None, count=lambda: counts) == "the day"
    guess, found = seen
    assert (guess.price_decimals, guess.size_decimals, guess.guessed) == (9, 8, True)
    assert (found.price_decimals, found.size_decimals, found.guessed) == (1, 0, False)


def test_a_named_step_decides_its_places():
    def read(steps):
        return steps

    steps = read_at_fitting_places(read, tick="0.05", lot=None, count=None)
    assert (steps.price, steps.price_decimals, steps.size, steps.size_decimals, steps.guessed) == (5, 2, 0, 8, True)
    with pytest.raises(InputError, match="not a positive decimal number"):
        read_at_fitting_places(read, tick="a cent", lot=None, count=None)


@pytest.mark.parametrize(
    ("number", "step"),
    [("12.50", "0.1"), ("1e12", "1"), ("-0.00000001", "0.00000001"), ("1e300", None), ("1e-19", None), ("1.x", None)],
)
def test_the_step_that_holds_a_number_is_the_coarsest(number, step):
    assert step_of(number) == step
