"""MBO records of one instrument become events: the compiled part.

A trade (T) and its fills (F) change no book; the cancel (C) or change (M) of the filled order, in the same group of
records, does. Here the fill of a resting order is an EXECUTE at once, of what the order shows, and the C or M then
adds only what the fills do not explain. Where none follows by the end of the group, the order shows what it showed:
it is put back, as a refreshed order, behind the others.

* A fill on the trade's own side is that of the aggressor, an order that was moved into the other side: no resting
  order trades by it; what the C or M takes from its old level is a CANCEL or DELETE.
* What an order trades beyond what it shows (the reserve of an iceberg), the fill of an order that is in no book, and
  what no fill explains of a trade, are EXECUTE_HIDDEN; CROSS if the trade has no side, as in an auction.
* A change to a smaller size at the same price is a CANCEL; any other one loses the place in the queue: DELETE, ADD.
"""

from typing import NamedTuple

import numpy as np

from lob_jax.events.schema import ASK, Code, Flag, Kind
from lob_jax.feeds import databento_checks as checks
from lob_jax.feeds.databento_checks import fault_of, side_of
from lob_jax.feeds.order_table import ABSENT, EXTRA, PRICE, SIDE, SIZE, OrderTable, find, insert, remove
from lob_jax.jit import inner, njit

# Of `Work.state`: events at hand, and of these in the open group; the clock; the open trade; fills of the open group.
EVENTS, IN_GROUP, CLOCK, TRADE_OPEN, TRADE_SIDE, TRADE_PRICE, TRADE_LEFT, TRADE_FILLED, FILLS = range(9)
STATE = 9
COUNTS = (
    "trades",
    "lots_traded",
    "fills",
    "lots_filled",
    "lots_filled_of_aggressors",
    "lots_filled_unseen",
    "trades_without_fill",
    "lots_without_fill",
    "orders_refreshed",
    "without_action",
)
(
    TRADES,
    LOTS_TRADED,
    N_FILLS,
    LOTS_FILLED,
    LOTS_OWN,
    LOTS_UNSEEN,
    TRADES_UNFILLED,
    LOTS_UNFILLED,
    REFRESHED,
    WITHOUT_ACTION,
) = range(len(COUNTS))
# Rows of `Work.out`, as the columns of events.
COLUMNS = ("time_ns", "receive_ns", "sequence", "kind", "code", "side", "price", "size", "order_id", "flags")
_TIME, _RECEIVE, _SEQUENCE, _KIND, _CODE, _SIDE, _PRICE, _SIZE, _ID, _FLAGS = range(len(COLUMNS))

_ADD, _CANCEL, _DELETE, _EXECUTE, _HIDDEN, _CROSS, _CONTROL = (int(kind) for kind in Kind)
_CLEAR = int(Code.CLEAR)
_LAST_IN_GROUP, _BAD_TIME = int(Flag.LAST_IN_GROUP), int(Flag.BAD_TIME)
_MAYBE_BAD, _KNOWN = int(Flag.MAYBE_BAD_BOOK), int(Flag.AGGRESSOR_KNOWN)


class Work(NamedTuple):
    """What lives from record to record.

    Attributes:
      table: the orders as the feed has them; EXTRA is what fills took from them in this group.
      state: int64 [STATE].
      counts: int64 [len(COUNTS)].
      filled: int64 [X], ids of orders filled in this group.
      out: int64 [len(COLUMNS), Y], events.
    """

    table: OrderTable
    state: np.ndarray
    counts: np.ndarray
    filled: np.ndarray
    out: np.ndarray


@njit
def convert(work: Work, rows: np.ndarray, number: np.ndarray, first: int) -> tuple[int, int]:
    """Turn records into events from `first` on, up to a bad one; return the record behind it and its fault."""
    for i in range(first, len(rows)):
        fault = _convert_one(work, rows[i], number[i])
        if rows[i].flags & checks.LAST:
            _end_group(work, rows[i], number[i], True)
        if fault != checks.SOUND:
            return i + 1, fault
    return len(rows), checks.SOUND


@njit
def break_group(work: Work, rows: np.ndarray, number: np.ndarray) -> None:
    """End the group before the first of some records, for want of one that says it is its last."""
    _end_group(work, rows[0], number[0], False)


