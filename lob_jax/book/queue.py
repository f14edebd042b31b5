"""The orders at the price of an event that is being spelled, as a model reads them.

They are found on the host by a walk over tokens, see `lob_jax.tokens.sets.walk`, and on the device in the live book,
see `lob_jax.generation.device.queues`.
"""

import enum


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


QUEUE_NUMBERS = len(QueueColumn)
BACKS, FRONTS = 3, 2
