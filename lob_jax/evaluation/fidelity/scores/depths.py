"""Distance from the mid price at which orders are placed and cancelled."""

import functools

import numpy as np

from lob_jax.evaluation.fidelity.score import Need, Score, Values, select
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import REMOVALS, mid


def _depth(flow: Flow, *, kinds: tuple[int, ...], sign: int) -> Values:
    """Return the distances to the mid after the message, above it (`sign` 1) or below it (-1)."""
    row = np.flatnonzero(np.isin(flow.kind, kinds))
    distance = sign * (flow.price[row] - mid(flow)[row])
    return select(flow, np.where(distance > 0, distance, np.nan), row)


def _score(name: str, label: str, kinds: tuple[int, ...], sign: int) -> Score:
    values = functools.partial(_depth, kinds=kinds, sign=sign)
    return Score(name, label, "price quanta", False, values, "lob_bench", frozenset({Need.MESSAGES}))


SCORES = (
    _score("limit_ask_order_depth", "depth of ask limit orders", (Kind.ADD,), 1),
    _score("limit_bid_order_depth", "depth of bid limit orders", (Kind.ADD,), -1),
    _score("ask_cancellation_depth", "depth of ask cancellations", REMOVALS, 1),
    _score("bid_cancellation_depth", "depth of bid cancellations", REMOVALS, -1),
)
