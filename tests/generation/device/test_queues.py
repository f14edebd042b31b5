"""Ranks of the orders of a queue on the device against plain Python."""

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.oracle import Order
from lob_jax.events.schema import Kind
from lob_jax.generation.device.queues import EARLIER, NO_RANK, NOBODY, Queue, changed, ranks
from tests.tokens.sets.reference import ranked


def drawn_queue(random, room=8):
    """Return a queue with some anonymous orders and some of the user's, and its orders."""
    count = int(random.integers(0, room + 1))
    lots, own = random.integers(1, 5, count), random.random(count) < 0.2
    anonymous = (random.random(count) < 0.4) & ~own
    empty = room - count
    queue = Queue(
        jnp.asarray(np.pad(lots, (0, empty)), jnp.int32),
        jnp.asarray(np.pad(anonymous, (0, empty))),
        jnp.asarray(np.pad(np.where(own, EARLIER, NOBODY), (0, empty)), jnp.int32),
    )
    rows = zip(lots.tolist(), anonymous.tolist(), own.tolist(), strict=True)
    return queue, [Order(0, size, unknown, mine) for size, unknown, mine in rows]


def test_ranks_are_those_of_the_orders_that_a_removal_may_mean():
    random, found = np.random.default_rng(0), jax.jit(ranks)
    for _ in range(300):
        queue, orders = drawn_queue(random)
        kind, size = int(random.choice([Kind.CANCEL, Kind.DELETE, Kind.EXECUTE])), int(random.integers(0, 5))
        expected = np.full(8, NO_RANK)
        if size:
            for rank, order in enumerate(ranked(orders, kind, size)):
                expected[orders.index(order)] = rank
        np.testing.assert_array_equal(found(queue, jnp.int32(kind), jnp.int32(size)), expected)


def test_a_removal_takes_from_the_order_of_its_rank():
    random, take = np.random.default_rng(1), jax.jit(changed)
    for _ in range(100):
        queue, orders = drawn_queue(random)
        kind, size, rank = int(random.choice([Kind.CANCEL, Kind.DELETE])), int(random.integers(1, 5)), 0
        fitting = ranked(orders, kind, size)
        if fitting:
            rank = int(random.integers(len(fitting)))
            fitting[rank].size -= size
        after, fine = take(queue, jnp.int32(kind), jnp.int32(size), jnp.bool_(False), NOBODY, jnp.int32(rank))
        assert bool(fine) == bool(fitting)
        if fitting:
            left = [order.size for order in orders if order.size]
            assert after.lots_Q[: len(left)].tolist() == left and not after.lots_Q[len(left) :].any()
