"""Forecasters: shapes, hand-counted parameters, causality, and whether each learns a simple rule."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lob_jax.errors import InputError
from lob_jax.forecasting import tft
from lob_jax.forecasting.config import FORECASTERS, ForecastConfig
from lob_jax.forecasting.deeplob import DeepLOB
from lob_jax.forecasting.forecasters import make_forecaster, measured
from lob_jax.forecasting.linear import LinearForecaster

CONFIG = ForecastConfig(
    model="tft",
    history=8,
    horizons=(2, 5),
    levels=2,
    clock=True,
    width=8,
    heads=2,
    quantiles=(0.1, 0.5, 0.9),
    filters=4,
    inception=6,
    units=5,
    dropout=0.2,
    instruments=3,
)
HOW = {"deterministic": True}


def config(**changes):
    return dataclasses.replace(CONFIG, **changes)


def make_batch(size=3, *, history=8, levels=2, tokens=6, seed=0):
    random = np.random.default_rng(seed)

    def numbers(*shape):
        return random.normal(size=(size, *shape)).astype(np.float32)

    def whole(high, *shape):
        return random.integers(0, high, (size, *shape)).astype(np.int32)

    return {
        "book": numbers(history, 4 * levels),
        "flow": numbers(history, 5),
        "kind": whole(8, history),
        "past_clock": numbers(history, 4),
        "future_clock": numbers(2, 4),
        "instrument": whole(4),
        "day_of_week": whole(5),
        "tokens": whole(40, tokens),
        "time_of_day": whole(24, tokens),
        "token_book": numbers(tokens, 4),
        "token_event": np.sort(whole(9, tokens), axis=1) - 9,
        "token_clock": whole(10**6, tokens, 2),
    }


def parameters(module, batch):
    return jax.jit(module.init)({"params": jax.random.key(0)}, batch)["params"]


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.fixture
def token_model(tiny):
    return tiny(max_seq_length=6, book_features=4, time_buckets=24, n_layers=1, dropout=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORECASTERS)
def test_every_forecaster_has_the_same_face(name, token_model):
    module, batch = make_forecaster(config(model=name), token_model), make_batch()
    params = parameters(module, batch)
    forecast = jax.jit(module.apply)({"params": params}, batch)
    assert forecast.direction_BK3.shape == (3, 2, 3) and forecast.direction_BK3.dtype == jnp.float32
    if name == "tft":
        assert forecast.quantiles_BKQ.shape == (3, 2, 3)
    else:
        assert forecast.quantiles_BKQ is None
    again = module.apply({"params": params}, batch)
    np.testing.assert_allclose(again.direction_BK3, forecast.direction_BK3, rtol=1e-5, atol=1e-6)
    one = module.apply({"params": params}, jax.tree.map(lambda leaf: leaf[:1], batch))
    np.testing.assert_allclose(one.direction_BK3, forecast.direction_BK3[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["transformer", "linear"])
def test_a_transformers_book_features_are_standardised_by_training_examples(name, token_model):
    module, batch = make_forecaster(config(model=name), token_model), make_batch()
    params = parameters(module, batch)
    found = measured(params, batch)
    if name == "linear":
        assert found is params
    else:
        book_KF = batch["token_book"].reshape(-1, 4)
        embeddings = found["model"]["embeddings"]
        np.testing.assert_allclose(embeddings["book_mean"], book_KF.mean(0), rtol=1e-5)
        np.testing.assert_allclose(embeddings["book_deviation"], book_KF.std(0), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tft", "deeplob", "transformer"])
def test_dropout_acts_in_training_alone(name, token_model):
    module, batch = make_forecaster(config(model=name, dropout=0.5), token_model), make_batch()
    variables = {"params": parameters(module, batch)}

    @jax.jit
    def train(seed):
        return module.apply(variables, batch, deterministic=False, rngs={"dropout": jax.random.key(seed)}).direction_BK3

    assert not np.allclose(train(0), train(1))
    np.testing.assert_array_equal(train(0), train(0))


@pytest.mark.slow
@pytest.mark.parametrize("name", FORECASTERS)
def test_every_forecaster_learns_a_rule(name, token_model):
    """The input of each determines the label: the sign of the newest ask price, and the parity of the last token."""
    module = make_forecaster(config(model=name, dropout=0.0), dataclasses.replace(token_model, dropout=0.0))
    batch = make_batch(48, seed=1)
    rule = batch["tokens"][:, -1] % 2 if name == "transformer" else (batch["book"][:, -1, 0] > 0) * 1
    label = jnp.asarray(np.stack([2 * rule, 2 - 2 * rule], axis=1))
    params, optimizer = parameters(module, batch), optax.adam(2e-2)

    def loss(params):
        logits = module.apply({"params": params}, batch).direction_BK3
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state, before = optimizer.init(params), float(loss(params))
    for _ in range(120):
        params, state = step(params, state)
    assert before > 0.9 and float(loss(params)) < 0.1


def test_the_transformer_needs_its_shape():
    with pytest.raises(InputError, match="the token model has no configuration"):
        make_forecaster(config(model="transformer"), None)


@pytest.mark.parametrize("changes", [{"regime": "added", "n_regimes": 2}, {"attention": {"cross_asset": True}}])
def test_a_transformer_that_reads_more_than_examples_hold_is_refused(tiny, changes):
    with pytest.raises(InputError, match="do not hold"):
        make_forecaster(config(model="transformer"), tiny(**changes))


@pytest.mark.slow
def test_the_transformer_tells_the_training_instruments_and_others_apart(token_model):
    """This holds whatever the number of instruments in the transformer's configuration."""
    module = make_forecaster(config(model="transformer"), dataclasses.replace(token_model, n_instruments=1))
    one = make_batch(1)
    batch = {name: np.repeat(array, 4, axis=0) for name, array in one.items()} | {"instrument": np.arange(4)}
    logits = np.asarray(jax.jit(module.apply)({"params": parameters(module, batch)}, batch).direction_BK3)
    assert len(np.unique(logits[:, 0, 0])) == 4


