"""What every kind of attention promises, whichever it is: a new module of `kinds/` is tested by being there."""

import dataclasses
import functools
import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.config.sections import model_config
from lob_jax.config.validation import validate
from lob_jax.errors import InputError
from lob_jax.models.accounting import keys_a_query
from lob_jax.models.attention.dense import causal_mask
from lob_jax.models.attention.kind import KINDS, is_mask, pattern
from lob_jax.models.config import SETTINGS, AttentionConfig
from lob_jax.models.transformer import LOBTransformer, empty_cache
from lob_jax.training.run.identity import model_identity

SMALL = {
    "block": 4,
    "local_blocks": 2,
    "global_blocks": 1,
    "random_features": 16,
    "summaries": 3,
    "horizons": ("2 events", "1 s"),
}
OTHER = {
    "block": 3,
    "local_blocks": 1,
    "global_blocks": 0,
    "random_features": 8,
    "summaries": 2,
    "horizons": ("1 event", "all"),
}
MASKS = [kind for kind in KINDS if is_mask(kind)]
LONG = [pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "multi_scale"]


@pytest.fixture
def model_of(tiny):
    """Return a function: a tiny model with a kind of attention."""
    return lambda kind, **changes: tiny(attention={**SMALL, "kind": kind}, **{"n_heads": 4, **changes})


@pytest.fixture
def mixture(model_of, qkv):
    """Return a function: a kind's module, its variables, and inputs of T tokens."""

    def of(kind, T, **how):
        arrays = qkv(T, **how)
        config = model_of(kind, max_seq_length=32, d_model=arrays[0].shape[2] * arrays[0].shape[3])
        module = KINDS[kind].module(config)
        return module, module.init(jax.random.key(0), *arrays), arrays

    return of


