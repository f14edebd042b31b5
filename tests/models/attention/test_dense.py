import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.attention.cache import KVCache
from lob_jax.models.attention.dense import attend, attend_cached, causal_mask, heads_first
from lob_jax.models.attention.positions import Positions, visible_slots


def test_causal_mask_of_a_sequence():
    expected = [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    np.testing.assert_array_equal(visible_slots(3, 3, 0)[0], expected)


def test_causal_mask_behind_filled_slots():
    expected = [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]
    np.testing.assert_array_equal(visible_slots(2, 5, jnp.int32(2))[0], expected)


def test_a_mask_narrows_but_never_widens_and_leaves_a_token_itself():
    mask_BTS = jnp.asarray([[[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1]]], bool)
    expected = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]]
    np.testing.assert_array_equal(visible_slots(4, 4, 0, mask_BTS=mask_BTS)[0], expected)


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def by_hand(query_BTNH, key_BSNH, value_BSNH, mask_TS):
    output = np.zeros_like(query_BTNH)
    batch, queries, heads, size = query_BTNH.shape
    for b in range(batch):
        for n in range(heads):
            for t in range(queries):
                seen = np.flatnonzero(mask_TS[t])
                scores = key_BSNH[b, seen, n].astype(np.float64) @ query_BTNH[b, t, n] / size**0.5
                weights = np.exp(scores - scores.max())
                output[b, t, n] = weights @ value_BSNH[b, seen, n] / weights.sum()
    return output


def test_attention_against_loops():
    query, key, value = draw(0, 3, 2, 5, 2, 4)
    expected = by_hand(query, key, value, np.tril(np.ones((5, 5))))
    np.testing.assert_allclose(attend(query, key, value, mask_BNTS=causal_mask(5)), expected, atol=1e-5)


def test_masked_attention_against_loops():
    query, key, value = draw(1, 3, 2, 4, 2, 4)
    mask_TS = np.asarray([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], bool)
    mask_BTS = np.broadcast_to(mask_TS, (2, 4, 4))
    expected = by_hand(query, key, value, mask_TS)
    np.testing.assert_allclose(attend(query, key, value, mask_BNTS=mask_BTS[:, None]), expected, atol=1e-5)
    cached = attend_cached(query, heads_first(key), heads_first(value), mask_BNTS=mask_BTS[:, None])
    np.testing.assert_allclose(cached, expected, atol=1e-5)


@pytest.mark.parametrize("cached", [False, True])
def test_bf16_attention_keeps_its_softmax_in_fp32(cached):
    # Scores of 256 and 257, divided by sqrt(2): in bf16 the two are one number before the division, and 1 apart after.
    query = jnp.asarray([[[[16.0, 1.0]], [[16.0, 1.0]]]], jnp.bfloat16)
    key = jnp.asarray([[[[16.0, 0.0]], [[16.0, 1.0]]]], jnp.bfloat16)
    value = jnp.asarray([[[[0.0, 0.0]], [[1.0, 1.0]]]], jnp.bfloat16)
    mask_BTS = visible_slots(2, 2, 0)
    if cached:
        output = attend_cached(query, heads_first(key), heads_first(value), mask_BNTS=mask_BTS[:, None])
    else:
        output = attend(query, key, value, mask_BNTS=causal_mask(2))
    expected = 1 / (1 + np.exp(-1 / 2**0.5))
    np.testing.assert_allclose(np.asarray(output[0, 1, 0], np.float32), expected, atol=0.004)


@pytest.mark.parametrize("stacked", [False, True])
def test_a_write_fills_the_next_slots_of_one_layer_and_leaves_the_old_cache(stacked):
    zeros = (jnp.zeros((2, 4, 2)),) * 2  # two heads of one sequence
    empty = KVCache(zeros, zeros, positions=Positions(jnp.zeros((1, 4), jnp.int32)), length=jnp.int32(1))
    key_BTNH = jnp.asarray([[[[1.0, 2.0], [5.0, 6.0]], [[3.0, 4.0], [7.0, 8.0]]]])
    cache = (empty.stacked() if stacked else empty).write(key_BTNH, 10 * key_BTNH, layer=1).unstacked()
    expected = np.array([[[0, 0], [1, 2], [3, 4], [0, 0]], [[0, 0], [5, 6], [7, 8], [0, 0]]])
    np.testing.assert_array_equal(cache.keys[1], expected)
    np.testing.assert_array_equal(cache.values[1], 10 * expected)
    assert not cache.keys[0].any()
    assert not any(keys.any() for keys in empty.keys)
    assert int(cache.length) == 1


def test_no_gradient_flows_from_the_future():
    query, key, value = draw(2, 3, 1, 4, 1, 2)
    jacobian = jax.jacrev(lambda value: attend(query, key, value, mask_BNTS=causal_mask(4)).sum((0, 2, 3)))(value)
    reach_TS = np.abs(jacobian).sum((1, 3, 4))
    np.testing.assert_array_equal(reach_TS != 0, np.tril(np.ones((4, 4), bool)))


def test_one_array_for_all_layers_is_written_once():
    rng = np.random.default_rng(5)

    def draw(*shape):
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    held = (tuple(draw(2, 4, 3) for _ in range(2)) for _ in range(2))
    apart = KVCache(*held, positions=Positions(jnp.zeros((1, 4), jnp.int32)), length=jnp.int32(6))  # next slot: 2
    together, mask_BNTS = apart.stacked(), jnp.ones((1, 1, 1, 4), bool)
    for layer in range(2):
        new = [draw(1, 1, 2, 3) for _ in range(3)]
        expected, apart = apart.attend(*new, layer=layer, mask_BNTS=mask_BNTS)
        before = together.keys
        found, together = together.attend(*new, layer=layer, mask_BNTS=mask_BNTS)
        np.testing.assert_array_equal(found, expected)
        assert together.keys is before and len(together.new_keys) == layer + 1
    settled = together.settled()
    assert settled.new_keys == settled.new_values == ()
    for found, expected in zip(jax.tree.leaves(settled.unstacked()), jax.tree.leaves(apart), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert apart.settled() is apart
