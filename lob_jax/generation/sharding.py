"""Shard paths over the devices of a machine: each device generates its own paths, without communication."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

FEWEST = 16  # paths per device; since each device reads all weights, with fewer paths a single device is as fast
AXIS = "paths"


def mesh_for(paths: int) -> Mesh | None:
    """Return a mesh of the most local devices that share the paths evenly, at least FEWEST each; None if only one."""
    devices = jax.local_devices()
    shared = [count for count in range(2, len(devices) + 1) if paths % count == 0 and paths // count >= FEWEST]
    return Mesh(np.array(devices[: max(shared)]), (AXIS,)) if shared else None


def _specs(tree: Any) -> Any:
    """Return the partition specs of a tree of paths: leading axes (paths, or paths by heads) sharded, scalars not."""
    return jax.tree.map(lambda leaf: PartitionSpec(AXIS) if jnp.ndim(leaf) else PartitionSpec(), tree)


def placed(paths: int, everywhere: Any, by_path: Any) -> tuple[Any, Any]:
    """Place two trees on the devices: `everywhere` replicated, `by_path` sharded over paths.

    Host arrays are transferred here once, rather than at every call of a compiled function.
    """
    mesh = mesh_for(paths)
    if mesh is None:
        return jax.device_put((everywhere, by_path))
    split = jax.tree.map(lambda spec: NamedSharding(mesh, spec), _specs(by_path))
    return jax.device_put(everywhere, NamedSharding(mesh, PartitionSpec())), jax.device_put(by_path, split)


def by_device(paths: int, function: Callable[..., Any], state: Any, *everywhere: Any) -> Any:
    """Return function(state, *everywhere), with each device computing its own paths.

    Args:
      paths: total number of paths.
      function: returns a state of the same structure; its scalars must be equal on all devices.
      state: the state of the paths, placed by `placed`; traced.
      everywhere: arguments that are replicated on all devices.
    """
    mesh = mesh_for(paths)
    if mesh is None:
        return function(state, *everywhere)
    split, whole = _specs(state), PartitionSpec()
    specs = (split, *[whole] * len(everywhere))
    sharded = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)
    return sharded(state, *everywhere)