def test_the_kinds_that_there_are():
    assert tuple(KINDS)[:5] == ("full", "multi_scale", "block_sparse", "performer", "linformer")
    assert {"full", "multi_scale", "block_sparse"} <= set(MASKS) and not {"performer", "linformer"} & set(MASKS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_may_name_it_and_says_what_it_reads(kind):
    config = importlib.import_module("lob_jax.configs.tiny").get_config()
    config.model.attention.kind = kind
    validate(config)
    model = model_config(config)
    fields = json.loads(json.dumps(model.to_dict()))
    attention = {**fields["attention"], "horizons": tuple(fields["attention"]["horizons"])}
    assert AttentionConfig(**attention) == model.attention
    assert set(KINDS[kind].settings) <= set(SETTINGS) == set(OTHER), "a setting that models/config.py does not check"
    identifying = {key.removeprefix("attention.") for key in model_identity(model) if key.startswith("attention.")}
    assert identifying & {*SETTINGS} == {*KINDS[kind].settings}
    assert KINDS[kind].sees and not KINDS[kind].sees.endswith(".")
    for name in KINDS[kind].settings:
        wrong = ("nothing",) if name == "horizons" else -1
        with pytest.raises(InputError, match=name):
            dataclasses.replace(model.attention, **{name: wrong})


@pytest.mark.parametrize("kind", KINDS)
def test_it_multiplies_a_query_with_keys_of_the_context(model_of, kind):
    assert 0 < keys_a_query(model_of(kind, max_seq_length=1024), 1024) <= 1024


@pytest.mark.parametrize("kind", KINDS)
def test_a_setting_that_it_does_not_name_changes_nothing(mixture, kind):
    module, variables, arrays = mixture(kind, 13)
    before = module.apply(variables, *arrays)
    for name, value in OTHER.items():
        if name not in KINDS[kind].settings:
            attention = dataclasses.replace(module.config.attention, **{name: value})
            other = KINDS[kind].module(dataclasses.replace(module.config, attention=attention))
            np.testing.assert_array_equal(other.apply(variables, *arrays), before, err_msg=name)


@pytest.mark.parametrize("kind", MASKS)
def test_a_pattern_is_that_of_its_weights(mixture, kind):
    module, variables, (query, key, value, positions) = mixture(kind, 29)
    weight_BNTS = module.apply(variables, query, key, value, positions, method="weights")
    seen_BNTS = pattern(module.config, positions, positions)
    visible_BNTS = causal_mask(29) if seen_BNTS is None else causal_mask(29) & seen_BNTS
    np.testing.assert_array_equal(weight_BNTS > 0, jnp.broadcast_to(visible_BNTS, weight_BNTS.shape))


@pytest.mark.parametrize("kind", KINDS)
def test_models_that_see_both_ways_are_of_kinds_that_say_so(model_of, kind):
    if KINDS[kind].both_ways:
        assert not model_of(kind, causal=False).causal
    else:
        with pytest.raises(InputError, match="kinds that see both ways: full"):
            model_of(kind, causal=False)


@pytest.mark.parametrize("T", [13, pytest.param(3, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mixture_is_the_weights_times_the_values(mixture, kind, T):
    module, variables, (query, key, value, positions) = mixture(kind, T)
    mixed_BTNH = module.apply(variables, query, key, value, positions)
    weight_BNTS = module.apply(variables, query, key, value, positions, method="weights")
    assert mixed_BTNH.shape == value.shape
    assert weight_BNTS.dtype == jnp.float32
    np.testing.assert_allclose(jnp.einsum("BNTS,BSNH->BTNH", weight_BNTS, value), mixed_BTNH, atol=2e-5)
    np.testing.assert_array_equal(np.triu(weight_BNTS, 1), 0)
    if kind != "linformer":
        np.testing.assert_allclose(weight_BNTS.sum(-1), 1, atol=1e-4)
        assert (weight_BNTS >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_later_token_moves_a_bit(mixture, kind):
    module, variables, (query, key, value, positions) = mixture(kind, 13)
    before = module.apply(variables, query, key, value, positions)
    for cut in (1, 4, 6, 12):
        later = (x.at[:, cut:].add(5.0) for x in (query, key, value))
        np.testing.assert_array_equal(module.apply(variables, *later, positions)[:, :cut], before[:, :cut])


@pytest.mark.parametrize("kind", KINDS)
def test_mixtures_in_bf16_are_close(mixture, kind):
    module, variables, (*arrays, positions) = mixture(kind, 13)
    wide = module.apply(variables, *arrays, positions)
    narrow = module.apply(variables, *(x.astype(jnp.bfloat16) for x in arrays), positions)
    assert narrow.dtype == jnp.bfloat16
    error = jnp.sqrt(jnp.mean(jnp.square(narrow.astype(jnp.float32) - wide)) / jnp.mean(jnp.square(wide)))
    assert float(error) < 0.03


@pytest.mark.parametrize("scan_layers", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["multi_scale", *LONG])
def test_logits_depend_on_the_past_alone(model_of, lively, inputs, kind, scan_layers):
    config = model_of(kind, scan_layers=scan_layers)
    T = 9
    params, (tokens_BT, conditioning) = lively(config), inputs(config, 1, T)
    weight_V = np.random.default_rng(0).standard_normal(config.vocab_size).astype(np.float32)

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    @jax.jacrev
    def reach(book_BTF):
        beside = conditioning | {"book": book_BTF}
        return LOBTransformer(config).apply({"params": params}, tokens_BT, beside)[0] @ weight_V

    reach_TS = np.abs(reach(conditioning["book"])).sum((1, 3))
    assert (np.triu(reach_TS, 1) == 0).all()
    assert (np.diag(reach_TS) > 0).all()
    if kind in ("full", "performer", "linformer"):
        assert (reach_TS[np.tril_indices(T)] > 0).all()


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow) for kind in MASKS if kind != "full"])
def test_cached_logits_of_kinds_that_are_masks(model_of, lively, inputs, kind):
    config = model_of(kind, positions="rotary")
    params, (tokens_BT, conditioning) = lively(config), inputs(config, 2, 12)
    whole_BTV = LOBTransformer(config).apply({"params": params}, tokens_BT, conditioning)
    cache, pieces = empty_cache(config, 2, 14), []
    for first, last in ((0, 5), (5, 6), (6, 12)):
        piece = jax.tree.map(lambda leaf, at=slice(first, last): leaf[:, at], (tokens_BT, conditioning))
        logits_BTV, cache = LOBTransformer(config).apply({"params": params}, *piece, cache=cache)
        pieces.append(logits_BTV)
    np.testing.assert_allclose(jnp.concatenate(pieces, 1), whole_BTV, atol=5e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in MASKS])
def test_kinds_that_are_no_masks_refuse_a_cache(model_of, lively, inputs, kind):
    config = model_of(kind)
    with pytest.raises(InputError, match="neither a cache nor a mask"):
        LOBTransformer(config).apply({"params": lively(config)}, *inputs(config, 1, 2), cache=empty_cache(config, 1, 4))
