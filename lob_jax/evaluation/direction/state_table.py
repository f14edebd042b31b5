"""A baseline of price direction: training frequencies in a lookup table by state of the book."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lob_jax.evaluation.direction.moves import FLAT, Moves

SIZE_BUCKETS = 16  # powers of two lots; the last bucket is open
ACTIONS = 14  # values of head // 500: kind and side of an event
PRIOR_WEIGHT = 3.0  # weight of the overall frequencies in each state of the table, in events


@dataclasses.dataclass(frozen=True, eq=False)
class StateTable:
    """Frequencies of the directions by state of the book.

    Attributes:
      probability: float64 [states, 3], smoothed frequencies in each state.
      prior: float64 [3], frequencies over all training events.
    """

    probability: np.ndarray
    prior: np.ndarray


def fit_state_table(moves: Sequence[Moves]) -> StateTable:
    """Count the directions of training events by the state before them; without events the priors are equal."""
    chosen = [one.own & one.known for one in moves]
    states = (states_of(one)[rows] for one, rows in zip(moves, chosen, strict=True))
    labels = (one.label[rows] for one, rows in zip(moves, chosen, strict=True))
    state = np.concatenate([np.zeros(0, np.int64), *states])
    label = np.concatenate([np.zeros(0, np.int64), *labels])
    overall = np.bincount(label, minlength=3) + 1.0
    prior = overall / overall.sum()
    count = np.bincount(3 * state + label, minlength=3 * SIZE_BUCKETS**2 * ACTIONS).reshape(-1, 3)
    smoothed = count + PRIOR_WEIGHT * prior
    return StateTable(probability=smoothed / smoothed.sum(1, keepdims=True), prior=prior)


def states_of(moves: Moves) -> np.ndarray:
    """Return each event's state, an index into the table, int64 [E]: best sizes in powers of two, and last action."""
    bits = np.frexp(moves.best_size.astype(np.float64))[1]  # 0 for nothing, else 1 + floor(log2(size))
    bucket = np.minimum(bits, SIZE_BUCKETS - 1).astype(np.int64)
    return (bucket[:, 0] * SIZE_BUCKETS + bucket[:, 1]) * ACTIONS + moves.action


def table_probability(table: StateTable, moves: Sequence[Moves], record: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return the probabilities in the table, float64 [N, 3], for events given by record and index."""
    probability = np.tile(table.prior, (len(record), 1))
    for number in np.unique(record):
        rows = record == number
        probability[rows] = table.probability[states_of(moves[number])[event[rows]]]
    return probability


def labels_of(moves: Sequence[Moves], record: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return the true directions, int64 [N], of events given by record and index."""
    label = np.full(len(record), FLAT)
    for number in np.unique(record):
        rows = record == number
        label[rows] = moves[number].label[event[rows]]
    return label
