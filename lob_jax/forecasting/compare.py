"""Train forecasters, compare them with model-free baselines on the test split, and format the scores as a table."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from rich.table import Table

from lob_jax.data.records.builder import VOCABULARY, open_records
from lob_jax.data.records.split import SPLITS
from lob_jax.data.windows.tape import read_tape
from lob_jax.forecasting.examples import ForecastExamples, ForecastLayout, anchors, fit_scaling
from lob_jax.forecasting.fit import Fit, FitConfig, Predictions, fit, predict
from lob_jax.forecasting.floors import lean_table, majority
from lob_jax.forecasting.scores import (
    SCORES,
    block_sums,
    difference,
    draw_blocks,
    pinball_ticks,
    seed_scores,
)
from lob_jax.tokens.load import tokenizer_for
from lob_jax.tokens.tokenizer import Ability, require
from lob_jax.tokens.vocabulary import Vocabulary

VALIDATION = 2048  # target number of validation examples, taken at an even stride
FLOORS = {"majority": majority, "lean": lean_table}
NAMES = ("down", "flat", "up")
DRAWS = 1000  # bootstrap draws
TITLES = {"macro_f1": "macro F1", "mcc": "MCC", "log_loss": "log loss", "ece": "ECE", "accuracy": "accuracy"}


class Splits(NamedTuple):
    """The examples of the three splits, with one layout; everything fitted is fitted on the training split."""

    train: ForecastExamples
    validation: ForecastExamples
    test: ForecastExamples


class Trained(NamedTuple):
    """A forecaster trained from one seed, and its predictions on the test split."""

    fit: Fit
    predictions: Predictions


def open_splits(folder: pathlib.Path, layout: ForecastLayout, *, stride: int, with_tokens: bool) -> Splits:
    """Replay prepared records, fit thresholds and normalisers on the training split, and build the examples.

    Args:
      folder: the folder of prepared records.
      layout: what an example contains.
      stride: anchors between two training or two test examples; validation is thinned to about VALIDATION examples.
      with_tokens: include the tokens before each anchor, which only the token model reads.

    Raises:
      InputError: there are no records, or a split has no example.
    """
    folder = pathlib.Path(folder)
    tokenizer = tokenizer_for(Vocabulary.load(folder / VOCABULARY))
    require(tokenizer, Ability.EVENTS, what="a forecast", where="the vocabulary of the records")
    tapes = [read_tape(open_records(folder, split), tokenizer, levels=layout.levels) for split in SPLITS]
    scaling = fit_scaling(tapes[0], layout)
    strides = (stride, max(stride, len(anchors(tapes[1], layout)) // VALIDATION), stride)
    return Splits(
        *(
            ForecastExamples(tape, layout, scaling, stride=every, with_tokens=with_tokens)
            for tape, every in zip(tapes, strides, strict=True)
        )
    )


def train_and_predict(
    module: nn.Module,
    splits: Splits,
    *,
    config: FitConfig,
    seed: int,
    on_validation: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train a forecaster from one seed, and predict the test split.

    Args:
      module: the forecaster.
      splits: the examples.
      config: training settings.
      seed: seed of parameters, example order and dropout.
      on_validation: called with the steps taken and the validation loss.
    """
    found = fit(module, splits.train, splits.validation, config=config, seed=seed, on_validation=on_validation)
    return Trained(found, predict(module, found.params, splits.test, batch_size=config.batch_size))


