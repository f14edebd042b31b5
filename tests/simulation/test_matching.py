"""The matching engine: hand-made scenarios, and agreement with a naive engine of lists on random orders."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.replay import replay
from lob_jax.events.schema import Code, Kind
from lob_jax.simulation.matching import (
    REFUSED,
    best_price,
    best_size,
    cancel,
    delete,
    events_so_far,
    new_engine,
    order_by_age,
    place,
    report_control,
    report_hidden,
    resting_orders,
    submit,
    worst_order,
)
from tests.market_day import market_day

BUY, SELL = 0, 1  # side indices


def engine_of(*orders, room=64):
    """Return an engine whose book opens with (side, price, size) orders, ids 1, 2, ..."""
    engine = new_engine(orders=room, levels=room, events=room)
    for number, (side, price, size) in enumerate(orders, start=1):
        assert place(engine, side, price, size) == number
    return engine


def rows_of(engine):
    """Return the events as (kind, side, price, size, order id) rows."""
    events = events_so_far(engine)
    names = ("kind", "side", "price", "size", "order_id")
    return list(zip(*(getattr(events, name).tolist() for name in names), strict=True))


def book_of(engine):
    """Return (side, price, size, order id) of every resting order, in priority order."""
    book = resting_orders(engine, 0)
    names = ("side", "price", "size", "order_id")
    return list(zip(*(getattr(book, name).tolist() for name in names), strict=True))


def test_the_earlier_order_at_a_price_trades_first():
    engine = engine_of((SELL, 102, 5), (SELL, 102, 7), (BUY, 100, 1))
    assert submit(engine, 9, BUY, 102, 6) == 0
    assert rows_of(engine) == [(Kind.EXECUTE, -1, 102, 5, 1), (Kind.EXECUTE, -1, 102, 1, 2)]
    assert book_of(engine) == [(1, 100, 1, 3), (-1, 102, 6, 2)]


def test_the_better_price_trades_first_though_it_came_later():
    engine = engine_of((BUY, 99, 5), (BUY, 100, 5))
    submit(engine, 9, SELL, 98, 7)
    assert rows_of(engine) == [(Kind.EXECUTE, 1, 100, 5, 2), (Kind.EXECUTE, 1, 99, 2, 1)]


def test_a_sweep_leaves_its_rest_at_its_limit_on_one_time_stamp():
    engine = engine_of((SELL, 102, 5), (SELL, 102, 7), (SELL, 103, 5), (SELL, 105, 5))
    assert submit(engine, 77, BUY, 104, 20) == 5
    assert rows_of(engine) == [
        (Kind.EXECUTE, -1, 102, 5, 1),
        (Kind.EXECUTE, -1, 102, 7, 2),
        (Kind.EXECUTE, -1, 103, 5, 3),
        (Kind.ADD, 1, 104, 3, 5),
    ]
    assert set(events_so_far(engine).time_ns.tolist()) == {77}
    assert book_of(engine) == [(1, 104, 3, 5), (-1, 105, 5, 4)]


def test_an_order_that_does_not_rest_drops_what_finds_no_partner():
    engine = engine_of((SELL, 102, 5), (SELL, 104, 5))
    assert submit(engine, 1, BUY, 103, 9, False) == 0
    assert rows_of(engine) == [(Kind.EXECUTE, -1, 102, 5, 1)]
    assert book_of(engine) == [(-1, 104, 5, 2)]


def test_a_limit_short_of_the_other_side_queues_behind_its_level():
    engine = engine_of((SELL, 102, 5), (BUY, 100, 5))
    assert submit(engine, 1, BUY, 100, 3) == 3
    assert submit(engine, 2, BUY, 101, 4) == 4
    assert book_of(engine) == [(1, 101, 4, 4), (1, 100, 5, 2), (1, 100, 3, 3), (-1, 102, 5, 1)]
    assert (best_price(engine, BUY), best_size(engine, BUY), best_price(engine, SELL)) == (101, 4, 102)


def test_a_partial_cancel_keeps_the_place_in_the_queue():
    engine = engine_of((BUY, 100, 5), (BUY, 100, 6))
    assert cancel(engine, 1, 1, 2) == 2
    submit(engine, 2, SELL, 100, 4)
    assert rows_of(engine) == [
        (Kind.CANCEL, 1, 100, 2, 1),
        (Kind.EXECUTE, 1, 100, 3, 1),
        (Kind.EXECUTE, 1, 100, 1, 2),
    ]


@pytest.mark.parametrize("order_id, size", [(1, 5), (1, 6), (1, 0), (1, -1), (2, 1), (0, 1), (-1, 1), (99, 1)])
def test_a_cancel_that_is_no_part_of_a_live_order_changes_nothing(order_id, size):
    engine = engine_of((BUY, 100, 5), (BUY, 99, 5))
    delete(engine, 1, 2)
    assert cancel(engine, 2, order_id, size) == 0
    assert rows_of(engine) == [(Kind.DELETE, 1, 99, 5, 2)]
    assert book_of(engine) == [(1, 100, 5, 1)]


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_delete_takes_the_order_named_wherever_it_queues(gone):
    engine = engine_of((BUY, 100, 5), (BUY, 100, 6), (BUY, 100, 7))
    assert delete(engine, 1, gone) == 4 + gone
    assert delete(engine, 2, gone) == 0
    assert rows_of(engine) == [(Kind.DELETE, 1, 100, 4 + gone, gone)]
    assert [order for *_, order in book_of(engine)] == [order for order in (1, 2, 3) if order != gone]
    assert best_size(engine, BUY) == 18 - (4 + gone)


def test_orders_by_age_count_back_from_the_newest_of_their_side():
    engine = engine_of((BUY, 100, 5), (SELL, 105, 5), (BUY, 98, 5), (BUY, 99, 5))
    assert [order_by_age(engine, BUY, rank) for rank in range(4)] == [4, 3, 1, 0]
    delete(engine, 1, 3)
    assert [order_by_age(engine, BUY, rank) for rank in range(3)] == [4, 1, 0]
    assert (worst_order(engine, BUY), worst_order(engine, SELL)) == (4, 2)


@pytest.mark.parametrize("leaving", list(itertools.permutations((1, 2, 3, 4))))
def test_orders_by_age_stay_in_line_whoever_leaves(leaving):
    engine = engine_of(*[(BUY, price, 5) for price in (100, 98, 99, 100)])
    for step, gone in enumerate(leaving, start=1):
        delete(engine, step, gone)
        left = sorted(leaving[step:], reverse=True)
        assert [order_by_age(engine, BUY, rank) for rank in range(4 - step)] == left


def test_hidden_trades_and_halts_leave_the_book_alone():
    engine = engine_of((BUY, 100, 5))
    before = book_of(engine)
    assert report_hidden(engine, 1, SELL, 10_050, 3)
    assert report_control(engine, 2, int(Code.HALT))
    assert not report_hidden(engine, 3, SELL, 10_050, 0)
    assert rows_of(engine) == [(Kind.EXECUTE_HIDDEN, -1, 10_050, 3, 0), (Kind.CONTROL, 0, 0, 0, 0)]
    assert events_so_far(engine).code.tolist() == [0, Code.HALT]
    assert book_of(engine) == before


def test_what_finds_no_room_is_refused_whole():
    engine = engine_of((SELL, 102, 5), (SELL, 103, 5), room=3)
    assert place(engine, BUY, 102, 1) == REFUSED  # marketable
    assert submit(engine, 1, BUY, 100, 0) == REFUSED
    assert submit(engine, 1, BUY, 104, 20) == 3
    assert submit(engine, 2, BUY, 105, 1) == REFUSED
    assert (delete(engine, 3, 3), report_control(engine, 3, 1)) == (0, False)
    assert book_of(engine) == [(1, 104, 10, 3)]


class ListEngine:
    """A naive engine with the same rules: lists, sorted again at every step."""

    def __init__(self):
        self.orders, self.rows, self.count = [], [], 0

    def submit(self, side, price, size, rests):
        sign = 1 - 2 * side
        waiting = [order for order in self.orders if order["side"] == 1 - side]
        for order in sorted(waiting, key=lambda order: (sign * order["price"], order["id"])):
            if size == 0 or sign * order["price"] > sign * price:
                break
            traded = min(size, order["size"])
            self.remove(order, traded, Kind.EXECUTE)
            size -= traded
        if size and rests:
            self.count += 1
            self.orders.append({"side": side, "price": price, "size": size, "id": self.count})
            self.rows.append((Kind.ADD, sign, price, size, self.count))

    def withdraw(self, order_id, size):
        for order in list(self.orders):
            if order["id"] == order_id and size < order["size"]:
                self.remove(order, size or order["size"], Kind.CANCEL if size else Kind.DELETE)

    def remove(self, order, size, kind):
        self.rows.append((kind, 1 - 2 * order["side"], order["price"], size, order["id"]))
        order["size"] -= size
        if order["size"] == 0:
            self.orders.remove(order)

    def book(self):
        ranked = sorted(self.orders, key=lambda o: (o["side"], (2 * o["side"] - 1) * o["price"], o["id"]))
        return [(1 - 2 * o["side"], o["price"], o["size"], o["id"]) for o in ranked]


order = st.tuples(st.just("submit"), st.integers(0, 1), st.integers(95, 105), st.integers(1, 9), st.booleans())
withdrawal = st.tuples(st.just("withdraw"), st.integers(1, 12), st.integers(0, 4))


@settings(max_examples=150)
@given(st.lists(order | withdrawal, max_size=40))
def test_any_orders_match_as_in_a_naive_engine(steps):
    engine, naive = new_engine(orders=64, levels=64, events=2048), ListEngine()
    for time_ns, (name, *values) in enumerate(steps):
        getattr(naive, name)(*values)
        if name == "submit":
            submit(engine, time_ns, *values)
        elif values[1]:
            cancel(engine, time_ns, *values)
        else:
            delete(engine, time_ns, values[0])
        bid, ask = best_price(engine, BUY), best_price(engine, SELL)
        assert not bid or not ask or bid < ask
    assert rows_of(engine) == naive.rows
    assert book_of(engine) == naive.book()
    ages = [order_by_age(engine, side, rank) for side in (0, 1) for rank in range(engine.side[side, 1])]
    assert ages == [o["id"] for side in (0, 1) for o in reversed(naive.orders) if o["side"] == side]


@settings(max_examples=50)
@given(st.lists(order | withdrawal, max_size=40))
def test_a_replay_of_the_events_ends_in_the_engines_book(steps):
    engine = new_engine(orders=64, levels=64, events=2048)
    for time_ns, (name, *values) in enumerate(steps):
        if name == "submit":
            submit(engine, time_ns, *values)
        else:
            delete(engine, time_ns, values[0])
    states = replay(market_day(events_so_far(engine)), levels=11)
    sums = np.zeros((2, 11), np.int64)
    for side, price, size, _ in book_of(engine):
        sums[(1 - side) // 2, price - 95] += size
    shown = np.zeros((2, 11), np.int64)
    for side in (0, 1):
        filled = states.price[-1, side] > 0
        shown[side, states.price[-1, side][filled] - 95] = states.size[-1, side][filled]
    np.testing.assert_array_equal(shown, sums)
    assert not any(states.counts.values())
