"""The sets of exact tokens: hand-made books, brute force, causality, and what real days put outside."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.sets.exact_sets import exact_sets, rules_of
from tests.market_day import market_day
from tests.tokens.sets.reference import reference_sets

TICK = 5


def book(*orders, window=0, pooled=False):
    """Return a starting book of (side, ticks, size, anonymous) orders."""
    side, ticks, size, anonymous = np.array(orders, int).reshape(-1, 4).T
    return BookSnapshot(
        time_ns=0,
        side=side.astype(np.int8),
        price=TICK * ticks,
        size=size,
        order_id=np.zeros(len(side), np.uint64),
        last_best=np.zeros(2, np.int64),
        window=window,
        pooled=pooled,
    )


def day_of(events, start, corrections=(), signed=False):
    columns = dict(
        zip(("time_ns", "kind", "code", "side", "price", "size"), np.array(events, int).reshape(-1, 6).T, strict=True)
    )
    event, side, ticks, size = np.array(corrections, int).reshape(-1, 4).T
    return market_day(
        Events.from_columns(**columns),
        start=start,
        corrections=Corrections(event, side.astype(np.int8), TICK * ticks, size),
        instrument=Instrument("X", "TEST", "2024-03-04", tick=TICK, signed=signed),
    )


@st.composite
def days(draw):
    """Draw a small day, most of whose events the book does not allow."""
    near = st.integers(80, 125)
    orders = draw(
        st.lists(st.tuples(st.sampled_from([BID, ASK]), near, st.integers(1, 130), st.booleans()), max_size=12)
    )
    orders = [(side, ticks if side == BID else ticks + 22, size, anonymous) for side, ticks, size, anonymous in orders]
    event = st.tuples(
        st.sampled_from([0, 3, 1240, 123_456, 10**12 + 7, -4]),
        st.sampled_from([*range(1, 7), 1, 2, 3, 7]),
        st.integers(1, 7),
        st.sampled_from([BID, ASK]),
        st.sampled_from([1, 60, 98, 99, 100, 101, 102, 103, 104, 125, 300]),
        st.sampled_from([0, 1, 2, 7, 50, 99, 100, 104, 120, 150, 199]),
    )
    rows, clock = [], 0
    for gap, kind, code, side, ticks, size in draw(st.lists(event, min_size=1, max_size=8)):
        clock += gap
        control = kind == Kind.CONTROL
        rows.append((clock, kind, code, 0, 0, 0) if control else (clock, kind, 0, side, ticks * TICK, size))
    reveal = st.tuples(st.integers(0, len(rows) - 1), st.sampled_from([BID, ASK]), near, st.integers(0, 120))
    corrections = sorted(draw(st.lists(reveal, max_size=3)))
    start = book(*orders, window=draw(st.sampled_from([0, 0, 2])), pooled=draw(st.booleans()))
    return day_of(rows, start, corrections, signed=draw(st.booleans()))


@settings(max_examples=int(__import__("os").environ.get("EX", 80)), deadline=None)
@given(day=days(), closed=st.integers(0, 2), time_digits=st.sampled_from([None, 2, 5]))
def test_the_sets_are_those_of_brute_force(day, closed, time_digits):
    tokenizer = ExactTokenizer(time_digits)
    tokens = np.concatenate([tokenizer.encode(day), [v.EOS, v.PAD]]).astype(np.int64)
    rules = rules_of(day, gap_digits=time_digits or 12)._replace(most_distance=350, most_lots=200)
    sets = exact_sets(tokens, day, rules, closed=closed)
    expected = reference_sets(tokens, day, rules, closed=closed, time_digits=time_digits)
    found = np.unpackbits(sets.packed(np.arange(len(tokens))), axis=1, bitorder="little").astype(bool)
    for row in range(len(tokens)):
        assert np.flatnonzero(found[row] != expected[row]).tolist() == [], (row, tokens[: row + 1])
    np.testing.assert_array_equal(sets.outside == 0, expected[np.arange(len(tokens)), tokens])
