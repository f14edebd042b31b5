"""Trades, their fills, and the groups of records that form an execution: compiled.

In MBO, a trade (T) and its fills (F) do not change the book; the cancel (C) or modification (M) of the filled order
does. Here, the fill of a resting order immediately becomes an EXECUTE of the visible part of the order, and the size
that a later C or M removes is first offset against that: only the remainder becomes a separate event. If no C or M
follows, the order still shows its old size: it is put back behind the others, as a refreshed order.

Venues mark the end of an execution differently. CME flags only the last of all its records. Nasdaq flags each T, F and
C of an execution; other venues flag the T and the C. Hence a flag on a T or F that waits for further records does not
end its group: the group continues as long as records have the same exchange time, until no cancel or modification is
outstanding. (Sequence numbers do not help: at CME, the C has another one than its T and F.)

* Fills follow their trade directly. Any other record after a trade without fills ends the trade, as does a record with
  another time.
* As long as an instrument has had no fill at all, a C or M replaces the fill if its order is on the opposite side of
  the trade, at its price and time, and it removes no more than is left of the trade. This is counted, because an order
  that is withdrawn at the time of a hidden trade looks the same.
* A fill on the trade's own side is that of the aggressor, an order that was moved into the opposite side. No resting
  order trades by it, and what the C or M removes from its old level is a CANCEL or DELETE.
* EXECUTE_HIDDEN covers the part of a fill beyond the visible size (the reserve of an iceberg), the fill of an order
  that is not in the book, and the part of a trade that no fill explains.
* A trade without a side is also the execution of a hidden order, whose side Nasdaq does not disclose. It is a CROSS if
  there is evidence of an auction: it has fills (CME), or fills without a trade came before it at its price (Nasdaq
  reports the executions of a cross as one trade after them).
"""

import numpy as np

from lob_jax.events.schema import ASK
from lob_jax.feeds.databento import checks
from lob_jax.feeds.databento import work as w
from lob_jax.feeds.databento.checks import side_of
from lob_jax.feeds.databento.work import Count, State, Work, aggressor_known, put
from lob_jax.feeds.reading.order_table import ABSENT, EXTRA, PRICE, SIDE, SIZE, find
from lob_jax.jit import inner


@inner
def open_trade(work: Work, row: np.ndarray, number: int) -> None:
    """Record a trade; its fills follow.

    Args:
      work: state and output; changed in place.
      row: the record.
      number: its number in the file.
    """
    state, size = work.state, np.int64(row.size)
    state[State.TRADE_OPEN], state[State.TRADE_SIDE], state[State.TRADE_PRICE] = 1, side_of(row), row.price
    state[State.TRADE_LEFT], state[State.TRADE_FILLED], state[State.TRADE_TIME] = size, 0, row.ts_event
    state[State.TRADE_ALONE] = state[State.TRADE_SIDE] == 0 and row.flags & checks.LAST != 0
    work.counts[Count.TRADES] += 1
    work.counts[Count.LOTS_TRADED] += size
    work.counts[Count.TRADES_WITHOUT_SIDE] += state[State.TRADE_SIDE] == 0


@inner
def close_trade(work: Work, row: np.ndarray, number: int) -> None:
    """End the open trade, and write the part that no fill explains with the time of `row`."""
    state, left = work.state, work.state[State.TRADE_LEFT]
    if not state[State.TRADE_OPEN]:
        return
    if left > 0:
        work.counts[Count.TRADES_WITHOUT_FILL] += state[State.TRADE_FILLED] == 0
        work.counts[Count.LOTS_WITHOUT_FILL] += left
        _put_unseen(work, row, number, -state[State.TRADE_SIDE], state[State.TRADE_PRICE], left, 0)
    state[State.TRADE_OPEN], state[State.TRADE_SIDE], state[State.TRADE_LEFT], state[State.SILENT] = 0, 0, 0, 0


@inner
def fill(work: Work, row: np.ndarray, number: int) -> None:
    """Execute the visible part of a filled order; the rest of the fill is hidden."""
    state, side, size = work.state, side_of(row), np.int64(row.size)
    work.counts[Count.FILLS] += 1
    work.counts[Count.LOTS_FILLED] += size
    state[State.TRADE_FILLED] += 1
    if not state[State.TRADE_OPEN]:
        state[State.SILENT], state[State.SILENT_PRICE] = 1, row.price
    elif side != 0 and side == state[State.TRADE_SIDE]:
        work.counts[Count.LOTS_FILLED_OF_AGGRESSORS] += size
        return
    state[State.TRADE_LEFT] -= min(size, state[State.TRADE_LEFT])
    place = find(work.table, row.order_id)
    shown = 0
    if place != ABSENT:
        values = work.table.values[place]
        shown = min(size, values[SIZE] - values[EXTRA])
        side = values[SIDE]
        if values[EXTRA] == 0 and shown > 0:
            work.filled[state[State.FILLS]] = row.order_id
            state[State.FILLS] += 1
            state[State.OWED] += 1
        values[EXTRA] += shown
        put(work, row, number, w.EXECUTE, side, values[PRICE], shown, row.order_id)
    if shown < size:
        work.counts[Count.LOTS_FILLED_UNSEEN] += size - shown
        _put_unseen(work, row, number, side, row.price, size - shown, row.order_id)


@inner
def _put_unseen(work: Work, row: np.ndarray, number: int, side: int, price: int, size: int, order_id: int) -> None:
    """Write a trade that does not change the book, as an ask if its side is unknown."""
    state = work.state
    crossed = state[State.TRADE_FILLED] > 0 or (state[State.SILENT] != 0 and price == state[State.SILENT_PRICE])
    kind = w.CROSS if crossed and not aggressor_known(work, row) else w.HIDDEN
    put(work, row, number, kind, side if side != 0 else ASK, price, size, order_id)


