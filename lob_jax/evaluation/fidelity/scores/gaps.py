"""Time before a message by its kind."""

import functools

import numpy as np

from lob_jax.evaluation.fidelity.score import Need, Score, Values, select
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import gaps_ns

KINDS = {
    "add": ("adds", (Kind.ADD,)),
    "removal": ("cancels and deletes", (Kind.CANCEL, Kind.DELETE)),
    "trade": ("executions", (Kind.EXECUTE, Kind.EXECUTE_HIDDEN)),
}


def log_gaps(flow: Flow, kinds: tuple[Kind, ...]) -> Values:
    """Return ln of the ms before each message of some kinds; 1e-9 ms stands for 0, as in LOB-Bench's inter-arrival."""
    gap, row = gaps_ns(flow)
    chosen = np.isin(flow.kind[row], kinds)
    milliseconds = gap[chosen] / 1e6
    return select(flow, np.log(np.where(milliseconds > 0, milliseconds, 1e-9)), row[chosen])


SCORES = tuple(
    Score(
        f"log_gap_{name}",
        f"log time before {label}",
        "ln ms",
        False,
        functools.partial(log_gaps, kinds=kinds),
        needs=frozenset({Need.MESSAGES, Need.TIMES}),
    )
    for name, (label, kinds) in KINDS.items()
)
