"""`Flow`: the parameters of the order flow in the form that the compiled loop reads, and the names of its columns."""

import enum
from typing import Any, NamedTuple

import numpy as np

from lob_jax.simulation.flow_parameters import FlowParameters


class ActionKind(enum.IntEnum):
    """What a participant may do, in the order of `flow_parameters.ACTIONS`."""

    ADD = 0
    DELETE = 1
    REPLACE = 2
    MARKET = 3


class Phase(enum.IntEnum):
    """Of a session; each but the last ends when the next column of `halts` is reached."""

    TRADING = 0
    HALTED = 1  # a few orders are deleted
    QUOTING = 2  # all but trades


class ByGap(enum.IntEnum):
    """Where columns of `Flow.by_gap` begin."""

    SAME_SIDE = 0  # of each action
    MARKET_SAME_SIDE = 4
    REPEAT_SIZE = 5  # behind an ADD, and behind a DELETE


class BySpread(enum.IntEnum):
    """Where columns of `Flow.by_spread` begin."""

    SPREAD_FACTOR = 0  # of each action
    IMPROVE = 4
    JOIN = 5
    IMPROVE_SCALE = 6
    DEEPER_SCALE = 7


class DistributionRow(enum.IntEnum):
    """Rows of `Flow.distributions`, named as the distributions are in `FlowParameters`."""

    IMPROVEMENT = 0
    DEEPER = 1
    SHIFT = 2
    ADD_SIZE = 3
    MARKET_SIZE = 4
    HIDDEN_SIZE = 5
    AGE_RANK = 6
    HIDDEN_INSIDE = 7


# As plain integers, which compiled code counts with and passes on: members would be compiled for apart.
ADD, DELETE, REPLACE, MARKET = (int(kind) for kind in ActionKind)
TRADING, HALTED, QUOTING = (int(phase) for phase in Phase)
SAME_SIDE, MARKET_SAME_SIDE, REPEAT_SIZE = (int(column) for column in ByGap)
SPREAD_FACTOR, IMPROVE, JOIN, IMPROVE_SCALE, DEEPER_SCALE = (int(column) for column in BySpread)
DISTRIBUTIONS = tuple(row.name.lower() for row in DistributionRow)
IMPROVEMENT, DEEPER, SHIFT, ADD_SIZE, MARKET_SIZE, HIDDEN_SIZE, AGE_RANK, HIDDEN_INSIDE = (
    int(row) for row in DistributionRow
)


class Flow(NamedTuple):
    """The parameters that the compiled loop reads, in few arrays because Numba's compile time grows with their number.

    Attributes:
      gap_edges, spread_edges: boundaries between the bands.
      next_action: float64 [4 bands, 4 previous actions, 4 actions].
      by_gap: float64 [4 bands, 7]: same_side of the four actions, market_same_side, repeat_size after add and delete.
      by_spread: float64 [8 bands, 8]: spread_factor of the four actions, improve, join, improve_scale, deeper_scale.
      distributions: float64 [8, 2, N], the points of DISTRIBUTIONS, padded by repeating the last point.

    The others are as in `FlowParameters`.
    """

    gap_edges: np.ndarray
    spread_edges: np.ndarray
    next_action: np.ndarray
    by_gap: np.ndarray
    by_spread: np.ndarray
    distributions: np.ndarray
    tick: int
    worst_share: float
    far_ticks: int
    far_patience: float
    cancel_share: float
    level_target: float
    level_pull: float
    sweep_share: float
    take_share: float
    sweep_collar: int
    limit_share: float
    hidden_only: float
    hidden_too: float
    hidden_again: float
    half_tick: float
    halt_deletes: float


class Action(NamedTuple):
    """The previous action, its side index and its lots, on which the next action depends."""

    action: int
    side: int
    size: int


def compile_flow(parameters: FlowParameters) -> Flow:
    """Return the parameters in the form that the compiled loop reads."""
    p = parameters
    distributions = [getattr(p, name).table() for name in DISTRIBUTIONS]
    longest = max(distribution.shape[1] for distribution in distributions)
    arrays: dict[str, Any] = {
        "gap_edges": np.array(p.gap_edges_ns, np.float64),
        "spread_edges": np.array(p.spread_edges, np.float64),
        "next_action": np.array(p.next_action, np.float64),
        "by_gap": np.column_stack([p.same_side, p.market_same_side, p.repeat_size]),
        "by_spread": np.column_stack([p.spread_factor, p.improve, p.join, p.improve_scale, p.deeper_scale]),
        "distributions": np.stack(
            [
                np.pad(distribution, ((0, 0), (0, longest - distribution.shape[1])), mode="edge")
                for distribution in distributions
            ]
        ),
    }
    return Flow(**arrays, **{name: getattr(p, name) for name in Flow._fields if name not in arrays})
