"""Moves of the mid by horizon."""

import functools

from lob_jax.evaluation.fidelity.score import Score, Values, select
from lob_jax.evaluation.fidelity.scores.sizes import rounded
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import moves

HORIZONS = (1, 10, 100)  # messages


def mid_moves(flow: Flow, horizon: int) -> Values:
    """Return the moves of the mid over `horizon` messages in ticks, on the grid of `sizes.rounded`."""
    move, row = moves(flow, horizon)
    return select(flow, rounded(move), row)


SCORES = tuple(
    Score(
        f"mid_move_{horizon}",
        f"mid move over {horizon} message{'s' if horizon > 1 else ''}",
        "ticks",
        True,
        functools.partial(mid_moves, horizon=horizon),
    )
    for horizon in HORIZONS
)
