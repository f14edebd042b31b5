"""Checks of the evaluation itself: the leakage audit, and the fault matrix, which says which scores to trust."""

from lob_jax.evaluation.leakage import Finding
from lob_jax.figures.faults import fault_figure
from lob_jax.report.material import Material
from lob_jax.report.section import LeftOut, Section, picture, table_of

AUDIT, FAULTS = "Leakage audit", "Fault matrix"


def audit(material: Material) -> Section | LeftOut:
    """Return the section about the leakage audit: that of `--mode=audit`, else the shorter one of the evaluation."""
    whole = material.get("audit.json")
    plain = whole["findings"] if whole else (material.get("evaluation.json") or {}).get("audit")
    if not plain:
        return LeftOut(AUDIT, "neither audit.json nor evaluation.json has one; --mode=audit writes the longer one")
    findings = [Finding(**one) for one in plain]
    leaks = sum(one.leak is not None for one in findings)
    unchecked = sum(one.unchecked is not None for one in findings)
    words = f"{leaks or 'No'} {'leak' if leaks == 1 else 'leaks'} found in {len(findings)} checks"
    text = f"{words}{f'; {unchecked} could not be checked' if unchecked else ''}."
    if whole:
        text += f" Every record was read and everything fitted again, for the checkpoint of step {whole['step']:,}."
    rows = [(one.check, one.verdict) for one in findings]
    return Section(AUDIT, (text,), (table_of("What must hold", ("check", "verdict"), rows),))


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
