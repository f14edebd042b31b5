"""Inject a user's orders into generated flow: when they are due, how they match, and their tokens.

An order waits for the first boundary between two events at or after its time. It is then matched: while its limit
reaches the best price of the other side, it executes the order at the front there, with one EXECUTE event each. The
remainder rests as an ADD at its limit; it is dropped if the order has no limit, or if the live book has no room. These
events have the time of the event before them, and the model reads them like any others. Orders wait during a halt.

An order that rests is filled when an EXECUTE reaches it at the front of its queue: one of the model, or one of a later
order of the user on the other side, as on a venue without self-trade prevention. No CANCEL or DELETE of the model
applies to it, see `live_book`. Each order is accounted for in each path, see `Outcome`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import BID, Kind
from lob_jax.generation.device import spelled
from lob_jax.generation.device.assembler import Clock, Spelling, as_int32
from lob_jax.generation.device.live_book import FAR, LiveBook, has_room, queue_at, reference
from lob_jax.generation.generated import Fill, Outcome, Sent, outcomes_of
from lob_jax.generation.settings import Order, check_orders
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import MOST_DISTANCE

NEVER = np.int32(2**31 - 1)


class OrderTable(NamedTuple):
    """All orders on the device, in the sequence in which they are sent; the last entry, I, means "no order".

    Attributes:
      side_I: int32, the side on which the order rests: 0 bid, 1 ask.
      size_I: int32 lots.
      limit_I: int32, ticks from the origin.
      rests_I: bool, False for market orders.
      after_I: int32 events, NEVER for an order that is due by time.
      clock_I: seconds and nanoseconds since midnight, NEVER for an order that is due by events.
    """

    side_I: jax.Array
    size_I: jax.Array
    limit_I: jax.Array
    rests_I: jax.Array
    after_I: jax.Array
    clock_I: Clock


class Own(NamedTuple):
    """The state of the injected orders in one path.

    Attributes:
      order: int32, the current or next order; I if there is none.
      left: int32, remaining lots of the current order; 0 before it is due.
      writer: int32, n + 1 if the event being generated belongs to order n; it then has the next four fields. 0 if the
        model writes it.
      kind, side, distance, size: as in `Spelling`.
      filled_I: int32, lots of each order, see `Outcome`; likewise rested_I and dropped_I. Entry I means "no order".
    """

    order: jax.Array
    left: jax.Array
    writer: jax.Array
    kind: jax.Array
    side: jax.Array
    distance: jax.Array
    size: jax.Array
    filled_I: jax.Array
    rested_I: jax.Array
    dropped_I: jax.Array

    @property
    def writing(self) -> jax.Array:
        """Return whether the event being generated belongs to an order, bool."""
        return self.writer > 0


def nothing_own(orders: int = 0) -> Own:
    """Return the state of a path before the first of `orders` orders."""
    zero, none_I = jnp.int32(0), jnp.zeros(orders + 1, jnp.int32)
    return Own(zero, zero, zero, zero, zero, zero, zero, none_I, none_I, none_I)


def order_table(orders: Sequence[Order], *, instrument: Instrument, origin: int, events: int) -> OrderTable:
    """Return the orders as arrays for the device.

    Args:
      orders: the orders in the sequence in which they are sent; each waits for the previous ones.
      instrument: the instrument, for its tick and day.
      origin: origin of the live book's prices, in quanta.
      events: number of events in a path.

    Raises:
      InputError: an order is invalid, is due only after the end of every path, or cannot be represented on the device.
    """
    check_orders(orders, instrument, origin=origin, events=events)
    by_time = [order.at_ns is not None for order in orders]
    # An order due before the day is due at once.
    since = [max((order.at_ns or 0) - instrument.midnight_ns(), 0) for order in orders]
    limits = [
        order.side * MOST_DISTANCE if order.price is None else (order.price - origin) // instrument.tick
        for order in orders
    ]
    columns = {
        "side_I": [0 if order.side == BID else 1 for order in orders],
        "size_I": [order.size for order in orders],
        "limit_I": limits,
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
    """Return a table without orders."""
    zero, never = jnp.zeros(1, jnp.int32), jnp.full(1, NEVER, jnp.int32)
    return OrderTable(zero, zero, zero, jnp.zeros(1, bool), never, Clock(never, never))


def _with_none(column: Sequence[int | np.integer], none: int | np.integer) -> jax.Array:
    return jnp.asarray(np.append(np.asarray(column, np.int64), none), jnp.int32)


def begin(own: Own, orders: OrderTable, book: LiveBook, *, events: jax.Array, last: jax.Array, clock: Clock) -> Own:
    """Decide at the start of an event whether it belongs to an order, and determine its fields.

    Args:
      own: the state of the orders in one path.
      orders: all orders.
      book: the book after the previous event.
      events: number of events that the path has.
      last: number of events that the path is to have; after them, nothing is written or accounted for.
      clock: the time of the previous event.
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
    _, queue = queue_at(book, 1 - side, best)
    rests = orders.rests_I[own.order] & has_room(book, side, sign * limit, left)
    size = jnp.where(crosses, jnp.minimum(queue.lots_Q[0], left), left)
    under_way = (left > 0) & (events < last)
    writing = under_way & (crosses | rests)
    fate = (under_way & crosses, writing & ~crosses, under_way & ~writing)
    lots_I = (own.filled_I, own.rested_I, own.dropped_I)
    filled_I, rested_I, dropped_I = (
        before_I.at[own.order].add(jnp.where(shared, size, 0)) for before_I, shared in zip(lots_I, fate, strict=True)
    )
    left = jnp.where(under_way, left - size, own.left)
    over = under_way & (left == 0)
    return Own(
        order=own.order + over,
        left=left,
        writer=jnp.where(writing, own.order + 1, 0),
        kind=jnp.where(crosses, Kind.EXECUTE, Kind.ADD).astype(jnp.int32),
        side=jnp.where(crosses, 1 - side, side),
        distance=jnp.where(crosses, 0, sign * (limit - reference(book, side))),
        size=size,
        filled_I=filled_I,
        rested_I=rested_I,
        dropped_I=dropped_I,
    )


def outcomes(orders: Sequence[Order], own: Own, book: LiveBook, *, fills: Sequence[Sequence[Fill]]) -> list[Outcome]:
    """Return the outcome of each order at the end of one path.

    Args:
      orders: all orders.
      own: the state of the orders in the path, as host arrays.
      book: the live book at its end, as host arrays.
      fills: the executions of each order.
    """
    left = [int(book.queue_2PQ[book.owner_2PQ == number + 1].sum()) for number in range(len(orders))]
    lots = zip(own.filled_I.tolist(), own.rested_I.tolist(), own.dropped_I.tolist(), strict=True)
    sent = Sent(int(own.order), int(own.left), list(lots)[: len(orders)], closed=int(book.closed), resting=left)
    return outcomes_of(orders, sent, fills=fills)


def spell(own: Own, spelling: Spelling, field: jax.Array, *, begins: jax.Array) -> jax.Array:
    """Return the next token of an event that belongs to an order.

    Args:
      own: the event.
      spelling: the part of the event written so far.
      field: the grammar's current field (`Grammar.state_field`).
      begins: whether the next token is the head of the event.
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
