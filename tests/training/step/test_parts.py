"""Each part of the loss against its definition, on a few numbers; and all parts together in a step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lob_jax.models.embeddings import MOMENTS
from lob_jax.models.heads import Outlook
from lob_jax.models.layers import example_keys
from lob_jax.models.pointer import Projection
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.tokens.vocabulary import MASK
from lob_jax.training.step.objective import NEXT_TOKEN
from lob_jax.training.step.objectives.masked import hide_tokens
from lob_jax.training.step.parts import ahead_loss, at_last_scored, contrastive_loss, outlook_losses, summed_loss


def log_softmax(x):
    x = np.asarray(x, np.float64)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


@pytest.fixture
def several(model_config, windows):
    """A model with every head, its parameters, and windows with labels."""
    base = model_config()
    heads = dataclasses.replace(base.heads, next_tokens=3, outlook_events=(2, 4), contrastive_size=5)
    config = dataclasses.replace(base, heads=heads, dropout=0.0)
    batch, random = windows(6), np.random.default_rng(3)
    shape = batch["tokens"].shape
    batch = {
        **batch,
        "example": np.arange(6, dtype=np.int32),
        "regime": random.integers(0, 2, shape).astype(np.int32),
        "direction": random.integers(-1, 3, (*shape, 2)).astype(np.int32),
        "log_volatility": random.normal(size=(*shape, 2)).astype(np.float32),
    }
    return config, initial_parameters(config, jax.random.key(0)), batch


@pytest.mark.slow
def test_a_share_of_the_scored_tokens_is_hidden_as_bert_hides_them():
    random = np.random.default_rng(0)
    tokens_BT = jnp.asarray(random.integers(8, 1000, (50, 400)), jnp.int32)
    scored_BT = jnp.asarray(random.random((50, 400)) < 0.5)
    keys_B = example_keys(jax.random.key(1), jnp.arange(50))
    shown_BT, hidden_BT = hide_tokens(tokens_BT, scored_BT, keys_B, share=0.3, vocab_size=1000)
    assert not (hidden_BT & ~scored_BT).any()
    np.testing.assert_array_equal(shown_BT[~hidden_BT], tokens_BT[~hidden_BT])
    assert float(hidden_BT.sum() / scored_BT.sum()) == pytest.approx(0.3, abs=0.02)
    as_mask, as_they_are = (shown_BT == MASK)[hidden_BT].mean(), (shown_BT == tokens_BT)[hidden_BT].mean()
    assert float(as_mask) == pytest.approx(0.8, abs=0.02)
    assert float(as_they_are) == pytest.approx(0.1, abs=0.02)
    alone = hide_tokens(tokens_BT[7:8], scored_BT[7:8], keys_B[7:8], share=0.3, vocab_size=1000)
    np.testing.assert_array_equal(alone[0][0], shown_BT[7])  # whatever else the batch holds


def test_tokens_ahead_are_scored_where_they_count():
    random = np.random.default_rng(0)
    ahead_BTKD = random.standard_normal((2, 5, 2, 3)).astype(np.float32)
    weight_VD, bias_V = random.standard_normal((7, 3)).astype(np.float32), np.zeros(7, np.float32)
    targets_BT = random.integers(0, 7, (2, 5))
    weights_BT = np.array([[1, 1, 0, 1, 1], [0, 1, 1, 1, 0]], np.float32)
    expected = 0.0
    for b in range(2):
        for t in range(5):
            for k in range(2):
                if t + k + 1 < 5:
                    p_V = log_softmax(weight_VD @ ahead_BTKD[b, t, k])
                    expected -= weights_BT[b, t + k + 1] * p_V[targets_BT[b, t + k + 1]]
    arguments = (jnp.asarray(x) for x in (ahead_BTKD, targets_BT, weights_BT, weight_VD, bias_V))
    ahead_BTKD, targets_BT, weights_BT, weight_VD, bias_V = arguments
    for block in (None, 2):
        objective = dataclasses.replace(NEXT_TOKEN, loss_block=block)
        found = ahead_loss(ahead_BTKD, Projection(weight_VD, bias_V), targets_BT, weights_BT, objective)
        assert float(found) == pytest.approx(expected, rel=1e-5)


def test_outlook_counts_labelled_tokens_alone_and_is_a_mean_over_horizons():
    random = np.random.default_rng(0)
    logit_BTK3 = random.standard_normal((1, 3, 2, 3)).astype(np.float32)
    volatility_BTK = random.standard_normal((1, 3, 2)).astype(np.float32)
    label_BTK = np.array([[[0, 2], [-1, -1], [1, -1]]])
    truth_BTK = np.full((1, 3, 2), 0.5, np.float32)
    truth_BTK[0, 1] = np.nan  # of what has no label
    weights_BT = np.array([[1, 1, 1]], np.float32)
    nll = -sum(log_softmax(logit_BTK3[0, t, k])[label_BTK[0, t, k]] for t, k in ((0, 0), (0, 1), (2, 0))) / 2
    squares = sum(0.5 * (volatility_BTK[0, t, k] - 0.5) ** 2 for t, k in ((0, 0), (0, 1), (2, 0))) / 2
    outlook = Outlook(jnp.asarray(logit_BTK3), jnp.asarray(volatility_BTK))
    found = outlook_losses(outlook, jnp.asarray(label_BTK), jnp.asarray(truth_BTK), jnp.asarray(weights_BT))
    np.testing.assert_allclose(found, [nll, squares], rtol=1e-5)


@pytest.mark.slow
def test_contrastive_loss_against_loops():
    random = np.random.default_rng(0)
    vector_BP = random.standard_normal((6, 4))
    vector_BP /= np.linalg.norm(vector_BP, axis=1, keepdims=True)
    regime_B, scored_B = np.array([0, 0, 1, 1, 2, 0]), np.array([3.0, 2.0, 1.0, 4.0, 5.0, 0.0])
    expected = 0.0
    for i in range(5):  # the last window has no scored token
        others = [j for j in range(5) if j != i]
        positives = [j for j in others if regime_B[j] == regime_B[i]]
        log_sum = np.log(sum(np.exp(vector_BP[i] @ vector_BP[a] / 0.2) for a in others))
        if positives:
            expected -= scored_B[i] * np.mean([vector_BP[i] @ vector_BP[p] / 0.2 - log_sum for p in positives])
    arrays = (jnp.asarray(x, jnp.float32) for x in (vector_BP, scored_B))
    vectors, scored = arrays

    def loss(vectors):
        return contrastive_loss(vectors, jnp.asarray(regime_B), scored, temperature=0.2)

    assert float(loss(vectors)) == pytest.approx(expected, rel=1e-5)
    assert jnp.isfinite(jax.grad(loss)(vectors)).all()
    alone = contrastive_loss(vectors[:1], jnp.zeros(1, jnp.int32), jnp.ones(1), temperature=0.2)
    assert float(alone) == 0.0


def test_a_window_is_compared_by_its_last_scored_token():
    vector_BTP = jnp.arange(12.0).reshape(2, 3, 2)
    weights_BT = jnp.asarray([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    vector_BP, regime_B, scored_B = at_last_scored(vector_BTP, jnp.asarray([[4, 5, 6], [7, 8, 9]]), weights_BT)
    np.testing.assert_array_equal(vector_BP, [[2, 3], [6, 7]])
    np.testing.assert_array_equal(regime_B, [5, 7])
    np.testing.assert_array_equal(scored_B, [2, 0])


@pytest.mark.slow
def test_the_whole_is_the_weighted_sum_of_its_parts(several):
    config, params, batch = several
    objective = dataclasses.replace(NEXT_TOKEN, ahead_weight=0.5, outlook_weight=0.25, contrastive_weight=0.125)
    total, weight, parts = summed_loss(params, batch, None, model=LOBTransformer(config), objective=objective)
    assert float(weight) == batch["scored"][:, 1:].sum()
    assert min(float(part) for part in parts.values()) > 0
    outlook = 0.25 * (parts["direction"] + parts["volatility"])
    expected = parts["token"] + 0.5 * parts["ahead"] + outlook + 0.125 * parts["contrastive"]
    assert float(total) == pytest.approx(float(expected), rel=1e-6)
    plain = dataclasses.replace(config, heads=dataclasses.replace(config.heads, next_tokens=1, outlook_events=()))
    plain = dataclasses.replace(plain, heads=dataclasses.replace(plain.heads, contrastive_size=0))
    alone, _, none = summed_loss(params, batch, None, model=LOBTransformer(plain))
    assert none == {}
    assert float(alone) == pytest.approx(float(parts["token"]), rel=1e-6)


@pytest.mark.slow
def test_every_head_has_a_gradient(several):
    config, params, batch = several

    def loss(params):
        return summed_loss(params, batch, None, model=LOBTransformer(config))[0]

    for path, gradient in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params)):
        learned = path[-1].key not in MOMENTS["book"]
        assert (jnp.abs(gradient).max() > 0) == learned, jax.tree_util.keystr(path)


@pytest.mark.slow
def test_what_the_mid_price_does_is_learned_by_heart(several):
    config, params, batch = several
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(params, moments):
        def loss(params):
            return summed_loss(params, batch, None, model=LOBTransformer(config))[::2]

        gradients, parts = jax.grad(loss, has_aux=True)(params)
        updates, moments = optimizer.update(gradients, moments)
        return optax.apply_updates(params, updates), moments, parts

    moments, history = optimizer.init(params), []
    for _ in range(150):
        params, moments, parts = step(params, moments)
        history.append(parts)
    for part in ("direction", "volatility", "ahead", "token", "contrastive"):
        assert float(history[-1][part]) < 0.7 * float(history[0][part]), part


@pytest.mark.slow
def test_hidden_tokens_are_the_targets_and_the_same_at_every_validation(model_config, windows):
    config = dataclasses.replace(model_config(), causal=False)
    params, model = initial_parameters(config, jax.random.key(0)), LOBTransformer(config)
    batch = {**windows(4), "example": np.arange(4, dtype=np.int32)}
    objective = dataclasses.replace(NEXT_TOKEN, kind="masked", mask_share=0.5)
    nll, weight, _ = summed_loss(params, batch, None, model=model, objective=objective)
    again, _, _ = summed_loss(params, batch, None, model=model, objective=objective)
    assert float(nll) == float(again)
    assert 0 < float(weight) < batch["scored"][:, :-1].sum()
    training, _, _ = summed_loss(params, batch, jax.random.key(5), model=model, objective=objective)
    assert float(training) != float(nll)
    assert float(nll / weight) == pytest.approx(np.log(config.vocab_size), rel=0.1)


@pytest.mark.slow
def test_logits_of_heads_in_blocks_change_nothing(several):
    config, params, batch = several
    blocks = dataclasses.replace(NEXT_TOKEN, loss_block=5)
    whole = summed_loss(params, batch, None, model=LOBTransformer(config))
    cut = summed_loss(params, batch, None, model=LOBTransformer(config), objective=blocks)
    np.testing.assert_allclose(cut[0], whole[0], rtol=1e-6)
