"""The network of a checkpoint, in JAX: what it reads is what ONNX Runtime reads, whatever is in the other rows."""

import dataclasses

import jax
import numpy as np
import pytest

from lob_jax.export.decoder import OnnxNetwork, session
from lob_jax.export.generate import forward_of
from lob_jax.export.graphs import graph_of_program
from lob_jax.export.program import forward, parameters
from lob_jax.models.inputs import Role, fields_read
from lob_jax.serving.engine.checkpoint import JaxNetwork, padded_windows
from lob_jax.serving.engine.open import scored_history
from lob_jax.serving.requests import Score, Scored
from tests.export.bundled_models import inputs_of
from tests.serving.engine.engines import MODELS, graph_of, history_of, params_of, tokenizer_of
from tests.serving.market.markets import contents_of, days


@pytest.fixture(scope="module", params=["by time", "prefix"])
def both(request):
    model = MODELS[request.param]
    return model, JaxNetwork(params_of(request.param), model), OnnxNetwork(graph_of(request.param), model, threads=1)


def part(inputs, rows, at):
    return {name: array[rows, at] for name, array in inputs.items()}


def test_rows_of_any_lengths_are_read_as_by_onnx_runtime(both):
    model, *networks = both
    inputs, logits = inputs_of(model, 3, 140), []
    for network in networks:
        pool, found = network.new_cache(4), []
        for row, length in enumerate((33, 5, 1)):
            alone = network.new_cache(1)
            found.append(network.read(alone, part(inputs, slice(row, row + 1), slice(length))))
            pool.copy_row(2 - row, alone, 0)
        order = np.array([2, 1, 0])
        for at in range(40, 120):  # beyond the window of 96 tokens for the first of them
            found.append(network.read(pool, part(inputs, order, slice(at, at + 1))))
        for count, new in ((1, 1), (3, 4)):
            found.append(network.look(pool, part(inputs, order[:count], slice(120, 120 + new))))
        pool.take_back(2, 1)
        pool.clear(0)
        found.append(network.read(pool, part(inputs, order, slice(130, 131))))
        assert pool.length.tolist() == [1, 86, 113, 0]
        logits.append(np.concatenate(found))
    np.testing.assert_allclose(*logits, atol=2e-5)


def test_a_row_does_not_depend_on_the_others(both):
    model, network, _ = both
    inputs, alone = inputs_of(model, 4, 20), network.new_cache(1)
    network.read(alone, part(inputs, slice(1), slice(10)))
    found = []
    for others in (1, 4):
        pool = network.new_cache(4)
        for row in range(others):
            pool.copy_row(row, alone, 0)
        found.append(network.read(pool, part(inputs, slice(others), slice(11, 12)))[0])
    np.testing.assert_array_equal(*found)


def test_it_reads_what_the_model_reads_and_knows_its_memory(both):
    model, network, onnx = both
    inputs = inputs_of(model, 1, 2)
    assert set(inputs) == {"tokens", *fields_read(model, Role.BESIDE)}
    network.read(network.new_cache(1), inputs | {"unknown": np.zeros((1, 2))})
    keys = 2 * model.n_layers * model.n_heads * model.head_width * 4
    cache = network.new_cache(3)
    slots = model.max_seq_length + 33
    assert cache.row_bytes >= keys * slots and len(jax.tree.leaves(cache.held)) >= 2 * model.n_layers
    assert onnx.new_cache(3).row_bytes >= keys * 128


@pytest.mark.parametrize("name", ["prefix", "compact"])
@pytest.mark.parametrize("events", [110, 8])
def test_events_are_scored_as_by_onnx_runtime(name, events):
    """In several windows, or in one that is shorter than a context."""
    model, params, market = MODELS[name], params_of(name), days()["orders"]
    program = forward(params, model)
    by_jax = padded_windows(program, jax.device_put(parameters(params, model)), slots=model.max_seq_length)
    by_onnx = forward_of(session(graph_of_program(program).SerializeToString(), threads=1))
    contents, asked = contents_of(market, tokenizer_of(name), model), Score(history_of(market, events), 4)
    contents = dataclasses.replace(contents, escapes=contents.escapes + 0.01)
    one, other = (scored_history(asked, contents, forward=each) for each in (by_jax, by_onnx))
    assert len(one.nats) == events - 4 and one.outside == other.outside
    for field in dataclasses.fields(Scored):
        if field.name != "outside":
            np.testing.assert_allclose(getattr(one, field.name), getattr(other, field.name), atol=2e-4, rtol=0)
