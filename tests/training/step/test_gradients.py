"""The gradient of every objective is the slope of its loss along a random direction, in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.embeddings import MOMENTS
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.tokens.vocabulary import VOCAB_SIZE
from lob_jax.training.step import parts as step_parts
from lob_jax.training.step.mixup import PARTNER
from lob_jax.training.step.objective import NEXT_TOKEN
from lob_jax.training.step.parts import summed_loss
from lob_jax.training.step.tasks import with_tasks

HEADS = {"next_tokens": 2, "outlook_events": (2,), "contrastive_size": 4}
MASKED = {"kind": "masked", "mask_share": 0.4}
NO_HEADS, SEES_ALL = {}, {"causal": False, "vocab_size": VOCAB_SIZE}
OBJECTIVES = {  # of a name: the objective, the heads, the model
    "next token": ({}, NO_HEADS, {}),
    "masked": (MASKED, NO_HEADS, SEES_ALL),
    "masked events": ({**MASKED, "mask_events": True}, NO_HEADS, SEES_ALL),
    "several tasks": ({}, HEADS, {}),
    "augmented views": ({"contrastive_views": "augmented"}, HEADS, {}),
    "learned weights": ({}, HEADS, {}),
    "adversarial": ({"adversarial": "fgm"}, NO_HEADS, {}),
    "mixup": ({"mixup": 0.5}, NO_HEADS, {}),
}
STEP = 1e-6


@pytest.fixture(name="batch", scope="module")
def batch_fixture(windows):
    random, batch = np.random.default_rng(0), windows(6)
    shape = batch["tokens"].shape
    heads = 1_000 * random.integers(1, 7, shape) + random.integers(0, 20, shape)  # tokens of several classes
    return {
        **batch,
        "heads": heads.astype(np.int32),
        "example": np.arange(6, dtype=np.int32),
        "record": np.arange(6, dtype=np.int32),
        "event": np.cumsum(random.random(shape) < 0.5, axis=1).astype(np.int32),
        "regime": random.integers(0, 2, shape).astype(np.int32),
        "direction": random.integers(0, 3, (*shape, 1)).astype(np.int32),
        "log_volatility": random.normal(size=(*shape, 1)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_is_the_slope_of_the_loss(model_config, batch, monkeypatch, name):
    changes, heads, model = OBJECTIVES[name]
    objective = dataclasses.replace(NEXT_TOKEN, **changes)
    config = model_config(dtype="float64", dropout=0.0, **model)
    config = dataclasses.replace(config, heads=dataclasses.replace(config.heads, **heads))
    tokens = batch["heads"] if model else batch["tokens"]
    given = {**batch, "tokens": tokens}
    if changes.get("mixup"):
        given[PARTNER] = {name: leaf[::-1] for name, leaf in given.items()}
    if changes.get("adversarial"):  # the perturbation is a constant of the loss
        found = np.random.default_rng(2).normal(size=(*tokens[:, 1:].shape, config.d_model)) / 100
        monkeypatch.setattr(step_parts, "worst_addition", lambda *_, **__: jnp.asarray(found))
    with jax.enable_x64(True):
        params = initial_parameters(config, jax.random.key(0))
        params = with_tasks(params, config) if name == "learned weights" else params
        random = np.random.default_rng(1)
        direction = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape)), params)
        for measured in MOMENTS["book"]:  # not trained
            direction["embeddings"][measured] = jnp.zeros_like(direction["embeddings"][measured])

        @jax.jit
        def loss(params):
            how = {"model": LOBTransformer(config), "objective": objective}
            return summed_loss(params, given, jax.random.key(3), **how)[0]

        def at(distance):
            moved = jax.tree.map(lambda leaf, towards: leaf + distance * towards, params, direction)
            return float(loss(moved))

        before = float(loss(params))
        products = jax.tree.map(
            lambda slope, towards: jnp.sum(slope * towards), jax.jit(jax.grad(loss))(params), direction
        )
        slope = float(sum(jax.tree.leaves(products)))
        assert before > 0 and abs(slope) > 1e-3
        assert slope == pytest.approx((at(STEP) - at(-STEP)) / (2 * STEP), rel=1e-4)
