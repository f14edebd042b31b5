"""Drawing a token: masks and truncation against distributions worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.generation.sampling import choose, keep_top_k

LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))
ALL = np.ones(4, bool)


def draw(*, allowed=ALL, temperature=1.0, top_k=0, count=20_000):
    keys = jax.random.split(jax.random.key(3), count)
    logits = jnp.tile(LOGITS, (count, 1))
    choice = choose(keys, logits, jnp.tile(jnp.asarray(allowed), (count, 1)), temperature=temperature, top_k=top_k)
    return np.bincount(np.asarray(choice.token_B), minlength=4) / count, np.asarray(choice.masked_mass_B)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [0.5, 0.25, 0.15, 0.1]),
        ({"top_k": 2}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_k": 4}, [0.5, 0.25, 0.15, 0.1]),
        ({"allowed": [False, True, True, False]}, [0, 0.625, 0.375, 0]),
        # The mask comes before the truncation: the best two of the allowed ones are 1 and 2.
        ({"allowed": [False, True, True, True], "top_k": 2}, [0, 0.625, 0.375, 0]),
        # At temperature 1/2 probabilities are squared and scaled to sum to one.
        ({"temperature": 0.5}, list(np.array([0.25, 0.0625, 0.0225, 0.01]) / 0.345)),
        ({"temperature": 0.0, "allowed": [False, True, True, True]}, [0, 1, 0, 0]),
    ],
)
def test_distribution(arguments, expected):
    drawn, _ = draw(**arguments)
    np.testing.assert_allclose(drawn, expected, atol=4 * np.sqrt(0.25 / 20_000))


def test_masked_mass_is_what_the_model_gave_to_forbidden_tokens():
    _, mass = draw(allowed=[True, False, True, False], temperature=0.7, count=3)
    np.testing.assert_allclose(mass, 0.35, rtol=1e-6)


def test_ties_with_the_last_of_the_top_stay():
    kept = keep_top_k(jnp.array([[1.0, 2.0, 2.0, 0.0]]), 1)
    np.testing.assert_array_equal(np.isfinite(kept), [[False, True, True, False]])


def test_a_path_does_not_depend_on_its_batch():
    keys = jax.random.split(jax.random.key(0), 5)
    logits = jax.random.normal(jax.random.key(1), (5, 40))
    allowed = jnp.ones((5, 40), bool)
    together = choose(keys, logits, allowed, temperature=1.0, top_k=7).token_B
    for i in range(5):
        alone = choose(keys[i : i + 1], logits[i : i + 1], allowed[i : i + 1], temperature=1.0, top_k=7).token_B
        assert alone[0] == together[i]
