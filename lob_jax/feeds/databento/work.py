"""What lives from MBO record to record of one instrument, and how an event is written down: compiled."""

from typing import NamedTuple

import numpy as np

from lob_jax.events.schema import Code, Flag, Kind
from lob_jax.feeds.databento import checks as checks
from lob_jax.feeds.reading.order_table import OrderTable
from lob_jax.jit import inner

# Of `Work.state`: events at hand, and of these in the open group; the clock; the open trade, and whether its record
# was told to be the last of its group; fills of the open group, and orders of which they took something that no
# cancel or change has taken yet; whether the group was told to end, and when, while its executions go on; whether
# fills came without a trade since the trade before, and at which price.
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
    """What lives from record to record.

    Attributes:
      table: the orders as the feed has them; EXTRA is what fills took from them that no cancel or change has taken.
      state: int64 [STATE].
      counts: int64 [len(COUNTS)].
      filled: int64 [X], ids of orders filled in this group.
      out: int64 [len(COLUMNS), Y], events.
      last: the record before those at hand, as an array of one; `number` of it beside.
      last_number: int64 [1].
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
    """Return whether the open trade has a side, or, where there is none, the record of a fill."""
    state = work.state
    return state[TRADE_SIDE] != 0 or (state[TRADE_OPEN] == 0 and row.side != checks.N)


@inner
def put(work: Work, row: np.ndarray, number: int, kind: int, side: int, price: int, size: int, order_id: int) -> None:
    """Write down one event; one of no size is none."""
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
    """Mark the event written last as the last of its group."""
    work.out[_FLAGS, work.state[EVENTS] - 1] |= _LAST_IN_GROUP
