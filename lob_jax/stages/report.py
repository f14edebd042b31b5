"""The stages `report` and `compare`: what a run has found, and several runs side by side, as one page each."""

import dataclasses
import pathlib

import ml_collections

from lob_jax.command_line import told_command
from lob_jax.console import bar, console
from lob_jax.errors import InputError
from lob_jax.report.material import FILES, Material, read_material
from lob_jax.report.report import sections_of, write_report
from lob_jax.runs.load import open_run
from lob_jax.runs.pictures import pictures_of
from lob_jax.training.run.checkpoint import steps_in

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
    lead = "Results, data, configuration and versions of one run."
    html, plain = write_report(workdir, sections, title=f"Report of {material.name}", lead=lead, left_out=left_out)
    tables, pictures = (sum(len(getattr(one, part)) for one in sections) for part in ("tables", "pictures"))
    console.print(f"{len(sections)} sections, {tables} tables, {pictures} figures: {html}, and as JSON {plain.name}")
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
