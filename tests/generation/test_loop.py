"""Generation as a whole: grammar, paths, the host's reading of what the device wrote."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from lob_jax.book.features import book_features
from lob_jax.book.replay import replay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.config import model_config
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.generation import loop
from lob_jax.generation.loop import generate
from lob_jax.generation.state import LoopShape, LoopState, Prompt, SamplingConfig, Tables, Window
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.tokens import vocabulary as vocab
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.grammar import grammar_for

INSTRUMENT = Instrument("SYN", "SIM", "2024-01-02", "America/New_York")
LEVELS = 3
MODEL = dataclasses.replace(
    model_config(base.get_config()),
    d_model=16,
    n_layers=1,
    n_heads=2,
    d_ff=32,
    vocab_size=10_000,
    max_seq_length=48,
    dropout=0.0,
    tie_embeddings=True,
    norm="pre",
    positions="learned",
    time_of_day=True,
    time_buckets=288,
    day_of_week=True,
    book_state=True,
    book_features=4 * LEVELS,
    dtype="float32",
)
START = BookSnapshot(
    time_ns=INSTRUMENT.midnight_ns() + 34_200 * NS_PER_SECOND,
    side=np.array([1, 1, -1, -1], np.int8),
    price=np.array([9_900, 9_800, 10_100, 10_300]),
    size=np.array([10**6, 10**6, 10**6, 10**6]),
    order_id=np.zeros(4, np.uint64),
    last_best=np.zeros(2, np.int64),
)
SAMPLING = SamplingConfig(paths=3, events=30, temperature=1.0, top_k=0, seed=5)


@pytest.fixture(scope="module")
def params():
    """Parameters that favour events which can happen: adds and removals near the touch, small sizes, short gaps."""
    params = initial_parameters(MODEL, jax.random.key(0))
    bias = np.zeros(10_000, np.float32)
    bias[[1000, 1001, 1500, 1501, 2000, 2500, 4000, 4500]] = 9
    bias[8001:8010] = 9
    bias[9200:9800] = 5
    leaves, tree = jax.tree.flatten_with_path(params)
    chosen = [path for path, leaf in leaves if leaf.shape == (10_000,)]
    assert len(chosen) == 1, "the head has one bias over the vocabulary"
    return jax.tree.unflatten(tree, [jnp.asarray(bias) if path == chosen[0] else leaf for path, leaf in leaves])


def prompt() -> Prompt:
    tokens = np.array([1000, 8005, 9100, 1500, 8005, 9100], np.int32)
    features = np.zeros((6, 4 * LEVELS), np.float32)
    zeros = np.zeros(6, np.int32)
    beside = {"event": np.repeat([0, 1], 3)}
    return Prompt(tokens, zeros + 114, zeros + 1, features, beside, START, START.time_ns)


def run(params, *, digits=5, **changes):
    sampling = dataclasses.replace(SAMPLING, **changes)
    return generate(
        params, prompt(), model=MODEL, grammar=grammar_for(digits), instrument=INSTRUMENT, sampling=sampling
    )


@pytest.fixture(scope="module")
def generated(params):
    return run(params)


def test_every_path_is_whole_events_in_the_grammar(generated):
    for tokens in generated.tokens:
        grammar_for(5).check(tokens)
        assert np.count_nonzero(vocab.field_of(tokens) == vocab.FIELD_HEAD) == SAMPLING.events


def test_the_context_was_outgrown(generated):
    assert min(len(tokens) for tokens in generated.tokens) > MODEL.max_seq_length


@pytest.mark.slow
def test_seeds_and_batches(params, generated):
    again = run(params)
    alone = run(params, paths=1)
    other = run(params, seed=6)
    for first, second in zip(generated.tokens, again.tokens, strict=True):
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(generated.tokens[0], alone.tokens[0])
    assert not np.array_equal(generated.tokens[0], other.tokens[0])
    assert not np.array_equal(generated.tokens[0], generated.tokens[1])


def test_the_host_reads_the_same_impossible_events_and_clock(generated):
    tokenizer = ExactTokenizer(5)
    counts: dict[str, int] = {}
    for tokens, clock in zip(generated.tokens, generated.clock_ns, strict=True):
        events, found = tokenizer.decode_generated(tokens, instrument=INSTRUMENT, start=START)
        counts = {name: counts.get(name, 0) + n for name, n in found.items()}
        plain = tokenizer.decode_generated(tokens[:-1], instrument=INSTRUMENT, start=START)
        assert clock >= int(events.time_ns[-1]) >= START.time_ns
        assert len(events) + sum(found.values()) == SAMPLING.events
        assert len(plain[0]) <= len(events)
    device = generated.impossible
    assert device["absent_level"] == counts["absent_level"]
    assert device["over_removal"] == counts["over_removal"]
    assert device["crossing"] == counts["crossing_add"]
    assert sum(device.values()) > 0, "an untrained model tries impossible events: the test needs some"


def test_conditioning_inside_the_loop_is_that_of_training(params, monkeypatch):
    """The window that the loop fills equals the one rebuilt from the decoded events on the host."""
    windows = []
    extend = loop.extend

    def spy(*arguments, **keywords):
        state = extend(*arguments, **keywords)
        windows.append((jax.tree.map(np.asarray, state.window), int(state.cache.length)))
        return state

    monkeypatch.setattr(loop, "extend", spy)
    generated = run(params, paths=1)
    window, length = windows[0]
    tokens = window.tokens_BT[0, 6:length]
    event = vocab.event_index(tokens)
    whole = tokens[event < event[-1]]
    events, counts = ExactTokenizer(5).decode_generated(whole, instrument=INSTRUMENT, start=START)
    np.testing.assert_array_equal(whole, generated.tokens[0][: len(whole)])
    if sum(counts.values()):
        pytest.skip("an impossible event came first: rows and events no longer run in step")
    states = replay(events, start=START, corrections=Corrections.none(), levels=LEVELS)
    features = book_features(states.price, states.size, tick=INSTRUMENT.tick)
    row = event[: len(whole)] + (vocab.field_of(whole) >= vocab.FIELD_GAP)
    np.testing.assert_allclose(window.book_BTF[0, 6 : 6 + len(whole)], features[row], rtol=1e-5, atol=1e-6)
    seconds = (np.append(START.time_ns, events.time_ns) - INSTRUMENT.midnight_ns()) // NS_PER_SECOND
    expected = (seconds * MODEL.time_buckets // 86_400)[event[: len(whole)]]
    np.testing.assert_array_equal(window.time_of_day_BT[0, 6 : 6 + len(whole)], expected)
    assert (window.day_of_week_BT[0, :length] == 1).all()


@pytest.mark.slow
def test_cached_logits_are_those_of_one_forward(params):
    """Prefill and the loop's cache against the model without a cache, over the window that was generated."""
    sampling = dataclasses.replace(SAMPLING, paths=2, events=12)
    shape = LoopShape(MODEL, sampling.events, sampling.temperature, sampling.top_k, LEVELS, prompt_events=2)
    grammar = grammar_for(5)
    paths = loop._start_paths(prompt(), grammar, INSTRUMENT, sampling)
    context = loop._prompt_window(prompt(), 2, 24)
    logits_BV, cache = loop.prefill(params, context, shape=shape)
    start = LoopState(paths, loop._padded(context, MODEL.max_seq_length), cache, logits_BV)
    state = loop.extend(params, start, Tables.of(grammar), shape=shape)
    end = int(state.cache.length)
    window: Window = state.window.cut(0, end)
    whole = LOBTransformer(MODEL).apply({"params": params}, window.tokens_BT, window.conditioning())
    np.testing.assert_allclose(state.logits_BV, whole[:, -1], rtol=2e-5, atol=2e-5)


@pytest.mark.slow
def test_greedy_generation_does_not_depend_on_the_seed(params):
    first, second = run(params, temperature=0.0, events=5), run(params, temperature=0.0, events=5, seed=9)
    np.testing.assert_array_equal(first.tokens[0], second.tokens[0])
    np.testing.assert_array_equal(first.tokens[0], first.tokens[2])


def test_the_mass_that_the_grammar_took_is_reported(params, generated):
    """At a head only classes 0 to 6 are open, so an almost uniform model loses mass there."""
    assert ((generated.masked_mass > 0.05) & (generated.masked_mass < 1)).all()


def test_an_empty_prompt_is_refused(params):
    empty = dataclasses.replace(prompt(), tokens_T=np.zeros(0, np.int32))
    with pytest.raises(InputError, match="the prompt is empty"):
        generate(params, empty, model=MODEL, grammar=grammar_for(5), instrument=INSTRUMENT, sampling=SAMPLING)
