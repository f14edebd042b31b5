"""The training loop: resume or start, step, validate, save, stop."""

import contextlib
import dataclasses
import functools
import math
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
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
from lob_jax.training.run.identity import changeable, measure, rounding, run_identity
from lob_jax.training.run.interruption import GRACE_S, Interruption, Kept
from lob_jax.training.run.logs import TrainingLog, say
from lob_jax.training.run.resumption import at_step, gone_on_with, resumption
from lob_jax.training.run.setup import Run, StepClock, compiled, initial_state, place_step, prepare_run, validate
from lob_jax.training.run.soundness import loss_fault
from lob_jax.training.run.speed import Trace, micro_step_seconds, peak_flops
from lob_jax.training.run.stopping import EarlyStopping, told_as_ended
from lob_jax.training.step.shift import Batch
from lob_jax.training.step.state import TrainState
from lob_jax.training.step.step import Metrics

LOCK = "train.lock"
SLOW = 1 / 3  # of the grace: a step that takes longer has the state before it kept in memory

OnValidation = Callable[[int, float, Any], None]  # (step, loss, params judged); they are gone once the call returns


@dataclasses.dataclass(frozen=True)
class TrainingSummary:
    """How a run ended.

    Attributes:
      steps: taken.
      best_step: of the best validation loss; None if there is none.
      best_validation_loss: nats a scored token.
      stopped_early: whether patience ended it.
      interrupted: why it ended before that, to be gone on with by the same call; None if it is over.
    """

    steps: int
    best_step: int | None
    best_validation_loss: float | None
    stopped_early: bool
    interrupted: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """What a run learns from and is measured on.

    Attributes:
      batches: returns, from a position on, endless batches whose windows add up to those of a step: of batch_size
        windows each, or of batch_size * accumulation. Of P processes each has its own, of a P-th.
      start: the position of a run that begins.
      windows: training windows in one pass, of all processes.
      validation: the batches of every validation, of any size, the same in every process.
      vocabulary_hash: of the vocabulary of the tokens.
      token_counts: how often each token occurs in training, see `init_state`.
      fingerprint: what else decides the tokens, plain JSON: the tokenizer, the days, hashes of their files.
    """

    batches: Callable[[Position], grain.IterDataset]
    start: Position
    windows: int
    validation: Sequence[Batch]
    vocabulary_hash: str
    token_counts: np.ndarray | None = None
    fingerprint: dict[str, Any] = dataclasses.field(default_factory=dict)


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
    """Train a model, going on from the folder's newest intact checkpoint that has not diverged, if there is one.

    After a kill, the same call goes on, and on the same devices its numbers equal, bit for bit, those of a run never
    killed. What a call may change, and how that is noted, is said by `identity.ROLES`. On Ctrl-C and SIGTERM, and after
    config.max_hours (of the command, where `lob_jax.signals` listens to one), the run saves and ends, see
    `Interruption`; the same call goes on. One process at a time trains in a folder.

    Args:
      model: the model.
      config: how to train.
      data: training batches and validation windows.
      seed: of the first parameters and of dropout.
      folder: gets checkpoints/, metrics.jsonl, tensorboard/, heartbeat.json and, if asked for, profile/; one folder for
        all processes, of which those but the first keep their metrics in processes/<number>/.
      settings: the whole configuration, JSON values, kept in every checkpoint for those who read it later.
      devices: to train on, of all processes; all if None.
      on_validation: called after each validation, once its checkpoint is on its way.
      console: where progress is shown; standard output if None.

    Raises:
      InputError: the run does not fit in memory, or the checkpoints are of another run, or all of them damaged; or
        another process trains in this folder.
      Stopped: a signal came before the first step.
      TrainingError: too many steps in a row gave no finite gradient, the data ended, or a checkpoint could not be
        written.
    """
    devices = list(jax.devices() if devices is None else devices)
    total_steps = count_steps(config, data.windows)
    with (
        listening() as listener,
        _alone_in(folder) as remarks,
        Checkpoints(folder / "checkpoints", keep_best=config.keep_best) as checkpoints,
    ):
        about = _describe(model, config, data, seed=seed, settings=settings, devices=devices)
        latest, passed_over = checkpoints.newest_sound(about.identity)
        owing = False
        if latest is not None:
            about = gone_on_with(latest, about)
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
            token_counts=data.token_counts,
            seed=seed,
            devices=devices,
            before=None if latest is None else latest.micro_batch,
        )
        about = dataclasses.replace(about, micro_batch=run.plan.micro_batch)
        with _open_log(folder, first_step=about.step, total_steps=total_steps, console=console) as log:
            for remark in (*remarks, *passed_over, *(resumption(latest, about) if latest is not None else ())):
                log.say(remark)
            with spared(*NAMES):  # the data's worker processes
                iterator = iter(data.batches(Position(**about.position)))
            state = initial_state(run) if latest is None else checkpoints.restore(latest.step, run.state_arrays)
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
            )
            about, interrupted = loop.run_to_the_end(state, about, owing=owing)
    return dataclasses.replace(_summarise(about, config), interrupted=interrupted)


