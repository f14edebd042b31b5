"""The training loop: resume or start, step, validate, save, stop."""

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import grain
import jax
import numpy as np
import rich.console

from lob_jax.models.config import ModelConfig
from lob_jax.training.budget import describe_plan
from lob_jax.training.checkpoint import Checkpoints, Meta, package_versions
from lob_jax.training.config import TrainConfig, count_steps
from lob_jax.training.logs import TrainingLog
from lob_jax.training.run import Run, StepClock, compiled, initial_state, place_step, prepare_run, validate
from lob_jax.training.shift import Batch
from lob_jax.training.speed import micro_step_seconds, peak_flops
from lob_jax.training.state import TrainState
from lob_jax.training.step import Metrics, replicated

MAX_SKIPPED = 10  # steps in a row without a finite gradient

OnValidation = Callable[[int, float, Any], None]  # (step, loss or inf, params); the params are gone after the call


class TrainingError(RuntimeError):
    """Say what stopped a run that had begun, at which step, and what can be done."""

    def __init__(self, what: str, *, step: int, remedy: str):
        self.what, self.step, self.remedy = what, step, remedy
        super().__init__(f"{what}\n  step:     {step}\n  remedy:   {remedy}")


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """How the validations went: the best loss, its step, and the validations since without a better one."""

    best: float | None = None
    best_step: int | None = None
    strikes: int = 0

    def after(self, loss: float, step: int) -> "EarlyStopping":
        """Return the state after another validation; a loss that is not finite is no improvement."""
        if math.isfinite(loss) and (self.best is None or loss < self.best):
            return EarlyStopping(loss, step, 0)
        return dataclasses.replace(self, strikes=self.strikes + 1)


@dataclasses.dataclass(frozen=True)
class TrainingSummary:
    """How a run ended: steps taken, the best validation loss and its step, whether patience ended it."""

    steps: int
    best_step: int | None
    best_validation_loss: float | None
    stopped_early: bool


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """What a run learns from and is measured on.

    Attributes:
      batches: iterates without end over batches whose windows add up to those of a step: of batch_size windows each,
        or of batch_size * accumulation; its position can be saved.
      windows: training windows in one pass.
      validation: the batches of every validation, of any size.
      vocabulary_hash: of the vocabulary of the tokens.
      token_counts: how often each token occurs in training, see `init_state`.
    """

    batches: grain.IterDataset
    windows: int
    validation: Sequence[Batch]
    vocabulary_hash: str
    token_counts: np.ndarray | None = None


def train(
    model: ModelConfig,
    config: TrainConfig,
    data: TrainingData,
    *,
    seed: int,
    folder: pathlib.Path,
    settings: dict[str, Any],
    devices: Sequence[jax.Device] | None = None,
    on_validation: OnValidation | None = None,
    console: rich.console.Console | None = None,
) -> TrainingSummary:
    """Train a model, going on from the folder's latest checkpoint if there is one.

    After a kill, the same call goes on, and on the same devices its numbers equal, bit for bit, those of a run never
    killed.

    Args:
      model: the model.
      config: how to train.
      data: training batches and validation windows.
      seed: of the first parameters and of dropout.
      folder: gets checkpoints/, metrics.jsonl and tensorboard/.
      settings: the whole configuration, JSON values, kept in every checkpoint for those who read it later.
      devices: to train on; all if None.
      on_validation: called after each validation, once its checkpoint is on its way.
      console: where progress is shown; standard output if None.

    Raises:
      InputError: the run does not fit in memory, or the checkpoints are of another run.
      TrainingError: too many steps in a row gave no finite gradient, or the data ended.
    """
    devices = list(jax.devices() if devices is None else devices)
    total_steps = count_steps(config, data.windows)
    with Checkpoints(folder / "checkpoints", keep_best=config.keep_best) as checkpoints:
        fresh = _describe(identify(model, config, data, seed=seed), settings)
        latest = checkpoints.latest(fresh.identity)
        if latest is not None and _is_over(latest, config, total_steps):
            return _summarise(latest, config)
        run = prepare_run(
            model,
            config,
            total_steps=total_steps,
            validation=data.validation,
            token_counts=data.token_counts,
            seed=seed,
            devices=devices,
            before=None if latest is None else latest.micro_batch,
        )
        about = dataclasses.replace(
            latest or fresh, settings=settings, versions=fresh.versions, micro_batch=run.plan.micro_batch
        )
        with TrainingLog(folder, first_step=about.step, total_steps=total_steps, console=console) as log:
            iterator = iter(data.batches)
            if latest is None:
                state = initial_state(run)
            else:
                state = checkpoints.restore(latest.step, run.state_shapes, iterator, sharding=replicated(run.mesh))
                log.say(_resumption(latest, about))
            clock = _announce(run, state, log, steps=total_steps - about.step)
            run = compiled(run)
            about = _loop(
                run, state, iterator, about, clock=clock, checkpoints=checkpoints, log=log, on_validation=on_validation
            )
    return _summarise(about, config)


def identify(model: ModelConfig, config: TrainConfig, data: TrainingData, *, seed: int) -> dict[str, Any]:
    """Return what two runs must share for one to go on from a checkpoint of the other."""
    return {
        "model": dataclasses.asdict(model),
        "vocabulary_hash": data.vocabulary_hash,
        "seed": seed,
        "windows": data.windows,
        "windows_per_step": config.windows_per_step,
    }


