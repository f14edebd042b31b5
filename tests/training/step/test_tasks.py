"""Weights of tasks: the sum by hand, its optimum, and that a model never sees them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from lob_jax.models.transformer import LOBTransformer
from lob_jax.training.step.objective import NEXT_TOKEN
from lob_jax.training.step.optimizer import decay_mask, make_optimizer, make_schedule
from lob_jax.training.step.shift import split
from lob_jax.training.step.state import abstract_params, init_state
from lob_jax.training.step.step import eval_step, train_step
from lob_jax.training.step.tasks import TASKS, model_part, task_weights, weighted_sum, with_tasks

PARTS = {"token": jnp.float32(40.0), "direction": jnp.float32(10.0), "volatility": jnp.float32(5.0)}


@pytest.fixture
def two_tasks(model_config):
    """A model of tokens, directions and volatility."""
    base = model_config(dropout=0.0)
    return dataclasses.replace(base, heads=dataclasses.replace(base.heads, outlook_events=(2,)))


def tasks(**log_variances):
    return {TASKS: {part: jnp.float32(s) for part, s in log_variances.items()}}


def test_fixed_weights_by_hand():
    objective = dataclasses.replace(NEXT_TOKEN, ahead_weight=2, outlook_weight=3, contrastive_weight=5)
    parts = {**PARTS, "ahead": jnp.float32(1.0), "contrastive": jnp.float32(7.0)}
    assert float(weighted_sum(parts, jnp.float32(20.0), {}, objective)) == 40 + 2 * 1 + 3 * 15 + 5 * 7
    adversarial = dataclasses.replace(objective, adversarial_weight=0.5)
    assert float(weighted_sum({**parts, "adversarial": 8.0}, jnp.float32(20.0), {}, adversarial)) == 122 + 4


def test_learned_weights_by_hand():
    params = tasks(token=0.0, direction=np.log(4), volatility=-np.log(2))
    expected = 40 + (10 / 4 + 20 * np.log(4) / 2) + (5 * 2 - 20 * np.log(2) / 2)
    assert float(weighted_sum(PARTS, jnp.float32(20.0), params, NEXT_TOKEN)) == pytest.approx(expected, rel=1e-6)
    with_more = weighted_sum({**PARTS, "adversarial": jnp.float32(3.0)}, jnp.float32(20.0), params, NEXT_TOKEN)
    assert float(with_more) == pytest.approx(expected + 3, rel=1e-6)
    assert {part: float(w) for part, w in task_weights(params).items()} == pytest.approx(
        {"token": 1, "direction": 0.25, "volatility": 2}
    )


def test_their_gradient_is_that_of_finite_differences_and_zero_where_each_part_counts_the_same():
    with jax.enable_x64(True):
        parts = {part: jnp.float64(value) for part, value in PARTS.items()}
        weight = jnp.float64(20.0)

        def loss(params):
            return weighted_sum(parts, weight, params, NEXT_TOKEN)

        params = {TASKS: {part: jnp.float64(s) for part, s in zip(parts, (0.3, -1.0, 2.0), strict=True)}}
        check_grads(loss, (params,), order=2, modes=["rev"])
        best = {TASKS: {part: jnp.log(2 * value / weight) for part, value in parts.items()}}
        for slope in jax.tree.leaves(jax.grad(loss)(best)):
            assert abs(float(slope)) < 1e-12


def test_models_and_their_parameters_have_no_such_group(two_tasks):
    params = abstract_params(two_tasks)
    assert TASKS not in params
    more = with_tasks(params, two_tasks)
    assert set(more[TASKS]) == {"token", "direction", "volatility"} and not any(map(float, more[TASKS].values()))
    assert model_part(more) == params and model_part(params) is params
    assert task_weights(params) == {}
    decayed = decay_mask(more)
    assert not any(decayed[TASKS].values()) and decayed["embeddings"]["token"]["table"]


@pytest.mark.slow
def test_a_state_learns_them_and_validates_without(two_tasks, train_config, windows):
    config = train_config(warmup_steps=0, task_weights="learned", ema_decay=0.9, weight_decay=0.5, clip=1e6)
    batch, random = windows(4), np.random.default_rng(0)
    shape = (*batch["tokens"].shape, 1)
    batch |= {"example": np.arange(4, dtype=np.int32), "direction": random.integers(0, 3, shape).astype(np.int32)}
    batch |= {"log_volatility": np.full(shape, 5, np.float32)}
    optimizer, model = make_optimizer(config, 10), LOBTransformer(two_tasks)
    state = init_state(two_tasks, optimizer, seed=0, averaged=True, learned_tasks=True)
    how = {"model": model, "optimizer": optimizer, "schedule": make_schedule(config, 10), "ema_decay": 0.9}
    step = jax.jit(functools.partial(train_step, **how))
    state, metrics = step(state, split(batch, 4))
    moved = {part: float(s) for part, s in state.params[TASKS].items()}
    assert set(moved) == {"token", "direction", "volatility"}
    assert all(metrics[f"loss/{part}"] > 0.5 and s > 0.005 for part, s in moved.items())  # it rises while L > 1 / 2
    assert float(metrics["task_weight/volatility"]) == pytest.approx(np.exp(-moved["volatility"]), rel=1e-5)
    assert "parameter_norm/tasks" not in metrics
    for tree in (state.average, *optax.tree.get_all_with_path(state.opt_state, "mu")[0][1:]):
        assert TASKS in tree
    assert TASKS not in state.judged
    judged = jax.jit(functools.partial(eval_step, model=model))
    assert float(judged(state.judged, batch)[0]) == float(judged(state.average, batch)[0])
