"""The small model of paired comparisons, and what a variant of it is."""

import dataclasses
from collections.abc import Mapping
from typing import Any

BASE = "lobster_day"  # of the configuration that is changed by COMMON
LEARNING_RATE = 5e-3
COMMON = {
    "data.mirror": False,
    "model.d_model": 64,
    "model.n_layers": 3,
    "model.d_ff": 256,
    "model.dropout": 0.1,
    "train.batch_size": 8,
    "train.warmup_steps": 30,
    "train.optimizer": "muon",  # of tiny, which is of this size
    "train.learning_rate": LEARNING_RATE,
    "train.log_every": 25,
    "train.validation_windows": 64,
    "train.keep_best": 1,
    "generate.paths": 1,
    "score.splits": 50,
    "score.resamples": 2,  # the intervals of a single cell are not used
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """A variant of the reference.

    Attributes:
      changes: the settings that differ from COMMON, by key.
      reference: name of the variant that it is compared with; None for a reference.
      about: what it is, in words.
      start: name of the variant whose run of the same seed it starts from; None for random parameters.
    """

    changes: Mapping[str, Any]
    reference: str | None
    about: str
    start: str | None = None
