"""A compiled matching engine with price-time priority that records every change as an event.

All functions take the `Engine` first and can be called from other compiled code. A marketable order trades with the
resting orders in priority order, one EXECUTE per resting order, all with the same timestamp; what remains of a limit
order queues as an ADD. The book is never crossed or locked. Order ids count from 1 in order of arrival.
"""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.jit import in_place, inner, njit

REFUSED = -1  # returned by `submit` and `place` instead of an order id when they have changed nothing
NOBODY = -1  # the end of a linked list of orders

_ADD, _CANCEL, _DELETE = int(Kind.ADD), int(Kind.CANCEL), int(Kind.DELETE)
_EXECUTE, _HIDDEN, _CONTROL = int(Kind.EXECUTE), int(Kind.EXECUTE_HIDDEN), int(Kind.CONTROL)


class OrderColumn(enum.IntEnum):
    """Columns of `Engine.order`; the links are rows of other orders."""

    SIDE = 0  # side index
    PRICE = 1
    SIZE = 2  # remaining lots, 0 for an order that has ended
    BEHIND = 3  # neighbours in the queue of its level
    AHEAD = 4
    NEWER = 5  # neighbours by age on its side
    OLDER = 6


class LevelColumn(enum.IntEnum):
    """Columns of `Engine.level`."""

    PRICE = 0
    SIZE = 1
    FRONT = 2  # the ends of its queue
    BACK = 3


class SideColumn(enum.IntEnum):
    """Columns of `Engine.side`."""

    LEVELS = 0  # number of levels
    LIVE = 1  # number of live orders
    NEWEST = 2  # the newest order


class Used(enum.IntEnum):
    """Indices of `Engine.used`: numbers of rows used so far."""

    ORDERS = 0
    EVENTS = 1


class EventColumn(enum.IntEnum):
    """Columns of `Engine.event`, named as those of `Events`."""

    TIME_NS = 0
    KIND = 1
    CODE = 2
    SIDE = 3
    PRICE = 4
    SIZE = 5
    ORDER_ID = 6


# As plain integers: Numba would compile functions again for arguments that are members of an enum.
O_SIDE, O_PRICE, O_SIZE, BEHIND, AHEAD, NEWER, OLDER = (int(column) for column in OrderColumn)
L_PRICE, L_SIZE, FRONT, BACK = (int(column) for column in LevelColumn)
LEVELS, LIVE, NEWEST = (int(column) for column in SideColumn)
ORDERS, EVENTS = (int(row) for row in Used)
E_TIME, E_KIND, E_CODE, E_SIDE, E_PRICE, E_SIZE, E_ID = (int(column) for column in EventColumn)


class Engine(NamedTuple):
    """Orders, levels and the events so far; side index 0 is bid, 1 is ask.

    The order with id n is in row n - 1, permanently. Levels are sorted with the best last. There are few arrays, with
    named columns, because Numba's compile time grows with the number of arrays.

    Attributes:
      order: int64 [O, 7], by `OrderColumn`.
      level: int64 [2, L, 4], by `LevelColumn`.
      side: int64 [2, 3], by `SideColumn`.
      used: int64 [2], by `Used`.
      event: int64 [E, 7], by `EventColumn`.
    """

    order: np.ndarray
    level: np.ndarray
    side: np.ndarray
    used: np.ndarray
    event: np.ndarray


def new_engine(*, orders: int, levels: int, events: int) -> Engine:
    """Return an empty engine with room for `orders` orders in total, `levels` levels per side and `events` events."""
    side = np.zeros((2, len(SideColumn)), np.int64)
    side[:, NEWEST] = NOBODY
    return Engine(
        order=np.zeros((orders, len(OrderColumn)), np.int64),
        level=np.zeros((2, levels, len(LevelColumn)), np.int64),
        side=side,
        used=np.zeros(len(Used), np.int64),
        event=np.zeros((events, len(EventColumn)), np.int64),
    )


