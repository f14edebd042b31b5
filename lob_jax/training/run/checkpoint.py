"""Save and restore checkpoints with Orbax; the latest, the newest sound one and the best few are kept."""

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
from absl import logging
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

UNSETTLED = ("_CHECKPOINT_METADATA",)  # Orbax's record of times and handlers, written after everything else
DIVERGED = "diverged"  # folder for diverged checkpoints, next to that of the others
DISCARDED = "discarded"  # checkpoints are moved here before deletion, so that a kill leaves no partial checkpoint
US = "lob_jax"  # key of the package itself in `Meta.versions`
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


@dataclasses.dataclass(frozen=True)
class Meta:
    """The metadata of a checkpoint, as plain JSON values.

    Attributes:
      step: optimiser steps taken.
      validation_loss: loss of these parameters, nats per scored token; infinite if they were not validated.
      identity: values that a run must share to be resumed from here, see `identity.run_identity`.
      changeable: values that it may change, as they were for this step, see `identity.changeable`.
      rounding: values that affect rounding, see `identity.rounding`.
      history: changes since the first step, in order: {"step": last step before, "changed": {key: [before, since]}}.
      measure: digest of what the loss is measured on; losses with different digests are not compared.
      position: position in the order of windows, see `data.pipeline.Position`.
      unsound: how the run has diverged, so that it must not be resumed from here; None if it has not.
      settings: the complete configuration that the run was started with.
      versions: versions of the packages that wrote the checkpoint.
      early_stopping: the state of early stopping after this validation.
      micro_batch: windows in memory at once, per device.
      averaged: whether the average of the parameters was validated.
      source: the run whose parameters this one started from, see `training.source.Start`; None if it started anew.
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
    source: dict[str, Any] | None = None


def package_versions() -> dict[str, str]:
    """Return the versions of lob_jax and of the packages that affect a run's numbers."""
    return {US: version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def ranked(metas: Mapping[int, Meta]) -> list[int]:
    """Return the steps of checkpoints, best first: by validation loss, with ties broken by the earlier step.

    They are followed by checkpoints whose losses cannot be compared with that of the latest validation, then those
    without a finite loss, then those that have diverged.
    """
    validated = {step: meta for step, meta in metas.items() if math.isfinite(meta.validation_loss)}
    measure = validated[max(validated)].measure if validated else None

    def order(step: int) -> tuple[bool, bool, bool, float, int]:
        meta = metas[step]
        return meta.unsound is not None, step not in validated, meta.measure != measure, meta.validation_loss, step

    return sorted(metas, key=order)


class KeepBest(checkpoint_managers.PreservationPolicy):
    """Keep the latest checkpoint, the newest sound one, and the best few.

    Losses are read from the checkpoints' own Meta, since Orbax does not remember metrics across restarts.
    """

    def __init__(self, count: int):
        self.count = count
        self.metas: dict[int, Meta] = {}

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Return, for each checkpoint, whether to keep it."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        metas = {step: self.metas[step] for step in steps}
        sound = [step for step in ranked(metas) if metas[step].unsound is None]
        kept = {max(steps), newest_sound(metas), *sound[: self.count]}
        return [step in kept for step in steps]


def newest_sound(metas: Mapping[int, Meta]) -> int:
    """Return the newest step that a run can be resumed from; 0 if there is none."""
    return max((step for step, meta in metas.items() if meta.unsound is None), default=0)


def _manager(folder: pathlib.Path, options: ocp.CheckpointManagerOptions) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(folder.resolve(), options=options)


@contextlib.contextmanager
def _for_reading(folder: pathlib.Path) -> Generator[ocp.CheckpointManager]:
    """Open the checkpoints of a folder without changing it; Orbax may not warn that it will write nothing."""
    level = logging.get_verbosity()
    logging.set_verbosity(min(level, logging.ERROR))
    try:
        with _manager(folder, ocp.CheckpointManagerOptions(read_only=True)) as manager:
            yield manager
    finally:
        logging.set_verbosity(level)


def _read_meta(manager: ocp.CheckpointManager, step: int) -> Meta:
    restored: Any = manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
    stored = restored.meta
    versions = {US: FIRST, **stored.get("versions", {})}
    where = f"step {step} in {manager.directory}"
    source = Source("the checkpoint", of="a run", where=where, written_by=versions[US])
    fields = _fields_of(Meta, stored, source, inside="checkpoint.")
    parts: dict[str, Any] = {
        name: _fields_of(of, fields[name], source, inside=f"checkpoint.{name}.")
        for name, of in (("position", Position), ("early_stopping", EarlyStopping))
    }
    values: dict[str, Any] = {**fields, **parts, "versions": versions}
    return Meta(**values)


def _fields_of(of: type[Any], stored: Mapping[str, Any], source: Source, *, inside: str) -> dict[str, Any]:
    """Return a value for every field of a dataclass, from those stored and the neutral values of newer fields."""
    return whole(stored, [field.name for field in dataclasses.fields(of)], source, inside=inside)


def _on(sharding: jax.sharding.Sharding, tree: Any) -> Any:
    def place(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, tree)


def steps_in(folder: pathlib.Path) -> list[int]:
    """Return the steps of the checkpoints in a folder, in order."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit()) if folder.is_dir() else []


def set_damaged_aside(folder: pathlib.Path) -> list[str]:
    """Move damaged checkpoints to the folder damaged/ next to this one, for inspection; return remarks on them.

    Raises:
      InputError: there are checkpoints but none is intact, or one cannot be moved.
    """
    steps, aside = steps_in(folder), folder.parent / "damaged"
    found = {step: reason for step in steps if (reason := damage(folder / str(step))) is not None}
    if found and len(found) == len(steps):
        raise InputError(
            "every checkpoint is damaged",
            where=folder,
            expected="at least one whose files are as they were saved",
            was="; ".join(f"step {step}: {reason}" for step, reason in found.items()),
            remedy="restore a copy of the folder, or train again in another --workdir",
        )
    for step in found:
        _move(folder / str(step), into=aside)
    return [f"the checkpoint of step {step} is damaged and was moved to {aside}: {found[step]}" for step in found]


def _move(checkpoint: pathlib.Path, *, into: pathlib.Path) -> None:
    """Move a checkpoint into another folder, with a suffix if one of the same step is already there.

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
            remedy=f"remove any file named {into}, and make the folder and its parent writable",
        ) from error


