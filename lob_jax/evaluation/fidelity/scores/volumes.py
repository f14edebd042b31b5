"""Sizes at the best price of each side, and on all its levels up to the tenth, after each message."""

import functools

from lob_jax.evaluation.fidelity.score import Score, Values, select
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import ASK, BID

_LEVELS = 10


def _volume(flow: Flow, *, side: int, levels: int) -> Values:
    """Return the size on the best levels, of those that the flow has."""
    return select(flow, flow.book_size[:, side, :levels].sum(axis=1))


def _score(name: str, label: str, side: int, levels: int) -> Score:
    return Score(name, label, "lots", False, functools.partial(_volume, side=side, levels=levels), "lob_bench")


SCORES = (
    _score("ask_volume_touch", "ask volume, touch", ASK, 1),
    _score("bid_volume_touch", "bid volume, touch", BID, 1),
    _score("ask_volume", "ask volume, levels", ASK, _LEVELS),
    _score("bid_volume", "bid volume, levels", BID, _LEVELS),
)
