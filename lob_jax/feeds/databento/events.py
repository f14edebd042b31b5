"""Convert the MBO records of one instrument to events: the compiled part.

For trades, fills, and what they take from orders, see `trades`. A modification to a smaller size at the same price is
a CANCEL; any other one loses the position in the queue and becomes a DELETE and an ADD. A modification of an order that
is not in the book adds it, as in Databento's own order-book example.
"""

import numpy as np

from lob_jax.feeds.databento import checks
from lob_jax.feeds.databento import work as w
from lob_jax.feeds.databento.checks import Fault, fault_of, side_of
from lob_jax.feeds.databento.trades import (
    bring,
    end_group,
    execute_untold,
    fill,
    hear_last,
    open_trade,
    part,
    take_owed,
    takes_from_trade,
)
from lob_jax.feeds.databento.work import Count, State, Work, put
from lob_jax.feeds.reading.order_table import ABSENT, EXTRA, PRICE, SIDE, SIZE, OrderTable, find, insert, remove
from lob_jax.jit import in_place, inner


@in_place
def convert(work: Work, rows: np.ndarray, number: np.ndarray, first: int) -> tuple[int, Fault]:
    """Convert records to events from `first` on, up to and including the first bad one.

    Args:
      work: state of the conversion and output; changed in place.
      rows: `RECORD` [R].
      number: int64 [R], the records' numbers in the file.
      first: the record to begin with.

    Returns:
      The index of the next record, and the fault of the one before it, SOUND at the end.
    """
    sound, fault, i = -1, Fault.SOUND, first
    while i < len(rows) and fault == Fault.SOUND:
        fault = fault_of(rows[i])
        if fault == Fault.SOUND:
            if sound < 0:
                part(work, rows[i], work.last[0], work.last_number[0])
            else:
                part(work, rows[i], rows[sound], number[sound])
            fault = _convert_one(work, rows[i], number[i])
        if fault == Fault.SOUND:
            sound = i
        if rows[i].flags & checks.LAST and sound >= 0:
            hear_last(work, rows[i].action, rows[sound], number[sound])
        elif rows[i].flags & checks.LAST:
            hear_last(work, rows[i].action, work.last[0], work.last_number[0])
        i += 1
    if sound >= 0:
        work.last[0], work.last_number[0] = rows[sound], number[sound]
    return i, fault


@in_place
def break_group(work: Work) -> None:
    """End the open group after the last record, although no record has announced its end."""
    end_group(work, work.last[0], work.last_number[0], work.state[State.GOES_ON] != 0)


@in_place
def take_snapshot(table: OrderTable, rows: np.ndarray, first: int, orders: np.ndarray) -> tuple[int, Fault, int, int]:
    """Enter the orders of a snapshot into the table, up to the first bad record.

    Args:
      table: the live orders; changed in place.
      rows: `RECORD` [R].
      first: the record to begin with.
      orders: int64 [R, 4], filled with side, price, size and id of each order.

    Returns:
      The index of the next record, the fault of the one before it, the number of orders since the last clear (R), and
      the index of that clear, -1 if there is none.
    """
    count, cleared = 0, -1
    for i in range(first, len(rows)):
        row = rows[i]
        fault = fault_of(row)
        if fault == Fault.SOUND:
            if row.action == checks.A:
                fault = _enter(table, row)
            elif row.action == checks.R:
                forget_orders(table)
                count, cleared = 0, i
            elif row.action != checks.N:
                fault = Fault.BAD_SNAPSHOT
        if fault != Fault.SOUND:
            return i + 1, fault, count, cleared
        if row.action == checks.A:
            orders[count, 0], orders[count, 1] = side_of(row), row.price
            orders[count, 2], orders[count, 3] = row.size, row.order_id
            count += 1
    return len(rows), Fault.SOUND, count, cleared


@in_place
def forget_orders(table: OrderTable) -> None:
    """Empty the table."""
    table.state[:] = 0
    table.used[0] = 0


@inner
def _convert_one(work: Work, row: np.ndarray, number: int) -> int:
    """Convert one record to events; return its fault relative to the book."""
    action, fault = row.action, Fault.SOUND
    if action == checks.A:
        fault = _add(work, row, number)
    elif action == checks.C:
        fault = _cancel(work, row, number)
    elif action == checks.M:
        fault = _change(work, row, number)
    elif action == checks.F:
        fill(work, row, number)
    elif action == checks.T:
        open_trade(work, row, number)
    elif action == checks.R:
        forget_orders(work.table)
        put(work, row, number, w.CONTROL, 0, 0, 0, 0)
    else:
        work.counts[Count.WITHOUT_ACTION] += 1
    return fault


@inner
def _enter(table: OrderTable, row: np.ndarray) -> int:
    """Enter a new order."""
    if find(table, row.order_id) != ABSENT:
        return Fault.KNOWN_ORDER
    values = table.values[insert(table, row.order_id)]
    values[SIDE], values[PRICE], values[SIZE], values[EXTRA] = side_of(row), row.price, row.size, 0
    return Fault.SOUND


@inner
def _add(work: Work, row: np.ndarray, number: int) -> int:
    """Add an order."""
    fault = _enter(work.table, row)
    if fault == Fault.SOUND:
        put(work, row, number, w.ADD, side_of(row), row.price, np.int64(row.size), row.order_id)
    return fault


@inner
def _cancel(work: Work, row: np.ndarray, number: int) -> int:
    """Withdraw part of an order, or all of it."""
    place = find(work.table, row.order_id)
    if place == ABSENT:
        return Fault.UNKNOWN_CANCEL
    values, size = work.table.values[place], np.int64(row.size)
    if values[SIDE] != side_of(row):
        return Fault.OTHER_SIDE
    if values[PRICE] != row.price:
        return Fault.OTHER_PRICE
    if size > values[SIZE]:
        return Fault.TOO_MUCH
    if takes_from_trade(work, row):
        execute_untold(work, row, number, values, size)
    else:
        size -= take_owed(work, values, size)
        kind = w.CANCEL if size < values[SIZE] else w.DELETE
        put(work, row, number, kind, values[SIDE], values[PRICE], size, row.order_id)
        values[SIZE] -= size
    if values[SIZE] == 0:
        remove(work.table, place)
    return Fault.SOUND


@inner
def _change(work: Work, row: np.ndarray, number: int) -> int:
    """Change an order's price or size, or add the order if it is not in the book."""
    place = find(work.table, row.order_id)
    if place == ABSENT:
        work.counts[Count.ORDERS_ADDED_BY_CHANGE] += 1
        return _add(work, row, number)
    values = work.table.values[place]
    if values[SIDE] != side_of(row):
        return Fault.OTHER_SIDE
    taken = takes_from_trade(work, row)
    if taken:
        execute_untold(work, row, number, values, taken)
    else:
        bring(work, row, number, values, row.order_id, row.price, np.int64(row.size))
    return Fault.SOUND
