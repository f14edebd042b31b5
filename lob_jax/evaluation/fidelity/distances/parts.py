"""Parts of flows: sequences cut to one length, blocks of messages by their distance from the start, fewer levels."""

import dataclasses

import numpy as np

from lob_jax.statistics.flow import COLUMNS, Flow


def cropped(flow: Flow, messages: int) -> Flow:
    """Return a flow with at most so many messages per sequence, the first ones."""
    return _cut(flow, np.zeros(len(flow), np.int64), np.minimum(np.diff(flow.edges), messages))


def block(flow: Flow, number: int, messages: int) -> Flow:
    """Return block number `number`, from 0, of each sequence; those that end before it does become empty."""
    first = np.full(len(flow), number * messages)
    complete = np.diff(flow.edges) >= first + messages
    return _cut(flow, np.where(complete, first, 0), np.where(complete, messages, 0))


def with_levels(flow: Flow, levels: int) -> Flow:
    """Return a flow whose book shows the best `levels` levels per side, of those that it has."""
    return dataclasses.replace(flow, book_price=flow.book_price[:, :, :levels], book_size=flow.book_size[:, :, :levels])


def common_length(*flows: Flow) -> int:
    """Return the shortest of the flows' median numbers of messages per sequence, 0 if a flow has no sequence."""
    return min(int(np.median(np.diff(flow.edges))) if len(flow) else 0 for flow in flows)


def _cut(flow: Flow, first: np.ndarray, lengths: np.ndarray) -> Flow:
    """Return `lengths[s]` messages of each sequence, from message `first[s]` on."""
    edges = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.arange(edges[-1]) + np.repeat(flow.edges[:-1] + first - edges[:-1], lengths)
    return dataclasses.replace(flow, edges=edges, **{name: getattr(flow, name)[rows] for name in COLUMNS})
