"""Columns of a flow that several scores share: mid, spread, gaps, first messages."""

import numpy as np

from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow

BID, ASK = 0, 1  # sides in the book's columns
REMOVALS = (Kind.CANCEL, Kind.DELETE)


def touch(flow: Flow) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return best bid, best ask and their sizes after each message, int64 [E] each; 0 for an empty side."""
    price, size = flow.book_price[:, :, 0], flow.book_size[:, :, 0]
    return price[:, BID], price[:, ASK], size[:, BID], size[:, ASK]


def two_sided(flow: Flow) -> np.ndarray:
    """Return whether both sides have orders after each message, bool [E]."""
    return np.all(flow.book_size[:, :, 0] > 0, axis=1)


def spread(flow: Flow) -> np.ndarray:
    """Return best ask - best bid after each message, price quanta, float64 [E]; NaN if a side is empty."""
    bid, ask, _, _ = touch(flow)
    return np.where(two_sided(flow), ask - bid, np.nan)


def mid(flow: Flow) -> np.ndarray:
    """Return the mid price after each message, price quanta, float64 [E]; NaN if a side is empty."""
    bid, ask, _, _ = touch(flow)
    return np.where(two_sided(flow), (ask + bid) / 2, np.nan)


def is_first(flow: Flow) -> np.ndarray:
    """Return whether each message is the first one of its sequence, bool [E]."""
    first = np.zeros(flow.edges[-1], np.bool_)
    first[flow.edges[:-1][np.diff(flow.edges) > 0]] = True
    return first


def place(flow: Flow) -> np.ndarray:
    """Return the number of messages before each one in its sequence, int64 [E]."""
    return np.arange(flow.edges[-1]) - np.repeat(flow.edges[:-1], np.diff(flow.edges))


def earlier(flow: Flow, column: np.ndarray, messages: int) -> np.ndarray:
    """Return a column as it was some messages before in the same sequence, float64 [E]; NaN where there are fewer."""
    result = np.full(len(column), np.nan)
    result[messages:] = column[: len(column) - messages]
    result[place(flow) < messages] = np.nan
    return result
