"""How well events were predicted: likelihood beside counts, calibration, coverage and sharpness, as plain numbers.

A calibrated forecast of a class, whatever its probabilities p, passes two tests that need only what came. Let c be the
class that came, A = the sum of p over the classes likelier than c (`Scored.likelier`), and p(c) its own probability
(`Scored.chance`).

* For V uniform on (0, 1) and independent, U = A + V p(c) is uniform on (0, 1): the classes, the likeliest first, lie on
  (0, 1) side by side, each as wide as it is probable; c comes with probability p(c), and U is then uniform on its part.
  This is the randomised probability integral transform (Czado, Gneiting and Held, 2009, section 2) of the rank of c.
  Hence E[A + p(c) / 2] = E[U] = 1/2, and the smallest set of classes that holds a given probability, with its last
  class in it only as often as the probability needs, contains c with that probability: U <= level.
* Where classes are equally likely, A is the same for all of them, and U is uniform on too narrow a part. The
  probabilities of a network are never exactly equal, but those of classes that the book excludes, which are all 0.

The Brier score is that of all classes (Brier, 1950), from 0 to 2. U says nothing of sharpness: a forecast of the
climatological frequencies is calibrated, too. Likelihood and Brier score say both.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

BLOCK = 64  # events whose mean is an observation in standard errors, as consecutive events are not independent
FEWEST_BLOCKS = 8  # that have a standard error
FLOOR = -100.0  # nats: less likely events count so, so that one that is impossible leaves the mean a number
PARTS = 10  # of (0, 1), in the histogram of U
LEVELS = (0.5, 0.9)  # of the sets whose coverage is counted


class Scores(NamedTuple):
    """What is known of N events, float64 [N] each; NaN where it is not known.

    Attributes:
      nats: log-likelihood under the model.
      baseline: log-likelihood under the counts of the training split.
      brier: see `lob_jax.serving.requests.Scored`, as the others.
      transform: U, see above.
      entropy_bits: of the distribution over heads.
      removed: the share of heads that the book excludes.
      outside: 1 if the event is outside what the book allows, else 0.
    """

    nats: np.ndarray
    baseline: np.ndarray
    brier: np.ndarray
    transform: np.ndarray
    entropy_bits: np.ndarray
    removed: np.ndarray
    outside: np.ndarray


@dataclasses.dataclass(frozen=True)
class Quality:
    """How well events were predicted; None where too little is known.

    Attributes:
      events: how many events were scored.
      nats: mean log-likelihood of an event under the model.
      nats_se: its standard error, of means over blocks of BLOCK events.
      paired: how many of the events counts have predicted, too.
      baseline_nats: mean log-likelihood of these under counts.
      gain_nats: by how much the model's mean exceeds that of the counts, on the same events.
      gain_se: its standard error, of means over blocks.
      brier: mean Brier score of the classes, 0 to 2.
      classes: how many events have probabilities of classes.
      transform_mean: mean of U, 1/2 if calibrated: more if what came was less likely than the model said.
      transform_error: the total variation distance of the histogram of U from the uniform one, 0 to 0.9.
      transform_error_by_chance: about what it is expected to be for independent events of a calibrated model.
      histogram: shares of U in PARTS equal parts of (0, 1), ascending; empty if no event has a U.
      covered_50: how often the event's class was in the smallest set with a probability of 50 %.
      covered_90: the same for 90 %.
      entropy_bits: mean entropy of the distribution over heads.
      removed: mean share of the heads that the book excludes.
      outside: share of events outside what the book allows.
    """

    events: int
    nats: float | None
    nats_se: float | None
    paired: int
    baseline_nats: float | None
    gain_nats: float | None
    gain_se: float | None
    brier: float | None
    classes: int
    transform_mean: float | None
    transform_error: float | None
    transform_error_by_chance: float | None
    histogram: tuple[float, ...]
    covered_50: float | None
    covered_90: float | None
    entropy_bits: float | None
    removed: float | None
    outside: float | None


def quality_of(scores: Scores) -> Quality:
    """Return how well some events, in order, were predicted."""
    nats = np.maximum(scores.nats, FLOOR)
    gain = nats - np.maximum(scores.baseline, FLOOR)
    transform = scores.transform[~np.isnan(scores.transform)]
    histogram, error, chance = uniformity(transform)
    return Quality(
        events=len(nats),
        nats=_mean(nats),
        nats_se=block_error(nats),
        paired=int(np.count_nonzero(~np.isnan(gain))),
        baseline_nats=_mean(np.maximum(scores.baseline, FLOOR)),
        gain_nats=_mean(gain),
        gain_se=block_error(gain),
        brier=_mean(scores.brier),
        classes=len(transform),
        transform_mean=_mean(transform),
        transform_error=error,
        transform_error_by_chance=chance,
        histogram=histogram,
        covered_50=_mean(transform <= LEVELS[0]),
        covered_90=_mean(transform <= LEVELS[1]),
        entropy_bits=_mean(scores.entropy_bits),
        removed=_mean(scores.removed),
        outside=_mean(scores.outside),
    )


def transform_of(likelier: np.ndarray, chance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return U = likelier + V chance for each event, float64 [N], with V drawn for each."""
    return likelier + rng.random(len(chance)) * chance


def block_error(values: np.ndarray) -> float | None:
    """Return the standard error of a mean, from the means of blocks of BLOCK consecutive values.

    The means of blocks that are long beside the memory of the series are almost independent (Carlstein, 1986); where
    its memory is longer, the error is too small.

    Args:
      values: float64 [N]; NaNs are left out before blocks are formed.

    Returns:
      The standard error; None for fewer than FEWEST_BLOCKS blocks.
    """
    known = values[~np.isnan(values)]
    blocks = len(known) // BLOCK
    if blocks < FEWEST_BLOCKS:
        return None
    means = known[: blocks * BLOCK].reshape(blocks, BLOCK).mean(1)
    return float(means.std(ddof=1) / math.sqrt(blocks))


def uniformity(transform: np.ndarray) -> tuple[tuple[float, ...], float | None, float | None]:
    """Return the histogram of U, its distance from the uniform one, and the distance that chance alone explains.

    A share of n independent draws has a variance of q (1 - q) / n with q = 1 / PARTS, and about the mean absolute
    deviation of a normal variable, sqrt(2 / pi) standard deviations; the distance is half the sum of PARTS of them.
    """
    count = len(transform)
    if not count:
        return (), None, None
    part = np.minimum((transform * PARTS).astype(np.int64), PARTS - 1)
    share = np.bincount(np.maximum(part, 0), minlength=PARTS) / count
    chance = PARTS / 2 * math.sqrt(2 / math.pi / count * (1 / PARTS) * (1 - 1 / PARTS))
    return tuple(share.tolist()), float(np.abs(share - 1 / PARTS).sum() / 2), chance


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    return float(known.mean()) if len(known) else None
