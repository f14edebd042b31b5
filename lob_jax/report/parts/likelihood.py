"""Likelihood: bits per event of the model and the baselines, by field, with intervals where there are any."""

from collections.abc import Mapping
from typing import Any

from lob_jax.evaluation.metric import rows
from lob_jax.figures.scores import Bar, bar_figure
from lob_jax.report.material import Material
from lob_jax.report.section import Absent, Cell, LeftOut, Number, Picture, Section, Table, picture, table_of

TITLE = "Likelihood"
PARTS = {"head": "head (kind, side, price)", "size": "size", "gap": "leading gap digits", "gap_digits": "gap digits"}
NAMES = {"model": "model", "zero_order": "zero-order", "ngram": "n-gram"}


def likelihood(material: Material) -> Section | LeftOut:
    """Return the section about likelihood."""
    result = material.get("evaluation.json")
    if result is None:
        return LeftOut(TITLE, material.missing["evaluation.json"])
    if "likelihood" not in result:
        return masked_tokens(result)
    models = result["likelihood"]
    first = next(iter(models.values()))
    text = (
        f"Every token of the {result.get('split', 'test')} split is scored once, with at least half a context"
        f" ({result.get('context', 0):,} tokens) before it: {first['events']:,} events, {first['tokens']:,} tokens."
        " Bits per event is the code length of an event under a model: fewer is better. All models are scored on"
        " the same events. The baselines are fitted on the training split and chosen on the validation split."
    )
    pictures = [_bits_picture(models, first["events"])]
    for name in ("reliability",):
        if name in material.pictures:
            pictures.append(material.pictures[name])
    tables = (_table(models), *_calibration(models))
    return Section(TITLE, (text,), tables, tuple(pictures))


def name_of(model: str) -> str:
    """Return the name of a model for tables and figures."""
    return NAMES.get(model, model.replace("_", " "))


def figure_of(metrics: Mapping[str, Any], key: str) -> Any:
    """Return a figure by its key, also from nested dicts; None if it is missing."""
    nested = (figures for figures in metrics.values() if isinstance(figures, dict))
    return next((figures[key] for figures in (metrics, *nested) if key in figures), None)


def bits_of(metrics: Mapping[str, Any], key: str = "bits_per_event") -> Number | None:
    """Return a number of bits with its interval, if the evaluation has one."""
    value = figure_of(metrics, key)
    if not isinstance(value, int | float):
        return None
    low, high = interval_of(metrics, key)
    return Number(float(value), ".2f", low, high)


def interval_of(metrics: Mapping[str, Any], key: str) -> tuple[float | None, float | None]:
    """Return the interval of a figure: an entry of `intervals` as [low, high], or as a dict with these keys."""
    ends = (metrics.get("intervals") or {}).get(key)
    if isinstance(ends, Mapping):
        return ends.get("low"), ends.get("high")
    if isinstance(ends, list | tuple) and len(ends) == 2:
        return ends[0], ends[1]
    return None, None


def indented(label: str) -> str:
    """Return a label whose leading spaces, which mark a part of the row above, survive in HTML."""
    text = label.lstrip()
    return "\u2003" * bool(len(label) - len(text)) + text


def _table(models: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = ("measure", *(name_of(model) for model in models))
    made = []
    for row in rows():
        values = [figure_of(metrics, row.key) for metrics in models.values()]
        if any(value is not None for value in values):
            made.append((indented(row.label), *(_cell(m, row.key, row.form) for m in models.values())))
    intervals = any(metrics.get("intervals") for metrics in models.values())
    note = "In grey: 95 % intervals of a block bootstrap." if intervals else "This evaluation has no intervals."
    first = next(iter(models.values()))
    return table_of(f"Likelihood and accuracy, n = {first['events']:,} events", columns, made, note=note)


def _cell(metrics: Mapping[str, Any], key: str, form: str) -> Cell:
    value = figure_of(metrics, key)
    if not isinstance(value, int | float):
        return Absent("not defined for this model")
    return Number(float(value), form, *interval_of(metrics, key))


def _bits_picture(models: Mapping[str, Mapping[str, Any]], events: int) -> Picture:
    bars = {
        label: {name_of(model): _bar(bits_of(metrics, key)) for model, metrics in models.items()}
        for key, label in PARTS.items()
        if any(figure_of(metrics, key) is not None for metrics in models.values())
    }
    figure = bar_figure(bars, unit="bits per event", title=f"Bits per event by field, n = {events:,} events")
    return picture(
        figure,
        name="bits",
        alt="Horizontal bars: bits per event by field, one bar per model",
        caption="Bits per event by field of the event. Gap digits are nearly noise: no model can predict them.",
    )


def _bar(number: Number | None) -> Bar:
    if number is None:
        return Bar(float("nan"))
    nan = float("nan")
    return Bar(number.value, nan if number.low is None else number.low, nan if number.high is None else number.high)


def _calibration(models: Mapping[str, Mapping[str, Any]]) -> tuple[Table, ...]:
    """Return a table of calibration errors by field, if the evaluation has them."""
    found = {model: _errors(metrics) for model, metrics in models.items()}
    fields = list(dict.fromkeys(field for errors in found.values() for field in errors))
    if not fields:
        return ()
    shown = [(field.replace("_", " "), *(errors.get(field) for errors in found.values())) for field in fields]
    caption = "Expected calibration error by field (0: probabilities equal frequencies)"
    return (table_of(caption, ("field", *(name_of(model) for model in found)), shown),)


def _errors(metrics: Mapping[str, Any]) -> dict[str, float]:
    fields = (metrics.get("calibration") or {}).items()
    return {field: one["ece"] for field, one in fields if isinstance(one, Mapping) and "ece" in one}


def masked_tokens(result: Mapping[str, Any]) -> Section:
    """Return the section of a model of masked tokens, which has no code length of events."""
    keys = [key for key, value in result["model"].items() if isinstance(value, int | float)]
    shown = [(key.replace("_", " "), *(result[name].get(key) for name in ("model", "zero_order"))) for key in keys]
    text = f"The model predicts masked tokens from both sides: {result['hidden']:,} tokens were masked and scored."
    return Section(TITLE, (text,), (table_of("Masked tokens", ("measure", "model", "zero-order"), shown),))
