"""A user's orders in the paths on the host: when they are due, how they match, and their tokens.

The rules are those of `lob_jax.generation.device.orders`.
"""

import enum
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import best_price, is_empty, level_of, queue_length, reference
from lob_jax.book.orders import END, FIRST, FRONT, MARK, PRICE, SIZE, Book
from lob_jax.events.schema import BID
from lob_jax.generation.settings import Order
from lob_jax.jit import inner
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.limits import ADD, EXECUTE, Rules, opens_levels

NEVER = 2**62
OWNER_BITS = 8  # of an order's MARK, below those that say which order of the user's it is, from 1 on
MOST_TOKENS = 16  # more than an event of an order has


class Own(enum.IntEnum):
    """Columns of the state of the user's orders in a path."""

    ORDER = 0  # the current or next order
    LEFT = 1  # remaining lots of the current order; 0 before it is due
    WRITER = 2  # n + 1 if the event being generated belongs to order n, 0 if the model writes it
    AT = 3  # how many tokens of that event have been written
    COUNT = 4  # how many it has


class Fate(enum.IntEnum):
    """What becomes of lots of an order, see `Outcome`."""

    FILLED = 0
    RESTED = 1
    DROPPED = 2


class Orders(NamedTuple):
    """All orders in the sequence in which they are sent; the last entry, I, means "no order". int64 [I + 1] each.

    Attributes:
      side: the side on which the order rests: 0 bid, 1 ask.
      size: lots.
      limit: price quanta; beyond every price for a market order.
      rests: 0 for market orders, else 1.
      after: events, NEVER for an order that is due by time.
      since: UNIX ns, NEVER for an order that is due by events.
    """

    side: np.ndarray
    size: np.ndarray
    limit: np.ndarray
    rests: np.ndarray
    after: np.ndarray
    since: np.ndarray


ORDER, LEFT, WRITER, AT, COUNT = (int(column) for column in Own)
_FILLED, _RESTED, _DROPPED = (int(fate) for fate in Fate)


def orders_of(orders: Sequence[Order]) -> Orders:
    """Return the orders as arrays."""
    rows = [
        (
            0 if order.side == BID else 1,
            order.size,
            order.side * NEVER if order.price is None else order.price,
            int(order.price is not None),
            NEVER if order.after_events is None else order.after_events,
            NEVER if order.at_ns is None else order.at_ns,
        )
        for order in orders
    ]
    return Orders(*np.array([*rows, (0, 0, 0, 0, NEVER, NEVER)], np.int64).T.copy())


@inner
def begin_order(
    own: np.ndarray,
    lots: np.ndarray,
    tokens: np.ndarray,
    orders: Orders,
    book: Book,
    rules: Rules,
    when: tuple[int, int, int, int],
) -> None:
    """Decide at the start of an event whether it belongs to an order, and write its tokens.

    Args:
      own: the state of the orders in one path, see `Own`; changed in place, as are the next two.
      lots: int64 [3, I + 1], of each order, by `Fate`.
      tokens: int64 [MOST_TOKENS], filled.
      orders: all orders.
      book: the book after the previous event.
      rules: the constants of the paths.
      when: number of events that the path has, and is to have; the time of the previous event; what is closed.
    """
    order, (events, last, clock, closed) = own[ORDER], when
    own[WRITER] = 0
    if events >= last:
        return
    if own[LEFT] == 0 and closed == 0 and (events >= orders.after[order] or clock >= orders.since[order]):
        own[LEFT] = orders.size[order]
    if own[LEFT] == 0:
        return
    s, limit, size = orders.side[order], orders.limit[order], own[LEFT]
    sign = 1 - 2 * s
    crosses = not is_empty(book, 1 - s) and sign * limit >= sign * best_price(book, 1 - s)
    if crosses:
        row = book.side[1 - s, END] - 1
        size = min(size, book.orders[book.levels[1 - s, row, FRONT], SIZE])
        lots[_FILLED, order] += size
        _write(own, tokens, EXECUTE, 1 - s, 0, size)
    elif orders.rests[order] and _has_room(book, s, limit, size, rules):
        lots[_RESTED, order] += size
        _write(own, tokens, ADD, s, sign * (reference(book, sign) - limit) // rules.tick, size)
    else:
        lots[_DROPPED, order] += size
    own[LEFT] -= size
    own[ORDER] += own[LEFT] == 0


@inner
def _write(own: np.ndarray, tokens: np.ndarray, kind: int, s: int, distance: int, size: int) -> None:
    """Write the tokens of an event of the current order, which has the time of the event before it."""
    at = numbers.write_price(tokens, 0, kind * v.CLASS_SIZE + s * v.ASK_OFFSET, distance)
    at = numbers.write_number(tokens, at, v.SIZE, size)
    own[WRITER], own[AT], own[COUNT] = own[ORDER] + 1, 0, numbers.write_gap(tokens, at, 0)


@inner
def _has_room(book: Book, s: int, price: int, size: int, rules: Rules) -> bool:
    """Return whether an order of the user can rest at a price: there is room for its level, for itself and its lots."""
    row = level_of(book, s, price)
    if row >= 0:
        has_place = queue_length(book, s, row, rules.most_orders) < rules.most_orders
        return has_place and book.levels[s, row, SIZE] <= rules.most_lots - size
    side, sign = book.side[s], 1 - 2 * s
    if book.window > 0 and side[END] - side[FIRST] >= book.window:
        return sign * price > sign * book.levels[s, side[FIRST], PRICE]
    return opens_levels(book, s, rules)


@inner
def owner_at_front(book: Book, s: int, price: int) -> int:
    """Return n + 1 if the order at the front of a level is order n of the user's, else 0."""
    row = level_of(book, s, price)
    return book.orders[book.levels[s, row, FRONT], MARK] >> OWNER_BITS if row >= 0 else 0
