"""Magnitude pruning while training: more and more of the smallest weights become zero, and stay so.

After t updates, the share of zeros in each matrix is (Zhu and Gupta, 2017, equation 1, from no zeros)

  s_t = s (1 - (1 - (t - t0) / (t1 - t0))^3)   for t0 <= t <= t1,

so that it grows fast while many weights are redundant, and ever more slowly. The smallest weights of each matrix become
zero after every few updates from t0 to t1. A weight that is zero has no gradient and stays zero. So the masks need no
state of their own: they are where parameters are zero, which every checkpoint holds, and what becomes zero next depends
on the parameters and the number of updates alone.

It concerns the matrices of the blocks, and the output projection unless it is the token embedding. Zeros save space,
not time: products of matrices multiply them as well.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lob_jax.models.axes import STACKED
from lob_jax.training.config import TrainConfig
from lob_jax.training.step.optimizer import MATRICES

PROJECTION = ("head", "output")


@dataclasses.dataclass(frozen=True)
class Sparsity:
    """The schedule of the share of zeros.

    Attributes:
      share: the share in the end, s.
      first: updates after which weights become zero for the first time, t0.
      last: updates after which they do for the last time, t1.
      every: updates between two such times.
    """

    share: float
    first: int
    last: int
    every: int

    def share_after(self, count: Any) -> jax.Array:
        """Return s_t after `count` updates."""
        progress = jnp.clip((count - self.first) / max(1, self.last - self.first), 0.0, 1.0)
        return self.share * (1 - (1 - progress) ** 3)

    def is_due(self, count: Any) -> jax.Array:
        """Return whether weights become zero after `count` updates."""
        passed = count - self.first
        return (passed >= 0) & (count <= self.last) & ((passed % self.every == 0) | (count == self.last))

    def pruned(self, params: Any, count: Any) -> Any:
        """Return the parameters after `count` updates, with the smallest weights of each matrix zero if that is due."""
        share = self.share_after(count)

        def prune(params: Any) -> Any:
            return jax.tree_util.tree_map_with_path(
                lambda path, leaf: _without_smallest(path, leaf, share) if is_pruned(path) else leaf, params
            )

        return jax.lax.cond(self.is_due(count), prune, lambda params: params, params)


def make_sparsity(config: TrainConfig, total_steps: int) -> Sparsity | None:
    """Return the schedule of a run; None if it prunes no weights."""
    if not config.sparsity:
        return None
    first, last = (round(share * total_steps) for share in (config.sparsity_start, config.sparsity_end))
    return Sparsity(config.sparsity, first, last, config.sparsity_every)


def measured_with(measure: str, sparsity: Sparsity | None, step: int | None) -> str:
    """Return the digest of what a validation is measured on, which includes the share of zeros at its step.

    Losses with different digests are not compared: a model with few zeros is neither better than one with more, nor a
    reason to stop before there are as many as there are to be.

    Args:
      measure: the digest without zeros, see `identity.measure`.
      sparsity: the schedule; None for none.
      step: the step of the validation; None before the first one.
    """
    share = 0.0 if sparsity is None else float(sparsity.share_after(step or 0))
    return f"{measure}, {share:.4f} zeros" if share else measure


def is_pruned(path: tuple[Any, ...]) -> bool:
    """Return whether the parameter at a tree path is a matrix whose weights may become zero."""
    keys = tuple(entry.key for entry in path)
    return keys == PROJECTION or (keys[0].startswith(STACKED) and keys[-2:] in MATRICES)


def _without_smallest(path: tuple[Any, ...], leaf: jax.Array, share: jax.Array) -> jax.Array:
    """Return a matrix with a share of its weights zero, the smallest; of stacked layers, each matrix by itself."""
    if path[0].key == STACKED:
        return jax.vmap(lambda layer: _smallest_zero(layer, share))(leaf)
    return _smallest_zero(leaf, share)


def _smallest_zero(matrix: jax.Array, share: jax.Array) -> jax.Array:
    count = jnp.floor(share * matrix.size).astype(jnp.int32)
    size = jnp.abs(matrix)
    largest_zero = jnp.sort(size.reshape(-1))[jnp.maximum(count - 1, 0)]
    return jnp.where((size > largest_zero) | (count == 0), matrix, jnp.zeros((), matrix.dtype))


def where_nonzero(tree: Any, params: Any) -> Any:
    """Return a tree like the parameters, such as their gradients, with zeros where weights of matrices are zero."""

    def of(path: tuple[Any, ...], leaf: jax.Array, weight: jax.Array) -> jax.Array:
        return jnp.where(weight == 0, jnp.zeros((), leaf.dtype), leaf) if is_pruned(path) else leaf

    return jax.tree_util.tree_map_with_path(of, tree, params)


@dataclasses.dataclass(frozen=True)
class Zeros:
    """How many weights of a model are zero.

    Attributes:
      zeros: weights of its matrices that are.
      weights: weights of these matrices.
      parameters: all of its parameters.
    """

    zeros: int
    weights: int
    parameters: int

    @property
    def share(self) -> float:
        """Return the share of zeros in the matrices."""
        return self.zeros / max(1, self.weights)

    @property
    def compressed_bytes(self) -> int:
        """Return the bytes of all parameters in float32, with a bit for each weight of the matrices, and no zeros."""
        return 4 * (self.parameters - self.zeros) + -(-self.weights // 8)

    def told(self) -> str:
        """Return the figures as a sentence."""
        dense = 4 * self.parameters
        return (
            f"{self.share:.1%} of the {self.weights:,} weights of matrices are zero: {self.compressed_bytes / 1e6:,.2f}"
            f" MB without them, with a bit per weight for where they are, instead of {dense / 1e6:,.2f} MB"
        )


def zeros_of(params: Any) -> Zeros:
    """Count the zeros of a model."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    matrices = [leaf for path, leaf in leaves if is_pruned(path)]
    zeros = sum(int((leaf == 0).sum()) for leaf in matrices)
    return Zeros(zeros, sum(leaf.size for leaf in matrices), sum(leaf.size for _, leaf in leaves))


def zero_share(params: Any) -> jax.Array:
    """Return the share of zeros in the matrices, float32, for a metric of a step."""
    matrices = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if is_pruned(path)]
    zeros = [(leaf == 0).sum().astype(jnp.float32) for leaf in matrices]  # int32 sums of each, which cannot overflow
    return jnp.stack(zeros).sum() / sum(leaf.size for leaf in matrices)
