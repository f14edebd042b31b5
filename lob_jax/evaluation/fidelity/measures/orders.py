"""What becomes of resting orders: fills, deletions, and orders that replace one another."""

import numpy as np

from lob_jax.evaluation.fidelity.measure import Measure
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_orders import follow_orders
from lob_jax.statistics.flow_series import level_size, pairs
from lob_jax.statistics.flow_sums import LEAST, ratio, totals

HORIZONS = (10, 100)  # messages


def _replacement_sums(flow: Flow) -> np.ndarray:
    sequence, kind = flow.sequence(), flow.kind
    before = pairs(sequence, 1)
    row = before + 1
    same = (flow.side[row] == flow.side[before]) & (flow.size[row] == flow.size[before])
    one = (flow.order_id[row] == flow.order_id[before]) | (flow.order_id[row] == 0) | (flow.order_id[before] == 0)
    deletes, adds = kind[row] == Kind.DELETE, kind[row] == Kind.ADD
    undone = deletes & (kind[before] == Kind.ADD) & same & one & (flow.price[row] == flow.price[before])
    replaced = adds & (kind[before] == Kind.DELETE) & same
    moved = replaced & (flow.price[row] != flow.price[before])
    return totals(np.stack([deletes, undone, adds, replaced, moved], axis=1), sequence[row], len(flow))


def _replacement(total: np.ndarray) -> dict[str, np.ndarray]:
    deletes, undone, adds, replaced, moved = total.T
    return {
        "deletes of the add before": ratio(undone, deletes, least=LEAST),
        "adds of the size just deleted": ratio(replaced, adds, least=LEAST),
        "of these, at another price": ratio(moved, replaced, least=LEAST),
    }


def _fate_sums(flow: Flow) -> np.ndarray:
    """Return for each horizon the adds that are followed so long, and those filled and ended by then."""
    orders, adds = follow_orders(flow), np.flatnonzero(flow.kind == Kind.ADD)
    sequence = flow.sequence()[adds]
    last = flow.edges[1:][sequence] - 1
    columns = []
    for horizon in HORIZONS:
        followed = adds + horizon <= last
        filled, ended = (
            followed & (row >= 0) & (row - adds <= horizon) for row in (orders.filled[adds], orders.ended[adds])
        )
        columns += [followed, filled, ended & (orders.filled[adds] < 0)]
    return totals(np.stack(columns, axis=1), sequence, len(flow))


def _fates(total: np.ndarray) -> dict[str, np.ndarray]:
    figures = {}
    for at, horizon in enumerate(HORIZONS):
        followed, filled, deleted = total[:, 3 * at : 3 * at + 3].T
        figures[f"filled within {horizon} messages"] = ratio(filled, followed, least=LEAST)
        figures[f"deleted within {horizon} messages"] = ratio(deleted, followed, least=LEAST)
    return figures


def _whole_sums(flow: Flow) -> np.ndarray:
    parts = []
    for kind in (Kind.DELETE, Kind.EXECUTE):
        rows = np.flatnonzero(flow.kind == kind)
        left = level_size(flow, rows, flow.side[rows], flow.price[rows])
        parts.append(totals(np.stack([np.ones(len(rows)), left == 0], axis=1), flow.sequence()[rows], len(flow)))
    return np.hstack(parts)


def _whole(total: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "delete": ratio(total[:, 1], total[:, 0], least=LEAST),
        "execute": ratio(total[:, 3], total[:, 2], least=LEAST),
    }


MEASURES = (
    Measure("replacement", "share undone or replaced at once", "", _replacement_sums, _replacement),
    Measure("fates", "share of added orders", "", _fate_sums, _fates),
    Measure("whole_levels", "share that leaves its level empty", "", _whole_sums, _whole),
)
