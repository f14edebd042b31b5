"""The stages `report` and `compare`: what a run has found, and several runs side by side, as one page each."""

import dataclasses
import pathlib

import ml_collections
import rich.table

from lob_jax.command_line import told_command
from lob_jax.console import bar, console, show
from lob_jax.errors import InputError
from lob_jax.report.comparison import RunResults, compare_runs
from lob_jax.report.event_bits import read_event_bits
from lob_jax.report.material import FILES, Material, read_material
from lob_jax.report.report import HTML, JSON, plain_report, sections_of, write_page
from lob_jax.report.section import Table, cell_text
from lob_jax.report.side_by_side import comparison_sections
from lob_jax.runs.load import open_run
from lob_jax.runs.pictures import pictures_of
from lob_jax.runs.workdir import write_json
from lob_jax.settings import expanded
from lob_jax.training.run.checkpoint import steps_in

COMPARISON = "comparison"  # the name of its files
RESULTS = tuple(name for name in FILES if name not in ("config.json", "records/records.json"))


def report(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Write report.html and report.json from what the run's folder holds."""
    material = read_material(workdir)
    if not any(name in material.found for name in RESULTS):
        raise InputError(
            "there is nothing to report",
            where=workdir,
            expected=f"at least one of {', '.join(RESULTS)}",
            was="none",
            remedy=f"train and test first: {told_command(mode='train', workdir=workdir)}",
        )
    material = _with_pictures(material, config, workdir)
    sections, left_out = sections_of(material)
    title, lead = f"Report of {material.name}", "Results, data, configuration and versions of one run."
    html = write_page(workdir / HTML, sections, title=title, lead=lead, left_out=left_out)
    write_json(workdir / JSON, plain_report(sections, title=title, lead=lead, left_out=left_out))
    tables, pictures = (sum(len(getattr(one, part)) for one in sections) for part in ("tables", "pictures"))
    console.print(f"{len(sections)} sections, {tables} tables, {pictures} figures: {html}, and as JSON {JSON}")
    for one in left_out:
        console.print(f"left out: {one.title}: {one.reason}")


def _with_pictures(material: Material, config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Material:
    """Add the pictures that need the model or its records; a run without checkpoints has none."""
    if not steps_in(workdir / "checkpoints"):
        reason = "the run has no checkpoint; --mode=train writes them"
        return dataclasses.replace(material, no_picture={"attention": reason, "vocabulary": reason})
    run = open_run(config, workdir)
    with bar("drawing", total=None, unit="figures") as advance:

        def on_progress(done: int, total: int, what: str) -> None:
            advance(done, what, total=total)

        pictures, missing = pictures_of(run, dict(material.generated), on_progress=on_progress)
    return dataclasses.replace(material, pictures=pictures, no_picture=missing)


def compare(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Put runs side by side, the first of which is the reference: a table, comparison.html and comparison.json."""
    runs = _runs(config.compare.runs)
    result = compare_runs(runs, seed=config.seed)
    sections = comparison_sections(result)
    for table in sections[0].tables + sections[1].tables:
        show(_terminal_table(table))
    for sentence in sections[0].paragraphs:
        console.print(sentence)
    workdir.mkdir(parents=True, exist_ok=True)
    labels = ", ".join(run.label for run in runs)
    title, lead = f"Comparison of {len(runs)} runs", f"{labels}; the first is the reference."
    html = write_page(workdir / f"{COMPARISON}.html", sections, title=title, lead=lead)
    write_json(workdir / f"{COMPARISON}.json", result)
    console.print(f"written to {html}, and as JSON {COMPARISON}.json")


def _runs(folders: tuple[str, ...]) -> list[RunResults]:
    """Return the results in the folders of runs.

    Raises:
      InputError: there are fewer than two folders, or one has no results.
    """
    if len(set(folders)) < 2:
        raise InputError(
            "there is nothing to compare",
            where="the command line",
            expected="the folders of two runs or more",
            was=", ".join(folders) or "none",
            remedy="--mode=compare runs/first runs/second",
        )
    paths = [expanded(folder, where="--mode=compare") for folder in dict.fromkeys(folders)]
    return [_results(path, label) for path, label in zip(paths, labels_of(paths), strict=True)]


def labels_of(paths: list[pathlib.Path]) -> list[str]:
    """Return the shortest ends of paths that tell them apart, of equal numbers of parts."""
    parts = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(one[-count:]) for one in parts]
        if len(set(labels)) == len(labels):
            break
    return labels


def _results(path: pathlib.Path, label: str) -> RunResults:
    material = read_material(path)
    if not any(name in material.found for name in RESULTS):
        raise InputError(
            "a run without results",
            where=path,
            expected=f"at least one of {', '.join(RESULTS)}",
            was="none" if path.is_dir() else "no such folder",
            remedy=f"train and test it first: --mode=train --workdir={path}",
        )
    return RunResults(label, material, read_event_bits(path))


def _terminal_table(table: Table) -> rich.table.Table:
    shown = rich.table.Table(title=table.caption)
    for place, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if not place else "right")
    for row in table.rows:
        shown.add_row(*(cell_text(cell) for cell in row))
    return shown
