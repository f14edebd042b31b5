"""Assemble a report from the results of a run, and write it."""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from lob_jax.later_keys import version
from lob_jax.report.material import Material
from lob_jax.report.page import page
from lob_jax.report.parts.attention import attention
from lob_jax.report.parts.checks import audit, faults
from lob_jax.report.parts.data import data
from lob_jax.report.parts.direction import direction, forecaster
from lob_jax.report.parts.fidelity import fidelity
from lob_jax.report.parts.generated import generated
from lob_jax.report.parts.likelihood import likelihood
from lob_jax.report.parts.order_forecasts import order_forecasts
from lob_jax.report.parts.others import others
from lob_jax.report.parts.path_forecasts import path_forecasts
from lob_jax.report.parts.settings import configuration, versions
from lob_jax.report.parts.summary import summary
from lob_jax.report.parts.training import training
from lob_jax.report.section import LeftOut, Section, plain_section

PARTS: tuple[Callable[[Material], Section | LeftOut | None], ...] = (  # in the order of the page
    summary,
    likelihood,
    fidelity,
    direction,
    path_forecasts,
    order_forecasts,
    forecaster,
    generated,
    training,
    attention,
    audit,
    faults,
    data,
    others,
    configuration,
    versions,
)
HTML, JSON = "report.html", "report.json"


def sections_of(material: Material) -> tuple[list[Section], list[LeftOut]]:
    """Return the sections that a run's results give, and those that are left out."""
    made = [part(material) for part in PARTS]
    return [one for one in made if isinstance(one, Section)], [one for one in made if isinstance(one, LeftOut)]


def write_page(
    path: pathlib.Path, sections: Sequence[Section], *, title: str, lead: str, left_out: Sequence[LeftOut] = ()
) -> pathlib.Path:
    """Write sections as one HTML file, atomically, and return its path.

    Args:
      path: the file; its folder exists.
      sections: the sections, the summary first.
      title: the heading.
      lead: a sentence below it.
      left_out: sections that could not be written.
    """
    footer = f"Written by lob_jax {version()}. The file is complete in itself: it loads nothing and runs no scripts."
    text = page(sections, title=title, lead=lead, left_out=left_out, footer=footer)
    partial = path.with_name(f"{path.name}.partial")  # in the same folder: os.replace is atomic within a file system
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
    return path


def plain_report(
    sections: Sequence[Section], *, title: str, lead: str, left_out: Sequence[LeftOut] = ()
) -> dict[str, Any]:
    """Return a report as plain values as in JSON."""
    return {
        "version": version(),
        "title": title,
        "lead": lead,
        "sections": [plain_section(section) for section in sections],
        "left_out": [{"title": one.title, "reason": one.reason} for one in left_out],
    }
