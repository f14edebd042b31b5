"""Resting orders of a flow: which message of its sequence placed the order that a removal takes from."""

import dataclasses

import numpy as np

from lob_jax.events.schema import Kind
from lob_jax.jit import njit
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import level_size

ADD, CANCEL, DELETE, EXECUTE = (int(kind) for kind in (Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE))


@dataclasses.dataclass(frozen=True, eq=False)
class Orders:
    """The orders that messages of a flow place; rows count over the whole flow, -1 stands for none.

    Attributes:
      by_id: whether order ids decided; otherwise the rule of `follow_orders`.
      placed: int64 [E], the message that placed the order that a removal takes from; -1 if it stood there before.
      newer: int64 [E], orders at the same price that are newer than the one that a removal takes from; -1 if unknown.
      filled: int64 [E], the first execution of the order that a message places.
      ended: int64 [E], the message that takes the rest of it.
    """

    by_id: bool
    placed: np.ndarray
    newer: np.ndarray
    filled: np.ndarray
    ended: np.ndarray


def follow_orders(flow: Flow) -> Orders:
    """Follow every order from its placement to its end, within its sequence.

    With order ids, a removal takes from the order of its id. Without any, an EXECUTE takes from the oldest order at its
    price, a DELETE from the newest one of its size, and a CANCEL from the newest one of more than its size; what a
    level held before the sequence's own orders were placed at it stands in front of them.
    """
    by_id = bool(np.any(flow.order_id))
    rows = np.lexsort((flow.price, flow.side, flow.sequence()))  # stable: a level's messages stay in their order
    keys = np.stack([flow.sequence()[rows], flow.side[rows], flow.price[rows]])
    opens = np.ones(len(rows), bool)
    opens[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    beside = level_size(flow, np.arange(len(rows)), flow.side, flow.price) - flow.size
    columns = (flow.kind, np.asarray(flow.size), np.asarray(flow.order_id), np.maximum(beside, 0))
    return Orders(by_id, *_follow(rows, opens, *columns, by_id))


@njit
def _follow(
    rows: np.ndarray,
    opens: np.ndarray,
    kind: np.ndarray,
    size: np.ndarray,
    order_id: np.ndarray,
    beside: np.ndarray,
    by_id: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    count, live, left = 0, np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    placed, newer = np.full(len(rows), -1), np.full(len(rows), -1)
    filled, ended = np.full(len(rows), -1), np.full(len(rows), -1)
    in_front = 0
    for place in range(len(rows)):
        i = rows[place]
        if opens[place]:
            count, in_front = 0, 0
        if kind[i] == ADD:
            if count == 0:
                in_front = beside[i]
            live[count], left[count] = i, size[i]
            count += 1
        elif kind[i] == CANCEL or kind[i] == DELETE or kind[i] == EXECUTE:
            at = _by_id(order_id, live, count, i) if by_id else _by_rule(kind[i], size[i], left, count, in_front)
            if at < 0:
                in_front = max(in_front - size[i], 0)
                continue
            placed[i], newer[i] = live[at], count - 1 - at
            if kind[i] == EXECUTE and filled[live[at]] < 0:
                filled[live[at]] = i
            left[at] -= size[i]
            if kind[i] == DELETE or left[at] <= 0:
                ended[live[at]] = i
                for later in range(at, count - 1):
                    live[later], left[later] = live[later + 1], left[later + 1]
                count -= 1
    return placed, newer, filled, ended


@njit
def _by_id(order_id: np.ndarray, live: np.ndarray, count: int, i: int) -> int:
    for at in range(count - 1, -1, -1):
        if order_id[live[at]] == order_id[i] and order_id[i] != 0:
            return at
    return -1


@njit
def _by_rule(kind: int, size: int, left: np.ndarray, count: int, in_front: int) -> int:
    if kind == EXECUTE:
        return 0 if in_front == 0 and count > 0 else -1
    for at in range(count - 1, -1, -1):
        if (kind == DELETE and left[at] == size) or (kind == CANCEL and left[at] > size):
            return at
    return -1
