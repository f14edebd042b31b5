"""Moves of the mid since a moment: of a day, and of the moments of records."""

import json

import numpy as np
import pytest

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.moves import Horizons, moves_in, moves_of, reached
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import Events, Kind
from tests.market_day import INSTRUMENT, market_day

MIDNIGHT = INSTRUMENT.midnight_ns()


def day_of(rows):
    """Return a day of events (second, kind, side, price), from a book with a bid at 100 and an ask at 104."""
    columns = dict(zip(("time_ns", "kind", "side", "price"), np.array(rows).T, strict=True))
    columns["time_ns"] = MIDNIGHT + columns["time_ns"] * NS_PER_SECOND
    start = BookSnapshot(
        time_ns=MIDNIGHT,
        side=np.array([1, -1], np.int8),
        price=np.array([100, 104]),
        size=np.array([5, 5]),
        order_id=np.zeros(2, np.uint64),
        anonymous=np.zeros(2, bool),
        last_best=np.array([100, 104]),
    )
    return market_day(Events.from_columns(**columns, size=np.full(len(rows), 5)), start=start)


def record_of(mid, seconds):
    """Return as much of a record as moves are read from."""
    mid2, instrument = (2 * mid).astype(np.int64), json.dumps(INSTRUMENT.to_dict())
    clock_ns = MIDNIGHT + seconds * NS_PER_SECOND
    return {"mid2": mid2, "clock_ns": clock_ns, "features": np.ones((len(mid), 4)), "instrument": instrument}


def test_a_days_moves_by_events_and_by_seconds():
    adds = [(1, 101), (1, 102), (2, 102), (2, 103)]
    day = day_of([*((second, Kind.ADD, 1, price) for second, price in adds), (5, Kind.ADD, -1, 105)])
    np.testing.assert_array_equal(moves_of(day, Horizons("events", (1, 3, 5, 6))), [0.5, 1.0, 1.5, np.nan])
    np.testing.assert_array_equal(moves_of(day, Horizons("seconds", (1, 2, 4, 7))), [1.0, 1.5, 1.5, np.nan])


def test_without_a_side_the_mid_is_the_last_known():
    rows = [(1, Kind.ADD, 1, 101), (2, Kind.DELETE, 1, 100), (3, Kind.DELETE, 1, 101), (4, Kind.ADD, 1, 100)]
    np.testing.assert_array_equal(moves_of(day_of(rows), Horizons("events", (1, 2, 3, 4))), [0.5, 0.5, 0.5, 0.0])


def test_horizons_that_most_sequences_reach():
    moves = [np.array([1.0, 2.0, 3.0]), np.array([[1.0, np.nan, np.nan], [1.0, 2.0, np.nan]]), np.zeros(3)]
    assert [reached(moves, share=share) for share in (0.6, 0.9, 1.0)] == [3, 1, 1]


def test_training_moves_are_those_of_every_moment_that_reaches_all_horizons():
    mid = np.array([10.0, 11, 13, 13, 12, 15])
    record = record_of(mid, np.array([0, 1, 2, 4, 6, 9]))
    found = moves_in([record], Horizons("events", (1, 3)), symbol="SYN")
    np.testing.assert_array_equal(found, [[1, 3], [2, 1], [0, 2]])
    found = moves_in([record], Horizons("seconds", (1, 3)), symbol="SYN")
    np.testing.assert_array_equal(found, [[1, 3], [2, 2], [0, 0], [0, -1], [0, 3]])
    assert moves_in([record], Horizons("events", (7,)), symbol="SYN").shape == (0, 1)
    assert moves_in([record], Horizons("events", (1,)), symbol="OTHER").shape == (0, 1)


def test_horizons_ascend():
    for by, moments in (("events", (2, 1)), ("events", (0,)), ("hours", (1,)), ("seconds", ())):
        with pytest.raises(InputError, match="invalid horizons"):
            Horizons(by, moments)
