import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.generation.device.packed import Packing

TREE = {
    "number": jnp.array([1, -(2**31)], jnp.int32),
    "flags": jnp.array([[True, False], [False, True]]),
    "mass": jnp.array([-0.0, 1e-42], jnp.float32),  # a number too small to be normal keeps its bits
    "word": jnp.array([[7, 2**32 - 1], [3, 2**31]], jnp.uint32),
    "codes": jnp.arange(8, dtype=jnp.int16).reshape(2, 2, 2) - 4,
    "large": jnp.arange(66, dtype=jnp.int32).reshape(2, 33),
    "key": jax.random.split(jax.random.key(3), 2),
    "nothing": None,
}


def test_unpacked_leaves_are_those_that_were_packed():
    packing = Packing(TREE, axes=1)
    packed, others = packing.packed(TREE)
    assert packed.shape == (2, 1 + 2 + 1 + 2 + 4) and packed.dtype == jnp.int32
    assert [leaf.shape for leaf in others] == [(2,), (2, 33)]
    again = packing.unpacked(packed, others)
    for name in ("number", "flags", "word", "codes", "large"):
        np.testing.assert_array_equal(again[name], TREE[name])
        assert again[name].dtype == TREE[name].dtype
    np.testing.assert_array_equal(*(jnp.asarray(tree["mass"]).view(jnp.int32) for tree in (TREE, again)))
    np.testing.assert_array_equal(*(jax.random.key_data(tree["key"]) for tree in (TREE, again)))
    assert again["nothing"] is None


def test_slots_are_packed_behind_both_axes():
    tree = {"tokens": jnp.arange(6, dtype=jnp.int32).reshape(2, 3), "book": jnp.ones((2, 3, 4), jnp.float32)}
    packing = Packing(tree, axes=2, most=4)
    packed, others = packing.packed(tree)
    assert packed.shape == (2, 3, 5) and not others
    one, _ = packing.packed(jax.tree.map(lambda leaf: leaf[:, 1:2], tree))
    np.testing.assert_array_equal(one, packed[:, 1:2])
