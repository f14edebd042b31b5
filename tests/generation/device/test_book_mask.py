"""The book mask is exact: it allows an event if and only if the plain book accepts it."""

import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.oracle import OracleBook
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.generation.device import assembler, live_book, spelled
from lob_jax.generation.prompt import ANY_SIZES
from lob_jax.tokens import vocabulary as v
from tests.generation.device.walk import (
    GRAMMAR,
    INSTRUMENT,
    NOW,
    TICK,
    TOKENIZER,
    allowed,
    choose,
    drawn_book,
    snapshot,
    take,
)

PLACES, ORDERS = 8, 4
LIMITS = np.array([1, 1_005, 9, 100, 57, 12, 3, 1], np.int32)  # largest sizes by kind


def load(oracle, *, signed=False):
    return live_book.from_snapshot(snapshot(oracle), tick=TICK, places=PLACES, orders=ORDERS, signed=signed)


def can_take(oracle, kind, side, price, size, *, signed=False, largest=ANY_SIZES):
    """Return whether the plain book accepts an event, judged by its orders, and whether its size is within a limit."""
    priced = signed or price > 0
    own, other = oracle.levels(side), oracle.levels(-side)
    queue = oracle.sides[side].get(price, [])
    others = [order for order in queue if not order.own]
    whole = kind == Kind.DELETE and any(order.size == size for order in others)
    if size > largest[kind] and not whole:
        return False
    if kind == Kind.ADD:
        crosses = bool(other) and side * price >= side * other[0][0]
        room = len(queue) < ORDERS or (oracle.pooled and not queue[-1].own)
        full = 0 < oracle.window <= len(own)
        in_view = side * price >= side * own[-1][0] if full else len(own) < PLACES
        return priced and not crosses and room and (bool(queue) or in_view)
    if kind == Kind.CANCEL:
        return any(order.size > size for order in others)
    if kind == Kind.DELETE:
        return any(order.size == size or (order.anonymous and order.size > size) for order in others)
    if kind == Kind.EXECUTE:
        return bool(own) and price == own[0][0] and size <= queue[0].size
    bids, asks = oracle.levels(1), oracle.levels(-1)
    return (kind == Kind.CROSS and priced) or (bool(bids and asks) and bids[0][0] <= price <= asks[0][0])


def orders_of(book, origin):
    sides = live_book.to_levels(book, origin, tick=TICK)
    return [(price, lots) for side in sides for price, queue in side for lots in queue]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_what_the_mask_allows_the_plain_book_can_take(seed):
    random, kinds, lowest = np.random.default_rng(seed), set(), 0
    for round_ in range(12):
        signed, largest = bool(round_ % 2), LIMITS if round_ % 4 == 1 else ANY_SIZES
        oracle = drawn_book(
            random, pooled=bool(random.random() < 0.3), sides=random.random(2) < 0.9, signed=signed, own=round_ % 3 > 0
        )
        book, origin = load(oracle, signed=signed)
        spelling, state, closed = assembler.blank(), jnp.int32(GRAMMAR.start), 0
        for _ in range(120):
            token = choose(random, np.asarray(allowed(book, spelling, state, largest_K=largest)))
            if v.CONTROL_BASE < token < 100 and random.random() < 0.8:
                continue  # few control events, so that the market is not closed all the time
            fresh = bool(assembler.is_time(jnp.int32(token))) and not int(spelling.in_time)
            side = (1, -1)[int(spelling.side)]
            start = oracle.reference(side)
            book, spelling, state = take(book, spelling, state, jnp.int32(token))
            if not fresh:
                continue
            kind, size = int(spelling.kind), int(spelling.size)
            kinds.add(kind)
            if kind == Kind.CONTROL:
                assert int(spelling.code) != Code.CLEAR
                closed = {Code.HALT: 2, Code.RESUME_QUOTE: 1, Code.RESUME_TRADE: 0}.get(int(spelling.code), closed)
                continue
            assert closed < (1 if kind in (Kind.EXECUTE, Kind.EXECUTE_HIDDEN, Kind.CROSS) else 2)
            price = start - side * int(spelling.price) * (TICK if kind <= Kind.EXECUTE else 1)
            fits = can_take(oracle, kind, side, price, size, signed=signed, largest=largest)
            assert fits, (Kind(kind), side, price, size)
            oracle.apply(kind, side, price, size, 0)
            assert orders_of(book, origin) == [(p, q) for side in (1, -1) for p, q, _ in oracle.orders(side)]
            lowest = min(lowest, price)
        assert int(book.refused) == 0
        assert not {name for name, count in oracle.counts.items() if count}
    assert kinds == set(range(1, 8)) and lowest < -5_000 * TICK


