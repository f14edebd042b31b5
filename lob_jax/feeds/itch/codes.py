"""What messages and their faults are called: the sizes of message types, the faults, and the columns of a reader."""

import enum

import numpy as np

from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.feeds.reading.faults import FaultCode

SIZES = {
    **{"S": 12, "R": 39, "H": 25, "h": 21, "A": 36, "F": 40, "E": 31, "C": 36, "X": 23, "D": 19, "U": 35, "P": 44},
    **{"Q": 40, "B": 19, "I": 50, "N": 20, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35, "O": 48},
}
SIZE_OF = np.array([SIZES.get(chr(byte), 0) for byte in range(256)], np.int64)
STOCKS = 1 << 16  # locate codes
UNNAMED, UNWANTED = -2, -1  # instead of an instrument: no directory entry; not requested
ALL = -1  # in the column `instrument`: the event concerns every instrument


class Outcome(FaultCode):
    """Reasons to leave the loop: what the caller must handle, and the faults of the current message."""

    FINE = 0  # a message without fault; of the loop: no complete message is left
    DIRECTORY = 1  # a directory message, whose stock must be registered
    END_MARK = 2  # a message of length 0
    TABLE_FULL = 3
    ROWS_FULL = 4
    BAD_TYPE = 5, "a message of an unknown type", "", "one of " + " ".join(SIZES)
    BAD_LENGTH = 6, "a message whose length is not that of its type", "", "the length of its type"
    BAD_CLOCK = 7, "a time beyond the day", "", f"less than {NS_PER_DAY} ns after midnight"
    NO_STOCK = 8, "a stock locate code without a directory message", "", "a code from an earlier directory message"
    OTHER_STOCK = 9, "a stock that does not match its locate code", "", "the stock named in the directory"
    BAD_LETTER = 10, "an unknown letter in a field", "", "one of the letters of the specification"
    NO_SHARES = 11, "an order, a removal or a trade of 0 shares", "", "1 share or more"
    NO_PRICE = 12, "an order or a trade without a price", "", "a price above 0"
    OFF_TICK = 13, "a price between ticks", "", "a multiple of the tick"
    IN_USE = 14, "an order reference that is already in use", "", "a new reference"
    NO_ORDER = 15, "an order reference that is not in the book", "", "the reference of a live order of the same stock"
    TOO_MANY = 16, "a removal of more shares than the order has left", "", "at most the remaining shares"


class At(enum.IntEnum):
    """Indices of `Reader.at`."""

    POSITION = 0  # position of the next message
    MESSAGE = 1  # position of the last message
    NUMBER = 2  # number of the last message, from 1
    ROWS = 3  # number of events in `rows`
    WAS = 4  # the value found, after a fault


class Tally(enum.IntEnum):
    """Columns of `Reader.tally`: numbers of messages of an instrument."""

    MADE = 0  # messages that became events
    NON_PRINTABLE = 1
    OTHER_PRICE = 2  # executed at another price than the order's
    EMPTY_CROSS = 3
