"""The stage `export`: write the best checkpoint of a run as a bundle, which runs without JAX."""

import math
import pathlib
from typing import TYPE_CHECKING

import ml_collections
from rich.table import Table

from lob_jax.config import sections
from lob_jax.console import console, show, waiting
from lob_jax.errors import InputError
from lob_jax.stages.model import trained_run

if TYPE_CHECKING:
    from lob_jax.runs.export import Exported, Graphs

USUALLY = "10 s to 10 min, depending on the model"


def export(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Write the bundle, and print how its graphs agree with the model and what each precision costs and predicts.

    Raises:
      InputError: ONNX or ONNX Runtime is not installed; or see `runs.export.export_run`.
    """
    settings = sections.export_config(config)
    try:
        from lob_jax.runs.export import export_run
    except ImportError as error:
        raise without_onnx("--mode=export", error) from error
    run = trained_run(config, workdir)
    with waiting("writing graphs, comparing them with the model and measuring them", usually=USUALLY):
        exported = export_run(run, workdir / settings.name, settings)
    show(parity_table(exported))
    if exported.graphs is not None:
        show(precision_table(exported.graphs))
        console.print(f"the smallest within 1 % of float32's bits: {exported.graphs.chosen}")
    console.print(f"written to {exported.bundle.folder}, fingerprint {exported.bundle.fingerprint}")


def without_onnx(where: str, error: ImportError) -> InputError:
    """Return the error for an installation that cannot write graphs."""
    return InputError(
        "an export needs ONNX and ONNX Runtime, which are not installed",
        where=where,
        expected="an installation with the extra [export]",
        was=error,
        remedy='pip install -e ".[export]"',
    )


def parity_table(exported: "Exported") -> Table:
    """Return how closely what was written in float32 agrees with the model."""
    table = Table(title="float32 beside the model", title_justify="left")
    table.add_column("")
    for heading in ("tokens", "largest difference of a logit", "same likeliest token"):
        table.add_column(heading, justify="right")
    graphs = {} if exported.graphs is None else exported.graphs.parity
    found = {f"ONNX, {name}": one for name, one in graphs.items()}
    found |= {f"StableHLO, {name}, random tokens": one for name, one in exported.programs.items()}
    for name, one in found.items():
        table.add_row(name, f"{one.tokens:,}", f"{one.difference:.1e}", f"{one.agreement:.2%}")
    return table


def precision_table(graphs: "Graphs") -> Table:
    """Return what each precision costs, and how well it predicts."""
    table = Table(title="precisions", title_justify="left")
    table.add_column("")
    headings = ("file, MB", "weights a token reads, MB", "integer products", "bits per event", "same likeliest token")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, one in graphs.measured.items():
        bits = "" if math.isnan(one.bits_per_event) else f"{one.bits_per_event:.3f}"
        table.add_row(
            name,
            f"{one.megabytes:.1f}",
            f"{one.weight_megabytes:.1f}",
            f"{one.integer_share:.1%}",
            bits,
            f"{one.agreement:.2%}",
        )
    return table
