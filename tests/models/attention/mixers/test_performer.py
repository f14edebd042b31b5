import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.attention.dense import attend, causal_mask
from lob_jax.models.attention.mixers import performer
from lob_jax.models.attention.mixers.performer import PerformerAttention, orthogonal_features


@pytest.fixture
def module_of(tiny):
    """Return a function: a Performer of four heads of eight."""

    def of(features, block=4):
        settings = {"kind": "performer", "random_features": features, "block": block}
        return PerformerAttention(tiny(d_model=32, n_heads=4, max_seq_length=64, attention=settings))

    return of


def test_features_are_orthogonal_in_groups_and_as_long_as_normal_vectors():
    feature_NMH = orthogonal_features(3, 20, 8)
    assert feature_NMH.shape == (3, 20, 8)
    for head in feature_NMH:
        for first in (0, 8):
            products = head[first : first + 8] @ head[first : first + 8].T
            np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-4)
    lengths = np.square(orthogonal_features(4, 2048, 8)).sum(-1)
    assert lengths.mean() == pytest.approx(8, rel=0.03)  # chi-squared with eight degrees of freedom
    assert lengths.var() == pytest.approx(16, rel=0.1)
    assert np.abs(feature_NMH[0] - feature_NMH[1]).max() > 0.1  # each head has its own


@pytest.mark.parametrize("T", [pytest.param(3, marks=pytest.mark.slow), pytest.param(16, marks=pytest.mark.slow), 29])
def test_running_sums_are_the_products_of_features(module_of, qkv, T):
    module, (query, key, value, positions) = module_of(24), qkv(T)
    feature_NMH = orthogonal_features(4, 24, 8).astype(np.float64)
    expected = np.zeros(value.shape)
    for n in range(4):
        phi = [
            np.exp(x @ feature_NMH[n].T - 0.5 * np.square(x).sum(-1, keepdims=True))
            for x in (np.asarray(array, np.float64)[:, :, n] * 8**-0.25 for array in (query, key))
        ]
        weight_BTS = np.tril(np.einsum("BTM,BSM->BTS", *phi))
        weight_BTS /= weight_BTS.sum(-1, keepdims=True)
        expected[:, :, n] = weight_BTS @ np.asarray(value, np.float64)[:, :, n]
    np.testing.assert_allclose(module.apply({}, query, key, value, positions), expected, atol=2e-4)


def test_the_block_is_no_part_of_the_result(module_of, qkv):
    arrays = qkv(29)
    one, other = (module_of(24, block).apply({}, *arrays) for block in (4, 29))
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_the_error_falls_as_one_over_the_root_of_the_features(module_of, qkv, monkeypatch):
    query, key, value, positions = qkv(32, scale=0.5)
    exact = attend(query, key, value, mask_BNTS=causal_mask(32))

    def error(features):
        squares = []
        for seed in range(6):
            monkeypatch.setattr(performer, "SEED", seed)
            orthogonal_features.cache_clear()
            squares.append(
                float(jnp.square(module_of(features).apply({}, query, key, value, positions) - exact).mean())
            )
        orthogonal_features.cache_clear()
        return np.sqrt(np.mean(squares))

    errors = np.array([error(features) for features in (32, 128, 512, 2048)])
    ratios = errors[:-1] / errors[1:]
    assert (ratios > 1.5).all()  # four times the features: half the error
    assert 2 ** (3 * 0.8) < errors[0] / errors[-1] < 2 ** (3 * 1.2)


@pytest.mark.parametrize(
    "scale", [pytest.param(0.0, marks=pytest.mark.slow), pytest.param(30.0, marks=pytest.mark.slow), 1e4]
)
def test_no_key_is_too_large(module_of, qkv, scale):
    query, key, value, positions = qkv(13, scale=scale)
    module = module_of(16)

    def total(key):
        return module.apply({}, query, key, value, positions).sum()

    assert jnp.isfinite(module.apply({}, query, key, value, positions)).all()
    assert jnp.isfinite(jax.grad(total)(key)).all()
