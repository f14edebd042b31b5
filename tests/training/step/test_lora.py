"""Low-rank additions by hand: each matrix of a parameter has its own A and B."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.training.step.lora import A, B, addition, first_adapter, matrix_shape

# Path, shape of the parameter, and of its matrices: how many, inputs, outputs.
PARAMETERS = {
    "blocks_0/attention/qkv/kernel": ((4, 3, 2, 5), (3,), 4, 10),
    "blocks_1/attention/output/kernel": ((2, 5, 4), (), 10, 4),
    "blocks_1/ffn/widen/kernel": ((4, 6), (), 4, 6),
    "blocks/attention/qkv/kernel": ((7, 4, 3, 2, 5), (7, 3), 4, 10),
    "blocks/ffn/narrow/kernel": ((7, 6, 4), (7,), 6, 4),
}


def draw(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_first_adapter_adds_nothing(name):
    shape, many, inputs, outputs = PARAMETERS[name]
    assert matrix_shape(name, shape) == (many, inputs, outputs)
    adapter = first_adapter(name, jax.ShapeDtypeStruct(shape, jnp.float32), jax.random.key(0), rank=2)
    assert (adapter[A].shape, adapter[B].shape) == ((*many, inputs, 2), (*many, 2, outputs))
    assert not np.any(addition(name, adapter, shape)) and np.all(np.asarray(adapter[A]) != 0)


def test_the_addition_is_a_product_for_each_matrix():
    name = "blocks/attention/qkv/kernel"
    shape = PARAMETERS[name][0]
    adapter = {A: draw((7, 3, 4, 2)), B: draw((7, 3, 2, 10), 1)}
    found = np.asarray(addition(name, adapter, shape))
    for layer in range(7):
        for part in range(3):
            product = np.asarray(adapter[A][layer, part]) @ np.asarray(adapter[B][layer, part])
            np.testing.assert_allclose(found[layer, :, part], product.reshape(4, 2, 5), rtol=1e-5)


def test_inputs_of_several_axes_are_rows():
    name = "blocks_1/attention/output/kernel"
    adapter = {A: draw((10, 3)), B: draw((3, 4), 1)}
    product = np.asarray(adapter[A]) @ np.asarray(adapter[B])
    np.testing.assert_allclose(addition(name, adapter, (2, 5, 4)), product.reshape(2, 5, 4), rtol=1e-5)


def test_the_first_rows_are_as_large_as_they_were_at_random():
    matrix = jax.ShapeDtypeStruct((4096, 64), jnp.float32)
    adapter = first_adapter("blocks_0/ffn/widen/kernel", matrix, jax.random.key(3), rank=4)
    assert float(jnp.std(adapter[A])) * 64 == pytest.approx(1.0, rel=0.03)
