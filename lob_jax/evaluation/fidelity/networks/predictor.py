"""The predictive score: an LSTM learns from generated flow to predict the mid, and is tested on real flow.

Two layers of 128 units read the messages of a sequence with the best quotes after each, and predict the move of the
mid over the next messages; after Yoon, Jarrett and van der Schaar, 2019, whose score is the mean absolute error of the
next value. As with the linear predictors of `fidelity.usefulness`, every real sequence is tested once, by a network
that learnt from other real sequences and by one that learnt from as many generated ones. Adam at 1e-3 on three quarters
of the sequences; the epoch is chosen on the last quarter. Each network takes a minute or so on two cores.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.table import Table

from lob_jax.evaluation.fidelity.measure import Progress, number
from lob_jax.evaluation.fidelity.networks.inputs import STEPS, in_steps, sequence_inputs
from lob_jax.evaluation.fidelity.usefulness import (
    CLIP,
    CONFIDENCE,
    LEAST,
    described,
    drawn_half,
    imbalance,
    learnt_from,
)
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import mid_ticks, spread_ticks
from lob_jax.statistics.flow_sums import ratio

HORIZONS = (1, 10)  # messages: the next mid, and the horizon of the linear predictors
HELD = 4  # one sequence of so many chooses the epoch


@dataclasses.dataclass(frozen=True)
class PredictorConfig:
    """Size and training of the LSTM.

    Attributes:
      units: of each layer.
      horizons: messages over which the move of the mid is predicted.
      learning_rate: of Adam.
      batch_size: sequences per step.
      epochs: passes over the training sequences.
    """

    units: tuple[int, ...] = (128, 128)
    horizons: tuple[int, ...] = HORIZONS
    learning_rate: float = 1e-3
    batch_size: int = 8
    epochs: int = 40


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """S sequences of T messages, with what is to be predicted at each of H horizons.

    Attributes:
      inputs: float32 [S, T, 5], see `windows_of`.
      move: float32 [S, T, H], of the mid, ticks; NaN where it is not known.
    """

    inputs: np.ndarray
    move: np.ndarray

    def select(self, rows: np.ndarray) -> "Windows":
        """Return some of the sequences."""
        return Windows(self.inputs[rows], self.move[rows])


class MovePredictor(nn.Module):
    """The moves of the mid after each of T messages, over H horizons, from the messages up to it."""

    config: PredictorConfig

    @nn.compact
    def __call__(self, input_BTC: jax.Array) -> jax.Array:
        """Return the moves in ticks, [B, T, H]."""
        x_BTD = input_BTC
        for units in self.config.units:
            x_BTD = jnp.asarray(nn.RNN(nn.OptimizedLSTMCell(units))(x_BTD))
        return nn.Dense(len(self.config.horizons))(x_BTD)


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """A trained predictor.

    Attributes:
      params: of the network.
      centre, scale: float32 [5], of the training inputs.
    """

    params: Any
    centre: np.ndarray
    scale: np.ndarray


def windows_of(flow: Flow, *, horizons: tuple[int, ...] = HORIZONS, steps: int = STEPS) -> Windows:
    """Return the first messages of each sequence, and the moves of the mid after each of them.

    The inputs are those of the discriminator (see `sequence_inputs`), the imbalance of the sizes at the best, and the
    logarithm of the spread. Shorter sequences end in zeros without a known move.
    """
    quotes = np.stack([imbalance(flow.book_size[:, :, 0]), np.log(np.maximum(spread_ticks(flow), 0.5))], axis=1)
    inputs = [sequence_inputs(flow, steps=steps), in_steps(flow, np.nan_to_num(quotes), steps=steps)]
    mid = in_steps(flow, mid_ticks(flow)[:, None], steps=steps, fill=np.nan)[:, :, 0]
    move = np.full((*mid.shape, len(horizons)), np.nan, np.float32)
    for at, horizon in enumerate(horizons):
        move[:, : max(steps - horizon, 0), at] = mid[:, horizon:] - mid[:, : max(steps - horizon, 0)]
    return Windows(np.concatenate(inputs, axis=2).astype(np.float32), move)


def fit(windows: Windows, config: PredictorConfig, *, seed: int) -> Fitted:
    """Train the network; the epoch with the lowest loss on held-out sequences of `windows` is kept."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(windows.inputs))
    held, rows = np.split(order, [max(len(order) // HELD, 1)])
    known = windows.inputs[rows].reshape(-1, windows.inputs.shape[2])
    centre, scale = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-6)
    windows = Windows(_standardised(windows.inputs, centre, scale), windows.move)
    params = MovePredictor(config).init(jax.random.key(seed), jnp.asarray(windows.inputs[:1]))
    state = optax.adam(config.learning_rate).init(params)
    best, lowest, size = params, np.inf, min(config.batch_size, len(rows))
    for _ in range(config.epochs):
        shuffled = rng.permutation(rows)
        for batch in shuffled[: len(rows) // size * size].reshape(-1, size):
            params, state = _step(config, params, state, windows.inputs[batch], windows.move[batch])
        loss = float(_loss(config, params, windows.inputs[held], windows.move[held]))
        if loss < lowest:
            best, lowest = params, loss
    return Fitted(best, centre, scale)


def _standardised(inputs: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.clip((inputs - centre) / scale, -CLIP, CLIP).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def _moves(config: PredictorConfig, params: Any, inputs: jax.Array) -> jax.Array:
    return jnp.asarray(MovePredictor(config).apply(params, inputs))


@functools.partial(jax.jit, static_argnums=0)
def _loss(config: PredictorConfig, params: Any, inputs: jax.Array, move: jax.Array) -> jax.Array:
    """Return the mean Huber loss of the known moves, quadratic below a tick: that of the linear predictors."""
    known = jnp.isfinite(move)
    loss = optax.huber_loss(_moves(config, params, inputs), jnp.where(known, move, 0))
    return jnp.where(known, loss, 0).sum() / jnp.maximum(known.sum(), 1)


@functools.partial(jax.jit, static_argnums=0)
def _step(
    config: PredictorConfig, params: Any, state: Any, inputs: jax.Array, move: jax.Array
) -> tuple[Any, optax.OptState]:
    gradient = jax.grad(_loss, argnums=1)(config, params, inputs, move)
    updates, state = optax.adam(config.learning_rate).update(gradient, state)
    return optax.apply_updates(params, updates), state


def tested(fitted: Fitted, windows: Windows, config: PredictorConfig) -> np.ndarray:
    """Return the sums of a test by sequence, float64 [S, 2H]: of absolute errors in ticks, and of known moves."""
    inputs = _standardised(windows.inputs, fitted.centre, fitted.scale)
    error = np.abs(np.asarray(_moves(config, fitted.params, inputs), np.float64) - windows.move)
    known = np.isfinite(error)
    return np.concatenate([np.where(known, error, 0).sum(axis=1), known.sum(axis=1)], axis=1)


def predictive_score(
    real: Flow,
    generated: Mapping[str, Flow],
    *,
    config: PredictorConfig | None = None,
    steps: int = STEPS,
    draws: int = 1000,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Test on real flow what an LSTM learns from generated and from real flow.

    Args:
      real: held-out real flow; each half tests the networks of the other half, and of as many generated sequences.
      generated: flows by name, see `usefulness.measure_usefulness`.
      config: the network; None for two layers of 128.
      steps: messages of each sequence that are read.
      draws: bootstrap draws of the tested sequences, the same for all networks.
      seed: of halves, parameters, the order of training and draws.
      on_progress: called with what is being done, the number of networks that are trained and that of all.

    Returns:
      Plain values as in JSON, None for what is not defined: horizons; `unchanged`, the mean absolute error of
      predicting no move at each horizon; confidence; flows: by name, "real" first, for each horizon `value` (the mean
      absolute error in ticks), low, high (95 %) and, of generated flows, `difference`, `difference_low` and
      `difference_high`: this value less that of real.
    """
    config = PredictorConfig() if config is None else config
    rng = np.random.default_rng(seed)
    half, sources = drawn_half(len(real), rng), {"real": real, **generated}
    windows = {name: windows_of(flow, horizons=config.horizons, steps=steps) for name, flow in sources.items()}
    sums = {}
    for done, name in enumerate(sources):
        if on_progress:
            on_progress(f"LSTM of {name}", done, len(sources))
        sums[name] = _crossed(windows[name], windows["real"], half, config=config, seed=seed, rng=rng)
    if on_progress:
        on_progress("LSTM", len(sources), len(sources))
    times = rng.multinomial(len(real), np.full(len(real), 1 / max(len(real), 1)), size=draws) if len(real) else None
    names, scores = tuple(map(str, config.horizons)), functools.partial(_errors, horizons=config.horizons)
    how: dict[str, Any] = {"times": times, "scores": scores, "names": names}
    return {
        "horizons": list(config.horizons),
        "unchanged": _unchanged(windows["real"].move),
        "confidence": CONFIDENCE,
        "flows": {name: described(one, sums["real"], compared=name != "real", **how) for name, one in sums.items()},
    }


def _crossed(
    source: Windows,
    real: Windows,
    half: np.ndarray,
    *,
    config: PredictorConfig,
    seed: int,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Train on a source and test on real flow, each half once; None with too few sequences, or none with a move."""
    total = np.zeros((len(half), 2 * len(config.horizons)))
    for tested_half in (0, 1):
        training = source.select(learnt_from(half, tested_half, sequences=len(source.inputs), rng=rng))
        moving = np.nan_to_num(training.move).any(axis=(1, 2))
        if len(training.inputs) < LEAST or not moving.any():
            return None
        rows = np.flatnonzero(half == tested_half)
        total[rows] = tested(fit(training, config, seed=seed), real.select(rows), config)
    return total


def _errors(total: np.ndarray, *, horizons: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return the mean absolute error at each horizon of D totals of `tested`, float64 [D] each, NaN if undefined."""
    count = len(horizons)
    return {str(horizon): ratio(total[:, at], total[:, count + at]) for at, horizon in enumerate(horizons)}


def _unchanged(move: np.ndarray) -> list[float | None]:
    known = np.isfinite(move)
    error = ratio(np.where(known, np.abs(move), 0).sum(axis=(0, 1)), known.sum(axis=(0, 1)))
    return [float(value) if np.isfinite(value) else None for value in error]


def predictor_table(result: Mapping[str, Any]) -> Table:
    """Return a rich table of `predictive_score`."""
    still = ", ".join(number(value) for value in result["unchanged"])
    table = Table(
        title="LSTM trained on each flow, tested on real flow: mean absolute error of the mid, ticks",
        caption=f"95 % bootstrap of sequences; the errors of no move are {still} ticks",
    )
    table.add_column("trained on")
    for horizon in result["horizons"]:
        for heading in (f"{horizon} ahead", "95 %", "less real"):
            table.add_column(heading, justify="right")
    for name, flow in result["flows"].items():
        cells = []
        for row in flow.values():
            cells += [number(row["value"]), *(_span(row, *ends) for ends in (("low", "high"), _DIFFERENCE))]
        table.add_row(name, *cells)
    return table


_DIFFERENCE = ("difference_low", "difference_high")


def _span(row: Mapping[str, float | None], low: str, high: str) -> str:
    return "" if row.get(low) is None else f"{number(row[low])} to {number(row[high])}"
