"""A small market and small models for generation, shared by the tests in this folder."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.config.sections import model_config
from lob_jax.configs import base
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.generation.loop import generate
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.settings import SamplingConfig
from lob_jax.models.transformer import initial_parameters
from lob_jax.tokens.bins import CompactBins
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer

INSTRUMENT = Instrument("SYN", "SIM", "2024-01-02", "America/New_York")
LEVELS = 3
MODEL = dataclasses.replace(
    model_config(base.get_config()),
    d_model=16,
    n_layers=1,
    n_heads=2,
    head_size=0,
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
    standardize_book=True,
    flow_state=False,
    queue_state=False,
    price_memory=False,
    latest_tokens=False,
    token_parts=False,
    digits_rank=0,
    gap_components=0,
    counts=0,
    pointer=False,
    dtype="float32",
)
START = BookSnapshot(
    time_ns=INSTRUMENT.midnight_ns() + 34_200 * NS_PER_SECOND,
    side=np.array([1, 1, -1, -1], np.int8),
    price=np.array([9_900, 9_800, 10_100, 10_300]),
    size=np.array([10**6, 10**6, 10**6, 10**6]),
    order_id=np.zeros(4, np.uint64),
    anonymous=np.zeros(4, bool),
    last_best=np.zeros(2, np.int64),
)
SAMPLING = SamplingConfig(paths=3, events=30, seed=5)
TOKENIZER = ExactTokenizer(5)
COMPACT = CompactTokenizer(
    CompactBins(
        price_edges=((-(2**30) + 1, -8, -2, 0, 1, 2, 3, 5, 9, 30, 2**30),) * 6,
        price_values=((-10, -3, -1, 0, 1, 2, 3, 6, 15, 40),) * 6,
        size_edges=((1, 2, 5, 10, 50, 100, 101, 500, 1_000, 10**6, 2**31 - 1),) * 6,
        size_values=((1, 3, 5, 10, 50, 100, 200, 500, 5_000, 10**6),) * 6,
        gap_edges=(0, 1, 10**5, 10**7, 10**9, 10**15),
        gap_values=tuple((0, 10**4 + kind, 10**6, 10**8, 1_500_000_001) for kind in range(7)),
    )
)
KINDS = {
    "learned": MODEL,
    "rotary": dataclasses.replace(MODEL, positions="rotary"),
    "prefix": dataclasses.replace(MODEL, positions="rotary", regime="prefix", n_regimes=4),
    "horizons": dataclasses.replace(
        MODEL,
        positions="rotary_time",
        d_model=32,
        attention=dataclasses.replace(MODEL.attention, kind="multi_scale", horizons=("4 events", "2 s")),
    ),
    "blocks": dataclasses.replace(
        MODEL, positions="rotary", attention=dataclasses.replace(MODEL.attention, kind="block_sparse", block=4)
    ),
}


def lively(model):
    """Return parameters that favour prices near the touch, small sizes and short gaps, so few levels change often."""
    params = initial_parameters(model, jax.random.key(0))
    bias = np.zeros(10_000, np.float32)
    bias[[1000, 1001, 1500, 1501, 2000, 2500, 3000, 3500, 4000, 4500]] = 9
    bias[8001:8010] = 9
    bias[9200:9800] = 5
    leaves, tree = jax.tree.flatten_with_path(params)
    chosen = [path for path, leaf in leaves if leaf.shape == (10_000,)]
    assert len(chosen) == 1, "the head has one bias over the vocabulary"
    return jax.tree.unflatten(tree, [jnp.asarray(bias) if path == chosen[0] else leaf for path, leaf in leaves])


def prompt(model=MODEL, start=START) -> Prompt:
    tokens = np.array([1000, 8005, 9100, 1500, 8005, 9100], np.int32)  # with compact tokens, any parameters will do
    features, zeros = np.zeros((6, 4 * LEVELS), np.float32), np.zeros(6, np.int32)
    known = {"time_of_day": zeros + 114, "day_of_week": zeros + 1, "book": features, "event": np.repeat([0, 1], 3)}
    if model.needs_clock:
        known["clock"] = np.tile([34_200, 0], (6, 1)).astype(np.int32)
    if model.regime != "none":
        known["regime"] = zeros + 2
    return Prompt(tokens, known, start, start.time_ns)


def run(params, *, model=MODEL, tokenizer=TOKENIZER, start=START, **changes):
    sampling = dataclasses.replace(SAMPLING, **changes)
    how = {"model": model, "tokenizer": tokenizer, "instrument": INSTRUMENT, "sampling": sampling}
    return generate(params, prompt(model, start), **how)


def decoded(tokens, tokenizer=TOKENIZER, start=START, own=None):
    return tokenizer.decode(tokens, MarketDay.opening(INSTRUMENT, start), own=own)


def assert_valid(generated, events=SAMPLING.events, tokenizer=TOKENIZER):
    """Assert that every path has `events` valid events, and that their replay ends with the device's book and clock."""
    rows = zip(generated.tokens, generated.own, generated.levels, generated.clock_ns, strict=True)
    for tokens, own, levels, clock in rows:
        tokenizer.grammar.check(tokens)
        found = decoded(tokens, tokenizer, own=own)
        validity = check_events(found, start=START.identified(), tick=INSTRUMENT.tick)
        assert (validity.events, validity.faults) == (events, {})
        assert validity.levels == levels
        assert int(found.time_ns[-1]) == clock


def spied(monkeypatch, module):
    """Return a list that fills with the window of the loop after each piece."""
    windows, extend = [], module.extend

    def spy(*arguments, **keywords):
        state = extend(*arguments, **keywords)
        windows.append(jax.tree.map(np.asarray, state.window))
        return state

    monkeypatch.setattr(module, "extend", spy)
    return windows
