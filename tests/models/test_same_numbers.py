"""What changes no numbers: layers scanned over, activations computed anew, with gradients; weights transposed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.layers import TRANSPOSED
from lob_jax.models.transformer import (
    LOBTransformer,
    empty_cache,
    initial_parameters,
    stack_layers,
    transposed,
    unstack_layers,
)

TOLERANCE = 1e-5  # float32, of logits and gradients of order one
BF16_TOLERANCE = 0.05  # root mean square error of a gradient over its root mean square


@functools.partial(jax.jit, static_argnames=("config", "deterministic"))
def loss_and_gradients(params, tokens_BT, conditioning, config, deterministic=True):
    how = {} if deterministic else {"example_B": jnp.arange(2), "rngs": {"dropout": jax.random.key(7)}}

    def loss(params):
        inputs = (tokens_BT, conditioning)
        logits_BTV = LOBTransformer(config).apply({"params": params}, *inputs, deterministic=deterministic, **how)
        picked_BT = jnp.take_along_axis(jax.nn.log_softmax(logits_BTV), tokens_BT[..., None], axis=-1)
        return -picked_BT.mean()

    return jax.value_and_grad(loss)(params)


def assert_same(one, other):
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE, rtol=1e-4, err_msg=jax.tree_util.keystr(path))


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_scan_over_layers_is_the_loop(tiny, lively, inputs, dropout):
    loop, scan = tiny(dropout=dropout), tiny(dropout=dropout, scan_layers=True)
    params, data = lively(loop), inputs(loop, 2, 6)
    how = {"deterministic": dropout == 0}
    expected, expected_gradients = loss_and_gradients(params, *data, config=loop, **how)
    found, gradients = loss_and_gradients(stack_layers(params, loop), *data, config=scan, **how)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert_same(unstack_layers(gradients, scan), expected_gradients)


@pytest.mark.slow
def test_a_scan_fills_a_cache_as_the_loop_does(tiny, lively, inputs):
    loop, scan = tiny(), tiny(scan_layers=True)
    params, data = lively(loop), inputs(loop, 2, 4)
    expected_BTV, expected = LOBTransformer(loop).apply({"params": params}, *data, cache=empty_cache(loop, 2, 6))
    stacked = {"params": stack_layers(params, loop)}
    found_BTV, cache = LOBTransformer(scan).apply(stacked, *data, cache=empty_cache(scan, 2, 6))
    np.testing.assert_allclose(found_BTV, expected_BTV, atol=TOLERANCE)
    np.testing.assert_allclose(np.stack(cache.keys), np.stack(expected.keys), atol=TOLERANCE)
    assert int(cache.length) == 4


def test_stacking_goes_both_ways_and_is_what_a_scan_makes(tiny, lively):
    loop = tiny(n_layers=3)
    params = lively(loop)
    stacked = stack_layers(params, loop)
    made = jax.eval_shape(lambda: initial_parameters(tiny(n_layers=3, scan_layers=True), jax.random.key(0)))
    assert jax.tree.map(jnp.shape, stacked) == jax.tree.map(lambda leaf: leaf.shape, made)
    assert_same(unstack_layers(stacked, loop), params)


@pytest.mark.slow
def test_a_scan_draws_each_layer_anew(tiny):
    params = initial_parameters(tiny(scan_layers=True), jax.random.key(0))
    kernel_LDF = params["blocks"]["ffn"]["widen"]["kernel"]
    assert jnp.abs(kernel_LDF[0] - kernel_LDF[1]).max() > 0.01
    assert float(kernel_LDF.std()) == pytest.approx(0.02, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("remat", ["dots", "full"])
def test_what_is_computed_anew_is_the_same(tiny, lively, inputs, remat, scan_layers):
    keep, anew = (tiny(dropout=0.3, scan_layers=scan_layers, remat=name) for name in ("none", remat))
    params, data = lively(keep), inputs(keep, 2, 6)
    expected, expected_gradients = loss_and_gradients(params, *data, config=keep, deterministic=False)
    found, gradients = loss_and_gradients(params, *data, config=anew, deterministic=False)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    assert_same(gradients, expected_gradients)


@pytest.mark.slow
def test_computing_anew_needs_less_memory(inputs, tiny, lively):
    def peak(remat):
        config = tiny(n_layers=8, d_model=64, d_ff=256, max_seq_length=64, scan_layers=True, remat=remat)
        compiled = loss_and_gradients.lower(lively(config), *inputs(config, 2, 64), config=config).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    none, dots, full = (peak(remat) for remat in ("none", "dots", "full"))
    assert full < dots < none
    assert full < none / 2


@pytest.mark.slow
def test_gradients_in_bf16_are_close_to_fp32(tiny, lively, inputs):
    wide, narrow = tiny(), tiny(dtype="bfloat16")
    params, data = lively(wide), inputs(wide, 2, 8)
    expected, expected_gradients = loss_and_gradients(params, *data, config=wide)
    found, gradients = loss_and_gradients(params, *data, config=narrow)
    assert float(found) == pytest.approx(float(expected), rel=0.01)
    found_P, expected_P = (
        jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]) for tree in (gradients, expected_gradients)
    )
    error = jnp.sqrt(jnp.mean(jnp.square(found_P - expected_P)) / jnp.mean(jnp.square(expected_P)))
    assert float(error) < BF16_TOLERANCE


@pytest.mark.slow
def test_dropout_is_decided_by_its_key(tiny, lively, inputs):
    config = tiny(dropout=0.3)
    params, data = lively(config), inputs(config, 2, 6)

    def logits(seed):
        how = {"deterministic": False, "example_B": jnp.arange(2), "rngs": {"dropout": jax.random.key(seed)}}
        return LOBTransformer(config).apply({"params": params}, *data, **how)

    np.testing.assert_array_equal(logits(1), logits(1))
    assert jnp.abs(logits(1) - logits(2)).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("scan", [False, True], ids=["loop", "scan"])
@pytest.mark.parametrize("tied", [True, False])
def test_transposed_weights_are_read_in_place_of_the_kernels(tiny, lively, inputs, tied, scan):
    config = tiny(tie_embeddings=tied, activation="swiglu", scan_layers=scan, heads={"next_tokens": 3})
    params, data = lively(config), inputs(config, 2, 3)
    expected_BTV = LOBTransformer(config).apply({"params": params}, *data)
    made = transposed(params, config)
    projection_VD = made.pop("output")
    names = {path[-2].key for path, _ in jax.tree_util.tree_leaves_with_path(made)}
    made["output"] = projection_VD
    assert names == {"qkv", "output", "widen", "gate", "narrow", "dense"}
    without = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.nan * leaf if (path[-2].key, path[-1].key) in {(n, "kernel") for n in names} else leaf,
        params,
    )
    found_BTV = LOBTransformer(config).apply({"params": without, TRANSPOSED: made}, *data)
    np.testing.assert_allclose(found_BTV, expected_BTV, atol=TOLERANCE, rtol=1e-4)
    x_BTD = jnp.asarray(np.random.default_rng(0).standard_normal((2, 1, 16)), jnp.float32)
    both = [
        LOBTransformer(config).apply(variables, x_BTD, method="ahead_logits")
        for variables in ({"params": params}, {"params": without, TRANSPOSED: made})
    ]
    np.testing.assert_allclose(*both, atol=TOLERANCE, rtol=1e-4)


def test_weights_in_half_precision_are_made_once(tiny, lively, inputs):
    config = tiny(dtype="bfloat16", tie_embeddings=False)
    params, data = lively(config), inputs(config, 1, 1)
    expected_BTV = LOBTransformer(config).apply({"params": params}, *data)
    made = transposed(params, config)
    assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {jnp.dtype("bfloat16")}
    without = {**params, "head": {**params["head"], "output": jnp.nan * params["head"]["output"]}}
    found_BTV = LOBTransformer(config).apply({"params": without, TRANSPOSED: made}, *data)
    assert found_BTV.dtype == jnp.float32  # not rounded, so that likely tokens do not tie
    np.testing.assert_allclose(found_BTV, expected_BTV, atol=0.05 * float(jnp.abs(expected_BTV).max()))
