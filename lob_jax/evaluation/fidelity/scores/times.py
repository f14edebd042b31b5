"""Time between messages, and between an order's placement and its first cancellation, on a logarithmic scale."""

import numpy as np

from lob_jax.evaluation.fidelity.score import Need, Score, Values, select
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import REMOVALS, is_first

_ZERO = 1e-9  # stands for no time at all, in the unit of the score


def _log(value: np.ndarray) -> np.ndarray:
    """Return the logarithm, with `_ZERO` for 0 and NaN below it, which is a clock that went back."""
    value = np.where(value == 0, _ZERO, value)
    return np.log(np.where(value > 0, value, np.nan))


def _inter_arrival(flow: Flow) -> Values:
    row = np.flatnonzero(~is_first(flow))
    gap_ns = flow.time_ns[row] - flow.time_ns[row - 1]
    return select(flow, _log(gap_ns / NS_PER_SECOND * 1000), row)


def _time_to_cancel(flow: Flow) -> Values:
    """Pair each placement with the next cancellation of its id in the sequence, if no placement comes between them."""
    row = np.flatnonzero(np.isin(flow.kind, (Kind.ADD, *REMOVALS)) & (flow.order_id != 0))
    order_id, sequence = flow.order_id[row], flow.sequence()[row]
    row = row[np.lexsort((order_id, sequence))]  # a stable sort: in an order's own order of time
    before, after = row[:-1], row[1:]
    is_pair = (flow.order_id[before] == flow.order_id[after]) & (flow.sequence()[before] == flow.sequence()[after])
    is_pair &= (flow.kind[before] == Kind.ADD) & (flow.kind[after] != Kind.ADD)
    before, after = before[is_pair], after[is_pair]
    return select(flow, _log((flow.time_ns[after] - flow.time_ns[before]) / NS_PER_SECOND), before)


SCORES = (
    Score(
        "log_inter_arrival_time",
        "log inter-arrival time",
        "ln ms",
        False,
        _inter_arrival,
        "lob_bench",
        frozenset({Need.TIMES}),
    ),
    Score(
        "log_time_to_cancel",
        "log time to cancel",
        "ln s",
        False,
        _time_to_cancel,
        "lob_bench",
        frozenset({Need.MESSAGES, Need.TIMES, Need.ORDER_IDS}),
    ),
)
