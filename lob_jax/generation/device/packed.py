"""Pack the small arrays of a loop's state into one, so that a step updates them in one kernel instead of one each."""

import math
from typing import Any

import jax
import jax.numpy as jnp

MOST_NUMBERS = 32  # of a leaf that is packed; larger ones are updated in place
_SAME_BITS = ("float32", "uint32")
_CONVERTED = ("bool", "int8", "uint8", "int16", "uint16", "int32")


class Packing:
    """How trees of one structure are packed: leaves of few numbers into an int32 array, the others as they are."""

    def __init__(self, tree: Any, *, axes: int, most: int = MOST_NUMBERS):
        """Prepare to pack trees.

        Args:
          tree: one of them; the others have its structure, dtypes and shapes.
          axes: leading axes that all leaves share.
          most: numbers behind these axes, above which a leaf is not packed.
        """
        leaves, self._structure = jax.tree.flatten(tree)
        self._axes = axes
        self._shapes = [(leaf.dtype, leaf.shape[axes:]) for leaf in leaves]
        # An array of keys has a dtype of its own, and numbers of 64 bits do not fit.
        self._packs = [
            dtype.name in (*_SAME_BITS, *_CONVERTED) and math.prod(shape) <= most for dtype, shape in self._shapes
        ]

    def packed(self, tree: Any) -> tuple[jax.Array, list[jax.Array]]:
        """Return the packed leaves, int32 [..., K], and the others."""
        leaves, structure = jax.tree.flatten(tree)
        assert structure == self._structure
        parts = [self._words(leaf) for leaf, packs in zip(leaves, self._packs, strict=True) if packs]
        others = [leaf for leaf, packs in zip(leaves, self._packs, strict=True) if not packs]
        return jnp.concatenate(parts, axis=-1), others

    def unpacked(self, packed: jax.Array, others: list[jax.Array]) -> Any:
        """Return the tree again."""
        rest, leaves, first = iter(others), [], 0
        for (dtype, shape), packs in zip(self._shapes, self._packs, strict=True):
            if not packs:
                leaves.append(next(rest))
                continue
            count = math.prod(shape)
            words = packed[..., first : first + count].reshape(*packed.shape[: self._axes], *shape)
            leaves.append(
                jax.lax.bitcast_convert_type(words, dtype) if dtype.name in _SAME_BITS else words.astype(dtype)
            )
            first += count
        return jax.tree.unflatten(self._structure, leaves)

    def _words(self, leaf: jax.Array) -> jax.Array:
        same = leaf.dtype.name in _SAME_BITS
        words = jax.lax.bitcast_convert_type(leaf, jnp.int32) if same else leaf.astype(jnp.int32)
        return words.reshape(*leaf.shape[: self._axes], -1)
