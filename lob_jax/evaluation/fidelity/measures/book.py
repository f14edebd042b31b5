"""The book's spread and depth, over whole sequences and by position, and its irregular states."""

import numpy as np

from lob_jax.evaluation.fidelity.measure import Measure
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import part_of_sequence, spread_ticks, two_sided
from lob_jax.statistics.flow_sums import moment_sums, ratio, shares, totals, variance

PARTS = 5  # of a sequence
ORDINALS = ("1st", "2nd", "3rd", "4th", "5th")


def by_part(flow: Flow, value: np.ndarray) -> np.ndarray:
    """Return the number of finite values and their sum in each fifth of each sequence, float64 [S, 10]."""
    known = np.isfinite(value)
    cell = flow.sequence()[known] * PARTS + part_of_sequence(flow, PARTS)[known]
    columns = np.stack([np.ones(known.sum()), value[known]], axis=1)
    return totals(columns, cell, len(flow) * PARTS).reshape(len(flow), 2 * PARTS)


def part_means(total: np.ndarray) -> dict[str, np.ndarray]:
    """Return the means of the fifths."""
    sums = total.reshape(len(total), PARTS, 2)
    return {f"{ordinal} fifth": ratio(sums[:, at, 1], sums[:, at, 0]) for at, ordinal in enumerate(ORDINALS)}


def _spread_sums(flow: Flow) -> np.ndarray:
    return moment_sums(spread_ticks(flow), flow.sequence(), len(flow))


def _spreads(total: np.ndarray) -> dict[str, np.ndarray]:
    return {"mean": ratio(total[:, 1], total[:, 0]), "standard deviation": np.sqrt(variance(total))}


def _spread_parts(flow: Flow) -> np.ndarray:
    return by_part(flow, spread_ticks(flow))


def _best_parts(flow: Flow) -> np.ndarray:
    return by_part(flow, flow.book_size[:, :, 0].mean(axis=1) / flow.instrument.lot_scale)


def _depth_parts(flow: Flow) -> np.ndarray:
    return by_part(flow, flow.book_size.sum(axis=2).mean(axis=1) / flow.instrument.lot_scale)


def _reach_sums(flow: Flow) -> np.ndarray:
    """Return the sums of the distance from the best to the last of the levels that the book shows, in ticks."""
    price, shown = flow.book_price, (flow.book_size > 0).all(axis=2)
    distance = np.abs(price[:, :, -1] - price[:, :, 0]) / flow.instrument.tick
    columns = np.stack([shown.sum(axis=1), np.where(shown, distance, 0).sum(axis=1)], axis=1)
    return totals(columns, flow.sequence(), len(flow))


def _reach(total: np.ndarray) -> dict[str, np.ndarray]:
    return {"best to last level": ratio(total[:, 1], total[:, 0])}


def _state_counts(flow: Flow) -> np.ndarray:
    width = flow.book_price[:, 1, 0] - flow.book_price[:, 0, 0]
    state = np.where(two_sided(flow), np.where(width > 0, 0, 1), 2)
    return shares(state, flow.sequence(), count=len(flow), categories=3)


def _states(total: np.ndarray) -> dict[str, np.ndarray]:
    part = ratio(total, total.sum(axis=1, keepdims=True))
    return {"crossed or locked": part[:, 1], "one-sided or empty": part[:, 2]}


MEASURES = (
    Measure("spread", "spread", "ticks", _spread_sums, _spreads, needs=frozenset()),
    Measure("spread_by_part", "mean spread", "ticks", _spread_parts, part_means, needs=frozenset()),
    Measure("best_by_part", "mean size at the best", "", _best_parts, part_means, needs=frozenset()),
    Measure("depth_by_part", "mean size of the levels of a side", "", _depth_parts, part_means, needs=frozenset()),
    Measure("reach", "mean extent of a side", "ticks", _reach_sums, _reach, needs=frozenset()),
    Measure("book_states", "share of books", "", _state_counts, _states, needs=frozenset()),
)
