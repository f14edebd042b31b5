"""Set up a run before its first step: mesh, plan, compiled steps, validation batches, and a clock for its speed."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding

from lob_jax.errors import InputError
from lob_jax.models.accounting import flops_per_token
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import fields_read
from lob_jax.models.masking import Masks
from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.config import TrainConfig
from lob_jax.training.run.budget import Plan, plan_on
from lob_jax.training.run.speed import blank_batch
from lob_jax.training.step.layout import make_mesh, pin_stream, place, split_over_windows, state_sharding, window_groups
from lob_jax.training.step.optimizer import make_optimizer, make_schedule
from lob_jax.training.step.paths import by_path
from lob_jax.training.step.shift import Batch, join, pad, split
from lob_jax.training.step.sparsity import Sparsity, make_sparsity
from lob_jax.training.step.state import NOTHING_MEASURED, Measured, TrainState, init_state, kept_beside
from lob_jax.training.step.step import (
    Metrics,
    eval_step,
    jit_eval_step,
    jit_train_step,
    pmap_eval_step,
    pmap_train_step,
    train_step,
)
from lob_jax.training.step.tuning import EVERYTHING, Tuning


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """Everything that stays the same from the first step of a run to its last.

    Attributes:
      model: the model; `model.config` is its configuration.
      config: training settings.
      plan: how a step is split into micro-steps.
      total_steps: optimiser steps, unless early stopping ends the run.
      mesh: the devices.
      initial: returns the state before the first step; see `init_state`, which it calls, for `taken`.
      train_step: the jitted training step, which donates its state.
      eval_step: the jitted evaluation step.
      validation: the validation windows, on the host, in micro-steps; only this process's share of them.
      masks: see `summed_loss`.
      also: see `TrainingData`.
    """

    model: LOBTransformer
    config: TrainConfig
    plan: Plan
    total_steps: int
    mesh: jax.sharding.Mesh
    initial: Callable[..., TrainState]
    train_step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
    eval_step: Callable[[Any, Batch], tuple[jax.Array, jax.Array]]
    validation: Sequence[Batch]
    masks: Masks | None = None
    also: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the arrays that a training step reads."""
        return (*fields_read(self.model.config), *self.also)

    @property
    def micro_windows(self) -> int:
        """Return the windows of a micro-step, over all devices."""
        return self.plan.micro_batch * window_groups(self.mesh)

    @property
    def state_shapes(self) -> TrainState:
        """Return the shapes and dtypes of the state."""
        return jax.eval_shape(self.initial)

    @property
    def state_sharding(self) -> TrainState:
        """Return how the state is sharded over the devices."""
        return state_sharding(self.state_shapes, self.mesh)

    @property
    def state_arrays(self) -> TrainState:
        """Return the shapes, dtypes and shardings of the state, into which a checkpoint is restored."""

        def array(shape: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)

        return jax.tree.map(array, self.state_shapes, self.state_sharding)


def prepare_run(
    model: ModelConfig,
    config: TrainConfig,
    *,
    total_steps: int,
    validation: Sequence[Batch],
    seed: int,
    devices: Sequence[jax.Device],
    before: int | None,
    measured: Measured = NOTHING_MEASURED,
    masks: Masks | None = None,
    also: tuple[str, ...] = (),
) -> Run:
    """Return a run that is ready to be compiled; nothing is placed on a device yet.

    Args:
      model: the model configuration.
      config: training settings.
      total_steps: length of the learning-rate schedule.
      validation: the batches of every validation, of any size, the same in every process.
      seed: seed of the initial parameters and of dropout.
      devices: the devices to train on, of all processes.
      before: the micro-batch before resuming; None for a new run.
      measured: see `init_state`.
      masks: see `summed_loss`.
      also: see `TrainingData`.

    Raises:
      InputError: the run does not fit in memory or on the devices, there is nothing to validate on, or a pattern of
        parameters to train or to leave matches none.
    """
    mesh = make_mesh(devices, fsdp=config.fsdp, tensor=config.tensor)
    _check_processes(config, mesh)
    plan = plan_on(mesh, model, config, before=before)
    pinned = mesh.size > 1 and config.parallel == "jit"
    transformer = LOBTransformer(model, pin_stream(mesh)) if pinned else LOBTransformer(model)
    optimizer = make_optimizer(config, total_steps, layers=model.n_layers)
    beside, schedule = kept_beside(config, model), make_schedule(config, total_steps)
    initial = functools.partial(init_state, model, optimizer, seed=seed, measured=measured, **beside)
    evaluation = functools.partial(eval_step, model=transformer, objective=config.objective_of_loss, masks=masks)
    if config.parallel == "pmap":
        evaluate = pmap_eval_step(evaluation, mesh=mesh)
    else:
        shapes = jax.eval_shape(initial).judged
        evaluate = jit_eval_step(evaluation, shapes, mesh=mesh, options=step_options(config, mesh))
    cut = cut_validation(validation, plan.micro_batch * window_groups(mesh), fields=fields_read(model))
    return Run(
        model=transformer,
        config=config,
        plan=plan,
        total_steps=total_steps,
        mesh=mesh,
        initial=initial,
        train_step=compile_train_step(
            transformer,
            config,
            optimizer,
            schedule,
            initial,
            mesh=mesh,
            masks=masks,
            sparsity=make_sparsity(config, total_steps),
            tuning=beside["tuning"],
        ),
        eval_step=evaluate,
        validation=[_own_windows(batch) for batch in cut],
        masks=masks,
        also=also,
    )


