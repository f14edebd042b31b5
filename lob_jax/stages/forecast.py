"""The stage `forecast`: train a forecaster of the mid price, and test it."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import ml_collections

from lob_jax.config import sections
from lob_jax.console import COMPILING, Advance, bar, console, show
from lob_jax.forecasting.benchmark import Fold, benchmark, read_folds
from lob_jax.forecasting.compare import Trained, compare, open_splits, quantile_report, table, train_and_predict
from lob_jax.forecasting.config import ForecastConfig
from lob_jax.forecasting.examples import check_forecast_embargo
from lob_jax.forecasting.fi2010 import find_files, is_fi2010
from lob_jax.forecasting.forecasters import make_forecaster
from lob_jax.forecasting.snapshots import check_for_snapshots
from lob_jax.forecasting.volatility import volatility_report, volatility_table
from lob_jax.runs.workdir import write_json
from lob_jax.settings import expanded
from lob_jax.stages.data import prepare
from lob_jax.stages.export import without_onnx
from lob_jax.training.run.weights import save_weights


def forecast(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Prepare if necessary, train the forecaster that the configuration names, and test it next to simple baselines."""
    if config.data.path and config.data.feed == "auto" and is_fi2010(_path(config)):
        return forecast_fi2010(config, workdir)
    _check_onnx(config)
    section, layout = config.forecast, sections.forecast_layout(config)
    check_forecast_embargo(config.data.embargo_events, layout)
    prepare(config, workdir)
    splits = open_splits(workdir / "records", layout, stride=section.stride, with_tokens=section.model == "transformer")
    shape = sections.forecast_config(config, instruments=len(splits.train.scaling.symbols))
    module = make_forecaster(shape, sections.model_config(config) if splits.train.with_tokens else None)
    console.print(", ".join(f"{len(one):,} {name}" for name, one in splits._asdict().items()) + " examples")
    trained = _train_seeds(config, module, splits)
    result = {
        **_of_model(shape, trained),
        **compare(
            splits,
            {section.model: [one.predictions.probability for one in trained]},
            block_events=section.block_events,
        ),
        "quantiles": quantile_report(splits, trained, shape.quantiles),
        "volatility": volatility_report(splits.train, splits.test, block_events=section.block_events),
    }
    _write(config, workdir, result, trained, scaling=splits.train.scaling.plain())


def forecast_fi2010(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Train the forecaster on FI-2010 and test it, by the benchmark's protocol that the configuration names."""
    _check_onnx(config)
    section, layout = config.forecast, sections.forecast_layout(config)
    check_for_snapshots(layout, model=section.model)
    files = find_files(_path(config), protocol=section.protocol)
    shape = sections.forecast_config(config, instruments=1)
    module = make_forecaster(shape, None)
    folds: list[Fold] = []
    workdir.mkdir(parents=True, exist_ok=True)
    for number, splits in read_folds(files, layout, protocol=section.protocol, stride=section.stride):
        counts = ", ".join(f"{len(one):,} {name}" for name, one in splits._asdict().items())
        console.print(f"FI-2010 {files.name}, training file {number}: {counts} examples")
        folds.append(Fold(number, splits, _train_seeds(config, module, splits)))
    found = benchmark(folds, files, model=section.model, protocol=section.protocol, block_events=section.block_events)
    last = folds[-1]
    result = {**_of_model(shape, [one for fold in folds for one in fold.trained]), **found}
    _write(config, workdir, result, last.trained, scaling=last.splits.train.scaling.plain())


def _path(config: ml_collections.ConfigDict) -> pathlib.Path:
    return expanded(config.data.path, where="config.data.path")


def _train_seeds(config: ml_collections.ConfigDict, module: nn.Module, splits: Any) -> list[Trained]:
    """Train the forecaster from each seed, and predict the test split."""
    section, trained = config.forecast, []
    for seed in range(config.seed, config.seed + section.seeds):
        with bar(f"{section.model}, seed {seed}", total=section.steps, unit="steps", first=COMPILING) as advance:
            fit = sections.fit_config(config)

            def on_validation(step: int, loss: float, advance: Advance = advance) -> None:
                advance(step, f"validation loss {loss:.4f} nats")

            trained.append(train_and_predict(module, splits, config=fit, seed=seed, on_validation=on_validation))
        console.print(_ending(seed, trained[-1]))
    return trained


def _ending(seed: int, trained: Trained) -> str:
    fit = trained.fit
    return f"seed {seed}: best validation loss {fit.validation_loss:.4f} nats at step {fit.step}, of {fit.steps} taken"


def _of_model(shape: ForecastConfig, trained: Sequence[Trained]) -> dict[str, Any]:
    return {
        "model": dataclasses.asdict(shape),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(trained[0].fit.params)),
        "fits": [{name: getattr(one.fit, name) for name in ("step", "validation_loss", "steps")} for one in trained],
    }


def _check_onnx(config: ml_collections.ConfigDict) -> None:
    """Refuse to train for a graph that cannot be written."""
    if config.forecast.onnx:
        try:
            import lob_jax.forecasting.export  # noqa: F401
        except ImportError as error:
            raise without_onnx("config.forecast.onnx", error) from error


def _write(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    result: dict[str, Any],
    trained: Sequence[Trained],
    *,
    scaling: dict[str, Any],
) -> None:
    """Write the scores, the parameters of the best seed and, if it is wanted, their graph, and show the table."""
    write_json(workdir / "forecast.json", result)
    best = min(trained, key=lambda one: one.fit.validation_loss).fit
    about = {"forecaster": result["model"], "scaling": scaling, "step": best.step}
    save_weights(workdir / "forecast.safetensors", best.params, about=about)
    if config.forecast.onnx:
        from lob_jax.forecasting.export import GRAPH, export_forecaster

        difference = export_forecaster(workdir)
        console.print(f"written to {workdir / GRAPH}; it differs from the forecaster by {difference:.1e} at most")
    show(table(result))
    if "volatility" in result:
        show(volatility_table(result["volatility"], result["horizons"]))
    console.print(f"all numbers: {workdir / 'forecast.json'}")
