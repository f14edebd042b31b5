"""Contrastive losses: which windows are compared, which of them belong together, and InfoNCE over them.

A row is a window, or a view of one, given by the unit vector at its last scored token. Rows are compared with all rows
of a micro-step, those of other devices included, except for

  overlapping windows   that have targets in common: the same window again, or mirrored. Their vectors are alike
                        whatever they mean, so they are neither positives nor negatives;
  empty windows         without scored tokens, such as padding, or the peer's in cross-asset training.

Two kinds of positives:

  regimes    windows that end in the same regime (supervised: Khosla et al., 2020);
  augmented  the two views of a window (Chen et al., 2020, SimCLR): tokens are replaced by MASK independently in each,
             and if asked for, a view is of the mirrored market with probability 1/2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lob_jax.data.windows.augment.reflection import mirrored
from lob_jax.models.inputs import Conditioning
from lob_jax.models.layers import example_keys
from lob_jax.tokens.vocabulary import MASK

NO_OTHER = -1e30  # similarity of rows that are not compared
VIEWS = 2


class Rows(NamedTuple):
    """Windows, or views of them, to compare.

    Attributes:
      vector_RP: float32 unit vectors.
      regime_R: int32, the regime at the last scored token.
      example_R: int32, the number of the window, different for each window of a step.
      view_R: int32, which view of the window it is; 0 if there is only one.
      record_R: int32, the record that the window is cut from.
      position_R: int32, where the window starts in its record's tokens.
      weight_R: float32, how much the row counts as an anchor; 0 for a window without scored tokens.
    """

    vector_RP: jax.Array
    regime_R: jax.Array
    example_R: jax.Array
    view_R: jax.Array
    record_R: jax.Array
    position_R: jax.Array
    weight_R: jax.Array


def last_scored(weights_BT: jax.Array) -> jax.Array:
    """Return the position of the last scored token of each window, int32 [B]; 0 if there is none."""
    return jnp.max(jnp.where(weights_BT > 0, jnp.arange(weights_BT.shape[1]), 0), axis=1)


def make_rows(vector_VBP: jax.Array, batch: dict[str, Any], weights_BT: jax.Array) -> Rows:
    """Return the rows of V views of B windows, R = V B; all views of a window together count as its scored tokens.

    Args:
      vector_VBP: the vectors at the last scored tokens.
      batch: the windows [B, T+1]: regime, example, record, position.
      weights_BT: the weights of the targets.
    """
    V, B, P = vector_VBP.shape
    last_B = last_scored(weights_BT)
    regime_B = jnp.take_along_axis(batch["regime"][:, :-1], last_B[:, None], axis=1)[:, 0]
    once = (regime_B, batch["example"], batch["record"], batch["position"], weights_BT.sum(1) / V)
    regime_R, example_R, record_R, position_R, weight_R = (jnp.tile(leaf_B, V) for leaf_B in once)
    view_R = jnp.repeat(jnp.arange(V), B)
    return Rows(vector_VBP.reshape(-1, P), regime_R, example_R, view_R, record_R, position_R, weight_R)


def compared(rows: Rows, others: Rows, *, kind: str, length: int) -> tuple[jax.Array, jax.Array]:
    """Return which of the other rows are positives of each row, and which are compared with it, bool [R, O] both.

    Args:
      rows: the anchors.
      others: the rows that they are compared with.
      kind: what positives are, "regimes" or "augmented".
      length: T, targets of a window: two windows of a record overlap if they start less than T tokens apart.
    """
    same_record_RO = rows.record_R[:, None] == others.record_R
    overlap_RO = same_record_RO & (jnp.abs(rows.position_R[:, None] - others.position_R) < length)
    same_window_RO = rows.example_R[:, None] == others.example_R
    scored_O = others.weight_R > 0
    apart_RO = ~overlap_RO & ~same_window_RO & scored_O
    if kind == "regimes":
        return apart_RO & (rows.regime_R[:, None] == others.regime_R), apart_RO
    twin_RO = same_window_RO & (rows.view_R[:, None] != others.view_R) & scored_O
    return twin_RO, apart_RO | twin_RO


def info_nce(
    similarity_RO: jax.Array, positive_RO: jax.Array, compared_RO: jax.Array, weight_R: jax.Array
) -> jax.Array:
    """Return the weighted sum over rows i, with positives P(i) among the compared rows A(i), of

      - mean over p in P(i) of log(exp(s_ip) / sum over a in A(i) of exp(s_ia)).

    This is L_out of Khosla et al. (2020); with one positive, InfoNCE (van den Oord et al., 2018). A row without
    positives is no anchor.

    Args:
      similarity_RO: s, the product of unit vectors divided by the temperature.
      positive_RO: which rows are in P.
      compared_RO: which rows are in A.
      weight_R: weights of the rows as anchors.
    """
    # For a row without any other, the result is unused; a finite floor keeps it and its gradient finite.
    normaliser_R1 = jax.nn.logsumexp(jnp.where(compared_RO, similarity_RO, NO_OTHER), axis=1, keepdims=True)
    log_share_RO = similarity_RO - normaliser_R1
    count_R = positive_RO.sum(1)
    mean_R = jnp.where(positive_RO, log_share_RO, 0.0).sum(1) / jnp.maximum(count_R, 1)
    return -jnp.sum(jnp.where(count_R > 0, mean_R, 0.0) * weight_R)


def contrastive_loss(
    rows: Rows, *, kind: str, temperature: float, length: int, devices_axis: str | None = None
) -> jax.Array:
    """Return `info_nce` of rows among all rows of the micro-step.

    Args:
      rows: the anchors, see `make_rows`.
      kind: what positives are, "regimes" or "augmented".
      temperature: divisor of the similarities.
      length: see `compared`.
      devices_axis: axis name of a pmap, whose devices have separate rows; None under jit, where rows are all there are.
    """
    others = rows if devices_axis is None else jax.lax.all_gather(rows, devices_axis, tiled=True)
    similarity_RO = rows.vector_RP @ others.vector_RP.T / temperature
    return info_nce(similarity_RO, *compared(rows, others, kind=kind, length=length), rows.weight_R)


def augmented(
    tokens_BT: jax.Array,
    conditioning: Conditioning,
    keys_B: jax.Array,
    *,
    may_mask_BT: jax.Array,
    mask_share: float,
    mirror_B: jax.Array | None = None,
) -> tuple[jax.Array, Conditioning]:
    """Return a random view of windows: tokens replaced by MASK, and of the mirrored market where `mirror_B` says so.

    Args:
      tokens_BT: int32.
      conditioning: the other inputs at each token; a mirrored window has them mirrored.
      keys_B: one key per window and view.
      may_mask_BT: which tokens may be replaced.
      mask_share: probability that such a token is replaced, independently of the others.
      mirror_B: which windows are mirrored; None for none.
    """
    if mirror_B is not None:
        arrays = {"tokens": tokens_BT, **conditioning}
        chosen = {name: _where(mirror_B, array, arrays[name]) for name, array in mirrored(arrays).items()}
        tokens_BT, conditioning = chosen.pop("tokens"), chosen
    uniform_BT = jax.vmap(lambda key: jax.random.uniform(key, tokens_BT.shape[1:]))(keys_B)
    return jnp.where((uniform_BT < mask_share) & may_mask_BT, MASK, tokens_BT), conditioning


def _where(mirror_B: jax.Array, mirrored_BT: jax.Array, array_BT: jax.Array) -> jax.Array:
    return jnp.where(mirror_B.reshape(-1, *[1] * (array_BT.ndim - 1)), mirrored_BT, array_BT)


def view_keys(key: jax.Array, example_B: jax.Array, market_B: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return independent keys per window, [B] each: for the tokens of a view, and for whether it is mirrored.

    Args:
      key: random key of the view.
      example_B: the numbers of the windows.
      market_B: the same number for windows that are mirrored together.
    """
    masking, mirroring = (jax.random.fold_in(key, number) for number in range(2))
    return example_keys(masking, example_B), example_keys(mirroring, market_B)
