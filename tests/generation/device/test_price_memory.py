"""The past events of a path on the device, against the rows of its events."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.price_memory import PAST_EVENTS, PastColumn, no_past, past_events
from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.generation.device import assembler, live_book, price_memory
from tests.generation.device.walk import TICK, drawn_book, snapshot


def test_the_past_is_that_of_more_events_than_it_remembers():
    random = np.random.default_rng(4)
    start = snapshot(drawn_book(random, pooled=False, sides=(True, True), signed=False))
    book, origin = live_book.from_snapshot(start, tick=TICK, places=64, orders=64)
    count = PAST_EVENTS + 60
    s, kind = random.integers(0, 2, count), random.integers(1, 8, count)
    deeper, size = random.integers(-3, 4, count), random.integers(1, 300, count)
    side = np.where(s == 0, BID, ASK)
    reference = np.array([int(live_book.reference(book, jnp.int32(of))) for of in range(2)])
    price = origin + TICK * (reference[s] - side * deeper)

    def step(past, event):
        names = ("kind", "side", "price", "size")
        spelling = assembler.blank()._replace(**dict(zip(names, event, strict=True)))
        return price_memory.with_event(past, book, spelling), None

    blank = price_memory.from_past(no_past(), origin=origin, tick=TICK)
    events = tuple(jnp.asarray(column, jnp.int32) for column in (kind, s, deeper, size))
    found, _ = jax.jit(functools.partial(jax.lax.scan, step))(blank, events)
    rows = past_events(kind, np.where(kind == Kind.CONTROL, 0, side), price, size)
    expected = price_memory.from_past(rows, origin=origin, tick=TICK)
    there = np.asarray(expected.action_P) > 0
    assert 100 < there.sum() < PAST_EVENTS
    np.testing.assert_array_equal(found.action_P, expected.action_P)
    for name in ("ticks_P", "size_P"):
        np.testing.assert_array_equal(
            np.asarray(getattr(found, name))[there], np.asarray(getattr(expected, name))[there]
        )


def test_an_event_too_far_for_the_device_is_forgotten():
    past = no_past()
    past[:, 0] = 2 * Kind.ADD, 2**50, 3
    past[:, 1] = 2 * Kind.ADD, 7 * TICK + 1, 3
    past[:, 2] = 2 * Kind.ADD, 7 * TICK, 3
    found = price_memory.from_past(past, origin=0, tick=TICK)
    assert np.flatnonzero(np.asarray(found.action_P)).tolist() == [2]
    assert int(found.ticks_P[2]) == 7 and int(past[PastColumn.SIZE, 2]) == int(found.size_P[2])
