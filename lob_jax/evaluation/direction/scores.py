"""Score predicted directions: accuracy, F1, correlation and agreement, log loss, Brier score and calibration.

All predictions of down, flat and up are scored here: of the next event by the token model, and at several horizons by
forecasters and by prediction heads. Every score is a function of the sums in `lob_jax.evaluation.direction.sums`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lob_jax.evaluation.direction.blocks import DRAWS, LEAST_BLOCKS, draw_blocks, interval, number
from lob_jax.evaluation.direction.sums import BINS, CLASSES, LEAST_PROBABILITY, Sums, block_sums

NAMES = ("down", "flat", "up")
TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "mcc": "MCC",
    "kappa": "Cohen's kappa",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "ECE",
}
SCORES = tuple(TITLES)
NO_EXAMPLE = "there is no example"
ONE_CLASS = "all examples are of one class"
ABSENT = "the class does not occur"
ONE_BLOCK = f"fewer than {LEAST_BLOCKS} blocks of time"


def _ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> np.ndarray:
    """Return a quotient, NaN where the denominator is 0."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _mean_over_occurring(values: np.ndarray, came: np.ndarray) -> np.ndarray:
    return _ratio(np.where(came > 0, values, 0).sum(-1), (came > 0).sum(-1).astype(np.float64))


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """Return F1 = 2 TP / (2 TP + FP + FN) of each class, [..., 3]; 0 for a class that neither occurs nor is predicted.

    Args:
      confusion: float [..., 3, 3], rows are true classes, columns predicted classes; so for the functions below.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return 2 * right / np.maximum(confusion.sum(-1) + confusion.sum(-2), 1)


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Return F1 averaged over the classes that occur."""
    return _mean_over_occurring(class_f1(confusion), confusion.sum(-1))


def weighted_f1(confusion: np.ndarray) -> np.ndarray:
    """Return F1 averaged over the classes with weights equal to their numbers of examples."""
    came = confusion.sum(-1)
    return _ratio((class_f1(confusion) * came).sum(-1), came.sum(-1))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the mean recall over the classes that occur."""
    came = confusion.sum(-1)
    return _mean_over_occurring(np.diagonal(confusion, axis1=-2, axis2=-1) / np.maximum(came, 1), came)


def mcc(confusion: np.ndarray) -> np.ndarray:
    """Return the multiclass Matthews correlation of true and predicted classes (Gorodkin, 2004).

    (c s - sum_k p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)) for s examples, c of them predicted correctly;
    class k is predicted p_k times and occurs t_k times. 0 if all predictions are the same class; NaN if all labels are.
    """
    came, said, total = confusion.sum(-1), confusion.sum(-2), confusion.sum((-2, -1))
    above = np.trace(confusion, axis1=-2, axis2=-1) * total - (came * said).sum(-1)
    of_labels, of_predictions = total**2 - (came**2).sum(-1), total**2 - (said**2).sum(-1)
    return np.where(
        of_predictions > 0, _ratio(above, np.sqrt(of_labels * of_predictions)), _ratio(0 * above, of_labels)
    )


def kappa(confusion: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa (1960), (p_o - p_e) / (1 - p_e); NaN if all labels are the same class.

    p_o is the accuracy; p_e is the accuracy expected of predictions with the same frequencies that are independent of
    the labels.
    """
    came, said, total = confusion.sum(-1), confusion.sum(-2), confusion.sum((-2, -1))
    right, chance = np.trace(confusion, axis1=-2, axis2=-1) * total, (came * said).sum(-1)
    several = (came > 0).sum(-1) > 1
    return np.where(several, _ratio(right - chance, total**2 - chance), np.nan)


def scores(sums: Sums) -> dict[str, np.ndarray]:
    """Return every score by name, each with the leading axes of the sums; NaN where it is undefined.

    `ece` is the expected calibration error of the predicted class: over equal-width bins of its probability, the
    absolute difference between mean probability and accuracy, weighted by the bin's share of the examples. The Brier
    score is the mean squared distance between the probabilities and the true class, 0 to 2.
    """
    confusion, total = sums.confusion, sums.confusion.sum((-2, -1))
    predicted = sums.bins[..., 0, :, :]
    return {
        "accuracy": _ratio(np.trace(confusion, axis1=-2, axis2=-1), total),
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_f1": macro_f1(confusion),
        "weighted_f1": weighted_f1(confusion),
        "mcc": mcc(confusion),
        "kappa": kappa(confusion),
        "log_loss": _ratio(sums.log_loss, total),
        "brier": _ratio(sums.brier, total),
        "ece": _ratio(np.abs(predicted[..., 1] - predicted[..., 2]).sum(-1), total),
    }


