"""Checkpoints of a run, with Orbax: the latest, the newest sound one and the best few, each all of a moment."""

import contextlib
import dataclasses
import importlib.metadata
import math
import pathlib
import shutil
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from lob_jax.data.windows.pipeline import Position
from lob_jax.errors import InputError, TrainingError
from lob_jax.later_keys import FIRST, Source, version, whole
from lob_jax.models.config import ModelConfig
from lob_jax.training.run.digests import damage, seal
from lob_jax.training.run.identity import model_identity, refuse_mismatch
from lob_jax.training.run.soundness import state_fault
from lob_jax.training.run.stopping import EarlyStopping
from lob_jax.training.step.layout import replicated
from lob_jax.training.step.state import TrainState, abstract_params

UNSETTLED = ("_CHECKPOINT_METADATA",)  # Orbax's own note of times and handlers, written beside all else and after it
DIVERGED = "diverged"  # where diverged checkpoints are moved to, beside the folder of the others
DISCARDED = "discarded"  # where a checkpoint that is not kept is moved to before it is deleted: a kill halves none
US = "lob_jax"  # among the versions
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


@dataclasses.dataclass(frozen=True)
class Meta:
    """What a checkpoint says of itself, beside its arrays; plain JSON values.

    Attributes:
      step: optimiser steps taken.
      validation_loss: of these parameters, nats a scored token; infinite if they were not validated.
      identity: what a run must share to go on from here, see `identity.run_identity`.
      changeable: what it may change, as it was for this step, see `identity.changeable`.
      rounding: how its numbers were computed, see `identity.rounding`.
      history: what changed since the first step, {"step": after which, "changed": {key: [before, since]}}, in order.
      measure: digest of what the loss is measured on: losses of another one are not compared.
      position: in the order of windows, see `data.pipeline.Position`.
      unsound: why a run must not go on from here, since it has diverged; None if it may.
      settings: the whole configuration that the run was started with.
      versions: of the packages that wrote it.
      early_stopping: best, best_step and strikes after this validation.
      micro_batch: windows in memory at once, a device.
      averaged: whether the average of the parameters is what was validated.
    """

    step: int
    validation_loss: float
    identity: dict[str, Any]
    changeable: dict[str, Any]
    rounding: dict[str, Any]
    history: list[dict[str, Any]]
    measure: str
    position: dict[str, int]
    unsound: str | None
    settings: dict[str, Any]
    versions: dict[str, str]
    early_stopping: dict[str, Any]
    micro_batch: int
    averaged: bool


