"""Why an event cannot be taken: compiled functions that compare it with the book before it."""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import best_price, is_empty, level_of, reference
from lob_jax.book.loops import EventColumns
from lob_jax.book.orders import (
    AHEAD,
    ANONYMOUS,
    BACK,
    END,
    FIRST,
    ID,
    MARK,
    NOBODY,
    PRICE,
    SIZE,
    Book,
    named_slot,
    place_of,
)
from lob_jax.events.halts import OPEN
from lob_jax.events.schema import ANONYMOUS_ID, BID, Code, Kind
from lob_jax.jit import inner
from lob_jax.tokens.compiled import MOST, MOST_DISTANCE, MOST_SIZE, unit_of


class Fault(enum.IntEnum):
    """What is wrong with an event; the messages are in `lob_jax.serving.market.errors`."""

    FINE = 0
    TIME_BACK = 1  # before the previous event
    OTHER_DAY = 2  # beyond the trading day and the one after it
    BAD_KIND = 3
    BAD_CODE = 4  # a code that its kind does not have
    BAD_CONTROL = 5  # a CONTROL event with more than a code
    BAD_SIDE = 6
    NO_SIZE = 7
    BIG_SIZE = 8
    BAD_PRICE = 9  # too large for an integer
    LOW_PRICE = 10  # below the lowest valid one
    OFF_TICK = 11
    FAR_PRICE = 12  # its distance from the reference has too many digits
    BAD_ID = 13  # a reserved id
    KNOWN_ORDER = 14  # an order is added whose id another one has
    CROSSING = 15  # an order is added that reaches the opposite best price
    NO_LEVEL = 16  # nothing rests at the price of a removal
    UNKNOWN_ORDER = 17  # the order does not rest at its price
    BEYOND_ORDER = 18  # more than the order holds
    BEYOND_LEVEL = 19  # more than the level holds
    WHOLE_CANCEL = 20  # all of an order, or of a level, which is a deletion
    PART_DELETE = 21  # a part of an order, which is a cancellation


# As plain integers: Numba would compile functions again for arguments that are members of an enum.
(
    FINE, TIME_BACK, OTHER_DAY, BAD_KIND, BAD_CODE, BAD_CONTROL, BAD_SIDE, NO_SIZE, BIG_SIZE, BAD_PRICE, LOW_PRICE,
    OFF_TICK, FAR_PRICE, BAD_ID, KNOWN_ORDER, CROSSING, NO_LEVEL, UNKNOWN_ORDER, BEYOND_ORDER, BEYOND_LEVEL,
    WHOLE_CANCEL, PART_DELETE,
) = (int(fault) for fault in Fault)  # fmt: skip
_ADD, _CANCEL, _DELETE, _EXECUTE = int(Kind.ADD), int(Kind.CANCEL), int(Kind.DELETE), int(Kind.EXECUTE)
_CROSS, _CONTROL = int(Kind.CROSS), int(Kind.CONTROL)
_FIRST_CODE, _LAST_CODE = int(Code.HALT), int(Code.FEED_GAP)
_ANONYMOUS_ID = ANONYMOUS_ID - 2**64  # its bits as an int64; those of larger ids follow it up to -1


class Limits(NamedTuple):
    """What an event is compared with besides the book.

    Attributes:
      tick: price quanta per tick.
      signed: 1 if prices may be zero or negative, else 0.
      last_ns: the last time that an event may have, UNIX ns.
      may_cross: 1 if an ADD may reach the opposite best price although nothing is closed, else 0.
    """

    tick: int
    signed: int
    last_ns: int
    may_cross: int


