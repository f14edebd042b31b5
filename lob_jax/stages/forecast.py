"""The stage `forecast`: train a forecaster of the mid price, and test it."""

import dataclasses
import pathlib

import jax
import ml_collections

from lob_jax.config import sections
from lob_jax.console import COMPILING, Advance, bar, console, show
from lob_jax.forecasting.compare import Trained, compare, open_splits, quantile_report, table, train_and_predict
from lob_jax.forecasting.examples import check_forecast_embargo
from lob_jax.forecasting.forecasters import make_forecaster
from lob_jax.runs.workdir import write_json
from lob_jax.stages.data import prepare
from lob_jax.training.run.weights import save_weights


def forecast(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Prepare if necessary, train the forecaster that the configuration names, and test it next to simple baselines."""
    section, layout = config.forecast, sections.forecast_layout(config)
    check_forecast_embargo(config.data.embargo_events, layout)
    prepare(config, workdir)
    splits = open_splits(workdir / "records", layout, stride=section.stride, with_tokens=section.model == "transformer")
    shape = sections.forecast_config(config, instruments=len(splits.train.scaling.symbols))
    module = make_forecaster(shape, sections.model_config(config) if splits.train.with_tokens else None)
    console.print(", ".join(f"{len(one):,} {name}" for name, one in splits._asdict().items()) + " examples")
    trained = []
    for seed in range(config.seed, config.seed + section.seeds):
        with bar(f"{section.model}, seed {seed}", total=section.steps, unit="steps", first=COMPILING) as advance:
            fit = sections.fit_config(config)

            def on_validation(step: int, loss: float, advance: Advance = advance) -> None:
                advance(step, f"validation loss {loss:.4f} nats")

            trained.append(train_and_predict(module, splits, config=fit, seed=seed, on_validation=on_validation))
        console.print(_ending(seed, trained[-1]))
    result = {
        "model": dataclasses.asdict(shape),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(trained[0].fit.params)),
        "fits": [{name: getattr(one.fit, name) for name in ("step", "validation_loss", "steps")} for one in trained],
        **compare(
            splits,
            {section.model: [one.predictions.probability for one in trained]},
            block_events=section.block_events,
        ),
        "quantiles": quantile_report(splits, trained, shape.quantiles),
    }
    write_json(workdir / "forecast.json", result)
    best = min(trained, key=lambda one: one.fit.validation_loss).fit
    about = {"forecaster": dataclasses.asdict(shape), "scaling": splits.train.scaling.plain(), "step": best.step}
    save_weights(workdir / "forecast.safetensors", best.params, about=about)
    show(table(result))
    console.print(f"all numbers: {workdir / 'forecast.json'}")


def _ending(seed: int, trained: Trained) -> str:
    fit = trained.fit
    return f"seed {seed}: best validation loss {fit.validation_loss:.4f} nats at step {fit.step}, of {fit.steps} taken"
