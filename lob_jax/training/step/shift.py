"""Split windows into inputs and targets, and join, pad and split batches."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.models.inputs import Conditioning, Role, names_of

Batch = dict[str, Any]  # the arrays of windows, with leading axes before each window's own
# Tokens; other inputs, with what is known of the places of the targets; targets_BT; weights_BT.
Task = tuple[jax.Array, Conditioning, jax.Array, jax.Array]


def in_rows(batch: Batch) -> Batch:
    """Return windows [B, T+1] unchanged, and windows of two instruments [B, 2, T+1] as rows 2b and 2b + 1.

    The two rows get different example numbers, so that their dropout differs.
    """
    if batch["tokens"].ndim == 2:
        return batch
    rows = {name: leaf.reshape(-1, *leaf.shape[2:]) for name, leaf in batch.items() if name != "example"}
    return {**rows, "example": (2 * batch["example"][:, None] + np.arange(2, dtype=np.int32)).reshape(-1)}


def shift(batch: Batch) -> Task:
    """Split windows of T+1 tokens into T inputs and the T tokens that follow them.

    Entry t of the conditioning is known once token t is read, so it belongs to input t. The weight of a token refers to
    the token as a target, so weight t is that of token t+1.

    Args:
      batch: tokens int32 [B, T+1]; scored bool or float [B, T+1], the weight of each token as a target; perhaps shown
        int32 [B, T+1], what is read in place of the tokens; and the other arrays that the model reads, see
        `lob_jax.models.inputs`.

    Returns:
      tokens_BT int32, their conditioning, targets_BT int32, weights_BT float32.
    """
    known = names_of(Role.BESIDE, Role.PLACE)
    conditioning = {name: leaf[:, :-1] for name, leaf in batch.items() if name in known}
    weights_BT = batch["scored"][:, 1:].astype(jnp.float32)
    return shown(batch)[:, :-1], conditioning, batch["tokens"][:, 1:], weights_BT


def shown(batch: Batch) -> Any:
    """Return the tokens that a model reads of windows, int32 [B, T+1]: `shown` if they have it, else `tokens`."""
    return batch.get("shown", batch["tokens"])


def join(batches: Sequence[Batch], fields: tuple[str, ...], *, process: int = 0, processes: int = 1) -> Batch:
    """Concatenate the windows of several batches, in order, with only the named arrays; a single batch is not copied.

    `example` is renumbered, 0..W-1 with one process. Dropout keys are derived from it, so a window of a step has the
    same dropout for any split of the step into batches. Of P processes, which read the windows in turn, process p has
    the numbers p, p + P, p + 2P, ...

    Args:
      batches: batches of any size.
      fields: names of the arrays to keep.
      process: index of this process.
      processes: number of processes.
    """
    joined = {name: _concatenated([batch[name] for batch in batches]) for name in fields if name != "example"}
    return {**joined, "example": process + processes * np.arange(len(joined["tokens"]), dtype=np.int32)}


def _concatenated(leaves: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(leaves) if len(leaves) > 1 else np.asarray(leaves[0])


def pad(batch: Batch, multiple: int) -> Batch:
    """Pad the batch with unscored windows to a multiple of `multiple` windows."""
    missing = -len(batch["tokens"]) % multiple
    return {
        name: np.concatenate([leaf, np.zeros((missing, *leaf.shape[1:]), leaf.dtype)]) for name, leaf in batch.items()
    }


def split(batch: Batch, windows: int) -> Batch:
    """Split a batch into groups of `windows`: leaves [W, ...] become [W / windows, windows, ...]."""
    return {name: leaf.reshape(-1, windows, *leaf.shape[1:]) for name, leaf in batch.items()}
