"""Kind and side of a message given those of the message one or two before it."""

import functools

import numpy as np

from lob_jax.evaluation.fidelity.measure import Measure
from lob_jax.events.schema import BID
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import pairs
from lob_jax.statistics.flow_sums import ratio, shares

STATES = 12  # kind and side


def states(flow: Flow) -> np.ndarray:
    """Return the state of each message, int64 [E]: twice the kind less 1, plus 1 for an ask."""
    return 2 * (flow.kind.astype(np.int64) - 1) + (flow.side != BID)


def transition_counts(flow: Flow, step: int) -> np.ndarray:
    """Return how often each state follows each other `step` messages later, float64 [S, 144]."""
    state, sequence = states(flow), flow.sequence()
    row = pairs(sequence, step)
    cell = STATES * state[row] + state[row + step]
    return shares(cell, sequence[row], count=len(flow), categories=STATES**2)


def transition_distance(real: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how far apart conditional shares are, float64 [D], from 0 to 1.

    The total variation between the rows of two transition matrices, each weighted by how often its state occurs, in the
    mean of both; 1 for a row that only one of them has.
    """
    tables = [counts.reshape(-1, STATES, STATES) for counts in (real, other)]
    visits = [table.sum(axis=2) for table in tables]
    weight = sum(ratio(count, count.sum(axis=1, keepdims=True)) for count in visits) / 2
    rows = [ratio(table, count[..., None]) for table, count in zip(tables, visits, strict=True)]
    apart = np.abs(rows[0] - rows[1]).sum(axis=2) / 2
    return (weight * np.where(np.isnan(apart), 1.0, apart)).sum(axis=1)


def _figures(total: np.ndarray) -> dict[str, np.ndarray]:
    table = total.reshape(-1, 6, 2, 6, 2)
    count = table.sum(axis=(1, 2, 3, 4))
    return {
        "same kind and side": ratio(np.einsum("dksks->d", table), count),
        "same side": ratio(np.einsum("dksls->d", table), count),
    }


MEASURES = tuple(
    Measure(
        f"transitions_{step}",
        label,
        "",
        functools.partial(transition_counts, step=step),
        _figures,
        transition_distance,
    )
    for step, label in ((1, "kind and side, next message"), (2, "kind and side, two messages later"))
)
