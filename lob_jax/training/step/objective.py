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
    mask_events: bool
    ahead_weight: float
    outlook_weight: float
    contrastive_weight: float
    contrastive_temperature: float
    contrastive_views: str
    view_mask_share: float
    view_mirror: bool
    adversarial: str
    adversarial_eps: float
    adversarial_steps: int
    adversarial_weight: float
    mixup: float


NEXT_TOKEN = Objective(
    kind="next_token",
    loss_block=None,
    mask_share=0.15,
    mask_events=False,
    ahead_weight=0.3,
    outlook_weight=0.3,
    contrastive_weight=0.1,
    contrastive_temperature=0.1,
    contrastive_views="regimes",
    view_mask_share=0.15,
    view_mirror=False,
    adversarial="none",
    adversarial_eps=0.1,
    adversarial_steps=3,
    adversarial_weight=1.0,
    mixup=0.0,
)


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
      revision: raised whenever the same settings give other targets, since validation losses then do not compare.
    """

    predicts: str
    task: Callable[[Batch, jax.Array | None, ModelConfig, Objective], Task]
    causal: bool = True
    settings: tuple[str, ...] = ()
    revision: int = 0


OBJECTIVES = Registry(
    "objective",
    files="training/step/objectives/*.py",
    attribute="OBJECTIVE",
    of=TokenObjective,
    where="config.train.objective",
    first=("next_token", "masked"),
)
