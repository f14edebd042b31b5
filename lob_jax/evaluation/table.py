"""Show an evaluation as a table: one column per model, with confidence intervals, and price direction below."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from lob_jax.evaluation.metric import Row, rows

TITLES = {
    "model": "model",
    "model_grammar": "in grammar",
    "zero_order": "zero-order",
    "ngram": "n-gram",
    "book_counts": "book counts",
    "state_table": "state table",
}
WITH_INTERVALS = ".3f"  # the form of bits: the other figures follow from them, or have too many digits for a column
OUTLOOK_COLUMNS = {
    "accuracy": ("accuracy", ".2%"),
    "macro F1": ("macro_f1", ".3f"),
    "log loss": ("log_loss", ".4f"),
    "Brier": ("brier", ".4f"),
    "R²": ("r2", ".3f"),
    "MAE": ("mae", ".4f"),
    "QLIKE": ("qlike", ".3f"),
}
OUTLOOK_ROWS = (  # of volatility, its title, and the direction beside it
    ("model", "model", "model"),
    ("last_realised", "last realised", "none"),
    ("training_mean", "training", "training_frequencies"),
)
DIRECTION_ROWS = (
    ("balanced accuracy", "balanced_accuracy", ".2%"),
    ("accuracy", "accuracy", ".2%"),
    ("macro F1", "macro_f1", ".4f"),
    ("weighted F1", "weighted_f1", ".4f"),
    ("MCC", "mcc", ".4f"),
    ("Cohen's kappa", "kappa", ".4f"),
    ("log loss, nats", "log_loss", ".4f"),
    ("Brier score", "brier", ".4f"),
    ("ECE", "ece", ".4f"),
)


def table(result: dict[str, Any]) -> Table:
    """Return a rich table of an evaluation; it is 100 columns wide if there are at most five models."""
    likelihood = result["likelihood"]
    first = next(iter(likelihood.values()))
    shown = Table(title=f"{result['split']}: {first['events']:,} events, {first['tokens']:,} tokens")
    shown.add_column("")
    for name in likelihood:
        shown.add_column(TITLES.get(name, name), justify="right")
    for row in rows():
        values = [figure(metrics, row.key) for metrics in likelihood.values()]
        if None not in values:
            shown.add_row(row.label, *(_cell(metrics, row) for metrics in likelihood.values()))
    _add_comparison(shown, result)
    if "direction" in result:
        _add_direction(shown, result["direction"], columns=list(likelihood))
    shown.caption = "\n".join(_remarks(result))
    return shown


def figure(metrics: Mapping[str, Any], key: str) -> float | None:
    """Return a figure by its key, also from nested dicts of figures; None if it is missing."""
    nested = (part for name, part in metrics.items() if isinstance(part, dict) and name != "intervals")
    return next((figures[key] for figures in (metrics, *nested) if key in figures), None)


def _cell(metrics: Mapping[str, Any], row: Row) -> str:
    value, interval = format(figure(metrics, row.key), row.form), metrics.get("intervals", {}).get(row.key)
    return value + _half_width(interval) if interval is not None and row.form == WITH_INTERVALS else value


def _half_width(interval: Sequence[float]) -> str:
    """Return half of an interval's width in four characters, such as .071 or 1.23."""
    half = (interval[1] - interval[0]) / 2
    return f"±{half:.3f}".replace("±0.", "±.") if half < 1 else f"±{half:.3g}"


def _add_comparison(shown: Table, result: Mapping[str, Any]) -> None:
    """Add what the model's two sets of figures are, and their differences in bits from the baselines."""
    columns = list(result["likelihood"])

    def add(label: str, cells: Mapping[str, str]) -> None:
        shown.add_row(label, *(cells.get(name, "") for name in columns))

    if "differences" not in result:
        return
    shown.add_section()
    add("outside the grammar", {"model": f"{result['likelihood']['model']['outside_grammar']:.3%}"})
    add("calibration error (ECE)", {"model": f"{result['calibration']['model']['all']['ece']:.2%}"})
    for bar, label in (("model", "model minus it, bits"), ("model_grammar", "in grammar minus it")):
        found = {name: one["bits_per_event"] for name, one in result["differences"][bar].items()}
        add(label, {name: _difference(*difference) for name, difference in found.items()})
    if "in_book" in result:
        _add_in_book(shown, result, columns)


