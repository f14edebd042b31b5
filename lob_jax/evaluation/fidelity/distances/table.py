"""Tables of a comparison: a line for each flow, and a line for each score of one flow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from lob_jax.evaluation.fidelity.distances.comparison import METRICS

HEADINGS = {"l1": "L1", "w1": "W1", "ks": "KS"}
GROUP_TITLES = {
    "lob_bench": "LOB-Bench scores",
    "further": "further scores",
    "conditional": "conditional scores",
    "lagged": "lagged scores",
}


def summary_table(result: Mapping[str, Any]) -> Table:
    """Return a rich table of `compare.compare`: for each group of scores and flow the mean of each distance."""
    real, splits = result["flows"]["real"], result["splits"]
    shown = Table(
        title=f"Distance from {real['sequences']:,} real sequences, mean over scores",
        caption=f"ratio: half generated v half real to half real v half real, {splits} splits; 1: as close as real",
    )
    shown.add_column("flow", no_wrap=True)
    for heading in ("scores", "L1 [99 %]", "floor", "ratio", "W1", "ratio", "KS", "ratio"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for group, flows in result["summary"].items():
        shown.add_section()
        for name, found in flows.items():
            l1 = found["l1"]
            mean = with_interval(l1["mean"]) if l1["scores"] else "n/a"
            others = [cell for metric in METRICS[1:] for cell in _mean_and_ratio(found[metric])]
            count = f"{l1['scores']} {GROUP_TITLES[group].removesuffix(' scores')}"
            shown.add_row(name, count, mean, number(l1.get("floor")), number(l1.get("ratio"), ".2f"), *others)
    return shown


def _mean_and_ratio(found: Mapping[str, Any]) -> tuple[str, str]:
    mean = number(found["mean"]["value"]) if found["scores"] else "n/a"
    return mean, number(found.get("ratio"), ".2f")


def score_table(result: Mapping[str, Any], model: str, *, metric: str = "l1", worst_first: bool = False) -> Table:
    """Return a rich table of one flow of `compare.compare`: every score with its floor and ratio.

    Args:
      result: the comparison.
      model: name of the flow.
      metric: "l1", "w1" or "ks".
      worst_first: by descending ratio inside each group; otherwise in the order of the scores.
    """
    entries = [*result["scores"].values(), *result["conditional"].values()]
    shown = Table(title=f"{model}: {HEADINGS[metric]} by score", caption=_reasons(entries, model) or None)
    shown.add_column("score", no_wrap=True)
    for heading in (f"{HEADINGS[metric]} [99 %]", "half", "floor [95 %]", "ratio"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for group, title in GROUP_TITLES.items():
        chosen = [(entry["label"], entry["models"][model]) for entry in entries if entry["group"] == group]
        if worst_first:
            chosen.sort(key=lambda named: -(named[1][metric]["ratio"] or -np.inf))
        if chosen:
            shown.add_section()
            shown.add_row(title)
        for label, entry in chosen:
            shown.add_row(f"  {label}", *_cells(entry, metric))
    return shown


def _reasons(entries: Sequence[Mapping[str, Any]], model: str) -> str:
    """Return why scores are not defined, each reason once with its scores."""
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        reason = entry["models"][model]["reason"]
        if reason is not None:
            reasons.setdefault(reason, []).append(entry["label"])
    return "\n".join(f"{', '.join(labels)}: {reason}" for reason, labels in reasons.items())


def _cells(entry: Mapping[str, Any], metric: str) -> tuple[str, ...]:
    found = entry[metric]
    floor = {"value": found["floor"], "low": found["floor_low"], "high": found["floor_high"]}
    return with_interval(found), number(found["half"]), with_interval(floor), number(found["ratio"], ".2f")


def with_interval(found: Mapping[str, float | None]) -> str:
    """Return a value and its interval, such as ".195 [.159 .223]"."""
    if found["low"] is None:
        return number(found["value"])
    return f"{number(found['value'])} [{number(found['low'])} {number(found['high'])}]"


def number(value: float | None, form: str = ".3f") -> str:
    """Return a number as shown in the tables, without the zero before the point; "n/a" for None."""
    if value is None:
        return "n/a"
    text = format(value, form)
    return text.removeprefix("0") if text.startswith("0.") else text
