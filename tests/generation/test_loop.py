"""Generation as a whole: every path can have happened, and the device's book is the plain one at its end."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.book.features import book_features
from lob_jax.book.replay import replay
from lob_jax.book.snapshot import Corrections
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import Kind
from lob_jax.generation import context, loop
from lob_jax.generation.context import model_variables, opened, prompt_window, with_room
from lob_jax.generation.device.orders import no_orders
from lob_jax.generation.device.state import Given
from lob_jax.generation.likely import most_likely_events
from lob_jax.generation.loop import generate
from lob_jax.generation.paths import path_day
from lob_jax.generation.prompt import NO_REVEALS
from lob_jax.generation.settings import Order, Truncation
from lob_jax.generation.start import start_paths
from lob_jax.generation.stream import stream
from lob_jax.models.inputs import ARRAYS, Advance
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.tokens import vocabulary as vocab
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.registry import TOKENIZERS, tokenizer_class
from lob_jax.tokens.tokenizer import Ability
from tests.generation.market import (
    COMPACT,
    INSTRUMENT,
    KINDS,
    LEVELS,
    MODEL,
    SAMPLING,
    START,
    TOKENIZER,
    assert_valid,
    decoded,
    lively,
    prompt,
    run,
)
from tests.market_day import market_day


@pytest.fixture(scope="module")
def params():
    return lively(MODEL)


@pytest.fixture(scope="module")
def generated(params):
    return run(params)


def test_every_path_can_have_happened(generated):
    assert_valid(generated)
    kinds = np.concatenate([decoded(tokens).kind for tokens in generated.tokens])
    assert set(kinds) >= {1, 2, 3, 4}


@pytest.mark.slow
def test_removals_name_orders_by_rank(params):
    tokenizer = ExactTokenizer(5, "rank")
    found = run(params, tokenizer=tokenizer)
    assert_valid(found, tokenizer=tokenizer)
    ranks = np.concatenate([tokens[vocab.field_of(tokens) == vocab.FIELD_RANK] for tokens in found.tokens])
    assert len(ranks) > 5 and (ranks > vocab.RANK_BASE).any()


@pytest.mark.slow
def test_a_stream_of_events_with_ranks_is_that_of_the_whole_path(params, monkeypatch):
    monkeypatch.setattr(loop, "PIECE", 7)
    tokenizer = ExactTokenizer(5, "rank")
    how = {"model": MODEL, "tokenizer": tokenizer, "instrument": INSTRUMENT, "sampling": SAMPLING}
    parts = list(stream(params, prompt(), **how))
    for path, tokens in enumerate(run(params, tokenizer=tokenizer).tokens):
        whole = decoded(tokens, tokenizer)
        for name in ("kind", "side", "price", "size"):
            streamed = np.concatenate([getattr(part[path].events, name) for part in parts])
            np.testing.assert_array_equal(streamed, getattr(whole, name))
        assert (whole.order_id[np.isin(whole.kind, (Kind.CANCEL, Kind.DELETE, Kind.EXECUTE))] > 0).all()


@pytest.mark.slow
def test_ranks_pass_over_the_orders_of_the_user(params):
    tokenizer = ExactTokenizer(5, "rank")
    orders = tuple(Order(side=side, size=5, price=9_900 if side > 0 else 10_100, after_events=3) for side in (1, -1))
    found = run(params, tokenizer=tokenizer, events=60, inject=orders)
    how = {"start": START, "tokenizer": tokenizer, "instrument": INSTRUMENT}
    for tokens, own, levels in zip(found.tokens, found.own, found.levels, strict=True):
        day = path_day(tokens, Corrections.none(), own, **how)
        validity = check_events(day.events, start=day.start, tick=INSTRUMENT.tick)
        assert (validity.faults, validity.levels) == ({}, levels)


def test_the_context_was_outgrown(generated):
    assert min(len(tokens) for tokens in generated.tokens) > MODEL.max_seq_length


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_outgrows_its_context(kind):
    model = KINDS[kind]
    assert_valid(run(lively(model), model=model, events=60), events=60)


@pytest.mark.slow
def test_truncated_paths_can_have_happened(params):
    assert_valid(run(params, truncation=Truncation(top_k=50, top_p=0.9, min_p=0.05), temperature=1.5))


@pytest.mark.slow
def test_paths_of_an_untrained_model_can_have_happened():
    params = initial_parameters(MODEL, jax.random.key(1))
    assert_valid(run(params, tokenizer=ExactTokenizer(2), events=60), events=60, tokenizer=ExactTokenizer(2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["learned", "rotary"])
def test_compact_paths_can_have_happened(kind):
    model = KINDS[kind]
    for params in (initial_parameters(model, jax.random.key(2)), lively(model)):
        generated = run(params, model=model, tokenizer=COMPACT, events=120)
        assert_valid(generated, events=120, tokenizer=COMPACT)
        assert all(len(tokens) == 120 for tokens in generated.tokens)


def test_every_tokenizer_is_read_on_the_device_or_says_why_not():
    readable = {name for name in TOKENIZERS if Ability.GENERATION not in tokenizer_class(name).lacks}
    assert set(loop.WORDS) == readable


def test_tokens_that_the_device_cannot_read_are_not_generated(params, monkeypatch):
    monkeypatch.setattr(ExactTokenizer, "lacks", {Ability.GENERATION: "nobody can read them"})
    with pytest.raises(InputError, match="generation needs compact tokens: nobody can read them"):
        run(params)


def test_compact_tokens_cannot_say_an_order_of_ones_own(params):
    with pytest.raises(InputError, match="cannot express a given order"):
        run(params, tokenizer=COMPACT, inject=(Order(1, 5, after_events=0),))


@pytest.mark.slow
def test_seeds_and_batches(params, generated):
    again, alone, other = run(params), run(params, paths=1), run(params, seed=6)
    for first, second in zip(generated.tokens, again.tokens, strict=True):
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(generated.tokens[0], alone.tokens[0])
    assert not np.array_equal(generated.tokens[0], other.tokens[0])
    assert not np.array_equal(generated.tokens[0], generated.tokens[1])


@pytest.mark.slow
def test_conditioning_inside_the_loop_is_that_of_training(monkeypatch):
    """The window that the loop fills equals the one rebuilt from the decoded events on the host, array by array."""
    windows, extend, model = [], loop.extend, KINDS["horizons"]

    def spy(*arguments, **keywords):
        state = extend(*arguments, **keywords)
        windows.append((jax.tree.map(np.asarray, state.window), int(state.cache.length)))
        return state

    monkeypatch.setattr(loop, "extend", spy)
    generated = run(lively(model), model=model)
    window, length = windows[0]
    tokens = window.tokens_BT[0, 6:length]
    event = vocab.event_index(tokens)
    whole = tokens[event < event[-1]]
    np.testing.assert_array_equal(whole, generated.tokens[0][: len(whole)])
    events = decoded(whole)
    states = replay(market_day(events, start=START), levels=LEVELS)
    features = book_features(states.price, states.size, tick=INSTRUMENT.tick)
    row = event[: len(whole)] + (vocab.field_of(whole) >= vocab.FIELD_GAP)
    since_midnight = np.append(START.time_ns, events.time_ns) - INSTRUMENT.midnight_ns()
    bucket = since_midnight // NS_PER_SECOND * model.time_buckets // 86_400
    expected = {
        "book": features[row],
        "time_of_day": bucket[event[: len(whole)]],
        "clock": np.stack(np.divmod(since_midnight, NS_PER_SECOND), -1)[event[: len(whole)]],
        "event": 2 + event[: len(whole)],  # two events are the prompt's
        "day_of_week": np.ones(len(whole)),
    }
    assert set(window.known) == set(expected)
    advancing = {array.name for array in ARRAYS if array.advance not in (None, Advance.CONSTANT)}
    elsewhere = {"flow", "queue", "price_memory", "anchors", "latest"}  # test_flow.py, test_queue_and_anchors.py
    assert advancing - set(expected) == elsewhere
    for name, values in expected.items():
        found = window.known[name][0, 6 : 6 + len(whole)]
        np.testing.assert_allclose(found, values, rtol=1e-5 * (name == "book"), atol=1e-6, err_msg=name)
    assert (window.known["day_of_week"][0, :length] == 1).all()
    np.testing.assert_array_equal(window.known["event"][0, :6], [0, 0, 0, 1, 1, 1])


@pytest.mark.slow
def test_no_random_number_is_used_twice():
    """Neither within an event, nor from event to event, nor in two paths; those of a path do not hang on the others."""
    sampling = dataclasses.replace(SAMPLING, events=1_000)
    given = Given(loop.WORDS["exact"].tables(TOKENIZER), no_orders(), NO_REVEALS)
    shape = loop.loop_shape(MODEL, TOKENIZER, prompt(), INSTRUMENT, sampling)
    logits_BV = jnp.zeros((sampling.paths, 10_000)).at[:, 7000:8000].set(6)  # numbers of several tokens
    draw = jax.jit(lambda paths: loop.draw(paths, logits_BV, given, shape=shape)[0])
    paths, _ = start_paths([prompt()], TOKENIZER, INSTRUMENT, sampling)
    used = []
    for _ in range(24):
        used.append(np.asarray(loop.numbers_of(paths)))
        paths = draw(paths)
    used = np.stack(used)
    assert 2 < int(paths.spelling.events.max()) < 20
    assert len(np.unique(used)) == used.size


def test_antithetic_numbers_are_one_minus_the_others():
    plain, other = (
        start_paths([prompt()], TOKENIZER, INSTRUMENT, dataclasses.replace(SAMPLING, antithetic=antithetic))[0]
        for antithetic in (False, True)
    )
    np.testing.assert_allclose(loop.numbers_of(plain) + loop.numbers_of(other), 1, rtol=1e-6)


def test_a_full_context_keeps_its_newest_half(params, monkeypatch):
    contexts, opened_anew = [], context.opened

    def spy(params, paths, window, shape, **rest):
        contexts.append(np.asarray(window.tokens_BT))
        return opened_anew(params, paths, window, shape, **rest)

    monkeypatch.setattr(context, "opened", spy)
    generated = run(params)
    S = MODEL.max_seq_length
    written = [np.append(prompt().tokens_T, tokens) for tokens in generated.tokens]
    assert len(contexts) >= 2
    for number, kept in enumerate(contexts):
        end = S + number * S // 2
        for path, tokens in enumerate(written):
            if len(tokens) >= end:
                np.testing.assert_array_equal(kept[path], tokens[end - S // 2 : end])


def drawn_logits(params, model, *, tokens):
    """Return the logits behind the prompt and each drawn token by the cached loop [T, V], and its inputs in order."""
    tokenizer, sampling = TOKENIZER, dataclasses.replace(SAMPLING, paths=2, events=1_000)
    paths, _ = start_paths([prompt(model)], tokenizer, INSTRUMENT, sampling)
    shape = loop.loop_shape(model, tokenizer, prompt(model), INSTRUMENT, sampling)
    given = Given(loop.WORDS["exact"].tables(tokenizer), no_orders(), NO_REVEALS)
    window, _ = prompt_window([prompt(model)], 2, model.max_seq_length)
    state = opened(params, paths, window, shape)
    variables = model_variables(params, model, rows=2)
    logits, parts = [np.asarray(state.logits_BV)], [state.window.cut(0, 6)]  # the state is given away
    for _ in range(tokens):
        state = with_room(params, state, shape)
        at = int(state.cache.length) % state.writer_BT.shape[1]
        state = loop.extend(variables, state, given, state.cache.length + 1, shape=shape)
        logits.append(np.asarray(state.logits_BV))
        parts.append(state.window.cut(at, at + 1))
    return np.stack(logits), jax.tree.map(lambda *leaves: jnp.concatenate(leaves, 1), *parts)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rotary", "horizons", "blocks"])
def test_past_the_context_logits_are_those_of_one_forward_under_a_band(kind):
    """Each token sees itself and the last tokens of the context's length before it, over layers too."""
    model = dataclasses.replace(KINDS[kind], n_layers=2)
    params, S = lively(model), model.max_seq_length
    logits_TBV, window = drawn_logits(params, model, tokens=2 * S)
    T = window.tokens_BT.shape[1]
    ago_TS = np.arange(T)[:, None] - np.arange(T)
    band_BTS = jnp.broadcast_to((ago_TS >= 0) & (ago_TS < S), (2, T, T))
    positions_BT = jnp.broadcast_to(jnp.arange(T), (2, T))
    whole_BTV = LOBTransformer(model).apply(
        {"params": params}, window.tokens_BT, window.known, positions_BT=positions_BT, mask_BTS=band_BTS
    )
    for number in range(T - 5):
        np.testing.assert_allclose(logits_TBV[number], whole_BTV[:, 5 + number], rtol=2e-5, atol=5e-5)