def _add_in_book(shown: Table, result: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Add the bits of the model and the baselines in the book, and what the book leaves out."""
    in_book, row = result["in_book"], next(row for row in rows() if row.key == "bits_per_event")
    outside, escapes = (f"{in_book['model'][key]:.3%}" for key in ("outside_book", "escapes"))
    differences = {name: one["bits_per_event"] for name, one in result["differences"]["in_book"].items()}
    shown.add_section()
    for label, cells in (
        ("in book, bits per event", {name: _cell(metrics, row) for name, metrics in in_book.items()}),
        ("in book minus it", {name: _difference(*difference) for name, difference in differences.items()}),
        ("outside the book", {"model": outside}),
        ("real tokens outside it", {"model": escapes}),
    ):
        shown.add_row(label, *(cells.get(name, "") for name in columns))


def _difference(value: float, low: float, high: float) -> str:
    return f"{value:+.{3 if abs(value) < 10 else 2}f}{_half_width((low, high))}"


def _remarks(result: Mapping[str, Any]) -> list[str]:
    remarks = []
    if "bootstrap" in result:
        how = result["bootstrap"]
        remarks.append(f"±: half of the {how['level']:.0%} interval, from blocks of {how['block_events']:,} events")
    if "compressors" in result:
        found = ", ".join(f"{name} {bits:.1f}" for name, bits in result["compressors"].items())
        remarks.append(f"general compressors, bits per event: {found}")
    if "direction_left_out" in result:
        remarks.append(f"no price direction: {result['direction_left_out']}")
    return remarks


def head_tables(result: dict[str, Any]) -> list[Table]:
    """Return a rich table of each of the model's further heads; none if it has no such heads."""
    heads, tables = result.get("heads", {}), []
    if "outlook" in heads:
        tables.append(_outlook_table(heads["outlook"]))
    if "ahead" in heads:
        tables.append(_ahead_table(heads["ahead"]))
    return tables


def robustness_table(robustness: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a rich table of what manipulations cost a model, see `lob_jax.evaluation.robustness`."""
    first = next(iter(robustness.values()))
    shown = Table(title=f"manipulated flow: the same real events of {first['records']} records")
    for heading in ("", "events", "bits, clean", "manipulated", "difference", "macro F1, clean", "manipulated"):
        shown.add_column(heading, justify="left" if heading == "" else "right")
    for pattern, found in robustness.items():
        told = "n/a" if found["difference"] is None else _difference(found["difference"], *found["interval"])
        bits = (_told(found[name], ".3f") for name in ("bits_clean", "bits_manipulated"))
        scores = (_told(found[name], ".4f") for name in ("macro_f1_clean", "macro_f1_manipulated"))
        shown.add_row(pattern, f"{found['events']:,}", *bits, told, *scores)
    return shown


def _outlook_table(outlook: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table(title="direction and log volatility of the mid price, by horizon")
    for heading in ("events ahead", "", *OUTLOOK_COLUMNS):
        shown.add_column(heading, justify="left" if heading == "" else "right")
    for one in outlook:
        direction, volatility = one["direction"], one["volatility"]
        count = f"{one['horizon_events']} (n {volatility['model']['count']:,})"
        for name, title, of_direction in OUTLOOK_ROWS:
            figures = {**direction.get(of_direction, {}), **volatility.get(name, {})}
            cells = (_formatted(figures.get(key), form) for key, form in OUTLOOK_COLUMNS.values())
            shown.add_row(count if name == "model" else "", title, *cells)
        shown.add_section()
    return shown


def _ahead_table(ahead: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table(title=f"tokens ahead, bits per token and accuracy on {ahead[0]['tokens']:,} tokens")
    for heading in ("tokens ahead", "model", "", "frequencies", ""):
        shown.add_column(heading, justify="right")
    for one in ahead:
        cells = (
            format(one[name][key], form)
            for name in ("model", "zero_order")
            for key, form in (("bits_per_token", ".3f"), ("token_accuracy", ".2%"))
        )
        shown.add_row(str(one["tokens_ahead"]), *cells)
    return shown


def _formatted(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _add_direction(shown: Table, direction: dict[str, Any], *, columns: list[str]) -> None:
    model, by_table = direction["model"], direction["state_table"]
    shown.add_section()
    blank = [""] * (len(columns) - 2)
    shown.add_row(f"direction, {model['events']:,} events", TITLES["model"], TITLES["state_table"], *blank)
    for label, key, form in DIRECTION_ROWS:
        shown.add_row(f"  {label}", *(_told(one[key], form) for one in (model, by_table)), *blank)
    corrected = (_told(one["corrected"]["balanced_accuracy"], ".2%") for one in (model, by_table))
    shown.add_row("  prior-corrected", *corrected, *blank)
    for label, key in (("balanced", "balanced_floor"), ("majority", "majority_accuracy")):
        shown.add_row(f"  floor, {label}", *(_told(one[key], ".2%") for one in (model, by_table)), *blank)


def _told(value: float | None, form: str) -> str:
    """Return a score as text; n/a for one that the events leave undefined."""
    return "n/a" if value is None else format(value, form)
