"""What becomes of the orders of a book: queues whose fates are known, and a slow follower in plain Python."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.oracle import OracleBook
from lob_jax.book.replay import snapshots_at
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.resting.fates import (
    CANCELLED,
    FIRST_FILL,
    FULL_FILL,
    LOST,
    NEVER,
    OUTCOMES,
    follow_by_id,
    follow_by_rule,
    in_events,
    in_seconds,
)
from lob_jax.events.schema import ASK, BID, Code, Kind
from lob_jax.feeds.synthetic import SyntheticFeed
from tests.evaluation.paths.resting.books import book_of, day_of

ADD, CANCEL, DELETE, EXECUTE = Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE
QUEUE = [(BID, 100, 5, 1), (BID, 100, 3, 2), (BID, 100, 4, 3), (BID, 99, 7, 4), (ASK, 103, 6, 5), (ASK, 104, 2, 6)]


def fates(when):
    """Return by row the outcomes that have an event, by name."""
    return [{name: int(event) for name, event in zip(OUTCOMES, row, strict=True) if event != NEVER} for row in when]


def test_a_queue_is_filled_from_the_front():
    events = [(EXECUTE, BID, 100, 5, 0), (EXECUTE, BID, 100, 2, 0), (EXECUTE, BID, 100, 1, 0), (DELETE, BID, 100, 4, 0)]
    one, two, three, *others = fates(follow_by_rule(day_of(book_of(QUEUE), events)))
    assert one == {"first fill": 0, "full fill": 0}
    assert two == {"first fill": 1, "full fill": 2}
    assert three == {"cancel": 3} and others == [{}] * 3


def test_a_cancel_ahead_fills_nobody_and_the_rest_of_a_filled_order_may_be_cancelled():
    events = [(DELETE, BID, 100, 5, 0), (EXECUTE, BID, 100, 1, 0), (DELETE, BID, 100, 2, 0), (CANCEL, BID, 100, 1, 0)]
    one, two, three, *_ = fates(follow_by_rule(day_of(book_of(QUEUE), events)))
    assert one == {"cancel": 0}
    assert two == {"first fill": 1, "cancel": 2}
    assert three == {}  # it is smaller, and rests


def test_a_level_that_leaves_the_window_is_lost_whatever_comes_back():
    start = book_of(QUEUE, window=2)
    events = [
        (ADD, BID, 101, 1, 9),
        (EXECUTE, BID, 101, 1, 9),
        (EXECUTE, BID, 100, 12, 0),
        (EXECUTE, BID, 99, 7, 4),
    ]
    *_, deep, _, _ = fates(follow_by_rule(day_of(start, events, [(1, BID, 99, 7)])))
    assert deep == {"lost from view": 0}
    shown = day_of(start, [(ADD, BID, 98, 1, 9)], [(0, BID, 102, 4)])
    assert fates(follow_by_rule(shown))[3] == {"lost from view": 0}  # by a correction that shows a better level
    assert fates(follow_by_id(shown))[3] == {"lost from view": 0}


def test_nothing_is_out_of_view_of_a_book_without_a_window():
    events = [(ADD, BID, 101, 1, 9), (EXECUTE, BID, 101, 1, 9)]
    assert fates(follow_by_rule(day_of(book_of(QUEUE), events))) == [{}] * 6


def test_a_cleared_book_loses_all_and_a_correction_what_it_takes():
    day = day_of(book_of(QUEUE), [(EXECUTE, ASK, 103, 6, 0), (Kind.CONTROL, 0, 0, 0, 0)], [(0, BID, 100, 6)])
    cleared = day.with_events(day.events.replace(code=np.array([0, Code.CLEAR], np.uint8)))
    assert [sorted(one.items()) for one in fates(follow_by_rule(cleared))] == [
        [("lost from view", 1)],
        [("lost from view", 1)],  # the correction takes from the back: all of the last, and part of this one
        [("lost from view", 0)],
        [("lost from view", 1)],
        [("first fill", 0), ("full fill", 0)],
        [("lost from view", 1)],
    ]


def test_new_orders_are_not_taken_for_those_whose_place_they_get():
    events = [
        (DELETE, BID, 100, 4, 0),
        (ADD, BID, 100, 4, 0),
        (EXECUTE, BID, 100, 12, 0),
        (ADD, BID, 100, 5, 0),
        (EXECUTE, BID, 100, 5, 0),
    ]
    one, two, three, *_ = fates(follow_by_rule(day_of(book_of(QUEUE), events)))
    assert one == two == {"first fill": 2, "full fill": 2} and three == {"cancel": 0}


def test_real_orders_are_followed_by_their_ids_where_the_rule_takes_another():
    twins = book_of([(BID, 100, 5, 1), (BID, 100, 5, 2), (ASK, 101, 5, 3)])
    events = [(DELETE, BID, 100, 5, 1), (CANCEL, BID, 100, 2, 2), (EXECUTE, BID, 100, 3, 2)]
    day = day_of(twins, events)
    assert fates(follow_by_id(day)) == [{"cancel": 0}, {"first fill": 2, "full fill": 2}, {}]
    nameless = day.with_events(day.events.replace(order_id=np.zeros(3, np.uint64)))
    assert fates(follow_by_rule(nameless))[1] == {"cancel": 0}


def test_what_an_unknown_id_removes_is_not_taken_from_a_known_order():
    start = book_of([(BID, 100, 9, 0), (BID, 100, 5, 2), (ASK, 101, 5, 3)], anonymous=[0])
    events = [(DELETE, BID, 100, 5, 77), (EXECUTE, BID, 100, 4, 78), (EXECUTE, BID, 100, 5, 2)]
    day = day_of(start, events)
    assert fates(follow_by_id(day))[:2] == [{"lost from view": 2}, {"first fill": 2, "full fill": 2}]
    assert fates(follow_by_rule(day))[1] == {"cancel": 0}  # the newest order of this size


def test_after_the_loss_from_view_ids_are_not_followed_any_more():
    start = book_of(QUEUE, window=2)
    events = [(ADD, BID, 101, 1, 9), (EXECUTE, BID, 101, 1, 9), (EXECUTE, BID, 99, 7, 4), (DELETE, ASK, 104, 2, 6)]
    *_, deep, _, last = fates(follow_by_id(day_of(start, events, [(1, BID, 99, 7)])))
    assert deep == {"lost from view": 0} and last == {"cancel": 3}


def test_feeds_without_order_ids_are_refused():
    levels = book_of([(BID, 100, 5, 0), (ASK, 101, 5, 0)], pooled=True)
    with pytest.raises(InputError, match="no order ids") as caught:
        follow_by_id(day_of(levels, [(EXECUTE, BID, 100, 1, 0)]))
    assert caught.value.was == "price levels"
    with pytest.raises(InputError, match="no order ids") as caught:
        follow_by_id(
            day_of(book_of(QUEUE), [(EXECUTE, BID, 100, 1, 0), (DELETE, BID, 100, 4, 3)] * 2 + [(3, 1, 99, 1, 0)])
        )
    assert caught.value.was == "3 of 5 removals without an id"


def test_times_count_from_the_start():
    day = day_of(book_of(QUEUE), [(ADD, BID, 98, 1, 9), (EXECUTE, BID, 100, 5, 1), (DELETE, BID, 100, 3, 2)])
    when = follow_by_id(day)
    np.testing.assert_array_equal(in_events(when)[:2, FIRST_FILL], [2, np.inf])
    np.testing.assert_array_equal(in_seconds(when, day)[:2, CANCELLED], [np.inf, 3.0])
    assert in_seconds(when, day)[0, FULL_FILL] == 2.0


# --- against plain Python, which looks at all orders after each event

SIDES, PRICES = st.sampled_from((BID, ASK)), st.integers(1, 4)
EVENTS = st.tuples(
    st.sampled_from((1, 1, 2, 3, 4, 4, 5, 7)), SIDES, PRICES, st.integers(1, 5), st.sampled_from((0, 0, 1, 2, 3, 9))
)
ORDERS = st.lists(st.tuples(SIDES, PRICES, st.integers(1, 5), st.booleans()), min_size=1, max_size=12)
CORRECTIONS = st.lists(st.tuples(st.integers(0, 39), SIDES, PRICES, st.integers(0, 6)), max_size=6)


def plain_fates(day):
    """Return what `follow_by_rule` returns."""
    book = OracleBook(day.start)
    orders = [order for side in (BID, ASK) for price, _ in book.levels(side) for order in book.sides[side][price]]
    when = [[NEVER] * len(OUTCOMES) for _ in orders]
    left = [order.size for order in orders]

    def note(event, kind):
        alive = {id(order): order.size for side in book.sides.values() for queue in side.values() for order in queue}
        for row, order in enumerate(orders):
            now = alive.get(id(order), 0)
            if now < left[row] and kind == EXECUTE:
                when[row][FIRST_FILL] = min(when[row][FIRST_FILL], event)
            if now == 0 < left[row]:
                when[row][{EXECUTE: FULL_FILL, CANCEL: CANCELLED, DELETE: CANCELLED}.get(kind, LOST)] = event
            left[row] = now

    columns = (day.events.kind, day.events.side, day.events.price, day.events.size, day.events.order_id)
    for event, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if values[0] == Kind.CONTROL:
            book.clear()
        else:
            book.apply(*values)
        note(event, values[0])
        for row in np.flatnonzero(day.corrections.event == event):
            book.correct(*(int(getattr(day.corrections, name)[row]) for name in ("side", "price", "size")))
            note(event, None)
    return np.array(when)


def made_day(orders, events, corrections, window):
    """Return a day whose starting book is that of some orders with ids; CONTROL events clear the book."""
    adds = [
        (ADD, side, price, size, 0 if nameless else row + 1) for row, (side, price, size, nameless) in enumerate(orders)
    ]
    opening = day_of(dataclasses.replace(book_of(QUEUE), window=window), adds)
    empty = dataclasses.replace(opening.start, **{name: getattr(opening.start, name)[:0] for name in ROWS})
    (start,) = snapshots_at(dataclasses.replace(opening, start=empty), np.array([len(adds)]))
    rows = [(kind, *(0,) * 4) if kind == Kind.CONTROL else (kind, *rest) for kind, *rest in events]
    after = sorted(one for one in corrections if one[0] < len(events))
    day = day_of(start, rows, after)
    return day.with_events(day.events.replace(code=np.where(day.events.kind == Kind.CONTROL, Code.CLEAR, 0)))


ROWS = ("side", "price", "size", "order_id", "anonymous")


@given(ORDERS, st.lists(EVENTS, max_size=40), CORRECTIONS, st.sampled_from((0, 1, 2, 3)))
@settings(max_examples=150)
def test_the_compiled_follower_sees_what_plain_python_sees(orders, events, corrections, window):
    day = made_day(orders, events, corrections, window)
    np.testing.assert_array_equal(follow_by_rule(day), plain_fates(day))


def test_ids_and_rule_agree_on_a_day_whose_removals_all_name_a_resting_order():
    feed = SyntheticFeed(1, 3_000, 3)
    day = feed.read(feed.days()[0])
    (start,) = snapshots_at(day, np.array([1_500]))
    part = day.part(1_500, 3_000, start=start)
    when = follow_by_id(part)
    np.testing.assert_array_equal(when, follow_by_rule(part))
    assert (when[:, FULL_FILL] != NEVER).sum() > 3 and (when[:, CANCELLED] != NEVER).sum() > 20
