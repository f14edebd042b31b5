"""The compiled book against the plain one, on streams that frequently contradict the book."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book import kernel
from lob_jax.book.oracle import OracleBook
from lob_jax.book.orders import COUNTERS, OWN
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import ASK, BID, Kind

SIDES = st.sampled_from((BID, ASK))
PRICES = st.integers(-3, 3)  # zero and negative prices are valid
IDS = st.sampled_from((0, 0, 1, 2, 3, 4, 5, 2**63 + 5))
EVENTS = st.tuples(st.just("event"), st.sampled_from((1, 1, 1, 2, 3, 4, 5, 6)), SIDES, PRICES, st.integers(0, 6), IDS)
CORRECTIONS = st.tuples(st.just("correction"), SIDES, PRICES, st.integers(0, 9))
ADDS = st.tuples(st.just("own"), SIDES, PRICES, st.integers(1, 6), IDS)
CLEARS = st.just(("clear",))
STREAMS = st.lists(st.one_of(EVENTS, EVENTS, EVENTS, EVENTS, EVENTS, ADDS, CORRECTIONS, CLEARS), max_size=60)
WINDOWS = st.sampled_from((0, 1, 2, 3))


def advance(book, oracle, stream):
    for what, *values in stream:
        if what == "event":
            kernel.apply(book, *values[:-1], np.uint64(values[-1]))  # the dtype of the event column
            oracle.apply(*values)
        elif what == "own":
            kernel.apply(book, Kind.ADD, *values[:-1], np.uint64(values[-1]), OWN)
            oracle.apply(Kind.ADD, *values, own=True)
        elif what == "correction":
            kernel.correct(book, *values)
            oracle.correct(*values)
        else:
            kernel.clear(book)
            oracle.clear()
        kernel.count_state(book)
        oracle.count_state()
        check(book, oracle)


def check(book, oracle):
    """Assert that two books agree order by order, and in everything derived from them."""
    snapshot = kernel.to_snapshot(book, 0)
    rows = zip(*(getattr(snapshot, name).tolist() for name in ("side", "price", "size", "order_id")), strict=True)
    assert list(rows) == [(side, *order) for side in (BID, ASK) for order in oracle.orders(side)]
    queues = [oracle.sides[side][price] for side in (BID, ASK) for price, _ in oracle.levels(side)]
    assert snapshot.anonymous.tolist() == [order.anonymous for queue in queues for order in queue]
    assert snapshot.is_own().tolist() == [order.own for queue in queues for order in queue]
    for s, side in enumerate((BID, ASK)):
        levels = book.levels[s, slice(*book.side[s, :2])]
        assert [tuple(row) for row in levels[::-1, :2].tolist()] == oracle.levels(side)
        assert kernel.reference(book, side) == oracle.reference(side)
    known = [price if seen else None for price, seen in zip(snapshot.last_best.tolist(), snapshot.seen, strict=True)]
    assert known == list(oracle.last_best.values())
    counts = dict(zip(COUNTERS, book.counters[:-1].tolist(), strict=True))
    assert counts == {name: oracle.counts[name] for name in COUNTERS}


@given(STREAMS, WINDOWS, st.booleans())
@settings(max_examples=250)
def test_the_compiled_book_does_what_the_oracle_does(stream, window, pooled):
    start = BookSnapshot.empty(window=window, pooled=pooled)
    advance(kernel.load(start, len(stream)), OracleBook(start), stream)


@given(STREAMS, STREAMS, WINDOWS)
@settings(max_examples=80)
def test_a_book_loaded_from_its_snapshot_goes_on_as_it_would_have(first, second, window):
    start = BookSnapshot.empty(window=window)
    book, oracle = kernel.load(start, len(first)), OracleBook(start)
    advance(book, oracle, first)
    snapshot = kernel.to_snapshot(book, 5)
    assert (snapshot.time_ns, snapshot.window) == (5, window)
    restarted = kernel.load(snapshot, len(second))
    restarted.counters[:] = book.counters
    advance(restarted, oracle, second)


@given(STREAMS, WINDOWS)
@settings(max_examples=80)
def test_prices_and_sizes_do_not_depend_on_order_ids(stream, window):
    start = BookSnapshot.empty(window=window)
    named, nameless = OracleBook(start), OracleBook(start)
    for what, *values in stream:
        if what == "event":
            named.apply(*values)
            nameless.apply(*values[:-1], 0)
        elif what == "correction":
            named.correct(*values)
            nameless.correct(*values)
        for side in (BID, ASK):
            assert named.levels(side) == nameless.levels(side)
            assert named.reference(side) == nameless.reference(side)


def test_the_oracle_on_a_stream_worked_out_by_hand():
    oracle = OracleBook(
        BookSnapshot(
            time_ns=0,
            side=np.array([BID, BID, ASK], np.int8),
            price=np.array([100, 99, 102]),
            size=np.array([5, 4, 3]),
            order_id=np.array([7, 0, 0], np.uint64),
            anonymous=np.zeros(3, bool),
            last_best=np.array([100, 102]),
            window=2,
        )
    )
    oracle.apply(Kind.ADD, BID, 100, 2, 8)
    oracle.apply(Kind.EXECUTE, BID, 100, 6, 0)  # all of order 7, one lot of order 8
    assert oracle.orders(BID) == [(100, 1, 8), (99, 4, 0)]
    oracle.apply(Kind.ADD, BID, 101, 9, 9)  # 99 leaves the window
    assert oracle.levels(BID) == [(101, 9), (100, 1)]
    oracle.apply(Kind.DELETE, ASK, 102, 4, 0)
    assert oracle.levels(ASK) == [] and oracle.reference(ASK) == 102
    assert oracle.counts["over_removal"] == 1
    oracle.correct(ASK, 103, 6)
    assert oracle.reference(ASK) == 103
    oracle.apply(Kind.ADD, ASK, 103, 2, 10)
    oracle.apply(Kind.DELETE, ASK, 103, 2, 0)  # the order of this size
    oracle.apply(Kind.DELETE, ASK, 103, 4, 0)  # a part of the correction's anonymous order
    assert oracle.orders(ASK) == [(103, 2, 0)]
