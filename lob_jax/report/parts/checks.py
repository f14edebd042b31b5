"""Checks of the evaluation itself: the leakage audit, and the fault matrix, which says which scores to trust."""

from collections.abc import Mapping
from typing import Any

from lob_jax.figures.faults import fault_figure
from lob_jax.report.material import Material
from lob_jax.report.section import LeftOut, Section, picture, table_of

AUDIT, FAULTS = "Leakage audit", "Fault matrix"


def audit(material: Material) -> Section | LeftOut:
    """Return the section about the leakage audit of the evaluation."""
    findings = (material.get("evaluation.json") or {}).get("audit")
    if not findings:
        return LeftOut(AUDIT, "evaluation.json has no audit; --mode=evaluate writes one")
    leaks = sum(one.get("leak") is not None for one in findings)
    unchecked = sum(one.get("unchecked") is not None for one in findings)
    words = f"{leaks or 'No'} {'leak' if leaks == 1 else 'leaks'} found in {len(findings)} checks"
    text = f"{words}{f'; {unchecked} could not be checked' if unchecked else ''}."
    rows = [(one["check"], _verdict(one)) for one in findings]
    return Section(AUDIT, (text,), (table_of("What must hold", ("check", "verdict"), rows),))


def _verdict(finding: Mapping[str, Any]) -> str:
    if finding.get("leak") is not None:
        return f"leak: {finding['leak']}"
    if finding.get("unchecked") is not None:
        return f"not checked: {finding['unchecked']}"
    return "holds"


def faults(material: Material) -> Section | None:
    """Return the section about a fault matrix in the run's folder; None if it has none."""
    matrix = material.get("faults.json")
    if matrix is None:
        return None
    text = (
        "Faults were planted in real flow. Each cell gives the smallest number of sequences from which a score detects"
        " a fault at 5 % false alarms: a score that detects nothing says little when it is low."
    )
    shown = picture(
        fault_figure(matrix, title="planted faults"),
        name="faults",
        alt="Table of scores by planted faults, coloured by the number of sequences that detects each",
        caption="Which score detects which fault, and from how many sequences.",
        vector=False,
    )
    return Section(FAULTS, (text,), (), (shown,))
