"""Clocks: conversion of seconds after the venue's midnight to UTC."""

import datetime

import pytest

from lob_jax.events.instrument import NS_PER_SECOND, Instrument


@pytest.mark.parametrize(
    ("day", "zone", "hours_behind"),
    [
        ("2012-06-21", "America/New_York", 4),
        ("2012-12-21", "America/New_York", 5),
        ("2024-08-08", "UTC", 0),
        # On the day of a clock change, the session has the new offset, and seconds count from the midnight with it.
        ("2012-03-11", "America/New_York", 4),
        ("2012-11-04", "America/New_York", 5),
    ],
)
def test_midnight(day, zone, hours_behind):
    instrument = Instrument("X", "V", day, zone)
    utc = datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC)
    assert instrument.midnight_ns() == (int(utc.timestamp()) + 3600 * hours_behind) * NS_PER_SECOND


def test_fields_survive_json():
    instrument = Instrument("X", "V", "2024-01-02", "UTC", price_scale=100, tick=5, lot_scale=1000)
    assert Instrument(**instrument.to_dict()) == instrument
