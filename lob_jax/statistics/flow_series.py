"""Series of a flow, one value per message: best quotes, mid, spread, gaps, signs, places; and pairs of messages."""

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


def mid_ticks(flow: Flow) -> np.ndarray:
    """Return the mid after each message in ticks, float64 [E], NaN where a side is empty."""
    return mid(flow) / flow.instrument.tick


def spread_ticks(flow: Flow) -> np.ndarray:
    """Return best ask - best bid after each message in ticks, float64 [E], NaN where a side is empty."""
    return spread(flow) / flow.instrument.tick


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


def pairs(sequence: np.ndarray, lag: int) -> np.ndarray:
    """Return the rows i for which rows i and i + lag belong to one sequence, int64.

    Args:
      sequence: int64 [N], ascending.
      lag: at least 1.
    """
    return np.flatnonzero(sequence[lag:] == sequence[:-lag]) if lag < len(sequence) else np.zeros(0, np.int64)


def moves(flow: Flow, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Return moves of the mid over `horizon` messages.

    Returns:
      (move float64 [N] in ticks, NaN where a side is empty at either end; row int64 [N], the last message of each).
    """
    rows, ticks = pairs(flow.sequence(), horizon), mid_ticks(flow)
    return ticks[rows + horizon] - ticks[rows], rows + horizon


def gaps_ns(flow: Flow) -> tuple[np.ndarray, np.ndarray]:
    """Return the times since the preceding messages of the sequences, at least 0.

    Returns:
      (gap int64 [N], row int64 [N], the later message).
    """
    rows = pairs(flow.sequence(), 1)
    return np.maximum(flow.time_ns[rows + 1] - flow.time_ns[rows], 0), rows + 1


def pressure(flow: Flow) -> np.ndarray:
    """Return the direction in which each message presses the price, int8 [E]: its side if it adds, else the opposite.

    The sign of an event in Eisler, Bouchaud and Kockelkoren, 2012; of an execution, it is the aggressor's side.
    """
    return np.where(flow.kind == Kind.ADD, flow.side, -flow.side).astype(np.int8)


def level_size(flow: Flow, rows: np.ndarray, side: np.ndarray, price: np.ndarray) -> np.ndarray:
    """Return the size that the book after some messages shows at given sides and prices, int64 [N]; 0 if none.

    Args:
      flow: the flow.
      rows: int64 [N], the messages.
      side: [N], +1 bid or -1 ask.
      price: int64 [N], price quanta.
    """
    index = np.where(side > 0, 0, 1)
    shown, size = flow.book_price[rows, index], flow.book_size[rows, index]
    return np.where((shown == price[:, None]) & (size > 0), size, 0).sum(axis=1)


def part_of_sequence(flow: Flow, parts: int) -> np.ndarray:
    """Return which of `parts` equal parts of its sequence each message lies in, int64 [E], from 0."""
    lengths = np.diff(flow.edges)
    return place(flow) * parts // np.repeat(lengths, lengths)
