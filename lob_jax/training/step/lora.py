"""Low-rank additions to matrices (LoRA: Hu et al., 2022): W + alpha / rank * A B, where only A and B are trained.

A starts at random and B at zero, so that the first step is taken from W itself. A parameter may hold several matrices,
such as those of query, key and value, or of stacked layers; each has an A and a B of its own.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.training.step.optimizer import matrix_axes

A, B = "lora_a", "lora_b"  # the last keys of their paths, inside the path of the matrix


@dataclasses.dataclass(frozen=True)
class Lora:
    """The matrices that have low-rank additions.

    Attributes:
      rank: rank of the additions.
      scale: their factor, alpha / rank.
      targets: paths of the matrices.
    """

    rank: int
    scale: float
    targets: frozenset[str]


def _sides(name: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return the axes of a parameter that enumerate matrices, those of the matrices' input, and of their output."""
    axes = matrix_axes(name.split("/"))
    assert axes is not None, name  # see `tuning.make_tuning`
    read, written = axes
    return tuple(axis for axis in range(len(shape)) if axis not in (*read, *written)), read, written


def matrix_shape(name: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
    """Return (numbers of matrices, their inputs, their outputs) of a parameter."""
    others, read, written = _sides(name, shape)
    return (
        tuple(shape[axis] for axis in others),
        math.prod(shape[axis] for axis in read),
        math.prod(shape[axis] for axis in written),
    )


def first_adapter(name: str, matrix: Any, key: jax.Array, *, rank: int) -> dict[str, jax.Array]:
    """Return A [..., inputs, rank], normal with variance 1 / inputs, and B [..., rank, outputs], zero, of a parameter.

    Args:
      name: path of the parameter.
      matrix: the parameter, or its shape and dtype.
      key: random key of A.
      rank: inner size of the product.
    """
    many, inputs, outputs = matrix_shape(name, matrix.shape)
    drawn = jax.random.normal(key, (*many, inputs, rank), matrix.dtype) / math.sqrt(inputs)
    return {A: drawn, B: jnp.zeros((*many, rank, outputs), matrix.dtype)}


def addition(name: str, adapter: dict[str, jax.Array], shape: tuple[int, ...]) -> jax.Array:
    """Return A B in the shape of the parameter that it is added to."""
    product = jnp.matmul(adapter[A], adapter[B], precision=jax.lax.Precision.HIGHEST)
    order = tuple(axis for axes in _sides(name, shape) for axis in axes)
    return jnp.transpose(product.reshape([shape[axis] for axis in order]), np.argsort(order).tolist())