@njit
def take_snapshot(table: OrderTable, rows: np.ndarray, first: int, orders: np.ndarray) -> tuple[int, int, int, int]:
    """Enter the orders of a snapshot into the table, up to a bad one, and into `orders` [R, 4]: side, price, size, id.

    Returns: the record behind the bad one, its fault, how many orders there are since the last R, and where that R
    is, -1 if there is none.
    """
    count, cleared = 0, -1
    for i in range(first, len(rows)):
        row = rows[i]
        fault = fault_of(row)
        if fault == checks.SOUND:
            if row.action == checks.A:
                fault = _enter(table, row)
            elif row.action == checks.R:
                forget_orders(table)
                count, cleared = 0, i
            elif row.action != checks.N:
                fault = checks.BAD_SNAPSHOT
        if fault != checks.SOUND:
            return i + 1, fault, count, cleared
        if row.action == checks.A:
            orders[count, 0], orders[count, 1] = side_of(row), row.price
            orders[count, 2], orders[count, 3] = row.size, row.order_id
            count += 1
    return len(rows), checks.SOUND, count, cleared


@njit
def forget_orders(table: OrderTable) -> None:
    """Empty the table."""
    table.state[:] = 0
    table.used[0] = 0


@inner
def _convert_one(work: Work, row: np.ndarray, number: int) -> int:
    """Turn one record into events; return what is wrong with it."""
    fault = fault_of(row)
    if fault != checks.SOUND:
        return fault
    action = row.action
    if action == checks.A:
        fault = _enter(work.table, row)
        if fault == checks.SOUND:
            _put(work, row, number, _ADD, side_of(row), row.price, np.int64(row.size), row.order_id)
    elif action == checks.C:
        fault = _cancel(work, row, number)
    elif action == checks.M:
        fault = _change(work, row, number)
    elif action == checks.F:
        _fill(work, row, number)
    elif action == checks.T:
        _open_trade(work, row, number)
    elif action == checks.R:
        _end_group(work, row, number, False)
        forget_orders(work.table)
        _put(work, row, number, _CONTROL, 0, 0, 0, 0)
    else:
        work.counts[WITHOUT_ACTION] += 1
    return fault


@inner
def _enter(table: OrderTable, row: np.ndarray) -> int:
    """Enter a new order."""
    if find(table, row.order_id) != ABSENT:
        return checks.KNOWN_ORDER
    values = table.values[insert(table, row.order_id)]
    values[SIDE], values[PRICE], values[SIZE], values[EXTRA] = side_of(row), row.price, row.size, 0
    return checks.SOUND


@inner
def _cancel(work: Work, row: np.ndarray, number: int) -> int:
    """Take a part of an order, or all of it."""
    place = find(work.table, row.order_id)
    if place == ABSENT:
        return checks.UNKNOWN_CANCEL
    values, size = work.table.values[place], np.int64(row.size)
    if values[SIDE] != side_of(row):
        return checks.OTHER_SIDE
    if values[PRICE] != row.price:
        return checks.OTHER_PRICE
    if size > values[SIZE]:
        return checks.TOO_MUCH
    _bring(work, row, number, values, row.order_id, values[PRICE], values[SIZE] - size)
    if values[SIZE] == 0:
        remove(work.table, place)
    return checks.SOUND


@inner
def _change(work: Work, row: np.ndarray, number: int) -> int:
    """Give an order another price or size."""
    place = find(work.table, row.order_id)
    if place == ABSENT:
        return checks.UNKNOWN_CHANGE
    values = work.table.values[place]
    if values[SIDE] != side_of(row):
        return checks.OTHER_SIDE
    _bring(work, row, number, values, row.order_id, row.price, np.int64(row.size))
    return checks.SOUND


@inner
def _bring(work: Work, row: np.ndarray, number: int, values: np.ndarray, order_id: int, price: int, size: int) -> None:
    """Bring an order, less what fills have taken, to a price and a size, by as few events as do it."""
    side, held = values[SIDE], values[SIZE] - values[EXTRA]
    if price == values[PRICE] and 0 < size < held:
        _put(work, row, number, _CANCEL, side, price, held - size, order_id)
    elif price != values[PRICE] or size != held:
        _put(work, row, number, _DELETE, side, values[PRICE], held, order_id)
        _put(work, row, number, _ADD, side, price, size, order_id)
    values[PRICE], values[SIZE], values[EXTRA] = price, size, 0


@inner
def _open_trade(work: Work, row: np.ndarray, number: int) -> None:
    """Note a trade, whose fills follow."""
    _close_trade(work, row, number)
    state, size = work.state, np.int64(row.size)
    state[TRADE_OPEN], state[TRADE_SIDE], state[TRADE_PRICE] = 1, side_of(row), row.price
    state[TRADE_LEFT], state[TRADE_FILLED] = size, 0
    work.counts[TRADES] += 1
    work.counts[LOTS_TRADED] += size