def compile_train_step(
    model: LOBTransformer,
    config: TrainConfig,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    initial: Callable[[], TrainState],
    *,
    mesh: jax.sharding.Mesh,
    masks: Masks | None = None,
    sparsity: Sparsity | None = None,
    tuning: Tuning = EVERYTHING,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Return the jitted or pmapped training step of a configuration, see `train_step`.

    Args:
      model: the model.
      config: training settings.
      optimizer: the optimiser, including its learning rate.
      schedule: the learning rate, reported in the metrics.
      initial: returns the initial state, whose shapes are needed.
      mesh: the devices.
      masks: see `summed_loss`.
      sparsity: the schedule by which weights become zero; None for none.
      tuning: which parameters are trained.
    """
    step = functools.partial(
        train_step,
        model=model,
        optimizer=optimizer,
        schedule=schedule,
        objective=config.objective_of_loss,
        masks=masks,
        ema_decay=config.ema_decay,
        sparsity=sparsity,
        tuning=tuning,
    )
    if config.parallel == "pmap":
        return pmap_train_step(step, mesh=mesh)
    return jit_train_step(step, jax.eval_shape(initial), mesh=mesh, options=step_options(config, mesh))


def step_options(config: TrainConfig, mesh: jax.sharding.Mesh) -> dict[str, bool]:
    """Return the compiler options of a step.

    With `deterministic`, XLA adds up the gradients of rows of tables in a fixed order on a GPU, instead of in that in
    which its threads arrive, has cuDNN do the same in the backward pass of attention, and takes its default kernels for
    products, instead of those that are fastest in a trial of this process.
    """
    on_gpus = mesh.devices.flat[0].platform in ("gpu", "cuda")
    return {"xla_gpu_deterministic_ops": True} if config.deterministic and on_gpus else {}


def _check_processes(config: TrainConfig, mesh: jax.sharding.Mesh) -> None:
    processes = jax.process_count()
    if config.parallel == "pmap" and processes > 1:
        raise InputError(
            "pmap supports a single process only",
            where="config.train.parallel",
            expected=f"jit, for {processes} processes",
            was="pmap",
            remedy="omit --config.train.parallel",
        )
    share = mesh.size // processes
    if share % config.tensor:
        raise InputError(
            "a tensor group spans processes",
            where="config.train.tensor",
            expected=f"a divisor of {share}, the devices per process",
            was=config.tensor,
            remedy="lower it: the devices of a group communicate in every layer, so they must be on one machine",
        )


def _own_windows(batch: Batch) -> Batch:
    """Return this process's windows of a complete batch, a contiguous block."""
    share = len(batch["tokens"]) // jax.process_count()
    first = jax.process_index() * share
    return {name: leaf[first : first + share] for name, leaf in batch.items()}


def compiled(run: Run, options: dict[str, bool] | None = None) -> Run:
    """Return the run with its training step compiled ahead of time, so that no step's time includes compilation.

    Args:
      run: see `prepare_run`.
      options: XLA compiler options by name, which override those in XLA_FLAGS.
    """
    micro_step = blank_batch(run.model.config, run.micro_windows, also=run.also)
    groups = (window_groups(run.mesh),) if run.config.parallel == "pmap" else ()

    def shape(leaf: np.ndarray) -> jax.ShapeDtypeStruct:
        windows = (*groups, run.plan.micro_batch) if groups else (run.micro_windows,)
        return jax.ShapeDtypeStruct((run.plan.micro_steps, *windows, *leaf.shape[2:]), leaf.dtype)

    shapes = {name: shape(leaf) for name, leaf in micro_step.items()}
    step: Any = run.train_step  # of jit or pmap, both of which can be lowered
    return dataclasses.replace(run, train_step=step.lower(run.state_shapes, shapes).compile(options))


def initial_state(run: Run) -> TrainState:
    """Return the state before the first step, on the run's devices."""
    # Jitted with output shardings, so that each device creates only its shard and the full state exists nowhere.
    return jax.jit(run.initial, out_shardings=run.state_sharding)()


def state_with(run: Run, taken: Mapping[str, np.ndarray]) -> TrainState:
    """Return the state before the first step of a run that takes over parameters, see `init_state`."""
    sharding = by_path(run.state_sharding.params)
    placed = {name: jax.device_put(leaf, sharding[name]) for name, leaf in taken.items()}
    return jax.jit(lambda taken: run.initial(taken=taken), out_shardings=run.state_sharding)(placed)


def cut_validation(batches: Sequence[Batch], windows: int, *, fields: tuple[str, ...]) -> list[Batch]:
    """Split validation batches into micro-steps of `windows` windows, padding the last with unscored windows.

    Raises:
      InputError: the batches have no scored token.
    """
    scored = sum(float(np.sum(batch["scored"][..., 1:])) for batch in batches)
    if scored == 0:
        raise InputError(
            "there is nothing to validate on",
            where="the validation split",
            expected="at least one scored token",
            was=f"{len(batches)} batches without any",
            remedy="provide more events, or a larger config.data.validation_fraction",
        )
    cut = split(pad(join(batches, fields), windows), windows)
    return [{name: leaf[k] for name, leaf in cut.items()} for k in range(len(cut["tokens"]))]


def place_step(run: Run, batches: Sequence[Batch]) -> Batch:
    """Place the windows of a step on the devices: leaves [A, M, ...] sharded over M; for pmap, [A, devices, m, ...].

    Each of P processes passes its own windows, every P-th of the step.
    """
    process, processes = jax.process_index(), jax.process_count()
    batch = split(join(batches, run.fields, process=process, processes=processes), run.micro_windows // processes)
    return _placed(run, batch, axis=1)


def _placed(run: Run, batch: Batch, *, axis: int) -> Batch:
    """Place windows on the devices; pmap needs an axis of devices before the axis of windows."""
    sharding, windows = split_over_windows(run.mesh, leading_axes=axis), run.micro_windows
    if run.config.parallel == "pmap":
        windows = run.mesh.size
        batch = {name: np.stack(np.split(leaf, windows, axis), axis) for name, leaf in batch.items()}
    return place(batch, sharding, windows=windows, axis=axis)


def validate(run: Run, params: Any) -> float:
    """Return the loss of the validation windows in nats per scored token, with equal weight for each token."""
    sums = np.zeros(2)  # float64: summing the batches' float32 sums in float32 would lose digits
    for batch in run.validation:
        sums += jax.device_get(run.eval_step(params, _placed(run, batch, axis=0)))
    return float(sums[0] / sums[1])


class StepClock:
    """Measure the time of steps from the arrival of their metrics, excluding what happens before a `restart`.

    Attributes:
      step_s: seconds of the last step; before the first one, the expected seconds.
    """

    def __init__(self, run: Run, peak_flops: float, *, expected_s: float):
        context = run.model.config.max_seq_length
        self._tokens = run.config.windows_per_step * context
        rows = 2 if run.model.config.attention.cross_asset else 1  # a window is processed together with its peer's
        self._flops = rows * self._tokens * flops_per_token(run.model.config, context)
        self._peak = peak_flops
        self.step_s = expected_s
        self.restart()

    def raise_peak(self, peak_flops: float) -> None:
        """Raise the peak that MFU is relative to, if a later measurement is higher.

        A matmul timed while the machine is busy gives too low a peak.
        """
        self._peak = max(self._peak, peak_flops)

    def restart(self) -> None:
        """Restart the measurement, so that validation and saving do not count as part of a step."""
        self._start, self._steps = time.perf_counter(), 0
        self._latest = self._start

    def leave_out(self, seconds: float) -> None:
        """Exclude seconds that were not part of a step."""
        self._start += seconds

    def count(self) -> None:
        """Count a completed step."""
        self._steps += 1
        now = time.perf_counter()
        self.step_s, self._latest = now - self._latest, now

    def read(self) -> dict[str, float]:
        """Return the mean speed of the steps since the last reading, and restart."""
        step_s = (time.perf_counter() - self._start) / self._steps
        self.restart()
        return {"step_s": step_s, "tokens_per_s": self._tokens / step_s, "mfu": self._flops / self._peak / step_s}