def direction_scores(
    probability: np.ndarray,
    label: np.ndarray,
    *,
    prior: np.ndarray | None = None,
    block: np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Score predicted directions; plain values as in JSON.

    Args:
      probability: float [N, 3], probabilities of down, flat and up.
      label: int [N], the true directions: 0 down, 1 flat, 2 up.
      prior: float [3], training frequencies.
      block: int [N], block of each example in the bootstrap over time, see `blocks.blocks_of`; None for no intervals.
      draws: bootstrap draws.
      seed: seed of the draws.

    Returns:
      events, the number of examples; the SCORES; the values of `details`; shares of the classes, balanced_floor and
      majority_accuracy, which no skill is needed for; with `prior`, prior_log_loss and prior_brier of always predicting
      the training frequencies, and corrected, the `decision_scores` of choosing the class with the highest ratio of
      probability to prior; with `block`, blocks and intervals, 95 % by score. A score that the examples leave undefined
      is None, and `undefined` has the reason by its name.

    Raises:
      InputError: the arrays are no probabilities and classes.
    """
    label = np.asarray(label)
    sums = block_sums(probability, label, np.zeros(len(label), np.int64) if block is None else block)
    whole = sums.whole()
    count = whole.confusion.sum(-1)
    values = {name: number(float(value)) for name, value in scores(whole).items()}
    result: dict[str, Any] = {"events": len(label), **_without_skill(count), **values, **details(whole)}
    if prior is not None:
        result |= against_prior(np.asarray(probability, np.float64), label, prior=np.asarray(prior, np.float64))
    result["undefined"] = reasons(values, len(label))
    if block is not None:
        blocks = len(sums.log_loss)
        result |= {"blocks": blocks, "intervals": intervals(sums, draws=draws, seed=seed)}
        if blocks < LEAST_BLOCKS:
            result["undefined"]["intervals"] = ONE_BLOCK if blocks else NO_EXAMPLE
    return result


def _without_skill(count: np.ndarray) -> dict[str, Any]:
    share = _ratio(count, count.sum())
    return {
        "shares": {name: number(one) for name, one in zip(NAMES, share, strict=True)},
        "balanced_floor": 1 / int((count > 0).sum()) if count.any() else None,
        "majority_accuracy": number(share.max()),
    }


def reasons(values: dict[str, float | None], examples: int) -> dict[str, str]:
    """Return why scores are undefined, by name."""
    return {name: ONE_CLASS if examples else NO_EXAMPLE for name, value in values.items() if value is None}


def intervals(sums: Sums, *, draws: int, seed: int) -> dict[str, list[float] | None]:
    """Return the 95 % interval of every score from block sums; None where it is undefined."""
    blocks = len(sums.log_loss)
    if blocks < LEAST_BLOCKS:
        return dict.fromkeys(SCORES)
    drawn = scores(sums.drawn(draw_blocks(blocks, draws=draws, seed=seed)))
    found = {name: interval(values) for name, values in drawn.items()}
    return {name: [low, high] if np.isfinite(low) else None for name, (low, high) in found.items()}


def details(sums: Sums) -> dict[str, Any]:
    """Return what single numbers hide, as in JSON, from the sums over all examples.

    It is the confusion matrix (rows are true classes); for each class its number of examples, precision, recall and F1,
    None where they are undefined; and reliability for the predicted class ("predicted") and for each class: one entry
    per bin with examples, with its edges, number of examples, mean probability, and share in which the class came.
    """
    came, said = sums.confusion.sum(-1), sums.confusion.sum(-2)
    right, f1 = np.diagonal(sums.confusion), class_f1(sums.confusion)
    by_class = {}
    for one, name in enumerate(NAMES):
        occurs = came[one] > 0
        by_class[name] = {
            "examples": int(came[one]),
            "precision": number(right[one] / said[one]) if said[one] else None,
            "recall": number(right[one] / came[one]) if occurs else None,
            "f1": number(f1[one]) if occurs else None,
            **({} if occurs else {"undefined": ABSENT}),
        }
    return {
        "confusion": sums.confusion.tolist(),
        "by_class": by_class,
        "reliability": {name: _curve(bins) for name, bins in zip(("predicted", *NAMES), sums.bins, strict=True)},
    }


def _curve(bins: np.ndarray) -> list[dict[str, float]]:
    return [
        {
            "low": place / BINS,
            "high": (place + 1) / BINS,
            "examples": int(count),
            "probability": float(probability / count),
            "share": float(came / count),
        }
        for place, (count, probability, came) in enumerate(bins)
        if count
    ]


def against_prior(probability: np.ndarray, label: np.ndarray, *, prior: np.ndarray) -> dict[str, Any]:
    """Return the scores of predicting the training frequencies, and of decisions corrected by them."""
    if not len(label):
        return {"prior_log_loss": None, "prior_brier": None, "corrected": decision_scores(label, label)}
    floored = np.maximum(prior, LEAST_PROBABILITY)
    return {
        "prior_log_loss": float(-np.log(floored)[label].mean()),
        "prior_brier": float(((prior - np.eye(CLASSES)[label]) ** 2).sum(1).mean()),
        "corrected": decision_scores((probability / floored).argmax(1), label),
    }


def decision_scores(decided: np.ndarray, label: np.ndarray) -> dict[str, float | None]:
    """Return the scores of predicted classes alone, by name; None where a score is undefined."""
    count = np.bincount(CLASSES * label + decided, minlength=CLASSES**2).astype(np.float64)
    confusion = count.reshape(CLASSES, CLASSES)
    of_decisions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "accuracy": lambda table: _ratio(np.trace(table), table.sum()),
        "balanced_accuracy": balanced_accuracy,
        "macro_f1": macro_f1,
        "weighted_f1": weighted_f1,
        "mcc": mcc,
        "kappa": kappa,
    }
    return {name: number(float(score(confusion))) for name, score in of_decisions.items()}
