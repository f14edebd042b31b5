"""Price direction: of the next mid-price move by the model itself, and at horizons by a trained forecaster."""

from collections.abc import Mapping
from typing import Any

from lob_jax.evaluation.direction.scores import TITLES
from lob_jax.figures.scores import Bar, bar_figure
from lob_jax.report.material import Material
from lob_jax.report.section import Absent, Cell, LeftOut, Number, Picture, Section, Table, picture, table_of

NEXT, AHEAD = "Direction of the next move", "Forecaster of the mid price"
FLOORS = {
    "balanced_floor": "floor of balanced accuracy",
    "majority_accuracy": "floor of accuracy: always the majority",
    "prior_log_loss": "log loss of the training frequencies",
    "prior_brier": "Brier score of the training frequencies",
}
SHARES = ("accuracy", "balanced_accuracy", "ece", "balanced_floor", "majority_accuracy")  # shown in per cent


def direction(material: Material) -> Section | LeftOut:
    """Return the section about the direction of the next mid-price move."""
    result = material.get("evaluation.json")
    if result is None:
        return LeftOut(NEXT, material.missing["evaluation.json"])
    if "direction" not in result:
        reason = result.get("direction_left_out") or "config.evaluate.direction_events is 0"
        return LeftOut(NEXT, f"{reason}")
    models = {name: one for name, one in result["direction"].items() if isinstance(one, Mapping)}
    first = next(iter(models.values()))
    shares = ", ".join(f"{name} {_known(share):.1%}" for name, share in first["shares"].items())
    text = (
        "The sign of the mid-price move that the next event causes, predicted before the event."
        f" Shares of the classes: {shares}. Most events do not move the mid price, so accuracy alone says little:"
        " balanced accuracy has a floor of one third."
    )
    return Section(NEXT, (text,), (_table(models, first["events"]),))


def _table(models: Mapping[str, Mapping[str, Any]], events: int) -> Table:
    made = [
        (label, *(_value(one, key) for one in models.values()))
        for key, label in (TITLES | FLOORS).items()
        if any(key in one for one in models.values())
    ]
    corrected = [(one.get("corrected") or {}).get("balanced_accuracy") for one in models.values()]
    if any(value is not None for value in corrected):
        cells = (None if value is None else Number(float(value), ".2%") for value in corrected)
        made.append(("balanced accuracy, corrected for the class shares", *cells))
    note = "In grey: 95 % intervals." if any(one.get("intervals") for one in models.values()) else ""
    caption = f"Direction of the next move, n = {events:,} events"
    return table_of(caption, ("measure", *(name.replace("_", " ") for name in models)), made, note=note)


def _value(one: Mapping[str, Any], key: str) -> Cell:
    value = one.get(key)
    if value is None:
        return Absent((one.get("undefined") or {}).get(key) or "not computed")
    low, high = (one.get("intervals") or {}).get(key) or (None, None)
    return Number(float(value), ".2%" if key in SHARES else ".4f", low, high)


def forecaster(material: Material) -> Section | LeftOut:
    """Return the section about a forecaster that `--mode=forecast` has trained."""
    result = material.get("forecast.json")
    if result is None:
        return LeftOut(AHEAD, material.missing["forecast.json"])
    examples, horizons = result["examples"], result["horizons"]
    counts = " and ".join(f"{count:,} {name}" for name, count in examples.items())
    text = (
        f"A forecaster of down, flat and up at {len(horizons)} horizons, with thresholds from the training split:"
        f" {counts} examples. Intervals: {result['draws']:,} bootstrap draws of {result['blocks']} blocks of"
        f" {result['block_events']} events, 95 %."
    )
    return Section(AHEAD, (text,), (_scores(result),), (_skill(result),))


def _skill(result: Mapping[str, Any]) -> Picture:
    bars = {
        f"{horizon} events": {
            name.replace("_", " "): Bar(*(_known(of[k]["mcc"][end]) for end in ("mean", "low", "high")))
            for name, of in result["scores"].items()
        }
        for k, horizon in enumerate(result["horizons"])
    }
    title = f"Direction at horizons, n = {result['examples'].get('test', 0):,} test examples"
    return picture(
        bar_figure(bars, unit="Matthews correlation (0: no skill, 1: perfect)", title=title),
        name="forecaster",
        alt="Horizontal bars: Matthews correlation by horizon, one bar per model, with intervals",
        caption="Skill of the forecaster and of baselines by horizon; lines are 95 % intervals.",
    )


def _known(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _scores(result: Mapping[str, Any]) -> Table:
    made = [
        (f"{name.replace('_', ' ')}: {label}", *(_mean(one[key]) for one in of_horizons))
        for name, of_horizons in result["scores"].items()
        for key, label in TITLES.items()
        if all(key in one for one in of_horizons)
    ]
    columns = ("model and score", *(f"{horizon} events" for horizon in result["horizons"]))
    return table_of("Scores by horizon, with 95 % intervals", columns, made)


def _mean(score: Mapping[str, Any]) -> Cell:
    if score["mean"] is None:
        return Absent(score.get("undefined") or "not defined")
    return Number(float(score["mean"]), ".3f", score.get("low"), score.get("high"))
