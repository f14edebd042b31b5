"""The device's book against the compiled one of the host, event by event."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.features import book_features
from lob_jax.book.kernel import load, to_snapshot
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import Code, Kind
from lob_jax.generation import live_book
from lob_jax.generation.assembler import TOO_LARGE

TICK = 100
PLACES = 8


def snapshot(bids: dict[int, int], asks: dict[int, int], *, last=(0, 0)) -> BookSnapshot:
    """Return a book of one order a level; prices in ticks."""
    rows = [(1, p, s) for p, s in sorted(bids.items(), reverse=True)] + [(-1, p, s) for p, s in sorted(asks.items())]
    side, price, size = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    return BookSnapshot(
        time_ns=0,
        side=side.astype(np.int8),
        price=price.astype(np.int64) * TICK,
        size=size.astype(np.int64),
        order_id=np.zeros(len(rows), np.uint64),
        last_best=np.array(last, np.int64) * TICK,
    )


apply = jax.jit(live_book.apply)


def levels(book: live_book.LiveBook, origin: int) -> list[dict[int, int]]:
    """Return {price in ticks: size} of each side."""
    keys, sizes = np.asarray(book.key_2P), np.asarray(book.size_2P)
    return [
        {int(sign * k + origin // TICK): int(s) for k, s in zip(keys[i], sizes[i], strict=True) if k != live_book.FAR}
        for i, sign in enumerate((-1, 1))
    ]


def step(book, kind, side, deeper, size, code=0):
    arguments = {"kind": kind, "code": code, "side": side, "deeper": deeper, "size": size}
    return apply(book, **{name: jnp.int32(value) for name, value in arguments.items()})


def reasons(book) -> dict[str, int]:
    counts = np.asarray(book.impossible)
    return {reason: int(n) for reason, n in zip(live_book.REASONS, counts, strict=True) if n}


@pytest.mark.parametrize(
    ("event", "bids", "reason"),
    [
        ((Kind.ADD, 0, 0, 5), {100: 15, 99: 7}, None),
        ((Kind.ADD, 0, 3, 5), {100: 10, 99: 7, 97: 5}, None),
        ((Kind.ADD, 0, -1, 5), {101: 5, 100: 10, 99: 7}, None),
        ((Kind.ADD, 0, -2, 5), None, "crossing"),
        ((Kind.ADD, 0, 100, 5), None, "out_of_range"),
        ((Kind.ADD, 0, 99, 5), {100: 10, 99: 7, 1: 5}, None),
        ((Kind.ADD, 0, int(TOO_LARGE), 5), None, "out_of_range"),
        ((Kind.ADD, 0, 0, int(TOO_LARGE)), None, "out_of_range"),
        ((Kind.ADD, 0, 0, int(TOO_LARGE) - 5), None, "out_of_range"),
        ((Kind.ADD, 0, 0, 0), None, "out_of_range"),
        ((Kind.CANCEL, 0, 0, 4), {100: 6, 99: 7}, None),
        ((Kind.DELETE, 0, 0, 10), {99: 7}, None),
        ((Kind.DELETE, 0, 1, 7), {100: 10}, None),
        ((Kind.DELETE, 0, 2, 7), None, "absent_level"),
        ((Kind.CANCEL, 0, 0, 11), None, "over_removal"),
        ((Kind.EXECUTE, 0, 0, 3), {100: 7, 99: 7}, None),
        ((Kind.EXECUTE, 0, 1, 3), None, "not_at_best"),
        ((Kind.EXECUTE_HIDDEN, 0, -50, 3), {100: 10, 99: 7}, None),
        ((Kind.CROSS, 1, -50, 3), {100: 10, 99: 7}, None),
        ((Kind.CONTROL, 0, 0, 0, Code.HALT), {100: 10, 99: 7}, None),
        ((Kind.CONTROL, 0, 0, 0, Code.CLEAR), {}, None),
    ],
)
def test_one_event(event, bids, reason):
    before = {100: 10, 99: 7}
    book, origin = live_book.from_snapshot(snapshot(before, {102: 5}), tick=TICK, places=PLACES)
    after = step(book, *event)
    assert levels(after, origin)[0] == (before if bids is None else bids)
    assert reasons(after) == ({} if reason is None else {reason: 1})


def test_an_ask_is_the_mirror_of_a_bid():
    book, origin = live_book.from_snapshot(snapshot({100: 1}, {102: 5, 104: 6}), tick=TICK, places=PLACES)
    assert levels(step(book, Kind.ADD, 1, -1, 9), origin)[1] == {101: 9, 102: 5, 104: 6}
    assert levels(step(book, Kind.EXECUTE, 1, 0, 5), origin)[1] == {104: 6}
    assert reasons(step(book, Kind.ADD, 1, -2, 9)) == {"crossing": 1}


def test_an_empty_side_counts_from_its_last_best_then_from_the_other_side_then_from_nothing():
    cases = [
        (snapshot({}, {102: 5}, last=(98, 0)), 98),
        (snapshot({}, {102: 5}), 102),
        (snapshot({}, {}), 0),
    ]
    for start, expected in cases:
        book, origin = live_book.from_snapshot(start, tick=TICK, places=PLACES)
        assert int(live_book.reference(book, jnp.int32(0))) + origin // TICK == expected


def test_a_full_side_drops_its_deepest_level_and_says_so():
    book, origin = live_book.from_snapshot(snapshot({100 - i: 1 for i in range(PLACES)}, {}), tick=TICK, places=PLACES)
    after = step(book, Kind.ADD, 0, -1, 4)
    assert levels(after, origin)[0] == {101: 4, **{100 - i: 1 for i in range(PLACES - 1)}}
    assert int(after.forgotten) == 1


events = st.tuples(
    st.sampled_from([Kind.ADD, Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE]),
    st.integers(0, 1),
    st.integers(-2, 4),
    st.integers(1, 4),
)


@settings(max_examples=60, deadline=None)
@given(stream=st.lists(events, max_size=40))
def test_possible_events_leave_the_same_book_as_on_the_host(stream):
    start = snapshot({100: 3, 98: 2}, {101: 2, 105: 1})
    book, origin = live_book.from_snapshot(start, tick=TICK, places=64)
    host = load(start, len(stream))
    from lob_jax.book.kernel import apply as host_apply
    from lob_jax.book.kernel import reference

    for kind, side, deeper, size in stream:
        sign = 1 - 2 * side
        price = int(reference(host, sign)) - sign * deeper * TICK
        after = step(book, kind, side, deeper, size)
        if int(after.impossible.sum()) == int(book.impossible.sum()):
            host_apply(host, int(kind), sign, price, size, 0)
        book = after
        now = to_snapshot(host, 0)
        expected: list[dict[int, int]] = [{}, {}]
        for s, p, q in zip(now.side, now.price, now.size, strict=True):
            level = expected[0 if s > 0 else 1]
            level[int(p) // TICK] = level.get(int(p) // TICK, 0) + int(q)
        assert levels(book, origin) == expected


def test_features_are_those_of_training():
    start = snapshot({100: 3, 98: 2, 90: 7}, {101: 2})
    book, _ = live_book.from_snapshot(start, tick=TICK, places=PLACES)
    price, size = np.zeros((2, 4), np.int64), np.zeros((2, 4), np.int64)
    price[0, :3], size[0, :3] = [10_000, 9_800, 9_000], [3, 2, 7]
    price[1, :1], size[1, :1] = [10_100], [2]
    expected = book_features(price, size, tick=TICK)
    np.testing.assert_allclose(live_book.features(book, levels=4), expected, rtol=1e-6)
    wide = live_book.features(book, levels=PLACES + 2)
    assert wide.shape == (4 * (PLACES + 2),)
