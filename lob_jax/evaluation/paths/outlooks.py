"""Score direction and volatility as the paths show them against what the model's direct heads predict."""

import dataclasses
from typing import Any

import numpy as np

from lob_jax.data.labels.moves import NO_LABEL
from lob_jax.evaluation.direction.sums import CLASSES, brier
from lob_jax.evaluation.paths.comparison import compare_losses

FEWEST = 3  # prompts that can be compared
PATHS, HEADS = "paths", "heads"


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Labels at K horizons of what followed N prompts, and the predictions of the heads; see `data.labels.moves`.

    Attributes:
      horizons: the horizons, in events.
      truth_NK: int, the direction that followed; NO_LABEL where it is not known.
      paths_NPK: int, the direction on each path.
      truth_log_NK: the log volatility that followed.
      paths_log_NPK: the log volatility on each path.
      probability_NK3: the heads' probabilities of down, flat and up.
      head_log_NK: the heads' log volatility.
    """

    horizons: tuple[int, ...]
    truth_NK: np.ndarray
    paths_NPK: np.ndarray
    truth_log_NK: np.ndarray
    paths_log_NPK: np.ndarray
    probability_NK3: np.ndarray
    head_log_NK: np.ndarray


def brier_of_draws(draws_NP: np.ndarray, truth_N: np.ndarray) -> np.ndarray:
    """Return an unbiased estimate of the Brier score of the distribution that P >= 2 draws are from, float64 [N].

    The share f of a class among P draws has a variance of its own, estimated by f (1 - f) / (P - 1) (Ferro, 2014).
    """
    share_N3 = np.stack([(draws_NP == one).mean(1) for one in range(CLASSES)], axis=1)
    spread_N = (share_N3 * (1 - share_N3)).sum(1) / (draws_NP.shape[1] - 1)
    return brier(share_N3, truth_N) - spread_N


def squared_error_of_draws(draws_NP: np.ndarray, truth_N: np.ndarray) -> np.ndarray:
    """Return an unbiased estimate of the squared error of the mean of the distribution of P >= 2 draws, float64 [N]."""
    return np.square(draws_NP.mean(1) - truth_N) - draws_NP.var(1, ddof=1) / draws_NP.shape[1]


def score_outlooks(labelled: Labelled, *, seed: int = 0) -> dict[str, Any]:
    """Compare paths and heads by the Brier score of the direction, and the squared error of the log volatility.

    A prompt counts at a horizon at which its real continuation and all of its paths have a label.

    Returns:
      Plain values as in JSON, lists over horizons, None for what is not defined: horizons and prompts (numbers that
      count); brier, accuracy and squared_error, each of "paths" and "heads"; and the `Comparison` of the paths' loss
      with the heads', brier_difference and squared_error_difference.
    """
    found: dict[str, Any] = {"horizons": list(labelled.horizons), "prompts": []}
    found |= {name: {PATHS: [], HEADS: []} for name in ("brier", "accuracy", "squared_error")}
    found |= {"brier_difference": [], "squared_error_difference": []}
    for k in range(len(labelled.horizons)):
        truth_N, paths_NP = labelled.truth_NK[:, k], labelled.paths_NPK[:, :, k]
        at_N = (truth_N != NO_LABEL) & (paths_NP != NO_LABEL).all(1)
        truth_N, paths_NP = truth_N[at_N], paths_NP[at_N]
        probability_N3, logs_N = labelled.probability_NK3[at_N, k], labelled.truth_log_NK[at_N, k]
        counts_N3 = np.stack([(paths_NP == one).sum(1) for one in range(CLASSES)], axis=1)
        found["prompts"].append(int(at_N.sum()))
        losses = {
            "brier": (brier_of_draws(paths_NP, truth_N), brier(probability_N3, truth_N)),
            "accuracy": (counts_N3.argmax(1) == truth_N, probability_N3.argmax(1) == truth_N),
            "squared_error": (
                squared_error_of_draws(labelled.paths_log_NPK[at_N, :, k], logs_N),
                np.square(labelled.head_log_NK[at_N, k] - logs_N),
            ),
        }
        for name, both in losses.items():
            for of, values in zip((PATHS, HEADS), both, strict=True):
                found[name][of].append(float(values.mean()) if len(values) else None)
        for name in ("brier", "squared_error"):
            found[f"{name}_difference"].append(_compared(*losses[name], seed=seed))
    return found


def _compared(first: np.ndarray, second: np.ndarray, *, seed: int) -> dict[str, float | None] | None:
    if len(first) < FEWEST:
        return None
    return compare_losses(first, second, seed=seed).to_json()
