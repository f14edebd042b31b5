"""The stage `score`: compare sequences of any generator with real ones."""

import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
from rich.table import Table

from lob_jax.console import bar, console, show
from lob_jax.evaluation.fidelity.assess import assessment_tables
from lob_jax.evaluation.fidelity.distances.table import score_table, summary_table
from lob_jax.evaluation.fidelity.generators.baselines import baseline_flows
from lob_jax.evaluation.fidelity.measure import measure_table, number
from lob_jax.runs.fidelity import REAL, read_flows, score_flows
from lob_jax.runs.workdir import write_json

RESULT = "score.json"
COMPARISONS = ("splits", "resamples", "block", "networks", "seed")
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
            baselines=section.baselines,
            on_progress=lambda name, done, total: advance(done, name, total=total),
        )
    show(read_table(flows.report))
    for line in remarks(flows.report):
        console.print(line)
    if section.baselines and flows.training is not None:
        with bar("generating", total=None, unit="sequences") as advance:
            flows = flows.beside(
                baseline_flows(
                    section.baselines,
                    flows.training,
                    flows.real,
                    seed=section.seed,
                    on_progress=lambda name, done, total: advance(done, name, total=total),
                )
            )
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
    """Return the tables of an assessment, the summary last: a terminal shows the end."""
    shown: list[Table] = []
    for model in result["divergence"]:
        shown += [measure_table(result["measures"], model)] if result["measures"] else []
        shown += [score_table(result, model), _block_table(result["divergence"][model], model)]
    return [*shown, *assessment_tables(result), summary_table(result)]


def _block_table(divergence: Mapping[str, Any], model: str) -> Table:
    """Return a table of mean L1 by the place in a generated sequence."""
    shown = Table(title=f"mean L1 of {model} by place in the sequence, {divergence['scores']} scores")
    shown.add_column("from message", justify="right")
    for heading in ("L1", "floor", "99 % of floors", "ratio"):
        shown.add_column(heading, justify="right")
    figures = (divergence[key] for key in ("half", "floor", "floor_high", "ratio"))
    for first, *row in zip(divergence["first_message"], *figures, strict=True):
        shown.add_row(f"{first:,}", *(number(figure) for figure in row))
    return shown
