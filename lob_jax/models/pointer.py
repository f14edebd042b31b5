"""A pointer: tokens that the market suggests, which the network scores beside its vocabulary.

A head names a price, and a size often that of an order. The output projection scores such a token by its number alone:
what it learns of the third best level at 37 ticks does not help at 38. So the prices and sizes at hand are candidates
for the next token, see `lob_jax.book.anchors` and `lob_jax.book.queue`: each has a score that depends on the network's
state and on what it is, not on its number. The score of a level, or of a price ahead of one, also depends on how many
orders and lots rest there, and on how far it is. The logit of a token becomes the log-sum-exp of its own and of the
scores of its candidates (Vinyals et al., 2015, and See et al., 2017, mix probabilities instead of adding them up).

Candidates are recomputed from the book with each token, never cached.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.anchors import LEVELS, SIDE_ANCHORS, AnchorColumn
from lob_jax.book.queue import QueueColumn
from lob_jax.events.schema import Kind
from lob_jax.models import expert, gaps
from lob_jax.models.attention.dense import MASKED
from lob_jax.models.inputs import Conditioning, given
from lob_jax.models.layers import project
from lob_jax.tokens import vocabulary as v

NO_TOKEN = v.PAD  # in the place of a candidate that there is none of
# Anchors that an event of a kind may name; tokens of different groups of candidates are never the same.
_LEVELS = tuple(range(AnchorColumn.LEVEL, AnchorColumn.AHEAD))
_AHEADS = tuple(range(AnchorColumn.AHEAD, AnchorColumn.ADDED))
_ADDS = tuple(range(AnchorColumn.ADDED, AnchorColumn.REMOVED))
_LAST = (AnchorColumn.ADDED, AnchorColumn.REMOVED, AnchorColumn.TRADED)
_OF_KIND: dict[Kind, tuple[int, ...]] = {
    Kind.ADD: (*_LEVELS, *_AHEADS, *_LAST),
    Kind.CANCEL: (*_LEVELS, *_ADDS, *_LAST[1:]),
    Kind.DELETE: (*_LEVELS, *_ADDS, *_LAST[1:]),
    Kind.EXECUTE: (*_LEVELS, *_LAST),
    Kind.EXECUTE_HIDDEN: (AnchorColumn.HIDDEN, AnchorColumn.AT_TRADE, AnchorColumn.MIDDLE),
}
_GROUPS = [(kind, side, columns) for kind, columns in _OF_KIND.items() for side in range(2)]
# Each candidate of a head: its anchor, and the head of a price with code 0.
_ANCHOR = np.array([SIDE_ANCHORS * side + column for _, side, columns in _GROUPS for column in columns])
_HEAD = np.array([v.CLASS_SIZE * kind + v.ASK_OFFSET * side for kind, side, columns in _GROUPS for _ in columns])
_SIZES = np.array([column for column in QueueColumn if column != QueueColumn.ORDERS])
GROUPS = (*(len(columns) for _, _, columns in _GROUPS), len(_SIZES))
CANDIDATES = sum(GROUPS)
# The candidates of each group, [G, W]; a group that has fewer than the largest repeats its first.
_IN_GROUP = np.arange(max(GROUPS)) < np.array(GROUPS)[:, None]
_PLACE = np.where(_IN_GROUP, np.arange(max(GROUPS)), 0) + np.cumsum((0, *GROUPS[:-1]))[:, None]
LEVEL_FEATURES = 3
LEVEL_WEIGHTS = len(_GROUPS) * LEVEL_FEATURES  # each group of heads has its own
# The level of each candidate of a head, among the bids' and then the asks': the one at its price, or which its price is
# ahead of. The one behind the last stands for none.
_NO_LEVEL = 2 * LEVELS


def _level_of(side: int, column: int) -> int:
    if column >= AnchorColumn.ADDED:
        return _NO_LEVEL
    return LEVELS * side + (column if column < AnchorColumn.AHEAD else column - AnchorColumn.AHEAD + 1)


_LEVEL_OF = np.array([_level_of(side, column) for _, side, columns in _GROUPS for column in columns])
_GROUP_OF = np.repeat(np.arange(len(_GROUPS)), GROUPS[:-1])


class Features(NamedTuple):
    """What the logits of the next token are computed from.

    Attributes:
      x_BTD: the input of the output projection.
      candidates_BTC: int32, the tokens that are candidates, NO_TOKEN for none; None without a pointer.
      levels_BTE: float32, the features of levels, see `level_features`; None without a pointer.
      counted: what the count model found, see `models.expert`; None without one.
    """

    x_BTD: jax.Array
    candidates_BTC: jax.Array | None = None
    levels_BTE: jax.Array | None = None
    counted: expert.Counted | None = None


class Projection(NamedTuple):
    """The parameters from features to logits.

    Attributes:
      weight_VD, bias_V: the output projection.
      weight_CD, bias_C: scores of candidates; None without a pointer.
      weight_WD, bias_W: weights of the features of levels, LEVEL_WEIGHTS; None without a pointer.
      weight_ND, bias_N: parts of the components of a gap, see `models.gaps`; None without them.
      tables: of the count model, see `models.expert`; None without one.
    """

    weight_VD: jax.Array
    bias_V: jax.Array
    weight_CD: jax.Array | None = None
    bias_C: jax.Array | None = None
    weight_WD: jax.Array | None = None
    bias_W: jax.Array | None = None
    weight_ND: jax.Array | None = None
    bias_N: jax.Array | None = None
    tables: expert.Tables | None = None


def candidates(conditioning: Conditioning) -> jax.Array:
    """Return the tokens that are candidates after each token, int32 [B, T, CANDIDATES], NO_TOKEN for none."""
    anchor_BTA = given(conditioning, "anchors")[..., _ANCHOR].astype(jnp.int32)
    size_BTA = given(conditioning, "queue")[..., _SIZES].astype(jnp.int32)
    heads_BTA = jnp.where(anchor_BTA > 0, _HEAD + anchor_BTA - 1, NO_TOKEN)
    return jnp.concatenate([heads_BTA, jnp.where(size_BTA > 0, v.SIZE + size_BTA, NO_TOKEN)], axis=-1)


def _logarithms() -> np.ndarray:
    """Return the logarithm of the number that each leading code stands for, float32 [CLASS_SIZE]; 0 for 0."""
    parts = (v.split_number_code(code) for code in range(v.CLASS_SIZE))
    return np.log([max(lead * 10.0**more, 1) for lead, more in parts]).astype(np.float32)


_LOG = _logarithms()


def level_features(conditioning: Conditioning) -> jax.Array:
    """Return the features of the levels of both sides, float32 [B, T, 2 * LEVELS * LEVEL_FEATURES].

    They are the logarithms of a level's number of orders, of its lots, and of its distance from the side's reference
    price; the latter two minus their means over the side's levels, so that they mean the same in any market. A level
    that does not exist has zeros.
    """
    code_BTA = given(conditioning, "anchors").astype(jnp.int32)
    code_BTSA = code_BTA.reshape(*code_BTA.shape[:2], 2, SIDE_ANCHORS)
    firsts = (AnchorColumn.LEVEL, AnchorColumn.ORDERS, AnchorColumn.LOTS)
    price_BTSL, orders_BTSL, lots_BTSL = (code_BTSA[..., first : first + LEVELS] for first in firsts)
    there_BTSL = price_BTSL > 0
    far_BTSL = jnp.clip(price_BTSL - 1, 0, v.BETTER_CODE - 1)  # the largest code stands for all escapes
    levels_BTS1 = jnp.maximum(there_BTSL.sum(-1, keepdims=True), 1)

    def centred(x_BTSL: jax.Array) -> jax.Array:
        return x_BTSL - jnp.where(there_BTSL, x_BTSL, 0).sum(-1, keepdims=True) / levels_BTS1

    log = jnp.asarray(_LOG)
    features = jnp.stack([log[orders_BTSL], centred(log[lots_BTSL]), centred(log[far_BTSL])], axis=-1)
    return jnp.where(there_BTSL[..., None], features, 0).reshape(*code_BTA.shape[:2], -1)


def next_logits(features: Features, projection: Projection, *, first: bool = False) -> jax.Array:
    """Return logits_BTV of the next token, float32; `first` as in `layers.project`."""
    logits_BTV = project(features.x_BTD, projection.weight_VD, projection.bias_V, first=first)
    if projection.weight_ND is not None and projection.bias_N is not None:
        parts_BTN = project(features.x_BTD, projection.weight_ND, projection.bias_N)
        logits_BTV = gaps.add_components(logits_BTV, parts_BTN)
    if features.candidates_BTC is None:
        return logits_BTV
    assert projection.weight_CD is not None and projection.bias_C is not None
    score_BTC = project(features.x_BTD, projection.weight_CD, projection.bias_C)
    level_BTC = level_scores(features, projection)
    others = score_BTC.shape[-1] - level_BTC.shape[-1]
    score_BTC += jnp.pad(level_BTC, ((0, 0), (0, 0), (0, others)))
    logits_BTV = point(logits_BTV, features.candidates_BTC, score_BTC)
    if features.counted is None or projection.tables is None:
        return logits_BTV
    return expert.add_counts(logits_BTV, features.x_BTD, features.counted, projection.tables)


def level_scores(features: Features, projection: Projection) -> jax.Array:
    """Return what the features of levels add to the scores of the candidates of heads, the first of all candidates.

    Their weights depend on the network's state, and are the same for all levels of a group.
    """
    assert features.levels_BTE is not None and projection.weight_WD is not None and projection.bias_W is not None
    places = features.x_BTD.shape[:2]
    weight_BTW = project(features.x_BTD, projection.weight_WD, projection.bias_W)
    weight_BTGF = weight_BTW.reshape(*places, -1, LEVEL_FEATURES)
    level_BTLF = features.levels_BTE.reshape(*places, -1, LEVEL_FEATURES)
    level_BTLF = jnp.pad(level_BTLF, ((0, 0), (0, 0), (0, 1), (0, 0)))  # no level has zeros
    return (weight_BTGF[..., _GROUP_OF, :] * level_BTLF[..., _LEVEL_OF, :]).sum(-1)


def point(logits_BTV: jax.Array, candidates_BTC: jax.Array, score_BTC: jax.Array) -> jax.Array:
    """Return log(exp(logit) + sum of exp(score) over the candidates that are the token), float32 [B, T, V]."""
    token_BTGW = jnp.where(_IN_GROUP, candidates_BTC[..., _PLACE], NO_TOKEN)
    flat_BTC = token_BTGW.reshape(*candidates_BTC.shape[:-1], -1)
    own_BTC = jnp.take_along_axis(logits_BTV, flat_BTC, axis=-1, mode="clip")
    more_BTGW = _more(own_BTC.reshape(token_BTGW.shape), token_BTGW, score_BTC[..., _PLACE])
    flat_NV, token_NC, more_NC = (
        leaf.reshape(-1, leaf.shape[-1]) for leaf in (logits_BTV, flat_BTC, more_BTGW.reshape(flat_BTC.shape))
    )
    row_N1 = jnp.arange(flat_NV.shape[0])[:, None]
    return flat_NV.at[row_N1, token_NC].add(more_NC, mode="promise_in_bounds").reshape(logits_BTV.shape)


def _more(own_BTGW: jax.Array, token_BTGW: jax.Array, score_BTGW: jax.Array) -> jax.Array:
    """Return what candidates add to the logits of their tokens; the first of equal ones in a group adds for all."""
    same_BTGWW = token_BTGW[..., :, None] == token_BTGW[..., None, :]
    before = np.tri(token_BTGW.shape[-1], k=-1, dtype=bool)
    counts_BTGW = (token_BTGW != NO_TOKEN) & ~(same_BTGWW & before).any(-1)
    scores_BTGWW = jnp.where(same_BTGWW, score_BTGW[..., None, :], MASKED)
    most_BTGW1 = jax.lax.stop_gradient(scores_BTGWW.max(-1, keepdims=True))
    total_BTGW = jnp.log(jnp.exp(scores_BTGWW - most_BTGW1).sum(-1)) + most_BTGW1[..., 0]
    above_BTGW = total_BTGW - own_BTGW
    more_BTGW = jnp.maximum(above_BTGW, 0) + jnp.log1p(jnp.exp(-jnp.abs(above_BTGW)))
    return jnp.where(counts_BTGW, more_BTGW, 0)
