"""Score predicted directions, and a baseline: training frequencies in a lookup table by state of the book."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lob_jax.errors import InputError
from lob_jax.evaluation.direction.moves import FLAT, Moves

NAMES = ("down", "flat", "up")
LEAST_PROBABILITY = 1e-9  # lower limit in the log loss, so that one event of probability 0 does not decide it
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


def direction_scores(probability: np.ndarray, label: np.ndarray, *, prior: np.ndarray) -> dict[str, object]:
    """Score predicted directions.

    Balanced accuracy is the mean recall over the classes that occur, macro F1 the mean over the same classes.
    `corrected` has the scores of choosing the class with the highest ratio of probability to prior.

    Args:
      probability: float [N, 3], probabilities of DOWN, FLAT and UP.
      label: int [N], the true directions.
      prior: float [3], training frequencies.

    Raises:
      InputError: there is nothing to score.
    """
    label = np.asarray(label)
    if not len(label):
        raise InputError(
            "no event has a direction to predict",
            where="price direction",
            expected="at least one scored event with orders on both sides",
            was=0,
            remedy="evaluate more events, or a market with two sides",
        )
    share = np.bincount(label, minlength=3) / len(label)
    of_label = np.maximum(probability[np.arange(len(label)), label], LEAST_PROBABILITY)
    return {
        "events": len(label),
        "shares": dict(zip(NAMES, share.tolist(), strict=True)),
        "balanced_floor": 1 / int((share > 0).sum()),
        "majority_accuracy": float(share.max()),
        "log_loss": float(-np.log(of_label).mean()),
        "prior_log_loss": float(-np.log(np.maximum(prior, LEAST_PROBABILITY))[label].mean()),
        **decision_scores(probability.argmax(1), label),
        "corrected": decision_scores((probability / np.maximum(prior, LEAST_PROBABILITY)).argmax(1), label),
    }


def decision_scores(decided: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Return accuracy, balanced accuracy and macro F1 of predicted classes."""
    confusion = np.bincount(3 * label + decided, minlength=9).reshape(3, 3)  # rows: the true class
    right, came, said = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    occurs = came > 0
    return {
        "accuracy": float(right.sum() / len(label)),
        "balanced_accuracy": float((right[occurs] / came[occurs]).mean()),
        "macro_f1": float((2 * right[occurs] / (came + said)[occurs]).mean()),
    }


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
