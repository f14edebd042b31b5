"""Compare forecasters on one LOBSTER day: linear, DeepLOB, TFT, the token transformer and model-free baselines.

`python -m lob_jax.bench.models --path=MESSAGE_FILE` trains on the morning, uses the next part of the day for early
stopping, and tests on the rest, with an embargo between any two parts. All models share examples, labels, batch size,
optimiser and scores, but read different inputs: DeepLOB the book states, the linear model states and flow, the TFT
these and the time from the anchor, the transformer the tokens before the anchor with the book features. `--steps`
scales the training length of every model; the JSON output has each model's number of steps. `--folder` keeps the
prepared records.
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
EMBARGO = 400  # events: an example reaches over 300, and the lead of 66 before a record comes out of the embargo
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
    clock=False,  # the test split covers hours of the day that training never sees
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
    head_size=0,
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
    standardize_book=True,
    flow_state=False,
    queue_state=False,
    price_memory=False,
    latest_tokens=False,
    token_parts=False,
    digits_rank=0,
    gap_components=0,
    counts=0,
    pointer=False,
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
    mask="none",
    scan_layers=False,
    remat="none",
    dtype="float32",
)
RATES = {"linear": 1e-4, "deeplob": 2e-3, "tft": 2e-3, "transformer": 1e-3}
LENGTH = {"linear": 5.0, "deeplob": 1.0, "tft": 1.5, "transformer": 1.5}  # training steps, as multiples of --steps
SHOWN = {"macro_f1": "macro F1", "mcc": "MCC", "log_loss": "log loss", "ece": "ECE"}


def fit_config(model: str, steps: int) -> FitConfig:
    """Return the training settings of a model; only learning rate and number of steps differ between models."""
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
    """Prepare the records of a day, unless the folder already holds them."""
    feed = LobsterFeed()
    check_forecast_embargo(PLAN.embargo_events, LAYOUT)
    days = feed.days(path)
    inputs = {"feed": "lobster", **feed.inputs(days)}
    prepare_records(
        feed, days, folder=folder, tokenizer=ExactTokenizer(TIME_DIGITS), plan=PLAN, inputs=inputs, processes=1
    )


def train_all(model: str, splits: Splits, *, steps: int, seeds: int) -> tuple[list[Trained], float]:
    """Train one model from each seed; return the trained models and the total seconds."""
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
    """Train and test the models; return the results as JSON-serialisable values.

    Args:
      splits: the examples.
      models: names of the models.
      steps: training steps, before the factor in LENGTH.
      seeds: training runs per model.
      block_events: events per bootstrap block.
    """
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
    """Print a table with one line per model and score and one column per horizon, then the differences in MCC."""
    print(f"examples {figures['examples']}; thresholds {[round(t, 3) for t in figures['threshold_bp']]} bp")
    print(
        f"means of {figures['seeds']} seeds; 95 % intervals over {figures['draws']} bootstrap draws of "
        f"{figures['blocks']} blocks, {figures['block_events']} events each"
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
    parser.add_argument("--folder", type=user_path, help="folder for the prepared records; a temporary one if absent")
    parser.add_argument("--models", default=",".join(MODELS), help="models to train, separated by commas")
    parser.add_argument(
        "--steps",
        type=int,
        default=600,
        help="training steps of DeepLOB; TFT and transformer take 1.5 times, linear 5 times as many",
    )
    parser.add_argument("--seeds", type=int, default=3, help="training runs per model")
    parser.add_argument("--stride", type=int, default=5, help="use one anchor in this many")
    parser.add_argument("--block-events", type=int, default=500, help="events per bootstrap block")
    chosen = parser.parse_args(arguments)
    models = chosen.models.split(",")
    if unknown := sorted(set(models) - set(MODELS)):
        parser.error(f"--models accepts {', '.join(MODELS)}, not {', '.join(unknown)}")
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
