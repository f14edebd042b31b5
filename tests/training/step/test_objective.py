"""What every objective promises, whichever it is: a new module of `objectives/` is tested by being there."""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.config.validation import validate
from lob_jax.errors import InputError
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.training.run.identity import measure
from lob_jax.training.step.objective import NEXT_TOKEN, OBJECTIVES
from lob_jax.training.step.parts import summed_loss

V = 40


@pytest.fixture(params=OBJECTIVES)
def name(request):
    return request.param


@pytest.fixture
def batch(windows):
    batch, random = windows(6), np.random.default_rng(0)
    tokens = random.integers(8, V, batch["tokens"].shape).astype(np.int32)
    tokens[:, ::3] = 1000 + tokens[:, ::3]  # heads of events, for what looks at classes
    return {**batch, "tokens": tokens, "example": np.arange(6, dtype=np.int32)}


@pytest.fixture
def task(name, model_config):
    """Return a function from a batch and a key to the objective's task."""
    objective, model = dataclasses.replace(NEXT_TOKEN, kind=name), model_config(vocab_size=2000)
    return lambda batch, key=None: OBJECTIVES[name].task(batch, key, model, objective)


def test_the_objectives_that_there_are():
    assert tuple(OBJECTIVES)[:2] == ("next_token", "masked")


def test_a_task_is_an_array_a_window_and_counts_some_tokens(task, batch):
    tokens_BT, _, targets_BT, weights_BT = task(batch)
    B, T = batch["tokens"].shape[0], batch["tokens"].shape[1] - 1
    assert tokens_BT.shape == targets_BT.shape == weights_BT.shape == (B, T)
    assert tokens_BT.dtype == targets_BT.dtype == jnp.int32 and weights_BT.dtype == jnp.float32
    assert (weights_BT >= 0).all() and weights_BT.sum() > 0


def test_windows_without_scored_tokens_count_nothing(task, batch):
    assert (task({**batch, "scored": np.zeros_like(batch["scored"])})[3] == 0).all()


@pytest.mark.parametrize("name", [name for name, objective in OBJECTIVES.items() if objective.causal])
def test_no_token_says_what_is_predicted_at_it(task, batch):
    """Where a causal model reads, at a token and before it, nothing depends on the target."""
    tokens_BT, beside, _, weights_BT = task(batch)
    for t in np.flatnonzero(np.asarray(weights_BT.sum(0)) > 0):
        changed = {**batch, "tokens": batch["tokens"].copy()}
        changed["tokens"][:, t + 1] += 1
        again_BT, beside_again, targets_BT, _ = task(changed)
        counted_B = np.asarray(weights_BT[:, t] > 0)
        np.testing.assert_array_equal(targets_BT[counted_B, t], changed["tokens"][counted_B, t + 1])
        np.testing.assert_array_equal(again_BT[:, : t + 1], tokens_BT[:, : t + 1])
        for before, after in zip(jax.tree.leaves(beside), jax.tree.leaves(beside_again), strict=True):
            np.testing.assert_array_equal(after[:, : t + 1], before[:, : t + 1])


def test_validations_compare(task, batch):
    for first, again in zip(jax.tree.leaves(task(batch)), jax.tree.leaves(task(batch)), strict=True):
        np.testing.assert_array_equal(first, again)


def test_windows_add_up_and_have_a_gradient(name, model_config, windows):
    config = dataclasses.replace(model_config(dropout=0.0), causal=OBJECTIVES[name].causal, vocab_size=2000)
    params = initial_parameters(config, jax.random.key(0))
    how = {"model": LOBTransformer(config), "objective": dataclasses.replace(NEXT_TOKEN, kind=name)}
    batch = {**windows(4), "example": np.arange(4, dtype=np.int32)}
    batch["tokens"] = batch["tokens"] + 1000 * (np.arange(13) % 3 == 0).astype(np.int32)

    @jax.jit
    def loss(params, batch):
        return jax.value_and_grad(lambda params: summed_loss(params, batch, None, **how)[:2], has_aux=True)(params)

    whole, gradients = loss(params, batch)
    halves = [loss(params, {key: leaf[at] for key, leaf in batch.items()})[0] for at in (slice(0, 2), slice(2, 4))]
    np.testing.assert_allclose(np.sum(halves, axis=0), whole, rtol=1e-6)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradients))
    assert np.isfinite(largest) and largest > 0


def test_a_configuration_may_name_it(name, train_config):
    config = importlib.import_module("lob_jax.configs.tiny").get_config()
    objective = OBJECTIVES[name]
    config.train.objective, config.train.sample_events, config.model.causal = name, 0, objective.causal
    config.model.mask = "none"
    config.model.flow_state = config.model.queue_state = False
    config.model.latest_tokens = config.model.pointer = False
    validate(config)
    config.model.causal = not objective.causal
    with pytest.raises(InputError, match=f"since train.objective is {name}"):
        validate(config)
    assert objective.predicts and not objective.predicts.endswith(".")
    train = train_config(objective=name)
    for setting in objective.settings:
        value = getattr(train, setting)
        other = dataclasses.replace(train, **{setting: not value if isinstance(value, bool) else value / 2})
        assert measure([], other) != measure([], train)


def test_a_name_with_a_slip_is_told_what_was_meant(train_config):
    with pytest.raises(InputError, match="did you mean masked") as caught:
        train_config(objective="maskd")
    assert caught.value.where == "config.train.objective"