def _describe(identity: dict[str, Any], settings: dict[str, Any]) -> Meta:
    """Return what a run says of itself before its first step."""
    return Meta(
        step=0,
        validation_loss=math.inf,
        identity=identity,
        settings=settings,
        versions=package_versions(),
        early_stopping=dataclasses.asdict(EarlyStopping()),
        micro_batch=0,
    )


def _loop(
    run: Run,
    state: TrainState,
    iterator: grain.DatasetIterator,
    about: Meta,
    *,
    clock: StepClock,
    checkpoints: Checkpoints,
    log: TrainingLog,
    on_validation: OnValidation | None,
) -> Meta:
    """Step from about.step on to the end; return what the last checkpoint says of itself."""
    clock.restart()
    late = None  # the metrics of a step are read once the next one is under way, so that the devices never wait
    for step in range(about.step + 1, run.total_steps + 1):
        batch = place_step(run, _read_step(iterator, run.config.windows_per_step, step=step))
        with jax.transfer_guard("disallow"):  # an array left on the host would be copied at every step, unnoticed
            state, metrics = run.train_step(state, batch)
        if late is not None:
            _record(*late, run=run, clock=clock, log=log)
        late = step, metrics
        if step % run.config.validate_every and step < run.total_steps:
            continue

        _record(*late, run=run, clock=clock, log=log)  # before the save: a checkpoint has all lines up to its step
        late = None
        about = _validated(run, state, about, step=step, log=log)
        checkpoints.save(state, iterator, meta=about)
        if on_validation is not None:
            on_validation(step, about.validation_loss, state.params)
        if _is_over(about, run.config, run.total_steps):
            break
        clock.raise_peak(peak_flops(list(run.mesh.devices.flat), run.model.dtype)[0])
        clock.restart()
    return about


def _read_step(iterator: grain.DatasetIterator, windows: int, *, step: int) -> list[Batch]:
    """Return the next batches, `windows` windows in all."""
    batches, read = [], 0
    while read < windows:
        batch = next(iterator, None)
        if batch is None or read + len(batch["tokens"]) > windows:
            raise TrainingError(
                "the training data ended" if batch is None else f"batches do not add up to {windows} windows",
                step=step,
                remedy="repeat the data without end (epochs=None), in batches of batch_size windows",
            )
        batches.append(batch)
        read += len(batch["tokens"])
    return batches


def _record(step: int, metrics: Metrics, *, run: Run, clock: StepClock, log: TrainingLog) -> None:
    """Wait for a step, write its figures if they are due, and see that it was not one skipped too many."""
    values = {name: value.item() for name, value in jax.device_get(metrics).items()}
    clock.count()
    log.advance(step)
    if step % run.config.log_every == 0 or step == run.total_steps:
        log.training(step, values, clock.read())
    if values["skipped_in_row"] >= MAX_SKIPPED:
        raise TrainingError(
            f"the last {MAX_SKIPPED} steps gave no finite loss and gradient, and were skipped",
            step=step,
            remedy="lower config.train.learning_rate or lengthen warmup_steps, and start the same command again:"
            " it goes on from the last checkpoint; if there is none, or it is no better, look at the data",
        )


def _validated(run: Run, state: TrainState, about: Meta, *, step: int, log: TrainingLog) -> Meta:
    """Validate, and return what a checkpoint of this moment is to say of itself."""
    start = time.perf_counter()
    loss = validate(run, state.params)
    log.validation(step, loss, time.perf_counter() - start)
    stopping = EarlyStopping(**about.early_stopping).after(loss, step)
    ranked = loss if math.isfinite(loss) else math.inf  # a NaN has no place in an order
    return dataclasses.replace(about, step=step, validation_loss=ranked, early_stopping=dataclasses.asdict(stopping))


def _announce(run: Run, state: TrainState, log: TrainingLog, *, steps: int) -> StepClock:
    """Say how long a step and the run should take; return a clock that knows what the devices could do."""
    devices = list(run.mesh.devices.flat)
    peak, source = peak_flops(devices, run.model.dtype)
    micro_step_s = micro_step_seconds(run.model, state.params, windows=run.micro_windows, mesh=run.mesh)
    log.say(describe_plan(run.plan, steps=steps, micro_step_s=micro_step_s, devices=len(devices)))
    log.say(f"MFU is against {source}: {peak / 1e12:.3g} Tflop/s")
    return StepClock(run, peak)


def _resumption(latest: Meta, about: Meta) -> str:
    """Return the sentence that a resumed run begins with, and what may keep it from being equal bit for bit."""
    changes = [
        f"{name} {latest.versions.get(name, 'absent')} is now {version}"
        for name, version in about.versions.items()
        if latest.versions.get(name) != version
    ]
    if about.micro_batch != latest.micro_batch:
        changes.append(f"micro-batches of {latest.micro_batch} windows are now of {about.micro_batch}")
    caution = f"; equal up to rounding only, since {', '.join(changes)}" if changes else ""
    return f"going on from step {latest.step}{caution}"


def _is_over(about: Meta, config: TrainConfig, total_steps: int) -> bool:
    return about.step >= total_steps or about.early_stopping["strikes"] >= config.patience


def _summarise(about: Meta, config: TrainConfig) -> TrainingSummary:
    stopping = EarlyStopping(**about.early_stopping)
    return TrainingSummary(
        steps=about.step,
        best_step=stopping.best_step,
        best_validation_loss=stopping.best,
        stopped_early=stopping.strikes >= config.patience,
    )
