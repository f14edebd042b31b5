import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book import kernel
from lob_jax.book.orders import COUNTERS, OWN, enter_name, named_slot, strike_name
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import ASK, BID, Kind


def book_of(*orders, window=0, room=50):
    """Build a book from (side, price, size, order_id) orders."""
    book = kernel.load(BookSnapshot.empty(window=window), room)
    for side, price, size, order_id in orders:
        kernel.apply(book, Kind.ADD, side, price, size, np.uint64(order_id))
    return book


def queue(book, side=BID):
    """Return (price, size, order_id) of a side's orders, best level first, front first."""
    snapshot = kernel.to_snapshot(book, 0)
    rows = zip(snapshot.side, snapshot.price, snapshot.size, snapshot.order_id, strict=True)
    return [(int(price), int(size), int(name)) for s, price, size, name in rows if s == side]


def count(book, name):
    return int(book.counters[COUNTERS.index(name)])


def test_orders_rest_by_price_then_by_time():
    book = book_of((BID, 99, 5, 1), (BID, 101, 6, 2), (BID, 99, 7, 3), (ASK, 105, 8, 4), (ASK, 103, 9, 5))
    assert queue(book) == [(101, 6, 2), (99, 5, 1), (99, 7, 3)]
    assert queue(book, ASK) == [(103, 9, 5), (105, 8, 4)]
    assert (kernel.best_price(book, 0), kernel.best_size(book, 0)) == (101, 6)
    assert (kernel.best_price(book, 1), kernel.best_size(book, 1)) == (103, 9)


def test_an_empty_side_has_no_best():
    book = book_of((BID, 99, 5, 1))
    assert (kernel.best_price(book, 1), kernel.best_size(book, 1)) == (0, 0)


@pytest.mark.parametrize("kind", [Kind.CANCEL, Kind.DELETE, Kind.EXECUTE])
def test_a_named_order_pays_wherever_it_stands(kind):
    book = book_of((BID, 99, 5, 1), (BID, 99, 5, 2), (BID, 99, 5, 3))
    kernel.apply(book, kind, BID, 99, 5, 2)
    assert queue(book) == [(99, 5, 1), (99, 5, 3)]


@pytest.mark.parametrize(
    ("kind", "size", "left"),
    [
        (Kind.EXECUTE, 4, [(99, 1, 1), (99, 4, 2), (99, 5, 3), (99, 2, 4)]),  # the front
        (Kind.EXECUTE, 7, [(99, 2, 2), (99, 5, 3), (99, 2, 4)]),  # and the next in the queue
        (Kind.DELETE, 5, [(99, 5, 1), (99, 4, 2), (99, 2, 4)]),  # the newest of exactly 5
        (Kind.DELETE, 3, [(99, 5, 1), (99, 4, 2), (99, 4, 3)]),  # none of 3: from the back
        (Kind.CANCEL, 2, [(99, 5, 1), (99, 4, 2), (99, 3, 3), (99, 2, 4)]),  # the newest of more than 2
        (Kind.CANCEL, 6, [(99, 5, 1), (99, 4, 2), (99, 1, 3)]),  # none of more than 6: from the back
    ],
)
def test_a_removal_without_a_name_is_settled_by_rule(kind, size, left):
    book = book_of((BID, 99, 5, 1), (BID, 99, 4, 2), (BID, 99, 5, 3), (BID, 99, 2, 4))
    kernel.apply(book, kind, BID, 99, size, 0)
    assert queue(book) == left


