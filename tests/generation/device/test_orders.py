"""A user's orders in generated flow: matched as on an exchange, and read by the model like other events."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.generation import loop
from lob_jax.generation.device import live_book
from lob_jax.generation.device.assembler import Clock
from lob_jax.generation.device.orders import begin, nothing_own, order_table, outcomes
from lob_jax.generation.generated import Fill, Outcome
from lob_jax.generation.settings import LAST_SECOND, Order
from lob_jax.generation.start import start_paths
from lob_jax.tokens import vocabulary as vocab
from lob_jax.tokens.bins import MOST_DISTANCE, MOST_LOTS
from tests.generation.market import (
    INSTRUMENT,
    MODEL,
    SAMPLING,
    START,
    TOKENIZER,
    assert_valid,
    decoded,
    lively,
    prompt,
    run,
)

SECOND = 1_000_000_000
SMALL = np.array([1_000, 234_567], np.int64)  # lots of two asks before a large one
BOOK = dataclasses.replace(
    START,
    side=np.array([1, 1, -1, -1, -1], np.int8),
    price=np.array([9_900, 9_800, 10_100, 10_100, 10_300]),
    size=np.array([10**6, 10**6, *SMALL, 10**6]),
    order_id=np.zeros(5, np.uint64),
    anonymous=np.zeros(5, bool),
)


@pytest.fixture(scope="module")
def params():
    return lively(MODEL)


def own_events(generated, path):
    """Return the events of a path and which of them are the user's."""
    tokens, own = generated.tokens[path], generated.own[path]
    heads = vocab.field_of(tokens) == vocab.FIELD_HEAD
    assert (own == own[heads][np.cumsum(heads) - 1]).all(), "an event is the user's as a whole"
    return tokens, own[heads]


def rows(events):
    return list(
        zip(events.kind.tolist(), events.side.tolist(), events.price.tolist(), events.size.tolist(), strict=True)
    )