def compare(
    splits: Splits,
    probabilities: dict[str, Sequence[np.ndarray]],
    *,
    block_events: int,
    references: Sequence[str] = ("lean",),
) -> dict[str, Any]:
    """Score forecasts of the test split together with the baselines in FLOORS.

    Args:
      splits: the examples.
      probabilities: for each model, one float64 [N, K, 3] array per seed.
      block_events: events per bootstrap block.
      references: models or baselines that the MCC of the other models is compared with.

    Returns:
      JSON-serialisable values: those of `describe`; blocks, block_events and draws of the bootstrap; scores by model
      and horizon, see `seed_scores`; mcc_above by reference, model and horizon: the model's MCC minus the reference's,
      with the interval of the difference over the same draws.
    """
    test, block = splits.test, splits.test.blocks(block_events)
    times = draw_blocks(int(block.max()) + 1, draws=DRAWS, seed=0)
    everyone = {name: [floor(splits.train, test)] for name, floor in FLOORS.items()} | dict(probabilities)
    scored = {
        name: [
            seed_scores([block_sums(one[:, k], test.direction[:, k], block) for one in seeds], times)
            for k in range(test.direction.shape[1])
        ]
        for name, seeds in everyone.items()
    }
    above = {
        reference: {
            name: [
                difference(mine["mcc"], its["mcc"]) for mine, its in zip(scored[name], scored[reference], strict=True)
            ]
            for name in probabilities
            if name != reference
        }
        for reference in references
    }
    return {
        **describe(splits),
        "blocks": times.shape[1],
        "block_events": block_events,
        "draws": DRAWS,
        "scores": {name: [_plain(one) for one in of_horizons] for name, of_horizons in scored.items()},
        "mcc_above": above,
    }


def describe(splits: Splits) -> dict[str, Any]:
    """Return horizons, numbers of examples, thresholds in basis points, move scales and class shares."""
    return {
        "horizons": list(splits.test.layout.horizons),
        "examples": {name: len(one) for name, one in splits._asdict().items()},
        "threshold_bp": (splits.train.scaling.threshold * 1e4).tolist(),
        "move_scale_ticks": splits.train.scaling.move_scale.tolist(),
        "shares": [
            dict(zip(NAMES, (np.bincount(label, minlength=3) / len(label)).tolist(), strict=True))
            for label in splits.test.direction.T
        ],
    }


def _plain(of_scores: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        name: {key: float(value) for key, value in one.items() if key != "draws"} for name, one in of_scores.items()
    }


def quantile_report(splits: Splits, trained: Sequence[Trained], levels: tuple[float, ...]) -> dict[str, Any] | None:
    """Return pinball loss in ticks and coverage by horizon, averaged over seeds; None for a model without quantiles.

    The baseline is the pinball loss of the training split's unconditional quantiles, which ignore the anchor.
    """
    if trained[0].predictions.quantiles is None:
        return None
    test, scale = splits.test, splits.train.scaling.move_scale[:, None]
    in_ticks = [one.predictions.quantiles * scale for one in trained]
    fixed = np.quantile(splits.train.move, levels, axis=0).T[None]
    return {
        "levels": list(levels),
        "pinball_ticks": np.mean([pinball_ticks(one, test.move, levels) for one in in_ticks], axis=0).tolist(),
        "pinball_ticks_of_training_quantiles": pinball_ticks(fixed, test.move, levels).tolist(),
        "share_below": np.mean([(test.move[..., None] <= one).mean(0) for one in in_ticks], axis=0).tolist(),
    }


def table(result: dict[str, Any]) -> Table:
    """Return a rich table: one row per model and score, one column per horizon, the interval below each MCC."""
    examples = result["examples"]
    shown = Table(
        title=f"direction of the mid: {examples['train']:,} training examples, {examples['test']:,} test examples",
        caption=f"means over seeds; 95 %: of {result['draws']:,} bootstrap draws of {result['blocks']} blocks, "
        f"{result['block_events']} events each",
    )
    shown.add_column("")
    shown.add_column("score")
    for horizon in result["horizons"]:
        shown.add_column(f"{horizon} events", justify="right")
    for name, of_horizons in result["scores"].items():
        shown.add_section()
        for place, score in enumerate(SCORES):
            shown.add_row("" if place else name, TITLES[score], *(f"{one[score]['mean']:.3f}" for one in of_horizons))
            if score == "mcc":
                spans = (f"{one[score]['low']:.3f}..{one[score]['high']:.3f}" for one in of_horizons)
                shown.add_row("", "  95 %", *spans)
    return shown
