"""States before messages: by hand, the same as the regimes of records, and in groups that only real flow decides."""

import dataclasses

import numpy as np
import pytest

from lob_jax.evaluation.fidelity.contexts import context
from lob_jax.evaluation.fidelity.contexts.context import (
    CONTEXTS,
    fit,
    groups_of,
    half_hours,
    last_spread,
    quantile_edges,
    volatility,
)
from tests.made_flow import made_flow, random_flow

BY_NAME = {one.name: one for one in CONTEXTS}
MINUTE = 60 * 10**9


def flow_with(*sequences, tick=1):
    """Return a flow with these books, each a pair of best prices; None for an empty ask."""
    books = [([(bid, 1)], [(ask, 1)] if ask is not None else []) for sequence in sequences for bid, ask in sequence]
    messages = [[(0, 1, 1, 9, 1, 1)] * len(sequence) for sequence in sequences]
    return made_flow(*messages, books=books, tick=tick)


def test_volatility_is_of_the_moves_since_the_sequence_began(monkeypatch):
    monkeypatch.setattr(context, "LEAST_MOVES", 1)
    flow = flow_with([(10, 12), (12, 14), (12, None), (20, 22), (20, 26)], [(50, 52), (56, 58)], tick=2)
    moves = [1, 0, 0, 1]  # ticks; from and to a book with an empty side, 0
    expected = [np.nan, *(np.sqrt(np.mean(np.square(moves[:n]))) for n in range(1, 5)), np.nan, 3]
    np.testing.assert_allclose(volatility(flow), expected)


def test_volatility_looks_back_over_fifty_moves_and_needs_ten():
    books = [(10, 12), (17, 19), *[(17, 19)] * 55]
    found = volatility(flow_with(books))
    assert np.isnan(found[:10]).all() and found[10] == pytest.approx(7 / np.sqrt(10))
    assert found[50] == pytest.approx(7 / np.sqrt(50)) and found[51] == 0


def test_the_spread_is_the_last_known_one_of_the_sequence():
    flow = flow_with([(10, None), (10, 14), (10, None), (10, 18)], [(10, None), (10, 12)], tick=2)
    np.testing.assert_array_equal(last_spread(flow), [np.nan, 2, 2, 4, np.nan, 1])


def begins_at(*minutes):
    """Return a flow whose sequences have one message each, at these minutes of the day."""
    return made_flow(*([(minute * MINUTE, 1, 1, 9, 1, 1)] for minute in minutes))


def test_half_hours_are_joined_until_enough_real_sequences_begin_in_them(monkeypatch):
    monkeypatch.setattr(context, "LEAST_SEQUENCES", 2)

    def edges(*minutes):
        return (half_hours(begins_at(*minutes), np.zeros(0)) / (30 * MINUTE)).tolist()

    assert edges(0, 10, 40, 45, 70, 80, 100) == [1, 2]  # the last one joins those before it
    assert edges(0, 40, 70, 80) == [2]
    assert edges(0, 10, 20) == edges(0, 40, 70) == edges() == []


def test_a_group_is_of_the_state_before_the_message_and_a_regime_pairs_two(monkeypatch):
    monkeypatch.setattr(context, "LEAST_MOVES", 1)
    flow = flow_with([(10, 12), (10, 12), (10, 15), (10, 12), (11, 13)])
    spread, regime = BY_NAME["spread"], BY_NAME["regime"]
    np.testing.assert_array_equal(groups_of(spread, ((2.5,),), flow), [np.nan, 0, 0, 1, 0])
    # before the messages, volatility is unknown, 0, .75 / sqrt 1 ..., and the spread 2, 2, 5, 2
    edges = ((0.5, 5.0), (2.5,))
    np.testing.assert_array_equal(groups_of(regime, edges, flow), [np.nan, np.nan, 0, 3, 2])


def test_edges_are_thirds_and_halves_of_real_flow():
    real = random_flow(0)
    for one in (BY_NAME["volatility"], BY_NAME["regime"]):
        edges = fit(one, real)
        group = groups_of(one, edges, real)
        shares = np.bincount(group[np.isfinite(group)].astype(int)) / np.isfinite(group).sum()
        assert shares[:3].min() > 0.2 if one.name == "volatility" else len(shares) == 6 and shares.min() > 0.02
    (volatility_edges, spread_edges), (thirds,) = fit(BY_NAME["regime"], real), fit(BY_NAME["volatility"], real)
    assert volatility_edges == thirds and len(thirds) == 2 and len(spread_edges) == 1


def test_values_at_a_quantile_lie_where_the_groups_are_more_even():
    def edges(*counts, bins):
        return quantile_edges(made_flow([]), np.repeat(np.arange(1.0, len(counts) + 1), counts), bins=bins).tolist()

    above_one, above_two = np.nextafter([1.0, 2.0], np.inf)
    assert edges(60, 30, 10, bins=2) == [above_one] and edges(10, 30, 60, bins=2) == [3]
    assert edges(10, 80, 10, bins=3) == [2, above_two] and edges(80, 20, bins=3) == [1, above_one]
    assert edges(60, 30, 10, bins=3) == [above_one, 2]


def test_a_spread_that_hardly_varies_has_a_group_of_its_own():
    flow = flow_with([(10, 12)] * 80 + [(10, 15)] * 10 + [(10, 11)] * 10)
    edges = fit(BY_NAME["spread"], flow)
    group = groups_of(BY_NAME["spread"], edges, flow)
    assert [len({*group[rows]}) for rows in (slice(1, 81), slice(81, 91), slice(91, 100))] == [1, 1, 1]
    assert group[1] < group[85] and group[95] < group[1]


def test_a_flow_without_messages_has_no_groups():
    empty = made_flow([])
    for one in CONTEXTS:
        assert len(groups_of(one, fit(one, empty), empty)) == 0


def test_time_needs_times():
    flow = dataclasses.replace(random_flow(1), time_ns=np.zeros(int(random_flow(1).edges[-1]), np.int64))
    (edges,) = fit(BY_NAME["time"], flow)
    assert edges == ()
