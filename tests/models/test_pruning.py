"""Pruned models compute what the whole one computes without the units that are gone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.models.pruning import best_units, cut, cut_config, units_of, with_gates
from lob_jax.models.transformer import LOBTransformer, empty_cache

CASES = {
    "plain": {},
    "swiglu, post, normed, rotary, scanned": {
        **{"activation": "swiglu", "norm": "post", "positions": "rotary", "scan_layers": True},
        "attention": {"qk_norm": True},
    },
    "blocks, of another width": {"attention": {"kind": "block_sparse", "block": 4}, "head_size": 6},
    "summaries": {"attention": {"kind": "linformer", "block": 4, "summaries": 3}},
    "across assets, scanned": {"attention": {"cross_asset": True}, "scan_layers": True},
}
# Of two layers, four heads and twelve columns.
KEPT = {
    "attention": np.array([[0, 3], [1, 2]]),
    "cross": np.array([[1, 2], [0, 1]]),
    "ffn": np.array([[0, 1, 2, 5, 8, 10, 11], [1, 2, 3, 4, 5, 6, 7]]),
}


def gates_of(config, kept):
    """Return gates that are 1 for the units to keep, and 0 for the others."""
    return {
        name: jnp.zeros((config.n_layers, units)).at[jnp.arange(config.n_layers)[:, None], kept[name]].set(1)
        for name, units in units_of(config).items()
    }


@pytest.fixture
def logits(inputs):
    """Return a function: the logits of a model for the same random windows."""

    def compute(config, params):
        return np.asarray(compiled(config)({"params": params}, *inputs(config, 2, 8)))

    return compute


@functools.cache
def compiled(config):
    return jax.jit(LOBTransformer(config).apply)


@functools.partial(jax.jit, static_argnames="config")
def halved(params, kept, config):
    """Return the parameters with the units to go silent, and the parameters without them."""
    gated = with_gates(params, gates_of(config, kept))
    return gated, cut(gated, kept)


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_units_without_an_output_are_cut_without_a_trace(changes, tiny, lively, logits):
    config = tiny(n_heads=4, d_ff=12, **changes)
    params, smaller = lively(config), cut_config(config, heads=2, columns=7)
    kept = {name: KEPT[name] for name in units_of(config)}
    gated, found = halved(params, kept, config)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, lively(smaller))
    wanted = logits(config, gated)
    np.testing.assert_allclose(logits(smaller, found), wanted, atol=1e-6 * np.abs(wanted).max())
    assert np.abs(logits(config, params) - wanted).max() > 1e-3 * np.abs(wanted).max()
    np.testing.assert_array_equal(found["head"]["dense"]["kernel"], params["head"]["dense"]["kernel"])


@pytest.mark.parametrize("name", ["attention", "ffn"])
def test_other_units_would_have_been_missed(name, tiny, lively, logits):
    """The layers lose units of their own: those of one are not those of the other."""
    config = tiny(n_heads=4, d_ff=12)
    kept = {name: KEPT[name] for name in units_of(config)}
    gated, smaller = halved(lively(config), kept, config)[0], cut_config(config, heads=2, columns=7)
    others = halved(gated, {**kept, name: kept[name][::-1]}, config)
    wanted = logits(config, gated)
    assert np.abs(logits(smaller, others[1]) - wanted).max() > 1e-3 * np.abs(wanted).max()


def test_horizons_keep_equal_numbers_of_heads(tiny, lively, logits):
    attention = {"kind": "multi_scale", "horizons": ("1 event", "all")}
    config = tiny(n_heads=4, d_ff=12, attention=attention)
    scores = np.array([[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    kept = {"attention": best_units(scores, 2, groups=2), "ffn": KEPT["ffn"]}
    assert kept["attention"].tolist() == [[0, 2], [1, 3]]
    gated, found = halved(lively(config), kept, config)
    wanted = logits(config, gated)
    np.testing.assert_allclose(
        logits(cut_config(config, heads=2, columns=7), found), wanted, atol=1e-6 * np.abs(wanted).max()
    )
    with pytest.raises(InputError, match="multi_scale attention has 2 kinds of heads, 2 of each"):
        cut_config(config, heads=3, columns=12)


def test_heads_with_random_features_of_their_own_stay(tiny):
    config = tiny(n_heads=4, attention={"kind": "performer"})
    assert cut_config(config, heads=4, columns=5).d_ff == 5
    with pytest.raises(InputError, match="remove feed-forward columns only"):
        cut_config(config, heads=2, columns=24)


def test_the_best_units_are_kept_in_their_order():
    scores = np.array([[0.1, 0.5, 0.3, 0.4], [9, 1, 1, 1]])
    assert best_units(scores, 2).tolist() == [[1, 3], [0, 1]]
    assert best_units(scores, 4).tolist() == [[0, 1, 2, 3]] * 2


def test_the_width_of_heads_is_free(tiny, lively, inputs):
    """Three heads of ten in a stream of sixteen: a cache holds them, and gives the logits of the whole window."""
    config = tiny(n_heads=3, head_size=10, positions="rotary")
    tokens_BT, known = inputs(config, 2, 8)
    model, params = LOBTransformer(config), lively(config)
    whole, apply = jax.jit(model.apply)({"params": params}, tokens_BT, known), jax.jit(model.apply)
    cache = empty_cache(config, 2, 8)
    assert cache.keys[0].shape == (6, 8, 10)
    for t in range(8):
        here = {name: leaf[:, t : t + 1] for name, leaf in known.items()}
        step, cache = apply({"params": params}, tokens_BT[:, t : t + 1], here, cache=cache)
        np.testing.assert_allclose(step[:, 0], whole[:, t], rtol=2e-4, atol=2e-5)
