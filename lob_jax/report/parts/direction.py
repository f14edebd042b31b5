"""Price direction: of the next mid-price move by the model itself, and at horizons by a trained forecaster."""

from collections.abc import Mapping
from typing import Any

from lob_jax.figures.scores import Bar, bar_figure
from lob_jax.report.material import Material
from lob_jax.report.section import LeftOut, Number, Section, Table, picture, table_of

NEXT, AHEAD = "Direction of the next move", "Forecaster of the mid price"
ROWS = (  # key, label, format
    ("balanced_accuracy", "balanced accuracy", ".2%"),
    ("accuracy", "accuracy", ".2%"),
    ("macro_f1", "macro F1", ".4f"),
    ("weighted_f1", "weighted F1", ".4f"),
    ("mcc", "Matthews correlation", ".4f"),
    ("kappa", "Cohen's kappa", ".4f"),
    ("log_loss", "log loss, nats", ".4f"),
    ("prior_log_loss", "log loss of the class shares, nats", ".4f"),
    ("brier", "Brier score", ".4f"),
    ("balanced_floor", "floor of balanced accuracy", ".2%"),
    ("majority_accuracy", "floor of accuracy: always the majority", ".2%"),
)
SCORES = {
    "macro_f1": "macro F1",
    "mcc": "Matthews correlation",
    "log_loss": "log loss, nats",
    "ece": "expected calibration error",
    "accuracy": "accuracy",
}


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
    shares = ", ".join(f"{name} {share:.1%}" for name, share in first["shares"].items())
    text = (
        "The sign of the mid-price move that the next event causes, predicted before the event."
        f" Shares of the classes: {shares}. Most events do not move the mid price, so accuracy alone says little:"
        " balanced accuracy has a floor of one third."
    )
    return Section(NEXT, (text,), (_table(models, first["events"]),))


def _table(models: Mapping[str, Mapping[str, Any]], events: int) -> Table:
    made = []
    for key, label, form in ROWS:
        values = [one.get(key) for one in models.values()]
        if any(value is not None for value in values):
            made.append((label, *(None if value is None else Number(float(value), form) for value in values)))
    corrected = [(one.get("corrected") or {}).get("balanced_accuracy") for one in models.values()]
    if any(value is not None for value in corrected):
        cells = (None if value is None else Number(float(value), ".2%") for value in corrected)
        made.append(("balanced accuracy, corrected for the class shares", *cells))
    caption = f"Direction of the next move, n = {events:,} events"
    return table_of(caption, ("measure", *(name.replace("_", " ") for name in models)), made)


def forecaster(material: Material) -> Section | LeftOut:
    """Return the section about a forecaster that `--mode=forecast` has trained."""
    result = material.get("forecast.json")
    if result is None:
        return LeftOut(AHEAD, material.missing["forecast.json"])
    examples, horizons = result["examples"], result["horizons"]
    text = (
        f"A forecaster of down, flat and up at {len(horizons)} horizons, with thresholds from the training split:"
        f" {examples['train']:,} training and {examples['test']:,} test examples. Intervals:"
        f" {result['draws']:,} bootstrap draws of {result['blocks']} blocks of {result['block_events']} events, 95 %."
    )
    bars = {
        f"{horizon} events": {
            name.replace("_", " "): Bar(*(float(of[k]["mcc"][end]) for end in ("mean", "low", "high")))
            for name, of in result["scores"].items()
        }
        for k, horizon in enumerate(horizons)
    }
    title = f"Direction at horizons, n = {examples['test']:,} test examples"
    figure = bar_figure(bars, unit="Matthews correlation (0: no skill, 1: perfect)", title=title)
    shown = picture(
        figure,
        name="forecaster",
        alt="Horizontal bars: Matthews correlation by horizon, one bar per model, with intervals",
        caption="Skill of the forecaster and of baselines by horizon; lines are 95 % intervals.",
    )
    return Section(AHEAD, (text,), (_scores(result),), (shown,))


def _scores(result: Mapping[str, Any]) -> Table:
    made = []
    for name, of_horizons in result["scores"].items():
        for key, label in SCORES.items():
            if all(key in one for one in of_horizons):
                cells = (_number(one[key]) for one in of_horizons)
                made.append((f"{name.replace('_', ' ')}: {label}", *cells))
    columns = ("model and score", *(f"{horizon} events" for horizon in result["horizons"]))
    return table_of("Scores by horizon, with 95 % intervals", columns, made)


def _number(score: Mapping[str, float]) -> Number:
    return Number(float(score["mean"]), ".3f", score.get("low"), score.get("high"))
