"""Forecasters on one LOBSTER day: linear, DeepLOB, TFT and the token transformer, in one table with their floors.

`python -m lob_jax.bench.models --path=MESSAGE_FILE` trains on the morning, stops by what follows, and tests on the rest
of the day, an embargo between each two. All models have the same examples, labels, batch size, optimiser and scores;
each sees of an example what it is made for: DeepLOB the states of the book, the linear model states and flow, the TFT
these and the time from the anchor, the transformer the tokens in front of it with the book's features. `--steps` scales
how long all of them train; what that means for each is among the figures. With `--folder` prepared records are kept
there.
"""

import argparse
import dataclasses
import json
import pathlib
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import jax

from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.data.records.builder import prepare_records
from lob_jax.data.records.records import RecordPlan
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.forecasting.compare import (
    Splits,
    Trained,
    compare,
    open_splits,
    quantile_report,
    train_and_predict,
)
from lob_jax.forecasting.config import ForecastConfig
from lob_jax.forecasting.examples import ForecastLayout, check_forecast_embargo
from lob_jax.forecasting.fit import FitConfig
from lob_jax.forecasting.forecasters import make_forecaster
from lob_jax.models.config import AttentionConfig, HeadsConfig, ModelConfig
from lob_jax.tokens.exact import ExactTokenizer

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
MODELS = ("linear", "deeplob", "tft", "transformer")
TIME_DIGITS = 5
EMBARGO = 400  # events; an example needs 300, and a record's lead of 66 lies in it
LAYOUT = ForecastLayout(history=100, horizons=(10, 20, 50, 100), levels=10, context=128, time_buckets=288)
PLAN = RecordPlan(
    record_events=4096,
    context=LAYOUT.context,
    book_levels=LAYOUT.levels,
    train_fraction=0.6,
    validation_fraction=0.15,
    embargo_events=EMBARGO,
)
SHAPE = ForecastConfig(
    model="linear",
    history=LAYOUT.history,
    horizons=LAYOUT.horizons,
    levels=LAYOUT.levels,
    clock=False,  # the test lies at hours that training never saw
    width=16,
    heads=4,
    quantiles=(0.1, 0.5, 0.9),
    filters=16,
    inception=32,
    units=64,
    dropout=0.1,
    instruments=1,
)
TOKEN_MODEL = ModelConfig(
    d_model=64,
    n_layers=2,
    n_heads=4,
    d_ff=256,
    vocab_size=10_000,
    max_seq_length=LAYOUT.context,
    dropout=0.1,
    tie_embeddings=True,
    norm="pre",
    activation="gelu",
    positions="rotary",
    time_of_day=False,
    time_buckets=LAYOUT.time_buckets,
    day_of_week=False,
    book_state=True,
    book_features=4 * LAYOUT.levels,
    regime="none",
    n_regimes=1,
    n_instruments=0,
    attention=AttentionConfig(
        kind="full",
        backend="xla",
        qk_norm=False,
        horizons=("all",),
        block=64,
        local_blocks=2,
        global_blocks=1,
        random_features=64,
        summaries=32,
        cross_asset=False,
    ),
    heads=HeadsConfig(next_tokens=1, outlook_events=LAYOUT.horizons, contrastive_size=0),
    causal=True,
    scan_layers=False,
    remat="none",
    dtype="float32",
)
RATES = {"linear": 1e-4, "deeplob": 2e-3, "tft": 2e-3, "transformer": 1e-3}
LENGTH = {"linear": 5.0, "deeplob": 1.0, "tft": 1.5, "transformer": 1.5}  # steps, in units of --steps
SHOWN = {"macro_f1": "macro F1", "mcc": "MCC", "log_loss": "log loss", "ece": "ECE"}


