"""The weights that a model gives on request are those that it mixes by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.attention.kind import KINDS
from lob_jax.models.attention.maps import attention_weights
from lob_jax.models.transformer import stack_layers


def test_each_layer_has_its_own_in_order(tiny, lively, inputs):
    config = tiny(n_layers=3)
    params, data = lively(config), inputs(config, 2, 7)
    weight_LBNTS = attention_weights(config, params, *data)
    assert weight_LBNTS.shape == (3, 2, 2, 7, 7)
    assert weight_LBNTS.dtype == jnp.float32
    np.testing.assert_allclose(weight_LBNTS.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(np.triu(weight_LBNTS, 1), 0)
    changed = {**params, "blocks_1": jax.tree.map(lambda leaf: 1.5 * leaf, params["blocks_1"])}
    moved = np.abs(attention_weights(config, changed, *data) - weight_LBNTS).max((1, 2, 3, 4)) > 1e-4
    np.testing.assert_array_equal(moved, [False, True, True])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_scan_has_those_of_the_loop(tiny, lively, inputs, kind):
    settings = {"kind": kind, "block": 3, "summaries": 2, "random_features": 8, "horizons": ("2 events", "all")}
    loop, scan = tiny(attention=settings), tiny(attention=settings, scan_layers=True)
    params, data = lively(loop), inputs(loop, 2, 7)
    expected = attention_weights(loop, params, *data)
    np.testing.assert_allclose(attention_weights(scan, stack_layers(params, loop), *data), expected, atol=1e-5)


@pytest.mark.slow
def test_of_a_model_that_sees_both_ways_none_is_zero(tiny, lively, inputs):
    config = tiny(causal=False)
    assert (attention_weights(config, lively(config), *inputs(config, 1, 5)) > 0).all()
