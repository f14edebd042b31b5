"""Series of a flow, one value per message: mid, spread, size at the best, gaps and signs; and pairs of messages."""

import numpy as np

from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow


def two_sided(flow: Flow) -> np.ndarray:
    """Return whether the book after each message has orders on both sides, bool [E]."""
    return (flow.book_size[:, 0, 0] > 0) & (flow.book_size[:, 1, 0] > 0)


def mid2(flow: Flow) -> np.ndarray:
    """Return best bid + best ask after each message in price quanta, int64 [E]; only of use where `two_sided`."""
    return flow.book_price[:, :, 0].sum(axis=1)


def mid_ticks(flow: Flow) -> np.ndarray:
    """Return the mid after each message in ticks, float64 [E], NaN where a side is empty."""
    return np.where(two_sided(flow), mid2(flow) / (2 * flow.instrument.tick), np.nan)


def spread_ticks(flow: Flow) -> np.ndarray:
    """Return best ask - best bid after each message in ticks, float64 [E], NaN where a side is empty."""
    width = (flow.book_price[:, 1, 0] - flow.book_price[:, 0, 0]) / flow.instrument.tick
    return np.where(two_sided(flow), width, np.nan)


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
    rows, mid = pairs(flow.sequence(), horizon), mid_ticks(flow)
    return mid[rows + horizon] - mid[rows], rows + horizon


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
    place = np.arange(flow.edges[-1]) - np.repeat(flow.edges[:-1], lengths)
    return place * parts // np.repeat(lengths, lengths)
