import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.layers import project
from lob_jax.models.masking import Masks
from lob_jax.models.pointer import Features, Projection
from lob_jax.training.step.loss import Within, blockwise_cross_entropy, cross_entropy


def test_the_loss_of_hand_made_logits():
    probabilities = np.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]])
    nll, weight = cross_entropy(jnp.log(probabilities) + 7.0, jnp.array([[0, 2]]), jnp.array([[1.0, 3.0]]))
    assert float(weight) == 4.0
    assert float(nll) == pytest.approx(-np.log(0.5) - 3 * np.log(0.8), rel=1e-6)


def test_bfloat16_logits_are_summed_in_float32():
    logits_BTV = jnp.zeros((1, 1, 5000), jnp.bfloat16)
    nll, _ = cross_entropy(logits_BTV, jnp.array([[4999]]), jnp.ones((1, 1)))
    assert nll.dtype == jnp.float32
    assert float(nll) == pytest.approx(np.log(5000), rel=1e-6)


def test_huge_logits_stay_finite():
    logits_BTV = jnp.array([[[3e38, -3e38]]], jnp.float32)
    gradient = jax.grad(lambda x: cross_entropy(x, jnp.array([[0]]), jnp.ones((1, 1)))[0])(logits_BTV)
    np.testing.assert_array_equal(gradient, np.zeros((1, 1, 2)))


@hypothesis.given(
    logits=hypothesis.extra.numpy.arrays(np.float32, (1, 3, 4), elements=st.floats(-20, 20, width=32)),
    targets=hypothesis.extra.numpy.arrays(np.int32, (1, 3), elements=st.integers(0, 3)),
)
@hypothesis.settings(max_examples=20)
def test_it_agrees_with_float64_softmax(logits, targets):
    nll, _ = cross_entropy(jnp.asarray(logits), jnp.asarray(targets), jnp.ones((1, 3)))
    exact = np.exp(logits.astype(np.float64))
    exact /= exact.sum(-1, keepdims=True)
    expected = -np.log(np.take_along_axis(exact, targets[..., None], -1)).sum()
    assert float(nll) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_the_gradient_is_that_of_jax():
    random = np.random.default_rng(4)
    with jax.enable_x64():
        logits_BTV, weights_BT = jnp.asarray(random.normal(0, 3, (2, 5, 17))), jnp.asarray(random.uniform(0, 2, (2, 5)))
        targets_BT = jnp.asarray(random.integers(0, 17, (2, 5)), jnp.int32)

        def plain(logits_BTV):
            log_BTV = jax.nn.log_softmax(logits_BTV)
            return -(jnp.take_along_axis(log_BTV, targets_BT[..., None], -1)[..., 0] * weights_BT).sum()

        found = jax.grad(lambda x: cross_entropy(x, targets_BT, weights_BT)[0])(logits_BTV)
        np.testing.assert_allclose(found, jax.grad(plain)(logits_BTV), rtol=1e-12, atol=1e-14)


def of_projection(dtype, project, *, scale=1.0):
    """Return the loss of a projection and its gradients by features, weights and biases."""
    random = np.random.default_rng(5)
    B, T, D, V = 4, 64, 32, 400
    x_BTD = jnp.asarray(random.normal(size=(B, T, D)), jnp.float32).astype(dtype)
    weight_VD, bias_V = (jnp.asarray(random.normal(0, 0.3, shape), jnp.float32) for shape in ((V, D), V))
    targets_BT = jnp.asarray(random.integers(0, V, (B, T)), jnp.int32)

    def loss(*parts):
        return cross_entropy(project(*parts), targets_BT, jnp.full((B, T), scale / (B * T)))[0]

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2))(x_BTD, weight_VD, bias_V)
    return float(value), [np.asarray(one, np.float64) for one in gradients]


def plainly(x_BTD, weight_VD, bias_V):
    """Return logits of the same operands, with gradients of the weights in float32."""
    rounded_VD = weight_VD.astype(x_BTD.dtype).astype(jnp.float32)
    operand_VD = weight_VD + jax.lax.stop_gradient(rounded_VD - weight_VD)
    return x_BTD.astype(jnp.float32) @ operand_VD.T + bias_V


@pytest.mark.parametrize(("dtype", "within"), [("float32", 1e-5), ("bfloat16", 1e-3)])
def test_the_gradients_of_a_projection_are_those_in_float32(dtype, within):
    """Bfloat16 rounds the gradient of the logits; the sums over it lose less than the numbers themselves."""
    (found, gradients), (expected, exact) = of_projection(dtype, project), of_projection(dtype, plainly)
    assert found == pytest.approx(expected, rel=within)
    x_within = (
        2e-3 if dtype == "bfloat16" else within
    )  # the gradient of bfloat16 features is rounded to bfloat16 itself
    for one, other, bound in zip(gradients, exact, (x_within, within, within), strict=True):
        assert np.linalg.norm(one - other) < bound * np.linalg.norm(other)


