"""The registry of training objectives: each module of `objectives/` defines one as a `TokenObjective`.

This module imports neither JAX nor any objective, so that names in a configuration are checked quickly.
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
    """The parts of the loss and their weights; see `TrainConfig` for the fields. `kind` names a `TokenObjective`."""

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
    """A training objective: the tokens that a model reads, and those that it predicts.

    Attributes:
      predicts: short description of what is predicted, for the table in docs/training.md.
      task: (batch, key, model, objective) -> (tokens_BT, conditioning, targets_BT, weights_BT float32), for windows
        [B, T+1]. Targets with weight 0 are not scored. The key is that of dropout, None without dropout: a random task
        must then draw the same at every call, so that validations are comparable.
      causal: whether the objective requires a causal model, since later tokens reveal the targets.
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
