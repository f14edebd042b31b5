"""Times, prices and sizes: exact in both directions, and refused where they could not be."""

import datetime
import decimal
import fractions

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.serving.units import LAST_NS, MOST, Units, Unreadable, read_time, scaled, time_text, unscaled

SCALES = st.sampled_from([1, 2, 100, 256, 10_000, 10**9])
PLAIN = Units.of(Instrument("A", "B", "2024-01-02"))


@given(st.integers(0, LAST_NS))
def test_a_time_comes_back(time_ns):
    text = time_text(time_ns)
    assert read_time(text) == time_ns == read_time(time_ns)
    moment = datetime.datetime.fromisoformat(text[:26] + "+00:00")
    assert round(moment.timestamp() * 1e6) // 10 == time_ns // 10**4  # the standard library has microseconds


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2012-06-21T13:30:00Z", "2012-06-21T13:30:00.000000000Z"),
        ("2012-06-21T09:30:00.5-04:00", "2012-06-21T13:30:00.500000000Z"),
        ("2012-06-21T19:00:00.123456789+05:30", "2012-06-21T13:30:00.123456789Z"),
        ("2024-02-29T23:59:59.000000001Z", "2024-02-29T23:59:59.000000001Z"),
    ],
)
def test_zones_and_decimals(text, same):
    assert time_text(read_time(text)) == same


@pytest.mark.parametrize(
    "value",
    [
        "2012-06-21T13:30:00",  # no zone
        "2012-06-21 13:30:00Z",
        "2012-06-21T13:30:00.1234567891Z",
        "2023-02-29T00:00:00Z",
        "2012-06-21T24:00:00Z",
        "2012-06-21T23:60:00Z",
        "2012-06-21T23:59:60Z",
        "2012-06-21T13:30:00+24:00",
        "2012-06-21T13:30:00-05:60",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
        "2012-06-21T13:30:00Z\n",
        "٢٠١٢-06-21T13:30:00Z",
        -1,
        LAST_NS + 1,
        1.5,
        True,
        None,
        [],
    ],
)
def test_what_is_no_time_is_refused(value):
    with pytest.raises(Unreadable):
        read_time(value)


@given(st.integers(-MOST + 1, MOST - 1), SCALES)
def test_a_number_comes_back(number, scale):
    text = unscaled(number, scale)
    assert scaled(text, scale) == number == scaled(decimal.Decimal(text), scale)
    assert fractions.Fraction(text) * scale == number
    assert "." not in text or not text.endswith(("0", "."))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9), SCALES)
def test_only_whole_multiples_are_read(value, scale):
    exact = fractions.Fraction(value) * scale
    if exact.denominator == 1:
        assert scaled(value, scale) == exact
    else:
        with pytest.raises(Unreadable, match="multiple"):
            scaled(value, scale)


def test_a_float_is_its_shortest_decimal_form():
    assert scaled(585.33, 10_000) == 5_853_300
    with pytest.raises(Unreadable, match="multiple of 1/100"):
        scaled(0.1 + 0.2, 100)


@pytest.mark.parametrize(
    "value",
    [
        *("", "1e3", "+1", " 1", "1.", ".5", "0x10", "NaN", "1_000", "١", "9" * 41),
        *(True, None, float("nan"), float("inf"), MOST, decimal.Decimal("1e60"), decimal.Decimal("Infinity")),
        decimal.Decimal("1." + "0" * 41),
    ],
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(Unreadable):
        scaled(value, 1)


def test_units_know_what_may_be_zero_or_negative():
    signed = Units(100, 1, signed=True)
    assert signed.read_price("-37.63") == -3763 and signed.read_price(0) == 0
    for value in (0, "-1"):
        with pytest.raises(Unreadable, match="above 0"):
            PLAIN.read_price(value)
    assert PLAIN.read_size(0, least=0) == 0
    for least in (0, 1):
        with pytest.raises(Unreadable, match="size"):
            PLAIN.read_size(least - 1, least=least)


def test_prices_without_a_decimal_form_are_not_served():
    with pytest.raises(InputError, match="no decimal"):
        Units.of(Instrument("A", "B", "2024-01-02", price_scale=3))
