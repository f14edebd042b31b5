"""The one place of shift and mask: what of a batch is read, and what is predicted."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import Conditioning

Batch = dict[str, Any]  # the arrays of windows, with leading axes before each window's own
Task = tuple[jax.Array, Conditioning, jax.Array, jax.Array]  # tokens_BT, what is known beside them, targets, weights


def fields_read(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of the batch arrays that a model of this configuration reads; others need not travel."""
    optional = (
        ("time_of_day", config.time_of_day),
        ("day_of_week", config.day_of_week),
        ("book", config.book_state),
        ("regime", config.regime == "added" or config.heads.contrastive_size > 0),
        ("instrument", config.n_instruments > 0),
        ("event", config.needs_events),
        ("clock", config.needs_clock),
        ("peer_seen", config.attention.cross_asset),
        ("direction", bool(config.heads.outlook_events)),
        ("log_volatility", bool(config.heads.outlook_events)),
    )
    return ("tokens", "scored", "example", *(name for name, is_read in optional if is_read))


def conditioning_of(known: Mapping[str, Any]) -> Conditioning:
    """Return what is known beside tokens, from arrays by the names of a batch; other names are no matter."""
    return Conditioning(
        time_of_day_BT=known.get("time_of_day"),
        day_of_week_BT=known.get("day_of_week"),
        book_BTF=known.get("book"),
        regime_BT=known.get("regime"),
        instrument_BT=known.get("instrument"),
        event_BT=known.get("event"),
        clock_BT2=known.get("clock"),
        peer_seen_BT=known.get("peer_seen"),
    )


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
      batch: tokens int32 [B, T+1]; scored bool or float [B, T+1], the weight of each token as a target; where the
        model reads them, time_of_day and day_of_week int32 [B, T+1] and book float32 [B, T+1, F].

    Returns:
      tokens_BT int32, their conditioning, targets_BT int32, weights_BT float32.
    """

    per_window = ("example", "record", "position")
    conditioning = conditioning_of({name: leaf[:, :-1] for name, leaf in batch.items() if name not in per_window})
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
