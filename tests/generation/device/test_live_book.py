"""The device's book against the host's plain book, order by order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.features import book_features
from lob_jax.book.oracle import OracleBook
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Kind
from lob_jax.generation.device import live_book

TICK = 100
PLACES, ORDERS = 8, 4
apply = jax.jit(live_book.apply)


def snapshot(bids, asks, *, last=(None, None), anonymous=(), shift=0, **more) -> BookSnapshot:
    """Return a book from {price in ticks: lots of its orders}; those with `anonymous` lots are anonymous."""
    sides = ((1, sorted(bids.items(), reverse=True)), (-1, sorted(asks.items())))
    rows = [(side, price, size) for side, levels in sides for price, queue in levels for size in queue]
    side, price, size = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    return BookSnapshot(
        time_ns=0,
        side=side.astype(np.int8),
        price=(price.astype(np.int64) + shift) * TICK,
        size=size.astype(np.int64),
        order_id=np.zeros(len(rows), np.uint64),
        anonymous=np.isin(size, anonymous),
        last_best=np.array([(ticks or 0) + shift for ticks in last], np.int64) * TICK,
        seen=np.array([ticks is not None for ticks in last]),
        **more,
    )


def load(start, **room):
    return live_book.from_snapshot(start, tick=TICK, **({"places": PLACES, "orders": ORDERS} | room))


def step(book, kind, side, deeper, size, code=0, owner=0):
    arguments = {"kind": kind, "code": code, "side": side, "deeper": deeper, "size": size, "owner": owner}
    return apply(book, **{name: jnp.int32(value) for name, value in arguments.items()})


def levels(book, origin):
    """Return {price in ticks: lots of its orders} of each side."""
    return [{price // TICK: queue for price, queue in side} for side in live_book.to_levels(book, origin, tick=TICK)]


def owners(book):
    """Return whose the orders of each side are, best level first, front of the queue first."""
    rows = np.asarray(book.row_2P)[..., None]
    lots, owner = (np.take_along_axis(np.asarray(of), rows, 1) for of in (book.queue_2PQ, book.owner_2PQ))
    return [owner[side][lots[side] > 0].tolist() for side in (0, 1)]


BIDS, ASKS = {100: [4, 6, 3, 6], 99: [7]}, {102: [5]}


@pytest.mark.parametrize(
    ("event", "bids"),
    [
        ((Kind.ADD, 0, 1, 5), {100: [4, 6, 3, 6], 99: [7, 5]}),
        ((Kind.ADD, 0, 0, 5), None),  # no room in the queue
        ((Kind.ADD, 0, 3, 5), {100: [4, 6, 3, 6], 99: [7], 97: [5]}),
        ((Kind.ADD, 0, -1, 5), {101: [5], 100: [4, 6, 3, 6], 99: [7]}),
        ((Kind.ADD, 0, -2, 5), None),  # it would lock the book
        ((Kind.ADD, 0, 99, 5), {100: [4, 6, 3, 6], 99: [7], 1: [5]}),
        ((Kind.ADD, 0, 100, 5), None),  # a price of zero
        ((Kind.ADD, 0, 1, 0), None),
        ((Kind.ADD, 0, 1, 2**31 - 9), {100: [4, 6, 3, 6], 99: [7, 2**31 - 9]}),
        ((Kind.ADD, 0, 1, 2**31 - 8), None),  # the level's total would overflow an int32
        ((Kind.CANCEL, 0, 0, 2), {100: [4, 6, 3, 4], 99: [7]}),  # from the newest order larger than that
        ((Kind.CANCEL, 0, 0, 5), {100: [4, 6, 3, 1], 99: [7]}),
        ((Kind.CANCEL, 0, 0, 6), None),
        ((Kind.CANCEL, 0, 1, 7), None),
        ((Kind.DELETE, 0, 0, 6), {100: [4, 6, 3], 99: [7]}),  # the newest order of exactly that size
        ((Kind.DELETE, 0, 0, 3), {100: [4, 6, 6], 99: [7]}),
        ((Kind.DELETE, 0, 0, 5), None),
        ((Kind.DELETE, 0, 1, 7), {100: [4, 6, 3, 6]}),
        ((Kind.DELETE, 0, 2, 7), None),
        ((Kind.EXECUTE, 0, 0, 3), {100: [1, 6, 3, 6], 99: [7]}),
        ((Kind.EXECUTE, 0, 0, 4), {100: [6, 3, 6], 99: [7]}),
        ((Kind.EXECUTE, 0, 0, 5), None),  # more than the order at the front
        ((Kind.EXECUTE, 0, 1, 7), None),  # not at the best price
        ((Kind.CONTROL, 0, 0, 0, Code.CLEAR), {}),
    ],
)
def test_one_event(event, bids):
    book, origin = load(snapshot(BIDS, ASKS))
    after = step(book, *event)
    expected = BIDS if bids is None else bids
    assert levels(after, origin) == [expected, {} if event[0] == Kind.CONTROL else ASKS]
    assert int(after.refused) == (bids is None)


@pytest.mark.parametrize(
    ("kind", "size", "queue"),
    [
        (Kind.DELETE, 6, [9, 4, 8]),
        (Kind.DELETE, 4, [9, 8, 6]),
        (Kind.DELETE, 5, [9, 4, 3, 6]),  # a part of the newest anonymous order that is larger
        (Kind.DELETE, 8, [9, 4, 6]),
        (Kind.DELETE, 10, None),
        (Kind.CANCEL, 5, [9, 4, 8, 1]),
        (Kind.CANCEL, 8, [1, 4, 8, 6]),
    ],
)
def test_a_part_of_an_anonymous_order_may_be_deleted(kind, size, queue):
    book, origin = load(snapshot({100: [9, 4, 8, 6]}, ASKS, anonymous=(9, 8)))
    after = step(book, kind, 0, 0, size)
    assert levels(after, origin)[0] == {100: queue or [9, 4, 8, 6]} and int(after.refused) == (queue is None)


def test_an_order_that_takes_the_place_of_an_anonymous_one_is_not_anonymous():
    book, origin = load(snapshot({100: [9]}, ASKS, anonymous=(9,)))
    book = step(step(book, Kind.ADD, 0, 0, 7), Kind.DELETE, 0, 0, 9)
    assert int(step(book, Kind.DELETE, 0, 0, 3).refused) == 1
    cleared = step(load(snapshot({100: [9]}, ASKS, anonymous=(9,)))[0], Kind.CONTROL, 0, 0, 0, Code.CLEAR)
    assert int(step(step(cleared, Kind.ADD, 0, 0, 7), Kind.DELETE, 0, 0, 3).refused) == 1
    assert levels(book, origin)[0] == {100: [7]}


@pytest.mark.parametrize(
    ("event", "bids", "owned", "filled"),
    [
        ((Kind.DELETE, 0, 0, 6), {100: [4, 3, 6], 99: [7]}, [[0, 0, 1, 3], [2]], 0),  # the newest that others own
        ((Kind.CANCEL, 0, 0, 4), {100: [4, 2, 3, 6], 99: [7]}, [[0, 0, 0, 1, 3], [2]], 0),
        ((Kind.DELETE, 0, 1, 7), None, [[0, 0, 0, 1, 3], [2]], 0),
        ((Kind.CANCEL, 0, 1, 2), None, [[0, 0, 0, 1, 3], [2]], 0),
        ((Kind.EXECUTE, 0, 0, 3), {100: [1, 6, 3, 6], 99: [7]}, [[0, 0, 0, 1, 3], [2]], 0),
        ((Kind.EXECUTE, 1, 0, 2), {100: [4, 6, 3, 6], 99: [7]}, [[0, 0, 0, 1, 3], [2]], 2),
        ((Kind.EXECUTE, 1, 0, 5), {100: [4, 6, 3, 6], 99: [7]}, [[0, 0, 0, 1, 3], []], 2),
    ],
)
def test_an_order_of_the_user_goes_only_by_being_filled(event, bids, owned, filled):
    book, origin = load(snapshot({100: [4, 6, 3]}, {}))
    for number, at in enumerate(((0, 0, 6), (1, 2, 5), (0, 1, 7))):
        book = step(book, Kind.ADD, *at, owner=number + 1)
    after = step(book, *event)
    assert levels(after, origin)[0] == (bids or {100: [4, 6, 3, 6], 99: [7]})
    assert (owners(after), int(after.filled), int(after.refused)) == (owned, filled, bids is None)


def test_a_level_that_leaves_the_view_takes_the_order_of_the_user_with_it():
    book, origin = load(snapshot({100: [1], 98: [2]}, ASKS, window=2), remembers=4)
    book = step(step(book, Kind.ADD, 0, 2, 7, owner=1), Kind.ADD, 0, -1, 5)
    assert levels(book, origin)[0] == {101: [5], 100: [1]} and owners(book)[0] == [0, 0]
    book = step(book, Kind.DELETE, 0, 0, 5)  # the level comes back as a total, of which a part may go
    assert levels(step(book, Kind.DELETE, 0, 2, 3), origin)[0] == {100: [1], 98: [6]}


@pytest.mark.parametrize(
    ("bids", "deeper", "after"),
    [
        ({100: [1], 98: [2]}, -1, {101: [5], 100: [1]}),  # a better level replaces the last one
        ({100: [1], 98: [2]}, 1, {100: [1], 99: [5]}),
        ({100: [1], 98: [2]}, 2, {100: [1], 98: [2, 5]}),
        ({100: [1], 98: [2]}, 3, None),  # out of view
        ({100: [1]}, 3, {100: [1], 97: [5]}),
    ],
)
@pytest.mark.parametrize("places", [PLACES, 2])
def test_a_full_side_of_a_window_keeps_its_best_levels(bids, deeper, after, places):
    book, origin = load(snapshot(bids, ASKS, window=2), places=places)
    book = step(book, Kind.ADD, 0, deeper, 5)
    assert levels(book, origin)[0] == (bids if after is None else after) and int(book.refused) == (after is None)
    assert sorted(book.row_2P[0].tolist()) == list(range(places))


@pytest.mark.parametrize("event", [(Kind.EXECUTE_HIDDEN, 0, -50, 3), (Kind.CROSS, 1, -50, 3)])
def test_what_no_visible_order_pays_changes_no_level(event):
    book, origin = load(snapshot(BIDS, ASKS))
    after = step(book, *event)
    assert levels(after, origin) == [BIDS, ASKS]
    assert int(after.refused) == 0


def test_a_level_of_a_pooled_book_is_one_order():
    book, origin = load(snapshot({100: [4]}, ASKS, pooled=True), orders=1)
    book = step(book, Kind.ADD, 0, 0, 5)
    assert levels(book, origin) == [{100: [9]}, ASKS]
    assert levels(step(book, Kind.CANCEL, 0, 0, 8), origin)[0] == {100: [1]}


def test_an_order_of_the_user_is_one_by_itself_in_a_pooled_level():
    book, origin = load(snapshot({100: [4]}, ASKS, pooled=True))
    for size, owner in ((3, 0), (5, 1), (8, 0), (7, 0)):
        book = step(book, Kind.ADD, 0, 0, size, owner=owner)
    assert levels(book, origin)[0] == {100: [7, 5, 15]}
    assert int(step(book, Kind.DELETE, 0, 0, 5).refused) == 1
    book = step(step(book, Kind.CANCEL, 0, 0, 9), Kind.EXECUTE, 0, 0, 7)
    assert levels(book, origin)[0] == {100: [5, 6]} and int(book.filled) == 0
    assert int(step(book, Kind.EXECUTE, 0, 0, 5).filled) == 1
    book = step(step(book, Kind.ADD, 0, 0, 1, owner=2), Kind.ADD, 0, 0, 2)
    assert levels(book, origin)[0] == {100: [5, 6, 1, 2]} and int(book.refused) == 0
    assert levels(step(book, Kind.ADD, 0, 0, 2), origin)[0] == {100: [5, 6, 1, 4]}  # a full queue takes lots of others
    assert int(step(book, Kind.ADD, 0, 0, 2, owner=3).refused) == 1


def test_halts_close_and_resumptions_open():
    book, _ = load(snapshot(BIDS, ASKS))
    closed = []
    for code in (Code.HALT, Code.RESUME_QUOTE, Code.RESUME_TRADE, Code.SESSION_OPEN):
        book = step(book, Kind.CONTROL, 0, 0, 0, code)
        closed.append(int(book.closed))
    assert closed == [2, 1, 0, 0]


def test_a_full_side_takes_no_new_level_and_loses_none():
    bids = {100 - k: [1] for k in range(PLACES)}
    book, origin = load(snapshot(bids, ASKS))
    for deeper in (20, -1):
        after = step(book, Kind.ADD, 0, deeper, 3)
        assert levels(after, origin)[0] == bids
        assert int(after.refused) == 1
    assert levels(step(book, Kind.ADD, 0, 7, 3), origin)[0] == {**bids, 93: [1, 3]}


@pytest.mark.parametrize("shift", [-103, -102, -100, 0, 7])
def test_an_empty_side_counts_from_its_last_best_whatever_that_was(shift):
    for last, expected in (((None, None), 102), ((100, None), 100)):
        book, origin = load(snapshot({}, {102: [5]}, last=last, shift=shift), signed=True)
        assert origin + TICK * int(live_book.reference(book, jnp.int32(0))) == TICK * (expected + shift)
    book, origin = load(snapshot({}, {}, last=(100, 102), shift=shift), signed=True)
    both = [origin + TICK * int(live_book.reference(book, jnp.int32(side))) for side in (0, 1)]
    assert both == [TICK * (100 + shift), TICK * (102 + shift)]


def test_without_a_floor_an_order_may_rest_at_any_price():
    book, origin = load(snapshot(BIDS, ASKS, shift=-100), signed=True)
    book = step(step(book, Kind.ADD, 0, 99, 5), Kind.ADD, 0, 100, 6)
    assert levels(book, origin)[0] == {0: [4, 6, 3, 6], -1: [7], -99: [5], -100: [6]} and int(book.refused) == 0


def test_references_of_an_empty_side():
    book, origin = load(snapshot({}, {102: [5]}))
    assert origin == 102 * TICK
    assert int(live_book.reference(book, jnp.int32(0))) == 0  # the other side's best
    book = step(step(book, Kind.ADD, 0, 3, 5), Kind.DELETE, 0, 0, 5)
    assert int(live_book.reference(book, jnp.int32(0))) == -3  # its last best
    nothing, _ = load(snapshot({}, {}))
    assert int(live_book.reference(nothing, jnp.int32(1))) == 0
    assert levels(step(nothing, Kind.ADD, 1, 7, 2), 0) == [{}, {7: [2]}]


@pytest.mark.parametrize(
    ("bids", "told"),
    [
        ({100 - k: [1] for k in range(PLACES + 1)}, "levels"),
        ({100: [1] * (ORDERS + 1)}, "orders at a level"),
        ({100: [2**30, 2**30]}, "lots at a level"),
    ],
)
def test_a_start_without_room_is_refused(bids, told):
    with pytest.raises(InputError, match=told):
        load(snapshot(bids, ASKS))


EVENT = st.tuples(
    st.sampled_from([Kind.ADD] * 3 + [Kind.CANCEL, Kind.DELETE, Kind.EXECUTE]),
    st.integers(0, 1),
    st.integers(-3, 6),
    st.integers(1, 4),
    st.sampled_from([0, 0, 0, 1]),
)


@settings(max_examples=60)
@given(st.lists(EVENT, max_size=60), st.booleans(), st.sampled_from([0, 2, 3]))
def test_what_is_not_refused_does_what_the_plain_book_does(events, pooled, window):
    anonymous = () if pooled else (6, 7)
    bids = {100: [6] if pooled else [3, 6], 98: [2]}
    start = snapshot(bids, {101: [1], 103: [7]}, anonymous=anonymous, pooled=pooled, window=window)
    book, origin = load(start)
    oracle = OracleBook(start)
    for kind, side, deeper, size, owner in events:
        price = int(live_book.reference(book, jnp.int32(side))) + (1, -1)[side == 0] * deeper
        assert (origin // TICK + price - (1, -1)[side == 0] * deeper) * TICK == oracle.reference((1, -1)[side])
        before = int(book.refused)
        book = step(book, kind, side, deeper, size, owner=owner)
        if int(book.refused) == before:
            oracle.apply(kind, (1, -1)[side], origin + price * TICK, size, 0, own=owner > 0)
        found = [
            (price, lots) for side in live_book.to_levels(book, origin, tick=TICK) for price, q in side for lots in q
        ]
        assert found == [(price, lots) for side in (1, -1) for price, lots, _ in oracle.orders(side)]
        queues = [[oracle.sides[side][price] for price, _ in oracle.levels(side)] for side in (1, -1)]
        assert owners(book) == [[int(order.own) for queue in side for order in queue] for side in queues]
    assert not {name for name, count in oracle.counts.items() if count}
    keys, rows = np.asarray(book.key_2P), np.asarray(book.row_2P)
    assert (np.sort(rows, axis=1) == np.arange(PLACES)).all()
    assert (np.diff(keys.astype(np.int64), axis=1) >= 0).all()
    totals = np.take_along_axis(np.asarray(book.total_2P), rows, axis=1)
    np.testing.assert_array_equal(totals > 0, keys != live_book.FAR)


@pytest.mark.parametrize("count", [1, 3, 12])
def test_features_are_those_of_training(count):
    book, _ = load(snapshot(BIDS, ASKS))
    book = step(step(book, Kind.ADD, 0, 4, 9), Kind.DELETE, 0, 1, 7)
    price, size = np.zeros((2, count), np.int64), np.zeros((2, count), np.int64)
    for k, (p, s) in enumerate([(100, 19), (96, 9)][:count]):
        price[0, k], size[0, k] = p * TICK, s
    price[1, 0], size[1, 0] = 102 * TICK, 5
    expected = book_features(price, size, tick=TICK)
    np.testing.assert_allclose(live_book.features(book, levels=count), expected, rtol=1e-6)
