"""Mixup: the loss of windows whose embeddings are mixed with those of others, by random shares (Zhang et al., 2018).

With x_a and x_b the embedded inputs of a window and its partner [T, D] and a share s ~ Beta(alpha, alpha), drawn for
each window,

  x = s x_a + (1 - s) x_b,    L = s CE_a(x) + (1 - s) CE_b(x),

with CE_a the weighted cross-entropy of the window's own targets and CE_b that of its partner's. In language it is done
at the embeddings of words (Guo, Mao and Zhang, 2019, wordMixup). Each CE is within the sets, and with the candidates,
of its own window. A target counts with its window's share: L is divided by the sum of s w_a + (1 - s) w_b, so that
places that are scored in one window alone have no more than that window's share.

Partners are a random permutation of all windows of an optimiser step. It depends on the numbers of the windows alone,
not on how micro-steps and devices share them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lob_jax.models.layers import example_keys
from lob_jax.training.step.shift import Batch, Task

PARTNER = "partner"  # of a batch: the same arrays of the windows that its windows are mixed with
PAIRING, SHARING = 4, 5  # folded into the key of a step, see `training.step.parts`


class Mixing(NamedTuple):
    """What windows are mixed with.

    Attributes:
      partner: the task of the partners.
      share_B: the share of the windows themselves.
    """

    partner: Task
    share_B: jax.Array


def with_partners(batch: Batch, key: jax.Array, *, devices_axis: str | None = None) -> Batch:
    """Return the windows of a step [A, M, ...] with those of their partners, as `partner`.

    Args:
      batch: the windows, with different numbers `example`.
      key: the key of the step.
      devices_axis: axis name of a pmap, in which each device has separate windows; None under jit.
    """
    held = batch if devices_axis is None else jax.lax.all_gather(batch, devices_axis, axis=1)
    shape = held["example"].shape  # [A, M], or with the devices of a pmap [A, devices, m]
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(shape) :]), held)
    partner = partners(flat["example"], jax.random.fold_in(key, PAIRING)).reshape(shape)
    own = partner if devices_axis is None else partner[:, jax.lax.axis_index(devices_axis)]
    return {**batch, PARTNER: jax.tree.map(lambda leaf: leaf[own], flat)}


def partners(example_W: jax.Array, key: jax.Array) -> jax.Array:
    """Return the place of each window's partner, int32 [W]: a permutation that depends on the numbers alone."""
    place_W = jnp.argsort(example_W)  # by rank
    partner_W = jax.random.permutation(key, len(example_W))  # ranks, by rank
    return jnp.zeros_like(place_W).at[place_W].set(place_W[partner_W])


def shares(key: jax.Array, example_B: jax.Array, alpha: float, dtype: str = "float32") -> jax.Array:
    """Return the share of each window in its mixture, [B]: Beta(alpha, alpha), by its number and the step's key."""
    keys_B = example_keys(jax.random.fold_in(key, SHARING), example_B)
    return jax.vmap(lambda key: jax.random.beta(key, alpha, alpha, dtype=dtype))(keys_B)


def scaled(task: Task, share_B: jax.Array) -> Task:
    """Return a task whose targets count as much as a share of their window."""
    tokens_BT, conditioning, targets_BT, weights_BT = task
    return tokens_BT, conditioning, targets_BT, weights_BT * share_B[:, None]
