"""What a model is trained for: `TokenObjective` says what an objective is, and each module of `objectives/` is one.

Importing this module imports neither JAX nor any objective, so that a configuration's names are checked quickly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from lob_jax.registry import Registry

if TYPE_CHECKING:
    import jax

    from lob_jax.models.config import ModelConfig
    from lob_jax.training.step.shift import Batch, Task


@dataclasses.dataclass(frozen=True)
class Objective:
    """What the loss is made of; see `TrainConfig` for its fields. `kind` names a `TokenObjective`."""

    kind: str
    loss_block: int | None
    mask_share: float
    ahead_weight: float
    outlook_weight: float
    contrastive_weight: float
    contrastive_temperature: float


NEXT_TOKEN = Objective("next_token", None, 0.15, 0.3, 0.3, 0.1, 0.1)


@dataclasses.dataclass(frozen=True)
class TokenObjective:
    """Which tokens a model reads, and which it is to predict at each of them.

    Attributes:
      predicts: what, in a few words, for the table in docs/training.md.
      task: (batch, key, model, objective) -> (tokens_BT, what is known beside them, targets_BT, weights_BT float32), of
        windows [B, T+1]. At a weight of 0 nothing is predicted. The key is dropout's, None where there is no dropout:
        a task that draws must then draw the same at every call, so that validations compare.
      causal: what is predicted at a token may not be read from later ones: the model sees the past alone.
      settings: the keys of `train` that it reads.
    """

    predicts: str
    task: Callable[[Batch, jax.Array | None, ModelConfig, Objective], Task]
    causal: bool = True
    settings: tuple[str, ...] = ()


OBJECTIVES = Registry(
    "objective",
    files="training/step/objectives/*.py",
    attribute="OBJECTIVE",
    of=TokenObjective,
    where="config.train.objective",
    first=("next_token", "masked"),
)