@contextlib.contextmanager
def _alone_in(folder: pathlib.Path) -> Iterator[list[str]]:
    """Keep other runs out of a folder, set damaged checkpoints aside and yield what was done, in one process for all.

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
    """Open the log of this process; those but the first show nothing."""
    if jax.process_index() > 0:
        folder, console = folder / "processes" / str(jax.process_index()), rich.console.Console(quiet=True)
    return TrainingLog(folder, first_step=first_step, total_steps=total_steps, console=console)


def _tell(console: rich.console.Console | None, sentences: Sequence[str]) -> None:
    """Show sentences in the first process, without a log: that would write to the files of a run that is over."""
    if jax.process_index() == 0:
        for sentence in sentences:
            say(console or rich.console.Console(), sentence)


def _describe(
    model: ModelConfig,
    config: TrainConfig,
    data: TrainingData,
    *,
    seed: int,
    settings: dict[str, Any],
    devices: Sequence[jax.Device],
) -> Meta:
    """Return what a run says of itself before its first step."""
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
    """The steps of a run and what they need; `take_steps` is all of it."""

    run: Run
    iterator: grain.DatasetIterator
    clock: StepClock
    checkpoints: Checkpoints
    log: TrainingLog
    interruption: Interruption
    trace: Trace
    on_validation: OnValidation | None

    def run_to_the_end(self, state: TrainState, about: Meta, *, owing: bool) -> tuple[Meta, str | None]:
        """Take the steps, and wait for the last checkpoint; see `take_steps`."""
        with self.interruption:
            try:
                if owing:  # a validation that was not over when the run was saved
                    about = self._concluded(state, about, about.step, due=True)
                about, interrupted = self.take_steps(state, about)
            finally:
                self.trace.close()
            self.checkpoints.wait()
            # A signal during the last step ends the run too, before what comes after it.
            interrupted = interrupted or self.interruption.told
            self.log.beat(about.step, "interrupted" if interrupted else "ended")
        return about, interrupted

    def take_steps(self, state: TrainState, about: Meta) -> tuple[Meta, str | None]:
        """Step from about.step on; return what the last checkpoint says of itself, and what interrupted the run."""
        run, config = self.run, self.run.config
        self.clock.restart()
        if _is_over(about, config, run.total_steps):
            return about, None
        late = None  # the metrics of a step are read once the next one is under way, so that the devices never wait
        for step in range(about.step + 1, run.total_steps + 1):
            if self._is_slow:  # but not here: what is saved during this step is the state before it
                late = late and self._record(*late)
                interrupted = self.interruption.reason(may_ask_others=False)
                if interrupted is not None:
                    saved = about.step == step - 1
                    return about if saved else self._concluded(state, about, step - 1, due=False), interrupted
                self._keep(state, about, step - 1, copied=True)
            else:
                self.interruption.keep(None)  # the step gives up the state before it
            batch = place_step(run, _read_step(self.iterator, config.windows_per_step, step=step))
            self.trace.before(step)
            with jax.transfer_guard("disallow"):  # an array left on the host would be copied at every step, unnoticed
                state, metrics = run.train_step(state, batch)
            late = late and self._record(*late)
            late = step, metrics
            self.clock.leave_out(self.trace.after(step, metrics))
            interrupted = self.interruption.reason(may_ask_others=step % config.log_every == 0)
            due = _is_due(step, config, run.total_steps)
            if not due and (interrupted is None or self._is_slow):
                continue

            late = self._record(*late)  # before the save: a checkpoint has all lines up to its step
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
        """Return whether a signal cannot wait for a step's end, and the state before each is kept in memory."""
        return jax.process_count() == 1 and self.clock.step_s > SLOW * GRACE_S

    def _keep(self, state: TrainState, about: Meta, step: int, *, copied: bool = False) -> None:
        """Keep what a checkpoint of this moment takes, should the devices be busy for long; `copied` to the host."""
        if about.step == step:
            self.interruption.keep(Kept(step, self.checkpoints.wait))
            return
        state = jax.tree.map(np.array, state) if copied else state
        self.interruption.keep(Kept(step, functools.partial(self._save_kept, state, _unvalidated(about, step))))

    def _save_kept(self, state: TrainState, about: Meta) -> None:
        """Save a moment that was kept, in whichever thread, and without the devices, which are busy."""
        self.log.beat(about.step, "saving")
        self.checkpoints.save(jax.tree.map(np.asarray, state), meta=about)
        self.checkpoints.wait()
        self.log.flush()
        self.log.beat(about.step, "interrupted")

    def _concluded(self, state: TrainState, about: Meta, step: int, *, due: bool) -> Meta:
        """Validate if that is due, and save; return what the checkpoint says of itself."""
        self._keep(state, about, step)
        about = self._validated(state, about, step) if due else _unvalidated(about, step)
        self.log.beat(step, "saving")
        with self.interruption.saving():
            about = self.checkpoints.save(state, meta=about)
        self._keep(state, about, step)
        if about.unsound is not None:
            self.log.say(f"no run will go on from step {step}, since {about.unsound}")
        if due and self.on_validation is not None:
            self.on_validation(step, about.validation_loss, state.judged)
        return about

    def _record(self, step: int, metrics: Metrics) -> None:
        """Wait for a step, write its figures if they are due, and see that it was not one skipped too many."""
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
        """Set aside what was saved since the last step that was taken, which is all the same state; say what to do."""
        what = f"the last {skipped} step(s) gave no finite loss and gradient, and were skipped"
        sound = self.checkpoints.refuse_from(step - skipped, "no step from it gave a finite loss and gradient")
        return TrainingError(
            what,
            step=step,
            remedy="lower config.train.learning_rate or lengthen warmup_steps, and start the same command again: it"
            f" {f'goes on from step {sound}' if sound else 'begins anew'}; if that is no better, look at the data",
        )

    def _validated(self, state: TrainState, about: Meta, step: int) -> Meta:
        """Validate, and return what a checkpoint of this moment is to say of itself."""
        start = time.perf_counter()
        self.log.beat(step, "validating")
        loss = validate(self.run, state.judged)
        self.log.validation(step, loss, time.perf_counter() - start)
        stopping = EarlyStopping(**about.early_stopping).after(loss, step)
        return at_step(
            about,
            step,
            validation_loss=loss if math.isfinite(loss) else math.inf,  # a NaN has no place in an order
            early_stopping=dataclasses.asdict(stopping),
            unsound=loss_fault(loss, vocab_size=self.run.model.config.vocab_size),
        )


