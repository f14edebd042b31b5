"""Autocorrelation of gaps, sizes and moves of the mid, and how the variance of moves grows with the horizon."""

import numpy as np

from lob_jax.evaluation.fidelity.measure import Measure
from lob_jax.evaluation.fidelity.measures.signs import autocorrelation_sums, autocorrelations
from lob_jax.evaluation.fidelity.score import Need
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import gaps_ns, moves
from lob_jax.statistics.flow_sums import LEAST, moment_sums, ratio, totals, variance

HORIZONS = (1, 10, 100)


def _gap_sums(flow: Flow) -> np.ndarray:
    gap, row = gaps_ns(flow)
    return autocorrelation_sums(np.log1p(gap / 1000), flow.sequence()[row], len(flow))


def _size_sums(flow: Flow) -> np.ndarray:
    return autocorrelation_sums(np.log(np.maximum(flow.size, 1)), flow.sequence(), len(flow))


def _move_sums(flow: Flow) -> np.ndarray:
    move, row = moves(flow, 1)
    return autocorrelation_sums(move, flow.sequence()[row], len(flow))


def _absolute_move_sums(flow: Flow) -> np.ndarray:
    move, row = moves(flow, 1)
    return autocorrelation_sums(np.abs(move), flow.sequence()[row], len(flow))


def _variance_sums(flow: Flow) -> np.ndarray:
    parts = []
    for horizon in HORIZONS:
        move, row = moves(flow, horizon)
        parts.append(moment_sums(move, flow.sequence()[row], len(flow)))
    return np.hstack(parts)


def _variances(total: np.ndarray) -> dict[str, np.ndarray]:
    of = variance(total.reshape(len(total), len(HORIZONS), -1))
    deviations = {f"deviation over {h}": np.sqrt(of[:, at]) for at, h in enumerate(HORIZONS)}
    ratios = {f"variance ratio, {h} to 1": ratio(of[:, at], h * of[:, 0]) for at, h in enumerate(HORIZONS) if h > 1}
    return {**deviations, **ratios}


def _mover_sums(flow: Flow) -> np.ndarray:
    move, row = moves(flow, 1)
    known = np.isfinite(move)
    move, row = move[known], row[known]
    return totals(np.stack([np.ones(len(move)), move != 0, move > 0], axis=1), flow.sequence()[row], len(flow))


def _movers(total: np.ndarray) -> dict[str, np.ndarray]:
    count, moving, up = total.T
    return {"of messages": ratio(moving, count), "of these, up": ratio(up, moving, least=LEAST)}


MEASURES = (
    Measure(
        "gap_acf",
        "autocorrelation of log gaps",
        "",
        _gap_sums,
        autocorrelations,
        needs=frozenset({Need.MESSAGES, Need.TIMES}),
    ),
    Measure("size_acf", "autocorrelation of log sizes", "", _size_sums, autocorrelations),
    Measure("move_acf", "autocorrelation of mid moves", "", _move_sums, autocorrelations, needs=frozenset()),
    Measure(
        "absolute_move_acf",
        "autocorrelation of absolute mid moves",
        "",
        _absolute_move_sums,
        autocorrelations,
        needs=frozenset(),
    ),
    Measure("moving_share", "share that moves the mid", "", _mover_sums, _movers, needs=frozenset()),
    Measure("move_variance", "mid moves by messages", "ticks", _variance_sums, _variances, needs=frozenset()),
)
