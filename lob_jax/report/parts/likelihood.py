"""Likelihood: bits per event of the model and the baselines, by field, with intervals and calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

from lob_jax.evaluation.metric import rows
from lob_jax.evaluation.table import TITLES, figure
from lob_jax.figures.reliability import reliability_figure
from lob_jax.figures.scores import Bar, bar_figure
from lob_jax.report.material import Material
from lob_jax.report.section import Absent, Cell, LeftOut, Number, Picture, Section, Table, picture, table_of

TITLE = "Likelihood"
BITS = "bits_per_event"
PARTS = {
    "head": "head (kind, side, price)",
    "size": "size",
    "rank": "rank of the order",
    "gap": "leading gap digits",
    "gap_digits": "gap digits",
}
NAMES = TITLES | {"model_grammar": "model, in grammar", "in_book": "model, in book"}
OURS = ("model", "model_grammar", "in_book")  # the model's own bars; in the book, baselines are restricted to it too
CALIBRATION = {
    "count": "predictions",
    "ece": "calibration error",
    "ece_by_chance": "of a calibrated model, by chance",
    "rms_debiased": "root mean square, without chance",
}


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
    pictures += _reliability((result.get("calibration") or {}).get("model"))
    tables = (_table(models, result.get("bootstrap")), *_in_book(result), *_differences(result), *_calibration(result))
    return Section(TITLE, (text, *_grammar(models)), tables, tuple(pictures))


def name_of(model: str) -> str:
    """Return the name of a model for tables and figures."""
    return NAMES.get(model, model.replace("_", " "))


def bits_of(metrics: Mapping[str, Any], key: str = BITS) -> Number | None:
    """Return a number of bits with its interval, if the evaluation has one."""
    value = figure(metrics, key)
    return None if value is None else Number(float(value), ".2f", *interval_of(metrics, key))


def interval_of(metrics: Mapping[str, Any], key: str) -> tuple[float | None, float | None]:
    """Return the interval of a figure, (None, None) if it has none."""
    low, high = (metrics.get("intervals") or {}).get(key) or (None, None)
    return low, high


def indented(label: str) -> str:
    """Return a label whose leading spaces, which mark a part of the row above, survive in HTML."""
    text = label.lstrip()
    return "\u2003" * bool(len(label) - len(text)) + text


def _grammar(models: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    outside = models.get("model", {}).get("outside_grammar")
    if outside is None:
        return ()
    text = (
        f"The model is shown twice: as the network predicts, and within the grammar, where the {outside:.3%} of"
        " probability that it gives on average to impossible tokens is removed and the rest renormalised."
    )
    return (text,)


def _in_book(result: Mapping[str, Any]) -> tuple[Table, ...]:
    """Return the table of all models restricted to the tokens that the book allows, if the evaluation has it."""
    models = result.get("in_book")
    if not models:
        return ()
    escapes, events = models["model"]["escapes"], models["model"]["events"]
    caption = f"The same in the book, n = {events:,} events; {escapes:.3%} of the tokens are outside their sets"
    return (_table(models, result.get("bootstrap"), caption=caption),)


def _table(models: Mapping[str, Mapping[str, Any]], bootstrap: Mapping[str, Any] | None, *, caption: str = "") -> Table:
    columns = ("measure", *(name_of(model) for model in models))
    made = []
    for row in rows():
        if any(figure(metrics, row.key) is not None for metrics in models.values()):
            made.append((indented(row.label), *(_cell(m, row.key, row.form) for m in models.values())))
    note = "This evaluation has no intervals."
    if bootstrap:
        note = (
            f"In grey: {bootstrap['level']:.0%} intervals from {bootstrap['resamples']:,} resamples in blocks of"
            f" {bootstrap['block_events']:,} events."
        )
    events = next(iter(models.values()))["events"]
    return table_of(caption or f"Likelihood and accuracy, n = {events:,} events", columns, made, note=note)


def _cell(metrics: Mapping[str, Any], key: str, form: str) -> Cell:
    value = figure(metrics, key)
    if value is None:
        return Absent("not defined for this model")
    return Number(float(value), form, *interval_of(metrics, key))


def _bits_picture(models: Mapping[str, Mapping[str, Any]], events: int) -> Picture:
    bars = {
        label: {name_of(model): bar_of(bits_of(metrics, key)) for model, metrics in models.items()}
        for key, label in PARTS.items()
        if any(figure(metrics, key) is not None for metrics in models.values())
    }
    bars = bars or {"all": {name_of(model): bar_of(bits_of(metrics)) for model, metrics in models.items()}}
    drawn = bar_figure(bars, unit="bits per event", title=f"Bits per event by field, n = {events:,} events")
    return picture(
        drawn,
        name="bits",
        alt="Horizontal bars: bits per event by field, one bar per model",
        caption="Bits per event by field of the event. Gap digits are nearly noise: no model can predict them.",
    )


def bar_of(number: Number | None) -> Bar:
    """Return a number as the bar of a figure."""
    nan = float("nan")
    if number is None:
        return Bar(nan)
    return Bar(number.value, nan if number.low is None else number.low, nan if number.high is None else number.high)


def difference_of(result: Mapping[str, Any], bar: str, baseline: str) -> Number | None:
    """Return the bits per event of the model minus those of a baseline, with its paired interval; None if unknown."""
    found = (((result.get("differences") or {}).get(bar) or {}).get(baseline) or {}).get(BITS)
    return None if found is None else Number(found[0], "+.3f", found[1], found[2])


def _differences(result: Mapping[str, Any]) -> tuple[Table, ...]:
    """Return a table of the model's bits per event minus those of each baseline, if the evaluation has them."""
    bars = [bar for bar in OURS if bar in (result.get("differences") or {})]
    if not bars:
        return ()
    baselines = list(dict.fromkeys(name for bar in bars for name in result["differences"][bar]))
    made = [(name_of(name), *(difference_of(result, bar, name) for bar in bars)) for name in baselines]
    note = "In grey: paired intervals. Below 0, the model needs fewer bits than the baseline."
    columns = ("baseline", *(f"{name_of(bar)}, minus the baseline" for bar in bars))
    return (table_of("Differences in bits per event", columns, made, note=note),)