def test_small_gradients_survive_float16():
    """Of 400 tokens most have a gradient below 6e-8, the smallest number of float16."""
    (_, gradients), (_, exact) = (of_projection("float16", one, scale=1e-4) for one in (project, plainly))
    for one, other in zip(gradients[1:], exact[1:], strict=True):
        assert np.linalg.norm(one - other) < 1e-3 * np.linalg.norm(other)


@pytest.mark.parametrize("block", [1, 3, 5, 12, 64])
def test_logits_in_blocks_give_the_loss_and_gradients_of_the_plain_one(block):
    random = np.random.default_rng(0)
    B, T, D, V = 3, 12, 8, 50
    arrays = [random.normal(size=shape).astype(np.float32) for shape in ((B, T, D), (V, D), (V,))]
    targets_BT = random.integers(0, V, (B, T)).astype(np.int32)
    weights_BT = random.integers(0, 3, (B, T)).astype(np.float32)

    def plain(features_BTD, weight_VD, bias_V):
        return cross_entropy(project(features_BTD, weight_VD, bias_V), targets_BT, weights_BT)

    def blockwise(features_BTD, weight_VD, bias_V):
        features, projection = Features(features_BTD), Projection(weight_VD, bias_V)
        return blockwise_cross_entropy(features, projection, targets_BT, weights_BT, block=block)

    (expected, gradients), (found, others) = (
        jax.value_and_grad(lambda *a, f=f: f(*a)[0], argnums=(0, 1, 2))(*arrays) for f in (plain, blockwise)
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    assert float(blockwise(*arrays)[1]) == weights_BT.sum()
    for one, other in zip(gradients, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", [3, 12])
@pytest.mark.parametrize("by_book", [False, True])
def test_logits_in_blocks_give_the_loss_and_gradient_within_the_same_sets(block, by_book):
    random = np.random.default_rng(0)
    B, T, D, V, S = 2, 8, 4, 160, 3
    arrays = [random.normal(size=shape).astype(np.float32) for shape in ((B, T, D), (V, D), (V,))]
    targets_BT, weights_BT = random.integers(0, V, (B, T)), random.integers(0, 3, (B, T)).astype(np.float32)
    known = {"state": random.integers(0, S, (B, T)).astype(np.int16)}
    if by_book:
        known["kind"] = random.integers(0, 2, (B, T)).astype(np.int8)
        known["allowed"] = random.integers(0, 256, (B, T, V // 8)).astype(np.uint8)
    everything = np.full((S, V // 8), 255, np.uint8)
    within = Within(jax.tree.map(jnp.asarray, known), Masks(everything, random.random((S, 2, 10)).astype(np.float32)))

    def plain(x_BTD, weight_VD, bias_V):
        return cross_entropy(project(x_BTD, weight_VD, bias_V), targets_BT, weights_BT, within)[0]

    def blockwise(x_BTD, weight_VD, bias_V):
        features, projection = Features(x_BTD), Projection(weight_VD, bias_V)
        return blockwise_cross_entropy(features, projection, targets_BT, weights_BT, within, block=block)[0]

    (expected, gradient), (found, other) = (jax.jit(jax.value_and_grad(f))(*arrays) for f in (plain, blockwise))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(other, gradient, rtol=1e-5, atol=1e-5)
    if by_book:
        free = cross_entropy(project(*arrays), targets_BT, weights_BT, Within({"state": known["state"]}, within.masks))
        assert abs(float(free[0]) - float(expected)) > 1


def test_logits_in_blocks_are_never_whole():
    """The largest array of the compiled gradient is a block's logits, not the B T V of the plain loss."""
    B, T, D, V, block = 4, 64, 8, 1000, 4
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((B, T, D), (V, D), (V,))]
    targets, weights = jnp.zeros((B, T), jnp.int32), jnp.ones((B, T))

    def memory(loss):
        gradient = jax.jit(jax.grad(lambda *a: loss(*a)[0], argnums=(0, 1, 2)))
        return gradient.lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    plain = memory(lambda x, w, b: cross_entropy(project(x, w, b), targets, weights))
    blocks = memory(
        lambda x, w, b: blockwise_cross_entropy(Features(x), Projection(w, b), targets, weights, block=block)
    )
    assert plain > 4 * B * T * V
    assert blocks < 4 * B * T * V / 3