@pytest.mark.parametrize(
    ("kind", "size", "left"),
    [
        (Kind.DELETE, 4, [(99, 10, 0), (99, 3, 0), (99, 5, 0)]),  # the order of this size
        (Kind.DELETE, 3, [(99, 10, 0), (99, 4, 1), (99, 5, 0)]),  # one without an id
        (Kind.DELETE, 2, [(99, 10, 0), (99, 4, 1), (99, 3, 0), (99, 3, 0)]),  # of the newer anonymous order
        (Kind.DELETE, 7, [(99, 3, 0), (99, 4, 1), (99, 3, 0), (99, 5, 0)]),  # of the only one that is larger
        (Kind.DELETE, 10, [(99, 4, 1), (99, 3, 0), (99, 5, 0)]),
        (Kind.DELETE, 11, [(99, 10, 0), (99, 1, 1)]),  # none is larger: from the back
        (Kind.CANCEL, 4, [(99, 10, 0), (99, 4, 1), (99, 3, 0), (99, 1, 0)]),
        (Kind.EXECUTE, 11, [(99, 3, 1), (99, 3, 0), (99, 5, 0)]),
    ],
)
def test_a_part_of_an_anonymous_order_may_be_deleted(kind, size, left):
    known = {"side": [BID], "price": [99], "size": [10], "order_id": [0], "anonymous": [True], "last_best": [99, 0]}
    book = kernel.load(BookSnapshot(0, **{name: np.array(column) for name, column in known.items()}), 9)
    kernel.apply(book, Kind.ADD, BID, 99, 4, 1)
    kernel.apply(book, Kind.ADD, BID, 99, 3, 0)
    kernel.correct(book, BID, 99, 22)
    kernel.apply(book, kind, BID, 99, size, 0)
    assert queue(book) == left


@pytest.mark.parametrize("pooled", [False, True])
def test_what_a_correction_adds_is_anonymous_unless_a_level_is_one_order(pooled):
    book = kernel.load(BookSnapshot.empty(pooled=pooled), 9)
    kernel.apply(book, Kind.ADD, BID, 99, 4, 0)
    kernel.correct(book, BID, 99, 6)
    kernel.correct(book, BID, 98, 5)
    anonymous = kernel.to_snapshot(book, 0).anonymous.tolist()
    assert anonymous == ([False, False] if pooled else [False, True, True])


@pytest.mark.parametrize(
    ("kind", "size", "left"),
    [
        (Kind.DELETE, 5, [(99, 4, 0), (99, 5, 0)]),  # the newest of 5 that others own
        (Kind.CANCEL, 2, [(99, 5, 0), (99, 2, 0), (99, 5, 0)]),
        (Kind.EXECUTE, 6, [(99, 3, 0), (99, 5, 0)]),  # the front, whoever owns it
        (Kind.EXECUTE, 12, [(99, 2, 0)]),
    ],
)
def test_no_rule_but_that_of_executions_names_an_order_of_the_user(kind, size, left):
    book = book_of((BID, 99, 5, 0), (BID, 99, 4, 0))
    kernel.apply(book, Kind.ADD, BID, 99, 5, 0, OWN)
    kernel.apply(book, kind, BID, 99, size, 0)
    assert queue(book) == left
    assert kernel.to_snapshot(book, 0).own.tolist() == [len(left) - 1]


def test_an_order_of_the_user_is_one_by_itself_in_a_pooled_level():
    book = kernel.load(BookSnapshot.empty(pooled=True), 9)
    for size, mark in ((3, 0), (4, 0), (5, OWN), (6, OWN), (7, 0), (8, 0)):
        kernel.apply(book, Kind.ADD, BID, 99, size, 0, mark)
    assert queue(book) == [(99, 7, 0), (99, 5, 0), (99, 6, 0), (99, 15, 0)]
    kernel.apply(book, Kind.CANCEL, BID, 99, 9, 0)
    kernel.apply(book, Kind.DELETE, BID, 99, 6, 0)  # the lots that others have left behind it
    kernel.apply(book, Kind.EXECUTE, BID, 99, 8, 0)
    again = kernel.load(kernel.to_snapshot(book, 0), 9)
    assert queue(book) == queue(again) == [(99, 4, 0), (99, 6, 0)]
    assert kernel.to_snapshot(again, 0).own.tolist() == [0, 1]


def test_what_a_named_order_cannot_pay_is_taken_by_rule():
    orders = [(BID, 99, 3, 1), (BID, 99, 3, 2), (BID, 99, 3, 3)]
    executed, cancelled = book_of(*orders), book_of(*orders)
    kernel.apply(executed, Kind.EXECUTE, BID, 99, 4, 2)
    kernel.apply(cancelled, Kind.CANCEL, BID, 99, 4, 2)
    assert queue(executed) == [(99, 2, 1), (99, 3, 3)]
    assert queue(cancelled) == [(99, 3, 1), (99, 2, 3)]


