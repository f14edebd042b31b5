"""Accuracies: how often the likeliest token, or its class, is correct."""

from typing import Any

import numpy as np

from lob_jax.evaluation.metric import Metric, Row, Scored
from lob_jax.tokens import vocabulary as v

N_CLASSES = v.VOCAB_SIZE // v.CLASS_SIZE


def _count(scored: Scored) -> np.ndarray:
    """Return whether token, class and head class are correct, and the class of a head, bool [n, 3 + C]."""
    of_target = scored.target // v.CLASS_SIZE
    same_class, head = scored.predicted // v.CLASS_SIZE == of_target, scored.field == v.FIELD_HEAD
    right = np.stack([scored.predicted == scored.target, same_class, same_class & head], axis=1)
    return np.concatenate([right, head[:, None] & (of_target[:, None] == np.arange(N_CLASSES))], axis=1)


def _figures(sums: np.ndarray, events: int, tokens: int) -> dict[str, Any]:
    right, class_right, head_right, *heads_by_class = sums.tolist()
    return {
        "token_accuracy": right / tokens,
        "event_accuracy": class_right / tokens,
        "head_accuracy": head_right / events,
        "head_majority": max(heads_by_class) / events,
    }


METRIC = Metric(
    count=_count,
    figures=_figures,
    rows=(
        Row("token_accuracy", "token accuracy", ".2%", "share of tokens that the model considered the most likely"),
        Row(
            "event_accuracy",
            "event accuracy",
            ".2%",
            "the same for classes (`token // 1000`); high for any model, since the grammar often leaves one class",
        ),
        Row("head_accuracy", "  of heads alone", ".2%", "share of events whose kind was the most likely one"),
        Row(
            "head_majority",
            "  majority of heads",
            ".2%",
            "share of the most frequent kind: the accuracy of always guessing it",
        ),
    ),
)
