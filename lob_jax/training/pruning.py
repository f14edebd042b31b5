"""Structured pruning: measure how important each attention head and feed-forward column is, and how many to keep.

The importance of a unit u (see `models.pruning`) is how much the loss would change, to first order, if its output were
multiplied by a gate g_u that goes from 1 to 0 (Michel et al., 2019, equation 2; Molchanov et al., 2019, use the square
of the same first-order term):

  I_u = (sum over windows w of |dL_w / dg_u|) / (number of scored tokens),

in nats per token, where L_w is the loss summed over window w. By the chain rule dL_w / dg_u is the sum, over the tokens
of the window, of the unit's output times the gradient with respect to it: no gate has to be in the model, since gates
are factors of the rows of its last matrix.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.errors import InputError
from lob_jax.models.attention.kind import KINDS
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import fields_read
from lob_jax.models.masking import Masks
from lob_jax.models.pruning import Units, units_of, with_gates
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.step.objective import NEXT_TOKEN, Objective
from lob_jax.training.step.parts import summed_loss
from lob_jax.training.step.shift import Batch, join


@dataclasses.dataclass(frozen=True)
class PruneConfig:
    """The prune section of a configuration. It has no defaults: those live in configs/base.py alone.

    Attributes:
      into: folder of the new run.
      heads: share of the attention heads to remove from each block.
      columns: share of the feed-forward columns to remove from each block.
      windows: training windows on which importance is measured.

    Raises:
      InputError: a value is out of range.
    """

    into: str
    heads: float
    columns: float
    windows: int

    def __post_init__(self) -> None:
        for key in ("heads", "columns"):
            self._require(key, 0 <= getattr(self, key) < 1, "a number in [0, 1)", "0.25 removes a quarter")
        self._require("windows", self.windows >= 1, "1 or more", "256 are enough for most models")

    def _require(self, key: str, holds: bool, expected: str, remedy: str) -> None:
        if not holds:
            raise InputError(
                "the configuration is invalid",
                where=f"config.prune.{key}",
                expected=expected,
                was=getattr(self, key),
                remedy=remedy,
            )


def kept_counts(model: ModelConfig, config: PruneConfig) -> tuple[int, int]:
    """Return the number of heads and of columns that each block keeps.

    The share to remove is rounded to a whole number, half up; of heads that have roles, see `AttentionKind`, to a whole
    number in each role.

    Raises:
      InputError: a share removes nothing, or everything; or both are 0.
    """
    if config.heads == config.columns == 0:
        raise InputError(
            "there is nothing to remove",
            where="config.prune.heads and config.prune.columns",
            expected="at least one share above 0",
            was=0,
            remedy="pass --config.prune.heads=0.25, say",
        )
    roles = KINDS[model.attention.kind].roles(model)
    heads = _kept(model.n_heads, config.heads, roles, "heads", f"heads with {roles} roles" if roles > 1 else "heads")
    return heads, _kept(model.d_ff, config.columns, 1, "columns", "columns")


def _kept(count: int, share: float, groups: int, key: str, what: str) -> int:
    """Return how many of `count` units are left, in equal groups, once a share of each group is removed."""
    size = count // groups
    removed = math.floor(share * size + 0.5)
    if share and not 0 < removed < size:
        least, most = 0.5 / size, 1 - 0.5 / size
        possible = f" or a share from {least:.4g} to below {most:.4g}" if size > 1 else ""
        raise InputError(
            f"this share removes {'none' if removed == 0 else 'all'} of the {key}",
            where=f"config.prune.{key}",
            expected=f"0{possible}: each block has {count} {what}",
            was=share,
            remedy=f"pass --config.prune.{key}=" + (f"{math.ceil(1e4 / size) / 1e4:g}" if size > 1 else "0"),
        )
    return count - groups * removed


def importance(
    params: Any,
    batches: Sequence[Batch],
    *,
    model: LOBTransformer,
    objective: Objective = NEXT_TOKEN,
    masks: Masks | None = None,
) -> Units:
    """Return the importance of each unit, float64 [L, U], nats per scored token; without dropout.

    Args:
      params: the parameters.
      batches: windows of the training split, in batches of any size.
      model: the model.
      objective: the parts of the loss and their weights.
      masks: see `summed_loss`.
    """
    layers = model.config.n_layers
    ones = {name: jnp.ones((layers, units)) for name, units in units_of(model.config).items()}

    @jax.jit
    def of_window(params: Any, window: Batch) -> tuple[Units, jax.Array]:
        def loss(gates: Units) -> tuple[jax.Array, jax.Array]:
            sums = summed_loss(with_gates(params, gates), window, None, model=model, objective=objective, masks=masks)
            return sums[0], sums[1]

        return jax.grad(loss, has_aux=True)(ones)

    windows = join(batches, fields_read(model.config))
    total, scored = {name: np.zeros(one.shape) for name, one in ones.items()}, 0.0
    for index in range(len(windows["tokens"])):
        window = {name: leaf[index : index + 1] for name, leaf in windows.items()}
        found, weight = jax.device_get(of_window(params, window))
        total = {name: total[name] + np.abs(found[name]) for name in total}
        scored += float(weight)
    return {name: score / max(scored, 1.0) for name, score in total.items()}