def events_so_far(engine: Engine) -> Events:
    """Return a copy of the events recorded so far."""
    rows = engine.event[: engine.used[EVENTS]]
    return Events.from_columns(**{column.name.lower(): rows[:, column].copy() for column in EventColumn})


def resting_orders(engine: Engine, time_ns: int) -> BookSnapshot:
    """Return a snapshot of the current book, best levels first, each queue from its front.

    `last_best` holds the current best prices, 0 for an empty side.
    """
    rows = _priority_order(engine)
    orders = engine.order[rows]
    return BookSnapshot(
        time_ns=time_ns,
        side=np.where(orders[:, O_SIDE] == 0, BID, ASK).astype(np.int8),
        price=orders[:, O_PRICE].copy(),
        size=orders[:, O_SIZE].copy(),
        order_id=(rows + 1).astype(np.uint64),
        anonymous=np.zeros(len(rows), bool),
        last_best=np.array([best_price(engine, 0), best_price(engine, 1)], np.int64),
    )


@njit
def _priority_order(engine: Engine) -> np.ndarray:
    """Return the rows of all live orders: bids, then asks, each in the order in which they would trade."""
    rows = np.empty(engine.side[0, LIVE] + engine.side[1, LIVE], np.int64)
    filled = 0
    for side in range(2):
        for level in range(engine.side[side, LEVELS] - 1, -1, -1):
            row = engine.level[side, level, FRONT]
            while row != NOBODY:
                rows[filled] = row
                filled += 1
                row = engine.order[row, BEHIND]
    return rows


@in_place
def best_price(engine: Engine, side: int) -> int:
    """Return the best price of a side index, 0 if it is empty."""
    count = engine.side[side, LEVELS]
    return engine.level[side, count - 1, L_PRICE] if count else 0


@in_place
def best_size(engine: Engine, side: int) -> int:
    """Return the lots at the best price of a side index, 0 if it is empty."""
    count = engine.side[side, LEVELS]
    return engine.level[side, count - 1, L_SIZE] if count else 0


@in_place
def order_by_age(engine: Engine, side: int, rank: int) -> int:
    """Return the id of the order of a side that has `rank` younger ones, 0 if there are too few orders."""
    row = engine.side[side, NEWEST]
    while row != NOBODY and rank > 0:
        row = engine.order[row, OLDER]
        rank -= 1
    return row + 1


@in_place
def worst_order(engine: Engine, side: int) -> int:
    """Return the id of the order of a side that would trade last, 0 if the side is empty."""
    return engine.level[side, 0, BACK] + 1 if engine.side[side, LEVELS] else 0


@in_place
def place(engine: Engine, side: int, price: int, size: int) -> int:
    """Queue an order without recording an event, to build the opening book; return its id.

    Args:
      engine: changed in place.
      side: 0 bid, 1 ask.
      price: price quanta.
      size: lots.

    Returns:
      The order's id, or REFUSED if an array is full, the size is not positive, or the order is marketable.
    """
    if not _has_room(engine, side, 0) or size <= 0 or _marketable(engine, side, price):
        return REFUSED
    return _queue(engine, side, price, size) + 1


@in_place
def submit(engine: Engine, time_ns: int, side: int, price: int, size: int, rests: bool = True) -> int:
    """Trade an order as far as its limit allows; queue what remains, or discard it unless `rests`.

    Args:
      engine: changed in place.
      time_ns: time of the events.
      side: of the order, 0 buy, 1 sell.
      price: the limit, price quanta.
      size: lots.
      rests: whether the remainder stays in the book.

    Returns:
      The id of the resting order, 0 if none rests, REFUSED if an array is full or the size is not positive.
    """
    # Check for room before the first trade, so that a refused order has changed nothing: at worst it executes all
    # live orders of the other side and then rests.
    if size <= 0 or not _has_room(engine, side, engine.side[1 - side, LIVE] + 1):
        return REFUSED
    left = size
    while left > 0 and _marketable(engine, side, price):
        left -= _trade_front(engine, time_ns, 1 - side, left)
    if left == 0 or not rests:
        return 0
    row = _queue(engine, side, price, left)
    _record(engine, time_ns, _ADD, side, price, left, row + 1)
    return row + 1


