"""Altered days: what the book does not take is left out, and nothing else changes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.data.windows.augment.altered import ADDED, Proposal, altered, settled
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.halts import OPEN
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.sets.fitting import fits
from tests.market_day import clean_day, market_day

ADD, CANCEL, DELETE, EXECUTE = Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE
# (kind, side, price, lots): a market of two levels a side, then what happens to it.
ROWS = (
    (ADD, BID, 99, 10),
    (ADD, ASK, 101, 10),
    (ADD, BID, 98, 7),
    (CANCEL, BID, 98, 3),
    (DELETE, BID, 98, 4),
    (EXECUTE, ASK, 101, 4),
    (EXECUTE, ASK, 101, 6),
    (ADD, ASK, 103, 5),
)


def events_of(rows):
    names = ("kind", "side", "price", "size")
    columns = dict(zip(names, (np.array(column) for column in zip(*rows, strict=True)), strict=True))
    return Events.from_columns(time_ns=1_000 * np.arange(1, len(rows) + 1), **columns)


def without(day, *left_out):
    """Return the proposal to leave events out."""
    kept = np.setdiff1d(np.arange(len(day.events)), left_out)
    return Proposal(day.events[kept], kept)


def with_added(day, at, row):
    """Return the proposal to add an event before event `at`."""
    added = events_of([row]).replace(time_ns=day.events.time_ns[at : at + 1])
    events = Events.concatenate([day.events[:at], added, day.events[at:]])
    return Proposal(events, np.insert(np.arange(len(day.events)), at, ADDED))


def test_a_removal_of_an_order_that_is_left_out_is_left_out():
    found = settled(market_day(events_of(ROWS)), without(market_day(events_of(ROWS)), 2), first=1, closed=OPEN)
    assert found.origin.tolist() == [0, 1, 5, 6, 7] and (found.left_out, found.refused) == (2, 0)


def test_a_deletion_of_another_size_than_the_order_has_left_is_left_out():
    day = market_day(events_of(ROWS))
    found = settled(day, without(day, 3), first=1, closed=OPEN)
    assert found.origin.tolist() == [0, 1, 2, 5, 6, 7] and found.left_out == 1


@pytest.mark.parametrize(
    ("row", "refused"),
    [
        ((ADD, ASK, 102, 5), 0),
        ((ADD, ASK, 99, 5), 1),  # it would cross the best bid
        ((EXECUTE, BID, 99, 11), 1),  # more than the front order
        ((DELETE, BID, 99, 4), 1),
        ((CANCEL, BID, 99, 10), 1),
        ((CANCEL, BID, 99, 9), 0),
        ((DELETE, BID, 97, 1), 1),
    ],
)
def test_an_added_event_that_the_book_does_not_take_is_refused(row, refused):
    day = market_day(events_of(ROWS))
    found = settled(day, with_added(day, 5, row), first=1, closed=OPEN)
    assert found.refused == refused and found.left_out == 0
    assert np.count_nonzero(found.origin == ADDED) == 1 - refused


def test_what_the_market_does_to_an_added_order_is_not_lost():
    """An order that is added in front of the best ask is executed in its place, and the rest is left out."""
    day = market_day(events_of(ROWS))
    found = settled(day, with_added(day, 5, (ADD, ASK, 100, 5)), first=1, closed=OPEN)
    assert found.origin.tolist() == [0, 1, 2, 3, 4, ADDED, 7] and found.left_out == 2


def test_an_event_that_its_own_book_does_not_take_stays():
    day = market_day(events_of([*ROWS[:2], (DELETE, BID, 90, 3), *ROWS[2:]]))
    assert np.flatnonzero(~fits(day, closed=OPEN)).tolist() == [2]
    assert settled(day, without(day), first=1, closed=OPEN).left_out == 0


def test_corrections_stay_where_they_are_in_the_stream():
    day = market_day(events_of(ROWS))
    columns = {"event": [1, 3, 3, 7], "side": [1, 1, -1, -1], "price": [97, 96, 104, 105], "size": [1, 2, 3, 4]}
    corrections = dataclasses.replace(
        day.corrections,
        **{name: np.array(values, getattr(day.corrections, name).dtype) for name, values in columns.items()},
    )
    day = dataclasses.replace(day, corrections=corrections)
    found = settled(day, without(day, 2), first=1, closed=OPEN)
    assert found.origin.tolist() == [0, 1, 5, 6, 7]
    assert found.day.corrections.event.tolist() == [1, 1, 1, 4] and found.day.corrections.price.tolist() == [
        97,
        96,
        104,
        105,
    ]


def test_a_level_is_not_shown_where_the_side_has_none_to_spare():
    day = market_day(events_of(ROWS))
    day = dataclasses.replace(day, start=dataclasses.replace(day.start, window=2))
    correction = {
        "event": np.array([4]),
        "side": np.array([1], np.int8),
        "price": np.array([96]),
        "size": np.array([2]),
    }
    day = dataclasses.replace(day, corrections=dataclasses.replace(day.corrections, **correction))
    assert len(settled(day, without(day), first=1, closed=OPEN).day.corrections) == 1
    assert len(settled(day, without(day, 4), first=1, closed=OPEN).day.corrections) == 0


@pytest.mark.parametrize("origin", [[1, 2, 3, 4, 5, 6, 7], [0, 2, 1, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 8]])
def test_a_proposal_that_is_not_in_order_is_refused(origin):
    day = market_day(events_of(ROWS))
    with pytest.raises(InputError, match="in their order"):
        settled(day, Proposal(day.events[: len(origin)], np.array(origin)), first=1, closed=OPEN)


def leave_out(day, first, random):
    return without(day, *(first + np.flatnonzero(random.random(len(day.events) - first) < 0.3)))


def add_some(day, first, random):
    """Propose events at random, most of which are impossible."""
    count = len(day.events)
    parts, origin = [day.events[:first]], list(range(first))
    for index in range(first, count):
        if random.random() < 0.3:
            kind, side = random.integers(1, 5, 1), random.choice([-1, 1], 1)
            price, size = day.events.price[index] + random.integers(-3, 4, 1), random.integers(1, 6, 1)
            time_ns = day.events.time_ns[index : index + 1]
            parts.append(Events.from_columns(time_ns=time_ns, kind=kind, side=side, price=price, size=size))
            origin.append(ADDED)
        parts.append(day.events[index : index + 1])
        origin.append(index)
    return Proposal(Events.concatenate(parts), np.array(origin))


@given(
    seed=st.integers(0, 2**32 - 1),
    first=st.integers(1, 60),
    ranks=st.booleans(),
    window=st.sampled_from([0, 4]),
    clean=st.booleans(),
)
def test_an_altered_day_decodes_and_replays_as_well_as_the_day_itself(make_day, seed, first, ranks, window, clean):
    tokenizer = ExactTokenizer(references="rank" if ranks else "newest")
    whole = make_day(120, seed=seed % 7)
    whole = dataclasses.replace(whole, start=dataclasses.replace(whole.start, window=window))
    whole = whole.with_events(tokenizer.decode(tokenizer.encode(whole), whole))
    whole = clean_day(whole) if clean else whole
    random = np.random.default_rng(seed)
    found = altered(whole, (leave_out, add_some), first=first, closed=OPEN, random=random)
    day, itself = found.day, ~fits(whole, closed=OPEN)
    decoded = tokenizer.decode(tokenizer.encode(day), day)
    for name in ("time_ns", "kind", "side", "price", "size"):
        np.testing.assert_array_equal(getattr(decoded, name), getattr(day.events, name))
    faulty = ~fits(day, closed=OPEN)
    assert np.all(itself[found.origin[faulty]]) and np.all(found.origin[faulty] >= 0)
    np.testing.assert_array_equal(found.origin[:first], np.arange(first))
    if clean:
        assert not itself.any()
        assert not check_events(decoded, start=day.start, tick=day.instrument.tick).faults