def test_an_unknown_name_is_counted_and_settled_by_rule():
    book = book_of((BID, 99, 3, 1), (BID, 98, 3, 2))
    kernel.apply(book, Kind.EXECUTE, BID, 99, 1, 77)
    kernel.apply(book, Kind.EXECUTE, BID, 99, 1, 2)  # known, but it rests at another level
    assert queue(book) == [(99, 1, 1), (98, 3, 2)]
    assert count(book, "unknown_order") == 2


def test_a_name_used_again_belongs_to_the_newer_order():
    book = book_of((BID, 99, 3, 1), (BID, 98, 3, 1))
    assert queue(book) == [(99, 3, 0), (98, 3, 1)]
    assert count(book, "duplicate_order") == 1


def test_removing_more_than_a_level_holds_removes_it_and_is_counted():
    book = book_of((BID, 99, 3, 1), (BID, 98, 2, 2))
    kernel.apply(book, Kind.DELETE, BID, 99, 4, 1)
    assert queue(book) == [(98, 2, 2)]
    kernel.apply(book, Kind.DELETE, BID, 98, 2, 2)  # exactly the complete level: not an over-removal
    assert queue(book) == []
    assert count(book, "over_removal") == 1


def test_removing_at_an_absent_level_changes_nothing_and_is_counted():
    book = book_of((BID, 99, 3, 1), (ASK, 101, 3, 2))
    kernel.apply(book, Kind.EXECUTE, BID, 101, 1, 0)
    kernel.apply(book, Kind.CANCEL, ASK, 99, 1, 1)
    assert queue(book) == [(99, 3, 1)] and queue(book, ASK) == [(101, 3, 2)]
    assert count(book, "unknown_level") == 2


@pytest.mark.parametrize("kind", [Kind.EXECUTE_HIDDEN, Kind.CROSS, Kind.CONTROL])
def test_other_kinds_leave_the_book_alone(kind):
    book = book_of((BID, 99, 3, 1))
    kernel.apply(book, kind, BID, 99, 3, 1)
    assert queue(book) == [(99, 3, 1)]
    assert not book.counters.any()


def test_clear_empties_both_sides_and_remembers_their_bests():
    book = book_of((BID, 99, 3, 1), (BID, 98, 3, 2), (ASK, 101, 3, 3))
    kernel.clear(book)
    assert len(kernel.to_snapshot(book, 0)) == 0
    assert (kernel.reference(book, BID), kernel.reference(book, ASK)) == (99, 101)
    kernel.apply(book, Kind.ADD, BID, 97, 3, 2)  # its id is free again
    assert queue(book) == [(97, 3, 2)] and count(book, "duplicate_order") == 0


@pytest.mark.parametrize(
    ("size", "left"),
    [
        (9, [(99, 3, 1), (99, 2, 2), (99, 4, 0)]),
        (5, [(99, 3, 1), (99, 2, 2)]),
        (4, [(99, 3, 1), (99, 1, 2)]),
        (2, [(99, 2, 1)]),
        (0, []),
    ],
)
def test_a_correction_grows_and_shrinks_a_level_at_the_back(size, left):
    book = book_of((BID, 99, 3, 1), (BID, 99, 2, 2))
    kernel.correct(book, BID, 99, size)
    assert queue(book) == left


def test_a_correction_reveals_a_level():
    book = book_of((BID, 99, 3, 1))
    kernel.correct(book, BID, 98, 7)
    kernel.correct(book, BID, 97, 0)
    assert queue(book) == [(99, 3, 1), (98, 7, 0)]


def test_a_window_forgets_what_leaves_it():
    book = book_of((BID, 98, 3, 1), (BID, 97, 3, 2), (BID, 99, 3, 3), window=2)
    assert queue(book) == [(99, 3, 3), (98, 3, 1)]
    kernel.apply(book, Kind.DELETE, BID, 99, 3, 3)
    assert queue(book) == [(98, 3, 1)]
    kernel.apply(book, Kind.ADD, BID, 96, 3, 4)
    kernel.apply(book, Kind.ADD, BID, 95, 3, 5)  # outside the window from the start
    assert queue(book) == [(98, 3, 1), (96, 3, 4)]


