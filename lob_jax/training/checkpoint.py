"""Checkpoints of a run, with Orbax: the latest and the best few, each with all that an exact resume needs."""

import contextlib
import dataclasses
import importlib.metadata
import math
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from lob_jax.errors import InputError, TrainingError
from lob_jax.models.config import ModelConfig
from lob_jax.training.digests import damage, seal
from lob_jax.training.layout import replicated
from lob_jax.training.state import TrainState, abstract_params

UNSETTLED = ("_CHECKPOINT_METADATA",)  # Orbax's own note of times and handlers, written beside all else and after it
DISCARDED = "discarded"  # where a checkpoint that is not kept is moved to before it is deleted: a kill halves none
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


@dataclasses.dataclass(frozen=True)
class Meta:
    """What a checkpoint says of itself, beside its arrays; plain JSON values.

    Attributes:
      step: optimiser steps taken.
      validation_loss: of these parameters, nats a scored token; infinite if they were not validated.
      identity: what a run must share to go on from here: model, vocabulary hash, data, seed, windows.
      settings: the whole configuration that the run was started with.
      versions: of the packages that wrote it.
      early_stopping: best, best_step and strikes after this validation.
      micro_batch: windows in memory at once, a device.
      averaged: whether the average of the parameters is what was validated.
    """

    step: int
    validation_loss: float
    identity: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    early_stopping: dict[str, Any]
    micro_batch: int
    averaged: bool


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that a run's numbers depend on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def refuse_mismatch(saved: dict[str, Any], wanted: dict[str, Any], *, where: object) -> None:
    """Check that a checkpoint is of the run that wants it.

    Raises:
      InputError: naming every key that differs, as it is wanted and as it was saved.
    """
    saved, wanted = _flat(saved), _flat(wanted)
    differing = [key for key in wanted if key not in saved or saved[key] != wanted[key]]
    if differing:
        raise InputError(
            "the checkpoint is of another run",
            where=where,
            expected=", ".join(f"{key} = {wanted[key]!r}" for key in differing),
            was=", ".join(f"{key} = {saved.get(key, 'absent')!r}" for key in differing),
            remedy="give the configuration and vocabulary that the run was started with, or another --workdir",
        )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


class KeepBest(checkpoint_managers.PreservationPolicy):
    """Keep the latest checkpoint and those of the lowest validation losses; of equal ones the earlier.

    The losses are those of the checkpoints' own Meta: Orbax forgets at a restart what it was told of them.
    """

    def __init__(self, count: int):
        self.count = count
        self.losses: dict[int, float] = {}

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Return, for each checkpoint, whether it stays."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        ranked = sorted(steps, key=lambda step: (self.losses[step], step))
        return [step == max(steps) or step in ranked[: self.count] for step in steps]


def _manager(folder: pathlib.Path, options: ocp.CheckpointManagerOptions) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(folder.resolve(), options=options)


def _for_reading(folder: pathlib.Path) -> ocp.CheckpointManager:
    return _manager(folder, ocp.CheckpointManagerOptions(read_only=True))


def _read_meta(manager: ocp.CheckpointManager, step: int) -> Meta:
    told = manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta
    fields = {field.name for field in dataclasses.fields(Meta)}
    if set(told) != fields:
        raise InputError(
            "the checkpoint is of another version of lob_jax",
            where=f"step {step} in {manager.directory}",
            expected=", ".join(sorted(fields)),
            was=", ".join(sorted(told)),
            remedy="go on with the version that wrote it, or train anew in another --workdir",
        )
    return Meta(**told)


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
      InputError: there are checkpoints and none of them is intact.
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
        aside.mkdir(exist_ok=True)
        names = (str(step), *(f"{step}.{count}" for count in range(2, 1000)))
        target = next(aside / name for name in names if not (aside / name).exists())
        (folder / str(step)).rename(target)
    return [f"the checkpoint of step {step} is damaged and lies in {aside} now: {found[step]}" for step in found]


@contextlib.contextmanager
def _told_clearly(folder: pathlib.Path, step: int) -> Iterator[None]:
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
            self._kept.losses[step] = _read_meta(self._manager, step).validation_loss

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

    def latest(self, identity: dict[str, Any]) -> Meta | None:
        """Return what the latest checkpoint says of itself; None if there is none.

        Raises:
          InputError: it is not of the run that `identity` describes.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        meta = _read_meta(self._manager, step)
        refuse_mismatch(meta.identity, identity, where=self.folder / str(step))
        return meta

    def save(self, state: TrainState, iterator: grain.DatasetIterator, *, meta: Meta) -> None:
        """Save all of a moment of the run: state, position in the data, and what it says of itself.

        A checkpoint of the same step goes: it was saved before its validation was over.

        Raises:
          TrainingError: this save could not begin, or the one before it failed.
        """
        self.wait()
        self._saving = meta.step
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            data=grain.checkpoint.CheckpointSave(iterator),
            meta=ocp.args.JsonSave(dataclasses.asdict(meta)),
        )
        self._kept.losses[meta.step] = meta.validation_loss
        with _told_clearly(self.folder, meta.step):
            if meta.step in self._manager.all_steps():
                self._manager.delete(meta.step)
            self._manager.save(meta.step, args=items, force=True)

    def restore(self, step: int, arrays: TrainState, iterator: grain.DatasetIterator) -> TrainState:
        """Return the state of a step, and set the iterator to where it was then.

        `arrays` are the shapes, dtypes and shardings of the state: any mesh will do, whichever it was saved from.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(arrays), data=grain.checkpoint.CheckpointRestore(iterator)
        )
        return self._manager.restore(step, args=items).state


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
    folder: pathlib.Path, *, model: ModelConfig, vocabulary_hash: str, mesh: jax.sharding.Mesh | None = None
) -> tuple[Any, Meta]:
    """Return the parameters with the lowest validation loss of a run, and what their checkpoint says of itself.

    Of a run that averages its parameters, these are the averages. Nothing else of the checkpoint is read, neither
    moments nor data position. A damaged checkpoint is passed over.

    Args:
      folder: the run's checkpoints.
      model: the model that the parameters are for.
      vocabulary_hash: of the vocabulary that the model is to read.
      mesh: whose devices each get the parameters; the first device if None.

    Raises:
      InputError: there is no intact checkpoint, none has a finite loss, or it is of another model or vocabulary.
    """
    metas = read_metas(folder)
    best = min(metas.values(), key=lambda meta: (meta.validation_loss, meta.step))
    wanted = {"model": model.to_dict(), "vocabulary_hash": vocabulary_hash}
    refuse_mismatch(best.identity, wanted, where=folder)
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
