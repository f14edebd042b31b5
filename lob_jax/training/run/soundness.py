"""Whether a run may go on from a state: its numbers are finite, and its loss is not that of a diverged model."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.training.step.state import TrainState

EXPLODED = 2.0  # times the loss of a model to which every token is as likely as any other


def loss_fault(loss: float, *, vocab_size: int) -> str | None:
    """Return what is wrong with a validation loss, in nats a scored token; None for one that a run may go on from.

    A model begins near the frequencies of the tokens, below the uniform guess: one that is twice as bad as that has
    diverged, though its numbers are finite.
    """
    if not math.isfinite(loss):
        return f"its validation loss is {loss}"
    uniform = math.log(vocab_size)
    if loss > EXPLODED * uniform:
        return f"its validation loss is {loss:.4g}, over {EXPLODED:g} times that of a uniform guess ({uniform:.4g})"
    return None


def state_fault(state: TrainState) -> str | None:
    """Return what of a state is not finite, looked for on its devices; None if all of it is."""
    parts = {"its parameters are": state.params, "its average is": state.average}
    parts["its optimiser's moments are"] = state.opt_state
    for part, tree in parts.items():
        if not _all_finite(tree):
            return f"{part} not finite"
    return None


def _all_finite(tree: Any) -> bool:
    # A program an array: few shapes, so few programs, where one program for all would compile for seconds. One at a
    # time: where an array is shared by devices they meet in it, and programs side by side could wait for one another.
    leaves = (leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact))
    return all(_is_finite(leaf) for leaf in leaves)


def _is_finite(leaf: jax.Array | np.ndarray) -> bool:
    if isinstance(leaf, np.ndarray):  # of a state that was kept on the host, whose devices are busy, maybe for minutes
        return bool(np.isfinite(leaf).all())
    return bool(jax.device_get(_finite_on_device(leaf)))


@jax.jit
def _finite_on_device(leaf: jax.Array) -> jax.Array:
    return jnp.isfinite(leaf).all()
