"""Flow features: the compiled loop against plain Python, from the list of all events before each row."""

import numpy as np
import pytest

from lob_jax.book.flow import (
    CLASSES,
    FLOW_FEATURES,
    MOST_EVENTS,
    MOST_SECONDS,
    Column,
    blank_flow,
    flow_features,
    flow_names,
)
from lob_jax.book.flow_loop import FlowEvents, flow_after, flow_along, mid_moves
from lob_jax.events.schema import ASK, BID, Kind
from tests.flow_by_hand import flow_by_hand

START_NS, TICK = 1_340_000_000_000_000_000, 100
UNITS = {"start_ns": START_NS, "tick": TICK}


def random_events(count: int, seed: int) -> FlowEvents:
    """Return events of all kinds with gaps from nothing to hours, some backwards, and moves of the mid."""
    random = np.random.default_rng(seed)
    kind = random.choice([1, 1, 1, 2, 3, 3, 4, 4, 5, 6, 7], count)
    side = np.where(kind == Kind.CONTROL, 0, random.choice([BID, ASK], count))
    gap_ns = np.where(random.random(count) < 0.3, 0, random.lognormal(16, 6, count)).astype(np.int64)
    gap_ns = np.where(random.random(count) < 0.02, -(gap_ns % 10**9), np.minimum(gap_ns, 5 * 3_600 * 10**9))
    move2 = np.where(random.random(count) < 0.2, random.integers(-6, 7, count) * TICK // 2, 0)
    size = np.where(kind == Kind.CONTROL, 0, random.integers(1, 5_000, count))
    inward, grew = random.integers(-1, 2, count) * TICK * (kind != Kind.CONTROL), random.integers(0, 2, count)
    return FlowEvents(kind, side, size, gap_ns, move2, random.integers(0, 90, count), inward, grew)


@pytest.mark.parametrize("seed", range(3))
def test_features_are_those_of_the_list_of_past_events(seed):
    events = random_events(300, seed)
    found = flow_along(blank_flow(), events, **UNITS)
    assert found.dtype == np.float32 and found.shape == (301, FLOW_FEATURES)
    for row in (0, 1, 2, 3, 17, 100, 299, 300):
        by_name = flow_by_hand(events, row, **UNITS)
        assert sorted(by_name) == sorted(flow_names())
        np.testing.assert_allclose(found[row], [by_name[name] for name in flow_names()], rtol=2e-5, atol=2e-6)


def test_counts_and_times_end_at_their_limits():
    events = FlowEvents(*(np.full(6_000, number) for number in (1, 1, 5, 10**9, 0, 3, 0, 0)))
    trade = FlowEvents(*(np.array([number]) for number in (4, -1, 7, 0, 0, 3, 0, 0)))
    after = flow_after(blank_flow(), trade, **UNITS)
    last = dict(zip(flow_names(), flow_along(after, events, **UNITS)[-1], strict=True))
    assert last["seconds_since_execute_ask"] == np.float32(np.log1p(MOST_SECONDS)) == last["run_seconds"]
    assert last["events_since_execute_ask"] == np.float32(np.log1p(MOST_EVENTS)) == last["events_since_execute_bid"]
    assert (last["run_sign"], last["run_trades"]) == (1, np.float32(np.log(2)))
    assert last["share_16_add_bid"] > 0.9999 and last["events_since_add_bid"] == 0


@pytest.mark.parametrize("cut", [0, 1, 40, 120])
def test_a_state_goes_on_where_it_was_cut_to_the_bit(cut):
    events = random_events(120, 4)
    first, rest = (FlowEvents(*(column[rows] for column in events)) for rows in (slice(cut), slice(cut, None)))
    whole, state = flow_along(blank_flow(), events, **UNITS), flow_after(blank_flow(), first, **UNITS)
    behind = flow_along(state, rest, start_ns=START_NS + int(first.gap_ns.sum()), tick=TICK)
    np.testing.assert_array_equal(behind, whole[cut:])
    np.testing.assert_array_equal(flow_along(blank_flow(), first, **UNITS), whole[: cut + 1])


def test_a_state_is_left_as_it_was():
    state = blank_flow()
    flow_after(state, random_events(50, 1), **UNITS)
    for column, fresh in zip(state, blank_flow(), strict=True):
        np.testing.assert_array_equal(column, fresh)


def test_the_mid_moves_only_between_books_of_two_sides():
    mid2, two_sided = np.array([200, 205, 0, 190, 190, 180]), np.array([True, True, False, True, True, True])
    assert mid_moves(mid2, two_sided).tolist() == [5, 0, 0, 0, -10]


def test_every_column_has_a_name_and_only_magnitudes_are_logarithms():
    names = flow_names()
    assert len(set(names)) == len(names) == FLOW_FEATURES == 5 * CLASSES + 20
    starts = ["seconds_since_add_bid", "events_since_add_bid", "share_16_add_bid", "run_sign", "run_trades", "run_lots"]
    starts += ["run_seconds", "gap_16", "move_sign", "move_ticks", "move_seconds", "move_events"]
    starts += ["spread_16", "add_size_16", "joined_16"]
    assert [names[column] for column in Column] == starts
    same = flow_features(np.full(FLOW_FEATURES, np.float32(3))) == 3
    told = ("share", "gap", "run_sign", "move_sign", "spread", "add_size", "joined", "improved", "cleared")
    assert [name for name, kept in zip(names, same, strict=True) if kept] == [n for n in names if n.startswith(told)]
