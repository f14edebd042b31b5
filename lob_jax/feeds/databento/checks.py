"""The faults of DBN's MBO records, both in isolation and relative to the book."""

import numpy as np

from lob_jax.events.schema import ASK, BID
from lob_jax.jit import inner

LAST, TOP_OF_BOOK, SNAPSHOT, BY_PRICE, BAD_RECEIVE, BAD_BOOK = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04  # record flags
UNDEF_PRICE, UNDEF_SIZE = 2**63 - 1, 2**32 - 1
MOST_PRICE = 2**60  # differences and twice a price still fit into an int64
A, C, M, R, T, F, N, B = (ord(letter) for letter in "ACMRTFNB")

# Each fault: description, field, expected value.
FAULTS = (
    ("", "", ""),
    ("an unknown action", "action", "one of A, C, M, R, T, F, N"),
    ("an unknown side", "side", "A, B or N"),
    ("a record of a venue that shows levels, not orders", "flags", "neither TOB nor MBP"),
    ("a record without a time", "ts_event", "ns since 1970"),
    ("an order without a side", "side", "A or B"),
    ("a record without a price", "price", "a price"),
    ("a price out of range", "price", f"{-MOST_PRICE} to {MOST_PRICE}"),
    ("a record without a size", "size", f"1 to {UNDEF_SIZE - 1}"),
    ("an order id that is already in the book", "order_id", "a new order id"),
    ("a cancel of an order that is not in the book", "order_id", "an order in the book"),
    ("a side other than that of the order in the book", "side", "the order's side"),
    ("a price other than that of the order in the book", "price", "the order's price"),
    ("a cancel of more than the order's size", "size", "at most the order's size"),
    ("a snapshot that does more than add orders", "action", "R, A or N"),
)
(
    SOUND,
    BAD_ACTION,
    BAD_SIDE,
    NO_ORDERS,
    NO_TIME,
    NO_SIDE,
    NO_PRICE,
    FAR_PRICE,
    NO_SIZE,
    KNOWN_ORDER,
    UNKNOWN_CANCEL,
    OTHER_SIDE,
    OTHER_PRICE,
    TOO_MUCH,
    BAD_SNAPSHOT,
) = range(len(FAULTS))


@inner
def fault_of(row: np.ndarray) -> int:
    """Return the fault of a record in isolation, SOUND if it has none."""
    action, side = row.action, row.side
    about_order = action in (A, C, M)
    if not (about_order or action in (R, T, F, N)):
        return BAD_ACTION
    if side != A and side != B and side != N:
        return BAD_SIDE
    if row.flags & (TOP_OF_BOOK | BY_PRICE):
        return NO_ORDERS
    if row.ts_event < 0:
        return NO_TIME
    if action in (R, N):
        return SOUND
    if about_order and side == N:
        return NO_SIDE
    if row.price == UNDEF_PRICE:
        return NO_PRICE
    if row.price > MOST_PRICE or row.price < -MOST_PRICE:
        return FAR_PRICE
    if row.size == 0 or row.size == UNDEF_SIZE:
        return NO_SIZE
    return SOUND


@inner
def side_of(row: np.ndarray) -> int:
    """Return a record's side, 0 if it has none."""
    return BID if row.side == B else ASK if row.side == A else 0