@pytest.mark.slow
def test_within_a_context_logits_are_those_of_one_forward():
    """Learned positions: up to the context's end, and again in the context that begins with its newest half."""
    model = dataclasses.replace(MODEL, n_layers=2)
    params, S = lively(model), model.max_seq_length
    logits_TBV, window = drawn_logits(params, model, tokens=S)
    for first, last in [(0, S), (S // 2, S + 6)]:
        part = window.cut(first, last)
        whole_BTV = LOBTransformer(model).apply({"params": params}, part.tokens_BT, part.known)
        for at in range(S if first else 5, last - 1):
            np.testing.assert_allclose(logits_TBV[at - 5], whole_BTV[:, at - first], rtol=2e-5, atol=5e-5)


@pytest.mark.slow
def test_greedy_generation_does_not_depend_on_the_seed(params):
    first, second = (
        run(params, temperature=0.0, events=5, paths=1),
        run(params, temperature=0.0, events=5, paths=1, seed=9),
    )
    np.testing.assert_array_equal(first.tokens[0], second.tokens[0])
    how = {"events": 5, "model": MODEL, "tokenizer": TOKENIZER, "instrument": INSTRUMENT}
    likely, greedy = most_likely_events(params, prompt(), **how), decoded(first.tokens[0])
    for name in ("time_ns", "kind", "side", "price", "size"):
        np.testing.assert_array_equal(getattr(likely, name), getattr(greedy, name))


def test_the_mass_that_the_masks_took_is_reported(generated):
    """At a head only classes 0 to 6 are open, so an almost uniform model loses mass there."""
    for mass in (generated.grammar_mass, generated.book_mass):
        assert ((mass > 0.02) & (mass < 1)).all()


def test_an_empty_prompt_is_refused(params):
    empty = dataclasses.replace(prompt(), tokens_T=np.zeros(0, np.int32))
    with pytest.raises(InputError, match="the prompt is empty"):
        generate(params, empty, model=MODEL, tokenizer=TOKENIZER, instrument=INSTRUMENT, sampling=SAMPLING)


@pytest.mark.slow
def test_a_stream_gives_the_same_events_as_they_come(params, generated, monkeypatch):
    monkeypatch.setattr(loop, "PIECE", 7)
    how = {"model": MODEL, "tokenizer": TOKENIZER, "instrument": INSTRUMENT, "sampling": SAMPLING}
    parts = list(stream(params, prompt(), **how))
    assert len(parts) > 10
    for path, tokens in enumerate(generated.tokens):
        whole = decoded(tokens)
        for name in ("time_ns", "kind", "side", "price", "size"):
            streamed = np.concatenate([getattr(part[path].events, name) for part in parts])
            np.testing.assert_array_equal(streamed, getattr(whole, name))