@contextlib.contextmanager
def _told_clearly(folder: pathlib.Path, step: int) -> Generator[None]:
    """Convert the exceptions of a failed save into a TrainingError with a remedy."""
    try:
        yield
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # from the system; from TensorStore; from Orbax, wrapping another
        raise TrainingError(
            f"the checkpoint of step {step} could not be saved in {folder}: {_cause(error)}",
            step=step,
            remedy="free or repair the disk, then run the same command again: it resumes from the last checkpoint",
        ) from error


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"


class Checkpoints:
    """The checkpoints of one run, in one folder; a context manager.

    Each state is checked when it is saved: a checkpoint with non-finite numbers is marked as unsound, and the run is
    resumed from an earlier one.

    A save returns once the arrays are copied off the devices, and is written in the background during the next steps.
    When everything is written, including the digests of its files, an atomic rename makes it a checkpoint. If the
    process is killed before that, a temporary folder remains, which the next start removes.
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
        """Write the digests of a checkpoint's files; called after they are written, while the folder is temporary."""
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
            with contextlib.suppress(OSError, ValueError, RuntimeError):  # the exception in flight is more informative
                self._manager.close()

    def steps(self) -> list[int]:
        """Return the steps of the checkpoints, in order."""
        self.wait()
        return sorted(self._manager.all_steps())

    def wait(self) -> None:
        """Wait until the last save is written.

        Raises:
          TrainingError: the save failed.
        """
        with _told_clearly(self.folder, self._saving):
            self._manager.wait_until_finished()
            if jax.process_index() == 0:
                shutil.rmtree(self.folder / DISCARDED, ignore_errors=True)

    def newest_sound(self, identity: dict[str, Any]) -> tuple[Meta | None, list[str]]:
        """Return the metadata of the newest sound checkpoint (or None), and remarks on diverged ones.

        Checkpoints after it have diverged, and are set aside.

        Raises:
          InputError: the checkpoints belong to another run than `identity` describes.
        """
        metas = self._kept.metas
        if not metas:
            return None, []
        latest = metas[max(metas)]
        where, values = f"step {latest.step} in {self.folder}", latest.changeable | latest.rounding
        told = {"where": where, "values": values, "written_by": latest.versions[US]}
        refuse_mismatch(latest.identity, identity, whole=True, **told)
        newest = newest_sound(metas)
        reasons = {step: meta.unsound for step, meta in metas.items() if meta.unsound and step > newest}
        remarks = self.set_aside(reasons)
        if newest not in metas:
            remarks.append("no checkpoint is left to resume from: the run starts from scratch")
        return metas.get(newest), remarks

    def set_aside(self, reasons: Mapping[int, str]) -> list[str]:
        """Move diverged checkpoints (reasons by step) to the folder diverged/ next to this one; return remarks on them.

        All processes of a run must call this, and the first one moves them.
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
            f"the checkpoint of step {step} is skipped, since {why}; it was moved to {aside}"
            for step, why in sorted(reasons.items())
        ]

    def refuse_from(self, step: int, reason: str) -> int:
        """Set aside the checkpoints from a step on; return the step to resume from, 0 for the start of the run."""
        self.set_aside({later: reason for later in self.steps() if later >= step})
        return newest_sound(self._kept.metas)

    def save(self, state: TrainState, *, meta: Meta) -> Meta:
        """Save a state with its metadata; return the metadata, marked as unsound if the state is not finite.

        An earlier checkpoint of the same step, saved before its validation had finished, is replaced.

        Raises:
          TrainingError: this save could not start, or the previous one failed.
        """
        self.wait()  # first, since `_seal` of the previous save reads `_saving`
        self._saving = meta.step
        meta = dataclasses.replace(meta, unsound=meta.unsound or state_fault(state))
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(dataclasses.asdict(meta)))
        self._kept.metas[meta.step] = meta
        with _told_clearly(self.folder, meta.step):
            if meta.step in self._manager.all_steps():
                self._manager.delete(meta.step)
            # force: Orbax would otherwise decide itself which steps to save.
            self._manager.save(meta.step, args=items, force=True)
        return meta

    def restore(self, step: int, arrays: TrainState) -> TrainState:
        """Return the state of a step.

        `arrays` has the shapes, dtypes and shardings of the state; the mesh may differ from the one it was saved on.
        """
        restored: Any = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(arrays)))
        return restored.state


def _meet(where: str) -> None:
    """Wait for all processes of the run at a named barrier."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def read_metas(folder: pathlib.Path) -> dict[int, Meta]:
    """Return the metadata of each intact checkpoint in a folder, by step.

    Raises:
      InputError: there is no intact checkpoint.
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
    """Return the parameters with the lowest validation loss of a run, and the metadata of their checkpoint.

    If the run averages its parameters, the averages are returned. Nothing else of the checkpoint is read, such as the
    optimiser's moments. Damaged checkpoints are skipped. Settings of the model that only affect rounding, and its
    dtype, may differ from training.

    Args:
      folder: the run's checkpoints.
      model: the model that the parameters are for.
      vocabulary_hash: hash of the vocabulary that the model is to read.
      data: entries of the run's data fingerprint that must be equal.
      mesh: mesh to replicate the parameters on; None for the first device.

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
            expected="a finite loss in at least one validation",
            was=best.validation_loss,
            remedy="continue training to the first validation, or train again in another --workdir with a lower"
            " config.train.learning_rate",
        )
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0]) if mesh is None else replicated(mesh)
    name = "average" if best.averaged else "params"
    state = {name: _on(sharding, abstract_params(model))}
    arguments = ocp.checkpoint_utils.construct_restore_args(state)
    with _for_reading(folder) as manager:
        restoring = ocp.args.PyTreeRestore(item=state, restore_args=arguments, partial_restore=True)
        restored: Any = manager.restore(best.step, args=ocp.args.Composite(state=restoring))
    return restored.state[name], best
