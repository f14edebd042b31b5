"""Checks of the evaluation itself: the leakage audit, and the fault matrix, which says which scores to trust."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.evaluation.fidelity.faults.matrix import CONTROL
from lob_jax.evaluation.leakage import Finding
from lob_jax.figures.faults import GROUPS, fault_figure, of_row, ordered, smallest_of
from lob_jax.report.material import Material
from lob_jax.report.section import Absent, Cell, LeftOut, Number, Section, Table, picture, table_of

AUDIT, FAULTS = "Leakage audit", "Fault matrix"
STATISTIC = "l1"  # by which scores are judged
MOST_NAMED = 3  # scores that are named as the first to detect a fault


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
        "Faults were planted in real flow. Each cell of the picture gives the smallest number of sequences from which"
        f" a score detects a fault in {matrix['power']:.0%} of {matrix['draws']} draws, at"
        f" {matrix['false_alarms']:.0%} false alarms: a score that detects nothing says little when it is low."
    )
    counts = f"{matrix['sequences']:,} real sequences, {matrix['messages']:,} messages"
    shown = picture(
        fault_figure(matrix, title="planted faults", statistic=STATISTIC),
        name="faults",
        alt="Table of scores by planted faults, coloured by the number of sequences that detects each",
        caption="Which score detects which fault, and from how many sequences.",
        vector=False,
    )
    return Section(FAULTS, (text,), (_by_fault(matrix, counts), _by_score(matrix, counts)), (shown,))


def _by_fault(matrix: Mapping[str, Any], counts: str) -> Table:
    """Return what detects each fault, and from how few sequences."""
    rows, never = ordered(matrix, STATISTIC), Absent(f"not detected from {matrix['counts'][-1]} sequences")
    cells: list[tuple[Cell, ...]] = []
    for fault in matrix["faults"]:
        found = {row["label"]: smallest_of(row, fault["name"], STATISTIC) for row in rows}
        known = {label: count for label, count in found.items() if count is not None}
        fewest = min(known.values(), default=None)
        first = [label for label, count in known.items() if count == fewest]
        more = f" and {len(first) - MOST_NAMED} more" if len(first) > MOST_NAMED else ""
        named: Cell = f"{'; '.join(first[:MOST_NAMED])}{more}" if first else never
        name = f"{fault['label']} ({fault['changes']})"
        cells.append((name, len(known), never if fewest is None else fewest, named))
    columns = ("fault", f"detected by, of {len(rows)}", "from sequences", "first by")
    return table_of(f"What detects each fault: {counts}", columns, cells)


def _by_score(matrix: Mapping[str, Any], counts: str) -> Table:
    """Return how many faults each score or measure detects, and how often it raises a false alarm."""
    never = Absent(f"detects none from {matrix['counts'][-1]} sequences")
    cells: list[tuple[Cell, ...]] = []
    for row in ordered(matrix, STATISTIC):
        found = [smallest_of(row, fault["name"], STATISTIC) for fault in matrix["faults"]]
        known = [count for count in found if count is not None]
        shares = [share for share in of_row(row, STATISTIC)[CONTROL]["power"] if share is not None]
        alarms: Cell = Number(float(np.mean(shares)), ".1%") if shares else Absent("real flow has no values of it")
        cells.append((f"{GROUPS[row['group']]}: {row['label']}", len(known), min(known, default=never), alarms))
    columns = ("score or measure", f"faults detected, of {len(matrix['faults'])}", "from sequences", "false alarms")
    return table_of(f"What each score detects: {counts}", columns, cells)
