"""Decoded records, joined: an order has one id throughout, and removals name orders that rest."""

import numpy as np
import pytest

from lob_jax.book.oracle import OracleBook
from lob_jax.book.replay import snapshots_at
from lob_jax.data.records.records import make_records
from lob_jax.data.records.split import Part
from lob_jax.events.schema import ANONYMOUS_ID, ASK, BID, Kind
from lob_jax.runs.continuations.joining import counterparts, named_in
from lob_jax.runs.continuations.prompts import spread_prompts
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.vocabulary import FIELD_RANK, event_index, field_of
from tests.evaluation.paths.resting.books import book_of, day_of
from tests.feed_day import feed_day

RANK = ExactTokenizer(references="rank")


def records_of(day, first, last, tokenizer=RANK):
    """Return records of 100 events with leads."""
    parts = [Part("test", first, last, first)]
    plan = {"record_events": 100, "context": 30, "book_levels": 2}
    return [record for _, record in make_records(day, parts, tokenizer, **plan)]


def spread_over(records, *, prompts, events, following, tokenizer=RANK):
    how = {"tokenizer": tokenizer, "book_levels": 2, "time_buckets": 288}
    return spread_prompts(records, prompts=prompts, events=events, following=following, **how)


def own_tokens(records):
    """Return the tokens of the records' own events, one array for each event, by its index in the day."""
    found = {}
    for record in records:
        tokens, begin = record["tokens"][:-1], int(record["first_event"])
        for number in range(0 if not found else int(record["lead_events"]), len(record["clock_ns"]) - 1):
            found[begin + number] = tokens[event_index(tokens) == number]
    return found


def origins(day, names):
    """Return what is known of the order that each event names: the event that added it, or else the start's name."""
    added, found = {}, []
    for number, (kind, name) in enumerate(zip(day.events.kind.tolist(), names.tolist(), strict=True)):
        if kind == Kind.ADD:
            added[name] = number
        found.append(added.get(name, -1) if kind <= Kind.EXECUTE else -1)
    return np.array(found)


def test_prompts_over_several_records_have_their_tokens_and_one_id_for_each_order():
    day = feed_day(1, 1_100, orderly=True)
    records = records_of(day, 500, 1_100)
    own, ranks = own_tokens(records), 0
    for one in spread_over(records, prompts=5, events=150, following=80):
        first, count = one.first_event, len(one.day.events)
        assert len([record for record in records if first < int(record["first_event"]) < first + 150]) >= 1
        expected = np.concatenate([own[first + k] for k in range(150)])
        np.testing.assert_array_equal(one.prompt.tokens_T, expected)
        np.testing.assert_array_equal(RANK.encode(one.day), np.concatenate([own[first + k] for k in range(count)]))
        theirs = day.events.order_id[first : first + count]
        np.testing.assert_array_equal(origins(one.day, one.day.events.order_id), origins(one.day, theirs))
        (book,) = snapshots_at(day, np.array([first + 150]))
        for name in ("side", "price", "size", "anonymous"):
            np.testing.assert_array_equal(getattr(one.prompt.book, name), getattr(book, name), name)
        ranks += (field_of(expected) == FIELD_RANK).sum()
    assert ranks > 20


ORDERS = [
    (BID, 1000, 5, 1),
    (BID, 1000, 3, 2),
    (BID, 1000, 3, 0),
    (BID, 990, 4, 3),
    (ASK, 1010, 5, 4),
    (ASK, 1020, 2, 5),
]


def test_counterparts_have_the_same_place_in_the_same_queue():
    book = book_of(ORDERS, anonymous=[2])
    assert list(counterparts(book, book)) == [(k, k) for k in range(6)]
    other = book_of([*ORDERS[:4], (BID, 980, 5, 8), ORDERS[5], (ASK, 1030, 2, 5)], anonymous=[2])
    assert list(counterparts(book, other)) == [(0, 0), (1, 1), (2, 2), (3, 3), (5, 5)]


def test_counterparts_in_queues_that_differ_have_the_same_sizes_in_sequence():
    book = book_of([(BID, 100, size, 0) for size in (9, 5, 3, 4, 2)], anonymous=[0])
    other = book_of([(BID, 100, size, 0) for size in (6, 5, 3, 3, 4, 2)], anonymous=[0])
    assert list(counterparts(book, other)) == [(1, 1), (2, 3), (3, 4), (4, 5)]


def test_events_name_the_orders_of_another_book():
    theirs = book_of([(BID, 100, 5, 41), (BID, 100, 3, 42), (BID, 90, 6, 43)])
    ours = book_of([(BID, 100, 5, 7), (BID, 100, 3, 8), (BID, 90, 2, 41), (BID, 90, 4, 9)])
    named = [
        (Kind.ADD, 44),
        (Kind.CANCEL, 41),
        (Kind.EXECUTE, 44),
        (Kind.DELETE, 43),
        (Kind.ADD, 45),
        (Kind.DELETE, 42),
    ]
    events = day_of(theirs, [(kind, BID, 100, 1, order_id) for kind, order_id in named]).events
    ids = np.append(events.order_id[:-1], np.uint64(ANONYMOUS_ID))
    new = np.arange(70, 80, dtype=np.uint64)
    found = named_in(events, theirs, ours, new=new).order_id
    assert found.tolist() == [70, 7, 70, 0, 71, 8]
    found = named_in(events.replace(order_id=ids), theirs, ours, new=new).order_id
    assert found.tolist() == [70, 7, 70, 0, 71, ANONYMOUS_ID]


@pytest.mark.parametrize(("seed", "time_digits"), [(0, None), (1, None), (2, 2)])
def test_where_queues_differ_ids_still_name_orders_that_rest(seed, time_digits):
    day, tokenizer = feed_day(seed, 800), ExactTokenizer(time_digits, references="rank")
    records = records_of(day, 100, 800, tokenizer)
    own = own_tokens(records)
    for one in spread_over(records, prompts=4, events=150, following=120, tokenizer=tokenizer):
        expected = np.concatenate([own[one.first_event + k] for k in range(150)])
        np.testing.assert_array_equal(one.prompt.tokens_T, expected)
        assert_named(one.day)


def assert_named(day):
    """Check that every removal with an id names an order that rests at its price, and every added order a new id."""
    oracle, used = OracleBook(day.start), set(day.start.order_id.tolist())
    names = ("kind", "side", "price", "size", "order_id")
    for event in zip(*(getattr(day.events, name).tolist() for name in names), strict=True):
        kind, side, price, _, name = event
        if kind == Kind.ADD:
            assert name not in used
            used.add(name)
        elif name not in (0, ANONYMOUS_ID):
            assert (price, name) in [(at, order_id) for at, _, order_id in oracle.orders(side)]
        oracle.apply(*event)
