import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.models.embeddings import time_cycles
from lob_jax.models.transformer import LOBTransformer, empty_cache, initial_parameters

POSITIONS = ("learned", "sinusoidal", "rotary", "rotary_time")
FP32_TOLERANCE = 2e-5  # on logits of order one
OTHERS = tuple(name for name in POSITIONS if name != "rotary")  # left to the long checks where compiling takes long
BF16_TOLERANCE = 0.04  # root mean square error over root mean square logit


def forward(config, params, tokens_BT, conditioning, **options):
    return LOBTransformer(config).apply({"params": params}, tokens_BT, conditioning, **options)


# Compiling is most of these tests' time: little optimisation halves it.
QUICKLY = {"xla_backend_optimization_level": 0}
run = jax.jit(forward, static_argnames=("config", "deterministic"), compiler_options=QUICKLY)
init = jax.jit(initial_parameters, static_argnames="config", compiler_options=QUICKLY)


def part(conditioning, places):
    return jax.tree.map(lambda leaf: leaf[:, places], conditioning)


def relative_error(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return np.sqrt(np.square(found - expected).mean() / np.square(expected).mean())


@pytest.mark.parametrize("positions", ["rotary", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
@pytest.mark.parametrize(("norm", "cached"), [("pre", False), ("post", False), ("pre", True)])
def test_logits_depend_on_all_of_the_past_and_none_of_the_future(tiny, lively, inputs, positions, norm, cached):
    config = tiny(norm=norm, positions=positions, n_layers=1)
    params = lively(config)
    tokens_BT, conditioning = inputs(config, 1, 4)
    weight_V = np.random.default_rng(0).standard_normal(config.vocab_size).astype(np.float32)

    def score_T(book_BTF):
        beside = conditioning | {"book": book_BTF}
        if cached:
            logits_BTV, _ = forward(config, params, tokens_BT, beside, cache=empty_cache(config, 1, 6))
        else:
            logits_BTV = forward(config, params, tokens_BT, beside)
        return logits_BTV[0] @ weight_V

    jacobian = jax.jit(jax.jacrev(score_T), compiler_options=QUICKLY)(conditioning["book"])
    reach_TS = np.abs(jacobian).sum((1, 3))
    np.testing.assert_array_equal(reach_TS != 0, np.tril(np.ones((4, 4), bool)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_later_tokens_do_not_move_a_bit_of_earlier_logits(tiny, lively, inputs, dtype):
    config = tiny(dtype=dtype)
    params = lively(config)
    tokens_BT, conditioning = inputs(config, 2, 8)
    other_BT, beside = inputs(config, 2, 8, seed=2)
    changed_BT = tokens_BT.at[:, 5:].set(other_BT[:, 5:])
    changed = jax.tree.map(lambda old, new: old.at[:, 5:].set(new[:, 5:]), conditioning, beside)
    before, after = run(config, params, tokens_BT, conditioning), run(config, params, changed_BT, changed)
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (before[:, 5:] != after[:, 5:]).any(-1).all()


def cached_logits(config, params, tokens_BT, conditioning, chunks, cache):
    logits, start = [], 0
    for chunk in chunks:
        places = slice(start, start + chunk)
        chunk_BTV, cache = run(config, params, tokens_BT[:, places], part(conditioning, places), cache=cache)
        logits.append(chunk_BTV)
        start += chunk
    assert int(cache.length) == start
    return np.concatenate(logits, axis=1)


@pytest.mark.parametrize("positions", ["rotary", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
@pytest.mark.parametrize("chunks", [(5, 1, 1, 1), (1,) * 8, (1, 5, 1, 1)])
def test_cached_logits_are_the_uncached_ones(tiny, lively, inputs, positions, chunks):
    config = tiny(positions=positions)
    params = lively(config)
    tokens_BT, conditioning = inputs(config, 2, 8)
    expected_BTV = run(config, params, tokens_BT, conditioning)
    found_BTV = cached_logits(config, params, tokens_BT, conditioning, chunks, empty_cache(config, 2, 11))
    np.testing.assert_allclose(found_BTV, expected_BTV, atol=FP32_TOLERANCE)


@pytest.mark.slow
def test_cached_logits_in_bf16(tiny, lively, inputs):
    config = tiny(positions="rotary", dtype="bfloat16")
    params = lively(config)
    tokens_BT, conditioning = inputs(config, 2, 8)
    expected_BTV = run(config, params, tokens_BT, conditioning)
    found_BTV = cached_logits(config, params, tokens_BT, conditioning, (5, 1, 1, 1), empty_cache(config, 2, 8))
    assert relative_error(found_BTV, expected_BTV) < BF16_TOLERANCE


def test_what_lies_in_unfilled_slots_is_not_seen(tiny, lively, inputs):
    config = tiny()
    params = lively(config)
    tokens_BT, conditioning = inputs(config, 1, 4)
    empty = empty_cache(config, 1, 7)
    keys, values = ([slots + sign * 100 for slots in empty.keys] for sign in (1, -1))
    dirty = empty.replace(keys=tuple(keys), values=tuple(values))
    clean_BTV, _ = run(config, params, tokens_BT, conditioning, cache=empty)
    dirty_BTV, _ = run(config, params, tokens_BT, conditioning, cache=dirty)
    np.testing.assert_array_equal(clean_BTV, dirty_BTV)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("positions", "cached"),
    [*(pytest.param(name, False, marks=pytest.mark.slow) for name in ("learned", "rotary")), ("rotary", True)],
)
def test_side_branches_have_the_logits_of_plain_sequences(tiny, lively, inputs, positions, cached):
    # Slots 0-3 are a prefix, 4-5 one continuation, 6-7 another, 8-9 a third.
    config = tiny(positions=positions)
    params = lively(config)
    tokens_BT, conditioning = inputs(config, 1, 10)
    branches = [[4, 5], [6, 7], [8, 9]]
    mask_TS = np.zeros((10, 10), bool)
    mask_TS[:, :4] = True
    for branch in branches:
        mask_TS[np.ix_(branch, branch)] = True
    mask_BTS = jnp.asarray(mask_TS)[None]
    positions_BT = jnp.asarray([[0, 1, 2, 3, 4, 5, 4, 5, 4, 5]])
    if cached:
        prefix = slice(0, 4)
        _, cache = run(
            config, params, tokens_BT[:, prefix], part(conditioning, prefix), cache=empty_cache(config, 1, 10)
        )
        rest = slice(4, 10)
        options = {"positions_BT": positions_BT[:, rest], "mask_BTS": mask_BTS[:, rest], "cache": cache}
        found_TV = run(config, params, tokens_BT[:, rest], part(conditioning, rest), **options)[0][0]
        found_TV = np.concatenate([np.zeros((4, config.vocab_size)), found_TV])
    else:
        options = {"positions_BT": positions_BT, "mask_BTS": mask_BTS}
        found_TV = run(config, params, tokens_BT, conditioning, **options)[0]
    for branch in branches:
        places = np.asarray([0, 1, 2, 3, *branch])
        plain_TV = run(config, params, tokens_BT[:, places], part(conditioning, places))[0, 4:]
        np.testing.assert_allclose(found_TV[np.asarray(branch)], plain_TV, atol=FP32_TOLERANCE)


def test_dropout_does_not_know_how_a_batch_is_split(tiny, lively, inputs):
    config = tiny(dropout=0.3, n_layers=1)
    params = lively(config)
    tokens_BT, conditioning = inputs(config, 4, 6)
    example_B = jnp.asarray([7, 1, 30, 4])

    def train(rows, seed=0):
        beside = jax.tree.map(lambda leaf: leaf[rows], conditioning)
        rngs = {"dropout": jax.random.key(seed)}
        options = {"example_B": example_B[rows], "deterministic": False, "rngs": rngs}
        return np.asarray(run(config, params, tokens_BT[rows], beside, **options))

    whole = train(slice(0, 4))
    np.testing.assert_array_equal(whole, train(slice(0, 4)))
    split = np.concatenate([train(slice(0, 2)), train(slice(2, 4))])
    np.testing.assert_allclose(whole, split, atol=FP32_TOLERANCE)
    assert np.abs(whole - train(slice(0, 4), seed=1)).max() > 0.1


@pytest.mark.parametrize(("cross_asset", "a_block"), [(False, 3), (True, 4)])
def test_no_two_places_share_a_dropout_mask(tiny, lively, inputs, monkeypatch, cross_asset, a_block):
    config = tiny(dropout=0.5, attention={"cross_asset": cross_asset})
    params = lively(config)
    sites = []

    def recorded(x_BTD, keys_B, *, site, rate):
        sites.append(site)
        return x_BTD

    monkeypatch.setattr("lob_jax.models.embeddings.dropout", recorded)
    monkeypatch.setattr("lob_jax.models.layers.dropout", recorded)
    monkeypatch.setattr("lob_jax.models.transformer.dropout", recorded)
    jax.eval_shape(lambda: forward(config, params, *inputs(config, 2, 2)))
    assert sorted(sites) == list(range(1 + a_block * config.n_layers))


@pytest.mark.slow
@pytest.mark.parametrize(("tied", "norm"), [(True, "pre"), (False, "post")])
def test_the_first_loss_is_that_of_a_uniform_guess(tiny, inputs, tied, norm):
    # At the width of the large model, where logits start widest.
    wide = {"d_model": 1024, "n_layers": 1, "n_heads": 16, "d_ff": 64, "vocab_size": 1000, "book_state": False}
    config = tiny(**wide, tie_embeddings=tied, norm=norm)
    params = init(config, jax.random.key(0))
    tokens_BT, conditioning = inputs(config, 4, 16)
    targets_BT, _ = inputs(config, 4, 16, seed=9)
    log_probability_BTV = jax.nn.log_softmax(run(config, params, tokens_BT, conditioning))
    loss = -jnp.take_along_axis(log_probability_BTV, targets_BT[..., None], axis=-1).mean()
    assert float(loss) == pytest.approx(math.log(1000), rel=0.02)


@pytest.mark.parametrize("positions", POSITIONS)
def test_nothing_out_of_range_gives_nan(tiny, lively, inputs, positions):
    config = tiny(positions=positions)
    params = lively(config)
    tokens_BT, conditioning = inputs(config, 1, 4)
    wild_BT = jnp.asarray([[-1, config.vocab_size, 2**31 - 1, -(2**31)]])
    wild = conditioning | {"time_of_day": wild_BT, "day_of_week": wild_BT}
    positions_BT = jnp.asarray([[0, 99, 10**6, -5]])
    logits_BTV = run(config, params, wild_BT, wild, positions_BT=positions_BT)
    assert np.isfinite(logits_BTV).all()
    tame = conditioning | {
        "time_of_day": jnp.clip(wild_BT, 0, config.time_buckets - 1),
        "day_of_week": jnp.clip(wild_BT, 0, 6),
    }
    tame_BT = jnp.clip(wild_BT, 0, config.vocab_size - 1)
    np.testing.assert_array_equal(logits_BTV, run(config, params, tame_BT, tame, positions_BT=positions_BT))


@pytest.mark.parametrize("norm", ("pre", "post"))
def test_bf16_is_close_to_fp32(tiny, lively, inputs, norm):
    config = tiny(norm=norm)
    params = lively(config)
    tokens_BT, conditioning = inputs(config, 2, 8)
    wide = run(config, params, tokens_BT, conditioning)
    narrow = run(tiny(norm=norm, dtype="bfloat16"), params, tokens_BT, conditioning)
    assert narrow.dtype == jnp.float32
    error = relative_error(narrow, wide)
    assert 0 < error < BF16_TOLERANCE


@pytest.mark.parametrize("norm", ("pre", "post"))
def test_shapes_and_dtypes(tiny, inputs, norm):
    config = tiny(norm=norm, dtype="bfloat16")
    params = jax.eval_shape(lambda: initial_parameters(config, jax.random.key(0)))
    tokens_BT, conditioning = inputs(config, 3, 5)
    cache = empty_cache(config, 3, 9)
    logits_BTV, cache = jax.eval_shape(
        lambda params: forward(config, params, tokens_BT, conditioning, cache=cache), params
    )
    assert logits_BTV.shape == (3, 5, config.vocab_size)
    assert logits_BTV.dtype == jnp.float32
    assert {slots.shape for slots in (*cache.keys, *cache.values)} == {(6, 9, 8)} and len(cache.keys) == 2
    assert cache.keys[0].dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert ("norm" in params) == (norm == "pre")
    assert set(params) - {"norm"} == {"embeddings", "blocks_0", "blocks_1", "head"}


def numpy_norm(x, params):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * params["scale"] + params["bias"]


def numpy_forward(config, params, tokens_BT, conditioning):
    """A model of one layer in NumPy alone, float64, written from the equations."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    embeddings, block, head = params["embeddings"], params["blocks_0"], params["head"]
    batch, T = tokens_BT.shape
    x = embeddings["token"]["table"][tokens_BT]
    x = x + embeddings["time_of_day"]["table"][np.asarray(conditioning["time_of_day"])]
    x = x + embeddings["day_of_week"]["table"][np.asarray(conditioning["day_of_week"])]
    book = (np.asarray(conditioning["book"]) - embeddings["book_mean"]) / embeddings["book_deviation"]
    x = x + book @ embeddings["book"]["kernel"] + embeddings["book"]["bias"]
    if config.positions == "learned":
        x = x + embeddings["position"]["table"][:T]
    if config.regime == "added":
        x = x + embeddings["regime"]["table"][np.asarray(conditioning["regime"])]
    if config.n_instruments:
        x = x + embeddings["instrument"]["table"][np.asarray(conditioning["instrument"])]
    x = numpy_norm(x, embeddings["norm"])

    def turned(heads_BTNH):
        if not config.positions.startswith("rotary"):
            return heads_BTNH
        parts = np.split(heads_BTNH, 2 if config.positions == "rotary_time" else 1, axis=-1)
        half = parts[0].shape[-1] // 2
        angles = [np.arange(T)[:, None, None] / 10_000 ** (np.arange(half) / half)]
        if config.positions == "rotary_time":
            turns, seconds = (np.array(numbers) for numbers in time_cycles(half))
            clock = np.asarray(conditioning["clock"], np.int64)
            time_s = (clock[..., 0] + clock[..., 1] / 1e9)[..., None, None]
            angles.append(2 * np.pi * time_s * turns / seconds)
        planes = [
            (part[..., :half] + 1j * part[..., half:]) * np.exp(1j * angle)
            for part, angle in zip(parts, angles, strict=True)
        ]
        return np.concatenate([x for plane in planes for x in (plane.real, plane.imag)], axis=-1)

    def attention(y):
        kernel, bias = block["attention"]["qkv"]["kernel"], block["attention"]["qkv"]["bias"]
        query, key, value = (np.einsum("BTD,DNH->BTNH", y, kernel[:, i]) + bias[i] for i in range(3))
        if config.attention.qk_norm:
            query, key = (
                numpy_norm(x, block["attention"][name]) for x, name in ((query, "query_norm"), (key, "key_norm"))
            )
        scores = np.einsum("BTNH,BSNH->BNTS", turned(query), turned(key)) / math.sqrt(config.head_width)
        scores = np.where(np.tril(np.ones((T, T), bool)), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed = np.einsum("BNTS,BSNH->BTNH", weights, value)
        output = block["attention"]["output"]
        return np.einsum("BTNH,NHD->BTD", mixed, output["kernel"]) + output["bias"]

    def ffn(y):
        hidden = y @ block["ffn"]["widen"]["kernel"] + block["ffn"]["widen"]["bias"]
        if config.activation == "swiglu":
            gate = y @ block["ffn"]["gate"]["kernel"] + block["ffn"]["gate"]["bias"]
            hidden = hidden * gate / (1 + np.exp(-gate))
        else:
            hidden = hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))) / 2
        return hidden @ block["ffn"]["narrow"]["kernel"] + block["ffn"]["narrow"]["bias"]

    if config.norm == "pre":
        x = x + attention(numpy_norm(x, block["norm1"]))
        x = x + ffn(numpy_norm(x, block["norm2"]))
        x = numpy_norm(x, params["norm"])
    else:
        x = numpy_norm(x + attention(x), block["norm1"])
        x = numpy_norm(x + ffn(x), block["norm2"])
    x = numpy_norm(x @ head["dense"]["kernel"] + head["dense"]["bias"], head["norm"])
    table = embeddings["token"]["table"] if config.tie_embeddings else head["output"]
    return x @ table.T + head["bias"]


@pytest.mark.parametrize(
    ("norm", "positions", "tied"),
    [("pre", "learned", True), ("post", "rotary", False), ("pre", "rotary", True), ("post", "learned", False)],
)
def test_against_the_same_model_in_numpy(tiny, lively, inputs, norm, positions, tied):
    check_against_numpy(tiny(n_layers=1, norm=norm, positions=positions, tie_embeddings=tied), lively, inputs)


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": "rotary_time", "activation": "swiglu"},
        pytest.param({"regime": "added", "n_regimes": 6, "n_instruments": 3}, marks=pytest.mark.slow),
        pytest.param({"attention": {"qk_norm": True}, "positions": "rotary"}, marks=pytest.mark.slow),
    ],
)
def test_options_against_the_same_model_in_numpy(tiny, lively, inputs, changes):
    check_against_numpy(tiny(n_layers=1, **changes), lively, inputs)


def check_against_numpy(config, lively, inputs):
    params = lively(config)
    tokens_BT, conditioning = inputs(config, 2, 7)
    expected_BTV = numpy_forward(config, params, np.asarray(tokens_BT), conditioning)
    np.testing.assert_allclose(
        run(config, params, tokens_BT, conditioning), expected_BTV, atol=FP32_TOLERANCE, rtol=1e-4
    )


def test_profiles_can_tell_the_blocks_apart(tiny, lively, inputs):
    config = tiny()
    params = lively(config)
    text = run.lower(config, params, *inputs(config, 1, 2)).as_text(debug_info=True)
    for scope in ("blocks_0/attention/norm1", "blocks_1/ffn/norm2", "head/"):
        assert scope in text


def test_a_sequence_longer_than_the_model_is_refused(tiny, lively, inputs):
    config = tiny()
    params = lively(config)
    with pytest.raises(InputError, match="at most 16 tokens"):
        run(config, params, *inputs(config, 1, 17))
    with pytest.raises(InputError, match="at most 16 tokens"):
        empty_cache(config, 1, 17)


@pytest.mark.parametrize(("batch", "slots"), [(2, 8), (1, 3)])
def test_a_cache_that_does_not_fit_is_refused(tiny, lively, inputs, batch, slots):
    config = tiny()
    params = lively(config)
    with pytest.raises(InputError, match="do not fit the cache"):
        run(config, params, *inputs(config, 1, 4), cache=empty_cache(config, batch, slots))


def test_a_mask_of_the_wrong_shape_is_refused(tiny, lively, inputs):
    config = tiny()
    params = lively(config)
    with pytest.raises(InputError, match="mask"):
        run(config, params, *inputs(config, 1, 4), mask_BTS=jnp.ones((1, 4, 5), bool))


def test_dropout_without_example_numbers_is_refused(tiny, lively, inputs):
    config = tiny(dropout=0.1)
    params = lively(config)
    with pytest.raises(InputError, match="example_B"):
        run(config, params, *inputs(config, 1, 4), deterministic=False, rngs={"dropout": jax.random.key(0)})
