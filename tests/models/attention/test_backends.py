"""Which backend computes attention where, and that each gives XLA's numbers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.models.attention.backends import (
    Surroundings,
    attend_causally,
    chosen_backend,
    fallback,
    splash,
    surroundings,
)
from lob_jax.models.attention.dense import attend, causal_mask


@pytest.fixture
def wide(tiny):
    """Return a function: a model with heads of 64, which every kernel takes."""

    def make(backend="auto", **changes):
        fields = {"d_model": 128, "n_heads": 2, "max_seq_length": 512, "dtype": "bfloat16", **changes}
        return tiny(attention={"backend": backend}, **fields)

    return make


@pytest.mark.parametrize(
    ("platform", "dtype", "heads", "length", "devices", "expected"),
    [
        ("cpu", "bfloat16", 2, 512, 1, "xla"),
        ("gpu", "bfloat16", 2, 500, 8, "cudnn"),
        ("gpu", "float16", 1, 500, 1, "cudnn"),
        ("gpu", "float32", 2, 512, 1, "xla"),
        ("gpu", "bfloat16", 32, 512, 1, "xla"),  # heads of four
        ("tpu", "bfloat16", 2, 512, 1, "splash"),
        ("tpu", "float32", 2, 128, 1, "splash"),
        ("tpu", "bfloat16", 2, 500, 1, "xla"),
        ("tpu", "bfloat16", 2, 512, 4, "xla"),
        ("tpu", "float64", 2, 512, 1, "xla"),
    ],
)
def test_auto_takes_the_first_that_can(wide, platform, dtype, heads, length, devices, expected):
    config = wide(dtype=dtype, n_heads=heads)
    assert chosen_backend(config, length=length, here=Surroundings(platform, devices)) == expected


@pytest.mark.parametrize(
    ("backend", "here", "told"),
    [
        ("cudnn", {"platform": "cpu"}, "an NVIDIA GPU"),
        ("splash", {"platform": "gpu"}, "a TPU"),
        ("splash", {"platform": "tpu", "devices": 4}, "one device"),
        ("splash", {"platform": "tpu", "length": 100}, "multiples of 128"),
    ],
)
def test_a_backend_that_cannot_run_is_refused_with_what_it_needs(wide, backend, here, told):
    length = here.pop("length", 512)
    where = Surroundings(**{"platform": "tpu", "devices": 1, **here})
    with pytest.raises(InputError, match=told):
        chosen_backend(wide(backend), length=length, here=where)
    assert chosen_backend(wide("xla"), length=length, here=where) == "xla"


MISSING = Surroundings("gpu", 1, "cuDNN is not detected.")


def test_without_a_cudnn_that_jax_takes_auto_is_xla_and_says_so(wide):
    assert chosen_backend(wide(), length=512, here=MISSING) == "xla"
    assert fallback(wide(), here=MISSING).endswith("a cuDNN that JAX takes (cuDNN is not detected.)")
    with pytest.raises(InputError, match="cuDNN is not detected"):
        chosen_backend(wide("cudnn"), length=512, here=MISSING)


@pytest.mark.parametrize(
    ("backend", "here"),
    [("auto", Surroundings("gpu", 1)), ("auto", Surroundings("cpu", 8)), ("xla", MISSING)],
)
def test_what_was_asked_for_or_is_there_needs_no_word(wide, backend, here):
    assert fallback(wide(backend), here=here) is None


def test_what_jax_says_against_cudnn_is_asked_of_jax(wide, monkeypatch):
    """Here no GPU is there, and JAX's own check says so."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    here = surroundings(wide(), length=512)
    assert here.obstacle and chosen_backend(wide(), length=512, here=here) == "xla"


def test_here_attention_is_xlas_to_the_bit(wide, qkv):
    *arrays, _ = qkv(16, heads=2, size=64)
    expected = attend(*arrays, mask_BNTS=causal_mask(16))
    np.testing.assert_array_equal(attend_causally(*arrays, config=wide("xla", dtype="float32")), expected)
    if jax.default_backend() == "cpu":
        np.testing.assert_array_equal(attend_causally(*arrays, config=wide(dtype="float32")), expected)


@pytest.mark.slow
@pytest.mark.parametrize("T", [128, 256])
def test_the_kernel_for_tpus_gives_xlas_values_and_gradients(qkv, T):
    *arrays, _ = qkv(T, batch=1, heads=2, size=64)
    weight_BTNH = jnp.asarray(np.random.default_rng(1).standard_normal(arrays[0].shape), jnp.float32)

    def by_kernel(query, key, value):
        mixed = splash(query, key, value, interpret=True)
        return (mixed * weight_BTNH).sum(), mixed

    def by_xla(query, key, value):
        mixed = attend(query, key, value, mask_BNTS=causal_mask(T))
        return (mixed * weight_BTNH).sum(), mixed

    found, expected = (jax.grad(of, (0, 1, 2), has_aux=True)(*arrays) for of in (by_kernel, by_xla))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_cudnn_gives_xlas_values_and_gradients(wide, qkv, dtype):
    if jax.default_backend() != "gpu":
        pytest.skip("needs an NVIDIA GPU")
    *arrays, _ = qkv(300, heads=2, size=64)
    narrow = [x.astype(dtype) for x in arrays]
    config = wide("cudnn", dtype=dtype)

    def mean(config, arrays):
        return jnp.square(attend_causally(*arrays, config=config).astype(jnp.float32)).mean()

    found, gradients = jax.value_and_grad(mean, 1)(config, narrow)
    wide_config = dataclasses.replace(wide("xla"), dtype="float32")
    expected, expected_gradients = jax.value_and_grad(mean, 1)(wide_config, arrays)
    assert float(found) == pytest.approx(float(expected), rel=0.01)
    for one, other in zip(gradients, expected_gradients, strict=True):
        error = jnp.sqrt(jnp.mean(jnp.square(one.astype(jnp.float32) - other)) / jnp.mean(jnp.square(other)))
        assert float(error) < 0.02
