"""Check the order events of a table against the live orders: a compiled loop, and the faults that it can find."""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.events.schema import Code, Kind
from lob_jax.feeds.reading.faults import FaultCode
from lob_jax.feeds.reading.order_table import (
    ABSENT,
    PRICE,
    SIDE,
    SIZE,
    OrderTable,
    find,
    insert,
    new_table,
    remove,
    room_for,
)
from lob_jax.jit import in_place, inner

ALL_LEFT = -1  # instead of the size of a DELETE without a size


class State(enum.IntEnum):
    """Indices of `state`."""

    LAST_SEQUENCE = 0
    WHOLE_CANCELS = 1  # number of CANCELs of everything that remained


class Fault(FaultCode):
    """The faults of an event: description, column, expected value."""

    FINE = 0
    BACKWARDS = 1, "a sequence that runs backwards", "sequence", "no less than in the rows before"
    OFF_TICK = 2, "a price between ticks", "price", "a multiple of the tick"
    IN_USE = 3, "an order that is already in the book", "order_id", "a new order_id"
    NO_ORDER = 4, "a removal from an order that is not in the book", "order_id", "the order_id of an earlier ADD"
    NO_LEVEL = 5, "a removal from a level that is not in the book", "price", "the price and side of a level with orders"
    ELSEWHERE = 6, "a removal at another price or side than the order's", "price", "the price and side of its ADD"
    TOO_MANY = 7, "a removal of more than the remaining size", "size", "at most the remaining size"
    NOT_ALL = 8, "a DELETE of less than the remaining size", "size", "the remaining size, or an empty field"
    OVERFLOW = 9, "a level whose size is out of range", "size", "a smaller size"


_LEFT_OUT = "on_error=skip leaves such rows out and counts them"
REMEDIES = {
    Fault.NO_ORDER: f"begin the table with ADDs of the resting orders; {_LEFT_OUT}",
    Fault.NO_LEVEL: f"begin the table with ADDs of the resting levels; {_LEFT_OUT}",
    Fault.IN_USE: "give each order a unique id; a modified order is a CANCEL, or a DELETE and an ADD",
    Fault.NOT_ALL: "use CANCEL to remove a part; leave the size of a DELETE empty to remove everything",
    Fault.OFF_TICK: "correct the row, or set another tick",
}
REMEDY = f"correct the row; {_LEFT_OUT}"
_ADD, _CANCEL, _DELETE, _EXECUTE, _CONTROL = (
    int(kind) for kind in (Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE, Kind.CONTROL)
)
_CLEAR = int(Code.CLEAR)
_MOST = 2**62


class Rows(NamedTuple):
    """Events, int64 [R] each; the size of a DELETE without one, and the kind of a CANCEL of everything, are changed."""

    sequence: np.ndarray
    kind: np.ndarray
    code: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    order_id: np.ndarray


class LiveOrders:
    """The orders in the book, or its levels if orders have no ids.

    Attributes:
      named: whether orders have ids.
    """

    def __init__(self, *, named: bool, tick: int):
        """Begin with an empty book; `tick` is in the units of the prices, 0 if unknown."""
        self.named = named
        self._tick = tick
        self._table = new_table(1 << 10)
        self._state = np.array([np.iinfo(np.int64).min, 0], np.int64)

    @property
    def whole_cancels(self) -> int:
        """The number of CANCELs of all that remained, which became DELETEs."""
        return int(self._state[State.WHOLE_CANCELS])

    def follow(self, rows: Rows) -> np.ndarray:
        """Process the next events; return the fault of each, uint8 [R]. Events at fault change nothing."""
        self._table = room_for(self._table, int(np.count_nonzero(rows.kind == _ADD)))
        faults = np.zeros(len(rows.kind), np.uint8)
        _follow(rows, self._table, self._state, self.named, self._tick, faults)
        return faults


@in_place
def _follow(rows: Rows, table: OrderTable, state: np.ndarray, named: bool, tick: int, faults: np.ndarray) -> None:
    for i in range(len(rows.kind)):
        if rows.sequence[i] < state[State.LAST_SEQUENCE]:
            faults[i] = Fault.BACKWARDS
            continue
        kind = rows.kind[i]
        if kind == _ADD:
            faults[i] = _add(rows, i, table, named, tick)
        elif kind <= _EXECUTE:
            faults[i] = _remove(rows, i, table, state, named, tick)
        elif kind == _CONTROL and rows.code[i] == _CLEAR:
            table.state[:] = 0
            table.used[0] = 0
        if faults[i] == Fault.FINE:
            state[State.LAST_SEQUENCE] = rows.sequence[i]


@inner
def _key(rows: Rows, i: int, named: bool) -> int:
    return rows.order_id[i] if named else 2 * rows.price[i] + (rows.side[i] > 0)


@inner
def _add(rows: Rows, i: int, table: OrderTable, named: bool, tick: int) -> int:
    """Add an order to the book, or increase a level."""
    if tick > 1 and rows.price[i] % tick != 0:
        return Fault.OFF_TICK
    key, held = _key(rows, i, named), np.int64(0)
    row = find(table, key)
    if row != ABSENT:
        if named:
            return Fault.IN_USE
        held = table.values[row, SIZE]
        if held > _MOST - rows.size[i]:
            return Fault.OVERFLOW
    row = insert(table, key)
    table.values[row, SIDE], table.values[row, PRICE] = rows.side[i], rows.price[i]
    table.values[row, SIZE] = held + rows.size[i]
    return Fault.FINE


@inner
def _remove(rows: Rows, i: int, table: OrderTable, state: np.ndarray, named: bool, tick: int) -> int:
    """Reduce an order or a level."""
    if tick > 1 and rows.price[i] % tick != 0:
        return Fault.OFF_TICK
    row = find(table, _key(rows, i, named))
    if row == ABSENT:
        return Fault.NO_ORDER if named else Fault.NO_LEVEL
    if table.values[row, SIDE] != rows.side[i] or table.values[row, PRICE] != rows.price[i]:
        return Fault.ELSEWHERE
    held = table.values[row, SIZE]
    if rows.size[i] == ALL_LEFT:
        rows.size[i] = held
    if rows.size[i] > held:
        return Fault.TOO_MANY
    if rows.size[i] < held:
        if rows.kind[i] == _DELETE:
            return Fault.NOT_ALL
        table.values[row, SIZE] = held - rows.size[i]
        return Fault.FINE
    if rows.kind[i] == _CANCEL:
        rows.kind[i] = _DELETE
        state[State.WHOLE_CANCELS] += 1
    remove(table, row)
    return Fault.FINE
