"""A model as a program of any batch and length: what it reads, what it returns, and of which sizes."""

import functools

import jax
import jax.export
import numpy as np
import pytest

from lob_jax.export import program
from lob_jax.export.decoder import session
from lob_jax.export.graphs import step_graph
from tests.export.bundled_models import QUICKLY, expected, inputs_of, lively, small

PLAIN = dict.fromkeys(("pointer", "latest_tokens", "token_parts", "queue_state"), False) | {"vocab_size": 80}
SCANNED = small("multi_scale", scan_layers=True, positions="rotary", digits_rank=0, **PLAIN)


@functools.cache
def params():
    return lively(SCANNED)


def call(exported, *arguments):
    return jax.jit(exported.call, compiler_options=QUICKLY)(*arguments)


@functools.cache
def window_program():
    return program.forward(params(), SCANNED)


def test_a_stored_program_has_the_predictions_of_the_model():
    exported = jax.export.deserialize(window_program().exported.serialize())
    inputs = inputs_of(SCANNED, 2, 5)
    (logits_BTV,) = call(exported, program.parameters(params(), SCANNED), inputs)
    np.testing.assert_allclose(logits_BTV, expected(SCANNED, params(), inputs)["logits"], atol=1e-5)


def test_its_arguments_are_named_in_their_order():
    found = window_program()
    assert found.outputs == ("logits",)
    assert list(found.inputs) == sorted(inputs_of(SCANNED, 1, 1))
    assert found.inputs["tokens"] == ("batch", "length") and found.inputs["clock"] == ("batch", "length", 2)
    avals = found.exported.in_avals
    assert [array.shape for array in found.weights.values()] == [each.shape for each in avals[: len(found.weights)]]
    assert len(avals) == len(found.weights) + len(found.inputs)
    widen = program.parameters(params(), SCANNED)["blocks_1"]["ffn"]["widen"]["kernel"]
    np.testing.assert_array_equal(found.weights["blocks_1/ffn/widen/kernel"], widen)
    np.testing.assert_array_equal(widen, params()["blocks"]["ffn"]["widen"]["kernel"][1])


def test_a_window_that_is_longer_than_the_model_is_refused():
    inputs = inputs_of(SCANNED, 1, SCANNED.max_seq_length + 1)
    with pytest.raises(ValueError, match="length"):
        window_program().exported.call(program.parameters(params(), SCANNED), inputs)


def test_weights_are_exported_in_float32_and_dropout_is_not():
    model = small("tiny", dtype="bfloat16", dropout=0.3, remat="full", scan_layers=True)
    exact = {"dtype": "float32", "dropout": 0.0, "remat": "none", "scan_layers": False}
    assert program.exportable(model) == small("tiny", attention={"backend": "xla"}, **exact)
    half = jax.tree.map(lambda leaf: leaf.astype(jax.numpy.bfloat16), params())
    assert {leaf.dtype for leaf in jax.tree.leaves(program.parameters(half, SCANNED))} == {np.dtype("float32")}


def test_a_step_at_a_position_in_the_millions_is_exact():
    found = program.step(params(), SCANNED)
    assert found.outputs == ("logits", "keys_0", "keys_1", "values_0", "values_1")
    slots, length, random = 6, 123_456_789, np.random.default_rng(0)
    inputs = inputs_of(SCANNED, 2, 1) | {"cache_length": np.full(2, length, np.int32)}
    inputs["cache_position"] = np.tile(np.arange(length - slots, length, dtype=np.int32), (2, 1))
    inputs["cache_event"] = np.zeros((2, slots), np.int32)
    inputs["cache_clock"] = np.tile(inputs["clock"], (1, slots, 1))
    for name in found.inputs:
        if name.startswith(("cache_keys", "cache_values")):
            inputs[name] = random.standard_normal((2, 4, slots, 4)).astype(np.float32)
    assert inputs.keys() == found.inputs.keys()
    wanted = call(found.exported, program.parameters(params(), SCANNED), inputs)
    run = session(step_graph(params(), SCANNED).SerializeToString(), threads=1)
    read = {each.name for each in run.get_inputs()}
    results = run.run(list(found.outputs), {name: inputs[name] for name in read})
    for one, other in zip(results, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