def package_versions() -> dict[str, str]:
    """Return the versions of lob_jax and of the packages that a run's numbers depend on."""
    return {US: version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def ranked(metas: Mapping[int, Meta]) -> list[int]:
    """Return the steps of checkpoints, the best first: by validation loss, of equal ones the earlier.

    Behind them come those whose losses cannot be compared with that of the latest validation, then those without a
    finite loss, then those that have diverged.
    """
    validated = {step: meta for step, meta in metas.items() if math.isfinite(meta.validation_loss)}
    measure = validated[max(validated)].measure if validated else None

    def place(step: int) -> tuple[bool, bool, bool, float, int]:
        meta = metas[step]
        return meta.unsound is not None, step not in validated, meta.measure != measure, meta.validation_loss, step

    return sorted(metas, key=place)


class KeepBest(checkpoint_managers.PreservationPolicy):
    """Keep the latest checkpoint, the newest that a run may go on from, and the best few.

    What is known of them is their own Meta: Orbax forgets at a restart what it was told of losses.
    """

    def __init__(self, count: int):
        self.count = count
        self.metas: dict[int, Meta] = {}

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Return, for each checkpoint, whether it stays."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        metas = {step: self.metas[step] for step in steps}
        sound = [step for step in ranked(metas) if metas[step].unsound is None]
        kept = {max(steps), newest_sound(metas), *sound[: self.count]}
        return [step in kept for step in steps]


def newest_sound(metas: Mapping[int, Meta]) -> int:
    """Return the newest step that a run may go on from; 0 if there is none."""
    return max((step for step, meta in metas.items() if meta.unsound is None), default=0)


def _manager(folder: pathlib.Path, options: ocp.CheckpointManagerOptions) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(folder.resolve(), options=options)


def _for_reading(folder: pathlib.Path) -> ocp.CheckpointManager:
    return _manager(folder, ocp.CheckpointManagerOptions(read_only=True))


def _read_meta(manager: ocp.CheckpointManager, step: int) -> Meta:
    restored: Any = manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
    told = restored.meta
    versions = {US: FIRST, **told.get("versions", {})}
    where = f"step {step} in {manager.directory}"
    source = Source("the checkpoint", of="a run", where=where, written_by=versions[US])
    told = _fields_of(Meta, told, source, inside="checkpoint.")
    parts: dict[str, Any] = {
        name: _fields_of(of, told[name], source, inside=f"checkpoint.{name}.")
        for name, of in (("position", Position), ("early_stopping", EarlyStopping))
    }
    values: dict[str, Any] = {**told, **parts, "versions": versions}
    return Meta(**values)


def _fields_of(of: type[Any], told: Mapping[str, Any], source: Source, *, inside: str) -> dict[str, Any]:
    """Return a value for every field of a dataclass, out of what was stored of it."""
    return whole(told, [field.name for field in dataclasses.fields(of)], source, inside=inside)


def _on(sharding: jax.sharding.Sharding, tree: Any) -> Any:
    def place(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, tree)


def steps_in(folder: pathlib.Path) -> list[int]:
    """Return the steps whose checkpoints lie in a folder, in order."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit()) if folder.is_dir() else []


def set_damaged_aside(folder: pathlib.Path) -> list[str]:
    """Move damaged checkpoints out of the way; return what was done.

    They go to the folder damaged/ beside this one, where they can be looked at.

    Raises:
      InputError: there are checkpoints and none of them is intact, or one cannot be moved.
    """
    steps, aside = steps_in(folder), folder.parent / "damaged"
    found = {step: reason for step in steps if (reason := damage(folder / str(step))) is not None}
    if found and len(found) == len(steps):
        raise InputError(
            "every checkpoint is damaged",
            where=folder,
            expected="at least one whose files are as they were saved",
            was="; ".join(f"step {step}: {reason}" for step, reason in found.items()),
            remedy="bring a copy of the folder back, or train anew in another --workdir",
        )
    for step in found:
        _move(folder / str(step), into=aside)
    return [f"the checkpoint of step {step} is damaged and lies in {aside} now: {found[step]}" for step in found]


def _move(checkpoint: pathlib.Path, *, into: pathlib.Path) -> None:
    """Move a checkpoint into another folder, beside those of the same step that are there.

    Raises:
      InputError: it cannot be moved there.
    """
    names = (checkpoint.name, *(f"{checkpoint.name}.{count}" for count in range(2, 1000)))
    try:
        into.mkdir(exist_ok=True)
        checkpoint.rename(next(into / name for name in names if not (into / name).exists()))
    except OSError as error:
        raise InputError(
            "a checkpoint cannot be set aside",
            where=checkpoint,
            expected=f"a folder {into} that it can be moved to",
            was=error,
            remedy=f"move away what is in the place of {into}, or make it and its parent writable",
        ) from error


@contextlib.contextmanager
def _told_clearly(folder: pathlib.Path, step: int) -> Generator[None]:
    """Turn what a failed save raises into one clear error."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:  # of the system; of TensorStore; of Orbax, around another
        raise TrainingError(
            f"the checkpoint of step {step} could not be saved in {folder}: {_cause(error)}",
            step=step,
            remedy="make room or mend the disk and start the same command again: it goes on from the last checkpoint"
            " that was saved whole; earlier ones are as they were",
        ) from error


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"


class Checkpoints:
    """The checkpoints of one run, in a folder of their own; a context manager.

    Each is judged when it is saved: of a state that is not finite it says so, and a run goes on from one before it.

    A save returns once the arrays are copied off the devices, and is written behind the next steps. It becomes a
    checkpoint in one move, when all of it is written, the digests of its files included: one that a kill cuts short
    leaves a temporary folder, which is no checkpoint and goes at the next start.
    """

    def __init__(self, folder: pathlib.Path, *, keep_best: int):
        self.folder = folder
        self._saving = 0
        self._kept = KeepBest(keep_best)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._kept,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            cleanup_tmp_directories=True,
            todelete_subdir=DISCARDED,
        )
        self._manager = _manager(folder, options)
        for step in self._manager.all_steps():
            self._kept.metas[step] = _read_meta(self._manager, step)

    def _seal(self) -> None:
        """Write the digests of a checkpoint's files; called when they are written and the folder is still temporary."""
        if jax.process_index() == 0:
            for partial in self.folder.glob(f"{self._saving}.orbax-checkpoint-tmp*"):
                seal(partial, unsettled=UNSETTLED)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            with _told_clearly(self.folder, self._saving):
                self._manager.close()  # waits for the last save, and raises if it failed
        else:
            with contextlib.suppress(OSError, ValueError, RuntimeError):  # what is on its way out says more
                self._manager.close()

    def steps(self) -> list[int]:
        """Return the steps kept, in order."""
        self.wait()
        return sorted(self._manager.all_steps())

    def wait(self) -> None:
        """Wait until the last save is written.

        Raises:
          TrainingError: it could not be.
        """
        with _told_clearly(self.folder, self._saving):
            self._manager.wait_until_finished()
            if jax.process_index() == 0:
                shutil.rmtree(self.folder / DISCARDED, ignore_errors=True)

    def newest_sound(self, identity: dict[str, Any]) -> tuple[Meta | None, list[str]]:
        """Return what the newest checkpoint that a run may go on from says of itself, and what was done about others.

        It is None if there is none. Those behind it have diverged, and are set aside.

        Raises:
          InputError: they are not of the run that `identity` describes.
        """
        metas = self._kept.metas
        if not metas:
            return None, []
        latest = metas[max(metas)]
        where, values = f"step {latest.step} in {self.folder}", latest.changeable | latest.rounding
        refuse_mismatch(latest.identity, identity, where=where, values=values, written_by=latest.versions[US])
        newest = newest_sound(metas)
        reasons = {step: meta.unsound for step, meta in metas.items() if step > newest and meta.unsound is not None}
        remarks = self.set_aside(reasons)
        if newest == 0:
            remarks.append("no checkpoint is left to go on from: the run begins anew")
        return metas.get(newest), remarks

    def set_aside(self, reasons: Mapping[int, str]) -> list[str]:
        """Move checkpoints that have diverged to the folder diverged/ beside this one; return what was done.

        All processes of a run must ask for it, and one of them does it.
        """
        if not reasons:
            return []
        self.wait()
        aside = self.folder.parent / DIVERGED
        _meet("diverged checkpoints are known")
        if jax.process_index() == 0:
            for step in reasons:
                _move(self.folder / str(step), into=aside)
        _meet("diverged checkpoints are set aside")
        self._manager.reload()
        for step in reasons:
            del self._kept.metas[step]
        return [
            f"the checkpoint of step {step} is passed over, since {why}; it lies in {aside} now"
            for step, why in sorted(reasons.items())
        ]

    def refuse_from(self, step: int, reason: str) -> int:
        """Set the checkpoints of a step and of later ones aside; return the step to go on from, 0 for the beginning."""
        self.set_aside({later: reason for later in self.steps() if later >= step})
        return newest_sound(self._kept.metas)

    def save(self, state: TrainState, *, meta: Meta) -> Meta:
        """Save all of a moment of the run: its state, and what it says of itself; return the latter, judged.

        A checkpoint of the same step goes: it was saved before its validation was over.

        Raises:
          TrainingError: this save could not begin, or the one before it failed.
        """
        self.wait()
        self._saving = meta.step
        meta = dataclasses.replace(meta, unsound=meta.unsound or state_fault(state))
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(dataclasses.asdict(meta)))
        self._kept.metas[meta.step] = meta
        with _told_clearly(self.folder, meta.step):
            if meta.step in self._manager.all_steps():
                self._manager.delete(meta.step)
            self._manager.save(meta.step, args=items, force=True)
        return meta

    def restore(self, step: int, arrays: TrainState) -> TrainState:
        """Return the state of a step.

        `arrays` are the shapes, dtypes and shardings of the state: any mesh will do, whichever it was saved from.
        """
        restored: Any = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(arrays)))
        return restored.state


