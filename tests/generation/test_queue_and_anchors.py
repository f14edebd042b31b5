"""The queue and the anchors that the device shows are those of the host along the decoded path, after every token."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.book.anchors import ANCHORS, SIDE_ANCHORS, AnchorColumn
from lob_jax.book.queue import QUEUE_NUMBERS, QueueColumn
from lob_jax.generation import loop, speculative
from lob_jax.generation.device.known import known_at
from lob_jax.generation.device.orders import Order, order_table
from lob_jax.generation.loop import generate
from lob_jax.generation.paths import Row, corrections_of, path_day, rows_of
from lob_jax.generation.speculative import generate_speculatively
from lob_jax.generation.start import start_paths
from lob_jax.models.inputs import fields_read
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from tests.generation.market import INSTRUMENT, MODEL, TOKENIZER, lively, prompt, spied
from tests.generation.test_windowed_paths import BEHIND, REVEALS, SHOWN

QUEUE = dataclasses.replace(MODEL, queue_state=True, max_seq_length=256)
POINTER = dataclasses.replace(QUEUE, pointer=True)
WIDTHS = {"queue": QUEUE_NUMBERS, "anchors": ANCHORS}
TOKENS = 240


def prompted(model=QUEUE, start=SHOWN, **changes):
    """Return a prompt on a book that shows two levels a side."""
    one = prompt(model, start)
    blank = {name: np.zeros((len(one.tokens_T), width), np.int16) for name, width in WIDTHS.items()}
    known = {**one.known_T, **{name: blank[name] for name in fields_read(model) if name in blank}}
    return dataclasses.replace(one, behind=BEHIND, reveals=REVEALS, known_T=known, **changes)


def expected_along(tokenizer, tokens, day):
    """Return what is known after each token of a decoded path, by name."""
    _, book_row = tokenizer.known_rows(tokens)
    return {"queue": tokenizer.queues(tokens, day), "anchors": tokenizer.anchors(tokens, day)[book_row]}


def drawn(tokenizer, one, sampling):
    """Draw tokens without a network; return the rows of each path, and what a model would have read, by name."""
    paths, origins = start_paths([one], tokenizer, INSTRUMENT, sampling)
    orders = order_table(sampling.inject, instrument=INSTRUMENT, origin=origins[0], events=sampling.events)
    shape = loop.loop_shape(POINTER, tokenizer, one, INSTRUMENT, sampling)
    given = loop.given_of(one, tokenizer, sampling, orders)
    logits_BV = jnp.tile(lively(POINTER)["head"]["bias"], (len(origins), 1))

    def step(paths, _):
        paths, token_B = loop.draw(paths, logits_BV, given, shape=shape)
        row = Row(token_B, paths.own.writer, paths.book.filled, paths.book.revealed)
        return paths, (row, {name: known[:, 0] for name, known in known_at(paths, WIDTHS, shape).items()})

    _, found = jax.jit(lambda paths: jax.lax.scan(step, paths, length=TOKENS))(paths)
    rows, known = jax.tree.map(lambda leaf: np.swapaxes(np.asarray(leaf), 0, 1), found)
    return rows_of(rows), known, origins


@pytest.mark.parametrize("tokenizer", [TOKENIZER, ExactTokenizer(5, references="rank")], ids=["newest", "rank"])
def test_the_device_shows_what_is_known_along_the_decoded_path(tokenizer):
    """Also at levels that come into view, and with orders of the user."""
    inject = tuple(Order(-1, 9, after_events=4 * k) for k in range(1, 4)) if tokenizer is TOKENIZER else ()
    sampling = loop.SamplingConfig(paths=3, events=40, seed=3, inject=inject)
    rows, known, origins = drawn(tokenizer, prompted(POINTER), sampling)
    seen = []
    for path, (row, origin) in enumerate(zip(rows, origins, strict=True)):
        whole = np.flatnonzero(v.field_of(row.tokens) == v.FIELD_HEAD)[-1]
        tokens = row.tokens[:whole]
        shown = jax.tree.map(lambda leaf, end=whole: leaf[:end], row.revealed)
        corrections = corrections_of(tokens, shown, origin=origin, tick=INSTRUMENT.tick)
        day = path_day(tokens, corrections, row.own[:whole], start=SHOWN, tokenizer=tokenizer, instrument=INSTRUMENT)
        assert len(day.events) >= 30
        expected = expected_along(tokenizer, tokens, day)
        for name, values in expected.items():
            np.testing.assert_array_equal(known[name][path, :whole], values, err_msg=name)
        seen.append(expected)
    occurs = {name: (np.concatenate([one[name] for one in seen]) > 0).any(0) for name in WIDTHS}
    assert occurs["queue"][[column for column in QueueColumn if column != QueueColumn.BACK_3]].all()
    assert occurs["anchors"].reshape(2, SIDE_ANCHORS).any(0)[[*AnchorColumn, AnchorColumn.LEVEL + 1]].all()


def assert_read(window, generated, path):
    """The model has read what is known of the decoded path at each of its tokens."""
    tokens = generated.tokens[path]
    how = {"start": SHOWN, "tokenizer": TOKENIZER, "instrument": INSTRUMENT}
    day = path_day(tokens, generated.corrections[path], generated.own[path], **how)
    np.testing.assert_array_equal(window.tokens_BT[path, 6 : 6 + len(tokens)], tokens)
    for name, expected in expected_along(TOKENIZER, tokens, day).items():
        if name in window.known:
            found = window.known[name][path, 6 : 6 + len(tokens)]
            np.testing.assert_array_equal(found, expected, err_msg=name)
            assert found.any()


@pytest.mark.slow
def test_a_model_reads_what_is_known_of_its_path(monkeypatch):
    windows = spied(monkeypatch, loop)
    sampling = loop.SamplingConfig(paths=2, events=30, seed=1)
    how = {"model": POINTER, "tokenizer": TOKENIZER, "instrument": INSTRUMENT, "sampling": sampling}
    generated = generate(lively(POINTER), prompted(POINTER), **how)
    for path in range(2):
        assert set(windows[-1].known) >= set(WIDTHS)
        assert_read(windows[-1], generated, path)


@pytest.mark.slow
def test_a_speculative_path_reads_the_queues_of_what_it_accepts(monkeypatch):
    model = dataclasses.replace(QUEUE, heads=dataclasses.replace(QUEUE.heads, next_tokens=3))
    windows, sampling = spied(monkeypatch, speculative), loop.SamplingConfig(paths=1, events=30, seed=1)
    how = {"model": model, "tokenizer": TOKENIZER, "instrument": INSTRUMENT, "sampling": sampling}
    generated, counts = generate_speculatively(lively(model), prompted(model), **how)
    assert counts.accepted > 0
    assert_read(windows[-1], generated, 0)
