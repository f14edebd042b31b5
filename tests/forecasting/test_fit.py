"""Training of forecasters: reproducible, stopped early by validation, with hand-computed losses."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.errors import InputError, TrainingError
from lob_jax.forecasting import fit as f
from lob_jax.forecasting.config import Forecast, ForecastConfig

CONFIG = ForecastConfig(
    model="linear",
    history=1,
    horizons=(1, 2),
    levels=1,
    clock=False,
    width=4,
    heads=1,
    quantiles=(0.2, 0.5),
    filters=1,
    inception=1,
    units=1,
    dropout=0.5,
    instruments=1,
)
FIT = f.FitConfig(batch_size=8, steps=60, learning_rate=0.05, weight_decay=0.0, clip=1.0, validate_every=10, patience=3)


class Small(nn.Module):
    """Map four numbers, with dropout, to logits, and optionally to quantiles."""

    config: ForecastConfig
    quantiles: bool = False

    @nn.compact
    def __call__(self, batch, *, deterministic=True):
        assert "direction" not in batch and "move" not in batch, "a forecaster is shown its labels"
        x = nn.Dropout(0.2, deterministic=deterministic)(batch["x"])
        K, Q = len(self.config.horizons), len(self.config.quantiles)
        logits = nn.Dense(K * 3)(x).reshape(-1, K, 3)
        return Forecast(logits, nn.Dense(K * Q)(x).reshape(-1, K, Q) if self.quantiles else None)


class Made:
    """Examples whose labels follow from their inputs, or with `noise` are independent of them."""

    def __init__(self, count, *, seed=0, noise=False):
        random = np.random.default_rng(seed)
        self.x = random.normal(size=(count, 4)).astype(np.float32)
        rule = self.x if not noise else random.normal(size=(count, 4))
        self.direction = np.stack([rule[:, :3].argmax(1), rule[:, 1:].argmin(1)], axis=1).astype(np.int32)
        self.move = rule[:, :2].astype(np.float32)
        self.asked = []

    def __len__(self):
        return len(self.x)

    def batch(self, numbers):
        self.asked.append(np.array(numbers))
        return {"x": self.x[numbers], "direction": self.direction[numbers], "move": self.move[numbers]}


def run(train=None, validation=None, *, seed=0, module=None, **changes):
    train, validation = train or Made(50), validation or Made(21, seed=1)
    return f.fit(module or Small(CONFIG), train, validation, config=dataclasses.replace(FIT, **changes), seed=seed)


def test_pinball_by_hand():
    """At level .2, errors of 1 and -1 cost .2 and .8; at level .5 each costs half."""
    quantiles = jnp.array([[[0.0, 0.0]], [[2.0, 2.0]]])
    move = jnp.array([[1.0], [1.0]])
    np.testing.assert_allclose(f.pinball(quantiles, move, (0.2, 0.5)), (0.2 + 0.5 + 0.8 + 0.5) / 4)


def test_pinball_is_least_at_the_quantile():
    move = jnp.arange(11.0)[:, None]
    costs = [float(f.pinball(jnp.full((11, 1, 1), at), move, (0.2,))) for at in range(11)]
    assert int(np.argmin(costs)) == 2


def test_the_loss_is_cross_entropy_and_pinball():
    logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]))
    batch = {"direction": jnp.array([[0, 2]]), "move": jnp.array([[1.0, 2.0]])}
    crossed = -(np.log(0.5) + np.log(0.8)) / 2
    np.testing.assert_allclose(f.forecast_loss(Forecast(logits, None), batch, (0.5,)), crossed, rtol=1e-6)
    with_quantiles = Forecast(logits, jnp.zeros((1, 2, 1)))
    np.testing.assert_allclose(f.forecast_loss(with_quantiles, batch, (0.5,)), crossed + 0.75, rtol=1e-6)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_and_another_does_not():
    first, second, other = run(), run(), run(seed=1)
    jax.tree.map(np.testing.assert_array_equal, first.params, second.params)
    assert first.losses == second.losses != other.losses
    assert first.validation_loss < 0.9 < 1.05 < run(steps=1, learning_rate=1e-9).validation_loss


@pytest.mark.slow
def test_parameters_are_those_of_the_best_validation():
    """With unlearnable labels, the validation loss rises, and training stops after `patience` more validations."""
    validation = Made(30, seed=2, noise=True)
    found = run(Made(16, noise=True), validation, learning_rate=0.3, steps=2000, patience=3)
    at, losses = zip(*found.losses, strict=True)
    assert found.validation_loss == min(losses) and found.step == at[int(np.argmin(losses))]
    assert found.steps == found.step + 30 == at[-1] < 2000
    predicted = f.predict(Small(CONFIG), found.params, validation, batch_size=7)
    of_label = np.take_along_axis(predicted.probability, validation.direction[..., None], axis=-1)
    assert -np.log(of_label).mean() == pytest.approx(found.validation_loss, rel=1e-6)


@pytest.mark.slow
def test_every_pass_takes_each_example_once_in_an_order_of_its_own():
    train = Made(24)
    run(train, steps=6, validate_every=6)
    passes = np.concatenate(train.asked)[-48:].reshape(2, 24)  # others initialise, and measure the book
    assert all(sorted(one) == list(range(24)) for one in passes.tolist())
    assert passes[0].tolist() != passes[1].tolist() != list(range(24))


@pytest.mark.slow
def test_predictions_are_of_all_examples_in_order_whatever_the_batch():
    examples, module = Made(21), Small(CONFIG, quantiles=True)
    params = module.init(jax.random.key(0), {"x": examples.x})["params"]
    whole = f.predict(module, params, examples, batch_size=21)
    parts = f.predict(module, params, examples, batch_size=8)
    np.testing.assert_allclose(parts.probability, whole.probability, rtol=1e-5)
    np.testing.assert_allclose(parts.quantiles, whole.quantiles, rtol=1e-5)
    assert whole.probability.shape == (21, 2, 3) and whole.quantiles.shape == (21, 2, 2)
    np.testing.assert_allclose(whole.probability.sum(-1), 1)


@pytest.mark.slow
def test_quantiles_are_learned_beside_the_direction():
    found = run(Made(200), Made(40, seed=1), module=Small(CONFIG, quantiles=True), steps=400, patience=40)
    fresh = Made(300, seed=5)
    quantiles = f.predict(Small(CONFIG, quantiles=True), found.params, fresh, batch_size=50).quantiles
    below = (fresh.move[..., None] <= quantiles).mean(0)
    error = np.abs(fresh.move - quantiles[..., 1]).mean()
    assert error < 0.3 and (below[:, 0] < below[:, 1]).all()


def test_fewer_examples_than_a_batch_are_refused():
    with pytest.raises(InputError, match="too few examples"):
        run(Made(7))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run():
    broken = Made(16)
    broken.x[:] = np.nan
    with pytest.raises(TrainingError, match=r"(?s)not finite.*step: +10"):
        run(broken)


@pytest.mark.parametrize("name", ["batch_size", "steps", "validate_every", "patience", "learning_rate", "clip"])
def test_a_setting_out_of_range_is_refused_by_its_key(name):
    with pytest.raises(InputError, match=rf"config\.forecast\.{name}"):
        dataclasses.replace(FIT, **{name: 0})
    with pytest.raises(InputError, match="weight_decay"):
        dataclasses.replace(FIT, weight_decay=-0.1)
