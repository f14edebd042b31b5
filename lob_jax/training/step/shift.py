"""The one place of shift and mask: what of a batch is read, and what is predicted."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.models.inputs import Conditioning, Role, names_of

Batch = dict[str, Any]  # the arrays of windows, with leading axes before each window's own
Task = tuple[jax.Array, Conditioning, jax.Array, jax.Array]  # tokens_BT, what is known beside them, targets, weights


def in_rows(batch: Batch) -> Batch:
    """Return windows [B, T+1] as they are, and windows of two instruments [B, 2, T+1] as rows 2b and 2b + 1.

    Both rows have example numbers of their own, so that dropout tells them apart.
    """
    if batch["tokens"].ndim == 2:
        return batch
    rows = {name: leaf.reshape(-1, *leaf.shape[2:]) for name, leaf in batch.items() if name != "example"}
    return {**rows, "example": (2 * batch["example"][:, None] + np.arange(2, dtype=np.int32)).reshape(-1)}


def shift(batch: Batch) -> Task:
    """Split windows of T+1 tokens into T inputs and the T tokens that follow them.

    Entry t of the conditioning is what is known once token t is read, so it goes with input t; whether a token
    counts is its own property, so weight t is that of token t+1.

    Args:
      batch: tokens int32 [B, T+1]; scored bool or float [B, T+1], the weight of each token as a target; and those
        inputs that the model reads beside tokens, see `lob_jax.models.inputs`.

    Returns:
      tokens_BT int32, their conditioning, targets_BT int32, weights_BT float32.
    """
    beside = names_of(Role.BESIDE)
    conditioning = {name: leaf[:, :-1] for name, leaf in batch.items() if name in beside}
    weights_BT = batch["scored"][:, 1:].astype(jnp.float32)
    return batch["tokens"][:, :-1], conditioning, batch["tokens"][:, 1:], weights_BT


def join(batches: Sequence[Batch], fields: tuple[str, ...], *, process: int = 0, processes: int = 1) -> Batch:
    """Return one batch of the windows of several, in order, with the named arrays alone.

    `example` is numbered anew, 0..W-1 for one process: dropout is drawn by it, so a window of a step has the same
    dropout however its windows were read or are cut. Of several processes, which read every window in turn, process p
    of P has numbers p, p + P, p + 2P, ...
    """
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in fields if name != "example"}
    return {**whole, "example": process + processes * np.arange(len(whole["tokens"]), dtype=np.int32)}


def pad(batch: Batch, multiple: int) -> Batch:
    """Return the batch with unscored windows behind it, to a multiple of windows."""
    missing = -len(batch["tokens"]) % multiple
    return {
        name: np.concatenate([leaf, np.zeros((missing, *leaf.shape[1:]), leaf.dtype)]) for name, leaf in batch.items()
    }


def split(batch: Batch, windows: int) -> Batch:
    """Cut a batch into groups of `windows`: leaves [W, ...] become [W / windows, windows, ...]."""
    return {name: leaf.reshape(-1, windows, *leaf.shape[1:]) for name, leaf in batch.items()}
