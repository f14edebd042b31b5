"""Where resting orders are: distance, lots in front, and which of them are watched."""

import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.evaluation.paths.resting.orders import BUCKETS, resting_orders, same_queues, with_ids_of
from lob_jax.events.schema import ANONYMOUS_ID, ASK, BID, Kind
from tests.evaluation.paths.resting.books import book_of, day_of

ORDERS = [
    *((BID, 1000, 5, 1), (BID, 1000, 3, 0), (BID, 1000, 4, 3), (BID, 970, 7, 4), (BID, 940, 9, 8)),
    *((ASK, 1030, 6, 5), (ASK, 1030, 2, 6), (ASK, 1100, 2, 7)),
]


def test_distance_and_queue_of_each_order_with_an_id():
    found = resting_orders(book_of(ORDERS, anonymous=[1]), levels=2, tick=10)
    np.testing.assert_array_equal(found.row_O, [0, 2, 3, 5, 6, 7])  # not the third level, nor the order without an id
    np.testing.assert_array_equal(found.distance_O, [0, 0, 3, 0, 0, 7])
    np.testing.assert_array_equal(found.ahead_O, [0, 8, 0, 0, 6, 0])  # with those that have no id
    np.testing.assert_array_equal(found.barrier_O, [1.5, 1.5, 4.5, 1.5, 1.5, 8.5])
    assert [BUCKETS[at] for at in found.bucket()] == [*["at best"] * 2, "1 to 5 ticks", *["at best"] * 2, "deeper"]


def test_a_book_of_one_side_has_no_mid_and_an_empty_one_no_orders():
    found = resting_orders(book_of(ORDERS[:3]), levels=5, tick=10)
    assert np.isnan(found.barrier_O).all() and len(found) == 2
    assert len(resting_orders(BookSnapshot.empty(), levels=5, tick=10)) == 0


def test_queues_are_the_same_if_their_sizes_are():
    other = [(BID, 1000, 3, 1), (BID, 1000, 5, 2), (BID, 1000, 4, 3), *ORDERS[3:7], (ASK, 1110, 2, 7)]
    found = same_queues(book_of(ORDERS), book_of(other))
    np.testing.assert_array_equal(found, [False] * 3 + [True] * 4 + [False])


def test_a_path_that_names_orders_names_those_of_the_real_book():
    theirs = book_of([(BID, 100, 5, 41), (BID, 100, 3, 42), (BID, 90, 2, 43), (BID, 90, 4, 44), (ASK, 110, 6, 1)])
    ours = book_of([(BID, 100, 5, 7), (BID, 100, 3, 0), (BID, 90, 4, 8), (BID, 90, 2, 9), (ASK, 110, 6, 41)])
    named = [41, 42, 43, 45, 1, 0, 45]
    events = [(Kind.DELETE, BID, 100, 1, order_id) for order_id in named]
    path = day_of(theirs, events)
    path = path.with_events(path.events.replace(order_id=np.array([*named[:-1], ANONYMOUS_ID], np.uint64)))
    found = with_ids_of(path, ours)
    ids = found.events.order_id.tolist()
    assert ids[:3] == [7, 0, 0] and ids[4:] == [41, 0, ANONYMOUS_ID]  # one without an id, one of a queue that differs
    assert ids[3] >= 2**62 and found.start is ours