@inner
def takes_from_trade(work: Work, row: np.ndarray) -> int:
    """Return the lots of the open trade that a C or M represents if the instrument has no fills; 0 for none."""
    state = work.state
    about_order = row.action == checks.C or row.action == checks.M
    if not (state[State.TRADE_OPEN] and state[State.TRADE_SIDE] != 0 and work.counts[Count.FILLS] == 0 and about_order):
        return 0
    place = find(work.table, row.order_id)
    if place == ABSENT or row.ts_event != state[State.TRADE_TIME]:
        return 0
    values, size = work.table.values[place], np.int64(row.size)
    taken = size if row.action == checks.C else values[SIZE] - size
    opposite = values[SIDE] == -state[State.TRADE_SIDE] and side_of(row) == values[SIDE]
    at_price = values[PRICE] == state[State.TRADE_PRICE] and row.price == values[PRICE]
    return taken if opposite and at_price and 0 < taken <= min(state[State.TRADE_LEFT], values[SIZE]) else 0


@inner
def execute_untold(work: Work, row: np.ndarray, number: int, values: np.ndarray, size: int) -> None:
    """Execute what a C or M removes from an order, in place of a fill.

    Args:
      work: state and output; changed in place.
      row: the C or M.
      number: its number in the file.
      values: the order's row in the table; changed in place.
      size: lots.
    """
    work.counts[Count.EXECUTIONS_WITHOUT_FILL] += 1
    work.state[State.TRADE_FILLED] += 1
    work.state[State.TRADE_LEFT] -= size
    put(work, row, number, w.EXECUTE, values[SIDE], values[PRICE], size, row.order_id)
    values[SIZE] -= size


@inner
def take_owed(work: Work, values: np.ndarray, size: int) -> int:
    """Offset up to `size` of a removal against earlier fills of the order; return the lots offset."""
    taken = min(values[EXTRA], size)
    if taken > 0:
        values[EXTRA] -= taken
        values[SIZE] -= taken
        work.state[State.OWED] -= values[EXTRA] == 0
    return taken


@inner
def bring(work: Work, row: np.ndarray, number: int, values: np.ndarray, order_id: int, price: int, size: int) -> None:
    """Change an order, whose fills are already deducted, to a price and size, with as few events as possible.

    Args:
      work: state and output; changed in place.
      row: the record that changes the order.
      number: its number in the file.
      values: the order's row in the table; changed in place.
      order_id: the order's id.
      price: the new price.
      size: the new size.
    """
    side, held = values[SIDE], values[SIZE] - values[EXTRA]
    if price == values[PRICE] and 0 < size < held:
        put(work, row, number, w.CANCEL, side, price, held - size, order_id)
    elif price != values[PRICE] or size != held:
        put(work, row, number, w.DELETE, side, values[PRICE], held, order_id)
        put(work, row, number, w.ADD, side, price, size, order_id)
    work.state[State.OWED] -= values[EXTRA] > 0
    values[PRICE], values[SIZE], values[EXTRA] = price, size, 0


@inner
def part(work: Work, row: np.ndarray, before: np.ndarray, number: int) -> None:
    """Before a record, end the trade and the group to which it does not belong.

    Args:
      work: state and output; changed in place.
      row: the record.
      before: the previous record.
      number: the previous record's number in the file.
    """
    state = work.state
    if row.action == checks.R or (state[State.GOES_ON] and row.ts_event != state[State.GOES_ON_TIME]):
        end_group(work, before, number, state[State.GOES_ON] != 0)
    elif state[State.TRADE_OPEN] and not _belongs(work, row):
        close_trade(work, before, number)


@inner
def _belongs(work: Work, row: np.ndarray) -> bool:
    """Return whether a record may belong to the open trade."""
    state = work.state
    if row.action == checks.T or row.ts_event != state[State.TRADE_TIME]:
        return False
    if row.action == checks.F:
        return not state[State.TRADE_ALONE] or row.side == checks.N
    return state[State.TRADE_FILLED] > 0 or takes_from_trade(work, row) > 0


@inner
def hear_last(work: Work, action: int, row: np.ndarray, number: int) -> None:
    """End the group at a record flagged as its last, unless the group waits for further records of an execution.

    Args:
      work: state and output; changed in place.
      action: the record's action.
      row: the record, or the last good one if the record is bad.
      number: the number of `row` in the file.
    """
    state = work.state
    waits = state[State.OWED] > 0 or (state[State.TRADE_OPEN] and state[State.TRADE_LEFT] > 0)
    if waits and (state[State.GOES_ON] or action == checks.T or action == checks.F):
        state[State.GOES_ON], state[State.GOES_ON_TIME] = 1, row.ts_event
    else:
        end_group(work, row, number, True)


@inner
def end_group(work: Work, row: np.ndarray, number: int, told: bool) -> None:
    """End a group; restore the orders that were filled, but neither cancelled nor modified, to their old size.

    Args:
      work: state and output; changed in place.
      row: the last record of the group.
      number: its number in the file.
      told: whether the feed has announced the end of the group, so that its last event is flagged.
    """
    close_trade(work, row, number)
    state = work.state
    for k in range(state[State.FILLS]):
        place = find(work.table, work.filled[k])
        if place != ABSENT and work.table.values[place, EXTRA] > 0:
            values = work.table.values[place]
            bring(work, row, number, values, work.filled[k], values[PRICE], values[SIZE])
            work.counts[Count.ORDERS_REFRESHED] += 1
    if told and state[State.IN_GROUP] > 0:
        w.mark_last(work)
    state[State.FILLS], state[State.OWED], state[State.IN_GROUP], state[State.GOES_ON] = 0, 0, 0, 0