def _meet(where: str) -> None:
    """Wait for the other processes, if there are any."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def read_metas(folder: pathlib.Path) -> dict[int, Meta]:
    """Return what each intact checkpoint in a folder says of itself, by step.

    Raises:
      InputError: there is none.
    """
    steps = steps_in(folder)
    found = {step: damage(folder / str(step)) for step in steps}
    intact = [step for step in steps if found[step] is None]
    if intact:
        with _for_reading(folder) as manager:
            return {step: _read_meta(manager, step) for step in intact}
    raise InputError(
        "there is no checkpoint" if not steps else "every checkpoint is damaged",
        where=folder,
        expected="a checkpoint of a training run",
        was="none" if not steps else "; ".join(f"step {step}: {reason}" for step, reason in found.items()),
        remedy="train first (--mode=train), or name its --workdir",
    )


def restore_best(
    folder: pathlib.Path,
    *,
    model: ModelConfig,
    vocabulary_hash: str,
    data: Mapping[str, Any] | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> tuple[Any, Meta]:
    """Return the parameters with the lowest validation loss of a run, and what their checkpoint says of itself.

    Of a run that averages its parameters, these are the averages. Nothing else of the checkpoint is read, no moments.
    A damaged checkpoint is passed over. The model may compute otherwise than in training, and in another dtype.

    Args:
      folder: the run's checkpoints.
      model: the model that the parameters are for.
      vocabulary_hash: of the vocabulary that the model is to read.
      data: what else of the run's data must be the same, of its fingerprint.
      mesh: whose devices each get the parameters; the first device if None.

    Raises:
      InputError: there is no intact checkpoint, none has a finite loss, or it is of another model or vocabulary.
    """
    metas = read_metas(folder)
    best = metas[ranked(metas)[0]]
    wanted = {"model": model_identity(model), "vocabulary_hash": vocabulary_hash, "data": dict(data or {})}
    refuse_mismatch(best.identity, wanted, where=f"step {best.step} in {folder}", written_by=best.versions[US])
    if not math.isfinite(best.validation_loss):
        raise InputError(
            "no checkpoint has a finite validation loss",
            where=folder,
            expected="a finite loss at one validation at least",
            was=best.validation_loss,
            remedy="train on to the first validation; or again, in another --workdir, with a lower"
            " config.train.learning_rate",
        )
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0]) if mesh is None else replicated(mesh)
    name = "average" if best.averaged else "params"
    state = {name: _on(sharding, abstract_params(model))}
    arguments = ocp.checkpoint_utils.construct_restore_args(state)
    with _for_reading(folder) as manager:
        restoring = ocp.args.PyTreeRestore(item=state, restore_args=arguments, partial_restore=True)
        restored = manager.restore(best.step, args=ocp.args.Composite(state=restoring))
    return restored.state[name], best
