"""Paths spread over the devices of a machine: each device draws tokens for its own, and none waits for another."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

FEWEST = 16  # paths a device: each reads all the weights, so for fewer one device is as fast
AXIS = "paths"


def mesh_for(paths: int) -> Mesh | None:
    """Return as many of this process's devices as share so many paths evenly, each at least FEWEST; None for one."""
    devices = jax.local_devices()
    shared = [count for count in range(2, len(devices) + 1) if paths % count == 0 and paths // count >= FEWEST]
    return Mesh(np.array(devices[: max(shared)]), (AXIS,)) if shared else None


def _specs(tree: Any) -> Any:
    """Return how a tree of paths is split: by its leading axes, all of paths or of paths by heads; scalars not."""
    return jax.tree.map(lambda leaf: PartitionSpec(AXIS) if jnp.ndim(leaf) else PartitionSpec(), tree)


def placed(paths: int, everywhere: Any, by_path: Any) -> tuple[Any, Any]:
    """Put trees onto the devices: one whole on each of them, one split by paths; both where they are, for one device.

    Arrays of the host are moved once here, and not at each call of what is compiled.
    """
    mesh = mesh_for(paths)
    if mesh is None:
        return jax.device_put((everywhere, by_path))
    split = jax.tree.map(lambda spec: NamedSharding(mesh, spec), _specs(by_path))
    return jax.device_put(everywhere, NamedSharding(mesh, PartitionSpec())), jax.device_put(by_path, split)


def by_device(paths: int, function: Callable[..., Any], state: Any, *everywhere: Any) -> Any:
    """Return function(state, *everywhere), each device with the paths of its own.

    Args:
      paths: how many there are in all.
      function: returns a state of the same structure; scalars in it must be the same on all devices.
      state: of paths, placed by `placed`; traced.
      everywhere: what each device has a copy of.
    """
    mesh = mesh_for(paths)
    if mesh is None:
        return function(state, *everywhere)
    split, whole = _specs(state), PartitionSpec()
    specs = {"mesh": mesh, "in_specs": (split, *[whole] * len(everywhere)), "out_specs": split, "check_vma": False}
    return jax.shard_map(function, **specs)(state, *everywhere)
