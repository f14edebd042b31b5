"""What last happened at the price and on the side of an event that is being spelled, as a model reads it.

It is found on the host by a walk over tokens, see `lob_jax.tokens.sets.price_memory`, and on the device from the past
events of a path, see `lob_jax.generation.device.price_memory`.
"""

import enum

import numpy as np

from lob_jax.book.queue import MOST_RECENT
from lob_jax.events.schema import BID, Kind


class PriceMemoryColumn(enum.IntEnum):
    """What is said of a price, in order; each number by its leading code (`number_code`), 0 where there is none."""

    ADDED = 0  # size of the last ADD there
    REMOVED = 1  # of the last CANCEL, DELETE or EXECUTE there
    KIND = 2  # of the last of these events, a `Kind`
    SINCE = 3  # which event before this one that was: 1 for the one just before


class PastColumn(enum.IntEnum):
    """The rows of past events."""

    ACTION = 0  # 2 * kind + side (0 bid, 1 ask); 0 for an event that leaves no trace at a price, and for none
    PRICE = 1  # price quanta
    SIZE = 2  # lots, at most MOST_RECENT


PRICE_MEMORIES = len(PriceMemoryColumn)
PAST_EVENTS = 256  # that are remembered, whatever their kind
LAST_KIND = int(Kind.EXECUTE)  # events of later kinds leave no trace: they change no level


def no_past() -> np.ndarray:
    """Return the past before a first event, int64 [3, PAST_EVENTS]."""
    return np.zeros((len(PastColumn), PAST_EVENTS), np.int64)


def past_events(kind: np.ndarray, side: np.ndarray, price: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return what is remembered after E events, int64 [3, PAST_EVENTS] by `PastColumn`, the newest event first.

    Args:
      kind: int [E], a `Kind` each.
      side: int [E], +1 bid, -1 ask, 0 for CONTROL.
      price: int64 [E], price quanta.
      size: int64 [E], lots.
    """
    past, newest = no_past(), slice(None, -PAST_EVENTS - 1, -1)
    kind, side, price, size = (np.asarray(column, np.int64)[newest] for column in (kind, side, price, size))
    stays = (kind > 0) & (kind <= LAST_KIND)
    columns = (2 * kind + (side != BID), price, np.minimum(size, MOST_RECENT))
    past[:, : len(kind)] = np.where(stays, columns, 0)
    return past
