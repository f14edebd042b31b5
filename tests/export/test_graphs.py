"""The graphs of a model predict what the model does, for any batch, any length, and token by token."""

import collections
import functools
import itertools

import jax
import numpy as np
import onnx
import pytest

from lob_jax.errors import InputError
from lob_jax.export import cache as caches
from lob_jax.export.decoder import OnnxDecoder, session
from lob_jax.export.graph.builder import OPSETS
from lob_jax.export.graphs import OPSET, forward_graph, step_graph
from lob_jax.models.transformer import LOBTransformer, empty_cache
from tests.export.bundled_models import QUICKLY, expected, inputs_of, lively, places, small

TOLERANCE = 1e-4
HEADS = {"outlook_events": (1, 5), "contrastive_size": 3}
PLAIN: dict = dict.fromkeys(("pointer", "latest_tokens", "token_parts", "queue_state"), False)
PLAIN |= {"vocab_size": 80, "digits_rank": 0}
# What each model is a test of, and the version of operators of its graphs.
MODELS = {
    "all inputs": ("tiny", {}, 18),
    "rotary by time": ("modern", {}, 20),
    "heads of several horizons": ("multi_scale", {"positions": "rotary"} | PLAIN, 24),
    "blocks": ("block_sparse", {"positions": "sinusoidal", "tie_embeddings": False, "norm": "post"} | PLAIN, 18),
    "the mid price": ("multi_task", {"heads": HEADS, "norm": "post", "activation": "swiglu"} | PLAIN, 18),
    "vectors, of layers in a scan": ("contrastive", {"heads": HEADS, "scan_layers": True} | PLAIN, 20),
    "both ways": ("masked", {"n_instruments": 3, "vocab_size": 80, "token_parts": False, "digits_rank": 0}, 18),
    "tokens ahead": ("next_tokens", {"positions": "rotary", "tie_embeddings": False}, 24),
    "regimes and instruments": ("regimes", {"n_instruments": 3} | PLAIN, 18),
}
CAUSAL = [name for name in MODELS if name != "both ways"]


@functools.cache
def model_of(name):
    """Return the model, its parameters, and the version of operators."""
    config, changes, opset = MODELS[name]
    model = small(config, **changes)
    return model, lively(model), opset


@functools.cache
def forward_of(name):
    model, params, opset = model_of(name)
    return forward_graph(params, model, opset=opset)


@functools.cache
def step_of(name):
    model, params, opset = model_of(name)
    return step_graph(params, model, opset=opset)


@functools.cache
def example_of(name):
    """Return inputs of a model, and what it predicts from them."""
    model, params, _ = model_of(name)
    inputs = inputs_of(model, 2, 13)
    return inputs, expected(model, params, inputs)


def predicted(graph, inputs):
    """Return what a graph predicts, by name."""
    run = session(graph.SerializeToString(), threads=1)
    names, read = [each.name for each in run.get_outputs()], {each.name for each in run.get_inputs()}
    return dict(zip(names, run.run(names, {name: inputs[name] for name in read}), strict=True))


def assert_same(found, wanted):
    """Compare predictions, which are finite."""
    assert found.keys() == wanted.keys()
    for name, array in found.items():
        assert array.shape == wanted[name].shape and np.isfinite(array).all()
        assert np.abs(array - wanted[name]).max(initial=0) <= TOLERANCE, name
    np.testing.assert_array_equal(found["logits"].argmax(-1), wanted["logits"].argmax(-1))


def assert_parity(model, params, opset, *, shapes=((3, 7),)):
    """Compare both graphs of a model with JAX."""
    graph = forward_graph(params, model, opset=opset)
    for batch, length in shapes:
        inputs = inputs_of(model, batch, length)
        wanted = expected(model, params, inputs)
        assert_same(predicted(graph, inputs), wanted)
    if model.causal:
        decoder = OnnxDecoder(step_graph(params, model, opset=opset).SerializeToString(), model, threads=1)
        assert_steps(decoder, inputs, wanted["logits"], pieces=(length - 2, 1, 1))


def assert_steps(decoder, inputs, logits_BTV, *, pieces):
    """Compare logits after each piece of a window with those of the window."""
    decoder.reset(len(logits_BTV))
    for piece, end in zip(pieces, itertools.accumulate(pieces), strict=True):
        found_BV = decoder.extend(places(inputs, slice(end - piece, end)))
        assert_same({"logits": found_BV}, {"logits": logits_BTV[:, end - 1]})
        assert decoder.length == end


@pytest.mark.parametrize("name", MODELS)
def test_a_window_has_the_predictions_of_the_model(name):
    inputs, wanted = example_of(name)
    assert_same(predicted(forward_of(name), inputs), wanted)


