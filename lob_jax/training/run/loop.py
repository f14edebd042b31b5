"""Run the training loop: resume or start, step, validate, save, stop."""

import contextlib
import dataclasses
import functools
import math
import pathlib
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import grain
import jax
import numpy as np
import rich.console
from jax.experimental import multihost_utils

from lob_jax.data.windows.pipeline import Position
from lob_jax.errors import TrainingError
from lob_jax.lock import locked
from lob_jax.models.attention.backends import fallback, surroundings
from lob_jax.models.config import ModelConfig
from lob_jax.signals import NAMES, listening, spared
from lob_jax.training.config import TrainConfig, count_steps
from lob_jax.training.run.budget import describe_plan
from lob_jax.training.run.checkpoint import Checkpoints, Meta, package_versions, set_damaged_aside
from lob_jax.training.run.data import TrainingData, read_step
from lob_jax.training.run.identity import changeable, measure, rounding, run_identity
from lob_jax.training.run.interruption import GRACE_S, Interruption, Kept
from lob_jax.training.run.logs import TrainingLog, say
from lob_jax.training.run.resumption import at_step, gone_on_with, resumption
from lob_jax.training.run.setup import (
    Run,
    StepClock,
    compiled,
    initial_state,
    place_step,
    prepare_run,
    state_with,
    validate,
)
from lob_jax.training.run.soundness import loss_fault
from lob_jax.training.run.speed import Trace, micro_step_seconds, peak_flops
from lob_jax.training.run.stopping import EarlyStopping, told_as_ended
from lob_jax.training.source import Start
from lob_jax.training.step.sparsity import make_sparsity, measured_with
from lob_jax.training.step.state import TrainState
from lob_jax.training.step.step import Metrics

LOCK = "train.lock"
SLOW = 1 / 3  # share of GRACE_S: during a step that takes longer, the state before it is kept in memory

# (step, loss, evaluated params); the next step donates the params, so they are invalid after the call returns.
OnValidation = Callable[[int, float, Any], None]


@dataclasses.dataclass(frozen=True)
class TrainingSummary:
    """How a run ended.

    Attributes:
      steps: steps taken.
      best_step: step of the best validation loss; None if there is none.
      best_validation_loss: nats per scored token.
      stopped_early: whether early stopping ended the run.
      interrupted: why the run was interrupted, to be resumed by the same call; None if it is complete.
    """

    steps: int
    best_step: int | None
    best_validation_loss: float | None
    stopped_early: bool
    interrupted: str | None = None


