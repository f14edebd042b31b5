import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.book.flow import FLOW_FEATURES
from lob_jax.book.price_memory import PRICE_MEMORIES
from lob_jax.book.queue import QUEUE_NUMBERS
from lob_jax.errors import InputError
from lob_jax.models.embeddings import (
    MOMENTS,
    Embeddings,
    Table,
    rotate,
    rotate_by_time,
    sinusoidal,
    time_cycles,
    time_phase,
    with_moments,
)
from lob_jax.models.transformer import LOBTransformer
from lob_jax.tokens.latest import LATEST_TOKENS
from lob_jax.tokens.vocabulary import SIZE, VOCAB_SIZE


def test_sinusoids_follow_vaswani_entry_by_entry():
    positions_BT = jnp.asarray([[0, 1, 2, 500], [7, 3, 1023, 9]])
    encoding_BTD = np.asarray(sinusoidal(positions_BT, 8))
    for (b, t), position in np.ndenumerate(np.asarray(positions_BT)):
        for i in range(4):
            angle = position / 10_000 ** (2 * i / 8)
            assert encoding_BTD[b, t, 2 * i] == pytest.approx(math.sin(angle), abs=2e-4)
            assert encoding_BTD[b, t, 2 * i + 1] == pytest.approx(math.cos(angle), abs=2e-4)


def test_rotation_by_hand():
    # H = 2 has one frequency, 1: position p turns the plane by p radians.
    turned = rotate(jnp.asarray([[[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]]]), jnp.asarray([[0, 2, 2]]))
    expected = [[1, 0], [math.cos(2), math.sin(2)], [-math.sin(2), math.cos(2)]]
    np.testing.assert_allclose(turned[0, :, 0], expected, atol=1e-6)


def test_rotary_scores_depend_on_the_shift_alone():
    query_BTNH, key_BTNH = jax.random.normal(jax.random.key(0), (2, 1, 6, 2, 8))
    positions_BT = jnp.arange(6)[None]

    def scores(shift):
        query, key = rotate(query_BTNH, positions_BT + shift), rotate(key_BTNH, positions_BT + shift)
        return jnp.einsum("BTNH,BSNH->BNTS", query, key)

    np.testing.assert_allclose(scores(0), scores(17), atol=1e-4)
    moved = jnp.einsum("BTNH,BSNH->BNTS", rotate(query_BTNH, positions_BT + 1), rotate(key_BTNH, positions_BT))
    assert not np.allclose(scores(0), moved, atol=1e-2)


def test_rotation_keeps_lengths():
    x_BTNH = jax.random.normal(jax.random.key(1), (1, 5, 1, 4))
    turned = rotate(x_BTNH, jnp.arange(5)[None] * 100)
    np.testing.assert_allclose(jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(x_BTNH, axis=-1), rtol=1e-5)


def test_an_index_outside_a_table_reads_its_nearest_row():
    table = {"params": {"table": jnp.arange(8.0).reshape(4, 2)}}
    rows = Table(4, 2, "float32").apply(table, jnp.asarray([[-9, 0, 3, 4, 2**30]]))
    np.testing.assert_array_equal(rows[0], [[0, 1], [0, 1], [6, 7], [6, 7], [6, 7]])


@functools.partial(jax.jit, static_argnames="config", compiler_options={"xla_backend_optimization_level": 0})
def embed(config, tokens_BT, conditioning, positions_BT=None):
    if positions_BT is None:
        positions_BT = jnp.broadcast_to(jnp.arange(tokens_BT.shape[1]), tokens_BT.shape)
    module = Embeddings(config)
    variables = module.init(jax.random.key(0), tokens_BT, positions_BT, conditioning, None)
    return variables["params"], module.apply(variables, tokens_BT, positions_BT, conditioning, None)


