"""Paths as forecasts of the mid price: proper scores by horizon against random walks, with tests of the differences."""

from collections.abc import Mapping
from typing import Any

from lob_jax.figures.scores import curve_figure
from lob_jax.report.material import Material
from lob_jax.report.section import Cell, LeftOut, Number, Picture, Section, Table, picture, table_of

TITLE = "Forecasts from paths"
UNITS = ("events", "seconds")
FILE = "forecasts.json"
PATHS = "paths"


def path_forecasts(material: Material) -> Section | LeftOut:
    """Return the section about the newest paths as forecasts."""
    result = material.generated.get(FILE)
    if not result:
        reason = "the newest generated result has no forecasts; --mode=generate with many prompts and paths makes them"
        return LeftOut(TITLE, reason)
    text = (
        "The distribution of the mid price over the paths of a prompt is a forecast. CRPS is the continuous ranked"
        " probability score in ticks: fewer is better. Random walks have the volatility of the training split, or of"
        " the prompt; training moves are drawn from the training split. p: of the test of Diebold and Mariano on the"
        " CRPS of the paths and of the forecast beside it."
    )
    scored = [result[by] for by in UNITS if result.get(by)]
    tables = [table for one in scored for table in (_scores(one), _coverage(one))]
    tables += [_heads(result["heads"])] if result.get("heads") else []
    return Section(TITLE, (text,), tuple(tables), tuple(_curves(one) for one in scored))


def _number(value: Any, form: str = ".3f") -> Cell:
    return None if value is None else Number(float(value), form)


def _scores(scored: Mapping[str, Any]) -> Table:
    forecasts, against = scored["forecasts"], scored["against"]
    columns = [scored["by"], "prompts"]
    for name in forecasts:
        columns += [f"CRPS, {name}"] + ([f"p, {name}"] if name in against else [])
    rows = []
    for h, horizon in enumerate(scored["horizons"]):
        row: list[Cell] = [f"{horizon:,}", scored["prompts"][h]]
        for name, one in forecasts.items():
            row.append(_number(one["crps"][h]))
            if name in against:
                row.append(_number((against[name]["crps"][h] or {}).get("p")))
        rows.append(row)
    caption = f"CRPS of the mid after so many {scored['by']}, ticks, {scored['paths']} paths from each prompt"
    return table_of(caption, columns, rows)


def _coverage(scored: Mapping[str, Any]) -> Table:
    paths = scored["forecasts"][PATHS]
    bands = list(paths["coverage"])
    rows = []
    for h, horizon in enumerate(scored["horizons"]):
        shares = [_share(paths["coverage"][band][h]) for band in bands]
        rows.append([f"{horizon:,}", *shares, _number(paths["pit_p"][h]), _number(paths["skill"][h])])
    columns = (scored["by"], *(f"in the {float(band):.0%} band" for band in bands), "PIT uniform, p", "skill")
    note = "In grey: 95 % intervals. Skill: 1 - CRPS / CRPS of the random walk."
    return table_of(f"Coverage of the paths' bands, by {scored['by']}", columns, rows, note=note)


def _share(coverage: Mapping[str, float] | None) -> Cell:
    return None if coverage is None else Number(coverage["share"], ".0%", coverage["low"], coverage["high"])


def _heads(scored: Mapping[str, Any]) -> Table:
    losses = [name for name in ("brier", "accuracy", "squared_error") if name in scored]
    columns = ["events", "prompts", *(f"{loss.replace('_', ' ')}, {of}" for loss in losses for of in scored[loss])]
    rows = [
        [f"{horizon:,}", scored["prompts"][k], *(_number(scored[x][of][k]) for x in losses for of in scored[x])]
        for k, horizon in enumerate(scored["horizons"])
    ]
    return table_of("Direction and volatility of the mid: paths against the model's direct heads", columns, rows)


def _curves(scored: Mapping[str, Any]) -> Picture:
    nan = float("nan")
    curves = {
        name: {"at": scored["horizons"], "value": [nan if value is None else value for value in one["crps"]]}
        for name, one in scored["forecasts"].items()
    }
    by, prompts = scored["by"], max(scored["prompts"])
    title = f"Paths as forecasts, n = {prompts:,} prompts, {scored['paths']} paths of each"
    return picture(
        curve_figure(curves, horizon=f"{by} since the prompt", unit="CRPS of the mid, ticks", title=title),
        name=f"crps_{by}",
        alt=f"Curves of the CRPS of the mid price by horizon in {by}, of the paths and of benchmarks",
        caption=f"CRPS by horizon in {by}: a useful model is below the random walks.",
    )
