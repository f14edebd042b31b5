"""A user's own orders in generated flow: what is due, how it meets the live book, and how it is spelt.

An order waits until the path stands between two events at its time. It is then matched: as long as its limit reaches
the best price of the other side, it executes the order at the front there, one EXECUTE event each; what is left rests
as an ADD at its limit, or is dropped if the order has none. These events come at the time of the event before them, and
the model reads them like any others.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.generation import spelled
from lob_jax.generation.assembler import Clock, Spelling, as_int32
from lob_jax.generation.live_book import FAR, LiveBook, queue_at, reference
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import MOST_LOTS

NEVER = np.int32(2**31 - 1)


@dataclasses.dataclass(frozen=True)
class Order:
    """An order to put into every path.

    Attributes:
      side: +1 to buy, -1 to sell.
      size: lots.
      price: limit in price quanta; None for a market order.
      after_events: it comes once the path has so many events; or
      at_ns: it comes at the first event boundary at or after this time, UNIX ns. One of the two is given.
    """

    side: int
    size: int
    price: int | None = None
    after_events: int | None = None
    at_ns: int | None = None


class OrderTable(NamedTuple):
    """All orders on the device, in the order in which they come; entry I stands for none.

    Attributes:
      side_I: int32, the side that it rests on: 0 bid, 1 ask.
      size_I: int32 lots.
      limit_I: int32, ticks from the origin.
      rests_I: bool, False for market orders.
      after_I: int32 events, NEVER if it comes by time.
      clock_I: seconds and nanoseconds since midnight, NEVER if it comes by events.
    """

    side_I: jax.Array
    size_I: jax.Array
    limit_I: jax.Array
    rests_I: jax.Array
    after_I: jax.Array
    clock_I: Clock


class Own(NamedTuple):
    """What a path knows of the orders.

    Attributes:
      order: int32, the order under way or the next one.
      left: int32, lots of it that are left; 0 before it is due.
      writing: bool, whether the event being spelt is one of its events, whose fields are the next four.
      kind, side, distance, size: as in `Spelling`.
      dropped: int32, lots of market orders that found nothing to execute.
    """

    order: jax.Array
    left: jax.Array
    writing: jax.Array
    kind: jax.Array
    side: jax.Array
    distance: jax.Array
    size: jax.Array
    dropped: jax.Array


def nothing_own() -> Own:
    """Return the state of a path before any order."""
    zero = jnp.int32(0)
    return Own(zero, zero, jnp.bool_(False), zero, zero, zero, zero, zero)


def order_table(orders: Sequence[Order], *, instrument: Instrument, origin: int) -> OrderTable:
    """Return the orders for the device.

    Args:
      orders: in the order in which they come; one behind waits for those in front.
      instrument: whose tick and day they are in.
      origin: of the live book's prices, in quanta.

    Raises:
      InputError: an order is none.
    """
    for number, order in enumerate(orders):
        _check_order(number, order, instrument.tick)
    by_time = [order.at_ns is not None for order in orders]
    since = [(order.at_ns or 0) - instrument.midnight_ns() for order in orders]
    # A price far outside int32 buys or sells at any price just as well.
    limits = [
        order.side * int(NEVER // 2) if order.price is None else (order.price - origin) // instrument.tick
        for order in orders
    ]
    columns = {
        "side_I": [0 if order.side == BID else 1 for order in orders],
        "size_I": [order.size for order in orders],
        "limit_I": np.clip(limits, -(NEVER // 2), NEVER // 2),
        "after_I": [NEVER if order.after_events is None else order.after_events for order in orders],
    }
    clock = [
        [ns // NS_PER_SECOND if timed else int(NEVER) for ns, timed in zip(since, by_time, strict=True)],
        [ns % NS_PER_SECOND if timed else 0 for ns, timed in zip(since, by_time, strict=True)],
    ]
    return OrderTable(
        **{name: _with_none(column, NEVER if name == "after_I" else 0) for name, column in columns.items()},
        rests_I=jnp.asarray([*(order.price is not None for order in orders), False]),
        clock_I=Clock(*(_with_none(column, NEVER) for column in clock)),
    )


def no_orders() -> OrderTable:
    """Return the table of a user who has none."""
    zero, never = jnp.zeros(1, jnp.int32), jnp.full(1, NEVER, jnp.int32)
    return OrderTable(zero, zero, zero, jnp.zeros(1, bool), never, Clock(never, never))


def _with_none(column: Sequence[int] | np.ndarray, none: int) -> jax.Array:
    return jnp.asarray(np.append(np.asarray(column, np.int64), none), jnp.int32)


def _check_order(number: int, order: Order, tick: int) -> None:
    on_tick = order.price is None or (order.price > 0 and order.price % tick == 0)
    one_moment = (order.after_events is None) != (order.at_ns is None)
    checks = [
        (order.side in (BID, ASK), "side", "+1 or -1", order.side),
        (0 < order.size <= MOST_LOTS, "size", f"1 to {MOST_LOTS} lots", order.size),
        (on_tick, "price", f"a multiple of {tick}", order.price),
        (one_moment, "after_events, at_ns", "one of the two", (order.after_events, order.at_ns)),
        (order.after_events is None or order.after_events >= 0, "after_events", "0 or more", order.after_events),
    ]
    for holds, name, expected, was in checks:
        if not holds:
            raise InputError(
                "this is no order",
                where=f"inject[{number}].{name}",
                expected=expected,
                was=was,
                remedy="give a side, a size in lots, a limit in price quanta or none, and when it comes",
            )


def begin(own: Own, orders: OrderTable, book: LiveBook, *, events: jax.Array, clock: Clock) -> Own:
    """Decide, where an event begins, whether it is one of an order's, and which.

    Args:
      own: of one path.
      orders: all orders.
      book: after the event before.
      events: how many events the path has.
      clock: the time of the event before.
    """
    waits = own.left == 0
    due = orders.clock_I.seconds[own.order]
    late = (clock.seconds > due) | ((clock.seconds == due) & (clock.ns >= orders.clock_I.ns[own.order]))
    starts = waits & (book.closed == 0) & ((events >= orders.after_I[own.order]) | (late & (due != NEVER)))
    left = jnp.where(starts, orders.size_I[own.order], own.left)
    side, limit = orders.side_I[own.order], orders.limit_I[own.order]
    best = book.key_2P[1 - side, 0]
    sign = jnp.where(side == 0, -1, 1)
    crosses = (best != FAR) & (sign * limit <= -best)
    _, queue_Q = queue_at(book, 1 - side, best)
    rests = orders.rests_I[own.order]
    size = jnp.where(crosses, jnp.minimum(queue_Q[0], left), left)
    writing = (left > 0) & (crosses | rests)
    lost = (left > 0) & ~writing
    left = jnp.where(lost, 0, left - jnp.where(writing, size, 0))
    over = (starts | ~waits) & (left == 0)
    return Own(
        order=own.order + over,
        left=left,
        writing=writing,
        kind=jnp.where(crosses, Kind.EXECUTE, Kind.ADD).astype(jnp.int32),
        side=jnp.where(crosses, 1 - side, side),
        distance=jnp.where(crosses, 0, sign * (limit - reference(book, side))),
        size=size,
        dropped=own.dropped + jnp.where(lost, size, 0),
    )


def spell(own: Own, spelling: Spelling, field: jax.Array, *, begins: jax.Array) -> jax.Array:
    """Return the next token of the event that is written for an order.

    Args:
      own: the event.
      spelling: what is spelt of it.
      field: which field the grammar is in (`Grammar.state_field`).
      begins: whether its head comes now.
    """
    value, rest = as_int32(spelling.number), spelling.number.rest
    head = own.kind * v.CLASS_SIZE + own.side * v.ASK_OFFSET + spelled.price_code(own.distance)
    lead = v.SIZE + spelled.number_code(own.size)
    price_group, price_goes_on = spelled.next_group(jnp.abs(own.distance), value, rest)
    size_group, size_goes_on = spelled.next_group(own.size, value, rest)
    in_price = jnp.where(price_goes_on, v.CONTINUATION + price_group, lead)
    in_size = jnp.where(size_goes_on, v.CONTINUATION + size_group, v.TIME)
    fields = (v.FIELD_HEAD_DIGITS, v.FIELD_SIZE, v.FIELD_SIZE_DIGITS)
    token = jnp.select([field == at for at in fields], [in_price, lead, in_size], v.TIME)
    return jnp.where(begins, head, token).astype(jnp.int32)
