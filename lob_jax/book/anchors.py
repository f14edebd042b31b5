"""The prices that the next event may well name: the levels of each side, and where its last events were.

They are found on the host by a walk over tokens, see `lob_jax.tokens.sets.walk`, and on the device in the live book,
see `lob_jax.generation.device.anchors`.
"""

import enum

import numpy as np

from lob_jax.events.schema import Kind


class AnchorColumn(enum.IntEnum):
    """The prices of one side, in order; where several columns belong to one name, the first."""

    LEVEL = 0  # LEVELS columns: its levels, from the best
    AHEAD = 10  # AHEADS columns: a tick better than its second best level, its third, ...
    ADDED = 15  # where its last ADD was
    REMOVED = 16  # its last CANCEL or DELETE
    TRADED = 17  # its last visible execution
    HIDDEN = 18  # its last hidden execution, as the price of another one
    AT_TRADE = 19  # the price of its last visible execution, as that of a hidden one
    MIDDLE = 20  # halfway between the best prices of both sides, rounded to this side, as that of a hidden one


LEVELS, AHEADS = AnchorColumn.AHEAD - AnchorColumn.LEVEL, AnchorColumn.ADDED - AnchorColumn.AHEAD
SIDE_ANCHORS = AnchorColumn.MIDDLE + 1
ANCHORS = 2 * SIDE_ANCHORS  # those of bids, then those of asks
REMEMBERED = 4  # prices that a side remembers: of the columns ADDED, REMOVED, TRADED and HIDDEN
# Which of them the price of an event of a kind is remembered as; none for CROSS and CONTROL.
REMEMBERED_OF_KIND = np.full(len(Kind) + 1, -1, np.int32)
REMEMBERED_OF_KIND[[Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE, Kind.EXECUTE_HIDDEN]] = [0, 1, 1, 2, 3]
NO_PRICE = -(2**62)  # remembered before the first event of its kind


def remembered_prices(kind: np.ndarray, side: np.ndarray, price: np.ndarray) -> np.ndarray:
    """Return what is remembered of each side after E events, int64 [2, REMEMBERED], NO_PRICE where there was none.

    Args:
      kind: int [E], a `Kind` each.
      side: int [E], +1 bid, -1 ask.
      price: int64 [E], price quanta.
    """
    prices = np.full((2, REMEMBERED), NO_PRICE)
    for s in range(2):
        for column in range(REMEMBERED):
            rows = np.flatnonzero((side == 1 - 2 * s) & (REMEMBERED_OF_KIND[kind] == column))
            if len(rows):
                prices[s, column] = price[rows[-1]]
    return prices