def fit_config(model: str, steps: int) -> FitConfig:
    """Return how a model is trained: alike but for the rate and the number of steps."""
    taken = round(LENGTH[model] * steps)
    return FitConfig(
        batch_size=32,
        steps=taken,
        learning_rate=RATES[model],
        weight_decay=0.01,
        clip=1.0,
        validate_every=max(1, taken // 8),
        patience=4,
    )


def prepare(path: pathlib.Path, folder: pathlib.Path) -> None:
    """Make the records of a day, or find them."""
    feed = LobsterFeed()
    check_forecast_embargo(PLAN.embargo_events, LAYOUT)
    days = feed.days(path)
    inputs = {"feed": "lobster", **feed.inputs(days)}
    prepare_records(
        feed, days, folder=folder, tokenizer=ExactTokenizer(TIME_DIGITS), plan=PLAN, inputs=inputs, processes=1
    )


def train_all(model: str, splits: Splits, *, steps: int, seeds: int) -> tuple[list[Trained], float]:
    """Train one model from each seed; return what came, and seconds in all."""
    begin = time.perf_counter()
    module, config = make_forecaster(dataclasses.replace(SHAPE, model=model), TOKEN_MODEL), fit_config(model, steps)
    trained = []
    for seed in range(seeds):
        trained.append(train_and_predict(module, splits, config=config, seed=seed))
        found = trained[-1].fit
        print(
            f"{model}, seed {seed}: validation {found.validation_loss:.4f} nats at step {found.step} of {found.steps}, "
            f"{time.perf_counter() - begin:.0f} s",
            flush=True,
        )
    return trained, time.perf_counter() - begin


def run(splits: Splits, models: Sequence[str], *, steps: int, seeds: int, block_events: int) -> dict[str, Any]:
    """Train and test the models; return the figures as plain values."""
    trained, seconds = {}, {}
    for model in models:
        trained[model], seconds[model] = train_all(model, splits, steps=steps, seeds=seeds)
    result = compare(
        splits,
        {model: [one.predictions.probability for one in runs] for model, runs in trained.items()},
        block_events=block_events,
        references=[name for name in ("linear", "lean") if name == "lean" or name in models],
    )
    return {
        "benchmark": "models",
        "seeds": seeds,
        **result,
        "parameters": {
            model: sum(x.size for x in jax.tree.leaves(runs[0].fit.params)) for model, runs in trained.items()
        },
        "fits": {model: [_fit(one) for one in runs] for model, runs in trained.items()},
        "training": {model: dataclasses.asdict(fit_config(model, steps)) for model in models},
        "seconds": seconds,
        "quantiles": {model: quantile_report(splits, runs, SHAPE.quantiles) for model, runs in trained.items()},
        **surroundings("models", packages=PACKAGES, used="all used"),
    }


def _fit(trained: Trained) -> dict[str, float]:
    return {name: getattr(trained.fit, name) for name in ("step", "steps", "validation_loss")}


def show(figures: dict[str, Any]) -> None:
    """Print one table: a line a model and score, a column a horizon, and what lies above what."""
    print(f"examples {figures['examples']}; thresholds {[round(t, 3) for t in figures['threshold_bp']]} bp")
    print(
        f"means of {figures['seeds']} seeds; 95 % of {figures['draws']} bootstrap draws of {figures['blocks']} blocks, "
        f"{figures['block_events']} events each"
    )
    heads = "".join(f"{horizon:>22d}" for horizon in figures["horizons"])
    print(f"{'':12s} {'':9s}{heads}")
    for model, of_horizons in figures["scores"].items():
        for score, title in SHOWN.items():
            cells = (f"{x[score]['mean']:.3f} [{x[score]['low']:.3f}, {x[score]['high']:.3f}]" for x in of_horizons)
            print(f"{model:12s} {title:9s}" + "".join(f"{cell:>22s}" for cell in cells))
    for reference, others in figures["mcc_above"].items():
        for model, of_horizons in others.items():
            cells = (f"{x['mean']:+.3f} [{x['low']:+.3f}, {x['high']:+.3f}]" for x in of_horizons)
            print(f"MCC of {model} above {reference}: " + ", ".join(cells))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.models", description=__doc__)
    parser.add_argument("--path", type=user_path, required=True, help="a LOBSTER message file of 10 levels")
    parser.add_argument("--folder", type=user_path, help="where prepared records are kept; a passing one if absent")
    parser.add_argument("--models", default=",".join(MODELS), help="which, by commas")
    parser.add_argument(
        "--steps", type=int, default=600, help="of DeepLOB; TFT and transformer 1.5 times, linear 5 times as many"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs a model")
    parser.add_argument("--stride", type=int, default=5, help="events between two anchors")
    parser.add_argument("--block-events", type=int, default=500, help="events a block of the bootstrap")
    chosen = parser.parse_args(arguments)
    models = chosen.models.split(",")
    if unknown := sorted(set(models) - set(MODELS)):
        parser.error(f"--models knows {', '.join(MODELS)}, not {', '.join(unknown)}")
    if chosen.block_events < max(LAYOUT.horizons):
        parser.error(f"--block-events must be at least the longest horizon, {max(LAYOUT.horizons)}")
    if min(chosen.steps, chosen.seeds, chosen.stride) < 1:
        parser.error("--steps, --seeds and --stride must be at least 1")
    with tempfile.TemporaryDirectory() as passing:
        folder = chosen.folder or pathlib.Path(passing) / "records"
        prepare(chosen.path, folder)
        splits = open_splits(folder, LAYOUT, stride=chosen.stride, with_tokens=True)
    figures = run(splits, models, steps=chosen.steps, seeds=chosen.seeds, block_events=chosen.block_events)
    show(figures)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
