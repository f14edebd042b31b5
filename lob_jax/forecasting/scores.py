"""Score direction forecasts, with averages over seeds and intervals from a block bootstrap.

Neighbouring examples share most of their past and future, so single examples are not independent draws. The bootstrap
therefore resamples blocks of consecutive events at least as long as the longest horizon (Künsch, 1989; here without
overlap). Every score is a function of sums over examples (the multiclass MCC, of the confusion matrix), so a bootstrap
draw only has to add up the sums of the drawn blocks.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.errors import InputError

CLASSES = 3
BINS = 15  # equal-width bins of the predicted class's probability over (0, 1], as in Guo et al. (2017)
LEAST_PROBABILITY = 1e-9  # floor in the log loss, so that one example given probability 0 does not decide it
COVERAGE = 0.95  # coverage of an interval
SCORES = ("macro_f1", "mcc", "log_loss", "ece", "accuracy")


@dataclasses.dataclass(frozen=True, eq=False)
class Sums:
    """The sums over examples that every score is a function of, with any leading axes.

    Attributes:
      confusion: float64 [..., 3, 3], rows are true classes, columns predicted classes.
      log_loss: float64 [...], sum of -log p(true class), nats.
      bins: float64 [..., BINS, 2], per bin: the summed probability of the predicted class, and how often it was right.
    """

    confusion: np.ndarray
    log_loss: np.ndarray
    bins: np.ndarray

    def drawn(self, times: np.ndarray) -> "Sums":
        """Return the sums [D, ...] of D bootstrap draws; `times` [D, blocks] is how often each block was drawn."""
        parts = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Sums(*(np.tensordot(times, part, axes=1) for part in parts))


def block_sums(probability: np.ndarray, label: np.ndarray, block: np.ndarray) -> Sums:
    """Return the sums of each block, with a leading axis of blocks.

    Args:
      probability: float [N, 3]; the predicted class is the most likely one, the first among ties.
      label: int [N], true classes.
      block: int [N], block of each example, 0..blocks-1.

    Raises:
      InputError: there is no example.
    """
    if not len(label):
        raise InputError(
            "there is no forecast to score",
            where="block_sums",
            expected="at least one example",
            was=0,
            remedy="forecast more events",
        )
    blocks, decided = int(block.max()) + 1, probability.argmax(1)
    confidence = probability[np.arange(len(label)), decided]
    # ceil - 1, not floor: the bins are open below and closed above, and a probability of exactly 1 is in the last one.
    bin_of = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    of_label = np.maximum(probability[np.arange(len(label)), label], LEAST_PROBABILITY)

    def add(index: np.ndarray, cells: int, weights: np.ndarray | None) -> np.ndarray:
        return np.bincount(block * cells + index, weights, minlength=blocks * cells).reshape(blocks, cells)

    return Sums(
        confusion=add(CLASSES * label + decided, CLASSES**2, None).reshape(-1, CLASSES, CLASSES).astype(np.float64),
        log_loss=add(np.zeros_like(block), 1, -np.log(of_label))[:, 0],
        bins=np.stack([add(bin_of, BINS, confidence), add(bin_of, BINS, (decided == label) * 1.0)], axis=-1),
    )


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Return F1 = 2 TP / (2 TP + FP + FN) averaged over the three classes.

    F1 is 0 for a class that neither occurs nor is predicted.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    either = confusion.sum(-1) + confusion.sum(-2)
    return np.divide(2 * right, either, out=np.zeros_like(right, np.float64), where=either > 0).mean(-1)


def mcc(confusion: np.ndarray) -> np.ndarray:
    """Return the multiclass Matthews correlation of true and predicted classes (Gorodkin, 2004).

    (c s - sum_k p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)) for s examples, c of them predicted correctly;
    class k is predicted p_k times and occurs t_k times. 0 if all predictions or all labels are the same class.
    """
    came, said, total = confusion.sum(-1), confusion.sum(-2), confusion.sum((-2, -1))
    right = np.trace(confusion, axis1=-2, axis2=-1)
    above = right * total - (came * said).sum(-1)
    below = np.sqrt((total**2 - (said**2).sum(-1)) * (total**2 - (came**2).sum(-1)))
    return np.divide(above, below, out=np.zeros_like(above, np.float64), where=below > 0)


def scores(sums: Sums) -> dict[str, np.ndarray]:
    """Return every score by name, each with the leading axes of the sums.

    `ece` is the expected calibration error of the predicted class: over BINS equal-width bins of its probability, the
    absolute difference between mean probability and accuracy, weighted by the bin's share of the examples.
    """
    total = sums.confusion.sum((-2, -1))
    return {
        "macro_f1": macro_f1(sums.confusion),
        "mcc": mcc(sums.confusion),
        "log_loss": sums.log_loss / total,
        "ece": np.abs(sums.bins[..., 0] - sums.bins[..., 1]).sum(-1) / total,
        "accuracy": np.trace(sums.confusion, axis1=-2, axis2=-1) / total,
    }


def draw_blocks(blocks: int, *, draws: int, seed: int) -> np.ndarray:
    """Return how often each block is drawn, float64 [draws, blocks].

    Each draw takes `blocks` blocks with replacement.
    """
    random = np.random.default_rng(seed)
    return random.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws).astype(np.float64)


def seed_scores(of_seeds: list[Sums], times: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return the mean of each score over seeds, with its standard deviation and its bootstrap interval.

    Args:
      of_seeds: block sums of the same examples, one per seed.
      times: the result of `draw_blocks`; every seed is scored on the same draws.

    Returns:
      For each score: mean; std over seeds (0 for a single seed); draws, float64 [D], the mean over seeds in each draw,
      for comparison with another model on the same draws; low and high, between which COVERAGE of those draws lies.
    """
    whole = np.ones((1, times.shape[1]))
    points = [scores(one.drawn(whole)) for one in of_seeds]
    drawn = [scores(one.drawn(times)) for one in of_seeds]
    result = {}
    for name in SCORES:
        values, means = np.array([point[name][0] for point in points]), np.mean([one[name] for one in drawn], axis=0)
        low, high = interval(means)
        result[name] = {"mean": values.mean(), "std": values.std(), "low": low, "high": high, "draws": means}
    return result


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Return the percentiles between which COVERAGE of the draws lies."""
    low, high = np.quantile(draws, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """Return one score minus another, with its interval; both must come from the same draws of blocks.

    Differences are taken draw by draw: what both models find hard cancels, so the interval is narrower than one
    computed from two separate intervals.
    """
    low, high = interval(one["draws"] - other["draws"])
    return {"mean": float(one["mean"] - other["mean"]), "low": low, "high": high}


def pinball_ticks(quantiles: np.ndarray, move: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Return the mean pinball loss of each horizon, float64 [K]; quantiles [N, K, Q] and moves [N, K], all in ticks."""
    error = move[..., None] - quantiles
    level = np.array(levels)
    return np.maximum(level * error, (level - 1) * error).mean((0, 2))
