"""Model-free forecasts of realised volatility and their scores: what a volatility head has to be better than."""

from typing import Any

import numpy as np
from rich.table import Table

from lob_jax.data.labels.moves import FLOOR
from lob_jax.evaluation.direction.har import fit_har, har_forecast
from lob_jax.evaluation.direction.volatility import TITLES, volatility_scores
from lob_jax.forecasting.examples import ForecastExamples

NAMES = {"training_mean": "training mean", "last": "last", "har": "HAR"}


def realised_volatility(examples: ForecastExamples, *, past: bool) -> np.ndarray:
    """Return the realised volatility over the next k events, or over the last k, ticks, float64 [N, K].

    It is sqrt(sum of the squared moves of the mid + FLOOR^2), as in `lob_jax.data.labels.moves`.
    """
    tape, rows = examples.tape, examples.rows
    move = np.diff(tape.mid2) / (2 * tape.tick[tape.run[:-1]])  # moves between segments are in no anchor's span
    columns = []
    for k in examples.layout.horizons:
        span = rows[:, None] + np.arange(-k, 0) + (0 if past else k)
        columns.append(np.sqrt(np.square(move[span]).sum(1) + FLOOR**2))
    return np.stack(columns, axis=1)


def volatility_report(train: ForecastExamples, test: ForecastExamples, *, block_events: int) -> dict[str, Any]:
    """Score forecasts of volatility at every horizon, as JSON-serialisable values.

    The forecasts are the mean of the training split, the realised volatility over the last span of the same length, and
    a regression on the last spans of all horizons, fitted on the training split (HAR).

    Args:
      train: examples of the training split.
      test: examples to forecast.
      block_events: events per bootstrap block.

    Returns:
      unit; training_mean by horizon; scores by forecast and horizon, see `volatility_scores`.
    """
    (fitted, coming), (last, realised) = (
        (realised_volatility(one, past=True), realised_volatility(one, past=False)) for one in (train, test)
    )
    mean, block = coming.mean(0), test.blocks(block_events)
    scores: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    for k in range(len(mean)):
        forecasts = {
            "training_mean": np.full(len(test), mean[k]),
            "last": last[:, k],
            "har": har_forecast(fit_har(fitted, coming[:, k]), last),
        }
        for name, forecast in forecasts.items():
            scores[name].append(
                volatility_scores(forecast, realised[:, k], training_mean=float(mean[k]), last=last[:, k], block=block)
            )
    return {"unit": f"ticks, with {FLOOR} added in squares", "training_mean": mean.tolist(), "scores": scores}


def volatility_table(result: dict[str, Any], horizons: list[int]) -> Table:
    """Return a rich table of at most 100 columns: one row per forecast and score, one column per horizon."""
    shown = Table(title="realised volatility of the mid, ticks: forecasts without a model")
    shown.add_column("")
    shown.add_column("score")
    for horizon in horizons:
        shown.add_column(f"{horizon} events", justify="right")
    for name, of_horizons in result["scores"].items():
        shown.add_section()
        for place, score in enumerate(TITLES):
            cells = ("n/a" if one[score] is None else f"{one[score]:.3f}" for one in of_horizons)
            shown.add_row("" if place else NAMES[name], TITLES[score], *cells)
    return shown
