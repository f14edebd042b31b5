"""Series of a flow against plain loops over its sequences."""

import numpy as np
import pytest

from lob_jax.events.schema import Kind
from lob_jax.statistics import flow_series
from tests.made_flow import made_flow, random_flow


@pytest.fixture(scope="module")
def flow():
    return random_flow(0)


def test_spread_and_mid_are_in_ticks_and_unknown_without_a_side():
    books = [([(100, 5)], [(130, 5)]), ([], [(130, 5)])]
    flow = made_flow([(0, 1, 1, 100, 5, 1), (1, 3, 1, 100, 5, 1)], books=books, tick=10)
    np.testing.assert_array_equal(flow_series.spread_ticks(flow), [3.0, np.nan])
    np.testing.assert_array_equal(flow_series.mid_ticks(flow), [11.5, np.nan])
    assert flow_series.two_sided(flow).tolist() == [True, False]


@pytest.mark.parametrize("horizon", [1, 7, 1000])
def test_moves_stay_within_a_sequence(flow, horizon):
    mid = flow_series.mid_ticks(flow)
    expected = [
        (mid[row] - mid[row - horizon], row)
        for first, last in zip(flow.edges[:-1], flow.edges[1:], strict=True)
        for row in range(first + horizon, last)
    ]
    move, row = flow_series.moves(flow, horizon)
    assert list(zip(move, row, strict=True)) == expected


def test_gaps_never_run_backwards():
    flow = made_flow([(5, 1, 1, 99, 1, 1), (9, 1, 1, 99, 1, 2), (7, 1, 1, 99, 1, 3)], [(100, 1, 1, 99, 1, 4)])
    gap, row = flow_series.gaps_ns(flow)
    assert gap.tolist() == [4, 0] and row.tolist() == [1, 2]


def test_pressure_of_each_kind():
    kinds = [Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE]
    flow = made_flow([(0, kind, side, 99, 1, 1) for kind in kinds for side in (1, -1)])
    assert flow_series.pressure(flow).tolist() == [1, -1, -1, 1, -1, 1, -1, 1]


def test_level_size_finds_the_price_on_its_side():
    books = [([(99, 7), (98, 8)], [(101, 9)])] * 3
    flow = made_flow([(0, 1, 1, 98, 1, 1), (0, 1, -1, 101, 1, 2), (0, 1, 1, 101, 1, 3)], books=books)
    assert flow_series.level_size(flow, np.arange(3), flow.side, flow.price).tolist() == [8, 9, 0]


def test_parts_of_a_sequence():
    flow = made_flow([(0, 1, 1, 99, 1, 1)] * 7, [(0, 1, 1, 99, 1, 1)] * 2)
    assert flow_series.part_of_sequence(flow, 3).tolist() == [0, 0, 0, 1, 1, 2, 2, 0, 1]
