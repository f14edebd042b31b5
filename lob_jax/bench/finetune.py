"""Measure what training on one instrument is worth for another one, at equal steps on the second.

`python -m lob_jax.bench.finetune --source=MESSAGE_FILE --target=MESSAGE_FILE --folder=DIR` trains a small model on the
source from each seed, goes on from it on the target (`finetuned`: all parameters; `lora`: additions of low rank alone),
and compares with the same steps on the target from random parameters (`scratch`), from the same seed and in the same
order of the data. As a reference of what more steps give, `scratch_longer` trains on the target for the steps of source
and target together. The same command goes on after an interruption. It writes finetune.md and finetune.json to DIR.
"""

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lob_jax.bench.cell import TESTED, Cell
from lob_jax.bench.cells import run_cells
from lob_jax.bench.paired_table import write_comparison
from lob_jax.bench.surroundings import user_path
from lob_jax.bench.variant import BASE, COMMON, Variant
from lob_jax.runs.records import prepare

NAME = "finetune"
SOURCE, REFERENCE = "source", "scratch"
FROM_SOURCE = ("finetuned", "lora")
VARIANTS: Mapping[str, Variant] = {
    SOURCE: Variant({}, None, "trained and tested on the source, where the next two start"),
    REFERENCE: Variant({}, None, "on the target, from random parameters"),
    "finetuned": Variant({}, REFERENCE, "on the target, all parameters from the source"),
    "lora": Variant({"train.lora_rank": 8}, REFERENCE, "on the target, additions of rank 8 to those of the source"),
    "scratch_longer": Variant({}, REFERENCE, "on the target, from random parameters, for the steps of both"),
}


def cells(chosen: argparse.Namespace) -> list[Cell]:
    """Return the cells: those of a seed one after the other, the source first."""
    return [_cell(name, seed, chosen) for seed in range(chosen.seeds) for name in VARIANTS]


def _cell(name: str, seed: int, chosen: argparse.Namespace) -> Cell:
    folder: pathlib.Path = chosen.folder
    return Cell(
        variant=name,
        seed=seed,
        base=BASE,
        changes=COMMON | settings(name, chosen) | dict(VARIANTS[name].changes),
        folder=folder / name / str(seed),
        records=_data_of(name, folder) / "records",
        start=folder / SOURCE / str(seed) if name in FROM_SOURCE else None,
        measures=(TESTED,),
    )


def _data_of(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Return the folder that holds the records of a variant."""
    return folder / ("source_data" if name == SOURCE else "target_data")


def settings(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a variant that options decide, by key."""
    of_both = {SOURCE: chosen.source_steps, "scratch_longer": chosen.source_steps + chosen.steps}
    steps = of_both.get(name, chosen.steps)
    return {
        "data.path": str(chosen.source if name == SOURCE else chosen.target),
        "data.book_levels": chosen.levels,
        "train.steps": steps,
        "train.validate_every": max(1, steps // 2),
        "evaluate.direction_events": 0,
    }


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog=f"python -m lob_jax.bench.{NAME}", description=__doc__)
    parser.add_argument("--source", type=user_path, required=True, help="a LOBSTER message file to train on first")
    parser.add_argument("--target", type=user_path, required=True, help="one of another instrument")
    parser.add_argument("--folder", type=user_path, required=True, help="folder of the runs and the results")
    parser.add_argument("--seeds", type=int, default=3, help="seeds, from 0 on")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, each on a core of its own")
    parser.add_argument("--source-steps", type=int, default=300, help="optimiser steps on the source")
    parser.add_argument("--steps", type=int, default=150, help="optimiser steps on the target")
    parser.add_argument("--levels", type=int, default=1, help="occupied levels per side of both books")
    chosen = parser.parse_args(arguments)
    for name in ("source", "target", "folder"):
        setattr(chosen, name, getattr(chosen, name).absolute())
    if min(chosen.seeds, chosen.jobs, chosen.source_steps, chosen.steps, chosen.levels) < 1:
        parser.error("numbers must be at least 1")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what has no result yet, write the comparison, and print it; return the exit status, 1 if a run failed."""
    chosen = parsed(arguments)
    todo = cells(chosen)
    for name in (SOURCE, REFERENCE):
        prepare(next(cell for cell in todo if cell.variant == name).config(), _data_of(name, chosen.folder))
    outcomes = run_cells(todo, chosen.folder, jobs=chosen.jobs, say=lambda line: print(line, flush=True))
    print("\n".join(write_comparison(NAME, outcomes, VARIANTS, chosen.folder)))
    return 1 if outcomes.failures else 0


if __name__ == "__main__":
    sys.exit(main())
