"""Rank of the removed order in its queue, counted from the back."""

import functools

import numpy as np

from lob_jax.evaluation.fidelity.score import Need, Score, Values, select
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_orders import follow_orders

MOST = 10  # ranks from here on are one


def queue_ranks(flow: Flow, kinds: tuple[Kind, ...]) -> Values:
    """Return how many newer orders its queue has behind the order that each removal takes from, at most `MOST`.

    Orders that stood in the book before their sequence have no known rank. Without order ids there are no values: the
    rule of `follow_orders` would decide the rank.
    """
    orders = follow_orders(flow)
    if not orders.by_id:
        return select(flow, np.zeros(0), np.zeros(0, np.int64))
    row = np.flatnonzero(np.isin(flow.kind, kinds) & (orders.newer >= 0))
    return select(flow, np.minimum(orders.newer[row], MOST), row)


SCORES = tuple(
    Score(
        f"queue_rank_{name}",
        f"newer orders behind {label}",
        "orders",
        True,
        functools.partial(queue_ranks, kinds=kinds),
        needs=frozenset({Need.MESSAGES, Need.ORDER_IDS}),
    )
    for name, label, kinds in (
        ("removal", "a cancelled one", (Kind.CANCEL, Kind.DELETE)),
        ("execute", "an executed one", (Kind.EXECUTE,)),
    )
)