@pytest.mark.slow
def test_a_linear_forecaster_is_one_affine_map():
    module, batch = LinearForecaster(config()), make_batch()
    params = parameters(module, batch)
    assert count(params) == 8 * (8 + 5 + 8) * 6 + 6
    assert not np.any(module.apply({"params": params}, batch).direction_BK3)  # equal probabilities at first
    params = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(1), leaf.shape), params)
    kinds = np.eye(8)[batch["kind"]]
    flat = np.concatenate([batch["book"], batch["flow"], kinds], axis=-1).reshape(3, -1)
    expected = flat @ params["map"]["kernel"] + params["map"]["bias"]
    np.testing.assert_allclose(
        module.apply({"params": params}, batch).direction_BK3.reshape(3, 6), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.slow
def test_deeplob_has_the_papers_parameters():
    """With one horizon, counted layer by layer; about sixty thousand, as the paper reports."""
    fold = [2 * 1 * 16 + 16, 2 * 16 * 16 + 16, 10 * 16 * 16 + 16]
    over_time = 6 * (4 * 16 * 16 + 16)
    inception = 3 * (16 * 32 + 32) + (3 * 32 * 32 + 32) + (5 * 32 * 32 + 32)
    lstm = 4 * (96 * 64 + 64 * 64 + 64)
    papers = config(model="deeplob", history=100, horizons=(10,), levels=10, filters=16, inception=32, units=64)
    params = jax.eval_shape(DeepLOB(papers).init, jax.random.key(0), make_batch(history=100, levels=10))["params"]
    assert count(params) == sum(fold) + over_time + inception + lstm + 64 * 3 + 3 == 60_691


@pytest.mark.slow
def test_deeplobs_first_layer_folds_a_price_with_its_size_and_the_second_a_level():
    """A filter of the first merge sees one price and its size; a filter of the second, one level."""
    module, batch = DeepLOB(config(levels=3)), make_batch(levels=3)
    variables = {"params": parameters(module, batch)}

    def seen(name, place):
        def output(book):
            _, kept = module.apply(variables, {"book": book}, capture_intermediates=True, mutable=["intermediates"])
            return kept["intermediates"][name]["__call__"][0][0, 4, place].sum()

        return np.flatnonzero(np.abs(jax.jit(jax.grad(output))(jnp.asarray(batch["book"]))[0]).sum(0)).tolist()

    assert seen("fold_0", 0) == [0, 1] and seen("fold_0", 3) == [6, 7]
    assert seen("fold_1", 1) == [4, 5, 6, 7]
    assert seen("fold_2", 0) == list(range(12))


@functools.cache
def tft_parts(**changes):
    module, batch = tft.TemporalFusionTransformer(config(**changes)), make_batch()
    return module, batch, parameters(module, batch)


@pytest.mark.slow
def test_the_tft_says_what_it_looked_at():
    module, batch, params = tft_parts()
    explain = jax.jit(functools.partial(module.apply, method="explain"))
    forecast, weights = explain({"params": params}, batch)
    plain = jax.jit(module.apply)({"params": params}, batch)
    np.testing.assert_allclose(forecast.direction_BK3, plain.direction_BK3, rtol=1e-5, atol=1e-6)
    shapes = [(3, 2, 10), (3, 2), (3, 8, 2 + 5 + 1 + 4), (3, 2, 4)]
    assert [leaf.shape for leaf in weights] == shapes
    for leaf in weights:
        np.testing.assert_allclose(leaf.sum(-1), 1, rtol=1e-5)
    assert (weights.attention_BKS[:, 0, -1] == 0).all() and (weights.attention_BKS[:, 1] > 0).all()


@pytest.mark.slow
def test_a_nearer_horizon_does_not_see_the_clock_of_a_later_one():
    module, batch, params = tft_parts()

    def first(clock):
        return module.apply({"params": params}, {**batch, "future_clock": clock}).direction_BK3[:, 0].sum()

    gradient = np.asarray(jax.jit(jax.grad(first))(jnp.asarray(batch["future_clock"])))
    assert not gradient[:, 1].any() and gradient[:, 0].all()


@pytest.mark.slow
def test_every_input_of_the_tft_counts():
    module, batch, params = tft_parts()
    floats = {name: jnp.asarray(batch[name]) for name in ("book", "flow", "past_clock", "future_clock")}

    def loss(floats):
        forecast = module.apply({"params": params}, {**batch, **floats})
        return (forecast.direction_BK3**2).sum() + (forecast.quantiles_BKQ**2).sum()

    for name, gradient in jax.jit(jax.grad(loss))(floats).items():
        assert np.abs(gradient).sum((0, 1)).all(), name
    apply = jax.jit(module.apply)
    before = apply({"params": params}, batch).direction_BK3
    others = {"kind": 7 - batch["kind"], "instrument": 3 - batch["instrument"], "day_of_week": 6 - batch["day_of_week"]}
    for name, value in others.items():
        after = apply({"params": params}, {**batch, name: value}).direction_BK3
        assert np.abs(after - before).max() > 1e-6, name


@pytest.mark.slow
def test_without_the_clock_the_tft_is_blind_to_the_time_of_day():
    module, batch, params = tft_parts(clock=False)
    other = {**batch, "day_of_week": (batch["day_of_week"] + 1) % 7}
    for name in ("past_clock", "future_clock"):
        other[name] = np.concatenate([batch[name][..., :2] + 1, batch[name][..., 2:]], axis=-1)
    apply = jax.jit(module.apply)
    np.testing.assert_array_equal(*(apply({"params": params}, one).direction_BK3 for one in (batch, other)))
    assert "day" not in params


@pytest.mark.slow
def test_heads_share_their_values():
    """The output equals the mean weights times a single value projection, computed with NumPy."""
    module, random = tft.InterpretableAttention(2, 8), np.random.default_rng(0)
    keys = random.normal(size=(1, 5, 8)).astype(np.float32)
    mask = np.tri(2, 5, 3, dtype=bool)
    params = module.init(jax.random.key(0), keys[:, -2:], keys, mask)["params"]
    out, weights = module.apply({"params": params}, keys[:, -2:], keys, mask)
    assert params["value"]["kernel"].shape == (8, 4)
    query, key = (
        np.einsum("SD,DNH->SNH", x, params[name]["kernel"]) + params[name]["bias"]
        for x, name in ((keys[0, -2:], "query"), (keys[0], "key"))
    )
    score = np.where(mask, np.einsum("KNH,SNH->NKS", query, key) / 2, -np.inf)
    by_hand = np.exp(score) / np.exp(score).sum(-1, keepdims=True)
    np.testing.assert_allclose(weights[0], by_hand.mean(0), rtol=1e-4, atol=1e-6)
    value = keys[0] @ params["value"]["kernel"] + params["value"]["bias"]
    np.testing.assert_allclose(out[0], by_hand.mean(0) @ value @ params["output"]["kernel"], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_gated_residual_network_by_hand():
    module, random = tft.GatedResidual(6, 4, 0.0), np.random.default_rng(0)
    x, context = (random.normal(size=(2, width)).astype(np.float32) for width in (5, 3))
    params = module.init(jax.random.key(0), x, context, **HOW)["params"]
    params = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)

    def dense(p, x):
        return x @ p["kernel"] + p.get("bias", 0)

    inner = dense(params["hidden"], nn.elu(dense(params["input"], x) + dense(params["context"], context)))
    gate = params["out"]["gate"]
    total = dense(params["skip"], x) + jax.nn.sigmoid(dense(gate["gate"], inner)) * dense(gate["value"], inner)
    centred = total - total.mean(-1, keepdims=True)
    norm = params["out"]["norm"]
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * norm["scale"] + norm["bias"]
    np.testing.assert_allclose(module.apply({"params": params}, x, context, **HOW), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_each_variable_has_a_network_of_its_own():
    module = tft.VariableSelection(4, 0.0)
    x = np.ones((1, 3, 4), np.float32)
    params = module.init(jax.random.key(0), x, None, **HOW)["params"]
    kernel = params["variables"]["input"]["kernel"]
    assert kernel.shape == (3, 4, 4) and not np.allclose(kernel[0], kernel[1])
    out, weights = module.apply({"params": params}, x, None, **HOW)
    each = [
        tft.GatedResidual(4, 4, 0.0).apply(
            {"params": jax.tree.map(lambda leaf, at=v: leaf[at], params["variables"])}, x[:, v], None, **HOW
        )
        for v in range(3)
    ]
    np.testing.assert_allclose(out, sum(weights[:, v, None] * each[v] for v in range(3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "lstm"),
        ("history", 0),
        ("levels", 2.5),
        ("units", -1),
        ("dropout", 1.0),
        ("heads", 3),
        ("horizons", ()),
        ("horizons", (10, 5)),
        ("horizons", (0, 5)),
        ("horizons", (5, 5)),
        ("quantiles", (0.5, 1.0)),
        ("quantiles", (0.9, 0.1)),
        ("instruments", 0),
    ],
)
def test_a_shape_that_cannot_be_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=rf"(?s)forecast\.{name}.*remedy:"):
        config(**{name: value})
