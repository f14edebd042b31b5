"""Train a forecaster in memory: AdamW on cross-entropy and pinball loss, with early stopping on the validation loss.

A run depends only on its seed, its configuration and its examples, and is reproducible on one machine.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lob_jax.errors import InputError, TrainingError
from lob_jax.forecasting.config import Forecast
from lob_jax.forecasting.forecasters import measured
from lob_jax.models.apply import apply

Batch = dict[str, Any]

WARMUP_SHARE = 0.05  # share of all steps
MEASURED = 256  # training examples, evenly spaced, on which inputs are measured before the first step
LABELS = ("direction", "move")


class Examples(Protocol):
    """Numbered examples, see `lob_jax.forecasting.examples.ForecastExamples`."""

    def __len__(self) -> int: ...

    def batch(self, numbers: np.ndarray) -> Batch: ...


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """Training settings of a forecaster; there are no defaults.

    Raises:
      InputError: a value is out of range.

    Attributes:
      batch_size: examples per step.
      steps: maximum number of steps.
      learning_rate: peak value; a linear warm-up over the first twentieth of the steps, then a half cosine to 0.
      weight_decay: decoupled, applied to matrices only.
      clip: maximum global gradient norm.
      validate_every: steps between two validations.
      patience: validations without improvement before stopping.
    """

    batch_size: int
    steps: int
    learning_rate: float
    weight_decay: float
    clip: float
    validate_every: int
    patience: int

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "validate_every", "patience"):
            self._require(name, getattr(self, name) >= 1, "a whole number, 1 or more")
        for name in ("learning_rate", "clip"):
            self._require(name, getattr(self, name) > 0, "a number above 0")
        self._require("weight_decay", self.weight_decay >= 0, "a number, 0 or more")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise InputError(
                f"{name} is out of range",
                where=f"config.forecast.{name}",
                expected=expected,
                was=getattr(self, name),
                remedy=f"set an allowed value with --config.forecast.{name}=...",
            )


class Fit(NamedTuple):
    """A trained forecaster.

    Attributes:
      params: parameters of the step with the lowest validation loss, on the host.
      step: that step, counted from 1.
      validation_loss: mean cross-entropy at that step, nats.
      steps: total steps taken.
      losses: (step, validation loss) of every validation.
    """

    params: Any
    step: int
    validation_loss: float
    steps: int
    losses: list[tuple[int, float]]


class Predictions(NamedTuple):
    """The predictions of a forecaster for N examples.

    Attributes:
      probability: float64 [N, K, 3], of down, flat and up.
      quantiles: float64 [N, K, Q], of the mid's move in units of its scale; None if the forecaster predicts none.
    """

    probability: np.ndarray
    quantiles: np.ndarray | None


def direction_loss(forecast: Forecast, batch: Batch) -> jax.Array:
    """Return the mean cross-entropy over examples and horizons, nats."""
    losses_BK = optax.softmax_cross_entropy_with_integer_labels(forecast.direction_BK3, batch["direction"])
    return losses_BK.mean()


def pinball(quantiles_BKQ: jax.Array, move_BK: jax.Array, levels: tuple[float, ...]) -> jax.Array:
    """Return the mean pinball loss max(q e, (q - 1) e) of e = move - quantile (Koenker and Bassett, 1978)."""
    error_BKQ = move_BK[..., None] - quantiles_BKQ
    level_Q = jnp.asarray(levels, error_BKQ.dtype)
    return jnp.maximum(level_Q * error_BKQ, (level_Q - 1) * error_BKQ).mean()


def forecast_loss(forecast: Forecast, batch: Batch, levels: tuple[float, ...]) -> jax.Array:
    """Return the training loss: `direction_loss`, plus `pinball` if the forecast has quantiles."""
    loss = direction_loss(forecast, batch)
    if forecast.quantiles_BKQ is None:
        return loss
    return loss + pinball(forecast.quantiles_BKQ, batch["move"], levels)


def fit(
    module: nn.Module,
    train: Examples,
    validation: Examples,
    *,
    config: FitConfig,
    seed: int,
    on_validation: Callable[[int, float], None] | None = None,
) -> Fit:
    """Train a forecaster from scratch and return it as it was at its lowest validation loss.

    Args:
      module: the forecaster; `module.config` has its quantile levels.
      train: training examples, reshuffled for each epoch.
      validation: examples for early stopping, all of them used at every validation.
      config: training settings.
      seed: seed of parameters, example order and dropout.
      on_validation: called with the steps taken and the validation loss.

    Raises:
      InputError: there are fewer training examples than one batch.
      TrainingError: the validation loss is not finite.
    """
    order, key = _order(len(train), config.batch_size, seed), jax.random.key(seed)
    params = jax.jit(module.init)({"params": key}, _inputs(train.batch(np.zeros(1, np.int64))))["params"]
    spread = np.linspace(0, len(train) - 1, min(MEASURED, len(train))).astype(np.int64)
    params = measured(params, train.batch(spread))
    state, best, losses = (params, make_optimizer(config).init(params)), None, []
    for step in range(1, config.steps + 1):
        state = _step(module, config, state, train.batch(next(order)), jax.random.fold_in(key, step))
        if step % config.validate_every and step != config.steps:
            continue
        loss = _validation_loss(module, state[0], validation, batch_size=config.batch_size, step=step)
        losses.append((step, loss))
        if on_validation is not None:
            on_validation(step, loss)
        if best is None or loss < best.validation_loss:
            # Copy to the host now: the next step donates these buffers.
            best = Fit(jax.device_get(state[0]), step, loss, step, losses)
        elif sum(at > best.step for at, _ in losses) >= config.patience:
            break
    assert best is not None  # the last step validates, and its loss is finite
    return best._replace(steps=step)


def make_optimizer(config: FitConfig) -> optax.GradientTransformation:
    """Return AdamW after global-norm clipping, with warm-up and cosine decay to zero; only matrices are decayed."""
    warmup = max(1, round(WARMUP_SHARE * config.steps))
    # Optax refuses a schedule that ends with its warm-up, hence warmup + 1.
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, max(config.steps, warmup + 1))
    # Optax counts steps from 0, where the warm-up starts at a rate of 0: without + 1 the first step would be lost.
    adamw = optax.adamw(
        lambda count: rate(count + 1), weight_decay=config.weight_decay, mask=functools.partial(jax.tree.map, _decays)
    )
    return optax.chain(optax.clip_by_global_norm(config.clip), adamw)


def _decays(leaf: jax.Array) -> bool:
    return leaf.ndim > 1


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _step(
    module: nn.Module, config: FitConfig, state: tuple[Any, Any], batch: Batch, key: jax.Array
) -> tuple[Any, Any]:
    """Return the parameters and the optimiser state after one step; all seeds share one compilation."""
    params, moments = state

    def loss(params: Any) -> jax.Array:
        forecast = apply(module, {"params": params}, _inputs(batch), deterministic=False, rngs={"dropout": key})
        return forecast_loss(forecast, batch, module.config.quantiles)

    updates, moments = make_optimizer(config).update(jax.grad(loss)(params), moments, params)
    return optax.apply_updates(params, updates), moments


def _inputs(batch: Batch) -> Batch:
    """Return a batch without its labels, so that no forecaster can read them."""
    return {name: array for name, array in batch.items() if name not in LABELS}


def _order(count: int, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the example numbers of each batch endlessly; the incomplete batch at the end of an epoch is dropped."""
    if count < batch_size:
        raise InputError(
            "there are too few examples to fill a batch",
            where="the training split of a forecaster",
            expected=f"at least {batch_size} examples",
            was=count,
            remedy="lower config.forecast.batch_size or config.forecast.stride, or prepare more events",
        )
    return _shuffled(count, batch_size, seed)


