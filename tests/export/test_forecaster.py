"""The graph of a forecaster forecasts what it does, for any batch, and is written only if it does."""

import dataclasses
import functools
import json

import jax
import numpy as np
import onnx
import pytest

from lob_jax.errors import InputError
from lob_jax.forecasting import export
from lob_jax.forecasting.config import ForecastConfig
from lob_jax.forecasting.forecasters import make_forecaster
from lob_jax.models.apply import apply
from lob_jax.training.run.weights import save_weights
from tests.export.bundled_models import QUICKLY

TOLERANCE = 1e-5
CONFIG = ForecastConfig(
    model="tft",
    history=7,
    horizons=(2, 5),
    levels=2,
    clock=True,
    width=8,
    heads=2,
    quantiles=(0.1, 0.5, 0.9),
    filters=4,
    inception=6,
    units=5,
    dropout=0.2,
    instruments=3,
)
# Of each forecaster, its configuration, the inputs that it reads, and operators that its graph has.
FORECASTERS: dict = {
    "linear": ({"model": "linear"}, {"book", "flow", "kind"}, {"MatMul"}),
    "deeplob": ({"model": "deeplob"}, {"book"}, {"Conv", "MaxPool", "LSTM"}),
    "tft": ({}, {"book", "flow", "kind", "past_clock", "future_clock", "instrument", "day_of_week"}, {"LSTM"}),
    "tft without clock": (
        {"clock": False, "levels": 1, "horizons": (3,)},
        {"book", "flow", "kind", "past_clock", "future_clock", "instrument"},
        {"LSTM", "LayerNormalization", "Softmax"},
    ),
    "linear, of snapshots": ({"model": "linear"}, {"book", "kind"}, {"MatMul"}),
}


@functools.cache
def forecaster_of(name):
    """Return a forecaster's configuration, module and parameters, none of which is zero."""
    config = dataclasses.replace(CONFIG, **FORECASTERS[name][0])
    module, random = make_forecaster(config, None), np.random.default_rng(0)
    batch = examples(config, 1, flow=0 if "snapshots" in name else 5)
    shapes = jax.eval_shape(module.init, jax.random.key(0), batch)["params"]
    params = jax.tree.map(lambda leaf: random.normal(0, 0.5, leaf.shape).astype(np.float32), shapes)
    return config, module, params


@functools.cache
def graph_of(name):
    config, _, params = forecaster_of(name)
    return export.forecaster_graph(params, config)


def examples(config, rows, *, flow):
    """Return random examples, as `forecasting.examples` describes them."""
    random, H, K = np.random.default_rng(rows), config.history, len(config.horizons)
    shapes = {"book": (H, 4 * config.levels), "flow": (H, flow), "past_clock": (H, 4), "future_clock": (K, 4)}
    numbers = {name: random.normal(size=(rows, *shape)).astype(np.float32) for name, shape in shapes.items()}
    ids = {"kind": (8, (H,)), "instrument": (9, ()), "day_of_week": (7, ())}  # some instruments are unknown
    return numbers | {
        name: random.integers(0, high, (rows, *shape)).astype(np.int32) for name, (high, shape) in ids.items()
    }


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "tft without clock")) for name in FORECASTERS]
)
def test_a_graph_forecasts_what_the_forecaster_does(name):
    config, module, params = forecaster_of(name)
    _, read, operators = FORECASTERS[name]
    graph = graph_of(name)
    assert {each.name for each in graph.graph.input} == read
    assert operators <= {node.op_type for node in graph.graph.node}
    batch = examples(config, 4, flow=0 if "snapshots" in name else 5)
    forecast = jax.jit(functools.partial(apply, module), compiler_options=QUICKLY)({"params": params}, batch)
    for rows in (4, 1):
        expected = jax.tree.map(lambda array, rows=rows: array[:rows], forecast)
        found = export.forecast_by(graph, {name: array[:rows] for name, array in batch.items()})
        assert set(found) == ({"direction", "quantiles"} if "tft" in name else {"direction"})
        np.testing.assert_allclose(found["direction"], expected.direction_BK3, rtol=TOLERANCE, atol=TOLERANCE)
        if "tft" in name:
            np.testing.assert_allclose(found["quantiles"], expected.quantiles_BKQ, rtol=TOLERANCE, atol=TOLERANCE)


def saved(folder, name, params=None):
    config, _, own = forecaster_of(name)
    about = {"forecaster": dataclasses.asdict(config), "scaling": {"book_mean": [1.5]}, "step": 3}
    save_weights(folder / "forecast.safetensors", own if params is None else params, about=about)


def test_it_is_written_beside_its_parameters_with_its_normalisers(tmp_path):
    saved(tmp_path, "deeplob")
    assert export.export_forecaster(tmp_path) <= TOLERANCE
    assert {path.name for path in tmp_path.iterdir()} == {"forecast.safetensors", "forecast.onnx"}
    graph = onnx.load(tmp_path / "forecast.onnx")
    about = {each.key: json.loads(each.value) for each in graph.metadata_props}
    assert about["lob_jax.scaling"] == {"book_mean": [1.5]} and about["lob_jax.forecaster"]["units"] == 5
    config, _, _ = forecaster_of("deeplob")
    batch = examples(config, 2, flow=5)
    wanted = export.forecast_by(graph_of("deeplob"), batch)["direction"]
    np.testing.assert_array_equal(export.forecast_by(graph, batch)["direction"], wanted)


@pytest.mark.parametrize("fault", [1e-3, np.nan])
def test_a_graph_that_differs_is_not_written(tmp_path, monkeypatch, fault):
    saved(tmp_path, "linear")
    config, _, params = forecaster_of("linear")
    other = {"map": params["map"] | {"bias": params["map"]["bias"] + np.float32(fault)}}
    graph = export.forecaster_graph(other, config)
    monkeypatch.setattr(export, "forecaster_graph", lambda *_, **__: graph)
    with pytest.raises(InputError, match="nothing was written"):
        export.export_forecaster(tmp_path)
    assert not (tmp_path / "forecast.onnx").exists()


def test_the_token_model_is_refused():
    with pytest.raises(InputError, match=r"(?s)forecast\.model.*transformer.*--mode=export"):
        export.forecaster_graph({}, dataclasses.replace(CONFIG, model="transformer"))
