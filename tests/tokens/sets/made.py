"""Small days for tests of sets: starting books, corrections, streams drawn from the sets; and sets by their ranges."""

import numpy as np
from hypothesis import strategies as st

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Events
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.token_sets import TokenSets
from tests.market_day import market_day
from tests.tokens.sets.reference import LOTS, Reference

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
        anonymous=anonymous.astype(bool) & (not pooled),
        last_best=np.zeros(2, np.int64),
        window=window,
        pooled=pooled,
    )


def day_of(start, corrections=(), *, signed=False):
    """Return a day without events, with corrections (event, side, ticks, size)."""
    event, side, ticks, size = np.array(corrections, int).reshape(-1, 4).T
    return market_day(
        Events.from_columns(),
        start=start,
        corrections=Corrections(event, side.astype(np.int8), TICK * ticks, size),
        instrument=Instrument("X", "TEST", "2024-03-04", tick=TICK, signed=signed),
    )


@st.composite
def days(draw):
    """Draw a starting book, possibly crossed, with corrections; prices, sizes and the window are small and large."""
    side = st.sampled_from([BID, ASK])
    ticks = st.one_of(st.integers(1, 6), st.integers(80, 125), st.sampled_from([300, 1400, 1499, 11_450, 11_800]))
    lots = st.one_of(st.integers(1, 4), st.integers(95, 130), st.integers(900, LOTS + 50))
    orders = draw(st.lists(st.tuples(side, ticks, lots, st.booleans()), max_size=12))
    if draw(st.booleans()):
        orders = [(s, t if s == BID else t + 122, size, anonymous) for s, t, size, anonymous in orders]
    reveals = draw(st.lists(st.tuples(st.integers(0, 4), side, ticks, st.one_of(st.just(0), lots)), max_size=3))
    start = book(*orders, window=draw(st.sampled_from([0, 0, 2])), pooled=draw(st.booleans()))
    return day_of(start, sorted(reveals), signed=draw(st.booleans()))


def drawn(day, rules, rng, *, closed, time_digits, escapes, most=45):
    """Draw a stream of five events or more, each token from its set or else, rarely, from the grammar's.

    Returns:
      The tokens int64 [T], and the sets by brute force, bool [T, V].
    """
    reference = Reference(day, rules, closed=closed, time_digits=time_digits)
    tokens, rows = [], []
    while reference.event < 5 or len(tokens) < most:
        rows.append(reference.next())
        grammar = reference.grammar.allowed[reference.state]
        allowed = np.flatnonzero(grammar if rng.random() < escapes else rows[-1])
        allowed = allowed[(allowed != v.EOS) | (len(tokens) > most)]
        parts = allowed // (v.CLASS_SIZE // 2)
        token = int(rng.choice(allowed[parts == rng.choice(np.unique(parts))]))
        reference.read(token, inside=rows[-1][token])
        tokens.append(token)
        if token == v.PAD:
            break
    return np.array(tokens), np.array(rows)


def sets_of(rows):
    """Build sets from a list of (first, last) ranges for each row; `outside` counts the rows."""
    ranges = np.array([pair for row in rows for pair in row], np.uint16).reshape(-1, 2)
    offset = np.cumsum([0, *map(len, rows)])
    return TokenSets(offset, ranges[:, 0].copy(), ranges[:, 1].copy(), np.arange(len(rows)).astype(np.uint8))


def members(rows):
    """Return bool [T, V], slowly."""
    allowed = np.zeros((len(rows), v.VOCAB_SIZE), bool)
    for row, ranges in enumerate(rows):
        for first, last in ranges:
            allowed[row, first : last + 1] = True
    return allowed
