"""The user's orders in generated flow, on three kinds of books: no one else removes them, and their fills are right.

LOB_JAX_USER_ORDERS=10000 says how many orders to follow on each kind of book, over all paths.
"""

import dataclasses
import os

import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.book.view import OutOfView
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.schema import Events, Kind
from lob_jax.generation.device import live_book
from lob_jax.generation.device.queues import EARLIER, NOBODY
from lob_jax.generation.generated import Fill
from lob_jax.generation.loop import generate
from lob_jax.generation.paths import Row, fills_of, path_day
from lob_jax.generation.prompt import RevealDistribution, book_room
from lob_jax.generation.settings import Order
from lob_jax.tokens.vocabulary import FIELD_GAP, event_index, field_of
from tests.generation.market import INSTRUMENT, MODEL, SAMPLING, START, TOKENIZER, lively, prompt
from tests.generation.user_orders import follow

COUNT = int(os.environ.get("LOB_JAX_USER_ORDERS", "80"))
ORDERS, EVERY = 20, 8  # orders of a path, events between two of them
SMALL = dataclasses.replace(START, size=np.array([4, 3, 5, 2]), anonymous=np.ones(4, bool))
STARTS = {
    "orders": SMALL,
    "levels": dataclasses.replace(SMALL, anonymous=np.zeros(4, bool), pooled=True),
    "window": dataclasses.replace(SMALL, window=2),
}
BEHIND = OutOfView(np.array([-1]), np.array([10_500]), np.array([7]))
REVEALS = RevealDistribution(
    np.array([[1, 2], [1, 3]], np.int32), np.array([[8, 5], [9, 4]], np.int32), np.array([2, 2], np.int32)
)


def drawn_orders(seed):
    """Return limit orders of both sides around the touch, some of which reach the other side."""
    random = np.random.default_rng(seed)
    side, size = random.choice([1, -1], ORDERS), random.integers(1, 10, ORDERS)
    price = 10_000 + 100 * random.integers(-2, 3, ORDERS)
    rows = zip(side.tolist(), size.tolist(), price.tolist(), strict=True)
    return tuple(Order(*row, after_events=3 + EVERY * k) for k, row in enumerate(rows))


def test_fills_belong_to_the_orders_that_the_device_names():
    rows = [(Kind.EXECUTE, -1, 10_100, 2), (Kind.ADD, 1, 10_000, 3), (Kind.EXECUTE, 1, 10_000, 1)]
    kind, side, price, size = np.array(rows).T
    events = Events.from_columns(time_ns=START.time_ns + np.arange(3), kind=kind, side=side, price=price, size=size)
    tokens = TOKENIZER.encode(MarketDay.opening(INSTRUMENT, START).with_events(events))
    event, gap = event_index(tokens), field_of(tokens) == FIELD_GAP
    writer = np.array([2, 2, 0])[event]  # the user's order 1 meets order 0, and rests
    filled = np.where(gap, np.array([1, 0, 2])[event], 0)
    found = fills_of(Row(tokens, writer, filled, None), events, orders=3)
    one, _, three = (Fill(START.time_ns + k, *row[2:], resting=k == 2) for k, row in enumerate(rows))
    assert found == [[dataclasses.replace(one, resting=True)], [one, three], []]
    earlier = Row(tokens, 0 * writer, np.where(gap, EARLIER, NOBODY), None)
    assert fills_of(earlier, events, orders=1) == [[]]


def test_levels_of_a_pooled_book_have_room_for_every_order_of_the_user():
    assert [book_room(STARTS["levels"], inject=count)["orders"] for count in (0, 1, 3)] == [1, 4, 8]


def test_orders_that_rest_when_a_path_begins_are_still_the_users():
    start = dataclasses.replace(SMALL, anonymous=np.zeros(4, bool), own=np.array([0]))
    book, _ = live_book.from_snapshot(start, tick=100, places=4, orders=2)
    event = {"kind": Kind.DELETE, "code": 0, "side": 0, "deeper": 0, "size": 4}
    after = live_book.apply(book, **{name: jnp.int32(value) for name, value in event.items()})
    assert int(after.refused) == 1
    event = {"kind": Kind.EXECUTE, "code": 0, "side": 0, "deeper": 0, "size": 4}
    assert int(live_book.apply(book, **{name: jnp.int32(value) for name, value in event.items()}).filled) == EARLIER


@pytest.mark.slow
@pytest.mark.parametrize("kind", STARTS)
def test_fills_are_those_of_a_plain_replay(kind):
    start, orders = STARTS[kind], drawn_orders(1)
    given = prompt(MODEL, start)
    if start.window:
        given = dataclasses.replace(given, behind=BEHIND, reveals=REVEALS)
    how = {"tokenizer": TOKENIZER, "instrument": INSTRUMENT}
    sampling = dataclasses.replace(SAMPLING, paths=-(-COUNT // ORDERS), events=ORDERS * EVERY + 20, inject=orders)
    drawn = generate(lively(MODEL), given, model=MODEL, sampling=sampling, **how)
    resting = executed = crossed = unseen = 0
    rows = zip(drawn.tokens, drawn.corrections, drawn.own, drawn.levels, drawn.orders, strict=True)
    for tokens, corrections, own, levels, outcomes in rows:
        day = path_day(tokens, corrections, own, start=given.start, **how)
        found = check_events(day.events, start=day.start, tick=INSTRUMENT.tick, corrections=corrections)
        assert (found.faults, found.levels) == ({}, levels)
        for outcome, order, true in zip(outcomes, orders, follow(orders, day), strict=True):
            assert (list(outcome.fills), outcome.left, outcome.unseen) == (true.fills, true.left, true.unseen)
            assert outcome.filled == sum(fill.lots for fill in true.fills if not fill.resting)
            assert not outcome.sent or outcome.filled + outcome.rested + outcome.dropped == order.size
            resting, unseen = resting + (outcome.rested > 0), unseen + (outcome.unseen > 0)
            executed += any(fill.resting for fill in outcome.fills)
            crossed += outcome.filled > 0
        (end,) = snapshots_at(day, np.array([len(day.events)]))
        assert sorted(end.size[end.own]) == sorted(outcome.left for outcome in outcomes if outcome.left)
    total = len(orders) * sampling.paths
    print(
        f"{kind}: {total:,} orders, {crossed:,} executed on arrival, {resting:,} rested, of which {executed:,} filled"
    )
    assert 0 < executed < resting < total and crossed > 0 and (unseen > 0) == (start.window > 0)
