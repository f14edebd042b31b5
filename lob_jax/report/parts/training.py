"""Training: losses, the learning rate, and speed."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lob_jax.figures.training import training_figure
from lob_jax.report.material import Material
from lob_jax.report.section import Cell, LeftOut, Number, Section, Table, picture, table_of

TITLE = "Training"


def training(material: Material) -> Section | LeftOut:
    """Return the section about the training run."""
    lines = material.get("metrics.jsonl")
    if not lines:
        return LeftOut(TITLE, material.missing.get("metrics.jsonl", "metrics.jsonl is empty"))
    figure = training_figure(lines, title=f"Training of {material.name}")
    shown = picture(
        figure,
        name="training",
        alt="Curves of training loss, validation loss and learning rate by optimiser step",
        caption="Losses in nats per token, and the learning rate, by optimiser step.",
    )
    pictures = [shown, *(material.pictures[name] for name in ("vocabulary",) if name in material.pictures)]
    left_out = tuple(material.no_picture[name] for name in ("vocabulary",) if name in material.no_picture)
    return Section(TITLE, (), (_table(lines),), tuple(pictures), left_out)


def _table(lines: Sequence[Mapping[str, Any]]) -> Table:
    steps = [line for line in lines if "loss" in line]
    checks = [line for line in lines if "validation_loss" in line]
    speed = [line["speed"] for line in steps if "speed" in line]
    rows: list[tuple[str, Cell]] = [("optimiser steps", max((line["step"] for line in lines), default=None))]
    if steps:
        rows.append(("last training loss, nats per token", Number(steps[-1]["loss"], ".4f")))
    if checks:
        best = min(checks, key=lambda line: line["validation_loss"])
        rows.append(("lowest validation loss, nats per token", Number(best["validation_loss"], ".4f")))
        rows.append(("at step", best["step"]))
        rows.append(("validations", len(checks)))
    rows.append(("steps skipped, with a gradient that was not finite", int(sum(s.get("skipped", 0) for s in steps))))
    for key, label in (("tokens_per_s", "tokens per second, median"), ("step_s", "seconds per step, median")):
        values = [one[key] for one in speed if key in one]
        if values:
            rows.append((label, Number(statistics.median(values), ",.0f" if key == "tokens_per_s" else ".4f")))
    return table_of(f"Training, {len(steps):,} logged steps", ("measure", "value"), rows)