@inner
def fault_of(book: Book, events: EventColumns, i: int, time_ns: int, clock_ns: int, closed: int, limits: Limits) -> int:
    """Return why event i cannot be taken, FINE if it can.

    Args:
      book: the book before it.
      events: the columns.
      i: the event.
      time_ns: its time.
      clock_ns: the time of the event before it.
      closed: what is closed, see `lob_jax.events.halts`.
      limits: what else it is compared with.
    """
    if time_ns < clock_ns:
        return TIME_BACK
    if time_ns > limits.last_ns:
        return OTHER_DAY
    kind, code = np.int64(events.kind[i]), np.int64(events.code[i])
    side, price, size = np.int64(events.side[i]), events.price[i], events.size[i]
    if kind == _CONTROL:
        if not _FIRST_CODE <= code <= _LAST_CODE:
            return BAD_CODE
        return BAD_CONTROL if side != 0 or price != 0 or size != 0 else FINE
    fault = _fault_of_numbers(kind, code, side, price, size, limits)
    if fault == FINE:
        fault = _fault_of_distance(book, kind, side, price, limits)
    if fault != FINE or kind > _EXECUTE:
        return fault
    order_id, s = np.int64(events.order_id[i]), 0 if side == BID else 1
    if kind == _ADD:
        return _fault_of_add(book, s, price, order_id, limits.may_cross or closed > OPEN)
    return _fault_of_removal(book, s, kind, price, size, order_id)


@inner
def _fault_of_numbers(kind: int, code: int, side: int, price: int, size: int, limits: Limits) -> int:
    """Return what is wrong with the numbers of an event other than CONTROL by themselves."""
    if not _ADD <= kind <= _CROSS:
        return BAD_KIND
    if code != 0:
        return BAD_CODE
    if side != 1 and side != -1:
        return BAD_SIDE
    if size < 1:
        return NO_SIZE
    if size > MOST_SIZE:
        return BIG_SIZE
    if abs(price) >= MOST:
        return BAD_PRICE
    unit = unit_of(kind, limits.tick)
    if price < unit and not limits.signed:
        return LOW_PRICE
    return OFF_TICK if price % unit != 0 else FINE


@inner
def _fault_of_distance(book: Book, kind: int, side: int, price: int, limits: Limits) -> int:
    """Return FAR_PRICE if tokens cannot say how far a price is from its reference."""
    far = abs(reference(book, side) - price) // unit_of(kind, limits.tick)
    return FAR_PRICE if far > MOST_DISTANCE else FINE


@inner
def _fault_of_add(book: Book, s: int, price: int, order_id: int, may_cross: bool) -> int:
    if _ANONYMOUS_ID <= order_id < 0:
        return BAD_ID
    if order_id != 0 and not book.pooled and book.names[place_of(book, order_id), 0] != 0:
        return KNOWN_ORDER
    sign = 1 - 2 * s
    if not may_cross and not is_empty(book, 1 - s) and sign * price >= sign * best_price(book, 1 - s):
        return CROSSING
    return FINE


@inner
def _fault_of_removal(book: Book, s: int, kind: int, price: int, size: int, order_id: int) -> int:
    row = level_of(book, s, price)
    if row < 0:
        return FINE if _is_out_of_view(book, s, price) else NO_LEVEL
    names_one = order_id != 0 and order_id != _ANONYMOUS_ID and not book.pooled
    slot = named_slot(book, s, price, order_id) if names_one else NOBODY
    if slot != NOBODY and not book.orders[slot, MARK] & ANONYMOUS:
        held = book.orders[slot, SIZE]
        if size > held:
            return BEYOND_ORDER
        if kind == _CANCEL:
            return WHOLE_CANCEL if size == held else FINE
        return PART_DELETE if kind == _DELETE and size < held else FINE
    if slot == NOBODY and names_one and not _may_hold_it(book, s, row):
        return UNKNOWN_ORDER
    held = book.levels[s, row, SIZE]
    if size > held:
        return BEYOND_LEVEL
    return WHOLE_CANCEL if kind == _CANCEL and size == held else FINE


@inner
def _is_out_of_view(book: Book, s: int, price: int) -> bool:
    """Return whether a price is worse than the last level of a full window: what rests there is not known."""
    first = book.side[s, FIRST]
    full = book.window > 0 and book.side[s, END] - first >= book.window
    sign = 1 - 2 * s
    return full and sign * price < sign * book.levels[s, first, PRICE]


@inner
def _may_hold_it(book: Book, s: int, row: int) -> bool:
    """Return whether an order with an id that is not in the book may rest at a level: if one there has no id."""
    slot = book.levels[s, row, BACK]
    while slot != NOBODY:
        if book.orders[slot, ID] == 0 or book.orders[slot, MARK] & ANONYMOUS:
            return True
        slot = book.orders[slot, AHEAD]
    return False
