"""Calibration: whether what a model predicts with probability p comes true in a share p of the cases."""

import math
from typing import Any

import numpy as np

from lob_jax.evaluation.likelihood.scores import InGrammar, TokenScores
from lob_jax.tokens.vocabulary import CLASS_SIZE, CLASSES, FIELD_SPECIAL, FIELDS

BINS = 15


def calibration(scores: TokenScores, target: np.ndarray) -> dict[str, Any]:
    """Return the calibration of a model's likeliest tokens by field, and of its probabilities of the event kinds.

    A token's field here is what the grammar knows before the token. By the field of the token itself, the cases would
    be chosen by their outcome: where a number may end or go on, "gap" would hold only the cases in which it ended.

    Args:
      scores: scores with a grammar.
      target: int64 [N], the tokens that came.

    Returns:
      Plain values as in JSON: "all" and the fields, each as `reliability` of the likeliest token; and "kinds", with the
      same for the probability of each class of a head before heads, by name, and their mean "ece".
    """
    grammar = scores.grammar
    assert grammar is not None, "calibration by field needs the grammar's states"
    right = scores.predicted == target
    found: dict[str, Any] = {"all": reliability(scores.confidence, right)}
    for field, name in enumerate(FIELDS):
        here = grammar.field == field
        if field != FIELD_SPECIAL and here.any():
            found[name] = reliability(scores.confidence[here], right[here])
    if len(grammar.head):
        found["kinds"] = _kinds(grammar, target)
    return found


def _kinds(grammar: InGrammar, target: np.ndarray) -> dict[str, Any]:
    came = target[grammar.head] // CLASS_SIZE
    each = {
        CLASSES[kind].lower(): reliability(grammar.head_probability[:, kind], came == kind)
        for kind in range(grammar.head_probability.shape[1])
        if (came == kind).any()
    }
    return {"ece": float(np.mean([one["ece"] for one in each.values()])), "by_kind": each}


def reliability(probability: np.ndarray, came: np.ndarray, *, bins: int = BINS) -> dict[str, Any]:
    """Compare predicted probabilities with how often they came true, in bins of equal counts.

    The expected calibration error (Naeini et al., 2015) is the mean over the bins of |frequency - mean probability|,
    weighted by count. By chance, it is above 0 even for a perfectly calibrated model: `ece_by_chance` is its
    expectation then, with the mean absolute deviation of a normal variable for that of a bin's frequency.
    `rms_debiased` is the root of the mean squared error from which each bin's variance is subtracted (Kumar et al.,
    2019, section 4), 0 if the variance is the larger.

    Args:
      probability: float [N], N > 0.
      came: bool [N].
      bins: number of bins; fewer if there are fewer cases.

    Returns:
      count, ece, ece_by_chance and rms_debiased; and for each bin, in ascending order of probability: "probability"
      (mean), "frequency" and "counts".
    """
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    counts = np.array([len(part) for part in parts])
    mean = np.array([probability[part].mean(dtype=np.float64) for part in parts])
    frequency = np.array([came[part].mean(dtype=np.float64) for part in parts])
    share, error = counts / counts.sum(), frequency - mean
    chance = np.array([(probability[part] * (1.0 - probability[part])).mean(dtype=np.float64) for part in parts])
    variance = frequency * (1 - frequency) / np.maximum(counts - 1, 1)
    return {
        "count": len(order),
        "ece": float((share * np.abs(error)).sum()),
        "ece_by_chance": float((share * np.sqrt(2 / math.pi * chance / counts)).sum()),
        "rms_debiased": math.sqrt(max(0.0, float((share * (np.square(error) - variance)).sum()))),
        "probability": mean.tolist(),
        "frequency": frequency.tolist(),
        "counts": counts.tolist(),
    }
