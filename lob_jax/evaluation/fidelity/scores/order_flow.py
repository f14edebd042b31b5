"""Order flow imbalance (Cont, Kukanov and Stoikov, 2014) over 100 messages: always, and before each move of the mid."""

import functools

import numpy as np

from lob_jax.evaluation.fidelity.score import Score, Values, select
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import is_first, mid, place, touch

_WINDOW = 100
_NO_ASK = np.iinfo(np.int64).max  # an empty side is infinitely far away
_NO_BID = np.iinfo(np.int64).min


def contributions(flow: Flow) -> np.ndarray:
    """Return how much each message changed the flow in favour of the bid, lots, int64 [E]; 0 for first messages.

    1[b >= b'] B - 1[b <= b'] B' - 1[a <= a'] A + 1[a >= a'] A', where b, a are the best prices, B, A their sizes, and
    a dash means the book before the message.
    """
    bid, ask, bid_size, ask_size = touch(flow)
    bid, ask = np.where(bid_size > 0, bid, _NO_BID), np.where(ask_size > 0, ask, _NO_ASK)
    result = np.zeros(len(bid), np.int64)
    result[1:] += np.where(bid[1:] >= bid[:-1], bid_size[1:], 0) - np.where(bid[1:] <= bid[:-1], bid_size[:-1], 0)
    result[1:] -= np.where(ask[1:] <= ask[:-1], ask_size[1:], 0) - np.where(ask[1:] >= ask[:-1], ask_size[:-1], 0)
    result[is_first(flow)] = 0
    return result


def imbalance(flow: Flow) -> np.ndarray:
    """Return the mean contribution of the last 100 messages, lots, float64 [E]; NaN where there are not as many."""
    total = np.cumsum(contributions(flow))  # exact: integers
    rolling = np.full(len(total), np.nan)
    rolling[_WINDOW:] = (total[_WINDOW:] - total[:-_WINDOW]) / _WINDOW
    rolling[place(flow) < _WINDOW] = np.nan
    return rolling


def _imbalance(flow: Flow) -> Values:
    return select(flow, imbalance(flow))


def _before_move(flow: Flow, *, sign: int) -> Values:
    """Return the imbalances just before messages that move the mid in one direction, or leave it."""
    row = np.flatnonzero(~is_first(flow))
    middle = mid(flow)
    moved = np.sign(middle[row] - middle[row - 1])  # NaN if a side was or is empty
    row = row[moved == sign]
    return select(flow, imbalance(flow)[row - 1], row)


def _score(name: str, label: str, values: functools.partial) -> Score:
    return Score(name, label, "lots", False, values, "lob_bench")


SCORES = (
    _score("ofi", "order flow imbalance", functools.partial(_imbalance)),
    _score("ofi_up", "imbalance before a rise", functools.partial(_before_move, sign=1)),
    _score("ofi_stay", "imbalance before no move", functools.partial(_before_move, sign=0)),
    _score("ofi_down", "imbalance before a fall", functools.partial(_before_move, sign=-1)),
)
