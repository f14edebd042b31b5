"""Tables of paths as forecasts: CRPS against the benchmarks, coverage and calibration, by horizon."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from lob_jax.evaluation.fidelity.measure import number
from lob_jax.evaluation.paths.forecasts import PATHS
from lob_jax.evaluation.paths.outlooks import HEADS

LOSSES = {"brier": "Brier", "accuracy": "accuracy", "squared_error": "log volatility, squared error"}


def forecast_table(scored: Mapping[str, Any]) -> Table:
    """Return a table of the scores by horizon of what `score_forecasts` returns.

    A p-value is that of the test of Diebold and Mariano on the CRPS of the paths and of the benchmark beside it.
    """
    forecasts, by = scored["forecasts"], scored["by"]
    shown = Table(title=f"mid price after so many {by}: CRPS in ticks, {scored['paths']} paths from each prompt")
    shown.add_column(by, justify="right")
    for heading in ("prompts", *forecasts):
        shown.add_column(heading, justify="right")
    for band in forecasts[PATHS]["coverage"]:
        shown.add_column(f"in the {float(band):.0%} band", justify="right")
    shown.add_column("PIT uniform, p", justify="right")
    for h, horizon in enumerate(scored["horizons"]):
        crps = [_crps(scored, name, h) for name in forecasts]
        bands = [_share(coverage[h]) for coverage in forecasts[PATHS]["coverage"].values()]
        uniform = number(forecasts[PATHS]["pit_p"][h])
        shown.add_row(f"{horizon:,}", f"{scored['prompts'][h]:,}", *crps, *bands, uniform)
    energy = [number(one["energy"]) for one in forecasts.values()]
    shown.add_row("energy", "", *energy, *[""] * len(forecasts[PATHS]["coverage"]), "")
    return shown


def heads_table(scored: Mapping[str, Any]) -> Table:
    """Return a table of what `score_outlooks` returns."""
    shown = Table(title="direction and volatility of the mid: paths against the direct heads")
    shown.add_column("events", justify="right")
    for heading in (
        "prompts",
        *(f"{loss}, {of}" for loss in LOSSES.values() for of in (PATHS, HEADS)),
        "p, Brier",
        "p, volatility",
    ):
        shown.add_column(heading, justify="right")
    for k, horizon in enumerate(scored["horizons"]):
        figures = [number(scored[loss][of][k]) for loss in LOSSES for of in (PATHS, HEADS)]
        tests = [scored[f"{loss}_difference"][k] for loss in ("brier", "squared_error")]
        shown.add_row(f"{horizon:,}", f"{scored['prompts'][k]:,}", *figures, *(number(t and t["p"]) for t in tests))
    return shown


def _crps(scored: Mapping[str, Any], name: str, h: int) -> str:
    """Return the CRPS of a forecast and, of a benchmark, the p-value of its difference from that of the paths."""
    shown = number(scored["forecasts"][name]["crps"][h])
    test = None if name == PATHS else scored["against"][name]["crps"][h]
    return shown if test is None or test["p"] is None else f"{shown} (p {test['p']:.2g})"


def _share(coverage: Mapping[str, float] | None) -> str:
    return "n/a" if coverage is None else f"{coverage['share']:.0%}"