def _calibration(result: Mapping[str, Any]) -> tuple[Table, ...]:
    """Return a table of calibration errors by field, if the evaluation has them."""
    found = (result.get("calibration") or {}).get("model") or {}
    fields = {name: one for name, one in found.items() if "count" in one}
    kinds = (found.get("kinds") or {}).get("by_kind") or {}
    fields |= {f"probability of {name}": one for name, one in kinds.items()}
    if not fields:
        return ()
    made = [(name.replace("_", " "), *_errors(one)) for name, one in fields.items()]
    caption = "Calibration: mean difference between predicted probability and frequency, by field"
    return (table_of(caption, ("field", *CALIBRATION.values()), made),)


def _reliability(found: Mapping[str, Any] | None) -> list[Picture]:
    """Return the reliability diagrams of the model, if the evaluation has its calibration."""
    if not found:
        return []
    shown = picture(
        reliability_figure(found, title="Reliability of the model's predictions on the test split"),
        name="reliability",
        alt="Reliability diagrams by field: frequency against predicted probability",
        caption="How often the likeliest token came, against its predicted probability; on the diagonal is calibrated.",
    )
    return [shown]


def _errors(one: Mapping[str, Any]) -> Sequence[Cell]:
    cells: list[Cell] = [one.get("count")]
    errors = [one.get(key) for key in CALIBRATION if key != "count"]
    return [*cells, *(None if value is None else Number(float(value), ".2%") for value in errors)]


def masked_tokens(result: Mapping[str, Any]) -> Section:
    """Return the section of a model of masked tokens, which has no code length of events."""
    keys = [key for key, value in result["model"].items() if isinstance(value, int | float)]
    shown = [(key.replace("_", " "), *(result[name].get(key) for name in ("model", "zero_order"))) for key in keys]
    text = f"The model predicts masked tokens from both sides: {result['hidden']:,} tokens were masked and scored."
    return Section(TITLE, (text,), (table_of("Masked tokens", ("measure", "model", "zero-order"), shown),))
