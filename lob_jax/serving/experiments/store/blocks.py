"""The blocks that are complete when events of a unit arrive."""

from collections.abc import Mapping, Sequence

import numpy as np

from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.statistics.blocks import block_means
from lob_jax.serving.experiments.store.rows import packed

Scores = Mapping[str, np.ndarray]  # float64 [N] of consecutive events, by arm


def completed(experiment: Experiment, *, kept: int, events: int) -> range:
    """Return the numbers of the blocks of a unit that are complete when events follow those that are kept.

    In the split design only the first block of a unit is one.
    """
    numbers = range(kept // experiment.block, (kept + events) // experiment.block)
    return range(numbers.start, min(numbers.stop, 1)) if experiment.design == "split" else numbers


def block_rows(experiment: Experiment, nats: Scores, brier: Scores) -> list[dict[str, bytes]]:
    """Return what rows of blocks hold of the scores of consecutive complete blocks, see `joined`."""
    means = (_means(experiment, nats, clip=experiment.clip_nats), _means(experiment, brier, clip=None))
    return [{"nats": packed(nats_A), "brier": packed(brier_A)} for nats_A, brier_A in zip(*means, strict=True)]


def joined(parts: Sequence[Scores], *, skip: int, events: int) -> dict[str, np.ndarray]:
    """Return the scores of consecutive events, without the first ones, and so many; NaN where an arm has none."""
    counts = [len(next(iter(part.values()))) for part in parts]
    nothing = [np.full(count, np.nan) for count in counts]
    pairs = list(zip(parts, nothing, strict=True))
    arms = {arm: None for part in parts for arm in part}
    return {arm: np.concatenate([part.get(arm, none) for part, none in pairs])[skip : skip + events] for arm in arms}


def _means(experiment: Experiment, scores: Scores, *, clip: float | None) -> np.ndarray:
    """Return the means of blocks; NaN for an arm in a block on whose events it has not all scores."""
    if experiment.design == "split":
        return block_means(experiment, scores, clip=clip)
    control = scores[experiment.control.name]
    nothing = np.full(len(control), np.nan)
    all_arms = {arm.name: scores.get(arm.name, nothing) for arm in experiment.arms}
    whole = {arm: np.where(np.isnan(values), control, values) for arm, values in all_arms.items()}
    means = block_means(experiment, whole, clip=clip)
    for index, values in enumerate(all_arms.values()):
        blocks = values[: len(means) * experiment.block].reshape(len(means), experiment.block)
        means[np.isnan(blocks).any(axis=1), index] = np.nan
    return means
