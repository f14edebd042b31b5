"""The prices that the next event may well name: the levels of each side, what rests there, and its last events' prices.

They are found on the host by a walk over tokens, see `lob_jax.tokens.sets.walk`, and on the device in the live book,
see `lob_jax.generation.device.anchors`.
"""

import enum

import numpy as np

from lob_jax.events.schema import Kind


class AnchorColumn(enum.IntEnum):
    """The columns of one side, in order; of those from one name to the next, the first is named.

    Prices are given by one more than the code that an event of the side would have there, numbers by their leading
    codes (`number_code`); 0 stands for none.
    """

    LEVEL = 0  # its levels, from the best
    AHEAD = 10  # a tick better than its second best level, its third, ...
    ADDED = 15  # where its last ADDs were, from the newest
    REMOVED = 21  # its last CANCEL or DELETE
    TRADED = 22  # its last visible execution
    HIDDEN = 23  # its last hidden execution, as the price of another one
    AT_TRADE = 24  # the price of its last visible execution, as that of a hidden one
    MIDDLE = 25  # halfway between the best prices of both sides, rounded to this side, as that of a hidden one
    ORDERS = 26  # numbers of orders of its levels, from the best
    LOTS = 36  # lots of its levels


LEVELS, AHEADS = AnchorColumn.AHEAD - AnchorColumn.LEVEL, AnchorColumn.ADDED - AnchorColumn.AHEAD
SIDE_ANCHORS = AnchorColumn.LOTS + LEVELS
ANCHORS = 2 * SIDE_ANCHORS  # those of bids, then those of asks
REMEMBERED = AnchorColumn.AT_TRADE - AnchorColumn.ADDED  # prices that a side remembers: of the columns in between
# Which of them those of the events of a kind are, by kind: the first one, and the one after the last.
_MEMORY = {
    (Kind.ADD,): (AnchorColumn.ADDED, AnchorColumn.REMOVED),
    (Kind.CANCEL, Kind.DELETE): (AnchorColumn.REMOVED, AnchorColumn.TRADED),
    (Kind.EXECUTE,): (AnchorColumn.TRADED, AnchorColumn.HIDDEN),
    (Kind.EXECUTE_HIDDEN,): (AnchorColumn.HIDDEN, AnchorColumn.AT_TRADE),
}
MEMORY_OF_KIND = np.zeros((len(Kind) + 1, 2), np.int32)  # 0 to 0 for CROSS and CONTROL, which are not remembered
for _kinds, _columns in _MEMORY.items():
    MEMORY_OF_KIND[list(_kinds)] = np.array(_columns) - AnchorColumn.ADDED
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
        for kinds in _MEMORY:
            first, end = MEMORY_OF_KIND[kinds[0]]
            last = price[(side == 1 - 2 * s) & np.isin(kind, kinds)][: first - end - 1 : -1]
            prices[s, first : first + len(last)] = last
    return prices
