"""Cut attention heads and feed-forward columns out of a model: what is left is an ordinary, smaller model.

A head, or a column of the feed-forward network, is a *unit* of its sublayer: it reads the stream through weights of its
own, and adds to the stream through its own rows of the sublayer's last matrix. So units are removed by removing their
rows; a unit whose rows of the last matrix are zero changes nothing when it goes. Biases that are added to the stream
belong to no unit, and stay.

Arrays of units are by sublayer, [L, U]: each block has as many units as the others, since one configuration describes
all blocks, but each block loses its own.
"""

import dataclasses
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.errors import InputError
from lob_jax.models.attention.kind import KINDS
from lob_jax.models.axes import STACKED, axes_of
from lob_jax.models.config import ModelConfig

HEADS, COLUMNS = "heads", "ff"  # names of the axes of units, see `models.axes`
# Of each sublayer of a block: the axis of its units, and the matrix through which they add to the stream.
SUBLAYERS = {"attention": (HEADS, "output"), "cross": (HEADS, "output"), "ffn": (COLUMNS, "narrow")}
BLOCK = re.compile(r"blocks_(\d+)")

Units = dict[str, Any]  # an array [L, U] for each sublayer that the model has


class _Place(NamedTuple):
    """Where a parameter has units.

    Attributes:
      sublayer: its sublayer.
      layer: its layer; None for the stacked parameters of all layers.
      axis: its axis of units.
    """

    sublayer: str
    layer: int | None
    axis: int


def _place(path: tuple[Any, ...]) -> _Place | None:
    """Return where the parameter at a tree path has units; None if it has none."""
    keys = [entry.key for entry in path]
    names, block = axes_of(path), BLOCK.fullmatch(keys[0])
    if names is None or len(keys) < 3 or keys[1] not in SUBLAYERS or not (block or keys[0] == STACKED):
        return None
    units = SUBLAYERS[keys[1]][0]
    return _Place(keys[1], int(block[1]) if block else None, names.index(units)) if units in names else None


def units_of(config: ModelConfig) -> dict[str, int]:
    """Return the number of units of each sublayer of a model's blocks."""
    cross = {"cross": config.n_heads} if config.attention.cross_asset else {}
    return {"attention": config.n_heads, **cross, "ffn": config.d_ff}


def with_gates(params: Any, gates: Units) -> Any:
    """Return the parameters of a model in which what each unit adds to the stream is multiplied by its gate.

    Args:
      params: the parameters, of a loop or of a scan over layers.
      gates: float [L, U].
    """

    def of(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        place = _place(path)
        if place is None or path[-2].key != SUBLAYERS[place.sublayer][1]:
            return leaf
        gate = gates[place.sublayer]
        gate = gate if place.layer is None else gate[place.layer]
        return leaf * gate.reshape(*gate.shape, *(1,) * (leaf.ndim - gate.ndim)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(of, params)


def best_units(scores_LU: np.ndarray, keep: int, *, groups: int = 1) -> np.ndarray:
    """Return the units of each layer with the highest scores, int [L, keep], in order.

    Args:
      scores_LU: the score of each unit.
      keep: number of units to keep.
      groups: number of equal groups of consecutive units, each of which keeps an equal number.
    """
    layers, units = scores_LU.shape
    scores_LGU = scores_LU.reshape(layers, groups, units // groups)
    best_LGK = np.argsort(-scores_LGU, axis=-1, kind="stable")[..., : keep // groups]
    first_G1 = np.arange(groups)[:, None] * (units // groups)
    return np.sort((best_LGK + first_G1).reshape(layers, keep), axis=-1)


def cut_config(config: ModelConfig, *, heads: int, columns: int) -> ModelConfig:
    """Return the configuration of a model with fewer heads, of the same width, and fewer feed-forward columns.

    Raises:
      InputError: heads have roles in this kind of attention, and cannot be removed from each role equally.
    """
    if heads == config.n_heads:
        return dataclasses.replace(config, d_ff=columns)
    groups = KINDS[config.attention.kind].roles(config)
    if heads % groups or heads < groups:
        raise InputError(
            "these heads cannot be removed",
            where="model.attention.kind",
            expected=f"a multiple of {groups} heads to keep, since {config.attention.kind} attention has {groups} kinds"
            f" of heads, {config.n_heads // groups} of each",
            was=heads,
            remedy="remove feed-forward columns only, or remove heads of each kind equally",
        )
    return dataclasses.replace(config, n_heads=heads, head_size=config.head_width, d_ff=columns)


def cut(params: Any, kept: Units) -> Any:
    """Return the parameters with only the units to keep.

    Args:
      params: the parameters, of a loop or of a scan over layers.
      kept: int [L, K], the units of each layer to keep, in order.
    """

    def of(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        place = _place(path)
        if place is None:
            return leaf
        units = jnp.asarray(kept[place.sublayer])
        if place.layer is not None:
            return jnp.take(leaf, units[place.layer], axis=place.axis)
        return jax.vmap(lambda layer, chosen: jnp.take(layer, chosen, axis=place.axis - 1))(leaf, units)

    return jax.tree_util.tree_map_with_path(of, params)
