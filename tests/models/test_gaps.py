"""The components of a gap's leading code: against a mixture by hand, and as parts of a model's logits."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.models import gaps
from lob_jax.models.transformer import LOBTransformer
from lob_jax.tokens import vocabulary as v

GAPS = slice(v.TIME, v.TIME + v.CLASS_SIZE)


def log_edges(code):
    lead, more = v.split_number_code(code)
    return math.log(max(lead, 0.5) * 10**more), math.log((lead + 1) * 10**more)


def by_hand(logits_V, parts_KP):
    """Return the log-sum-exp of each logit and all components."""
    expected = logits_V.astype(np.float64)
    for code in range(v.CLASS_SIZE):
        low, high = log_edges(code)
        terms = [expected[v.TIME + code]]
        for amplitude, mean, log_deviation in parts_KP.astype(np.float64):
            away = ((low + high) / 2 - mean) / math.exp(log_deviation)
            terms.append(amplitude - log_deviation + math.log(high - low) - away**2 / 2)
        expected[v.TIME + code] = np.logaddexp.reduce(terms)
    return expected


def test_the_logit_of_each_code_is_the_log_sum_of_its_own_and_the_components():
    random = np.random.default_rng(0)
    logits_V = random.normal(size=v.VOCAB_SIZE).astype(np.float32) - 5
    parts_KP = np.array([[-1.0, 12.0, -1.5], [2.0, 16.5, 0.7], [-30.0, 9.0, 0.0]], np.float32)
    found = gaps.add_components(jnp.asarray(logits_V), jnp.asarray(parts_KP.reshape(-1)))
    np.testing.assert_allclose(found, by_hand(logits_V, parts_KP), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(found[: v.TIME], logits_V[: v.TIME])


@pytest.mark.parametrize(("mean", "deviation"), [(12.3, 0.2), (17.0, 1.5)])
def test_a_component_has_the_shares_of_a_log_normal_law(mean, deviation):
    none = jnp.full(v.VOCAB_SIZE, -1e9)
    parts_N = jnp.array([0.0, mean, math.log(deviation)])
    shares = np.exp(np.asarray(gaps.add_components(none, parts_N)[GAPS], np.float64))
    below = lambda edge: (1 + math.erf((edge - mean) / deviation / math.sqrt(2))) / 2  # noqa: E731
    expected = [below(high) - below(low) for low, high in map(log_edges, range(v.CLASS_SIZE))]
    # Cells are wide where a code has its smallest leading digits: a tenth. The density at the middle is not its mean.
    assert np.abs(shares / shares.sum() - expected).sum() < 0.01


def test_deviations_end_where_numbers_would():
    for log_deviation in (-50.0, 50.0):
        parts_N = jnp.array([1.0, 14.0, log_deviation])
        found, gradient = jax.value_and_grad(
            lambda parts_N: gaps.add_components(jnp.zeros(v.VOCAB_SIZE), parts_N).sum()
        )(parts_N)
        assert np.isfinite(found) and np.isfinite(gradient).all()


def test_components_are_parts_of_the_logits_of_a_model(tiny, lively, inputs):
    config = tiny(vocab_size=v.VOCAB_SIZE, gap_components=4)
    params = lively(config)
    tokens_BT, conditioning = inputs(config, 2, 3)
    model = LOBTransformer(config)
    features, _ = model.apply({"params": params}, tokens_BT, conditioning, method="features")
    head = params["head"]
    parts_BTN = features.x_BTD @ head["gaps"].T + head["gaps_bias"]
    plain_BTV = features.x_BTD @ params["embeddings"]["token"]["table"].T + head["bias"]
    logits_BTV = model.apply({"params": params}, tokens_BT, conditioning)
    for b, t in np.ndindex(2, 3):
        expected = by_hand(np.asarray(plain_BTV[b, t]), np.asarray(parts_BTN[b, t]).reshape(-1, gaps.PARTS))
        np.testing.assert_allclose(logits_BTV[b, t], expected, rtol=1e-4, atol=1e-3)


def test_means_start_at_equal_distances():
    parts_KP = gaps.initial_bias(3).reshape(3, gaps.PARTS)
    np.testing.assert_allclose(np.exp(parts_KP[:, 1]), [1e4, math.sqrt(1e4 * 2e9), 2e9], rtol=1e-9)
    np.testing.assert_allclose(np.exp(parts_KP[:, 0]).sum(), gaps.INITIAL_SHARE)


@pytest.mark.parametrize(
    "changes", [{"gap_components": -1}, {"gap_components": 2, "vocab_size": 40}], ids=["sign", "vocabulary"]
)
def test_components_that_do_not_fit_are_refused(tiny, changes):
    with pytest.raises(InputError, match=r"model\.gap_components"):
        tiny(**changes)