def train(
    model: ModelConfig,
    config: TrainConfig,
    data: TrainingData,
    *,
    seed: int,
    folder: pathlib.Path,
    settings: dict[str, Any],
    devices: Sequence[jax.Device] | None = None,
    start: Callable[[], Start] | None = None,
    on_validation: OnValidation | None = None,
    console: rich.console.Console | None = None,
) -> TrainingSummary:
    """Train a model, resuming from the folder's newest intact checkpoint that has not diverged, if there is one.

    After a kill, the same call resumes; on the same devices its results are bit-identical to those of an uninterrupted
    run. `identity.ROLES` defines which settings a resuming call may change, and how changes are recorded. On Ctrl-C and
    SIGTERM, and after config.max_hours (counted from the start of the command, if `lob_jax.signals` listens there), the
    run saves and ends, see `Interruption`; the same call resumes it. Only one process at a time trains in a folder.

    Args:
      model: the model configuration.
      config: training settings.
      data: training batches and validation windows.
      seed: seed of the initial parameters and of dropout.
      folder: receives checkpoints/, metrics.jsonl, tensorboard/, heartbeat.json and, if requested, profile/. All
        processes share it; all but the first write their metrics to processes/<number>/.
      settings: the complete configuration as JSON values, stored in every checkpoint for later readers.
      devices: the devices to train on, over all processes; all devices if None.
      start: returns what the run starts from; called unless there is a checkpoint to resume from. None for random
        parameters.
      on_validation: called after each validation, once the save of its checkpoint has started.
      console: where to show progress; standard output if None.

    Raises:
      InputError: the run does not fit in memory, the checkpoints belong to another run, all of them are damaged, or
        another process trains in this folder.
      Stopped: a signal was received before the first step.
      TrainingError: too many consecutive steps had non-finite gradients, the data ended, or a checkpoint could not be
        written.
    """
    devices = list(jax.devices() if devices is None else devices)
    total_steps = count_steps(config, data.windows)
    with (
        listening() as listener,
        _alone_in(folder) as remarks,
        Checkpoints(folder / "checkpoints", keep_best=config.keep_best) as checkpoints,
    ):
        about = describe(model, config, data, seed=seed, settings=settings, devices=devices)
        latest, passed_over = checkpoints.newest_sound(about.identity)
        owing, measured_at = False, functools.partial(measured_with, about.measure, make_sparsity(config, total_steps))
        if latest is not None:
            measured = measured_at(latest.early_stopping["step"])
            about = gone_on_with(latest, dataclasses.replace(about, measure=measured))
            owing = _owes_validation(latest, config, total_steps)
            if _is_over(about, config, total_steps) and not owing:
                stopping = EarlyStopping(**about.early_stopping)
                ended = told_as_ended(stopping, config, step=about.step, total_steps=total_steps)
                _tell(console, (*remarks, *passed_over, ended))
                return _summarise(about, config)
        run = prepare_run(
            model,
            config,
            total_steps=total_steps,
            validation=data.validation,
            measured=data.measured,
            seed=seed,
            devices=devices,
            before=None if latest is None else latest.micro_batch,
            masks=data.masks,
            also=data.also,
        )
        about = dataclasses.replace(about, micro_batch=run.plan.micro_batch)
        began = start() if start is not None and latest is None else None
        if began is not None:
            about = dataclasses.replace(about, source=began.source)
        with _open_log(folder, first_step=about.step, total_steps=total_steps, console=console) as log:
            for remark in (*remarks, *passed_over, *(resumption(latest, about) if latest is not None else ())):
                log.say(remark)
            for remark in began.remarks if began is not None else ():
                log.say(remark)
            with spared(*NAMES):  # keeps signals from the data loader's worker processes, which start here
                iterator = iter(data.batches(Position(**about.position)))
            if latest is not None:
                state = checkpoints.restore(latest.step, run.state_arrays)
            else:
                state = initial_state(run) if began is None else state_with(run, began.taken)
            with log.during("compiling the training step", usually="5 s to 3 min"):
                clock, ready = _announce(run, state, log, steps=total_steps - about.step), compiled(run)
            loop = Loop(
                run=ready,
                iterator=iterator,
                clock=clock,
                checkpoints=checkpoints,
                log=log,
                interruption=Interruption(listener, max_hours=config.max_hours),
                trace=Trace(folder / "profile", first=config.profile_step, steps=config.profile_steps),
                on_validation=on_validation,
                measured_at=measured_at,
            )
            about, interrupted = loop.run_to_the_end(state, about, owing=owing)
    return dataclasses.replace(_summarise(about, config), interrupted=interrupted)


@contextlib.contextmanager
def _alone_in(folder: pathlib.Path) -> Generator[list[str]]:
    """Lock a folder against other runs, set damaged checkpoints aside, and yield remarks on that.

    The first process does this on behalf of all; the others wait for it.

    Raises:
      InputError: another process trains there, or every checkpoint is damaged.
    """
    first = jax.process_index() == 0
    with locked(folder / LOCK, doing="training") if first else contextlib.nullcontext():
        remarks = set_damaged_aside(folder / "checkpoints") if first else []
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints are set aside")
        yield remarks


def _open_log(
    folder: pathlib.Path, *, first_step: int, total_steps: int, console: rich.console.Console | None
) -> TrainingLog:
    """Open the log of this process; all processes but the first are quiet."""
    if jax.process_index() > 0:
        folder, console = folder / "processes" / str(jax.process_index()), rich.console.Console(quiet=True)
    return TrainingLog(folder, first_step=first_step, total_steps=total_steps, console=console)


def _tell(console: rich.console.Console | None, sentences: Sequence[str]) -> None:
    """Show sentences in the first process, without a log: that would write to the files of a run that is over."""
    if jax.process_index() == 0:
        for sentence in sentences:
            say(console or rich.console.Console(), sentence)


