"""What training carries from step to step: `TrainState`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lob_jax.models.config import ModelConfig
from lob_jax.models.embeddings import with_moments
from lob_jax.models.expert import OWN, TABLES, own_shapes
from lob_jax.models.heads import initial_biases
from lob_jax.models.transformer import initial_parameters
from lob_jax.training.config import TrainConfig
from lob_jax.training.step.loss_scale import LossScale, first_scale
from lob_jax.training.step.paths import by_path, nested
from lob_jax.training.step.tasks import model_part, with_tasks
from lob_jax.training.step.tuning import EVERYTHING, Tuning, make_tuning

INITIAL = 2**32 - 1  # folded into the key for the initial parameters; no step has this number


class Measured(NamedTuple):
    """What is measured on the training data for the initial parameters.

    Attributes:
      token_counts: int [V], occurrences of each token. The head's biases are initialised to the log frequencies, so
        that no steps are spent on learning them, see `models.heads.initial_biases`; to 0 if None.
      counts: the tables of a count model, and the own counts of blocks, see
        `lob_jax.training.run.count_tables`; None for none, whose tables are zero.
      moments: float32 [2, F], mean and standard deviation of each feature of the inputs that a model standardises, by
        name; 0 and 1 for an input that is not there.
    """

    token_counts: np.ndarray | None = None
    moments: Mapping[str, np.ndarray] = MappingProxyType({})
    counts: Mapping[str, Mapping[str, np.ndarray]] | None = None


NOTHING_MEASURED = Measured()


@flax.struct.dataclass
class TrainState:
    """Everything that the next step depends on, except its batch.

    Attributes:
      step: int32, optimiser steps taken, skipped ones included.
      params: the parameters, float32; with learned weights of tasks, these as well, see `tasks`.
      opt_state: the optimiser's state.
      average: exponential moving average of the parameters; None if the run has none.
      loss_scale: loss scale for float16; None for other dtypes.
      key_data: uint32, data of the random key that every step folds its number into.
      skipped: int32, steps skipped because the loss or a gradient was not finite.
      skipped_in_row: int32, how many steps in a row, up to the latest, were skipped.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    average: Any
    loss_scale: LossScale | None
    key_data: jax.Array
    skipped: jax.Array
    skipped_in_row: jax.Array

    @property
    def judged(self) -> Any:
        """Return the parameters to validate, of the model alone: the average if there is one."""
        return model_part(self.params if self.average is None else self.average)


def kept_beside(config: TrainConfig, model: ModelConfig) -> dict[str, Any]:
    """Return what settings say of a state: the arguments averaged, learned_tasks and tuning of `init_state`.

    Raises:
      InputError: as in `make_tuning`.
    """
    return {
        "averaged": config.ema_decay is not None,
        "learned_tasks": config.task_weights == "learned",
        "tuning": make_tuning(config, abstract_params(model)),
    }


def init_state(
    config: ModelConfig,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    averaged: bool = False,
    learned_tasks: bool = False,
    measured: Measured = NOTHING_MEASURED,
    tuning: Tuning = EVERYTHING,
    taken: Mapping[str, jax.Array] = MappingProxyType({}),
) -> TrainState:
    """Return the state before the first step.

    Args:
      config: the model.
      optimizer: the optimiser.
      seed: seed of the parameters and of dropout.
      averaged: whether to keep a moving average of the parameters.
      learned_tasks: whether the weights of the parts of the loss are learned, see `tasks`.
      measured: what the parameters that are not random are initialised to.
      tuning: which parameters are trained.
      taken: parameters of another run, by path, that replace random ones where they are not NaN.
    """
    key = jax.random.key(seed)
    params = initial_parameters(config, jax.random.fold_in(key, INITIAL))
    if measured.token_counts is not None:
        biases = initial_biases(config, measured.token_counts)
        in_dtype = {name: jnp.asarray(bias, config.param_dtype) for name, bias in biases.items()}
        params = {**params, "head": {**params["head"], **in_dtype}}
    params = with_taken(params, taken)
    for name in config.standardized:
        if name in measured.moments:
            params = {**params, "embeddings": with_moments(params["embeddings"], name, measured.moments[name])}
    if config.counts:
        params = with_counts(params, config, measured.counts)
    how: dict[str, Any] = {"averaged": averaged, "learned_tasks": learned_tasks, "tuning": tuning}
    return first_state(params, config, optimizer, seed=seed, **how)


def with_counts(
    params: Mapping[str, Any], config: ModelConfig, counts: Mapping[str, Mapping[str, np.ndarray]] | None
) -> dict[str, Any]:
    """Return parameters with the tables of a count model, and beside them the own counts of blocks."""
    if counts is None:
        return {**params, OWN: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), own_shapes(config))}
    tables = {name: jnp.asarray(leaf, config.param_dtype) for name, leaf in counts[TABLES].items()}
    return {**params, TABLES: tables, OWN: jax.tree.map(jnp.asarray, dict(counts[OWN]))}


def with_taken(params: Any, taken: Mapping[str, jax.Array]) -> Any:
    """Return parameters with those of another run in place of their own, by path, where they are not NaN."""
    if not taken:
        return params
    leaves = by_path(params)
    return nested({**leaves, **{name: jnp.where(jnp.isnan(of), leaves[name], of) for name, of in taken.items()}})


def first_state(
    params: Any,
    config: ModelConfig,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    averaged: bool,
    learned_tasks: bool = False,
    tuning: Tuning = EVERYTHING,
) -> TrainState:
    """Return the state before the first step of a run that starts with a model's parameters; see `init_state`."""
    key, zero = jax.random.key(seed), jnp.zeros((), jnp.int32)
    params = with_tasks(params, config) if learned_tasks else params
    return TrainState(
        step=zero,
        params=params,
        opt_state=tuning.first(params, optimizer, key),
        # Copies, since the state is donated and a buffer can be donated only once.
        average=jax.tree.map(jnp.copy, params) if averaged else None,
        loss_scale=first_scale(config.dtype),
        key_data=jax.random.key_data(key),  # plain numbers, which any checkpoint format can store
        skipped=zero,
        skipped_in_row=zero,
    )


def abstract_params(config: ModelConfig) -> Any:
    """Return the shapes and dtypes of the parameters, without computing them."""
    return jax.eval_shape(lambda: initial_parameters(config, jax.random.key(0)))
