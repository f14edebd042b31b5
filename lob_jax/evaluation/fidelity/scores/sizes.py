"""Sizes by kind of message, and the share of its level that a removal takes."""

import functools

import numpy as np

from lob_jax.evaluation.fidelity.score import Need, Score, Values, select
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import level_size

OCTAVE = 4  # bins of a doubling


def rounded(value: np.ndarray) -> np.ndarray:
    """Return values on a grid of four steps to a doubling, float64: bins that no sample moves, fine near 0.

    Whole values up to 8 stay as they are. Round sizes and whole ticks make spikes, on which the bins of Freedman and
    Diaconis fail: where more than half of the values are equal, their width is 0.
    """
    mantissa, exponent = np.frexp(np.asarray(value, np.float64))
    return np.ldexp(np.round(2 * OCTAVE * mantissa) / (2 * OCTAVE), exponent)


def sizes(flow: Flow, kind: int) -> Values:
    """Return the sizes of the messages of a kind, on the grid of `rounded`."""
    row = np.flatnonzero(flow.kind == kind)
    return select(flow, rounded(flow.size[row] / flow.instrument.lot_scale), row)


def taken_share(flow: Flow) -> Values:
    """Return the share of its level that each removal takes, in tenths rounded up; 1 leaves the level empty."""
    row = np.flatnonzero(np.isin(flow.kind, (Kind.CANCEL, Kind.DELETE, Kind.EXECUTE)))
    left = level_size(flow, row, flow.side[row], flow.price[row])
    before = np.maximum(left + flow.size[row], 1)
    return select(flow, -(-10 * flow.size[row] // before) / 10, row)


_LABELS = {
    Kind.ADD: "size of adds",
    Kind.CANCEL: "size of cancels",
    Kind.DELETE: "size of deletes",
    Kind.EXECUTE: "size of executions",
    Kind.EXECUTE_HIDDEN: "size of hidden executions",
}
_MESSAGES = frozenset({Need.MESSAGES})

SCORES = (
    *(
        Score(f"size_{kind.name.lower()}", label, "", True, functools.partial(sizes, kind=kind), needs=_MESSAGES)
        for kind, label in _LABELS.items()
    ),
    Score("taken_share", "share of the level that is taken", "", True, taken_share, needs=_MESSAGES),
)
