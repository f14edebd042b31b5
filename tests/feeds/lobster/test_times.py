"""Times printed from a double are rounded to the nanosecond and counted; other fractions of a ns are errors."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.lobster.feed import LobsterFeed, read_messages
from lob_jax.feeds.lobster.times import NO_TIME, PLACES, nanoseconds
from tests.feeds.sample_lobster import MESSAGES, NAME, seconds, write


def of(text: str) -> int:
    """Return the nanoseconds of a time given as text."""
    return int(nanoseconds(int(Decimal(text).scaleb(PLACES))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("43002.632812672004", 43_002_632_812_672),  # of LOBSTER's own sample days
        ("43002.632812671996", 43_002_632_812_672),  # the double on the other side
        ("43002.632812672", 43_002_632_812_672),
        ("43002.6328126720000", 43_002_632_812_672),
        ("34200.00424117600", 34_200_004_241_176),
        ("34200.999999998996", 34_200_999_999_999),
        ("4199.9999999990005", 4_199_999_999_999),
        ("0", 0),
        ("0.000000001", 1),
    ],
)
def test_what_a_double_prints_of_a_nanosecond_is_rounded(text, expected):
    assert of(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "43002.632812672003",  # no double has these digits
        "43002.632812672005",
        "43002.632812672012",  # a double, but two steps away
        "43002.6328126721",
        "43002.6328126720001",
        "43002.6328126720036",  # more than 17 digits
        "1.0000000001",
        "0.0000000001",
        "9.0000000000001",
    ],
)
def test_any_other_fraction_of_a_nanosecond_is_not(text):
    assert of(text) == NO_TIME


@st.composite
def printed_times(draw) -> str:
    """Draw a time as printed by a program that holds it as a double, or one that is corrupted."""
    double = draw(st.integers(0, 86_399)) + draw(st.integers(0, 10**9 - 1)) / 1e9
    for _ in range(draw(st.integers(0, 3))):
        double = math.nextafter(double, draw(st.sampled_from([0.0, math.inf])))
    text = f"{double:.{draw(st.integers(9, PLACES))}f}"
    return text[:-1] + draw(st.sampled_from("0123456789")) if draw(st.booleans()) else text


@settings(max_examples=300)
@given(text=printed_times())
def test_the_rule_is_that_of_exact_fractions(text):
    expected = seconds(text)
    assert of(text) == (NO_TIME if expected is None else int(expected.scaleb(9)))


@settings(max_examples=100)
@given(texts=st.lists(printed_times(), min_size=2, max_size=9))
def test_rounding_keeps_the_order(texts):
    ordered = sorted(texts, key=Decimal)
    found = [time for time in map(of, ordered) if time != NO_TIME]
    assert found == sorted(found)


def with_times(folder, times: dict[int, str], end="\n"):
    """Write the sample day with other times, by line from 1; return the message file."""
    path = write(folder)
    lines = path.read_text().splitlines()
    for line, time in times.items():
        lines[line - 1] = time + lines[line - 1][lines[line - 1].index(",") :]
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("block_bytes", [50, 1 << 20])
def test_rounded_times_are_counted_and_every_other_is_exact(tmp_path, end, block_bytes):
    plain = LobsterFeed().read(write(tmp_path))
    path = with_times(tmp_path, {7: "34201.500000000997", 13: "34209.0000000000", 15: "34210.699999999997"}, end)
    day = LobsterFeed().read(path, Reading(block_bytes=block_bytes))
    np.testing.assert_array_equal(day.events.time_ns, plain.events.time_ns)
    np.testing.assert_array_equal(day.events.flags, plain.events.flags)
    np.testing.assert_array_equal(read_messages(path).time_ns, plain.events.time_ns)
    assert (day.report["rounded_times"], plain.report["rounded_times"]) == (2, 0)
    assert (day.report["rows_kept"], day.report["time_reversals"]) == (len(MESSAGES), 0)


def test_times_that_run_backwards_by_less_than_a_nanosecond_are_the_same_time(tmp_path):
    time_ns = LobsterFeed().read(with_times(tmp_path, {3: "34200.100000000006", 4: "34200.1"})).events.time_ns
    assert time_ns[2] == time_ns[3]
    with pytest.raises(InputError, match="backwards"):
        LobsterFeed().read(with_times(tmp_path, {3: "34200.100000001", 4: "34200.1"}))


@pytest.mark.parametrize("time", ["34203.1234567891", "34203.123456789005", "34203.12345678900001"])
def test_another_fraction_is_named_by_file_line_and_column(tmp_path, time):
    path = with_times(tmp_path, {11: time})
    with pytest.raises(InputError) as caught:
        LobsterFeed().read(path)
    error = caught.value
    assert error.what == "a number with too many decimal places"
    assert error.where == f"{path}, line 11, column 1 (time)"
    assert time in str(error.was) and "places" in error.expected
    report = LobsterFeed().read(path, Reading(on_error="skip")).report
    assert report["rows_dropped"] == {"a number with too many decimal places": 1}
    assert report["rounded_times"] == 0


def test_a_row_that_is_refused_is_not_counted_as_rounded(tmp_path):
    path = with_times(tmp_path, {7: "34201.500000000997"})
    path.write_text(path.read_text().replace("34201.500000000997,5,0,9", "34201.500000000997,5,0,-9"))
    report = LobsterFeed().read(path, Reading(on_error="skip")).report
    assert (report["rounded_times"], report["rows_dropped"]) == (0, {"a negative size": 1})
    assert NAME.format("message") in report["inputs"]
