"""Each challenger compared with the control: one observation after another, and the bounds that they give."""

import dataclasses

import numpy as np

from lob_jax.serving.experiments.buckets import share
from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.results import Interval
from lob_jax.serving.experiments.statistics.sequences import bounds, by_unit, rho_for
from lob_jax.serving.experiments.statistics.split import observations

MOST_BRIER = 2.0  # of a difference, either way
# What differences are looked for, and how much observations of them vary, both by experience and before any experiment:
# paired, the differences of blocks; split, the scores of units.
DIFFERENCE = {"nats": 0.02, "brier": 0.005}
SD = {"paired": {"nats": 0.07, "brier": 0.0175}, "split": {"nats": 0.15, "brier": 0.0375}}


@dataclasses.dataclass(frozen=True, eq=False)
class Differences:
    """Observations of the difference between a challenger and the control, in the order of blocks.

    Attributes:
      x: float64 [N].
      unit: int64 [N], the unit of each.
      block: int64 [N], the block of each.
    """

    x: np.ndarray
    unit: np.ndarray
    block: np.ndarray


def differences(
    experiment: Experiment, scores_BA: np.ndarray, unit_B: np.ndarray, challenger: int, *, clip: float | None
) -> Differences:
    """Return the observations of the difference between a challenger and the control.

    Args:
      experiment: the experiment.
      scores_BA: float64 [B, A], see `lob_jax.serving.experiments.results.Kept`.
      unit_B: int64 [B], the unit of each block.
      challenger: the index of its arm.
      clip: see `lob_jax.serving.experiments.statistics.split.observations`; the paired design has clipped before.

    Returns:
      The observations. Blocks on which neither arm, or in the paired design the challenger, has a score give none.
    """
    mine, control = scores_BA[:, challenger], scores_BA[:, 0]
    if experiment.design == "paired":
        block = np.flatnonzero(~np.isnan(mine))
        return Differences(mine[block], unit_B[block], block)
    is_mine = ~np.isnan(mine)
    block = np.flatnonzero(is_mine | ~np.isnan(control))
    score = np.where(is_mine, mine, control)[block]
    x = observations(score, is_mine[block], chance=_chance(experiment, challenger), clip=clip)
    return Differences(x, unit_B[block[1:]], block[1:])


def interval(experiment: Experiment, found: Differences, challenger: int, *, score: str) -> Interval:
    """Return the mean of observations with bounds that hold at all times.

    Args:
      experiment: the experiment; its alpha is shared evenly by all challengers.
      found: see `differences`.
      challenger: the index of its arm.
      score: "nats" or "brier".
    """
    if not len(found.x):
        return Interval(float("nan"), -float("inf"), float("inf"))
    alpha = experiment.alpha / (len(experiment.arms) - 1)
    known, most = by_unit(found.x, found.unit), limit(experiment, score=score)
    low, high = bounds(known, rho=rho(experiment, challenger, score=score), alpha=alpha, limit=most)
    return Interval(float(known.mean), float(low), float(high))


def limit(experiment: Experiment, *, score: str) -> float:
    """Return how large a mean difference can be, by clipping, or because Brier scores lie between 0 and 2."""
    if score == "brier":
        return MOST_BRIER
    return experiment.clip_nats * (1 if experiment.design == "paired" else 2)


def rho(experiment: Experiment, challenger: int, *, score: str) -> float:
    """Return the rho of a comparison, see `lob_jax.serving.experiments.statistics.sequences`: known beforehand."""
    sd = SD[experiment.design][score]
    if experiment.design == "split":
        chance = _chance(experiment, challenger)
        sd *= (1 / chance + 1 / (1 - chance)) ** 0.5
    return rho_for(sd, DIFFERENCE[score])


def _chance(experiment: Experiment, challenger: int) -> float:
    """Return the chance of a challenger for a unit that has it or the control."""
    return share([experiment.control.weight, experiment.arms[challenger].weight], 1)
