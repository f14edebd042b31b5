import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.attention.dense import causal_mask
from lob_jax.models.attention.mixers.block_sparse import BlockSparseAttention, block_pattern, distances
from lob_jax.models.attention.positions import Positions


def test_a_pattern_made_by_hand(tiny):
    config = tiny(attention={"kind": "block_sparse", "block": 2, "local_blocks": 1, "global_blocks": 1}).attention
    positions = Positions(position_BT=jnp.arange(16)[None])
    seen_TS = np.asarray(causal_mask(16) & block_pattern(config, positions, positions))[0, 0]
    blocks = {  # of a block: which blocks it sees: itself, 1, 2 and 4 back, and the first
        0: {0},
        1: {0, 1},
        2: {0, 1, 2},
        3: {0, 1, 2, 3},
        4: {0, 2, 3, 4},
        5: {0, 1, 3, 4, 5},
        6: {0, 2, 4, 5, 6},
        7: {0, 3, 5, 6, 7},
    }
    expected = [[s // 2 in blocks[t // 2] and s <= t for s in range(16)] for t in range(16)]
    np.testing.assert_array_equal(seen_TS, expected)


def test_what_a_block_sees_grows_as_the_logarithm(tiny):
    config = tiny(attention={"kind": "block_sparse", "local_blocks": 3}).attention
    assert distances(config, 1) == [0]
    assert distances(config, 9) == [0, 1, 2, 4, 8]
    assert [len(distances(config, 2**n)) for n in range(4, 10)] == [5, 6, 7, 8, 9, 10]


SHAPES = [(T, *shape) for T in (5, 16, 41) for shape in ((4, 1, 0), (4, 2, 1), (3, 3, 2), (16, 1, 1), (64, 2, 1))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("T", "block", "local", "first"),
    SHAPES,
)
def test_blocks_are_the_dense_product_under_the_pattern(tiny, qkv, T, block, local, first):
    settings = {"kind": "block_sparse", "block": block, "local_blocks": local, "global_blocks": first}
    module = BlockSparseAttention(tiny(d_model=32, n_heads=4, max_seq_length=64, attention=settings))
    *arrays, positions = qkv(T)
    weight_BTNH = jnp.asarray(np.random.default_rng(9).standard_normal(arrays[0].shape), jnp.float32)

    def sparse(query, key, value):
        return (module.apply({}, query, key, value, positions) * weight_BTNH).sum()

    def dense(query, key, value):
        return (module.apply({}, query, key, value, method="dense") * weight_BTNH).sum()

    np.testing.assert_allclose(
        module.apply({}, *arrays, positions), module.apply({}, *arrays, method="dense"), atol=1e-5
    )
    for found, expected in zip(jax.grad(sparse, (0, 1, 2))(*arrays), jax.grad(dense, (0, 1, 2))(*arrays), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)
