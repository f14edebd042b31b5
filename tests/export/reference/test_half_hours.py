"""Half hours are those of the exchange's clock, in winter and in summer."""

import datetime
import zoneinfo

import numpy as np
import pytest

from lob_jax.export.reference.half_hours import half_hours_of


def ns(*moment, zone):
    return int(datetime.datetime(*moment, tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()) * 10**9


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "UTC"])
@pytest.mark.parametrize("month", [1, 7])
def test_half_hours_are_those_of_the_local_clock(zone, month):
    times = [(0, 0), (0, 29), (0, 30), (9, 30), (9, 59), (16, 0), (23, 59)]
    found = half_hours_of(np.array([ns(2024, month, 2, *one, zone=zone) for one in times]), zone)
    assert found.tolist() == [0, 0, 1, 19, 19, 32, 47]


def test_the_last_nanosecond_belongs_to_the_half_hour_before():
    at = ns(2024, 1, 2, 10, 0, zone="America/New_York")
    assert half_hours_of(np.array([at - 1, at]), "America/New_York").tolist() == [19, 20]


def test_an_hour_that_the_clock_passes_twice_counts_for_both():
    first = ns(2024, 11, 3, 1, 0, zone="America/New_York")
    hours = half_hours_of(first + 3600 * 10**9 * np.arange(3), "America/New_York")
    assert hours.tolist() == [2, 2, 4]


def test_no_times_have_no_half_hours():
    assert half_hours_of(np.zeros(0, np.int64), "UTC").tolist() == []
