"""The weights of the parts of the loss: fixed, or learned by homoscedastic uncertainty.

Learned weights (Kendall, Gal and Cipolla, 2018, equations 5 to 10) treat each part L_i as the negative log-likelihood
of a task whose noise has the variance exp(s_i), and minimise

  sum over i of exp(-s_i) L_i + s_i / 2

over the s_i together with the model. L_i is the cross-entropy of a classification, or half the squared error of a
regression, per scored token. At the optimum exp(-s_i) = 1 / (2 L_i): each part counts the same.

The s_i are in a group of their own beside the model's parameters, so that they have moments, are in every checkpoint
and are resumed. A model never reads that group, and `model_part` leaves it out wherever only the model is wanted.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lob_jax.models.config import ModelConfig
from lob_jax.models.expert import OWN
from lob_jax.training.step.objective import Objective

TASKS = "tasks"  # key of the group of the s_i, by part
BESIDE = frozenset({TASKS, OWN})  # groups that are beside the parameters of a model

Parts = dict[str, jax.Array]


def with_tasks(params: Mapping[str, Any], config: ModelConfig) -> dict[str, Any]:
    """Return a model's parameters with s_i = 0 for each part of its loss, so that all weights start at 1."""
    return {**params, TASKS: {part: jnp.zeros((), config.param_dtype) for part in config.heads.losses}}


def model_part(params: Any) -> Any:
    """Return the parameters of the model alone, or what there is for each of them, such as shardings."""
    return {name: group for name, group in params.items() if name not in BESIDE} if BESIDE & params.keys() else params


def task_weights(params: Any) -> Parts:
    """Return the learned weights exp(-s_i) by part; nothing if the weights are fixed."""
    return {part: jnp.exp(-s) for part, s in params[TASKS].items()} if TASKS in params else {}


def weighted_sum(parts: Parts, weight: jax.Array, params: Any, objective: Objective) -> jax.Array:
    """Return the loss, a sum over scored tokens like its parts; an adversarial part belongs to that of the token.

    Args:
      parts: the sum of each part.
      weight: the number of scored tokens.
      params: the parameters, with the s_i if weights are learned.
      objective: the fixed weights, and that of the adversarial part.
    """
    token = parts["token"]
    if "adversarial" in parts:
        token += objective.adversarial_weight * parts["adversarial"]
    if TASKS in params:
        return _learned({**parts, "token": token}, weight, params[TASKS])
    total = token
    if "ahead" in parts:
        total += objective.ahead_weight * parts["ahead"]
    if "direction" in parts:
        total += objective.outlook_weight * (parts["direction"] + parts["volatility"])
    if "contrastive" in parts:
        total += objective.contrastive_weight * parts["contrastive"]
    return total


def _learned(parts: Parts, weight: jax.Array, log_variances: Mapping[str, jax.Array]) -> jax.Array:
    return sum(
        (jnp.exp(-s) * parts[part] + s / 2 * weight for part, s in log_variances.items()), start=jnp.zeros_like(weight)
    )
