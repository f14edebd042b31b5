"""Steps and units: what a user may name, and the coarsest integers that hold every number."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.errors import InputError
from lob_jax.feeds.scale import Scale, Steps, common_divisor, parse_step, scale_of, steps_of

INFERRED = Steps(price=0, size=0, price_decimals=9, size_decimals=8)


@given(st.lists(st.integers(-(2**62), 2**62), max_size=8), st.integers(0, 2**62))
@settings(deadline=None)
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
    with pytest.raises(InputError, match="no positive decimal number"):
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
