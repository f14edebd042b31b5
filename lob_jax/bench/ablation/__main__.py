"""Measure what each objective and each augmentation is worth on one LOBSTER day.

`python -m lob_jax.bench.ablation --path=MESSAGE_FILE --folder=DIR` trains every variant (see `ablation.variants`) from
the same seeds as its reference, in the same order of the data, and compares them by bits per event of the test split,
direction macro F1, and mean L1 of generated flow over its floor: in all, and by distance from the prompt. Every run has
a folder under DIR. The same command goes on after an interruption: what has a result is not run again. It writes
ablation.md and ablation.json to DIR.
"""

import argparse
import math
import pathlib
import sys
from collections.abc import Sequence

from lob_jax.bench.ablation.variants import VARIANTS, with_references
from lob_jax.bench.cell import GENERATED, MANIPULATED, TESTED, Cell
from lob_jax.bench.cells import run_cells
from lob_jax.bench.paired_table import write_comparison
from lob_jax.bench.surroundings import user_path
from lob_jax.bench.variant import BASE, COMMON
from lob_jax.runs.records import prepare

NAME = "ablation"
DATA = "data"  # folder of the records, beside those of the variants


def cells(chosen: argparse.Namespace) -> list[Cell]:
    """Return the cells of the chosen variants, those of a variant one after the other."""
    return [_cell(name, seed, chosen) for name in with_references(chosen.rows) for seed in range(chosen.seeds)]


def _cell(name: str, seed: int, chosen: argparse.Namespace) -> Cell:
    folder: pathlib.Path = chosen.folder
    variant = VARIANTS[name]
    return Cell(
        variant=name,
        seed=seed,
        base=BASE,
        changes=COMMON | settings(name, chosen) | dict(variant.changes),
        folder=folder / name / str(seed),
        records=folder / DATA / "records",
        start=None if variant.start is None else folder / variant.start / str(seed),
        measures=(TESTED, GENERATED, MANIPULATED) if chosen.manipulated else (TESTED, GENERATED),
    )


def settings(name: str, chosen: argparse.Namespace) -> dict[str, object]:
    """Return the settings of a variant that options decide, by key."""
    patterns = {"evaluate.manipulated": tuple(chosen.manipulated.split(","))} if chosen.manipulated else {}
    steps = chosen.steps if VARIANTS[name].start is None else math.ceil(chosen.steps / 2)
    return {
        **patterns,
        "data.path": str(chosen.path),
        "data.book_levels": chosen.levels,
        "train.steps": steps,
        "train.validate_every": max(1, steps // 2),
        "evaluate.direction_events": chosen.direction_events,
        "generate.prompts": chosen.prompts,
        "generate.events": chosen.events,
    }


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog=f"python -m lob_jax.bench.{NAME}", description=__doc__)
    parser.add_argument("--path", type=user_path, required=True, help="a LOBSTER message file")
    parser.add_argument("--folder", type=user_path, required=True, help="folder of the runs and the results")
    parser.add_argument("--rows", default=",".join(VARIANTS), help="variants, by commas; references are added")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each variant, from 0 on")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, each on a core of its own")
    parser.add_argument(
        "--steps", type=int, default=300, help="optimiser steps; half as many of what starts from a trained run"
    )
    parser.add_argument("--levels", type=int, default=10, help="occupied levels per side of the book")
    parser.add_argument("--direction-events", type=int, default=2000, help="events whose direction is predicted")
    parser.add_argument("--prompts", type=int, default=29, help="prompts that are continued")
    parser.add_argument("--events", type=int, default=500, help="generated events after each prompt")
    parser.add_argument(
        "--manipulated", default="", help="patterns of manipulation to test on, such as spoofing,layering,stuffing"
    )
    chosen = parser.parse_args(arguments)
    chosen.rows = chosen.rows.split(",")
    chosen.folder, chosen.path = chosen.folder.absolute(), chosen.path.absolute()
    if unknown := sorted(set(chosen.rows) - set(VARIANTS)):
        parser.error(f"--rows: no such variant: {', '.join(unknown)}; there are {', '.join(VARIANTS)}")
    if min(chosen.seeds, chosen.jobs, chosen.steps, chosen.levels, chosen.prompts, chosen.events) < 1:
        parser.error("numbers must be at least 1")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what has no result yet, write the comparison, and print it; return the exit status, 1 if a run failed."""
    chosen = parsed(arguments)
    todo = cells(chosen)
    prepare(todo[0].config(), chosen.folder / DATA)
    outcomes = run_cells(todo, chosen.folder, jobs=chosen.jobs, say=lambda line: print(line, flush=True))
    variants = {name: VARIANTS[name] for name in with_references(chosen.rows)}
    print("\n".join(write_comparison(NAME, outcomes, variants, chosen.folder)))
    return 1 if outcomes.failures else 0


if __name__ == "__main__":
    sys.exit(main())
