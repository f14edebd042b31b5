"""Write a trained forecaster as an ONNX graph, which is compared with the forecaster before it is a file."""

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import onnx

from lob_jax.errors import InputError
from lob_jax.export.decoder import session
from lob_jax.export.graphs import OPSET, graph_of_program, with_metadata
from lob_jax.export.parity import TOLERANCE
from lob_jax.export.program import BATCH, Program, Shape, make_program
from lob_jax.forecasting.config import KINDS, Forecast, ForecastConfig
from lob_jax.forecasting.examples import CLOCK
from lob_jax.forecasting.forecasters import make_forecaster
from lob_jax.forecasting.tft import DAYS, LEVEL_NUMBERS
from lob_jax.models import named
from lob_jax.models.apply import apply
from lob_jax.training.run.weights import load_weights

WEIGHTS, GRAPH = "forecast.safetensors", "forecast.onnx"
ABOUT = ("forecaster", "scaling", "step")  # of the metadata of WEIGHTS, and with "lob_jax." in front of those of GRAPH
DIRECTION, QUANTILES = "direction", "quantiles"  # the outputs of a graph
ROWS = 5  # of random examples, unlike the one that the program is traced with
GATES = "iofg"  # Flax's names of the gates, in the order of `named.lstm`

Inputs = dict[str, np.ndarray]


def forecaster_program(params: Any, config: ForecastConfig, *, platforms: tuple[str, ...] = ("cpu",)) -> Program:
    """Return the program of a forecaster for any batch: normalised examples -> logits, and quantiles from the TFT.

    Its inputs are named and normalised as in `examples.ForecastExamples`: book [B, H, 4P], flow [B, H, F], kind [B, H],
    past_clock [B, H, 4], future_clock [B, K, 4], instrument [B] and day_of_week [B]. Its results are direction
    [B, K, 3], the logits of down, flat and up, and quantiles [B, K, Q].

    Args:
      params: the parameters.
      config: the forecaster's configuration.
      platforms: what the program is compiled for, some of `program.PLATFORMS`.

    Raises:
      InputError: it is the token model.
    """
    module, inputs = _module(config), _shapes(params, config)
    flow, outputs = inputs["flow"][1], [DIRECTION, *[QUANTILES] * (config.model == "tft")]

    def run(params: Any, inputs: dict[str, jax.Array]) -> tuple[jax.Array, ...]:
        nothing = {"flow": jnp.zeros((inputs["book"].shape[0], *flow[1:]))}  # of snapshots, which have no events
        with nn.intercept_methods(_by_name):
            forecast: Forecast = apply(module, {"params": params}, nothing | inputs)
        return tuple(array for array in forecast if array is not None)

    given = {name: shape for name, shape in inputs.items() if 0 not in shape[1]}
    params = jax.tree.map(lambda leaf: np.asarray(jax.device_get(leaf), np.float32), params)
    return make_program(run, params, given, outputs, platforms=platforms)


def _module(config: ForecastConfig) -> nn.Module:
    if config.model == "transformer":
        raise InputError(
            "the token model is not written as the graph of a forecaster",
            where="forecast.model",
            expected="tft | deeplob | linear",
            was=config.model,
            remedy="train one of these, or a transformer with --mode=train, whose graphs --mode=export writes",
        )
    return make_forecaster(config, None)


def _shapes(params: Any, config: ForecastConfig) -> dict[str, Shape]:
    """Return the type and shape of each input; DeepLOB reads no flow, the others have parameters for each column."""
    H, K, book = config.history, len(config.horizons), LEVEL_NUMBERS * config.levels
    columns = {
        "tft": lambda: len(params["numbers"]["scale"]),
        "linear": lambda: len(params["map"]["kernel"]) // H - book - KINDS,
        "deeplob": lambda: 0,
    }
    return {
        "book": ("float32", (BATCH, H, book)),
        "flow": ("float32", (BATCH, H, columns[config.model]())),
        "kind": ("int32", (BATCH, H)),
        "past_clock": ("float32", (BATCH, H, len(CLOCK))),
        "future_clock": ("float32", (BATCH, K, len(CLOCK))),
        "instrument": ("int32", (BATCH,)),
        "day_of_week": ("int32", (BATCH,)),
    }


