"""Checkpoints of a run, with Orbax: the latest and the best few, each with all that an exact resume needs."""

import dataclasses
import importlib.metadata
import pathlib
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from lob_jax.errors import InputError
from lob_jax.models.config import ModelConfig
from lob_jax.training.state import TrainState, abstract_params

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


@dataclasses.dataclass(frozen=True)
class Meta:
    """What a checkpoint says of itself, beside its arrays; plain JSON values.

    Attributes:
      step: optimiser steps taken.
      validation_loss: of these parameters, nats a scored token.
      identity: what a run must share to go on from here: model, vocabulary hash, seed, windows.
      settings: the whole configuration that the run was started with.
      versions: of the packages that wrote it.
      early_stopping: best, best_step and strikes after this validation.
      micro_batch: windows in memory at once, a device.
    """

    step: int
    validation_loss: float
    identity: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    early_stopping: dict[str, Any]
    micro_batch: int


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


def _rank(metrics: dict[str, float]) -> tuple[float, float]:
    return metrics["validation_loss"], metrics["step"]  # of equal losses the earlier is the better


def _manager(folder: pathlib.Path, keep_best: int | None = None) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(read_only=keep_best is None)
    if keep_best is not None:
        best = checkpoint_managers.BestN(get_metric_fn=_rank, reverse=True, n=keep_best)
        policy = checkpoint_managers.AnyPreservationPolicy([checkpoint_managers.LatestN(1), best])
        options = ocp.CheckpointManagerOptions(preservation_policy=policy)
    return ocp.CheckpointManager(folder.resolve(), options=options)


def _read_meta(manager: ocp.CheckpointManager, step: int) -> Meta:
    return Meta(**manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta)


def _on(sharding: jax.sharding.Sharding, tree: Any) -> Any:
    def place(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, tree)


class Checkpoints:
    """The checkpoints of one run, in a folder of their own; a context manager.

    A save returns once the arrays are copied off the devices, and is written behind the next steps. One that a kill
    cuts short leaves a temporary folder, which is no checkpoint and goes at the next start.
    """

    def __init__(self, folder: pathlib.Path, *, keep_best: int):
        self.folder = folder
        self._manager = _manager(folder, keep_best)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()  # waits for the last save, and raises if it failed

    def steps(self) -> list[int]:
        """Return the steps kept, in order."""
        self._manager.wait_until_finished()
        return sorted(self._manager.all_steps())

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
        """Save all of a moment of the run: state, position in the data, and what it says of itself."""
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            data=grain.checkpoint.CheckpointSave(iterator),
            meta=ocp.args.JsonSave(dataclasses.asdict(meta)),
        )
        metrics = {"validation_loss": meta.validation_loss, "step": meta.step}
        self._manager.save(meta.step, args=items, metrics=metrics, force=True)

    def restore(
        self, step: int, shapes: TrainState, iterator: grain.DatasetIterator, *, sharding: jax.sharding.Sharding
    ) -> TrainState:
        """Return the state of a step, on the devices of `sharding`, and set the iterator to where it was then."""
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(_on(sharding, shapes)), data=grain.checkpoint.CheckpointRestore(iterator)
        )
        return self._manager.restore(step, args=items).state


def read_latest_meta(folder: pathlib.Path) -> Meta:
    """Return what the latest checkpoint in a folder says of itself.

    Raises:
      InputError: there is no checkpoint.
    """
    if folder.is_dir():
        with _manager(folder) as manager:
            if manager.latest_step() is not None:
                return _read_meta(manager, manager.latest_step())
    raise InputError(
        "there is no checkpoint",
        where=folder,
        expected="a checkpoint of a training run",
        was="none",
        remedy="train first (--mode=train), or name its --workdir",
    )


def restore_best(
    folder: pathlib.Path, *, model: ModelConfig, vocabulary_hash: str, sharding: jax.sharding.Sharding | None = None
) -> tuple[Any, Meta]:
    """Return the parameters with the lowest validation loss of a run, and what their checkpoint says of itself.

    Nothing else of the checkpoint is read, neither moments nor data position.

    Args:
      folder: the run's checkpoints.
      model: the model that the parameters are for.
      vocabulary_hash: of the vocabulary that the model is to read.
      sharding: where the parameters go; the first device if None.

    Raises:
      InputError: there is no checkpoint, none has a finite loss, or it is of another model or vocabulary.
    """
    latest = read_latest_meta(folder)
    wanted = {"model": dataclasses.asdict(model), "vocabulary_hash": vocabulary_hash}
    refuse_mismatch(latest.identity, wanted, where=folder)
    best_step = latest.early_stopping["best_step"]
    if best_step is None:
        raise InputError(
            "no checkpoint has a finite validation loss",
            where=folder,
            expected="a finite loss at one validation at least",
            was=latest.validation_loss,
            remedy="train again, in another --workdir, with a lower config.train.learning_rate",
        )
    wanted_arrays = _on(sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0]), abstract_params(model))
    state = {"params": wanted_arrays}
    arguments = ocp.checkpoint_utils.construct_restore_args(state)
    with _manager(folder) as manager:
        part = ocp.args.PyTreeRestore(item=state, restore_args=arguments, partial_restore=True)
        restored = manager.restore(best_step, args=ocp.args.Composite(state=part))
        return restored.state["params"], _read_meta(manager, best_step)
