"""Rows that advance by themselves: each has its own numbers, to the last bit, whatever is read with it."""

import functools

import numpy as np
import pytest

from lob_jax.export import cache as caches
from lob_jax.export.config import PRECISIONS
from lob_jax.export.decoder import OnnxDecoder, OnnxNetwork
from lob_jax.export.graphs import step_graph
from lob_jax.export.quantize import quantized
from tests.export.bundled_models import inputs_of, lively, places, small

# As wide as products must be for runtimes to choose between their kernels.
MODEL = small("modern", d_model=64, d_ff=96, max_seq_length=40, n_layers=2)


@functools.cache
def graph():
    return step_graph(lively(MODEL), MODEL)


@functools.cache
def network(precision="float32"):
    return OnnxNetwork(quantized(graph(), precision).SerializeToString(), MODEL, threads=2)


def rows_of(inputs, rows, at):
    return {name: array[list(rows), at] for name, array in inputs.items()}


def begun(precision, inputs, row, length):
    """Return the cache of one row that has read so many tokens."""
    cache = network(precision).new_cache(1)
    network(precision).read(cache, rows_of(inputs, [row], slice(length)))
    return cache


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("more", [False, True])
def test_a_row_is_the_same_in_any_batch_and_in_any_place(precision, more, monkeypatch):
    inputs = inputs_of(MODEL, 6, 30)
    lengths = [20, 7, 1, 12, 15, 3]

    def logits(order):
        pool, found = network(precision).new_cache(len(order) + (len(order) == 1)), []
        for place, row in enumerate(order):
            pool.copy_row(place, begun(precision, inputs, row, lengths[row]), 0)
        for step in range(4):
            tokens = {
                name: np.stack([array[row, lengths[row] + step] for row in order])[:, None]
                for name, array in inputs.items()
            }
            found.append(network(precision).read(pool, tokens))
        return dict(zip(order, np.stack(found, axis=1), strict=True))

    together = logits([0, 1, 2, 3, 4, 5])
    if more:
        monkeypatch.setattr(caches, "MORE_SLOTS", 200)  # the number of slots changes nothing, either
    for order in ([0], [2], [5, 2], [3, 0, 1], [5, 4, 3, 2, 1, 0]):
        for row, found in logits(order).items():
            np.testing.assert_array_equal(found, together[row])


@pytest.mark.parametrize("pieces", [(33, 31, 16), (10, 33, 4, 33), (80 - 33, 33)])
def test_blocks_go_on_where_the_window_is_full(pieces):
    """The tokens of a block are more than the window lets them all see."""
    inputs, single, blocks = inputs_of(MODEL, 1, 80), network().new_cache(1), network().new_cache(1)
    ends = np.cumsum(pieces).tolist()
    for at in range(80):
        by_one = network().read(single, places(inputs, slice(at, at + 1)))
        if at + 1 in ends:
            begin = at + 1 - pieces[ends.index(at + 1)]
            for first in range(begin, at + 1, 33):
                found = network().read(blocks, places(inputs, slice(first, min(first + 33, at + 1))))
            np.testing.assert_allclose(found, by_one, atol=1e-4)


def test_tokens_are_taken_back_as_if_never_read():
    inputs, other = inputs_of(MODEL, 1, 90), inputs_of(MODEL, 1, 40, seed=9)
    tried, plain = network().new_cache(1), network().new_cache(1)
    for first in range(0, 80, 16):
        block = places(inputs, slice(first, first + 16))
        network().read(tried, places(other, slice(33)))
        tried.take_back(0, 33)
        np.testing.assert_array_equal(network().read(tried, block), network().read(plain, block))


def test_a_decoder_reads_as_the_network_does_and_one_sequence_as_several():
    inputs = inputs_of(MODEL, 1, 38)
    graph_bytes = graph().SerializeToString()
    decoder, cache = OnnxDecoder(graph_bytes, MODEL, threads=2), network().new_cache(1)
    decoder.reset(1)
    alone = decoder.extend(places(inputs, slice(37)))
    network().read(cache, places(inputs, slice(32)))
    np.testing.assert_array_equal(alone, network().read(cache, places(inputs, slice(32, 37))))
    next_alone = decoder.extend(places(inputs, slice(37, 38)))
    decoder.reset(3)
    np.testing.assert_array_equal(decoder.extend(rows_of(inputs, [0] * 3, slice(37)))[2:], alone)
    np.testing.assert_array_equal(decoder.extend(rows_of(inputs, [0] * 3, slice(37, 38)))[2:], next_alone)


def test_slots_grow_with_the_longest_row_and_a_row_is_copied_into_more(monkeypatch):
    monkeypatch.setattr(caches, "MORE_SLOTS", 16)
    inputs = inputs_of(MODEL, 1, 66)
    short, long = network().new_cache(1), network().new_cache(1)
    network().read(short, places(inputs, slice(10)))
    assert short.slots == 16
    network().read(long, places(inputs, slice(33)))
    assert long.slots == 48
    network().read(long, places(inputs, slice(33, 66)))
    assert long.slots == MODEL.max_seq_length + caches.ON_TRIAL
    wide = network().new_cache(2)
    network().read(wide, rows_of(inputs, [0, 0], slice(1)))
    wide.copy_row(1, long, 0)
    wide.copy_row(0, short, 0)
    assert wide.slots == long.slots and wide.length.tolist() == [10, 66]
    step = places(inputs, slice(20, 21))
    found = network().read(wide, rows_of(step, [0, 0], slice(0, 1)))
    np.testing.assert_array_equal(found[:1], network().read(short, step))
    np.testing.assert_array_equal(found[1:], network().read(long, step))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_continuations_on_trial_are_those_of_copied_rows(precision):
    inputs, length = inputs_of(MODEL, 3, 60), 45
    cache = begun(precision, inputs, 0, 33)
    network(precision).read(cache, rows_of(inputs, [0], slice(33, length)))
    pool = network(precision).new_cache(3)
    for row in range(3):
        pool.copy_row(row, cache, 0)
    before = {name: array.copy() for name, array in cache.inputs(1).items()}
    for new in (1, 2, 3):
        copied = network(precision).read(pool, rows_of(inputs, range(3), slice(length + new - 1, length + new)))
        ahead = rows_of(inputs, range(3), slice(length, length + new))
        found = network(precision).look(cache, ahead)
        np.testing.assert_allclose(found, copied, atol=1e-4 if precision == "float32" else 0.5)
        if new == 1:
            np.testing.assert_array_equal(found, copied)
        first = {name: array[:1] for name, array in ahead.items()}
        np.testing.assert_allclose(network(precision).look(cache, first), found[:1], atol=1e-4)
    for name, array in cache.inputs(1).items():
        np.testing.assert_array_equal(array, before[name])
