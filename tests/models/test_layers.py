import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.layers import FeedForward, LayerNorm, dropout, example_keys, random_words

KEY = jax.random.key(3)
drop_out = jax.jit(dropout, static_argnames=("site", "rate"), compiler_options={"xla_backend_optimization_level": 0})


def test_norm_against_numpy():
    x_BTD = np.random.default_rng(0).normal(5, 3, (2, 3, 8)).astype(np.float32)
    params = {"scale": jnp.arange(1.0, 9.0), "bias": jnp.full(8, 0.5)}
    expected = (x_BTD - x_BTD.mean(-1, keepdims=True)) / np.sqrt(x_BTD.var(-1, keepdims=True) + 1e-5)
    normed = LayerNorm("float32").apply({"params": params}, jnp.asarray(x_BTD))
    np.testing.assert_allclose(normed, expected * np.arange(1, 9) + 0.5, atol=1e-4)


def test_norm_survives_a_large_mean():
    # In float32, 1e4^2 leaves no digits for a variance of 1 if it is the difference of two means of squares.
    x_BTD = 1e4 + np.random.default_rng(1).standard_normal((1, 1, 64)).astype(np.float32)
    exact = x_BTD.astype(np.float64)
    expected = (exact - exact.mean()) / exact.std()
    module = LayerNorm("float32")
    normed = module.apply(module.init(KEY, x_BTD), x_BTD)
    np.testing.assert_allclose(normed, expected, atol=5e-3)


def test_bf16_norm_computes_in_fp32():
    x_BTD = jnp.asarray(np.random.default_rng(2).standard_normal((1, 4, 32)), jnp.bfloat16)
    module = LayerNorm("bfloat16")
    normed = module.apply(module.init(KEY, x_BTD), x_BTD)
    wide = LayerNorm("float32").apply(module.init(KEY, x_BTD), x_BTD.astype(jnp.float32))
    assert normed.dtype == jnp.bfloat16
    np.testing.assert_array_equal(normed, wide.astype(jnp.bfloat16))


def test_bf16_norm_of_one_row_is_that_of_several():
    x_BTD = jnp.asarray(np.random.default_rng(3).normal(2, 3, (1, 3, 32)), jnp.bfloat16)
    params = {"scale": jnp.arange(1.0, 33.0), "bias": jnp.full(32, 0.5)}
    several, one = (LayerNorm("bfloat16").apply({"params": params}, x) for x in (x_BTD, x_BTD[:, 1:2]))
    np.testing.assert_array_equal(one, several[:, 1:2])


def test_dropout_drops_at_its_rate_and_keeps_the_mean():
    # 8 * 64 * 250 draws at .1: the share's standard deviation is .0008.
    kept = drop_out(jnp.ones((8, 64, 250)), example_keys(KEY, jnp.arange(8)), site=0, rate=0.1)
    assert np.mean(kept == 0) == pytest.approx(0.1, abs=0.004)
    assert np.mean(kept) == pytest.approx(1, abs=0.004)
    assert np.unique(kept) == pytest.approx([0, 1 / 0.9], rel=1e-4)


def test_masks_are_random_in_every_direction():
    """Of independent masks, the correlation of two has a standard deviation of 1 / sqrt(places)."""
    examples, sites, T, D = 6, 4, 160, 250
    keys_B = example_keys(KEY, jnp.arange(examples))
    masks = [drop_out(jnp.ones((examples, T, D)), keys_B, site=site, rate=0.5) == 0 for site in range(sites)]
    random = 2.0 * np.stack(masks) - 1
    flat = random.reshape(sites * examples, -1)
    bound = 5 / np.sqrt(flat.shape[1])
    between = flat @ flat.T / flat.shape[1] - np.eye(len(flat))
    assert np.abs(between).max() < bound
    for lag in (1, 2, 3, 4, 8, 16, 32, 64, 128, D - 1, D, D + 1, 2 * D, 1024):
        shifted = (flat[:, lag:] * flat[:, :-lag]).mean(1)
        assert np.abs(shifted).max() < 5 / np.sqrt(flat.shape[1] - lag)
    for one, other in ((0, 1), (2, 9), (5, 23)):  # a mask is no other one, shifted
        spectrum = np.fft.rfft(flat[one]) * np.fft.rfft(flat[other]).conj()
        assert np.abs(np.fft.irfft(spectrum, flat.shape[1])).max() / flat.shape[1] < 6.5 / np.sqrt(flat.shape[1])
    rows, columns = random.mean(-1), random.mean(-2)
    assert np.abs(rows).max() < 5.5 / np.sqrt(D) and np.abs(columns).max() < 5.5 / np.sqrt(T)
    assert rows.std() == pytest.approx(1 / np.sqrt(D), rel=0.1) and columns.std() == pytest.approx(
        1 / np.sqrt(T), rel=0.1
    )


