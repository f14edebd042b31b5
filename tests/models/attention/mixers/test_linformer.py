import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.attention.dense import attend, causal_mask
from lob_jax.models.attention.mixers.linformer import LinformerAttention, _scale, _summed

BLOCK, SUMMARIES, LENGTH = 4, 3, 32


@pytest.fixture
def module(tiny):
    settings = {"kind": "linformer", "block": BLOCK, "summaries": SUMMARIES}
    return LinformerAttention(tiny(d_model=32, n_heads=4, max_seq_length=LENGTH, attention=settings))


def by_loops(params, query, key, value):
    """Linformer's attention with its matrices cut off at a block's start, token by token, in float64."""
    E, F = (np.asarray(params[name], np.float64) for name in ("key_summary", "value_summary"))
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    mixed = np.zeros_like(value)
    batch, T, heads, size = query.shape
    for b in range(batch):
        for n in range(heads):
            for t in range(T):
                start = t // BLOCK * BLOCK
                own = slice(start, t + 1)
                keys, values = key[b, own, n], value[b, own, n]
                if start:
                    keys = np.concatenate([E[:, :start] @ key[b, :start, n] / start**0.5, keys])
                    values = np.concatenate([F[:, :start] @ value[b, :start, n] / start**0.5, values])
                scores = keys @ query[b, t, n] / size**0.5
                weights = np.exp(scores - scores.max())
                mixed[b, t, n] = weights @ values / weights.sum()
    return mixed


@pytest.mark.parametrize("T", [pytest.param(3, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow), 22])
def test_against_loops(module, qkv, T):
    query, key, value, positions = qkv(T)
    variables = module.init(jax.random.key(1), query, key, value, positions)
    expected = by_loops(variables["params"], query, key, value)
    np.testing.assert_allclose(module.apply(variables, query, key, value, positions), expected, atol=2e-5)


def test_the_first_block_is_full_attention(module, qkv):
    *arrays, positions = qkv(16)
    variables = module.init(jax.random.key(1), *arrays, positions)
    full = attend(*(x[:, :BLOCK] for x in arrays), mask_BNTS=causal_mask(BLOCK))
    np.testing.assert_allclose(module.apply(variables, *arrays, positions)[:, :BLOCK], full, atol=1e-6)


def test_summaries_are_as_large_as_keys_however_long_the_past(qkv):
    _, key, _, _ = qkv(LENGTH, batch=8)
    random = np.random.default_rng(0)
    sums, sizes = 0.0, []
    for number, scale in enumerate(_scale(LENGTH // BLOCK, BLOCK)):
        sizes.append(float(jnp.sqrt(jnp.square(sums * scale).mean())))
        columns_KC = jnp.asarray(random.standard_normal((SUMMARIES, BLOCK)), jnp.float32)
        sums += _summed(columns_KC, key[:, number * BLOCK : (number + 1) * BLOCK])
    assert sizes[0] == 0
    np.testing.assert_allclose(sizes[1:], 1, atol=0.35)


@pytest.mark.slow
def test_the_matrices_are_learned(module, qkv):
    *arrays, positions = qkv(12)
    variables = module.init(jax.random.key(1), *arrays, positions)

    def total(variables):
        return jnp.square(module.apply(variables, *arrays, positions)).sum()

    gradients = jax.grad(total)(variables)["params"]
    for name in ("key_summary", "value_summary"):
        reached = np.abs(gradients[name]).sum(0) > 0
        np.testing.assert_array_equal(reached, np.arange(LENGTH) < 8)  # what lies before the last block, and no more
