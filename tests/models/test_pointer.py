"""The pointer: candidates for the next token, and what their scores add to its logits."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.book.anchors import AHEADS, ANCHORS, LEVELS, SIDE_ANCHORS, AnchorColumn
from lob_jax.book.queue import QUEUE_NUMBERS, QueueColumn
from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.models.pointer import (
    CANDIDATES,
    GROUPS,
    LEVEL_WEIGHTS,
    NO_TOKEN,
    Features,
    Projection,
    candidates,
    level_features,
    level_scores,
    next_logits,
    point,
)
from lob_jax.models.transformer import LOBTransformer, empty_cache
from lob_jax.tokens import vocabulary as v

B, T, V = 2, 3, v.VOCAB_SIZE
TICK_KINDS = (Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE)


def market(seed, *, codes=12, shape=(B, T)):
    """Return anchors and queue numbers of few different values, so that some are equal, and some absent."""
    random = np.random.default_rng(seed)
    anchors_BTA = random.integers(0, codes, (*shape, ANCHORS)).astype(np.int16)
    queue_BTQ = random.integers(0, codes, (*shape, QUEUE_NUMBERS)).astype(np.int16)
    return {"anchors": jnp.asarray(anchors_BTA), "queue": jnp.asarray(queue_BTQ)}


def named_by_hand(anchors_A, queue_Q):
    """Return all tokens that one place suggests, as often as they are suggested."""
    tokens = []
    for side in range(2):
        mine = anchors_A[SIDE_ANCHORS * side : SIDE_ANCHORS * (side + 1)][: AnchorColumn.ORDERS]
        for column, code in enumerate(mine.tolist()):
            kinds = (Kind.ADD,) if AnchorColumn.AHEAD <= column < AnchorColumn.ADDED else TICK_KINDS
            kinds = (Kind.CANCEL, Kind.DELETE) if AnchorColumn.ADDED < column < AnchorColumn.REMOVED else kinds
            kinds = (Kind.EXECUTE_HIDDEN,) if column >= AnchorColumn.HIDDEN else kinds
            tokens += [1_000 * kind + 500 * side + code - 1 for kind in kinds if code > 0]
    return tokens + [8_000 + code for code in np.delete(queue_Q, QueueColumn.ORDERS).tolist() if code > 0]


def test_candidates_are_the_tokens_that_the_market_suggests():
    known = market(0)
    found = np.asarray(candidates(known))
    assert found.shape == (B, T, CANDIDATES)
    for b in range(B):
        for t in range(T):
            tokens = found[b, t][found[b, t] != NO_TOKEN]
            expected = named_by_hand(np.asarray(known["anchors"])[b, t], np.asarray(known["queue"])[b, t])
            assert sorted(tokens.tolist()) == sorted(expected)
            assert len(np.unique(tokens)) < len(tokens)


def scored(seed=0):
    """Return logits [B, T, V], candidates and their scores."""
    random = np.random.default_rng(seed)
    logits_BTV = jnp.asarray(random.normal(0, 3, (B, T, V)), jnp.float32)
    return logits_BTV, candidates(market(seed)), jnp.asarray(random.normal(0, 3, (B, T, CANDIDATES)), jnp.float32)


def plain(logits_BTV, token_BTC, score_BTC):
    """Return the log-sum-exp by its definition, in float64."""
    total_BTV = np.exp(np.asarray(logits_BTV, np.float64))
    for (b, t, c), token in np.ndenumerate(np.asarray(token_BTC)):
        if token != NO_TOKEN:
            total_BTV[b, t, token] += np.exp(float(score_BTC[b, t, c]))
    return np.log(total_BTV)


def test_a_logit_is_the_log_sum_exp_of_its_own_and_its_candidates():
    logits_BTV, token_BTC, score_BTC = scored()
    found = jax.jit(point)(logits_BTV, token_BTC, score_BTC)
    np.testing.assert_allclose(found, plain(logits_BTV, token_BTC, score_BTC), rtol=1e-5, atol=1e-5)
    assert (np.asarray(found != logits_BTV).sum(-1) > 20).all()


def test_the_gradient_is_that_of_the_dense_formula():
    logits_BTV, token_BTC, score_BTC = scored()
    slope_BTV = jnp.asarray(np.random.default_rng(1).normal(size=(B, T, V)), jnp.float32)

    def dense(logits_BTV, score_BTC):
        named_BTCV = jax.nn.one_hot(token_BTC, V) * (token_BTC != NO_TOKEN)[..., None]
        return jnp.log(jnp.exp(logits_BTV) + jnp.einsum("BTCV,BTC->BTV", named_BTCV, jnp.exp(score_BTC)))

    losses = (lambda x, s, f=f: (f(x, s) * slope_BTV).sum() for f in (lambda x, s: point(x, token_BTC, s), dense))
    found, expected = (jax.jit(jax.grad(loss, argnums=(0, 1)))(logits_BTV, score_BTC) for loss in losses)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("score", [-200.0, 200.0])
def test_scores_far_from_the_logits_stay_finite(score):
    logits_BTV, token_BTC, _ = scored()
    score_BTC = jnp.full(token_BTC.shape, score)
    loss = jax.value_and_grad(lambda x, s: point(x, token_BTC, s).sum(), argnums=(0, 1))
    value, gradient = jax.jit(loss)(logits_BTV, score_BTC)
    assert np.isfinite(value) and all(np.isfinite(leaf).all() for leaf in gradient)
    if score < 0:
        np.testing.assert_array_equal(point(logits_BTV, token_BTC, score_BTC), logits_BTV)


def test_without_candidates_the_logits_are_the_projection():
    random = np.random.default_rng(0)
    x_BTD, weight_VD, weight_CD = (
        jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((B, T, 4), (V, 4), (CANDIDATES, 4))
    )
    weight_WD = jnp.asarray(random.normal(size=(LEVEL_WEIGHTS, 4)), jnp.float32)
    projection = Projection(
        weight_VD, jnp.zeros(V), weight_CD, jnp.ones(CANDIDATES), weight_WD, jnp.ones(LEVEL_WEIGHTS)
    )
    linear, levels = x_BTD @ weight_VD.T, level_features(market(3))
    nothing = jnp.full((B, T, CANDIDATES), NO_TOKEN)
    for features in (Features(x_BTD), Features(x_BTD, nothing, levels)):
        np.testing.assert_allclose(next_logits(features, projection), linear, rtol=1e-5, atol=1e-5)
    some = candidates(market(3))
    features = Features(x_BTD, some, levels)
    of_levels = level_scores(features, projection)
    score = (x_BTD @ weight_CD.T + 1).at[..., : of_levels.shape[-1]].add(of_levels)
    expected = plain(linear, some, score)
    np.testing.assert_allclose(next_logits(features, projection), expected, rtol=1e-4, atol=1e-4)


def side_by_hand(anchors_A, side):
    """Return the three features of each of a side's levels, one level after the other."""
    mine = anchors_A[SIDE_ANCHORS * side : SIDE_ANCHORS * (side + 1)].tolist()
    rows = []
    for k in range(LEVELS):
        price, orders, lots = (mine[first + k] for first in (0, AnchorColumn.ORDERS, AnchorColumn.LOTS))
        rows.append([math.log(max(number, 1)) for number in (orders, lots, price - 1)] if price else None)
    there = [row for row in rows if row]
    means = [0, *(sum(row[f] for row in there) / max(len(there), 1) for f in (1, 2))]
    return [[value - mean for value, mean in zip(row, means, strict=True)] if row else [0, 0, 0] for row in rows]