def test_masks_that_differ_in_one_word_are_not_one_mask_shifted():
    words = np.array([[5, 1], [6, 2], [5, 3]], np.uint32)
    one, next_, other = np.asarray(random_words(jnp.asarray(words), 40, 50)).reshape(3, -1)
    assert not np.array_equal(one[1:], next_[:-1]) and not np.any(one == other)
    alone = np.asarray(random_words(jnp.asarray(words[:1]), 1, 2000)).reshape(-1)
    np.testing.assert_array_equal(alone, one)  # the place decides, however it is split into rows and columns
    assert len(np.unique(one)) == len(one)  # as a permutation of 32-bit words gives


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_are_dropped_where_activations_are(dtype):
    keys_B, x_BTD = example_keys(KEY, jnp.arange(3)), jnp.ones((3, 7, 9), dtype)

    def total(x_BTD):
        return dropout(x_BTD, keys_B, site=2, rate=0.3).astype(jnp.float32).sum()

    kept = dropout(x_BTD, keys_B, site=2, rate=0.3)
    np.testing.assert_array_equal(jax.grad(total)(x_BTD), kept)
    assert 0 < np.count_nonzero(kept) < kept.size


def test_dropout_is_the_same_however_the_batch_is_split():
    example_B = jnp.asarray([5, 2, 9, 11])
    x_BTD = np.arange(1.0, 85.0, dtype=np.float32).reshape(4, 3, 7)

    def drop(part):
        return np.asarray(drop_out(x_BTD[part], example_keys(KEY, example_B[part]), site=1, rate=0.4))

    whole = drop(slice(None))
    np.testing.assert_array_equal(whole, np.concatenate([drop(slice(0, 1)), drop(slice(1, 4))]))
    np.testing.assert_array_equal(whole[::-1], drop(slice(None, None, -1)))


def test_dropout_differs_by_example_site_and_key():
    ones = jnp.ones((2, 8, 32))
    keys_B = example_keys(KEY, jnp.arange(2))
    first = np.asarray(drop_out(ones, keys_B, site=0, rate=0.5))
    assert (first[0] != first[1]).any()
    assert (first != drop_out(ones, keys_B, site=1, rate=0.5)).any()
    assert (first != drop_out(ones, example_keys(jax.random.key(4), jnp.arange(2)), site=0, rate=0.5)).any()


def test_no_dropout_without_keys_or_rate():
    x_BTD = jnp.ones((1, 2, 4))
    assert dropout(x_BTD, None, site=0, rate=0.5) is x_BTD
    assert dropout(x_BTD, example_keys(KEY, jnp.arange(1)), site=0, rate=0.0) is x_BTD


def test_dropout_keeps_the_dtype():
    x_BTD = jnp.ones((1, 2, 4), jnp.bfloat16)
    assert dropout(x_BTD, example_keys(KEY, jnp.arange(1)), site=0, rate=0.5).dtype == jnp.bfloat16


def test_residual_projections_start_smaller_by_depth(tiny):
    config = tiny(d_model=64, d_ff=256, n_layers=8, n_heads=4)
    params = FeedForward(config).init(KEY, jnp.zeros((1, 1, 64)), None, site=0)["params"]
    assert np.std(params["widen"]["kernel"]) == pytest.approx(0.02, rel=0.03)
    assert np.std(params["narrow"]["kernel"]) == pytest.approx(0.02 / 4, rel=0.03)  # sqrt(2 * 8) = 4