@inner
def _close_trade(work: Work, row: np.ndarray, number: int) -> None:
    """Put down what no fill explains of the open trade."""
    state, left = work.state, work.state[TRADE_LEFT]
    if state[TRADE_OPEN] and left > 0:
        work.counts[TRADES_UNFILLED] += state[TRADE_FILLED] == 0
        work.counts[LOTS_UNFILLED] += left
        _put_unseen(work, row, number, -state[TRADE_SIDE], state[TRADE_PRICE], left, 0)
    state[TRADE_OPEN], state[TRADE_SIDE], state[TRADE_LEFT] = 0, 0, 0


@inner
def _fill(work: Work, row: np.ndarray, number: int) -> None:
    """Execute what a filled order shows; the rest of the fill is unseen."""
    state, side, size = work.state, side_of(row), np.int64(row.size)
    work.counts[N_FILLS] += 1
    work.counts[LOTS_FILLED] += size
    state[TRADE_FILLED] += 1
    if state[TRADE_OPEN] and side != 0 and side == state[TRADE_SIDE]:
        work.counts[LOTS_OWN] += size
        return
    state[TRADE_LEFT] -= min(size, state[TRADE_LEFT])
    place = find(work.table, row.order_id)
    shown = 0
    if place != ABSENT:
        values = work.table.values[place]
        shown = min(size, values[SIZE] - values[EXTRA])
        side = values[SIDE]
        if values[EXTRA] == 0:
            work.filled[state[FILLS]] = row.order_id
            state[FILLS] += 1
        values[EXTRA] += shown
        _put(work, row, number, _EXECUTE, side, values[PRICE], shown, row.order_id)
    if shown < size:
        work.counts[LOTS_UNSEEN] += size - shown
        _put_unseen(work, row, number, side, row.price, size - shown, row.order_id)


@inner
def _put_unseen(work: Work, row: np.ndarray, number: int, side: int, price: int, size: int, order_id: int) -> None:
    """Put down a trade that changes no book: a cross if it has no aggressor; a cross without a side is at the ask."""
    sided = work.state[TRADE_SIDE] != 0 or (work.state[TRADE_OPEN] == 0 and row.side != checks.N)
    _put(work, row, number, _HIDDEN if sided else _CROSS, side if side != 0 else ASK, price, size, order_id)


@inner
def _end_group(work: Work, row: np.ndarray, number: int, told: bool) -> None:
    """End a group: orders that were filled, but neither cancelled nor changed, show what they showed before."""
    _close_trade(work, row, number)
    state = work.state
    for k in range(state[FILLS]):
        place = find(work.table, work.filled[k])
        if place != ABSENT and work.table.values[place, EXTRA] > 0:
            values = work.table.values[place]
            _bring(work, row, number, values, work.filled[k], values[PRICE], values[SIZE])
            work.counts[REFRESHED] += 1
    if told and state[IN_GROUP] > 0:
        work.out[_FLAGS, state[EVENTS] - 1] |= _LAST_IN_GROUP
    state[FILLS], state[IN_GROUP] = 0, 0


@inner
def _put(work: Work, row: np.ndarray, number: int, kind: int, side: int, price: int, size: int, order_id: int) -> None:
    """Write down one event; one of no size is none."""
    if size == 0 and kind != _CONTROL:
        return
    n, out, flags = work.state[EVENTS], work.out, 0
    if row.flags & checks.BAD_RECEIVE or row.ts_event < work.state[CLOCK]:
        flags |= _BAD_TIME
    if row.flags & checks.BAD_BOOK:
        flags |= _MAYBE_BAD
    traded = kind in (_EXECUTE, _HIDDEN)
    if traded and (work.state[TRADE_SIDE] != 0 or (work.state[TRADE_OPEN] == 0 and row.side != checks.N)):
        flags |= _KNOWN
    out[_TIME, n], out[_RECEIVE, n], out[_SEQUENCE, n] = row.ts_event, max(row.ts_recv, 0), number
    out[_KIND, n], out[_CODE, n] = kind, _CLEAR if kind == _CONTROL else 0
    out[_SIDE, n], out[_PRICE, n], out[_SIZE, n], out[_ID, n] = side, price, size, order_id
    out[_FLAGS, n] = flags
    work.state[CLOCK] = row.ts_event
    work.state[EVENTS] += 1
    work.state[IN_GROUP] += 1
