"""How good predicted directions are, and a baseline that looks a state up in a table of training frequencies."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lob_jax.errors import InputError
from lob_jax.evaluation.direction.moves import FLAT, Moves

NAMES = ("down", "flat", "up")
LEAST_PROBABILITY = 1e-9  # that the log loss reads, so that one impossible event does not decide it
SIZE_BUCKETS = 16  # powers of two lots; the last bucket is open
ACTIONS = 14  # kinds and sides of an event's head, head // 500
PRIOR_WEIGHT = 3.0  # events that the overall frequencies count for in each state of the table


@dataclasses.dataclass(frozen=True, eq=False)
class StateTable:
    """Directions by what a state of the book is like.

    Attributes:
      probability: float64 [states, 3].
      prior: float64 [3], frequencies over all of the training events.
    """

    probability: np.ndarray
    prior: np.ndarray


def direction_scores(probability: np.ndarray, label: np.ndarray, *, prior: np.ndarray) -> dict[str, object]:
    """Score predicted directions.

    Balanced accuracy is the mean recall of the classes that occur, F1 the mean over the same classes; `corrected`
    decides for the class whose probability exceeds its prior by the greatest factor.

    Args:
      probability: float [N, 3], of DOWN, FLAT and UP.
      label: int [N].
      prior: float [3], training frequencies.

    Raises:
      InputError: nothing to score.
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
    """Return accuracy, balanced accuracy and macro F1 of decided classes."""
    confusion = np.bincount(3 * label + decided, minlength=9).reshape(3, 3)  # rows: what came
    right, came, said = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    occurs = came > 0
    return {
        "accuracy": float(right.sum() / len(label)),
        "balanced_accuracy": float((right[occurs] / came[occurs]).mean()),
        "macro_f1": float((2 * right[occurs] / (came + said)[occurs]).mean()),
    }


def fit_state_table(moves: Sequence[Moves]) -> StateTable:
    """Count the directions of training events by the state before them; no events give equal priors."""
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
    """Return each event's row in the table, int64 [E]: both best sizes by powers of two, and the last action."""
    bits = np.frexp(moves.best_size.astype(np.float64))[1]  # 0 for nothing, else 1 + floor(log2(size))
    bucket = np.minimum(bits, SIZE_BUCKETS - 1).astype(np.int64)
    return (bucket[:, 0] * SIZE_BUCKETS + bucket[:, 1]) * ACTIONS + moves.action


def table_probability(table: StateTable, moves: Sequence[Moves], record: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return the table's probabilities, float64 [N, 3], for events given by record and index in it."""
    probability = np.tile(table.prior, (len(record), 1))
    for number in np.unique(record):
        rows = record == number
        probability[rows] = table.probability[states_of(moves[number])[event[rows]]]
    return probability


def labels_of(moves: Sequence[Moves], record: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return what came, int64 [N], for events given by record and index in it."""
    label = np.full(len(record), FLAT)
    for number in np.unique(record):
        rows = record == number
        label[rows] = moves[number].label[event[rows]]
    return label
