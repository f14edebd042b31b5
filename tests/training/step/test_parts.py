"""Each part of the loss against its definition, on a few numbers; and all parts together in a step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lob_jax.models.embeddings import MOMENTS
from lob_jax.models.heads import Outlook
from lob_jax.models.pointer import Projection
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.training.step.objective import NEXT_TOKEN
from lob_jax.training.step.parts import ahead_loss, outlook_losses, summed_loss


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
        "record": np.arange(6, dtype=np.int32),
        "regime": random.integers(0, 2, shape).astype(np.int32),
        "direction": random.integers(-1, 3, (*shape, 2)).astype(np.int32),
        "log_volatility": random.normal(size=(*shape, 2)).astype(np.float32),
    }
    return config, initial_parameters(config, jax.random.key(0)), batch


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