def _is_due(step: int, config: TrainConfig, total_steps: int) -> bool:
    return step % config.validate_every == 0 or step == total_steps


def _owes_validation(about: Meta, config: TrainConfig, total_steps: int) -> bool:
    """Return whether a run was ended while it validated, so that this comes first when it goes on."""
    step = about.step
    return step > 0 and _is_due(step, config, total_steps) and about.early_stopping["step"] != step


def _unvalidated(about: Meta, step: int) -> Meta:
    """Return what a checkpoint says of itself that is saved between two validations."""
    return at_step(about, step, validation_loss=math.inf, unsound=None)


def _read_step(iterator: grain.DatasetIterator, windows: int, *, step: int) -> list[Batch]:
    """Return the next batches, `windows` windows in all, or the part of them that is this process's."""
    windows //= jax.process_count()
    batches, read = [], 0
    while read < windows:
        with spared(*NAMES):  # the data's worker processes
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


def _announce(run: Run, state: TrainState, log: TrainingLog, *, steps: int) -> StepClock:
    """Say how long a step and the run should take; return a clock that knows what the devices could do."""
    devices = list(run.mesh.devices.flat)
    peak, source = peak_flops(devices, run.model.config.dtype)
    micro_step_s = micro_step_seconds(
        run.model, state.params, windows=run.micro_windows, mesh=run.mesh, objective=run.config.objective_of_loss
    )
    log.say(describe_plan(run.plan, steps=steps, micro_step_s=micro_step_s, devices=len(devices)))
    log.say(f"MFU is against {source}: {peak / 1e12:.3g} Tflop/s")
    remark = fallback(run.model.config, here=surroundings(run.model.config, length=run.model.config.max_seq_length))
    if remark is not None:
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