def _by_name(call: Callable[..., Any], arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
    """Call norms and recurrent layers of Flax as the functions of `models.named`, which are one node each."""
    module = context.module
    if context.method_name == "__call__":
        if isinstance(module, nn.LayerNorm) and module.epsilon == named.NORM_EPSILON:
            params = module.variables["params"]
            return named.layer_norm(*arguments, params["scale"], params["bias"])
        if isinstance(module, nn.RNN) and isinstance(module.cell, nn.OptimizedLSTMCell):
            return _lstm(module, *arguments, **keywords)
    return call(*arguments, **keywords)


def _lstm(module: nn.RNN, x_BTD: jax.Array, initial_carry: tuple[jax.Array, jax.Array] | None = None) -> Any:
    """Return what a recurrent layer does; Flax's carry is (cell, hidden)."""
    params = module.cell.variables["params"]
    nothing = jnp.zeros((x_BTD.shape[0], module.cell.features), x_BTD.dtype)
    cell_BU, hidden_BU = initial_carry or (nothing, nothing)
    weights = [
        jnp.concatenate([params[f"{side}{gate}"][kind] for gate in GATES], axis=-1)
        for side, kind in (("i", "kernel"), ("h", "kernel"), ("h", "bias"))
    ]
    outputs_BTU, hidden_BU, cell_BU = named.lstm(x_BTD, hidden_BU, cell_BU, *weights)
    return ((cell_BU, hidden_BU), outputs_BTU) if module.return_carry else outputs_BTU


def forecaster_graph(params: Any, config: ForecastConfig, *, opset: int = OPSET) -> onnx.ModelProto:
    """Return the graph of `forecaster_program`, with those of its inputs that the forecaster reads.

    Raises:
      InputError: it is the token model, or there is no such version of operators.
    """
    return graph_of_program(forecaster_program(params, config), opset=opset)


def random_examples(params: Any, config: ForecastConfig, rows: int, *, seed: int = 0) -> Inputs:
    """Return random inputs of a forecaster, within their ranges."""
    random = np.random.default_rng(seed)
    limits = {"kind": KINDS, "instrument": config.instruments + 1, "day_of_week": DAYS}

    def drawn(name: str, dims: list[Any]) -> np.ndarray:
        if name in limits:
            return random.integers(0, limits[name], dims).astype(np.int32)
        return random.standard_normal(dims).astype(np.float32)

    shapes = _shapes(params, config).items()
    return {name: drawn(name, [rows if size == BATCH else size for size in dims]) for name, (_, dims) in shapes}


def forecast_by(graph: onnx.ModelProto, inputs: Inputs) -> Inputs:
    """Return what a graph predicts, by name."""
    running = session(graph.SerializeToString())
    names = [each.name for each in running.get_outputs()]
    found: Any = running.run(names, {each.name: inputs[each.name] for each in running.get_inputs()})
    return dict(zip(names, found, strict=True))


def check_graph(graph: onnx.ModelProto, params: Any, config: ForecastConfig, inputs: Inputs) -> float:
    """Compare a graph with its forecaster, and return the largest difference.

    Raises:
      InputError: a number is not finite, or differs by more than TOLERANCE.
    """
    module = _module(config)
    with jax.default_matmul_precision("highest"):  # accelerators may round the factors of a product otherwise
        forecast: Forecast = jax.jit(lambda params, inputs: apply(module, {"params": params}, inputs))(params, inputs)
    found, expected = forecast_by(graph, inputs), dict(zip((DIRECTION, QUANTILES), forecast, strict=True))
    away = [np.abs(array - np.asarray(expected[name])).ravel() for name, array in found.items()]
    difference = float(np.concatenate(away).max())  # NaN where a number is not finite
    if not difference <= TOLERANCE:
        raise InputError(
            "the graph does not compute what the forecaster does; nothing was written",
            where=GRAPH,
            expected=f"finite numbers within {TOLERANCE:g} of the forecaster's",
            was=f"a difference of {difference:.3g}",
            remedy="report this with the forecaster's configuration; its parameters are in forecast.safetensors",
        )
    return difference


def export_forecaster(folder: pathlib.Path, *, opset: int = OPSET) -> float:
    """Write the forecaster in a folder as `forecast.onnx` beside its parameters, once it agrees with the forecaster.

    Its metadata have the forecaster's configuration and its normalisers, as JSON.

    Args:
      folder: the folder of a run of `--mode=forecast`.
      opset: the version of ONNX's operators.

    Returns:
      the largest difference of a number on random examples.

    Raises:
      InputError: there are no parameters, they are those of the token model, or the graph does not agree with them.
    """
    params, about = load_weights(folder / WEIGHTS)
    config = ForecastConfig(**{name: _tuples(value) for name, value in about[ABOUT[0]].items()})
    graph = forecaster_graph(params, config, opset=opset)
    difference = check_graph(graph, params, config, random_examples(params, config, ROWS))
    graph = with_metadata(graph, {f"lob_jax.{name}": json.dumps(about[name], sort_keys=True) for name in ABOUT})
    partial = folder / f"{GRAPH}.partial"
    partial.write_bytes(graph.SerializeToString())
    os.replace(partial, folder / GRAPH)
    return difference


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