def test_the_reference_of_a_side_falls_back_step_by_step():
    book = book_of()
    assert kernel.reference(book, BID) == 0
    kernel.apply(book, Kind.ADD, ASK, 105, 1, 0)
    assert kernel.reference(book, BID) == 105  # the other side's best
    kernel.apply(book, Kind.ADD, BID, 100, 1, 0)
    kernel.apply(book, Kind.DELETE, BID, 100, 1, 0)
    assert kernel.reference(book, BID) == 100  # its own last best
    kernel.apply(book, Kind.ADD, BID, 97, 1, 0)
    assert kernel.reference(book, BID) == 97  # its best


def test_crossed_and_locked_states_are_counted():
    book = book_of((BID, 100, 1, 0))
    kernel.count_state(book)  # one-sided: neither
    kernel.apply(book, Kind.ADD, ASK, 100, 1, 0)
    kernel.count_state(book)
    kernel.apply(book, Kind.ADD, ASK, 99, 1, 0)
    kernel.count_state(book)
    assert (count(book, "locked"), count(book, "crossed")) == (1, 1)


def test_too_little_room_is_an_error_not_a_write_past_the_end():
    book = book_of((BID, 99, 1, 1), (BID, 99, 1, 2), room=2)
    with pytest.raises(IndexError, match="order_capacity"):
        kernel.apply(book, Kind.ADD, BID, 99, 1, 3)
    narrow = kernel.new_book(9, 1, window=0, pooled=False)
    kernel.apply(narrow, Kind.ADD, BID, 99, 1, 1)
    with pytest.raises(IndexError, match="level_capacity"):
        kernel.apply(narrow, Kind.ADD, BID, 98, 1, 2)


def test_slots_are_used_again():
    book = book_of(room=1)
    for i in range(1, 100):
        kernel.apply(book, Kind.ADD, BID, 99, 1, i)
        kernel.apply(book, Kind.DELETE, BID, 99, 1, i)
    assert queue(book) == [] and not book.counters.any()


def test_a_snapshot_keeps_order_ids_beyond_int64():
    book = book_of((BID, 99, 3, 2**64 - 1))
    snapshot = kernel.to_snapshot(book, 17)
    assert snapshot.time_ns == 17 and snapshot.order_id.dtype == np.uint64
    assert int(snapshot.order_id[0]) == 2**64 - 1
    kernel.apply(book, Kind.DELETE, BID, 99, 1, np.uint64(2**64 - 1))
    assert queue(book) == [(99, 2, 2**64 - 1)] and count(book, "unknown_order") == 0


@given(st.sets(st.integers(1, 2000), max_size=60))
@settings(max_examples=40)
def test_levels_far_from_the_touch_are_found(prices):
    book = kernel.load(BookSnapshot.empty(), 200)
    for side in (BID, ASK):
        for price in sorted(prices, key=lambda p: p * 7919 % 2003):
            kernel.apply(book, Kind.ADD, side, price, price, 0)
    assert [p for p, _, _ in queue(book)] == sorted(prices, reverse=True)
    assert [p for p, _, _ in queue(book, ASK)] == sorted(prices)
    for price in range(1, 2001, 37):
        row = kernel.level_of(book, 0, price)
        assert (row >= 0) == (price in prices)
        assert row < 0 or book.levels[0, row, 1] == price


@given(st.lists(st.integers(1, 40), max_size=80))
@settings(max_examples=100)
def test_the_table_of_names_agrees_with_a_dictionary(ids):
    """Ids enter and leave a hash table so small that most searches collide."""
    book, names = kernel.new_book(8, 1, window=0, pooled=False), {}
    assert len(book.names) == 16
    for order_id in ids:
        if order_id in names:
            strike_name(book, order_id)
            book.free[0] = names.pop(order_id)
        elif len(names) < 8:
            slot = next(slot for slot in range(8) if slot not in names.values())
            enter_name(book, order_id, slot)
            names[order_id] = slot
        for known in range(1, 41):
            assert named_slot(book, 0, 0, known) == names.get(known, -1)