@pytest.mark.parametrize("name", CAUSAL)
def test_pieces_of_any_size_have_the_logits_of_the_window(name, monkeypatch):
    monkeypatch.setattr(caches, "MORE_SLOTS", 5)  # so that the cache grows, too
    inputs, wanted = example_of(name)
    decoder = OnnxDecoder(step_of(name).SerializeToString(), model_of(name)[0], threads=1)
    for pieces in ((1, 4, 1, 6, 1), (13,)):
        assert_steps(decoder, inputs, wanted["logits"], pieces=pieces)


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 24)])
def test_one_token_is_a_window_and_so_are_as_many_as_the_model_takes(batch, length):
    model, params, _ = model_of("heads of several horizons")
    inputs = inputs_of(model, batch, length)
    assert_same(predicted(forward_of("heads of several horizons"), inputs), expected(model, params, inputs))


def counts(graph):
    return collections.Counter(node.op_type for node in graph.graph.node)


@pytest.mark.parametrize("name", MODELS)
def test_norms_softmax_and_gelu_are_single_nodes(name):
    model, _, opset = model_of(name)
    layers, heads = model.n_layers, model.heads
    norms = 1 + 2 * layers + (model.norm == "pre") + 1 + 2 * layers * model.attention.qk_norm
    gelus = layers * (model.activation == "gelu")
    graphs = [(forward_of(name), heads.next_tokens > 1, bool(heads.outlook_events) + bool(heads.contrastive_size))]
    graphs += [(step_of(name), 0, 0)] if model.causal else []
    for graph, more_norms, by_tanh in graphs:
        found = counts(graph)
        assert found["LayerNormalization"] == norms + more_norms
        assert found["Softmax"] == layers
        assert found["Gelu"] == (gelus + by_tanh if opset >= 20 else 0)
        assert found["Erf"] == (gelus if opset < 20 else 0)
        assert "Einsum" not in found


@pytest.mark.parametrize("name", MODELS)
def test_graphs_are_of_onnx_alone_and_their_shapes_are_inferred(name):
    model, _, opset = model_of(name)
    for graph in (forward_of(name), *([step_of(name)] if model.causal else [])):
        assert [(each.domain, each.version) for each in graph.opset_import] == [("", opset)]
        assert {node.domain for node in graph.graph.node} == {""}
        known = onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True, data_prop=True)
        assert len(known.graph.value_info) > 0
        batch, length = known.graph.input[0].type.tensor_type.shape.dim[:2]
        assert batch.dim_param == "batch" and length.dim_param in ("length", "slots")


def test_every_version_of_operators_is_tried():
    assert {opset for _, _, opset in MODELS.values()} == set(OPSETS)
    assert OPSET in OPSETS


def test_ids_out_of_range_read_the_nearest_row():
    name = "all inputs"
    model, params, _ = model_of(name)
    inputs = inputs_of(model, 2, 6)
    inputs["tokens"][:] = [[-5, model.vocab_size, 2**31 - 1, -(2**31), 7, model.vocab_size + 3]]
    inputs["time_of_day"][:, ::2] = 10**6
    inputs["day_of_week"][:, 1::2] = -1
    inputs["latest"][:, 3] = 32_767
    inside = dict(inputs)
    for key, most in (("tokens", model.vocab_size), ("time_of_day", model.time_buckets), ("day_of_week", 7)):
        inside[key] = inputs[key].clip(0, most - 1)
    inside["latest"] = inputs["latest"].clip(0, model.vocab_size - 1)
    found, wanted = predicted(forward_of(name), inputs), predicted(forward_of(name), inside)
    assert_same(found, wanted)
    assert_same(found, expected(model, params, inputs))
    decoder = OnnxDecoder(step_of(name).SerializeToString(), model, threads=1)
    assert_steps(decoder, inputs, wanted["logits"], pieces=(2, 3, 1))


@pytest.mark.parametrize("name", ["heads of several horizons", pytest.param("rotary by time", marks=pytest.mark.slow)])
def test_a_full_context_goes_on_without_its_oldest_token(name):
    config, changes, opset = MODELS[name]
    model = small(config, **changes, max_seq_length=6)
    params, inputs = lively(model), inputs_of(model, 2, 15)
    decoder = OnnxDecoder(step_graph(params, model, opset=opset).SerializeToString(), model, threads=1)
    decoder.reset(2)

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def step(new, cache):
        beside = {name: array for name, array in new.items() if name != "tokens"}
        return LOBTransformer(model).apply({"params": params}, new["tokens"], beside, cache=cache, method="last_logits")

    cache = empty_cache(model, 2, 6)
    for start, end in [(0, 6), *((k, k + 1) for k in range(6, 15))]:
        new = places(inputs, slice(start, end))
        wanted_BV, cache = step(new, cache)
        assert_same({"logits": decoder.extend(new)}, {"logits": np.asarray(wanted_BV)})