ALL = 1_000 + 234_567
MATCHED = [
    (Order(1, 500, 10_100, after_events=0), [(4, -1, 10_100, 500)]),
    (Order(1, 1_000, 10_100, after_events=0), [(4, -1, 10_100, 1_000)]),
    (Order(1, 1_500, 10_100, after_events=0), [(4, -1, 10_100, 1_000), (4, -1, 10_100, 500)]),
    (
        Order(1, ALL + 41, 10_100, after_events=0),
        [(4, -1, 10_100, 1_000), (4, -1, 10_100, 234_567), (1, 1, 10_100, 41)],
    ),
    (
        Order(1, ALL + 41, after_events=0),
        [(4, -1, 10_100, 1_000), (4, -1, 10_100, 234_567), (4, -1, 10_300, 41)],
    ),
    (Order(1, 77, 10_000, after_events=0), [(1, 1, 10_000, 77)]),
    (Order(-1, 105_007, 9_900, after_events=0), [(4, 1, 9_900, 105_007)]),
    (Order(-1, 3, 1_010_100, after_events=0), [(1, -1, 1_010_100, 3)]),
    (Order(1, 3, 100, after_events=0), [(1, 1, 100, 3)]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("order", "expected"), MATCHED)
def test_an_order_is_matched_first_come_first_served(params, order, expected):
    generated = run(params, start=BOOK, inject=(order,), events=5)
    for path in range(SAMPLING.paths):
        tokens, own = own_events(generated, path)
        events = decoded(tokens, start=BOOK)
        assert own.tolist() == [True] * len(expected) + [False] * (5 - len(expected))
        assert rows(events[: len(expected)]) == expected
        assert (events.time_ns[: len(expected)] == BOOK.time_ns).all()
    filled, rested = (sum(size for kind, _, _, size in expected if kind == of) for of in (Kind.EXECUTE, Kind.ADD))
    arrival = tuple(Fill(BOOK.time_ns, price, size, False) for kind, _, price, size in expected if kind == Kind.EXECUTE)
    for (outcome,) in generated.orders:
        assert outcome.fills[: len(arrival)] == arrival and all(fill.resting for fill in outcome.fills[len(arrival) :])
        later = sum(fill.lots for fill in outcome.fills[len(arrival) :])
        assert outcome == Outcome(True, filled, rested, 0, fills=outcome.fills, left=rested - later)


@pytest.mark.slow
def test_what_a_market_order_does_not_find_is_dropped(params):
    generated = run(params, start=BOOK, inject=(Order(1, 2 * 10**6, after_events=0),), events=6)
    tokens, own = own_events(generated, 0)
    assert own.tolist() == [True] * 3 + [False] * 3
    lost, now = 2 * 10**6 - ALL - 10**6, BOOK.time_ns
    fills = tuple(Fill(now, *what, False) for what in ((10_100, 1_000), (10_100, 234_567), (10_300, 10**6)))
    outcome = Outcome(True, ALL + 10**6, 0, lost, "nothing was left to execute", fills)
    assert generated.orders == [[outcome]] * SAMPLING.paths


@pytest.mark.slow
def test_an_order_that_the_end_cuts_is_accounted_for(params):
    """Two of the order's three executions are within the path; the next order is not sent."""
    orders = (Order(1, ALL + 41, after_events=0), Order(1, 5, after_events=1))
    generated = run(params, start=BOOK, inject=orders, events=2)
    first, second = generated.orders[0]
    assert first == Outcome(True, ALL, 0, 41, "the path ended", first.fills)
    assert [(fill.price, fill.lots) for fill in first.fills] == [(10_100, 1_000), (10_100, 234_567)]
    assert second == Outcome(False, 0, 0, 0, "it waited for an earlier order")
    _, own = own_events(generated, 0)
    assert own.tolist() == [True, True]


@pytest.mark.slow
def test_an_order_due_behind_the_end_says_so(params):
    late = BOOK.time_ns + 3_600 * 24 * SECOND
    generated = run(params, start=BOOK, inject=(Order(1, 5, at_ns=late),), events=3)
    assert generated.orders == [[Outcome(False, 0, 0, 0, "the path ended before its time")]] * SAMPLING.paths
    assert not any(own.any() for own in generated.own)


@pytest.mark.slow
def test_an_order_without_room_is_dropped_and_the_run_goes_on(params):
    """A level holds at most 2**31 - 2 lots, so this order does not fit after the existing ones."""
    generated = run(params, start=BOOK, inject=(Order(1, MOST_LOTS - 10**6 + 1, 9_900, after_events=0),), events=4)
    dropped = Outcome(True, 0, 0, MOST_LOTS - 10**6 + 1, "the live book had no room for it")
    assert generated.orders == [[dropped]] * SAMPLING.paths
    assert [len(decoded(tokens, start=BOOK)) for tokens in generated.tokens] == [4] * SAMPLING.paths
    fits = run(params, start=BOOK, inject=(Order(1, MOST_LOTS - 10**6, 9_900, after_events=0),), events=4)
    assert fits.orders[0] == [Outcome(True, 0, MOST_LOTS - 10**6, 0, left=MOST_LOTS - 10**6)]


def book_after(start, **changes):
    return live_book.from_snapshot(start, tick=100, places=4, orders=2, **changes)[0]


def begun(order, book, *, events=0, last=9, seconds=0):
    """Return the order's first event, and the state behind it."""
    table = order_table([order], instrument=INSTRUMENT, origin=9_900, events=10)
    clock = Clock(jnp.int32(seconds), jnp.int32(0))
    return begin(nothing_own(1), table, book, events=jnp.int32(events), last=jnp.int32(last), clock=clock)


def test_what_is_left_of_an_order_or_out_of_view_is_accounted_for():
    orders = [Order(1, 9, 9_900, after_events=0), Order(1, 8, 9_800, after_events=0)]
    own = nothing_own(2)._replace(order=jnp.int32(2), rested_I=jnp.array([9, 8, 0]))
    book = book_after(START)
    book = book._replace(queue_2PQ=book.queue_2PQ.at[0, 0, 1].set(4), owner_2PQ=book.owner_2PQ.at[0, 0, 1].set(1))
    fills = [(Fill(1, 9_900, 5, True),), (Fill(2, 9_800, 2, True),)]
    book = jax.tree.map(np.asarray, book)
    found = outcomes(orders, own, book, fills=fills)
    assert found == [Outcome(True, 0, 9, 0, "", fills[0], 4, 0), Outcome(True, 0, 8, 0, "", fills[1], 0, 6)]


def test_an_order_waits_while_the_market_is_closed():
    halted, order = book_after(START, closed=2), Order(1, 5, 10_100, after_events=0)
    waiting = begun(order, halted)
    assert not waiting.writing and int(waiting.order) == 0
    assert outcomes([order], waiting, halted, fills=[()]) == [Outcome(False, 0, 0, 0, "trading was halted")]
    assert begun(order, book_after(START)).writing


def test_a_queue_without_room_drops_the_order_and_a_free_place_takes_it():
    two = dataclasses.replace(
        START,
        side=np.array([1, 1, -1], np.int8),
        price=np.array([9_900, 9_900, 10_100]),
        size=np.array([5, 6, 7]),
        order_id=np.zeros(3, np.uint64),
        anonymous=np.zeros(3, bool),
    )
    at_full, beside = Order(1, 3, 9_900, after_events=0), Order(1, 3, 9_800, after_events=0)
    lost, rests = begun(at_full, book_after(two)), begun(beside, book_after(two))
    assert not lost.writing and lost.dropped_I.tolist() == [3, 0] and int(lost.order) == 1
    assert rests.writing and rests.rested_I.tolist() == [3, 0]


def test_no_order_begins_behind_the_last_event():
    order = Order(1, 5, 10_100, at_ns=START.time_ns)
    now = 34_200
    assert begun(order, book_after(START), events=8, seconds=now).writing
    behind = begun(order, book_after(START), events=9, seconds=now)
    found = outcomes([order], behind, book_after(START), fills=[()])
    assert not behind.writing and found[0].why == "the path ended before its time"


def test_a_time_before_the_day_is_now():
    long_ago = Order(1, 5, 10_100, at_ns=-(10**18))
    assert begun(long_ago, book_after(START)).writing


@pytest.mark.slow
def test_orders_come_at_their_time_and_the_flow_stays_valid(params):
    later = START.time_ns + SECOND // 1_000
    orders = (
        Order(1, 400, after_events=3),
        Order(-1, 30, 10_200, after_events=5),
        Order(1, 25, 10_200, at_ns=later),
    )
    generated = run(params, inject=orders, events=60)
    assert_valid(generated, events=60)
    for path, tokens in enumerate(generated.tokens):
        _, own = own_events(generated, path)
        events = decoded(tokens)
        places = np.flatnonzero(own)
        assert places[0] == 3 and events.kind[3] == Kind.EXECUTE and events.size[3] == 400
        assert places[1] == 5
        clock = np.append(START.time_ns, events.time_ns)[places[2]]
        assert clock >= later and (places[2] == 6 or np.append(START.time_ns, events.time_ns)[places[2] - 1] < later)


@pytest.mark.slow
def test_random_numbers_are_common_to_runs_with_and_without_an_order(params):
    """Both runs are equal up to the order; after it, an order too small to matter leaves most samples unchanged."""
    plain = run(params, events=40)
    other = run(params, events=40, inject=(Order(1, 1, 9_800, after_events=20),))
    agree = []
    for path in range(SAMPLING.paths):
        tokens, own = own_events(other, path)
        heads = np.flatnonzero(vocab.field_of(tokens) == vocab.FIELD_HEAD)
        assert own.tolist() == [False] * 20 + [True] + [False] * 19
        np.testing.assert_array_equal(tokens[: heads[20]], plain.tokens[path][: heads[20]])
        with_order, without = decoded(tokens), decoded(plain.tokens[path])
        agree += (with_order.kind[21:] == without.kind[20:39]).tolist()
    assert np.mean(agree) > 0.8  # independent samples of six kinds with these shares agree far less often


@pytest.mark.slow
def test_antithetic_draws_are_one_minus_the_others(params):
    runs = [dataclasses.replace(SAMPLING, antithetic=turned) for turned in (False, True)]
    paths = [start_paths([prompt()], TOKENIZER, INSTRUMENT, sampling)[0] for sampling in runs]
    plain, turned = (np.asarray(loop.numbers_of(one)) for one in paths)
    np.testing.assert_allclose(plain + turned, 1, atol=1e-6)
    generated = run(params, antithetic=True)
    assert_valid(generated)
    assert not np.array_equal(generated.tokens[0], run(params).tokens[0])


CENTURY = 36_525 * 86_400 * SECOND


@pytest.mark.parametrize(
    ("order", "named"),
    [
        (Order(0, 5, after_events=0), "side"),
        (Order(1, 0, after_events=0), "size"),
        (Order(1, MOST_LOTS + 1, after_events=0), "size"),
        (Order(1, 5, 10_050, after_events=0), "price"),
        (Order(1, 5, -100, after_events=0), "price"),
        (Order(1, 5, 10**12, after_events=0), "price"),
        (Order(1, 5), "after_events, at_ns"),
        (Order(1, 5, after_events=1, at_ns=5), "after_events, at_ns"),
        (Order(1, 5, after_events=-1), "after_events"),
        (Order(1, 5, after_events=30), "after_events"),
        (Order(1, 5, after_events=2**31), "after_events"),
        (Order(1, 5, at_ns=START.time_ns + CENTURY), "at_ns"),
    ],
)
def test_what_is_no_order_is_refused(order, named):
    with pytest.raises(InputError, match="the order is invalid") as caught:
        order_table([Order(1, 5, after_events=0), order], instrument=INSTRUMENT, origin=9_900, events=30)
    assert f"inject[1].{named}" in str(caught.value)


@pytest.mark.parametrize("price", [-100, 0])
def test_a_limit_of_zero_or_less_is_one_where_prices_have_a_sign(price):
    signed = dataclasses.replace(INSTRUMENT, signed=True)
    order = Order(1, 5, price, after_events=0)
    assert int(order_table([order], instrument=signed, origin=9_900, events=30).limit_I[0]) == (price - 9_900) // 100
    with pytest.raises(InputError, match="price"):
        order_table([order], instrument=INSTRUMENT, origin=9_900, events=30)


def test_the_farthest_order_fits_the_device():
    price = 9_900 + MOST_DISTANCE * INSTRUMENT.tick
    orders = [Order(-1, 5, price, after_events=29), Order(1, 5, at_ns=INSTRUMENT.midnight_ns() + LAST_SECOND * SECOND)]
    table = order_table(orders, instrument=INSTRUMENT, origin=9_900, events=30)
    assert (
        table.limit_I.tolist() == [MOST_DISTANCE, MOST_DISTANCE, 0] and table.clock_I.seconds.tolist()[1] == LAST_SECOND
    )


def test_the_table_has_a_row_for_none():
    table = jax.tree.map(np.asarray, order_table([], instrument=INSTRUMENT, origin=0, events=1))
    assert table.after_I.tolist() == [2**31 - 1] and table.clock_I.seconds.tolist() == [2**31 - 1]
