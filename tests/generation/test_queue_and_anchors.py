"""Queue, price memory, anchors and latest tokens that the device shows are those of the host along the decoded path."""

import dataclasses
import functools

import numpy as np
import pytest

from lob_jax.book.anchors import ANCHORS, SIDE_ANCHORS, AnchorColumn
from lob_jax.book.price_memory import PRICE_MEMORIES
from lob_jax.book.queue import QUEUE_NUMBERS, QueueColumn
from lob_jax.generation import loop, speculative
from lob_jax.generation.loop import generate
from lob_jax.generation.settings import Order, SamplingConfig
from lob_jax.generation.speculative import generate_speculatively
from lob_jax.models.inputs import fields_read
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.latest import LATEST_TOKENS, latest_along
from tests.generation.along import assert_read, decoded, drawn
from tests.generation.market import INSTRUMENT, MODEL, TOKENIZER, lively, prompt, spied
from tests.generation.test_windowed_paths import BEHIND, REVEALS, SHOWN

QUEUE = dataclasses.replace(MODEL, queue_state=True, price_memory=True, max_seq_length=256)
POINTER = dataclasses.replace(QUEUE, pointer=True, latest_tokens=True)
WIDTHS = {"queue": QUEUE_NUMBERS, "price_memory": PRICE_MEMORIES, "anchors": ANCHORS, "latest": LATEST_TOKENS}
TOKENS = 240


def prompted(model=QUEUE, start=SHOWN, **changes):
    """Return a prompt on a book that shows two levels a side."""
    one = prompt(model, start)
    beside = {name: np.zeros((len(one.tokens_T), width), np.int16) for name, width in WIDTHS.items()}
    beside["latest"] = latest_along(one.tokens_T)[1:]
    known = {**one.known_T, **{name: beside[name] for name in fields_read(model) if name in beside}}
    return dataclasses.replace(one, behind=BEHIND, reveals=REVEALS, known_T=known, **changes)


def expected_along(tokenizer, tokens, day):
    """Return what is known after each token of a decoded path, by name."""
    _, book_row = tokenizer.known_rows(tokens)
    before = prompt(QUEUE, SHOWN).tokens_T
    return {
        "queue": tokenizer.queues(tokens, day),
        "price_memory": tokenizer.price_memory(tokens, day),
        "anchors": tokenizer.anchors(tokens, day)[book_row],
        "latest": latest_along(np.concatenate([before, tokens]))[len(before) + 1 :],
    }


@pytest.mark.parametrize("tokenizer", [TOKENIZER, ExactTokenizer(5, references="rank")], ids=["newest", "rank"])
def test_the_device_shows_what_is_known_along_the_decoded_path(tokenizer):
    """Also at levels that come into view, and with orders of the user."""
    inject = tuple(Order(-1, 9, after_events=4 * k) for k in range(1, 4)) if tokenizer is TOKENIZER else ()
    sampling = SamplingConfig(paths=3, events=40, seed=3, inject=inject)
    found, known = drawn(POINTER, tokenizer, [prompted(POINTER)], sampling, names=tuple(WIDTHS), tokens=TOKENS)
    seen = []
    for path, (row, origin) in enumerate(found):
        tokens, day = decoded(row, origin, tokenizer)
        assert len(day.events) >= 30
        expected = expected_along(tokenizer, tokens, day)
        for name, values in expected.items():
            np.testing.assert_array_equal(known[name][path, : len(tokens)], values, err_msg=name)
        seen.append(expected)
    occurs = {name: (np.concatenate([one[name] for one in seen]) > 0).any(0) for name in WIDTHS}
    assert occurs["queue"][[column for column in QueueColumn if column != QueueColumn.BACK_3]].all()
    assert occurs["latest"].all() and occurs["price_memory"].all()
    assert occurs["anchors"].reshape(2, SIDE_ANCHORS).any(0)[[*AnchorColumn, AnchorColumn.LEVEL + 1]].all()


@pytest.mark.slow
def test_a_model_reads_what_is_known_of_its_path(monkeypatch):
    windows = spied(monkeypatch, loop)
    sampling = SamplingConfig(paths=2, events=30, seed=1)
    how = {"model": POINTER, "tokenizer": TOKENIZER, "instrument": INSTRUMENT, "sampling": sampling}
    generated = generate(lively(POINTER), prompted(POINTER), **how)
    for path in range(2):
        assert_read(windows[-1], generated, path, functools.partial(expected_along, TOKENIZER), rtol=0)


@pytest.mark.slow
def test_a_speculative_path_reads_what_is_known_of_what_it_accepts(monkeypatch):
    model = dataclasses.replace(QUEUE, latest_tokens=True, heads=dataclasses.replace(QUEUE.heads, next_tokens=3))
    windows, sampling = spied(monkeypatch, speculative), SamplingConfig(paths=1, events=30, seed=1)
    how = {"model": model, "tokenizer": TOKENIZER, "instrument": INSTRUMENT, "sampling": sampling}
    generated, counts = generate_speculatively(lively(model), prompted(model), **how)
    assert counts.accepted > 0

    def expected(tokens, day):
        known = expected_along(TOKENIZER, tokens, day)
        return {name: known[name] for name in ("queue", "price_memory", "latest")}

    assert_read(windows[-1], generated, 0, expected, rtol=0)
