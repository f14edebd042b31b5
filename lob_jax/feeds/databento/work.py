"""The state carried between MBO records of one instrument, and the writing of events: compiled."""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.events.schema import Code, Flag, Kind
from lob_jax.feeds.databento import checks
from lob_jax.feeds.reading.order_table import OrderTable
from lob_jax.jit import inner


class State(enum.IntEnum):
    """Indices of `Work.state`."""

    EVENTS = 0  # number of events in `out`
    IN_GROUP = 1  # number of these in the open group
    CLOCK = 2  # time of the last event
    TRADE_OPEN = 3  # whether a trade is open
    TRADE_SIDE = 4
    TRADE_PRICE = 5
    TRADE_LEFT = 6  # lots that no fill explains yet
    TRADE_FILLED = 7  # number of its fills so far
    TRADE_TIME = 8
    TRADE_ALONE = 9  # whether its record was flagged as the last of its group
    FILLS = 10  # number of fills in the open group
    OWED = 11  # number of filled orders whose cancel or modification is outstanding
    GOES_ON = 12  # whether the group's end was announced while its executions continue
    GOES_ON_TIME = 13  # time of that announcement
    SILENT = 14  # whether there were fills without a trade since the previous trade
    SILENT_PRICE = 15  # price of these fills


class Count(enum.IntEnum):
    """The counters, by their names in the report."""

    TRADES = 0
    LOTS_TRADED = 1
    TRADES_WITHOUT_SIDE = 2
    FILLS = 3
    LOTS_FILLED = 4
    LOTS_FILLED_OF_AGGRESSORS = 5
    LOTS_FILLED_UNSEEN = 6
    TRADES_WITHOUT_FILL = 7
    LOTS_WITHOUT_FILL = 8
    EXECUTIONS_WITHOUT_FILL = 9
    ORDERS_REFRESHED = 10
    ORDERS_ADDED_BY_CHANGE = 11
    WITHOUT_ACTION = 12


class Column(enum.IntEnum):
    """Rows of `Work.out`: the columns of events."""

    TIME_NS = 0
    RECEIVE_NS = 1
    SEQUENCE = 2
    KIND = 3
    CODE = 4
    SIDE = 5
    PRICE = 6
    SIZE = 7
    ORDER_ID = 8
    FLAGS = 9


COLUMNS = tuple(column.name.lower() for column in Column)
ADD, CANCEL, DELETE, EXECUTE, HIDDEN, CROSS, CONTROL = (int(kind) for kind in Kind)
_CLEAR = int(Code.CLEAR)
_LAST_IN_GROUP, _BAD_TIME = int(Flag.LAST_IN_GROUP), int(Flag.BAD_TIME)
_MAYBE_BAD, _KNOWN = int(Flag.MAYBE_BAD_BOOK), int(Flag.AGGRESSOR_KNOWN)


class Work(NamedTuple):
    """The state carried between records, and the output.

    Attributes:
      table: the orders as in the feed; EXTRA is the filled size that no cancel or modification has removed yet.
      state: int64, by `State`.
      counts: int64, by `Count`.
      filled: int64 [X], ids of the orders filled in the open group.
      out: int64 [len(COLUMNS), Y], events.
      last: `RECORD` [1], the last good record of the previous call.
      last_number: int64 [1], its number in the file.
    """

    table: OrderTable
    state: np.ndarray
    counts: np.ndarray
    filled: np.ndarray
    out: np.ndarray
    last: np.ndarray
    last_number: np.ndarray


@inner
def aggressor_known(work: Work, row: np.ndarray) -> bool:
    """Return whether the open trade, or without one the record of a fill, has a side."""
    state = work.state
    return state[State.TRADE_SIDE] != 0 or (state[State.TRADE_OPEN] == 0 and row.side != checks.N)


@inner
def put(work: Work, row: np.ndarray, number: int, kind: int, side: int, price: int, size: int, order_id: int) -> None:
    """Write one event; an event of size 0 is skipped.

    Args:
      work: state and output; changed in place.
      row: the record that causes the event.
      number: its number in the file.
      kind: a `Kind`; CONTROL is a CLEAR.
      side: +1 bid, -1 ask, 0 for CONTROL.
      price: in units of 1e-9.
      size: lots.
      order_id: the bits of the feed's uint64 id.
    """
    if size == 0 and kind != CONTROL:
        return
    n, out, flags = work.state[State.EVENTS], work.out, 0
    if row.flags & checks.BAD_RECEIVE or row.ts_event < work.state[State.CLOCK]:
        flags |= _BAD_TIME
    if row.flags & checks.BAD_BOOK:
        flags |= _MAYBE_BAD
    if kind in (EXECUTE, HIDDEN) and aggressor_known(work, row):
        flags |= _KNOWN
    out[Column.TIME_NS, n], out[Column.RECEIVE_NS, n] = row.ts_event, max(row.ts_recv, 0)
    out[Column.SEQUENCE, n], out[Column.ORDER_ID, n] = number, order_id
    out[Column.KIND, n], out[Column.CODE, n] = kind, _CLEAR if kind == CONTROL else 0
    out[Column.SIDE, n], out[Column.PRICE, n], out[Column.SIZE, n] = side, price, size
    out[Column.FLAGS, n] = flags
    work.state[State.CLOCK] = row.ts_event
    work.state[State.EVENTS] += 1
    work.state[State.IN_GROUP] += 1


@inner
def mark_last(work: Work) -> None:
    """Flag the last event written as the last of its group."""
    work.out[Column.FLAGS, work.state[State.EVENTS] - 1] |= _LAST_IN_GROUP
