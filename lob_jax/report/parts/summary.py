"""The summary: which model, on which data, the main numbers beside their references, and what they mean in words."""

from collections.abc import Mapping
from typing import Any

from lob_jax.report.material import Material
from lob_jax.report.parts.fidelity import headline, model_names, number
from lob_jax.report.parts.likelihood import OURS, bits_of, difference_of, name_of
from lob_jax.report.parts.settings import describe_model
from lob_jax.report.section import Cell, Number, Section, interval, table_of

TITLE = "Summary"
TRAINING = "training"  # the name of a second reference among the flows of a comparison
# Ratio of generated v real to the floor, real v real, up to which a verdict holds.
VERDICTS = (
    (1.1, "indistinguishable from real flow by these scores at this sample size"),
    (1.5, "close to real flow"),
    (2.5, "clearly different from real flow"),
    (float("inf"), "far from real flow"),
)

Row = tuple[str, Cell, str, Cell, Cell]


def summary(material: Material) -> Section:
    """Return the first section of a report."""
    rows: list[Row] = []
    words = [_what(material)]
    for of_result in (_likelihood, _direction, _fidelity):
        found, sentence = of_result(material)
        rows += found
        words += [sentence] if sentence else []
    columns = ("measure", "this model", "reference", "of the reference", "ratio")
    tables = (table_of("Main numbers", columns, rows),) if rows else ()
    return Section(TITLE, tuple(words), tables)


def _what(material: Material) -> str:
    config, manifest = material.get("config.json"), material.get("records/records.json")
    model = describe_model(config) if config else "Results without the configuration of a run."
    if manifest is None:
        return model
    train, test = (manifest["splits"].get(name, {}).get("events", 0) for name in ("train", "test"))
    symbols = ", ".join(dict.fromkeys(day["symbol"] for day in manifest["days"]))
    days = len(manifest["days"])
    told = f"Trained on {train:,} events and tested on {test:,} events of {symbols}, {days} day{'s' * (days > 1)}."
    return f"{model} {told}"


def _likelihood(material: Material) -> tuple[list[Row], str]:
    result, config = material.get("evaluation.json") or {}, material.get("config.json") or {}
    # A model that was trained in the book is compared with baselines that are restricted to it, too.
    by_book = config.get("model", {}).get("mask") == "book" and "in_book" in result
    models = result.get("in_book" if by_book else "likelihood") or {}
    mine = bits_of(models.get("model", {}))
    others = {name: bits_of(metrics) for name, metrics in models.items() if name not in OURS}
    known = {name: bits for name, bits in others.items() if bits is not None}
    if mine is None or not known:
        return [], ""
    best = min(known, key=lambda name: known[name].value)
    reference = known[best]
    rows: list[Row] = [
        ("bits per event", mine, f"best baseline: {name_of(best)}", reference, _ratio(mine.value, reference.value))
    ]
    paired = difference_of(result, "in_book" if by_book else "model", best)
    difference = paired or Number(mine.value - reference.value)
    against = f"{mine.value:.2f} against {reference.value:.2f}"
    return rows, f"{bits_verdict(difference, name_of(best))} ({against}{_interval_words(paired)})."


def bits_verdict(difference: Number, name: str) -> str:
    """Return in words how a model compares with its best baseline, from its bits per event minus the baseline's."""
    low, high = (difference.value if end is None else end for end in (difference.low, difference.high))
    amount = f"{abs(difference.value):.2f} bits per event {'fewer' if difference.value < 0 else 'more'}"
    if high < 0:
        return f"The model predicts events better than the best baseline, {name}: {amount}"
    if low > 0:
        return f"The model predicts events worse than the best baseline, {name}: {amount}"
    return f"The model and the best baseline, {name}, cannot be told apart: {amount}"


def _interval_words(paired: Number | None) -> str:
    if paired is None or paired.low is None:
        return "; the evaluation has no intervals"
    return f"; paired 95 % interval of the difference {interval(paired)}"


def _ratio(value: float, reference: float) -> Cell:
    return Number(value / reference, ".3f") if reference else None


def _direction(material: Material) -> tuple[list[Row], str]:
    model = ((material.get("evaluation.json") or {}).get("direction") or {}).get("model")
    if not model:
        return [], ""
    if model.get("balanced_accuracy") is None or model.get("balanced_floor") is None:
        return [], ""
    mine, floor = float(model["balanced_accuracy"]), float(model["balanced_floor"])
    name = "direction of the next move, balanced accuracy"
    row: Row = (name, Number(mine, ".2%"), "floor: one class", Number(floor, ".2%"), _ratio(mine, floor))
    skill = "shows skill" if mine > floor * 1.02 else "shows no skill"
    return [row], (
        f"In the direction of the next mid-price move it {skill} at its most likely class: balanced accuracy"
        f" {mine:.1%}, where always naming one class has {floor:.1%} (n = {model['events']:,} events)."
    )


def _fidelity(material: Material) -> tuple[list[Row], str]:
    result: Mapping[str, Any] | None = material.get("fidelity.json") or material.get("score.json")
    if not result:
        return [], ""
    rows: list[Row] = []
    words = []
    for model in model_names(result):
        one = headline(result, model)
        ratio = one.get("ratio")
        if ratio is None:
            continue
        flow = f"{model} (real flow of the training split)" if model == TRAINING else model
        name = f"mean L1 of LOB-Bench's scores, {flow}"
        rows.append((name, number(one["half"]), "floor: real against real", number(one["floor"]), number(ratio)))
        words.append(f"{flow} is {flow_verdict(float(ratio))}: its mean L1 is {ratio:.2f} times the noise floor")
    return rows, f"Of the compared flows, {'; '.join(words)}." if words else ""


def flow_verdict(ratio: float) -> str:
    """Return in words what a ratio of generated v real to real v real means."""
    return next(words for limit, words in VERDICTS if ratio <= limit)