def test_what_lies_in_unfilled_slots_is_not_seen():
    name = "rotary by time"
    model, _, _ = model_of(name)
    graph, inputs = step_of(name), inputs_of(model, 2, 3)
    given = {"cache_length": np.full(2, 2, np.int32), "cache_position": np.zeros((2, 5), np.int32)}
    given["cache_clock"] = np.zeros((2, 5, 2), np.int32)
    random = np.random.default_rng(0)
    for kind, layer in itertools.product(("keys", "values"), range(model.n_layers)):
        given[f"cache_{kind}_{layer}"] = random.standard_normal((2, 4, 5, 4)).astype(np.float32)
    clean = predicted(graph, inputs | given)["logits"]
    for name in given:
        if name.startswith(("cache_keys", "cache_values")):
            given[name][:, :, 2:] = 1e6
    np.testing.assert_array_equal(predicted(graph, inputs | given)["logits"], clean)


def test_the_step_returns_what_belongs_into_the_next_slots():
    model, _, _ = model_of("all inputs")
    names = [each.name for each in step_of("all inputs").graph.output]
    assert names == ["logits", "keys_0", "keys_1", "values_0", "values_1"]
    shapes = {
        each.name: [dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in step_of("all inputs").graph.output
    }
    assert shapes["logits"] == ["batch", model.vocab_size]
    assert shapes["keys_1"] == ["batch", 4, "length", 4]


def test_more_tokens_than_fit_are_refused():
    model, _, _ = model_of("rotary by time")
    decoder = OnnxDecoder(step_of("rotary by time").SerializeToString(), model, threads=1)
    decoder.reset(1)
    inputs = inputs_of(model, 1, 24)
    decoder.extend(places(inputs, slice(0, 20)))
    with pytest.raises(InputError, match="do not fit") as caught:
        decoder.extend(places(inputs, slice(0, 5)))
    assert caught.value.was == 5 and caught.value.expected == "at most 4 tokens: 20 of 24 are there"
    decoder.extend(places(inputs, slice(0, 4)))
    with pytest.raises(InputError):
        decoder.extend(places(inputs, slice(0, 2)))
    decoder.extend(places(inputs, slice(0, 1)))
    assert decoder.length == 25


@pytest.mark.parametrize("graph_of", [forward_graph, step_graph])
@pytest.mark.parametrize(
    ("name", "where", "was"),
    [
        ("performer", "config.model.attention.kind", "performer"),
        ("linformer", "config.model.attention.kind", "linformer"),
        ("cross_asset", "config.model.attention.cross_asset", True),
    ],
)
def test_attention_that_cannot_be_exported_is_refused(name, where, was, graph_of):
    with pytest.raises(InputError, match="cannot be exported") as caught:
        graph_of({}, small(name))
    assert caught.value.where == where and caught.value.was == was
    assert "train a model" in caught.value.remedy
    assert caught.value.expected in (
        "False",
        "a kind that is full attention under a mask: full, multi_scale or block_sparse",
    )


def test_a_model_that_sees_both_ways_has_no_step():
    model, params, _ = model_of("both ways")
    with pytest.raises(InputError, match="only complete windows") as caught:
        step_graph(params, model)
    assert caught.value.where == "config.model.causal" and caught.value.was is False


def test_other_versions_of_operators_are_refused():
    model, params, _ = model_of("both ways")
    with pytest.raises(InputError) as caught:
        forward_graph(params, model, opset=19)
    assert caught.value.where == "opset" and caught.value.was == 19 and caught.value.expected == "18 | 20 | 24"


CHOICES = {
    "positions": ("learned", "sinusoidal", "rotary", "rotary_time"),
    "norm": ("pre", "post"),
    "activation": ("gelu", "swiglu"),
    "tie_embeddings": (True, False),
    "scan_layers": (True, False),
}
PRODUCT = [dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())]
BUNDLED = (
    "tiny",
    "modern",
    "compact",
    "multi_scale",
    "block_sparse",
    "multi_task",
    "contrastive",
    "masked",
    "next_tokens",
)


@pytest.mark.slow
@pytest.mark.parametrize("changes", PRODUCT, ids=lambda changes: "-".join(map(str, changes.values())))
def test_every_layout_of_a_block(changes):
    model = small("multi_scale", attention={"qk_norm": changes["norm"] == "post"}, **PLAIN, **changes)
    assert_parity(model, lively(model), 20, shapes=((2, 9), (3, 5)))


@pytest.mark.slow
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_model_by_every_version_of_operators(name, opset):
    model = small(name)
    assert_parity(model, lively(model), opset, shapes=((1, 24), (3, 7)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        *(
            {name: not getattr(small("tiny"), name)}
            for name in ("time_of_day", "day_of_week", "book_state", "flow_state")
        ),
        *(
            {name: not getattr(small("tiny"), name)}
            for name in ("queue_state", "latest_tokens", "token_parts", "pointer")
        ),
        {"standardize_book": False},
        {"digits_rank": 0},
        {"gap_components": 3 - small("tiny").gap_components},
        {"regime": "prefix"},
        {"regime": "added", "n_instruments": 1},
        {"n_layers": 1, "n_heads": 1},
        {"heads": {"outlook_events": (3,)}},
        {"heads": {"next_tokens": 2}, "pointer": False},
    ],
    ids=str,
)
def test_every_input_and_head(changes):
    model = small("tiny", **changes)
    assert_parity(model, lively(model), OPSET)
