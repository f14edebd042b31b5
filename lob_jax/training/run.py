"""What a run is made of before its first step: data, compiled steps, devices, and a clock for its speed."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lob_jax.errors import InputError
from lob_jax.models.accounting import flops_per_token
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.budget import Plan, plan_on
from lob_jax.training.config import TrainConfig
from lob_jax.training.optimizer import make_optimizer, make_schedule
from lob_jax.training.shift import Batch, fields_read, join, pad, split
from lob_jax.training.speed import blank_batch
from lob_jax.training.state import TrainState, init_state
from lob_jax.training.step import Metrics, jit_eval_step, jit_train_step, make_mesh, replicated, split_over_data


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What stays the same from the first step of a run to its last.

    Attributes:
      model: the model.
      config: how to train.
      plan: how a step is cut.
      total_steps: optimiser steps, unless patience ends the run before.
      mesh: the devices.
      initial: makes the state before the first step.
      train_step: compiled; gives up the state it is given.
      eval_step: compiled.
      validation: what every validation reads, on the host, in micro-steps.
    """

    model: ModelConfig
    config: TrainConfig
    plan: Plan
    total_steps: int
    mesh: jax.sharding.Mesh
    initial: Callable[[], TrainState]
    train_step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
    eval_step: Callable[[Any, Batch], tuple[jax.Array, jax.Array]]
    validation: Sequence[Batch]

    @property
    def micro_windows(self) -> int:
        """Return the windows of a micro-step, over all devices."""
        return self.plan.micro_batch * self.mesh.size

    @property
    def state_shapes(self) -> TrainState:
        """Return the shapes and dtypes of the state."""
        return jax.eval_shape(self.initial)


def prepare_run(
    model: ModelConfig,
    config: TrainConfig,
    *,
    total_steps: int,
    validation: Sequence[Batch],
    token_counts: np.ndarray | None,
    seed: int,
    devices: Sequence[jax.Device],
    before: int | None,
) -> Run:
    """Return a run ready to be compiled; nothing is put on a device yet.

    Args:
      model: the model.
      config: how to train.
      total_steps: the length of the schedule.
      validation: the batches of every validation, of any size.
      token_counts: see `init_state`.
      seed: of the first parameters and of dropout.
      devices: to train on.
      before: the micro-batch of the run so far, if it goes on.

    Raises:
      InputError: the run does not fit in memory, or there is nothing to validate on.
    """
    plan = plan_on(devices, model, config, before=before)
    mesh = make_mesh(devices)
    transformer, optimizer = LOBTransformer(model), make_optimizer(config, total_steps)
    return Run(
        model=model,
        config=config,
        plan=plan,
        total_steps=total_steps,
        mesh=mesh,
        initial=lambda: init_state(model, optimizer, seed=seed, token_counts=token_counts),
        train_step=jit_train_step(transformer, optimizer, make_schedule(config, total_steps), mesh=mesh),
        eval_step=jit_eval_step(transformer, mesh=mesh),
        validation=cut_validation(validation, plan.micro_batch * mesh.size, fields=fields_read(model)),
    )


def compiled(run: Run) -> Run:
    """Return the run with its training step compiled, so that no step's time holds compilation."""
    micro_step = blank_batch(run.model, run.micro_windows)
    shapes = {
        name: jax.ShapeDtypeStruct((run.plan.micro_steps, *leaf.shape[1:]), leaf.dtype)
        for name, leaf in micro_step.items()
    }
    return dataclasses.replace(run, train_step=run.train_step.lower(run.state_shapes, shapes).compile())


def initial_state(run: Run) -> TrainState:
    """Return the state before the first step, on the run's devices."""
    return jax.jit(run.initial, out_shardings=replicated(run.mesh))()


def cut_validation(batches: Sequence[Batch], windows: int, *, fields: tuple[str, ...]) -> list[Batch]:
    """Return validation batches cut into micro-steps of `windows`, the last filled with unscored windows.

    Raises:
      InputError: no token in them is scored.
    """
    scored = sum(float(np.sum(batch["scored"][:, 1:])) for batch in batches)
    if scored == 0:
        raise InputError(
            "there is nothing to validate on",
            where="the validation split",
            expected="at least one scored token",
            was=f"{len(batches)} batches without any",
            remedy="give more events, or a larger config.data.validation_fraction",
        )
    cut = split(pad(join(batches, fields), windows), windows)
    return [{name: leaf[k] for name, leaf in cut.items()} for k in range(len(cut["tokens"]))]


def place_step(run: Run, batches: Sequence[Batch]) -> Batch:
    """Put the windows of a step on the devices, as leaves [A, M, ...] split over M."""
    batch = split(join(batches, fields_read(run.model)), run.micro_windows)
    return jax.device_put(batch, split_over_data(run.mesh, leading_axes=1))


def validate(run: Run, params: Any) -> float:
    """Return the loss of the validation windows, nats a scored token, each token weighing the same."""
    sharding = split_over_data(run.mesh, leading_axes=0)
    sums = np.zeros(2)
    for batch in run.validation:
        sums += jax.device_get(run.eval_step(params, jax.device_put(batch, sharding)))
    return float(sums[0] / sums[1])


class StepClock:
    """Times steps by when their metrics arrive; what happens before a `restart` is left out."""

    def __init__(self, run: Run, peak_flops: float):
        context = run.model.max_seq_length
        self._tokens = run.config.windows_per_step * context
        self._flops = self._tokens * flops_per_token(run.model, context)
        self._peak = peak_flops
        self.restart()

    def raise_peak(self, peak_flops: float) -> None:
        """Hold MFU against a later measurement, if it shows more than those before."""
        self._peak = max(self._peak, peak_flops)

    def restart(self) -> None:
        """Start anew, so that validation and saving are not part of a step."""
        self._start, self._steps = time.perf_counter(), 0

    def count(self) -> None:
        """Count a step that is done."""
        self._steps += 1

    def read(self) -> dict[str, float]:
        """Return the mean speed of the steps since the last reading, and start anew."""
        step_s = (time.perf_counter() - self._start) / self._steps
        self.restart()
        return {"step_s": step_s, "tokens_per_s": self._tokens / step_s, "mfu": self._flops / self._peak / step_s}