@in_place
def cancel(engine: Engine, time_ns: int, order_id: int, size: int) -> int:
    """Withdraw part of an order, which keeps its position in the queue; return the lots withdrawn.

    Returns 0 and changes nothing if the order is not in the book, if `size` is not positive and below the order's
    remaining size, or if the event array is full.
    """
    row = order_id - 1
    if not _is_live(engine, row) or not 0 < size < engine.order[row, O_SIZE] or not _has_event_room(engine, 1):
        return 0
    _shrink(engine, row, size)
    _record(engine, time_ns, _CANCEL, engine.order[row, O_SIDE], engine.order[row, O_PRICE], size, order_id)
    return size


@in_place
def delete(engine: Engine, time_ns: int, order_id: int) -> int:
    """Withdraw all that remains of an order; return its lots, 0 if it is not live or the event array is full."""
    row = order_id - 1
    if not _is_live(engine, row) or not _has_event_room(engine, 1):
        return 0
    size = engine.order[row, O_SIZE]
    _record(engine, time_ns, _DELETE, engine.order[row, O_SIDE], engine.order[row, O_PRICE], size, order_id)
    _shrink(engine, row, size)
    return size


@in_place
def report_hidden(engine: Engine, time_ns: int, side: int, price: int, size: int) -> bool:
    """Record the trade of a hidden order, which leaves the visible book unchanged.

    Args:
      engine: changed in place.
      time_ns: time of the event.
      side: of the hidden order, 0 bid, 1 ask.
      price: price quanta.
      size: lots.

    Returns:
      False if the event array is full or the size is not positive.
    """
    if size <= 0 or not _has_event_room(engine, 1):
        return False
    _record(engine, time_ns, _HIDDEN, side, price, size, 0)
    return True


@in_place
def report_control(engine: Engine, time_ns: int, code: int) -> bool:
    """Record a change of the session's state; return False if the event array is full."""
    if not _has_event_room(engine, 1):
        return False
    _record(engine, time_ns, _CONTROL, 0, 0, 0, 0)
    row = engine.used[EVENTS] - 1
    engine.event[row, E_SIDE] = 0
    engine.event[row, E_CODE] = code
    return True


@inner
def _trade_front(engine: Engine, time_ns: int, side: int, wanted: int) -> int:
    """Trade up to `wanted` lots with the order of highest priority on a side; return the lots traded."""
    row = engine.level[side, engine.side[side, LEVELS] - 1, FRONT]
    traded = min(wanted, engine.order[row, O_SIZE])
    _record(engine, time_ns, _EXECUTE, side, engine.order[row, O_PRICE], traded, row + 1)
    _shrink(engine, row, traded)
    return traded


@inner
def _marketable(engine: Engine, side: int, price: int) -> bool:
    """Return whether a limit price on one side reaches the best price of the other."""
    if engine.side[1 - side, LEVELS] == 0:
        return False
    best = best_price(engine, 1 - side)
    return price >= best if side == 0 else price <= best


@inner
def _is_live(engine: Engine, row: int) -> bool:
    return 0 <= row < engine.used[ORDERS] and engine.order[row, O_SIZE] > 0


@inner
def _has_event_room(engine: Engine, wanted: int) -> bool:
    return engine.used[EVENTS] + wanted <= len(engine.event)


@inner
def _has_room(engine: Engine, side: int, events: int) -> bool:
    """Return whether there is room for one more order, one more level of its side and `events` events."""
    return (
        engine.used[ORDERS] < len(engine.order)
        and engine.side[side, LEVELS] < engine.level.shape[1]
        and _has_event_room(engine, events)
    )


@inner
def _record(engine: Engine, time_ns: int, kind: int, side: int, price: int, size: int, order_id: int) -> None:
    row = engine.used[EVENTS]
    engine.event[row, E_TIME] = time_ns
    engine.event[row, E_KIND] = kind
    engine.event[row, E_SIDE] = 1 - 2 * side
    engine.event[row, E_PRICE] = price
    engine.event[row, E_SIZE] = size
    engine.event[row, E_ID] = order_id
    engine.used[EVENTS] = row + 1