def test_the_features_of_levels_are_logarithms_relative_to_those_of_the_side():
    known = market(5, codes=10)  # below ten, a code is the number itself
    found = np.asarray(level_features(known)).reshape(B, T, 2 * LEVELS, -1)
    for b in range(B):
        for t in range(T):
            anchors_A = np.asarray(known["anchors"])[b, t]
            expected = [*side_by_hand(anchors_A, 0), *side_by_hand(anchors_A, 1)]
            np.testing.assert_allclose(found[b, t], expected, atol=1e-5)
    nothing = {"anchors": jnp.zeros((1, 1, ANCHORS), jnp.int16)}
    assert not np.asarray(level_features(nothing)).any()


@pytest.mark.parametrize(("code", "number"), [(0, 1), (9, 9), (10, 10), (99, 99), (100, 100), (190, 1_000)])
def test_a_code_stands_for_the_least_of_its_numbers(code, number):
    anchors_A = np.zeros(ANCHORS, np.int16)
    anchors_A[[0, AnchorColumn.ORDERS]] = 1, code
    assert level_features({"anchors": jnp.asarray(anchors_A)[None, None]})[0, 0, 0] == pytest.approx(math.log(number))


def test_a_group_weighs_its_levels_and_the_prices_ahead_of_them_alike():
    """One weight is 1, that of the lots of ADDs of asks: the scores of no other candidate change."""
    known, column = market(7), AnchorColumn
    add_of_asks = GROUPS[0], GROUPS[0] + GROUPS[1]
    weight_W = np.zeros(LEVEL_WEIGHTS, np.float32)
    weight_W[3 + 1] = 1
    zero = jnp.zeros((LEVEL_WEIGHTS, 1))
    projection = Projection(zero, zero[:, 0], None, None, zero, jnp.asarray(weight_W))
    features = Features(jnp.ones((B, T, 1)), candidates(known), level_features(known))
    found = np.asarray(level_scores(features, projection))
    lots = np.asarray(level_features(known)).reshape(B, T, 2, LEVELS, 3)[..., 1, :, 1]
    mine = found[..., slice(*add_of_asks)]
    np.testing.assert_allclose(mine[..., :LEVELS], lots, atol=1e-6)
    np.testing.assert_allclose(mine[..., LEVELS : column.ADDED], lots[..., 1 : 1 + AHEADS], atol=1e-6)
    assert not mine[..., column.ADDED :].any() and mine.any()
    assert not np.delete(found, np.arange(*add_of_asks), axis=-1).any()


