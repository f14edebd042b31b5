"""What the networks read of each message, in arrays of the same number of messages per sequence."""

import numpy as np

from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import mid_ticks, place

STEPS = 480  # messages that are read


def sequence_inputs(flow: Flow, *, steps: int = STEPS) -> np.ndarray:
    """Return what LOB-Bench's discriminator reads, float32 [S, steps, 3]; shorter sequences end in zeros.

    The move of the mid in ticks and the size added (positive) or taken (negative) are signed logarithms. The level is
    that of the price on its side in the book after the message, or before it if it is gone: from 1 at the best,
    positive on the bid, 0 if the book shows none.
    """
    at, mid = place(flow), mid_ticks(flow)
    move = np.diff(mid, prepend=mid[:1])
    move[(at == 0) | ~np.isfinite(move)] = 0
    rows = np.arange(len(flow.kind))
    level = np.where((after := _level(flow, rows)) > 0, after, _level(flow, np.maximum(rows - (at > 0), 0)))
    size = np.where(flow.kind == Kind.ADD, 1, -1) * np.log1p(flow.size)
    columns = np.stack([np.sign(move) * np.log1p(np.abs(move)), level * flow.side, size], axis=1)
    return in_steps(flow, columns, steps=steps).astype(np.float32)


def _level(flow: Flow, rows: np.ndarray) -> np.ndarray:
    side = np.where(flow.side > 0, 0, 1)
    found = (flow.book_price[rows, side] == flow.price[:, None]) & (flow.book_size[rows, side] > 0)
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)


def in_steps(flow: Flow, columns: np.ndarray, *, steps: int, fill: float = 0.0) -> np.ndarray:
    """Return columns of messages, [E, C], by sequence and place, float64 [S, steps, C].

    Args:
      flow: the flow.
      columns: of its messages.
      steps: messages of each sequence; later ones are left out.
      fill: what stands where a sequence has ended.
    """
    result = np.full((len(flow), steps, columns.shape[1]), fill)
    at, sequence = place(flow), flow.sequence()
    kept = at < steps
    result[sequence[kept], at[kept]] = columns[kept]
    return result
