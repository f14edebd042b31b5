import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.training.loss import cross_entropy


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
@hypothesis.settings(max_examples=20, deadline=None)
def test_it_agrees_with_float64_softmax(logits, targets):
    nll, _ = cross_entropy(jnp.asarray(logits), jnp.asarray(targets), jnp.ones((1, 3)))
    exact = np.exp(logits.astype(np.float64))
    exact /= exact.sum(-1, keepdims=True)
    expected = -np.log(np.take_along_axis(exact, targets[..., None], -1)).sum()
    assert float(nll) == pytest.approx(expected, rel=1e-5, abs=1e-5)
