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
    """Return what rows of blocks hold of the scores of consecutive complete blocks."""
    means = (block_means(experiment, nats, clip=experiment.clip_nats), block_means(experiment, brier, clip=None))
    return [{"nats": packed(nats_A), "brier": packed(brier_A)} for nats_A, brier_A in zip(*means, strict=True)]


def joined(parts: Sequence[Scores], *, skip: int, events: int) -> dict[str, np.ndarray]:
    """Return the scores of consecutive events, without the first ones, and so many."""
    return {arm: np.concatenate([part[arm] for part in parts])[skip : skip + events] for arm in parts[0]}
