"""Check whether a run can be resumed from a state: its numbers are finite, and its loss has not diverged."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.training.step.state import TrainState

EXPLODED = 2.0  # multiple of the loss of a uniform distribution over tokens


def loss_fault(loss: float, *, vocab_size: int) -> str | None:
    """Return what is wrong with a validation loss, in nats per scored token; None if the run can be resumed.

    The initial model predicts about the frequencies of the tokens, which is better than a uniform distribution. A model
    with twice the loss of a uniform distribution has diverged, even if its numbers are finite.
    """
    if not math.isfinite(loss):
        return f"its validation loss is {loss}"
    uniform = math.log(vocab_size)
    if loss > EXPLODED * uniform:
        return f"its validation loss is {loss:.4g}, over {EXPLODED:g} times that of a uniform guess ({uniform:.4g})"
    return None


def state_fault(state: TrainState) -> str | None:
    """Return which part of a state is not finite, computed on its devices; None if all parts are finite."""
    parts = {"its parameters are": state.params, "its average is": state.average}
    parts["its optimiser's moments are"] = state.opt_state
    for part, tree in parts.items():
        if not _all_finite(tree):
            return f"{part} not finite"
    return None


def _all_finite(tree: Any) -> bool:
    # One program per shape: a program for the entire tree would compile for seconds. One array at a time: for a sharded
    # array the program contains a collective, and concurrent collectives can deadlock.
    leaves = (leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact))
    return all(_is_finite(leaf) for leaf in leaves)


def _is_finite(leaf: jax.Array | np.ndarray) -> bool:
    if isinstance(leaf, np.ndarray):  # of a state kept on the host because its devices are busy, possibly for minutes
        return bool(np.isfinite(leaf).all())
    return bool(jax.device_get(_finite_on_device(leaf)))


@jax.jit
def _finite_on_device(leaf: jax.Array) -> jax.Array:
    return jnp.isfinite(leaf).all()
