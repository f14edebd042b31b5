"""Checks for a day read by any feed, and for the book at its end."""

import dataclasses
import importlib
from fractions import Fraction

import numpy as np

from lob_jax.book.replay import snapshots_at
from lob_jax.errors import InputError
from lob_jax.events.schema import COLUMNS, Kind
from lob_jax.feeds.format import FEEDS
from lob_jax.tokens.exact import ExactTokenizer

SAMPLES = tuple(FEEDS)
CONTENT = ("time_ns", "kind", "code", "side", "price", "size")


def sample_of(name):
    """Return the module that writes a feed's sample and reads it naively.

    It has FEED, a feed that reads the sample; write(folder), which returns the path of the file that names the day; and
    final_book(path), {(side, price): size} after the last row, found without any of lob_jax's code. Where the book is
    only known from some rows on, without_opening(data) leaves them out; BINARY says that a file has no lines.
    """
    return importlib.import_module(f"tests.feeds.sample_{name}")


def assert_same_day(first, second):
    """Assert that two readings of the same data agree, apart from what their reports say about the files."""
    assert first.instrument == second.instrument
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(first.events, name), getattr(second.events, name), err_msg=name)
    for part in ("start", "corrections"):
        for field in dataclasses.fields(getattr(first, part)):
            one, other = (getattr(getattr(day, part), field.name) for day in (first, second))
            np.testing.assert_array_equal(one, other, err_msg=f"{part}.{field.name}")


def assert_sound(day):
    """Assert what the schema guarantees for every event, and the report for every reading."""
    events, report = day.events, day.report
    control = events.kind == Kind.CONTROL
    assert np.isin(events.kind, list(Kind)).all()
    assert ((events.code > 0) == control).all()
    assert (abs(events.side) == np.where(control, 0, 1)).all()
    assert (events.size[~control] > 0).all() and (events.size[control] == 0).all()
    assert (events.price[control] == 0).all()
    visible = events.kind <= Kind.EXECUTE
    assert (events.price[visible] % day.instrument.tick == 0).all()
    assert (np.diff(events.sequence) >= 0).all()
    assert ((day.corrections.event >= 0) & (day.corrections.event < max(len(events), 1))).all()
    assert (day.start.size > 0).all() and (day.corrections.size >= 0).all()
    assert report["rows_kept"] + sum(report["rows_dropped"].values()) == report["rows_read"]
    assert report["rows_kept"] >= 0 and all(rows > 0 for rows in report["rows_dropped"].values())


def final_levels(day):
    """Return {(side, price): size} in units of the currency and of quantity, after the last event."""
    (book,) = snapshots_at(day, [len(day.events)])
    levels: dict[tuple[int, Fraction], Fraction] = {}
    for side, price, size in zip(book.side.tolist(), book.price.tolist(), book.size.tolist(), strict=True):
        key = (side, Fraction(price, day.instrument.price_scale))
        levels[key] = levels.get(key, Fraction(0)) + Fraction(size, day.instrument.lot_scale)
    return levels


def assert_round_trip(day, *, may_refuse=False):
    """Assert that tokens decode to the same events, and that an event that cannot be encoded is refused by name."""
    tokenizer = ExactTokenizer()
    try:
        tokens = tokenizer.encode(day)
    except InputError:
        if may_refuse:
            return
        raise
    decoded = tokenizer.decode(tokens, day)
    for name in CONTENT:
        np.testing.assert_array_equal(getattr(decoded, name), getattr(day.events, name), err_msg=name)
