"""Spread, and imbalance of the sizes at the best prices, after each message."""

import numpy as np

from lob_jax.evaluation.fidelity.score import Score, Values, select
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import spread, touch


def _spread(flow: Flow) -> Values:
    return select(flow, spread(flow))


def _imbalance(flow: Flow) -> Values:
    _, _, bid, ask = touch(flow)
    total = bid + ask
    return select(flow, np.divide(bid - ask, total, out=np.full(len(total), np.nan), where=total > 0))


SCORES = (
    Score("spread", "spread", "price quanta", True, _spread, "lob_bench"),
    Score("orderbook_imbalance", "imbalance at the touch", "", False, _imbalance, "lob_bench"),
)
