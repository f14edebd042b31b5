"""Volume that trades, per minute: the visible executions of each second in which there are any, times 60."""

import numpy as np

from lob_jax.evaluation.fidelity.score import Need, Score, Values
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow import Flow

_SHORTEST_NS = NS_PER_SECOND // 10  # of an edge, to be scaled up to a second
_PER_MINUTE = 60


def _volume_per_minute(flow: Flow) -> Values:
    found = [_of_sequence(flow, slice(*flow.edges[s : s + 2])) for s in range(len(flow))]
    row = np.concatenate([np.zeros(0, np.int64), *(rows for _, rows in found)])
    return Values(np.concatenate([np.zeros(0), *(volume for volume, _ in found)]), flow.sequence()[row], row)


def _of_sequence(flow: Flow, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return the volumes per minute of one sequence, float64 [N], and the first trade of each second, int64 [N].

    The first second counts from its first trade on, the last one up to its last trade: both are scaled to a second, and
    left out if shorter than a tenth of it. If there is only one second, it counts from its first trade to its last, and
    as it is if all of it traded at one instant.
    """
    traded = part.start + np.flatnonzero(flow.kind[part] == Kind.EXECUTE)
    time_ns, size = flow.time_ns[traded], flow.size[traded]
    if len(time_ns) == 0:
        return np.zeros(0), traded
    second, first_of, inverse = np.unique(time_ns // NS_PER_SECOND, return_index=True, return_inverse=True)
    volume = np.bincount(inverse, weights=size).astype(np.float64)
    length_ns = np.full(len(second), NS_PER_SECOND)
    first, last = int(time_ns.min()), int(time_ns.max())
    if len(second) > 1:
        length_ns[0] -= first % NS_PER_SECOND
        length_ns[-1] = last % NS_PER_SECOND
    elif first != last:
        length_ns[0] = last - first
    kept = length_ns >= _SHORTEST_NS
    return volume[kept] * (NS_PER_SECOND / length_ns[kept]) * _PER_MINUTE, traded[first_of[kept]]


SCORES = (
    Score(
        "vol_per_min",
        "volume per minute",
        "lots/min",
        False,
        _volume_per_minute,
        "lob_bench",
        frozenset({Need.MESSAGES, Need.TIMES}),
    ),
)
