"""Paths on the host are those of the device, token by token: what may be drawn, what is, and what a model reads."""

import dataclasses

import numpy as np
import pytest

from lob_jax.book.anchors import ANCHORS
from lob_jax.book.flow import FLOW_FEATURES
from lob_jax.book.price_memory import PRICE_MEMORIES
from lob_jax.book.queue import QUEUE_NUMBERS
from lob_jax.book.replay import snapshots_at
from lob_jax.data.windows.known import Beside
from lob_jax.feeds.load import load_incremental_data
from lob_jax.generation.host import start as start_on_host
from lob_jax.generation.settings import EVERYTHING, SamplingConfig, Truncation
from lob_jax.runs.prompt import prompt_from_day
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.latest import latest_along
from tests.generation.device.walk import INSTRUMENT as TICKS
from tests.generation.device.walk import drawn_book, snapshot
from tests.generation.host.along import assert_same, bias_of, on_device, on_host
from tests.generation.market import COMPACT, MODEL, START, TOKENIZER, prompt
from tests.generation.test_flow import state_of
from tests.generation.test_windowed_paths import BEHIND, REVEALS, SHOWN

RANKED = ExactTokenizer(5, references="rank")
ENDLESS = SamplingConfig(paths=3, events=10**6, seed=3)


def read(start, tokenizer=TOKENIZER, **changes):
    """Return a prompt with everything that a model can read, on a book that shows two levels a side or all."""
    one = prompt(MODEL, start)
    known = {**one.known_T, "latest": latest_along(one.tokens_T)[1:]}
    known |= {"flow": np.zeros((6, FLOW_FEATURES), np.float32), "clock": np.tile([34_200, 0], (6, 1)).astype(np.int32)}
    if tokenizer is not COMPACT:  # of whose events no model reads more
        known |= {"anchors": np.zeros((6, ANCHORS), np.int16), "queue": np.zeros((6, QUEUE_NUMBERS), np.int16)}
        known["price_memory"] = np.zeros((6, PRICE_MEMORIES), np.int16)
    return dataclasses.replace(one, known_T=known, flow=state_of(), reveals=REVEALS, **changes)


def both(tokenizer, prompts, sampling=ENDLESS, model=MODEL, **how):
    device = on_device(model, tokenizer, prompts, sampling, **how)
    host = on_host(model, tokenizer, prompts, sampling, **how)
    assert_same(device, host)
    return host


@pytest.mark.slow
def test_along_exact_tokens_of_a_windowed_book():
    bias_V = bias_of(MODEL, TOKENIZER)
    bias_V[v.CONTINUATION : v.SIZE] = 4  # further digits, also of gaps that are rounded
    host = both(TOKENIZER, [read(SHOWN, behind=BEHIND)], tokens=300, bias_V=bias_V)
    kinds = host.token[host.token < v.CONTINUATION] // v.CLASS_SIZE
    assert set(kinds.tolist()) >= {1, 2, 3, 4, 5}
    assert all(values.any() for values in host.known.values())
    assert np.count_nonzero(host.token // v.CLASS_SIZE == v.CONTINUATION // v.CLASS_SIZE) > 50


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tokenizer", "start"), [(RANKED, SHOWN), (ExactTokenizer(None), START)], ids=["ranks in a window", "every ns"]
)
def test_along_exact_tokens(tokenizer, start):
    host = both(tokenizer, [read(start)], tokens=600)
    ranks_TB = (host.token >= v.RANK_BASE) & (host.token < v.RANK_END)
    assert ranks_TB.any() == (tokenizer is RANKED)


@pytest.mark.slow
def test_along_compact_tokens_of_a_windowed_book():
    both(COMPACT, [read(SHOWN, COMPACT, behind=BEHIND)], tokens=200)


@pytest.mark.slow
@pytest.mark.parametrize("references", ["newest", "rank"])
def test_behind_a_simulated_day(references, monkeypatch):
    """Its book has hundreds of orders, and is enlarged; two prompts of it, the second with numbers of its own."""
    monkeypatch.setattr(start_on_host, "FEWEST_FREE", 3)
    day, tokenizer = load_incremental_data(events=600, seed=2), ExactTokenizer(5, references=references)
    beside = Beside(
        ("time_of_day", "day_of_week", "book", "flow", "queue", "price_memory", "anchors", "latest"),
        tokenizer=tokenizer,
    )
    how = {"tokenizer": tokenizer, "book_levels": 4, "time_buckets": 288, "beside": beside}
    (start,) = snapshots_at(day, np.array([0]))
    prompts = [prompt_from_day(day.part(0, last, start=start), events=20, **how) for last in (400, 600)]
    prompts[1] = dataclasses.replace(prompts[1], number=1)
    host = both(tokenizer, prompts, tokens=300, instrument=day.instrument)
    assert all(values.any() for values in host.known.values())


BOOKS = [*((ExactTokenizer(2), seed) for seed in range(4)), *((ExactTokenizer(2, "rank"), seed) for seed in (4, 5))]


@pytest.mark.slow
@pytest.mark.parametrize(("tokenizer", "seed"), [*BOOKS, (COMPACT, 2), (COMPACT, 5)])
def test_on_random_books(tokenizer, seed):
    """Pooled or not, with a window or without, signed or not, in halts, with small largest sizes, truncated."""
    random = np.random.default_rng(seed)
    signed, pooled = bool(seed % 2), seed % 3 == 2
    start = snapshot(drawn_book(random, pooled=pooled, sides=random.random(2) < 0.9, signed=signed))
    largest = random.choice([5, 300, 10**6, 2**31 - 2], 8).astype(np.int32)
    one = dataclasses.replace(prompt(MODEL, start), closed=seed % 3, reveals=REVEALS, largest=largest)
    bias_V = random.normal(size=v.VOCAB_SIZE).astype(np.float32) * 2
    bias_V += bias_of(MODEL, tokenizer) * (seed % 2 == 0)
    truncation = Truncation(top_k=20, top_p=0.9, min_p=0.01) if seed % 3 == 2 else EVERYTHING
    changes = {"antithetic": signed, "truncation": truncation, "temperature": 1.0 if seed % 2 else 0.7, "seed": seed}
    model = dataclasses.replace(MODEL, mask="book" if seed % 5 == 4 else "none")
    how = {"instrument": dataclasses.replace(TICKS, signed=signed), "bias_V": bias_V, "tokens": 250}
    both(tokenizer, [one], dataclasses.replace(ENDLESS, **changes), model, **how)


@pytest.mark.slow
def test_where_queues_and_sides_are_full():
    """No order joins a queue for which the device has no room, and no level opens on a side that is full."""
    bias_V = np.zeros(v.VOCAB_SIZE, np.float32)
    bias_V[1_000:2_000] = 9  # nothing but ADDs, anywhere
    bias_V[[1_000, 1_500]] = 14
    host = both(TOKENIZER, [prompt()], tokens=1_500, bias_V=bias_V)
    heads_TB = (host.token >= v.CLASS_SIZE) & (host.token < 2 * v.CLASS_SIZE)
    assert heads_TB.sum(0).min() > 300
