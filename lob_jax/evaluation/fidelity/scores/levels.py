"""Level of the book at which orders are placed and cancelled."""

import functools

import numpy as np

from lob_jax.evaluation.fidelity.score import Need, Score, Values, select
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import ASK, BID, REMOVALS, is_first


def _placed(flow: Flow, *, side: int) -> Values:
    row = np.flatnonzero(flow.kind == Kind.ADD)
    return _level(flow, row=row, book=row, side=side)


def _cancelled(flow: Flow, *, side: int) -> Values:
    """Look in the book before the message, as the level may be gone after it; the first message has none."""
    row = np.flatnonzero(np.isin(flow.kind, REMOVALS) & ~is_first(flow))
    return _level(flow, row=row, book=row - 1, side=side)


def _level(flow: Flow, *, row: np.ndarray, book: np.ndarray, side: int) -> Values:
    """Return the level, from 1, at which each message's price stands in a book, whatever the message's own side."""
    at_price = (flow.book_price[book, side] == flow.price[row, None]) & (flow.book_size[book, side] > 0)
    found = at_price.any(axis=1)
    return select(flow, np.where(found, at_price.argmax(axis=1) + 1, np.nan), row)


def _score(name: str, label: str, values: functools.partial) -> Score:
    return Score(name, label, "level", True, values, "lob_bench", frozenset({Need.MESSAGES}))


SCORES = (
    _score("limit_ask_order_levels", "level of ask limit orders", functools.partial(_placed, side=ASK)),
    _score("limit_bid_order_levels", "level of bid limit orders", functools.partial(_placed, side=BID)),
    _score("ask_cancellation_levels", "level of ask cancellations", functools.partial(_cancelled, side=ASK)),
    _score("bid_cancellation_levels", "level of bid cancellations", functools.partial(_cancelled, side=BID)),
)
