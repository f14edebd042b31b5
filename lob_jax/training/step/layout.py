"""Shard a run over its devices: a mesh of three axes, and rules for the axes of parameters.

data    each device has a copy of the parameters, and different windows;
fsdp    devices share one copy of parameters, moments and gradients, and have different windows;
tensor  devices share one copy, and the work on the same windows.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lob_jax.errors import InputError
from lob_jax.models.axes import axes_of

MESH_AXES = ("data", "fsdp", "tensor")
WINDOWS = ("data", "fsdp")  # the mesh axes that the windows of a batch are sharded over

# (axis of a parameter, axis of the mesh), in order of precedence. A mesh axis shards at most one axis of a parameter,
# the first whose size it divides; an axis of a parameter may be sharded by several. All else is replicated.
RULES = (
    ("vocab", "tensor"),
    ("heads", "tensor"),
    ("ff", "tensor"),
    ("embed", "fsdp"),
    ("head", "fsdp"),
    ("ff", "fsdp"),
    ("vocab", "fsdp"),
)


def make_mesh(devices: Sequence[jax.Device], *, fsdp: int = 1, tensor: int = 1) -> Mesh:
    """Return the mesh of all `devices`, with those of a `tensor` group adjacent, then those of an `fsdp` group.

    Raises:
      InputError: the groups do not divide the devices.
    """
    if len(devices) % (fsdp * tensor):
        raise InputError(
            "the devices do not divide into groups",
            where="config.train.fsdp and config.train.tensor",
            expected=f"a product that divides {len(devices)} devices",
            was=f"{fsdp} x {tensor}",
            remedy="lower them, or use other devices",
        )
    shape = (len(devices) // (fsdp * tensor), fsdp, tensor)
    return jax.make_mesh(shape, MESH_AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)


def window_groups(mesh: Mesh) -> int:
    """Return the number of groups of devices that the windows of a batch are sharded over."""
    return math.prod(mesh.shape[axis] for axis in WINDOWS)


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding that replicates an array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split_over_windows(mesh: Mesh, *, leading_axes: int) -> NamedSharding:
    """Return the sharding of a batch over windows, whose axis comes after `leading_axes` other axes."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * leading_axes, WINDOWS))


def split_parameter(names: Sequence[str | None], shape: Sequence[int], mesh: Mesh) -> PartitionSpec:
    """Return the partition of one parameter by RULES; `names` are the names of its axes, see `models.axes`."""
    split: list[tuple[str, ...]] = [() for _ in names]
    for name, mesh_axis in RULES:
        size = mesh.shape[mesh_axis]
        if size == 1 or name not in names or any(mesh_axis in axes for axes in split):
            continue
        axis = names.index(name)
        if shape[axis] % (size * math.prod(mesh.shape[taken] for taken in split[axis])) == 0:
            split[axis] += (mesh_axis,)
    return PartitionSpec(*(axes or None for axes in split))


def state_sharding(state: Any, mesh: Mesh) -> Any:
    """Return the shardings of a state: by RULES for parameters and trees like them; everything else is replicated."""

    def of(path: tuple, leaf: Any) -> NamedSharding:
        names = axes_of(path)
        if names is None or len(names) != len(leaf.shape):
            return replicated(mesh)
        return NamedSharding(mesh, split_parameter(names, leaf.shape, mesh))

    return jax.tree_util.tree_map_with_path(of, state)


def pin_stream(mesh: Mesh) -> Callable[[jax.Array], jax.Array]:
    """Return a function that keeps the stream [B, T, D] sharded only over windows, so that XLA gathers the weights."""
    sharding = split_over_windows(mesh, leading_axes=0)
    return lambda x_BTD: jax.lax.with_sharding_constraint(x_BTD, sharding)


def place(batch: dict[str, np.ndarray], sharding: NamedSharding, *, windows: int, axis: int) -> dict[str, jax.Array]:
    """Place a batch on the devices of all processes.

    Args:
      batch: the windows of this process.
      sharding: sharding of the global batch.
      windows: number of windows in the global batch; those of a process are contiguous.
      axis: axis of the windows in each leaf.
    """

    def put(leaf: np.ndarray) -> jax.Array:
        shape = (*leaf.shape[:axis], windows, *leaf.shape[axis + 1 :])
        return jax.make_array_from_process_local_data(sharding, leaf, shape)

    return {name: put(leaf) for name, leaf in batch.items()}