def _shuffled(count: int, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    epoch = 0
    while True:
        numbers = np.random.default_rng([seed, epoch]).permutation(count)
        yield from numbers[: count - count % batch_size].reshape(-1, batch_size)
        epoch += 1


def _validation_loss(module: nn.Module, params: Any, examples: Examples, *, batch_size: int, step: int) -> float:
    predicted = predict(module, params, examples, batch_size=batch_size)
    label = np.concatenate([examples.batch(part)["direction"] for part in _parts(len(examples), batch_size)])
    of_label = np.take_along_axis(predicted.probability, label[..., None], axis=-1)
    loss = float(-np.log(np.maximum(of_label, np.finfo(np.float64).tiny)).mean())
    if not math.isfinite(loss):
        raise TrainingError(
            "the forecaster's validation loss is not finite",
            step=step,
            remedy="lower config.forecast.learning_rate, or try another config.seed",
        )
    return loss


def predict(module: nn.Module, params: Any, examples: Examples, *, batch_size: int) -> Predictions:
    """Return the forecaster's predictions for all examples, in order.

    Args:
      module: the forecaster.
      params: its parameters.
      examples: the examples.
      batch_size: examples per call of the forecaster.
    """
    probability, quantiles = [], []
    for part in _parts(len(examples), batch_size):
        filled = np.resize(part, batch_size)  # fill the last batch by repetition, so that one shape is compiled
        forecast = _forecast(module, params, _inputs(examples.batch(filled)))
        probability.append(np.asarray(forecast.direction_BK3, np.float64)[: len(part)])
        if forecast.quantiles_BKQ is not None:
            quantiles.append(np.asarray(forecast.quantiles_BKQ, np.float64)[: len(part)])
    logits = np.concatenate(probability)
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return Predictions(shifted / shifted.sum(-1, keepdims=True), np.concatenate(quantiles) if quantiles else None)


@functools.partial(jax.jit, static_argnums=0)
def _forecast(module: nn.Module, params: Any, inputs: Batch) -> Forecast:
    return apply(module, {"params": params}, inputs)


def _parts(count: int, batch_size: int) -> list[np.ndarray]:
    return np.split(np.arange(count), range(batch_size, count, batch_size))