POINTER = {"vocab_size": V, "pointer": True}


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_with_a_pointer_adds_its_candidates(tiny, lively, inputs, tied):
    config = tiny(**POINTER, tie_embeddings=tied)
    params, (tokens_BT, conditioning) = lively(config), inputs(config, B, T)
    known = {**conditioning, **market(1)}
    without = dataclasses.replace(config, pointer=False)
    head = {name: leaf for name, leaf in params["head"].items() if not name.startswith(("pointer", "level"))}
    own = LOBTransformer(without).apply({"params": {**params, "head": head}}, tokens_BT, conditioning)
    found = LOBTransformer(config).apply({"params": params}, tokens_BT, known)
    stream, _ = LOBTransformer(config).apply({"params": params}, tokens_BT, known, method="features")
    score_BTC = stream.x_BTD @ params["head"]["pointer"].T + params["head"]["pointer_bias"]
    zero = jnp.zeros((1, 1))
    weights = Projection(zero, zero[0], None, None, params["head"]["level"], params["head"]["level_bias"])
    of_levels = level_scores(stream, weights)
    score_BTC = score_BTC.at[..., : of_levels.shape[-1]].add(of_levels)
    assert np.asarray(of_levels).any()
    np.testing.assert_allclose(found, plain(own, candidates(known), score_BTC), rtol=1e-4, atol=1e-4)


def test_cached_logits_are_those_of_the_whole_sequence(tiny, lively, inputs):
    """Candidates are of the newest token, and none is cached."""
    config = tiny(**POINTER)
    params, (tokens_BT, conditioning) = lively(config), inputs(config, B, T)
    model, known = LOBTransformer(config), {**conditioning, **market(2)}
    whole = model.apply({"params": params}, tokens_BT, known)
    cache, parts = empty_cache(config, B, T), []
    for t in range(T):
        one = {name: array[:, t : t + 1] for name, array in known.items()}
        logits, cache = model.apply({"params": params}, tokens_BT[:, t : t + 1], one, cache=cache)
        parts.append(logits)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-5, atol=1e-5)
    last, _ = model.apply({"params": params}, tokens_BT, known, cache=empty_cache(config, B, T), method="last_logits")
    np.testing.assert_allclose(last, whole[:, -1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"vocab_size": 40}, {"heads": {"next_tokens": 2}}, {"causal": False}],
    ids=["vocabulary", "ahead", "both"],
)
def test_a_model_that_cannot_point_is_refused(tiny, changes):
    with pytest.raises(InputError, match=r"model\.pointer"):
        tiny(**{**POINTER, **changes})


def test_missing_anchors_are_named(tiny, lively, inputs):
    config = tiny(**POINTER)
    tokens_BT, conditioning = inputs(config, B, T)
    del conditioning["anchors"]
    with pytest.raises(InputError, match="reads anchors and was not given it"):
        LOBTransformer(config).apply({"params": lively(config)}, tokens_BT, conditioning)
