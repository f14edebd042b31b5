"""The state carried between MBO records of one instrument, and the writing of events: compiled."""

from typing import NamedTuple

import numpy as np

from lob_jax.events.schema import Code, Flag, Kind
from lob_jax.feeds.databento import checks as checks
from lob_jax.feeds.reading.order_table import OrderTable
from lob_jax.jit import inner

# Indices of `Work.state`: the number of events in `out`, and of those in the open group; the time of the last event;
# the open trade, and whether its record was flagged as the last of its group; the number of fills in the open group,
# and of filled orders whose cancel or modification is outstanding; whether the group's end was announced while its
# executions continue, and at which time; whether fills without a trade have come since the previous trade, and at which
# price.
(
    EVENTS,
    IN_GROUP,
    CLOCK,
    TRADE_OPEN,
    TRADE_SIDE,
    TRADE_PRICE,
    TRADE_LEFT,
    TRADE_FILLED,
    TRADE_TIME,
    TRADE_ALONE,
    FILLS,
    OWED,
    GOES_ON,
    GOES_ON_TIME,
    SILENT,
    SILENT_PRICE,
) = range(16)
STATE = 16
COUNTS = (
    "trades",
    "lots_traded",
    "trades_without_side",
    "fills",
    "lots_filled",
    "lots_filled_of_aggressors",
    "lots_filled_unseen",
    "trades_without_fill",
    "lots_without_fill",
    "executions_without_fill",
    "orders_refreshed",
    "orders_added_by_change",
    "without_action",
)
(
    TRADES,
    LOTS_TRADED,
    SIDELESS,
    N_FILLS,
    LOTS_FILLED,
    LOTS_OWN,
    LOTS_UNSEEN,
    TRADES_UNFILLED,
    LOTS_UNFILLED,
    UNTOLD,
    REFRESHED,
    ADDED,
    WITHOUT_ACTION,
) = range(len(COUNTS))
# Rows of `Work.out`, as the columns of events.
COLUMNS = ("time_ns", "receive_ns", "sequence", "kind", "code", "side", "price", "size", "order_id", "flags")
_TIME, _RECEIVE, _SEQUENCE, _KIND, _CODE, _SIDE, _PRICE, _SIZE, _ID, _FLAGS = range(len(COLUMNS))

ADD, CANCEL, DELETE, EXECUTE, HIDDEN, CROSS, CONTROL = (int(kind) for kind in Kind)
_CLEAR = int(Code.CLEAR)
_LAST_IN_GROUP, _BAD_TIME = int(Flag.LAST_IN_GROUP), int(Flag.BAD_TIME)
_MAYBE_BAD, _KNOWN = int(Flag.MAYBE_BAD_BOOK), int(Flag.AGGRESSOR_KNOWN)


class Work(NamedTuple):
    """The state carried between records, and the output.

    Attributes:
      table: the orders as in the feed; EXTRA is the filled size that no cancel or modification has removed yet.
      state: int64 [STATE], see the indices above.
      counts: int64 [len(COUNTS)].
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
    return state[TRADE_SIDE] != 0 or (state[TRADE_OPEN] == 0 and row.side != checks.N)


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
    n, out, flags = work.state[EVENTS], work.out, 0
    if row.flags & checks.BAD_RECEIVE or row.ts_event < work.state[CLOCK]:
        flags |= _BAD_TIME
    if row.flags & checks.BAD_BOOK:
        flags |= _MAYBE_BAD
    if kind in (EXECUTE, HIDDEN) and aggressor_known(work, row):
        flags |= _KNOWN
    out[_TIME, n], out[_RECEIVE, n], out[_SEQUENCE, n] = row.ts_event, max(row.ts_recv, 0), number
    out[_KIND, n], out[_CODE, n] = kind, _CLEAR if kind == CONTROL else 0
    out[_SIDE, n], out[_PRICE, n], out[_SIZE, n], out[_ID, n] = side, price, size, order_id
    out[_FLAGS, n] = flags
    work.state[CLOCK] = row.ts_event
    work.state[EVENTS] += 1
    work.state[IN_GROUP] += 1


@inner
def mark_last(work: Work) -> None:
    """Flag the last event written as the last of its group."""
    work.out[_FLAGS, work.state[EVENTS] - 1] |= _LAST_IN_GROUP
