"""Train forecasters, compare them with model-free baselines on the test split, and format the scores as a table."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from rich.table import Table

from lob_jax.data.records.builder import VOCABULARY, open_records
from lob_jax.data.records.split import SPLITS
from lob_jax.data.windows.tape import read_tape
from lob_jax.evaluation.direction.blocks import DRAWS, draw_blocks, number
from lob_jax.evaluation.direction.scores import NAMES, ONE_CLASS, SCORES, TITLES, details
from lob_jax.evaluation.direction.sums import Sums, block_sums
from lob_jax.forecasting.examples import ForecastExamples, ForecastLayout, anchors, fit_scaling
from lob_jax.forecasting.fit import Fit, FitConfig, Predictions, fit, predict
from lob_jax.forecasting.floors import Labelled, lean_table, majority
from lob_jax.forecasting.scores import difference, mean_scores, pinball_ticks, seed_scores
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.tokenizer import Ability, require
from lob_jax.tokens.vocabulary import Vocabulary

VALIDATION = 2048  # target number of validation examples, taken at an even stride
FLOORS = {"majority": majority, "lean": lean_table}
NO_INTERVAL = "there is one block of time, or too few draws have a value"


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
      JSON-serialisable values: those of `describe` and of `report`, and block_events.
    """
    floors = {name: [floor(splits.train, splits.test)] for name, floor in FLOORS.items()}
    compared = score_all(splits.test, floors | probabilities, block_events=block_events, seed=0)
    found = report([compared], models=list(probabilities), references=references)
    return {**describe(splits), "block_events": block_events, **found}


class Compared(NamedTuple):
    """The scores of several models on the same examples.

    Attributes:
      scores: by model and horizon, see `seed_scores`.
      sums: by model and horizon, the sums over all examples and seeds.
      blocks: blocks of the bootstrap.
    """

    scores: dict[str, list[dict[str, dict[str, Any]]]]
    sums: dict[str, list[Sums]]
    blocks: int


def score_all(
    test: Labelled, probabilities: dict[str, Sequence[np.ndarray]], *, block_events: int, seed: int
) -> Compared:
    """Score every model and baseline on the same draws of blocks.

    Args:
      test: the examples.
      probabilities: for each model and baseline, one float64 [N, K, 3] array per seed.
      block_events: events per bootstrap block.
      seed: seed of the draws.
    """
    block = test.blocks(block_events)
    times = draw_blocks(int(block.max()) + 1, draws=DRAWS, seed=seed)
    sums = {
        name: [[block_sums(one[:, k], label, block) for one in seeds] for k, label in enumerate(test.direction.T)]
        for name, seeds in probabilities.items()
    }
    return Compared(
        scores={name: [seed_scores(one, times) for one in of_horizons] for name, of_horizons in sums.items()},
        sums={
            name: [functools.reduce(Sums.plus, (part.whole() for part in one)) for one in of_horizons]
            for name, of_horizons in sums.items()
        },
        blocks=times.shape[1],
    )


def report(folds: Sequence[Compared], *, models: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Return the scores of all models as JSON-serialisable values, means over the folds if there are several.

    Args:
      folds: the scores, usually of a single test split.
      models: the trained models among them.
      references: models or baselines that the MCC of the models is compared with.

    Returns:
      blocks and draws of the bootstrap; scores by model and horizon: mean, std, low and high of each, None where it is
      undefined, with the reason; details by model and horizon, see `direction.scores.details`, over all folds and
      seeds; mcc_above by reference, model and horizon: the model's MCC minus the reference's, with the interval of the
      difference over the same draws.
    """
    names = list(folds[0].scores)
    horizons = range(len(folds[0].scores[names[0]]))
    scored = {name: [mean_scores([fold.scores[name][k] for fold in folds]) for k in horizons] for name in names}
    sums = {
        name: [functools.reduce(Sums.plus, (fold.sums[name][k] for fold in folds)) for k in horizons] for name in names
    }
    return {
        "blocks": sum(fold.blocks for fold in folds),
        "draws": DRAWS,
        "scores": {name: [_plain(one) for one in of_horizons] for name, of_horizons in scored.items()},
        "details": {name: [details(one) for one in of_horizons] for name, of_horizons in sums.items()},
        "mcc_above": {
            reference: {
                name: [
                    _numbers(difference(mine["mcc"], its["mcc"]))
                    for mine, its in zip(scored[name], scored[reference], strict=True)
                ]
                for name in models
                if name != reference
            }
            for reference in references
        },
    }


def describe(splits: Splits) -> dict[str, Any]:
    """Return horizons, numbers of examples, thresholds in basis points, move scales and class shares."""
    return {
        **sizes(splits),
        "smoothing": splits.test.layout.smoothing,
        "threshold_bp": (splits.train.scaling.threshold * 1e4).tolist(),
        "move_scale_ticks": splits.train.scaling.move_scale.tolist(),
    }


def sizes(splits: Any) -> dict[str, Any]:
    """Return horizons, numbers of examples and class shares of the test split."""
    return {
        "horizons": list(splits.test.layout.horizons),
        "examples": {name: len(one) for name, one in splits._asdict().items()},
        "shares": [
            dict(zip(NAMES, (np.bincount(label, minlength=3) / len(label)).tolist(), strict=True))
            for label in splits.test.direction.T
        ],
    }


def _plain(of_scores: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return scores as in JSON; what is undefined is None, with the reason."""
    plain: dict[str, dict[str, Any]] = {}
    for name, one in of_scores.items():
        plain[name] = _numbers({key: value for key, value in one.items() if key != "draws"})
        if plain[name]["mean"] is None:
            plain[name]["undefined"] = ONE_CLASS
        elif plain[name]["low"] is None:
            plain[name]["undefined"] = NO_INTERVAL
    return plain


def _numbers(values: dict[str, float]) -> dict[str, float | None]:
    return {key: number(value) for key, value in values.items()}


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
    """Return a rich table of at most 100 columns: one row per model and score, one column per horizon."""
    examples = result["examples"]
    shown = Table(
        title=f"direction of the mid: {examples['train']:,} training examples, {examples['test']:,} test examples",
        caption=f"means over {result.get('means_over', 'seeds')}, ± half the 95 % interval of {result['draws']:,} "
        f"bootstrap draws of {result['blocks']} blocks, {result['block_events']} events each",
    )
    shown.add_column("")
    shown.add_column("score")
    for horizon in result["horizons"]:
        shown.add_column(f"{horizon} events", justify="right")
    for name, of_horizons in result["scores"].items():
        shown.add_section()
        for place, score in enumerate(SCORES):
            cells = (cell(one[score]) for one in of_horizons)
            shown.add_row("" if place else name, TITLES[score], *cells)
    return shown


def cell(score: dict[str, Any]) -> str:
    """Return a score and half the width of its interval as text; n/a for what is undefined."""
    if score["mean"] is None:
        return "n/a"
    if score["low"] is None:
        return f"{score['mean']:.3f}"
    return f"{score['mean']:.3f}±{(score['high'] - score['low']) / 2:.3f}".replace("±0.", "±.").replace("-0.", "-.")
