"""The stage `score`: compare sequences of any generator with real ones."""

import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
from rich.table import Table

from lob_jax.console import bar, console, show
from lob_jax.evaluation.fidelity.measure import measure_table, number
from lob_jax.runs.fidelity import REAL, read_flows, score_flows
from lob_jax.runs.workdir import write_json

RESULT = "score.json"
KINDS = {"scores": "distributions", "conditional": "conditional distributions"}  # parts of the result, and titles
DISTANCES = {"l1": "L1", "w1": "W1", "ks": "KS"}
GROUPS = {"lob_bench": "LOB-Bench", "further": "further"}
FIRST_GROUP = "lob_bench"
COMPARISONS = ("splits", "resamples", "block", "seed")
IRREGULAR = {
    "times_backwards": "times before the previous one",
    "crossed_books": "crossed books",
    "prices_off_tick": "prices off the tick",
    "halts_left_out": "halts, left out",
    "unknown_real_ids": "real ids without a real sequence",
}


def score(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Read the real and the generated sequences, compare them by every score, and write the result."""
    section = config.score
    with bar("reading", total=None, unit="sequences") as advance:
        flows = read_flows(
            section.real,
            section.generated,
            training=section.training,
            events=section.events,
            levels=section.levels,
            tick=section.tick,
            on_progress=lambda name, done, total: advance(done, name, total=total),
        )
    show(read_table(flows.report))
    for line in remarks(flows.report):
        console.print(line)
    with bar("comparing", total=None, unit="steps") as advance:
        result = score_flows(
            flows,
            **{key: section[key] for key in COMPARISONS},
            on_progress=lambda what, done, total: advance(done, what, total=total),
        )
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / RESULT, result)
    for table in tables(result):
        show(table)
    console.print(f"written to {workdir / RESULT}")


def read_table(report: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a table of what was read of each flow."""
    shown = Table(title="sequences")
    shown.add_column("", no_wrap=True)
    for heading in ("sequences", "messages", "per sequence", "levels", "tick", "messages that explain their book"):
        shown.add_column(heading, justify="right")
    shown.add_column("from")
    for name, read in report.items():
        few, most = read["length"]
        explained = read.get("explained")
        shown.add_row(
            name,
            f"{read['sequences']:,}",
            f"{read['messages']:,}" if read["messages"] else f"none, {read['books']:,} books",
            f"{few:,}" if few == most else f"{few:,} to {most:,}",
            str(read["levels"]),
            f"{read['tick']:g}",
            "-" if explained is None else f"{explained:.1%}",
            read["folder"],
        )
    return shown


def remarks(report: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return sentences about irregular rows, and about real sequences that a generator has not continued."""
    lines = []
    for name, read in report.items():
        counts = ", ".join(f"{read[key]:,} {words}" for key, words in IRREGULAR.items() if read.get(key))
        lines += [f"{name}: {counts}"] if counts else []
        missing = report[REAL]["sequences"] - read["real_continued"] if "real_continued" in read else 0
        lines += [f"{name}: no continuation of {missing:,} of the real sequences"] if missing else []
    return lines


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a comparison: the summary, then of each model its scores, its blocks and its measures."""
    shown = [summary_table(result["summary"])]
    for model in result["summary"][FIRST_GROUP]:
        shown += [_score_table(result[kind], model, title) for kind, title in KINDS.items() if result.get(kind)]
        shown += [_block_table(result["divergence"][model], model)] if result.get("divergence") else []
        shown += [measure_table(result["measures"], model)] if result.get("measures") else []
    return shown


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Return a table of the mean distances of all scores of a group, by model."""
    shown = Table(title="mean distances; ratio: half of real v half of generated flow, over half v half of real flow")
    for heading in ("scores", "of", "distance"):
        shown.add_column(heading)
    for heading in ("defined", "mean", "99 % interval", "median", "IQM", "floor", "ratio"):
        shown.add_column(heading, justify="right")
    for group, models in summary.items():
        for model, distances in models.items():
            for distance, row in distances.items():
                mean, median, iqm = (number(row[name]["value"]) for name in ("mean", "median", "iqm"))
                held = _interval(row["mean"])
                figures = (mean, held, median, iqm, number(row["floor"]), number(row["ratio"]))
                shown.add_row(GROUPS.get(group, group), model, DISTANCES[distance], str(row["scores"]), *figures)
    return shown


def _score_table(scores: Mapping[str, Any], model: str, title: str) -> Table:
    """Return a table of the distances of one model by every score."""
    shown = Table(title=f"{title} of {model}")
    shown.add_column("score")
    for distance in DISTANCES.values():
        for heading in (distance, "floor", "ratio"):
            shown.add_column(heading, justify="right")
    shown.add_column("")
    for one in scores.values():
        row = one["models"][model]
        figures = [number(row[distance][key]) for distance in DISTANCES for key in ("half", "floor", "ratio")]
        shown.add_row(one["label"], *figures, row["reason"] or "")
    return shown


def _block_table(divergence: Mapping[str, Any], model: str) -> Table:
    """Return a table of mean L1 by the place in a generated sequence."""
    shown = Table(title=f"mean L1 of {model} by place in the sequence, {divergence['scores']} scores")
    shown.add_column("from message", justify="right")
    for heading in ("L1", "floor", "99 % of floors", "ratio"):
        shown.add_column(heading, justify="right")
    mean = divergence["mean"]
    for place, first in enumerate(divergence["blocks"]):
        shown.add_row(f"{first:,}", *(number(mean[key][place]) for key in ("half", "floor", "floor_high", "ratio")))
    return shown


def _interval(row: Mapping[str, Any]) -> str:
    return "n/a" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