@inner
def _find_level(engine: Engine, side: int, price: int) -> int:
    """Return the index of a price among a side's levels, or the one at which it would be inserted."""
    # A linear search from the best level: most orders lie within a few levels of it.
    sign = 1 - 2 * side
    level = engine.side[side, LEVELS]
    while level > 0 and sign * engine.level[side, level - 1, L_PRICE] >= sign * price:
        level -= 1
    return level


@inner
def _queue(engine: Engine, side: int, price: int, size: int) -> int:
    """Add a new order at the back of its level, creating the level if necessary; return its row."""
    level = _find_level(engine, side, price)
    if level == engine.side[side, LEVELS] or engine.level[side, level, L_PRICE] != price:
        _insert_level(engine, side, level, price)
    row = engine.used[ORDERS]
    engine.used[ORDERS] = row + 1
    engine.order[row, O_SIDE], engine.order[row, O_PRICE], engine.order[row, O_SIZE] = side, price, size
    last, youngest = engine.level[side, level, BACK], engine.side[side, NEWEST]
    engine.order[row, AHEAD], engine.order[row, BEHIND] = last, NOBODY
    engine.order[row, OLDER], engine.order[row, NEWER] = youngest, NOBODY
    if last == NOBODY:
        engine.level[side, level, FRONT] = row
    else:
        engine.order[last, BEHIND] = row
    if youngest != NOBODY:
        engine.order[youngest, NEWER] = row
    engine.level[side, level, BACK] = row
    engine.level[side, level, L_SIZE] += size
    engine.side[side, NEWEST] = row
    engine.side[side, LIVE] += 1
    return row


@inner
def _shrink(engine: Engine, row: int, size: int) -> None:
    """Reduce a live order; remove it from the book when nothing remains."""
    side = engine.order[row, O_SIDE]
    level = _find_level(engine, side, engine.order[row, O_PRICE])
    engine.order[row, O_SIZE] -= size
    engine.level[side, level, L_SIZE] -= size
    if engine.order[row, O_SIZE] > 0:
        return
    _unlink(engine, row, side, level)
    engine.side[side, LIVE] -= 1
    if engine.level[side, level, FRONT] == NOBODY:
        _remove_level(engine, side, level)


@inner
def _unlink(engine: Engine, row: int, side: int, level: int) -> None:
    """Link the neighbours of a removed order to each other, in its queue and in the list by age."""
    ahead, behind = engine.order[row, AHEAD], engine.order[row, BEHIND]
    older, newer = engine.order[row, OLDER], engine.order[row, NEWER]
    if ahead == NOBODY:
        engine.level[side, level, FRONT] = behind
    else:
        engine.order[ahead, BEHIND] = behind
    if behind == NOBODY:
        engine.level[side, level, BACK] = ahead
    else:
        engine.order[behind, AHEAD] = ahead
    if newer == NOBODY:
        engine.side[side, NEWEST] = older
    else:
        engine.order[newer, OLDER] = older
    if older != NOBODY:
        engine.order[older, NEWER] = newer


@inner
def _insert_level(engine: Engine, side: int, level: int, price: int) -> None:
    for at in range(engine.side[side, LEVELS], level, -1):
        for column in range(4):
            engine.level[side, at, column] = engine.level[side, at - 1, column]
    engine.level[side, level, L_PRICE] = price
    engine.level[side, level, L_SIZE] = 0
    engine.level[side, level, FRONT] = NOBODY
    engine.level[side, level, BACK] = NOBODY
    engine.side[side, LEVELS] += 1


@inner
def _remove_level(engine: Engine, side: int, level: int) -> None:
    engine.side[side, LEVELS] -= 1
    for at in range(level, engine.side[side, LEVELS]):
        for column in range(4):
            engine.level[side, at, column] = engine.level[side, at + 1, column]
