"""The orders at the price of an event that is being spelled, and the last sizes on its side, as a model reads them.

They are found on the host by a walk over tokens, see `lob_jax.tokens.sets.walk`, and on the device in the live book,
see `lob_jax.generation.device.queues`.
"""

import enum

import numpy as np

from lob_jax.events.schema import Kind


class QueueColumn(enum.IntEnum):
    """What is said of a queue, in order; each number by its leading code (`number_code`), 0 where there is none."""

    ORDERS = 0  # number of orders
    LOTS = 1  # of all orders
    BACK_1 = 2  # lots of the newest order, and of those ahead of it
    BACK_2 = 3
    BACK_3 = 4
    FRONT_1 = 5  # lots of the order that an execution reaches first, and of the one behind it
    FRONT_2 = 6
    DIVISIBLE = 7  # lots of the largest anonymous order, of which a removal may take any part
    ADDED = 8  # size of the last ADD of this side
    REMOVED = 9  # of its last CANCEL or DELETE
    TRADED = 10  # of its last execution, visible or hidden
    LAST = 11  # of the last event of either side


QUEUE_NUMBERS = len(QueueColumn)
BACKS, FRONTS = 3, 2
RECENT_SIZES = QUEUE_NUMBERS - QueueColumn.ADDED
MOST_RECENT = 2**31 - 1  # a size is remembered as at most this, which the device can hold
# The column of RECENT_SIZES that the size of an event of a kind goes to, besides the last; none for CROSS and CONTROL.
RECENT_OF_KIND = np.full(len(Kind) + 1, -1, np.int32)
RECENT_OF_KIND[[Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE, Kind.EXECUTE_HIDDEN]] = [0, 1, 1, 2, 2]


def recent_sizes(kind: np.ndarray, side: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the last sizes of each side after E events, int32 [2, RECENT_SIZES], 0 where there was none.

    Args:
      kind: int64 [E], a `Kind` each.
      side: int64 [E], +1 bid, -1 ask, 0 for CONTROL.
      size: int64 [E], lots.
    """
    sizes, size = np.zeros((2, RECENT_SIZES), np.int32), np.minimum(size, MOST_RECENT)
    has_side = np.flatnonzero(side)
    sizes[:, -1] = size[has_side[-1]] if len(has_side) else 0
    for s in range(2):
        for column in range(RECENT_SIZES - 1):
            rows = np.flatnonzero((side == 1 - 2 * s) & (RECENT_OF_KIND[kind] == column))
            sizes[s, column] = size[rows[-1]] if len(rows) else 0
    return sizes
