"""The page and the table of a comparison of runs."""

from collections.abc import Mapping
from typing import Any

from lob_jax.figures.scores import Bar, bar_figure
from lob_jax.report.material import Material
from lob_jax.report.parts.fidelity import DISTANCES, number
from lob_jax.report.parts.likelihood import indented
from lob_jax.report.parts.settings import versions
from lob_jax.report.section import Cell, Number, Picture, Section, Table, picture, table_of

HOW = (
    "Intervals of 95 %, in grey. Paired: a block bootstrap of the differences event by event; unpaired: from the two"
    " intervals, as if they were independent, because bits by event are not stored; none: no intervals are stored."
)
DIRECTION = {"balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "log_loss": "log loss, nats"}


def comparison_sections(result: Mapping[str, Any]) -> list[Section]:
    """Return the sections of a comparison, see `comparison.compare_runs`."""
    sections = [_summary(result), _likelihood(result)]
    sections += [_fidelity(result)] if result["fidelity"] else []
    sections += [_direction(result)] if any(result["direction"].values()) else []
    sections += [_fills(result)] if any(result["fills"].values()) else []
    return [*sections, versions(Material("comparison", {}, {}))]


def difference_words(label: str, reference: str, one: Mapping[str, Any]) -> str:
    """Return in words how a run compares with the reference in bits per event."""
    if one["value"] is None:
        return f"{label} and {reference} cannot be compared in bits per event."
    how = "fewer" if one["value"] < 0 else "more"
    told = f"{label} needs {abs(one['value']):.3f} bits per event {how} than {reference}"
    if one["low"] is None:
        return f"{told}; no intervals are stored."
    decided = "the interval excludes 0" if one["low"] > 0 or one["high"] < 0 else "the interval includes 0"
    return f"{told} (95 % interval {one['low']:+.3f} to {one['high']:+.3f}, {one['how']}): {decided}."


def _summary(result: Mapping[str, Any]) -> Section:
    reference = result["reference"]
    words = [difference_words(label, reference, one) for label, one in result["differences"].items()]
    if not result["same_data"]:
        words.insert(0, "The runs were not tested on the same events: their bits per event cannot be compared.")
    rows = [
        (label, one["model"] or "unknown", one["version"] or "unknown", one["step"], _loss(one["validation_loss"]))
        for label, one in result["runs"].items()
    ]
    columns = ("run", "model", "version", "best step", "validation loss, nats per token")
    return Section("Summary", tuple(words), (table_of("Runs", columns, rows), _differences(result)))


def _loss(value: float | None) -> Cell:
    return None if value is None else Number(value, ".4f")


def _differences(result: Mapping[str, Any]) -> Table:
    rows = []
    for label, one in result["differences"].items():
        value = None if one["value"] is None else Number(one["value"], "+.3f", one["low"], one["high"])
        rows.append((label, value, one["how"]))
    caption = f"Bits per event more than {result['reference']}"
    return table_of(caption, ("run", "difference", "interval"), rows, note=HOW)


def _likelihood(result: Mapping[str, Any]) -> Section:
    labels = list(result["runs"])
    rows = [
        (indented(one["label"]), *(_cell(one["runs"][label], one["form"]) for label in labels))
        for one in result["likelihood"].values()
    ]
    if not rows:
        return Section("Likelihood", ("None of the runs has been evaluated.",))
    table = table_of("Likelihood of the models by run", ("measure", *labels), rows)
    return Section("Likelihood", (), (table,), (_bits(result),))


def _cell(one: Mapping[str, Any], form: str) -> Cell:
    return None if one["value"] is None else Number(one["value"], form, one["low"], one["high"])


def _bits(result: Mapping[str, Any]) -> Picture:
    kept = {key: one for key, one in result["likelihood"].items() if "bits" in key or key in ("head", "size", "gap")}
    nan = float("nan")
    bars = {
        one["label"].strip(): {
            label: Bar(*(nan if of[end] is None else of[end] for end in ("value", "low", "high")))
            for label, of in one["runs"].items()
        }
        for one in kept.values()
    }
    figure = bar_figure(bars, unit="bits per event", title=f"Bits per event, {len(result['runs'])} runs")
    return picture(
        figure,
        name="bits",
        alt="Horizontal bars: bits per event by field, one bar per run",
        caption="Bits per event of each run; lines are intervals, where they are stored.",
    )


def _fidelity(result: Mapping[str, Any]) -> Section:
    rows = [
        (name, DISTANCES[distance], number(one), *(number(one[part]) for part in ("half", "floor", "ratio")))
        for name, distances in result["fidelity"].items()
        for distance, one in distances.items()
    ]
    columns = ("run and flow", "distance", "mean of the scores", "mean of halves", "floor", "ratio")
    return Section("Fidelity", (), (table_of("Mean of LOB-Bench's scores, beside the noise floor", columns, rows),))


def _direction(result: Mapping[str, Any]) -> Section:
    found = result["direction"]
    rows = [
        (label, *(None if one is None or one.get(key) is None else float(one[key]) for one in found.values()))
        for key, label in DIRECTION.items()
    ]
    table = table_of("Direction of the next mid-price move, by run", ("measure", *found), rows)
    return Section("Direction", (), (table,))


def _fills(result: Mapping[str, Any]) -> Section:
    found = {label: one for label, one in result["fills"].items() if one is not None}
    outcomes = list(dict.fromkeys(name for one in found.values() for name in one["outcomes"]))
    rows = [(name, *(_skill(one["outcomes"].get(name)) for one in found.values())) for name in outcomes]
    columns = ("outcome", *(f"{label}, within {one['horizon']:,} events" for label, one in found.items()))
    caption = "What becomes of resting orders: skill of the paths over the climatology, by run"
    return Section("Fills of resting orders", (), (table_of(caption, columns, rows),))


def _skill(one: Mapping[str, Any] | None) -> Cell:
    skill = None if one is None else one["skill"]
    return None if skill is None else Number(skill["value"], ".3f", skill["low"], skill["high"])
