"""Observations: means over the scored events of blocks that are fixed in advance."""

from collections.abc import Mapping

import numpy as np

from lob_jax.errors import InputError
from lob_jax.serving.experiments.experiment import Experiment


def block_means(experiment: Experiment, scores: Mapping[str, np.ndarray], *, clip: float | None = None) -> np.ndarray:
    """Return the mean of each complete block of a unit's events, which follow one another and begin with a block.

    The first `gap` events of a block do not count, so that the means of neighbouring blocks lie apart. Events behind
    the last complete block are left out.

    Args:
      experiment: the experiment.
      scores: float64 [N] by arm, of the same events: of all arms in the paired design, of the unit's own in the split
        one. An event that an arm holds for impossible has a log-likelihood of -inf.
      clip: differences beyond this count as this, event by event; None for no limit. The split design has none.

    Returns:
      float64 [N // block, A]. Paired: of the differences from the control, 0 for the control itself. Split: of the
      unit's own arm, NaN for the others.

    Raises:
      InputError: arms are missing, unknown or too many, their events differ in number, or a score is NaN.
    """
    names = [arm.name for arm in experiment.arms]
    _check(experiment, scores, names)
    count = len(next(iter(scores.values()))) // experiment.block
    means = np.full((count, len(names)), np.nan)
    if experiment.design == "split":
        (name,) = scores
        means[:, names.index(name)] = _means(experiment, scores[name], count)
        return means
    control = scores[names[0]]
    for index, name in enumerate(names):
        same = scores[name] == control  # also where both are -inf
        difference = np.subtract(scores[name], control, where=~same, out=np.zeros(len(control)))
        limited = difference if clip is None else np.clip(difference, -clip, clip)
        means[:, index] = _means(experiment, limited, count)
    return means


def _means(experiment: Experiment, values: np.ndarray, count: int) -> np.ndarray:
    blocks = values[: count * experiment.block].reshape(count, experiment.block)
    return blocks[:, experiment.gap :].mean(axis=1)


def _check(experiment: Experiment, scores: Mapping[str, np.ndarray], names: list[str]) -> None:
    wanted = "those of all arms" if experiment.design == "paired" else "those of the unit's own arm alone"
    fits = (
        set(scores) == set(names) if experiment.design == "paired" else len(scores) == 1 and set(scores) <= set(names)
    )
    lengths = {len(values) for values in scores.values()}
    has_nan = any(np.isnan(values).any() for values in scores.values())
    for holds, what, expected, was in (
        (fits, "the arms of the scores are wrong", wanted, sorted(scores)),
        (len(lengths) <= 1, "arms have scores of different events", "one number of events", sorted(lengths)),
        (not has_nan, "a score is not a number", "numbers", "NaN"),
    ):
        if not holds:
            raise InputError(
                what, where=f"experiment {experiment.name}", expected=expected, was=was, remedy="score all events again"
            )
