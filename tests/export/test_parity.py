"""Graphs are compared with their model before they are written: a graph that differs is refused."""

import dataclasses

import jax
import numpy as np
import pytest
from onnx import numpy_helper

from lob_jax.config.sections import model_config
from lob_jax.errors import InputError
from lob_jax.export.graphs import forward_graph, step_graph
from lob_jax.export.parity import Parity, check_graphs, compared, piece_ends, random_inputs
from lob_jax.models.inputs import BY_NAME
from lob_jax.models.transformer import initial_parameters
from lob_jax.runs.load import get_config

SMALL = {"model.d_model": 16, "model.n_layers": 1, "model.n_heads": 2, "model.d_ff": 32, "model.max_seq_length": 64}


@pytest.fixture(scope="module")
def model():
    return dataclasses.replace(model_config(get_config("sized:small", SMALL)), dtype="float32")


@pytest.fixture(scope="module")
def params(model):
    key = jax.random.key(0)
    return jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(key, leaf.shape), initial_parameters(model, key))


@pytest.fixture(scope="module")
def graphs(params, model):
    return forward_graph(params, model), step_graph(params, model)


def test_graphs_that_agree_say_how_closely(graphs, params, model):
    found = check_graphs(*graphs, params, model, random_inputs(model, 2, 20, seed=5))
    assert set(found) == {"forward, random tokens", "step, random tokens", "forward, real tokens", "step, real tokens"}
    assert found["forward, real tokens"].tokens == 40
    assert all(0 <= one.difference < 1e-5 and one.agreement == 1 for one in found.values())


@pytest.mark.parametrize("which", [0, 1])
def test_a_graph_with_another_weight_is_refused(graphs, params, model, which):
    changed = [type(graph).FromString(graph.SerializeToString()) for graph in graphs]
    (bias,) = [tensor for tensor in changed[which].graph.initializer if tensor.name == "blocks_0/ffn/narrow/bias"]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias)[::-1].copy(), bias.name))
    with pytest.raises(InputError) as refused:
        check_graphs(*changed, params, model, random_inputs(model, 2, 20))
    assert refused.value.where == f"the {('forward', 'step')[which]} graph"


def test_a_graph_whose_logits_are_not_finite_is_refused(graphs, params, model):
    changed = type(graphs[0]).FromString(graphs[0].SerializeToString())
    (bias,) = [tensor for tensor in changed.graph.initializer if tensor.name == "head/bias"]
    bias.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(bias), np.nan), bias.name))
    with pytest.raises(InputError, match="does not compute what the model does"):
        check_graphs(changed, None, params, model, random_inputs(model, 2, 20))


def test_pieces_cover_a_window():
    assert piece_ends(1) == [1] and piece_ends(5) == [5] and piece_ends(6) == [5, 6]
    assert piece_ends(20)[-1] == 20 and piece_ends(20) == sorted(set(piece_ends(20)))


def test_random_inputs_are_in_range_and_go_forward():
    model = dataclasses.replace(model_config(get_config("modern:tiny")), n_layers=1)
    made = random_inputs(model, 3, 50)
    for name, array in made.items():
        ids = BY_NAME[name].ids
        if ids is not None:
            assert array.min() >= 0 and array.max() < ids(model) and len(np.unique(array)) > 1
    clock = made["clock"].astype(np.int64)
    assert (np.diff(clock[..., 0], axis=1) >= 0).all() and clock[..., 1].max() < 10**9


def test_parity_is_the_largest_difference_and_the_share_of_equal_choices():
    expected = np.array([[[1.0, 2.0, 0.0], [0.0, 1.0, 2.0]]])
    found = expected + np.array([[[0.0, 0.5, 0.0], [0.0, 1.5, 0.0]]])
    assert compared(found, expected) == Parity(tokens=2, difference=1.5, agreement=0.5)