def describe(
    model: ModelConfig,
    config: TrainConfig,
    data: TrainingData,
    *,
    seed: int,
    settings: dict[str, Any],
    devices: Sequence[jax.Device],
) -> Meta:
    """Return the metadata of a run before its first step."""
    told = {"windows": data.windows, "vocabulary_hash": data.vocabulary_hash, "fingerprint": data.fingerprint}
    return Meta(
        step=0,
        validation_loss=math.inf,
        identity=run_identity(model, config, seed=seed, **told),
        changeable=changeable(model, config),
        rounding=rounding(model, config, devices),
        history=[],
        measure=measure(data.validation, config),
        position=dataclasses.asdict(data.start),
        unsound=None,
        settings=settings,
        versions=package_versions(),
        early_stopping=dataclasses.asdict(EarlyStopping()),
        micro_batch=0,
        averaged=config.ema_decay is not None,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Loop:
    """The loop over the steps of a run, with everything it needs; `take_steps` is its core."""

    run: Run
    iterator: grain.DatasetIterator
    clock: StepClock
    checkpoints: Checkpoints
    log: TrainingLog
    interruption: Interruption
    trace: Trace
    on_validation: OnValidation | None
    measured_at: Callable[[int], str]  # the digest of what a validation is measured on, by step

    def run_to_the_end(self, state: TrainState, about: Meta, *, owing: bool) -> tuple[Meta, str | None]:
        """Take the steps and wait for the last checkpoint; see `take_steps`.

        Args:
          state: the state to start from.
          about: its metadata.
          owing: whether the run was saved before a due validation was complete, which is then done first.
        """
        with self.interruption:
            try:
                if owing:
                    about = self._concluded(state, about, about.step, due=True)
                about, interrupted = self.take_steps(state, about)
            finally:
                self.trace.close()
            self.checkpoints.wait()
            # A signal during the last step also counts: the caller must not start what follows training.
            interrupted = interrupted or self.interruption.told
            self.log.beat(about.step, "interrupted" if interrupted else "ended")
        return about, interrupted

    def take_steps(self, state: TrainState, about: Meta) -> tuple[Meta, str | None]:
        """Take steps from about.step on; return the metadata of the last checkpoint and what interrupted the run."""
        run, config = self.run, self.run.config
        self.clock.restart()
        if _is_over(about, config, run.total_steps):
            return about, None
        late = None  # the metrics of a step are read after the next one is dispatched, so that the devices never wait
        for step in range(about.step + 1, run.total_steps + 1):
            if self._is_slow:  # read them now: the state before this step may be saved during it, with all its lines
                late = late and self._record(*late)
                interrupted = self.interruption.reason(may_ask_others=False)
                if interrupted is not None:
                    saved = about.step == step - 1
                    return about if saved else self._concluded(state, about, step - 1, due=False), interrupted
                self._keep(state, about, step - 1, copied=True)
            else:
                self.interruption.keep(None)  # the step donates the state before it, which can then no longer be saved
            batch = place_step(run, read_step(self.iterator, config.windows_per_step, step=step))
            self.trace.before(step)
            with jax.transfer_guard("disallow"):  # else an array left on the host would silently be copied every step
                state, metrics = run.train_step(state, batch)
            late = late and self._record(*late)
            late = step, metrics
            self.clock.leave_out(self.trace.after(step, metrics))
            interrupted = self.interruption.reason(may_ask_others=step % config.log_every == 0)
            due = _is_due(step, config, run.total_steps)
            if not due and (interrupted is None or self._is_slow):
                continue

            late = self._record(*late)  # before the save, so that metrics.jsonl has all lines up to the checkpoint
            about = self._concluded(state, about, step, due=due)
            if _is_over(about, config, run.total_steps):
                break
            if interrupted is not None:
                return about, interrupted
            self.clock.raise_peak(peak_flops(list(run.mesh.devices.flat), run.model.config.dtype)[0])
            self.clock.restart()
        return about, None

    @property
    def _is_slow(self) -> bool:
        """Return whether steps take too long for a signal to wait, so that the state before each is kept in memory."""
        return jax.process_count() == 1 and self.clock.step_s > SLOW * GRACE_S

    def _keep(self, state: TrainState, about: Meta, step: int, *, copied: bool = False) -> None:
        """Keep this state for a save while the devices are busy; with `copied`, as a copy on the host."""
        if about.step == step:
            self.interruption.keep(Kept(step, self.checkpoints.wait))
            return
        # np.array, not np.asarray: on a CPU that may be a view of the device buffer, which the next step donates.
        state = jax.tree.map(np.array, state) if copied else state
        self.interruption.keep(Kept(step, functools.partial(self._save_kept, state, _unvalidated(about, step))))

    def _save_kept(self, state: TrainState, about: Meta) -> None:
        """Save a kept state, from any thread and without using the devices, which are busy."""
        self.log.beat(about.step, "saving")
        self.checkpoints.save(jax.tree.map(np.asarray, state), meta=about)
        self.checkpoints.wait()
        self.log.flush()
        self.log.beat(about.step, "interrupted")

    def _concluded(self, state: TrainState, about: Meta, step: int, *, due: bool) -> Meta:
        """Validate if that is due, and save; return the metadata of the checkpoint."""
        self._keep(state, about, step)
        about = self._validated(state, about, step) if due else _unvalidated(about, step)
        self.log.beat(step, "saving")
        with self.interruption.saving():
            about = self.checkpoints.save(state, meta=about)
        self._keep(state, about, step)
        if about.unsound is not None:
            self.log.say(f"no run will resume from step {step}, since {about.unsound}")
        if due and self.on_validation is not None:
            self.on_validation(step, about.validation_loss, state.judged)
        return about

    def _record(self, step: int, metrics: Metrics) -> None:
        """Wait for a step, write its metrics if they are due, and raise if too many steps were skipped in a row."""
        values = {name: value.item() for name, value in jax.device_get(metrics).items()}
        self.clock.count()
        self.log.advance(step)
        if values["skipped_in_row"] > 0:
            self.log.skipped(step, values)
        if step % self.run.config.log_every == 0 or step == self.run.total_steps:
            self.log.training(step, values, self.clock.read())
        if values["skipped_in_row"] >= self.run.config.max_skipped:
            raise self._diverged(step, values["skipped_in_row"])

    def _diverged(self, step: int, skipped: int) -> TrainingError:
        """Set aside the checkpoints of the current state, which no step can improve, and return the error to raise.

        Skipped steps leave the state unchanged, so every checkpoint since the last successful step has the same state.
        """
        what = f"the last {skipped} step(s) had a non-finite loss or gradient and were skipped"
        first = max(1, step - skipped)  # step 0 is the model that a run was given, see `runs.pruning`
        sound = self.checkpoints.refuse_from(first, "no step from it had a finite loss and gradient")
        again = f"resumes from step {sound}" if sound in self.checkpoints.steps() else "starts from scratch"
        return TrainingError(
            what,
            step=step,
            remedy="lower config.train.learning_rate or increase warmup_steps, and run the same command again: it"
            f" {again}; if that fails too, check the data",
        )

    def _validated(self, state: TrainState, about: Meta, step: int) -> Meta:
        """Validate, and return the metadata for a checkpoint of this state."""
        start = time.perf_counter()
        self.log.beat(step, "validating")
        loss = validate(self.run, state.judged)
        self.log.validation(step, loss, time.perf_counter() - start)
        measured = self.measured_at(step)
        stopping = EarlyStopping(**about.early_stopping) if measured == about.measure else EarlyStopping()
        return at_step(
            about,
            step,
            measure=measured,
            validation_loss=loss if math.isfinite(loss) else math.inf,  # a NaN would break the ranking of checkpoints
            early_stopping=dataclasses.asdict(stopping.after(loss, step)),
            unsound=loss_fault(loss, vocab_size=self.run.model.config.vocab_size),
        )


def _is_due(step: int, config: TrainConfig, total_steps: int) -> bool:
    return step % config.validate_every == 0 or step == total_steps


def _owes_validation(about: Meta, config: TrainConfig, total_steps: int) -> bool:
    """Return whether a run was saved before a due validation was complete, which is then done first on resuming."""
    step = about.step
    return step > 0 and _is_due(step, config, total_steps) and about.early_stopping["step"] != step


def _unvalidated(about: Meta, step: int) -> Meta:
    """Return the metadata of a checkpoint saved between two validations."""
    return at_step(about, step, validation_loss=math.inf, unsound=None)


def _announce(run: Run, state: TrainState, log: TrainingLog, *, steps: int) -> StepClock:
    """Report the expected time of a step and of the run; return a clock with the peak rate of the devices."""
    devices, config = list(run.mesh.devices.flat), run.model.config
    peak, source = peak_flops(devices, config.dtype)
    micro_step_s = micro_step_seconds(
        run.model,
        state.params,
        windows=run.micro_windows,
        mesh=run.mesh,
        objective=run.config.objective_of_loss,
        masks=run.masks,
    )
    log.say(describe_plan(run.plan, steps=steps, micro_step_s=micro_step_s, devices=len(devices)))
    log.say(f"MFU is relative to {source}: {peak / 1e12:.3g} Tflop/s")
    remark = fallback(config, here=surroundings(config, length=config.max_seq_length))
    if remark:
        log.say(remark)
    return StepClock(run, peak, expected_s=run.plan.micro_steps * micro_step_s)


def _is_over(about: Meta, config: TrainConfig, total_steps: int) -> bool:
    return about.step >= total_steps or EarlyStopping(**about.early_stopping).stops(config)


def _summarise(about: Meta, config: TrainConfig) -> TrainingSummary:
    stopping = EarlyStopping(**about.early_stopping)
    return TrainingSummary(
        steps=about.step,
        best_step=stopping.best_step,
        best_validation_loss=stopping.best,
        stopped_early=stopping.stops(config),
    )
