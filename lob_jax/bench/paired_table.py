"""The table of a paired comparison, as Markdown, and the same figures as JSON."""

import dataclasses
import datetime
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.bench.cells import Outcomes
from lob_jax.bench.paired import LEVEL, Difference, compare_paired
from lob_jax.bench.surroundings import surroundings
from lob_jax.bench.variant import Variant
from lob_jax.runs.workdir import write_json


@dataclasses.dataclass(frozen=True)
class Column:
    """A figure that is compared.

    Attributes:
      name: its name in the results of cells.
      title: heading of its column.
      less_is_better: whether a lower figure is the better one.
      digits: digits after the point.
    """

    name: str
    title: str
    less_is_better: bool
    digits: int


COLUMNS = (
    Column("bits", "bits per event", True, 3),
    Column("macro_f1", "direction macro F1", False, 4),
    Column("bits_lost", "bits lost to manipulation", True, 3),
    Column("macro_f1_manipulated", "macro F1, manipulated", False, 4),
    Column("l1", "mean L1 over floor", True, 3),
)


def write_comparison(name: str, outcomes: Outcomes, variants: Mapping[str, Variant], folder: pathlib.Path) -> list[str]:
    """Write the results of `lob_jax.bench.<name>` to a folder, and return them as lines of Markdown.

    Args:
      name: name of the benchmark.
      outcomes: what became of the cells.
      variants: the variants that were to run, in the order of the table.
      folder: where <name>.md and <name>.json are written.
    """
    references = {one: variant.reference for one, variant in variants.items() if variant.reference is not None}
    compared = comparison(outcomes, references)
    lines = [*table(compared, outcomes, references, list(variants)), ""]
    blocks = by_block(outcomes, references)
    if blocks:
        lines += [*block_table(blocks, outcomes, references, list(variants)), ""]
    lines += [f"* {note}" for note in notes(compared, outcomes, references)]
    lines += [f"* {one}: {variant.about}." for one, variant in variants.items()]
    figures = {
        "benchmark": name,
        **to_json(compared, blocks, outcomes),
        **surroundings(name, used="one used by each run"),
    }
    write_json(folder / f"{name}.json", figures)
    (folder / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def comparison(outcomes: Outcomes, references: Mapping[str, str]) -> dict[str, Any]:
    """Return the paired comparison by each figure that cells have.

    Returns:
      By the figure's name: deviation and degrees (of freedom), see `paired.compare_paired`; detectable, the smallest
      difference that can be detected with as many seeds as any variant has; means, by variant; and differences, by
      variant.
    """
    found = {}
    for column in COLUMNS:
        figures: dict[str, dict[int, float]] = {}
        for (variant, seed), result in outcomes.results.items():
            if column.name in result["figures"]:
                figures.setdefault(variant, {})[seed] = result["figures"][column.name]
        if figures:
            found[column.name] = _compared(figures, references)
    return found


def _compared(figures: Mapping[str, Mapping[int, float]], references: Mapping[str, str]) -> dict[str, Any]:
    """Return the comparison by one figure, see `comparison`."""
    differences, deviation, degrees = compare_paired(figures, references)
    return {
        "deviation": deviation,
        "degrees": degrees,
        "detectable": min((one.detectable for one in differences.values()), default=math.nan),
        "means": {name: float(np.mean(list(by_seed.values()))) for name, by_seed in figures.items()},
        "differences": differences,
    }


def by_block(outcomes: Outcomes, references: Mapping[str, str]) -> dict[int, dict[str, Any]]:
    """Return the paired comparison of generated flow by its distance from the prompt.

    Returns:
      By the number of a block's first message, as in `comparison`: the mean L1 of the block over its floor, against the
      same block of what really followed.
    """
    figures: dict[int, dict[str, dict[int, float]]] = {}
    for (variant, seed), result in outcomes.results.items():
        if "generated" in result["measured"]:
            blocks = result["measured"]["generated"]["l1_by_block"]
            for first, ratio in zip(blocks["first_message"], blocks["ratio"], strict=True):
                figures.setdefault(first, {}).setdefault(variant, {})[seed] = ratio
    return {first: _compared(by_variant, references) for first, by_variant in sorted(figures.items())}


def table(
    compared: Mapping[str, Any], outcomes: Outcomes, references: Mapping[str, str], names: Sequence[str]
) -> list[str]:
    """Return a Markdown table of all figures: what can be detected first, then the variants in order."""
    parts = [(column.title, column, compared[column.name]) for column in COLUMNS if column.name in compared]
    return _table(parts, outcomes, references, names)


def block_table(
    blocks: Mapping[int, Mapping[str, Any]],
    outcomes: Outcomes,
    references: Mapping[str, str],
    names: Sequence[str],
) -> list[str]:
    """Return the same table of the mean L1 over floor by block of generated messages, see `by_block`."""
    column = next(one for one in COLUMNS if one.name == "l1")
    parts = [(f"{column.title}, from message {first}", column, one) for first, one in blocks.items()]
    return _table(parts, outcomes, references, names)


def _table(
    parts: Sequence[tuple[str, Column, Mapping[str, Any]]],
    outcomes: Outcomes,
    references: Mapping[str, str],
    names: Sequence[str],
) -> list[str]:
    """Return a Markdown table with two columns for each title, column and comparison: means, and differences."""
    heads = ["variant", "seeds", *(text for title, *_ in parts for text in (title, "minus reference"))]
    detected = [("", _shown(one["detectable"], column.digits, sign="±")) for _, column, one in parts]
    rows = [["**smallest detectable difference**", "", *(cell for pair in detected for cell in pair)]]
    for name in names:
        seeds = sum(variant == name for variant, _ in outcomes.results)
        if not seeds:
            continue
        row = [name if name in references else f"{name} (reference)", str(seeds)]
        for _, column, one in parts:
            row += [_shown(one["means"].get(name), column.digits), _verdict(one["differences"].get(name), column)]
        rows.append(row)
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _shown(value: float | None, digits: int, *, sign: str = "") -> str:
    return "n/a" if value is None or math.isnan(value) else f"{sign}{value:.{digits}f}"


def _verdict(difference: Difference | None, column: Column) -> str:
    """Return a difference in words: better, worse, or no verdict."""
    if difference is None:
        return ""
    shown = f"{difference.mean:+.{column.digits}f}"
    if not difference.detected:
        return f"{shown}, no verdict"
    return f"**{shown}, {'better' if (difference.mean < 0) == column.less_is_better else 'worse'}**"


def without_effect(outcomes: Outcomes, references: Mapping[str, str]) -> list[str]:
    """Return the variants all of whose results have the figures of their reference, to the last bit."""
    found = {}
    for (name, seed), result in outcomes.results.items():
        reference = outcomes.results.get((references.get(name, ""), seed))
        if reference is not None:
            found[name] = found.get(name, True) and result["figures"] == reference["figures"]
    return [name for name, idle in found.items() if idle]


def notes(compared: Mapping[str, Any], outcomes: Outcomes, references: Mapping[str, str]) -> list[str]:
    """Return what a reader needs to judge the table: how it was computed, on what, when, and what is missing."""
    results = list(outcomes.results.values())
    failed = [f"Failed: {variant}, seed {seed}: {why}" for (variant, seed), why in outcomes.failures.items()]
    if not results:
        return failed
    tested = sum(len(one["differences"]) for one in compared.values())
    lines = [
        f"Differences are paired by seed. The smallest detectable difference is the {(1 + LEVEL) / 2:.1%} quantile of "
        "Student's t times the standard deviation of paired differences, pooled over the variants, over the root of "
        "the number of seeds; a true difference of that size is found half of the time. Smaller ones are no verdict, "
        f"not equality. {tested} differences are tested at {1 - LEVEL:.0%} each, so that {tested * (1 - LEVEL):.1f} "
        "would be called by chance if nothing had an effect. All seeds share one test split: nothing here speaks for "
        "other days.",
    ]
    lines += [
        f"{name}: standard deviation {one['deviation']:.4g}, {one['degrees']:.1f} effective degrees of freedom."
        for name, one in compared.items()
    ]
    parameters = [one["parameters"] for one in results]
    steps = sorted({one["steps"] for one in results})
    lines += [
        f"{min(parameters):,} to {max(parameters):,} parameters, {', '.join(map(str, steps))} steps; "
        f"{sum(sum(one['seconds'].values()) for one in results) / 60:.0f} core minutes in all.",
        _setting(results),
    ]
    generated = [one["measured"]["generated"] for one in results if "generated" in one["measured"]]
    if generated:
        events = sum(one["prompts"] * one["events"] for one in generated)
        lines.append(f"{sum(one['invalid_events'] for one in generated):,} of {events:,} generated events are invalid.")
    idle = without_effect(outcomes, references)
    lines += [f"{name} has the very figures of {references[name]}: its settings changed nothing." for name in idle]
    return [*lines, *failed]


def _setting(results: Sequence[Mapping[str, Any]]) -> str:
    """Return machine, versions, commits and time in a sentence."""
    machines, commits = (sorted({one[key] for one in results}) for key in ("machine", "commit"))
    versions = sorted({", ".join(f"{name} {v}" for name, v in one["versions"].items()) for one in results})
    now = datetime.datetime.now().astimezone().isoformat(timespec="minutes")
    return f"{'; '.join(machines)}; {'; '.join(versions)}; commit {', '.join(commits)}; {now}."


def to_json(compared: Mapping[str, Any], blocks: Mapping[int, Any], outcomes: Outcomes) -> dict[str, Any]:
    """Return the comparisons and the results of the cells as plain values, None for what is not defined."""
    shown, by_first = (
        {
            str(name): {**one, "differences": {who: dataclasses.asdict(d) for who, d in one["differences"].items()}}
            for name, one in part.items()
        }
        for part in (compared, blocks)
    )
    failures = [{"variant": name, "seed": seed, "why": why} for (name, seed), why in outcomes.failures.items()]
    return _defined(
        {"compared": shown, "l1_by_block": by_first, "cells": list(outcomes.results.values()), "failures": failures}
    )


def _defined(value: Any) -> Any:
    """Return a value with None in the place of numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _defined(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_defined(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