def possible_events(random, oracle, count, **rules):
    """Sample events of every kind that the plain book accepts, at and around its levels."""
    sizes = [1, 2, 9, 10, 99, 100, 101, 105, 999, 1_000, 1_005, 120_000, 123_456, 2_000_000, 2_000_001]
    while count:
        kind, side = Kind(int(random.integers(1, 7))), int(random.choice([1, -1]))
        orders = [(price, lots) for price, lots, _ in oracle.orders(side)]
        near = [price for price, _ in orders] + [oracle.reference(side)]
        price = int(random.choice(near)) + TICK * int(random.choice([0, 0, 0, 1, -1, 3, 11, -12, 1_234, -105]))
        if kind > Kind.EXECUTE:
            price += int(random.choice([0, 50, 1]))
        held = [lots for at, lots in orders if at == price] or [1]
        size = int(random.choice([*sizes, *held, *(lots - 1 for lots in held if lots > 1)]))
        if can_take(oracle, kind, side, price, size, **rules):
            count -= 1
            yield kind, side, price, size


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_what_the_plain_book_can_take_the_mask_allows(seed):
    random, kinds = np.random.default_rng(seed), set()
    for round_ in range(12):
        signed, largest = bool(round_ % 2), LIMITS if round_ % 4 == 1 else ANY_SIZES
        oracle = drawn_book(
            random, pooled=bool(random.random() < 0.3), sides=random.random(2) < 0.9, signed=signed, own=round_ % 3 > 0
        )
        start, (book, _) = snapshot(oracle), load(oracle, signed=signed)
        for kind, side, price, size in possible_events(random, oracle, 25, signed=signed, largest=largest):
            kinds.add(int(kind))
            row = {"kind": kind, "side": side, "price": price, "size": size, "time_ns": NOW + 10}
            event = Events.from_columns(**{name: np.array([value]) for name, value in row.items()})
            tokens = TOKENIZER.encode(MarketDay.opening(INSTRUMENT, start).with_events(event))
            taken, spelling, state = book, assembler.blank(), jnp.int32(GRAMMAR.start)
            for token in tokens.tolist():
                told = f"{kind.name} {side} {price} {size}: {v.describe(token)}"
                assert bool(allowed(taken, spelling, state, largest_K=largest)[token]), told
                taken, spelling, state = take(taken, spelling, state, jnp.int32(token))
            assert int(taken.refused) == 0
    assert kinds == set(range(1, 7))


def test_a_closed_book_takes_what_is_open():
    book, _ = load(drawn_book(np.random.default_rng(0)))
    for closed, kinds, codes in [
        (0, {1, 2, 3, 4, 5, 6}, {Code.HALT}),
        (1, {1, 2, 3}, {Code.HALT, Code.RESUME_TRADE}),
        (2, set(), {Code.RESUME_QUOTE, Code.RESUME_TRADE}),
    ]:
        state = jnp.int32(GRAMMAR.start)
        mask_V = np.asarray(allowed(book._replace(closed=jnp.int32(closed)), assembler.blank(), state))
        assert {int(k) for k in np.unique(np.flatnonzero(mask_V) // 1000)} - {0} == kinds
        told = (Code.HALT, Code.RESUME_QUOTE, Code.RESUME_TRADE)
        assert {code for code in told if mask_V[v.CONTROL_BASE + code]} == codes


def test_a_new_order_comes_up_to_the_other_side_and_no_further():
    oracle = OracleBook(BookSnapshot.empty(NOW))
    oracle.apply(Kind.ADD, 1, 500 * TICK, 7, 0)
    oracle.apply(Kind.ADD, -1, 503 * TICK, 7, 0)
    mask_V = np.asarray(allowed(load(oracle)[0], assembler.blank(), jnp.int32(GRAMMAR.start)))
    for head in (1000, 1500):
        better = mask_V[head + v.BETTER_CODE : head + v.DEEPER_ESCAPE]  # by 1, 2, ... ticks
        np.testing.assert_array_equal(np.flatnonzero(better), [0, 1])


def test_a_full_side_takes_orders_at_its_levels_alone():
    oracle = OracleBook(BookSnapshot.empty(NOW))
    for ticks in range(PLACES):
        oracle.apply(Kind.ADD, 1, (500 - ticks) * TICK, 7, 0)
    book, _ = load(oracle)
    mask_V = np.asarray(allowed(book, assembler.blank(), jnp.int32(GRAMMAR.start)))
    np.testing.assert_array_equal(np.flatnonzero(mask_V[1000:1500]), np.arange(PLACES))
    assert mask_V[1500:2000].sum() > 100  # all ask levels are occupied


def test_a_range_below_zero_meets_no_number_however_large():
    """Their difference overflows an int32: prices of eleven digits would be allowed on a side far behind the other."""
    largest = np.int32(2**31 - 1)
    assert int(spelled.meeting(jnp.int32(1), jnp.int32(-1_000), largest, largest)) == 0
    assert int(spelled.meeting(jnp.int32(3), jnp.int32(7), jnp.int32(5), largest)) == 3
