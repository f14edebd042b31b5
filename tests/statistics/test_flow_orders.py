"""Orders followed within a sequence: by id, and by the rule where there are none."""

import dataclasses

import numpy as np
import pytest

from lob_jax.events.schema import Kind
from lob_jax.statistics.flow_orders import follow_orders
from tests.made_flow import made_flow

ADD, CANCEL, DELETE, EXECUTE, HIDDEN = Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE, Kind.EXECUTE_HIDDEN


def bid(kind, size, order_id=0, price=99):
    return (0, kind, 1, price, size, order_id)


def without_ids(flow):
    return dataclasses.replace(flow, order_id=np.zeros_like(flow.order_id))


QUEUE = [
    bid(ADD, 10, 1),  # 0
    bid(ADD, 20, 2),  # 1
    bid(ADD, 5, 3),  # 2
    bid(EXECUTE, 4, 1),  # 3, the oldest
    bid(CANCEL, 5, 2),  # 4
    bid(HIDDEN, 5),  # 5
    bid(DELETE, 5, 3),  # 6
    bid(EXECUTE, 6, 1),  # 7, the rest of the oldest
    bid(DELETE, 15, 2),  # 8
    bid(DELETE, 50, 77),  # 9, stood there before
]
SIZES = [10, 30, 35, 31, 26, 26, 21, 15, 0, 0]  # of the level, after each


@pytest.mark.parametrize("known", [True, False])
def test_every_removal_finds_its_order(known):
    flow = made_flow(QUEUE, books=[([(99, max(size, 1))], [(101, 1)]) for size in SIZES])
    orders = follow_orders(flow if known else without_ids(flow))
    assert orders.by_id == known
    assert orders.placed.tolist() == [-1, -1, -1, 0, 1, -1, 2, 0, 1, -1]
    assert orders.newer.tolist() == [-1, -1, -1, 2, 1, -1, 0, 1, 0, -1]
    assert orders.filled.tolist()[:3] == [3, -1, -1]
    assert orders.ended.tolist()[:3] == [7, 8, 6]


def test_by_the_rule_an_execution_takes_what_stood_in_front_first():
    messages = [bid(ADD, 10), bid(EXECUTE, 30), bid(EXECUTE, 5), bid(EXECUTE, 5)]
    flow = made_flow(messages, books=[([(99, size)], [(101, 1)]) for size in (40, 10, 5, 1)])
    orders = follow_orders(flow)
    assert orders.placed.tolist() == [-1, -1, 0, 0] and orders.filled[0] == 2 and orders.ended[0] == 3


@pytest.mark.parametrize("known", [True, False])
def test_sequences_sides_and_prices_are_apart(known):
    messages = [bid(ADD, 10, 1), (0, DELETE, -1, 99, 10, 1), bid(DELETE, 10, 1, price=98)]
    flow = made_flow(messages, [bid(DELETE, 10, 1)])
    assert follow_orders(flow if known else without_ids(flow)).placed.tolist() == [-1] * 4


def test_an_empty_flow():
    assert len(follow_orders(made_flow([])).placed) == 0
