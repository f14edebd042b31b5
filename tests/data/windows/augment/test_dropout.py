"""Event dropout: some orders were never entered, and nothing happens to them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.book.references import orders_taken
from lob_jax.data.windows.augment.altered import altered
from lob_jax.data.windows.augment.dropout import EventDropout
from lob_jax.data.windows.augment.settings import AugmentConfig
from lob_jax.data.windows.augment.warp import Warp
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.halts import OPEN
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.tokens.exact import ExactTokenizer
from tests.market_day import clean_day, market_day

ADD, CANCEL, DELETE, EXECUTE = Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE
ROWS = (
    (ADD, BID, 99, 10),
    (ADD, ASK, 101, 10),
    (ADD, BID, 98, 7),
    (ADD, BID, 98, 7),
    (CANCEL, BID, 98, 3),
    (DELETE, BID, 98, 4),
    (DELETE, BID, 98, 7),
    (EXECUTE, ASK, 101, 10),
    (DELETE, BID, 97, 4),
)


def day_of(rows=ROWS, ids=None):
    names = ("kind", "side", "price", "size")
    columns = dict(zip(names, (np.array(column) for column in zip(*rows, strict=True)), strict=True))
    named = {} if ids is None else {"order_id": np.array(ids, np.uint64)}
    return market_day(Events.from_columns(time_ns=1_000 * np.arange(1, len(rows) + 1), **columns, **named))


class Chosen:
    """A source of randomness that leaves out the events of some indices."""

    def __init__(self, *chosen):
        self.chosen = chosen

    def random(self, count):
        return np.where(np.isin(np.arange(count), self.chosen), 0.0, 1.0)


def test_without_names_the_books_rule_says_which_order_is_taken():
    assert orders_taken(day_of()).tolist() == [-1, -1, -1, -1, 3, 3, 2, 1, -1]


def test_with_names_it_is_the_order_that_is_named():
    ids = [11, 12, 13, 14, 13, 13, 14, 12, 99]
    assert orders_taken(day_of(ids=ids)).tolist() == [-1, -1, -1, -1, 2, 2, 3, 1, -1]


def test_orders_of_the_start_and_slots_that_are_used_again_are_told_apart():
    day = day_of([*ROWS[:3], (DELETE, BID, 98, 7), (ADD, ASK, 103, 2), (DELETE, ASK, 103, 2)])
    assert orders_taken(day).tolist() == [-1, -1, -1, 2, -1, 4]
    start = dataclasses.replace(day, events=day.events[3:])
    assert orders_taken(start).tolist() == [-1, -1, 1]


@pytest.mark.parametrize(
    ("left_out", "expected"),
    [((3,), [0, 1, 2, 6, 7, 8]), ((2,), [0, 1, 3, 4, 5, 7, 8]), ((1, 2), [0, 3, 4, 5, 8]), ((4, 7), range(9))],
)
def test_an_order_is_left_out_with_all_its_removals(left_out, expected):
    found = EventDropout(0.5)(day_of(), 1, Chosen(*left_out))
    assert found.origin.tolist() == list(expected)


def test_nothing_before_the_first_event_is_left_out():
    assert EventDropout(0.5)(day_of(), 4, Chosen(*range(9))).origin.tolist() == list(range(9))


@given(seed=st.integers(0, 2**32 - 1), first=st.integers(1, 60), ranks=st.booleans(), share=st.floats(0, 0.5))
def test_a_thinned_day_decodes_and_replays(make_day, seed, first, ranks, share):
    tokenizer = ExactTokenizer(references="rank" if ranks else "newest")
    whole = clean_day(make_day(120, seed=seed % 7))
    whole = whole.with_events(tokenizer.decode(tokenizer.encode(whole), whole))
    taken = orders_taken(whole)
    one, other = (
        altered(whole, (EventDropout(share),), first=first, closed=OPEN, random=np.random.default_rng(seed))
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.origin, other.origin)
    np.testing.assert_array_equal(one.origin[:first], np.arange(first))
    decoded = tokenizer.decode(tokenizer.encode(one.day), one.day)
    for name in ("time_ns", "kind", "side", "price", "size"):
        np.testing.assert_array_equal(getattr(decoded, name), getattr(one.day.events, name))
    assert not check_events(decoded, start=one.day.start, tick=one.day.instrument.tick).faults
    left_out = np.setdiff1d(np.arange(len(whole.events)), one.origin)
    entered = left_out[whole.events.kind[left_out] == ADD]
    assert not np.isin(taken[one.origin], entered).any()
    if share == 0:
        assert not len(left_out)


def test_each_order_is_left_out_with_the_given_probability(make_day):
    day = clean_day(make_day(2000, seed=1))
    found = EventDropout(0.2)(day, 1, np.random.default_rng(0))
    adds = np.count_nonzero(day.events.kind[1:] == ADD)
    kept = np.count_nonzero(found.events.kind[1:] == ADD)
    assert abs((adds - kept) / adds - 0.2) < 5 * np.sqrt(0.16 / adds)


def test_a_configuration_leaves_out_before_it_warps():
    names = {field.name for field in dataclasses.fields(AugmentConfig)}
    off = dict.fromkeys(names, 0) | {"warp_events": 9, "own_events": 1, "own_prompts": 1, "synthetic_run": ""}
    config = AugmentConfig(**{**off, "patterns": ("spoofing",), "warp": 0.3, "event_dropout": 0.1})
    assert config.alterations() == (EventDropout(0.1), Warp(0.3, 9))
    assert config.alters_events


@pytest.mark.parametrize("warp", [-0.1, 1.1])
def test_a_factor_that_times_could_not_hold_is_refused(warp):
    names = {field.name for field in dataclasses.fields(AugmentConfig)}
    off = dict.fromkeys(names, 0) | {"warp_events": 9, "own_events": 1, "own_prompts": 1, "synthetic_run": ""}
    with pytest.raises(InputError, match="warp is out of range"):
        AugmentConfig(**{**off, "patterns": ("spoofing",), "warp": warp})
