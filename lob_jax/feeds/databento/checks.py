"""The faults of DBN's MBO records, both in isolation and relative to the book."""

import numpy as np

from lob_jax.events.schema import ASK, BID
from lob_jax.feeds.reading.faults import FaultCode
from lob_jax.jit import inner

LAST, TOP_OF_BOOK, SNAPSHOT, BY_PRICE, BAD_RECEIVE, BAD_BOOK = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04  # record flags
UNDEF_PRICE, UNDEF_SIZE = 2**63 - 1, 2**32 - 1
MOST_PRICE = 2**60  # differences and twice a price still fit into an int64
A, C, M, R, T, F, N, B = (ord(letter) for letter in "ACMRTFNB")


class Fault(FaultCode):
    """The faults of a record: description, field, expected value."""

    SOUND = 0
    BAD_ACTION = 1, "an unknown action", "action", "one of A, C, M, R, T, F, N"
    BAD_SIDE = 2, "an unknown side", "side", "A, B or N"
    NO_ORDERS = 3, "a record of a venue that shows levels, not orders", "flags", "neither TOB nor MBP"
    NO_TIME = 4, "a record without a time", "ts_event", "ns since 1970"
    NO_SIDE = 5, "an order without a side", "side", "A or B"
    NO_PRICE = 6, "a record without a price", "price", "a price"
    FAR_PRICE = 7, "a price out of range", "price", f"{-MOST_PRICE} to {MOST_PRICE}"
    NO_SIZE = 8, "a record without a size", "size", f"1 to {UNDEF_SIZE - 1}"
    KNOWN_ORDER = 9, "an order id that is already in the book", "order_id", "a new order id"
    UNKNOWN_CANCEL = 10, "a cancel of an order that is not in the book", "order_id", "an order in the book"
    OTHER_SIDE = 11, "a side other than that of the order in the book", "side", "the order's side"
    OTHER_PRICE = 12, "a price other than that of the order in the book", "price", "the order's price"
    TOO_MUCH = 13, "a cancel of more than the order's size", "size", "at most the order's size"
    BAD_SNAPSHOT = 14, "a snapshot that does more than add orders", "action", "R, A or N"


@inner
def fault_of(row: np.ndarray) -> int:
    """Return the fault of a record in isolation, SOUND if it has none."""
    action, side = row.action, row.side
    about_order = action in (A, C, M)
    if not (about_order or action in (R, T, F, N)):
        return Fault.BAD_ACTION
    if side != A and side != B and side != N:
        return Fault.BAD_SIDE
    if row.flags & (TOP_OF_BOOK | BY_PRICE):
        return Fault.NO_ORDERS
    if row.ts_event < 0:
        return Fault.NO_TIME
    if action in (R, N):
        return Fault.SOUND
    if about_order and side == N:
        return Fault.NO_SIDE
    if row.price == UNDEF_PRICE:
        return Fault.NO_PRICE
    if row.price > MOST_PRICE or row.price < -MOST_PRICE:
        return Fault.FAR_PRICE
    if row.size == 0 or row.size == UNDEF_SIZE:
        return Fault.NO_SIZE
    return Fault.SOUND


@inner
def side_of(row: np.ndarray) -> int:
    """Return a record's side, 0 if it has none."""
    return BID if row.side == B else ASK if row.side == A else 0
