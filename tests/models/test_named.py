"""Functions that stay whole in exported programs are those of JAX, and are found there by their names."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.export.graph import named as nodes
from lob_jax.models import named

LSTM = [np.ones(shape, np.float32) for shape in ((2, 5, 7), (2, 3), (2, 3), (7, 12), (3, 12), (12,))]
X_BTD = np.random.default_rng(0).normal(0.3, 3, (2, 5, 7)).astype(np.float32)


def test_softmax_is_that_of_jax():
    found = named.softmax(X_BTD)
    np.testing.assert_allclose(found, jax.nn.softmax(X_BTD, axis=-1), rtol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)


def test_gelu_is_exact_and_by_tanh_it_is_not():
    exact, by_tanh = named.gelu(X_BTD), named.gelu_by_tanh(X_BTD)
    np.testing.assert_allclose(exact, jax.nn.gelu(X_BTD, approximate=False), atol=1e-6)
    np.testing.assert_allclose(by_tanh, jax.nn.gelu(X_BTD, approximate=True), atol=1e-6)
    assert 1e-4 < np.abs(exact - by_tanh).max() < 1e-3


@pytest.mark.parametrize(("dtype", "within"), [("float64", 1e-14), ("float32", 1e-6), ("bfloat16", 1e-2)])
def test_the_gradient_of_gelu_is_that_of_jax(dtype, within):
    with jax.enable_x64(dtype == "float64"):
        x = jnp.linspace(-6, 6, 201).astype(dtype)
        found = jax.grad(lambda x: (named.gelu(x) * x).sum())(x)
        expected = jax.grad(lambda x: (jax.nn.gelu(x, approximate=False) * x).sum())(x)
        assert found.dtype == dtype
        exact = np.asarray(expected).astype(np.float64)
        np.testing.assert_allclose(np.asarray(found).astype(np.float64), exact, rtol=within, atol=within)


def test_a_norm_has_mean_zero_and_variance_one_before_it_is_scaled():
    scale_D, bias_D = np.linspace(-1, 2, 7, dtype=np.float32), np.linspace(5, 6, 7, dtype=np.float32)
    plain = named.layer_norm(X_BTD, jnp.ones(7), jnp.zeros(7))
    np.testing.assert_allclose(plain.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(plain.var(-1), 1, rtol=1e-4)
    np.testing.assert_allclose(plain, jax.nn.standardize(X_BTD, axis=-1, epsilon=named.NORM_EPSILON), atol=1e-5)
    np.testing.assert_allclose(named.layer_norm(X_BTD, scale_D, bias_D), plain * scale_D + bias_D, atol=1e-5)


def test_the_gradients_of_a_norm_are_those_of_jax():
    def plain(x_BTD, scale_D, bias_D):
        return jax.nn.standardize(x_BTD, axis=-1, epsilon=named.NORM_EPSILON) * scale_D + bias_D

    random = np.random.default_rng(2)
    with jax.enable_x64():
        parts = [jnp.asarray(random.normal(2, 3, shape)) for shape in ((2, 5, 7), 7, 7)]
        weight_BTD = jnp.asarray(random.normal(size=(2, 5, 7)))
        found, expected = (
            jax.grad(lambda *parts, norm=norm: (norm(*parts) ** 2 * weight_BTD).sum(), argnums=(0, 1, 2))(*parts)
            for norm in (named.layer_norm, plain)
        )
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-11)


def test_a_norm_of_equal_numbers_is_zero():
    np.testing.assert_array_equal(named.layer_norm(jnp.full((2, 7), 1e4), jnp.ones(7), jnp.zeros(7)), 0)


def test_the_norm_of_graphs_has_the_same_epsilon():
    assert nodes.NORM_EPSILON == named.NORM_EPSILON


@pytest.mark.parametrize("name", nodes.NAMED)
def test_a_function_is_a_call_by_its_name_in_a_program(name):
    function, operands = getattr(named, name), nodes.OPERANDS[name]
    assert len(inspect.signature(function).parameters) == operands
    given = LSTM if name == "lstm" else [X_BTD, X_BTD[0, 0], X_BTD[0, 0]][:operands]
    text = jax.jit(lambda *given: function(*given)).lower(*given).as_text()
    assert f"call @{name}(" in text


def test_all_functions_are_known_to_graphs():
    parts = {name for name in vars(named) if name.startswith("_")}
    made = {name for name, found in vars(named).items() if callable(found) and found.__module__ == named.__name__}
    made -= parts
    assert made == set(nodes.NAMED) == set(nodes.OPERANDS)