def test_the_sum_is_normalised_and_holds_every_part(tiny, inputs):
    config = tiny()
    tokens_BT, conditioning = inputs(config, 1, 4)
    params, x_BTD = embed(config, tokens_BT, conditioning)
    total_TD = (
        params["token"]["table"][tokens_BT[0]]
        + params["position"]["table"][:4]
        + params["time_of_day"]["table"][conditioning["time_of_day"][0]]
        + params["day_of_week"]["table"][conditioning["day_of_week"][0]]
        + conditioning["book"][0] @ params["book"]["kernel"]
    )
    total_TD = np.asarray(total_TD, np.float64)
    centred_TD = total_TD - total_TD.mean(-1, keepdims=True)
    expected_TD = centred_TD / np.sqrt((centred_TD**2).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(x_BTD[0], expected_TD, atol=1e-4)


def test_book_features_are_standardised_by_constants(tiny, inputs):
    config = tiny()
    tokens_BT, conditioning = inputs(config, 1, 4)
    params, x_BTD = embed(config, tokens_BT, conditioning)
    moments_2F = np.array([[4.0, -1.0, 2.0], [0.5, 2.0, 3.0]], np.float32)
    measured = with_moments(params, "book", moments_2F)
    raw = {**conditioning, "book": conditioning["book"] * moments_2F[1] + moments_2F[0]}

    def run(params):
        return Embeddings(config).apply({"params": params}, tokens_BT, jnp.arange(4)[None], raw, None)

    np.testing.assert_allclose(run(measured), x_BTD, atol=1e-5)
    weight_BTD = jnp.asarray(np.random.default_rng(0).normal(size=x_BTD.shape), jnp.float32)
    slopes = jax.grad(lambda params: (run(params) * weight_BTD).sum())(measured)
    assert not any(slopes[name].any() for name in MOMENTS["book"]) and slopes["book"]["kernel"].all()
    assert set(embed(tiny(standardize_book=False), tokens_BT, conditioning)[0]) == set(params) - set(MOMENTS["book"])


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_positions_are_embedded_unless_rotary(tiny, inputs, positions):
    config = tiny(positions=positions)
    tokens_BT, conditioning = inputs(config, 1, 4)
    params, near = embed(config, tokens_BT, conditioning)
    _, far = embed(config, tokens_BT, conditioning, jnp.arange(4, 8)[None])
    assert ("position" in params) == (positions == "learned")
    assert np.allclose(near, far) == (positions == "rotary")


def test_sinusoids_start_no_louder_than_tokens(tiny, inputs):
    # Were they added at full height, tokens would be 3 % of the signal and changing one would hardly be seen.
    config = tiny(positions="sinusoidal", time_of_day=False, day_of_week=False, book_state=False, d_model=256)
    tokens_BT, conditioning = inputs(config, 1, 8)
    _, x_BTD = embed(config, tokens_BT, conditioning)
    _, other_BTD = embed(config, (tokens_BT + 1) % config.vocab_size, conditioning)
    assert np.square(x_BTD - other_BTD).mean() > 0.5


def test_the_flow_is_read_by_a_model_that_asks_for_it_and_standardised(tiny, inputs):
    config = tiny(flow_state=True, book_state=False)
    tokens_BT, conditioning = inputs(config, 1, 4)
    random = np.random.default_rng(3)
    numbers_BTM = random.normal(size=(1, 4, FLOW_FEATURES)).astype(np.float32)
    moments_2M = random.uniform(0.5, 2, (2, FLOW_FEATURES)).astype(np.float32)
    flow_BTM = jnp.asarray(numbers_BTM * moments_2M[1] + moments_2M[0])
    params, x_BTD = embed(config, tokens_BT, conditioning | {"flow": numbers_BTM})
    assert params["flow"]["kernel"].shape == (FLOW_FEATURES, config.d_model) and "book" not in params
    measured = with_moments(params, "flow", moments_2M)
    weight_BTD = jnp.asarray(random.normal(size=x_BTD.shape), jnp.float32)

    def run(params, flow_BTM):
        beside = conditioning | {"flow": flow_BTM}
        return Embeddings(config).apply({"params": params}, tokens_BT, jnp.arange(4)[None], beside, None)

    np.testing.assert_allclose(run(measured, flow_BTM), x_BTD, atol=1e-5)
    slopes, felt_BTM = jax.grad(lambda *given: (run(*given) * weight_BTD).sum(), argnums=(0, 1))(measured, flow_BTM)
    assert not any(slopes[name].any() for name in MOMENTS["flow"])
    assert slopes["flow"]["kernel"].all() and felt_BTM.all()
    assert set(embed(tiny(book_state=False), tokens_BT, conditioning)[0]) == set(params) - {"flow", *MOMENTS["flow"]}


@pytest.mark.parametrize(
    ("name", "option", "count", "first", "most"),
    [
        ("queue", "queue_state", QUEUE_NUMBERS, SIZE, 1_000),  # by the size tokens that numbers begin with
        ("price_memory", "price_memory", PRICE_MEMORIES, SIZE, 1_000),
        ("latest", "latest_tokens", LATEST_TOKENS, 0, VOCAB_SIZE),
    ],
)
def test_tokens_beside_a_token_have_the_embeddings_of_tokens(tiny, inputs, name, option, count, first, most):
    plain = {"book_state": False, "time_of_day": False, "day_of_week": False, "vocab_size": VOCAB_SIZE}
    config = tiny(**plain, **{option: True})
    tokens_BT, _ = inputs(config, 1, 4)
    code_BTN = np.random.default_rng(3).integers(0, most, (1, 4, count)).astype(np.int16)
    params, x_BTD = embed(config, tokens_BT, {name: code_BTN})
    assert params[name].shape == (count, config.d_model)
    table_VD = params["token"]["table"]
    total_TD = table_VD[tokens_BT[0]] + params["position"]["table"][:4]
    added_TD = sum(table_VD[first + code_BTN[0, :, n].astype(int)] * params[name][n] for n in range(count))
    total_TD = np.asarray(total_TD + added_TD, np.float64)
    centred_TD = total_TD - total_TD.mean(-1, keepdims=True)
    expected_TD = centred_TD / np.sqrt((centred_TD**2).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(x_BTD[0], expected_TD, atol=1e-4)
    assert 0.3 < added_TD.std() / table_VD.std() < 3  # as loud as a token


def test_a_share_far_from_training_counts_as_four_deviations(tiny, inputs):
    config = tiny(flow_state=True, book_state=False)
    tokens_BT, conditioning = inputs(config, 1, 4)

    def read(scale):
        flow_BTM = np.full((1, 4, FLOW_FEATURES), scale, np.float32)
        return embed(config, tokens_BT, conditioning | {"flow": flow_BTM})[1]

    np.testing.assert_array_equal(read(4.0), read(40.0))
    np.testing.assert_array_equal(read(-4.0), read(-5.0))
    assert np.abs(read(4.0) - read(3.9)).max() > 1e-4


@pytest.mark.parametrize("name", ["time_of_day", "day_of_week", "book"])
def test_missing_conditioning_is_named(tiny, inputs, name):
    config = tiny()
    tokens_BT, conditioning = inputs(config, 1, 2)
    with pytest.raises(InputError, match=name):
        embed(config, tokens_BT, {other: array for other, array in conditioning.items() if other != name})


def test_a_model_without_conditioning_needs_none(tiny, inputs):
    config = tiny(time_of_day=False, day_of_week=False, book_state=False)
    tokens_BT, _ = inputs(config, 1, 2)
    params, _ = embed(config, tokens_BT, {})
    assert set(params) == {"token", "position", "norm"}


def clock(*times_ns):
    """Return times of the day as seconds and nanoseconds, int32 [1, T, 2]."""
    return jnp.asarray([np.stack(np.divmod(np.array(times_ns, np.int64), 10**9), axis=-1)], jnp.int32)


def test_pairs_turn_ever_slower_in_whole_turns_or_whole_seconds():
    assert time_cycles(1) == ([1], [1])
    for pairs in (4, 32):
        turns, seconds = time_cycles(pairs)
        assert (turns[0], seconds[-1]) == (10_000, 3_600)
        assert all(turn == 1 or second == 1 for turn, second in zip(turns, seconds, strict=True))
        rates = np.array(turns) / np.array(seconds)
        assert (np.diff(rates) <= 0).all()


@pytest.mark.parametrize("time_ns", [0, 123_456_789, 86_399_999_999_999, 34_200_000_000_001])
def test_phases_are_exact_at_any_time_of_day(time_ns):
    turns, seconds = (np.array(numbers, np.int64) for numbers in time_cycles(16))
    period_ns = seconds * 10**9
    exact = 2 * np.pi * (time_ns * turns % period_ns) / period_ns
    turned = np.asarray(time_phase(clock(time_ns), 16)[0, 0], np.float64) - exact
    np.testing.assert_allclose(np.sin(turned), 0, atol=3e-6)
    np.testing.assert_allclose(np.cos(turned), 1, atol=1e-9)


@pytest.mark.parametrize("later_ns", [3_600 * 10**9, 123_456_789])
def test_a_score_depends_on_elapsed_time_alone(later_ns):
    random = np.random.default_rng(0)
    query, key = (jnp.asarray(random.standard_normal((1, 2, 3, 16)), jnp.float32) for _ in range(2))
    times, same_BT = np.array([40_000_999_999_990, 40_003_000_000_007]), jnp.zeros((1, 2), jnp.int32)

    def score(times):
        turned = (rotate_by_time(x, same_BT, clock(*times)) for x in (query, key))
        return jnp.einsum("BTNH,BSNH->BNTS", *turned)

    np.testing.assert_allclose(score(times), score(times + later_ns), atol=2e-5)
    assert jnp.abs(score(times) - score(times + np.array([0, later_ns]))).max() > 0.1


def test_at_one_time_position_alone_counts():
    x_BTNH = jnp.asarray(np.random.default_rng(0).standard_normal((1, 2, 1, 16)), jnp.float32)
    positions_BT = jnp.array([[0, 5]])
    turned = rotate_by_time(x_BTNH, positions_BT, clock(0, 0))
    np.testing.assert_allclose(turned[..., :8], rotate(x_BTNH[..., :8], positions_BT), atol=1e-6)
    np.testing.assert_allclose(turned[..., 8:], x_BTNH[..., 8:], atol=1e-6)


def test_a_missing_clock_is_told(tiny, inputs):
    config = tiny(positions="rotary_time")
    tokens_BT, conditioning = inputs(config, 1, 2)
    del conditioning["clock"]
    with pytest.raises(InputError, match="clock"):
        jax.eval_shape(LOBTransformer(config).init, jax.random.key(0), tokens_BT, conditioning)


@pytest.mark.parametrize("changes", [{"causal": False}, {"vocab_size": 40}], ids=["both", "vocabulary"])
def test_a_model_that_cannot_read_the_latest_tokens_is_refused(tiny, changes):
    with pytest.raises(InputError, match=r"model\.latest_tokens"):
        tiny(**{"vocab_size": VOCAB_SIZE, "latest_tokens": True, **changes})
