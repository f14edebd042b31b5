import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.embeddings import MOMENTS
from lob_jax.models.transformer import stack_layers
from lob_jax.tokens.vocabulary import VOCAB_SIZE
from lob_jax.training.step.optimizer import decay_mask, make_optimizer, make_schedule, matrices
from lob_jax.training.step.state import abstract_params


def test_the_schedule_climbs_then_falls_to_its_floor(train_config):
    config = train_config(learning_rate=1.0, warmup_steps=4, final_lr_fraction=0.1)
    rates = [float(make_schedule(config, 12)(jnp.int32(count))) for count in range(12)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[7] == pytest.approx(0.55)  # half way down the cosine
    assert rates[11] == pytest.approx(0.1)
    assert all(after < before for before, after in itertools.pairwise(rates[3:]))


def test_a_run_shorter_than_the_warm_up_ends_within_it(train_config):
    schedule = make_schedule(train_config(learning_rate=1.0, warmup_steps=10), 5)
    assert [float(schedule(jnp.int32(count))) for count in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_without_warm_up_the_cosine_starts_at_once(train_config):
    schedule = make_schedule(train_config(learning_rate=1.0, warmup_steps=0, final_lr_fraction=0.0), 2)
    assert [float(schedule(jnp.int32(count))) for count in range(2)] == pytest.approx([0.5, 0.0], abs=1e-7)


@pytest.mark.parametrize("tied", [True, False])
def test_decay_spares_norms_and_biases_and_nothing_else(model_config, tied):
    mask = decay_mask(abstract_params(model_config(tie_embeddings=tied, time_of_day=True, day_of_week=True)))
    by_name = {}
    for path, decays in jax.tree_util.tree_leaves_with_path(mask):
        by_name.setdefault(path[-1].key, set()).add(decays)
    output = {} if tied else {"output": {True}}
    assert all(by_name.pop(name) == {False} for name in MOMENTS["book"])
    assert by_name == {"bias": {False}, "scale": {False}, "kernel": {True}, "table": {True}} | output


def test_no_bias_of_the_head_decays(model_config):
    mask = decay_mask(abstract_params(model_config(digits_rank=2, pointer=True, vocab_size=VOCAB_SIZE)))["head"]
    biases = {name: decays for name, decays in mask.items() if name.endswith("bias")}
    assert biases == {"bias": False, "digits_bias": False, "pointer_bias": False, "level_bias": False}
    assert mask["digits"] and mask["digits_input"] and mask["pointer"] and mask["level"]


def test_one_update_by_hand(train_config):
    config = train_config(learning_rate=0.1, warmup_steps=1, weight_decay=0.5, clip=1.0)
    optimizer = make_optimizer(config, 10)
    params = {"kernel": jnp.array([2.0, -4.0]), "bias": jnp.array([1.0])}
    gradients = {"kernel": jnp.array([30.0, 0.0]), "bias": jnp.array([-40.0])}
    updates, state = optimizer.update(gradients, optimizer.init(params), params)
    # Adam's first update is the sign of the gradient, whatever the clip; decay is beside it, not inside.
    np.testing.assert_allclose(updates["kernel"], [-0.1 * (1 + 0.5 * 2.0), -0.1 * (0.5 * -4.0)], rtol=1e-5)
    np.testing.assert_allclose(updates["bias"], [0.1], rtol=1e-5)
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (1,)]
    np.testing.assert_allclose(moments[0], [0.1 * -0.8], rtol=1e-5)  # the gradient's norm is 50, clipped to 1


def test_wsd_stays_at_the_peak_and_falls_at_the_end(train_config):
    config = train_config(learning_rate=1.0, warmup_steps=2, schedule="wsd", decay_fraction=0.4, final_lr_fraction=0.2)
    rates = [float(make_schedule(config, 10)(jnp.int32(count))) for count in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    longer = [float(make_schedule(config, 20)(jnp.int32(count))) for count in range(12)]
    assert longer[:6] == rates[:6]  # a longer run begins as the shorter one does


def test_muon_takes_the_matrices_of_blocks_and_adamw_all_else(model_config):
    params = abstract_params(model_config(time_of_day=True, day_of_week=True, tie_embeddings=False))
    kinds = jax.tree_util.tree_leaves_with_path(matrices(params), is_leaf=lambda kind: not isinstance(kind, dict))
    taken = {tuple(entry.key for entry in path[-2:]) for path, kind in kinds if kind is not None}
    assert taken == {("qkv", "kernel"), ("output", "kernel"), ("widen", "kernel"), ("narrow", "kernel")}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_stacked_layers_are_updated_as_those_of_a_loop(model_config, train_config, optimizer):
    attention = dataclasses.replace(model_config().attention, cross_asset=True)
    loop = model_config(n_layers=2, activation="swiglu", attention=attention)
    rule = make_optimizer(train_config(optimizer=optimizer, learning_rate=0.1, warmup_steps=1, weight_decay=0.5), 10)
    random = np.random.default_rng(0)
    draw = functools.partial(jax.tree.map, lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32))
    params, gradients = draw(abstract_params(loop)), draw(abstract_params(loop))
    expected, _ = rule.update(gradients, rule.init(params), params)
    stacked, stacked_gradients = stack_layers(params, loop), stack_layers(gradients, loop)
    found, _ = rule.update(stacked_gradients, rule.init(stacked), stacked)
    expected = stack_layers(expected, loop)
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, err_msg=jax.tree_util.keystr(path))


@pytest.mark.slow
def test_an_update_of_muon_is_orthogonal_and_as_large_as_one_of_adamw(model_config, train_config):
    config = train_config(optimizer="muon", learning_rate=0.1, warmup_steps=1, weight_decay=0.0, clip=1e9)
    optimizer = make_optimizer(config, 10)
    model = model_config(d_model=32, d_ff=32)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), abstract_params(model))
    random = np.random.default_rng(0)
    gradients = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), params)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    block = updates["blocks_0"]
    for matrix in (block["ffn"]["widen"]["kernel"], *(block["attention"]["qkv"]["kernel"][:, k] for k in range(3))):
        values = np.linalg.svd(np.asarray(matrix).reshape(32, 32), compute_uv=False)
        assert values[0] / values[-3] < 2  # five Newton-Schulz steps bring all but the smallest near 1
        assert np.sqrt(np.square(matrix).mean()) == pytest.approx(0.1 * 0.2, rel=0.2)
    np.testing.assert_allclose(np.abs(updates["head"]["bias"]), 0.1, rtol=1e-4)  # Adam's first update
