"""Draw which scores detect which planted faults: a table of numbers of sequences, coloured by them."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

GROUPS = {
    "lob_bench": "LOB-Bench",
    "conditional": "conditional",
    "further": "further scores",
    "measures": "measures",
    "facts": "stylised facts",
    "tests": "tests",
}
_ROW_INCHES, _TOP_INCHES = 0.25, 3.2
_SHADES = ("#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838")  # cividis, dark: few sequences suffice
_MISSED, _UNDEFINED = "#f2f2f2", "#ffffff"


def smallest_of(row: Mapping[str, Any], fault: str, statistic: str) -> int | None:
    """Return the smallest number of sequences from which a row of a fault matrix detects a fault; None if none does."""
    return of_row(row, statistic)[fault]["smallest"]


def of_row(row: Mapping[str, Any], statistic: str) -> Mapping[str, Any]:
    """Return what a row found with a statistic, or with its first one if it has no such."""
    return row["statistics"].get(statistic) or next(iter(row["statistics"].values()))


def ordered(matrix: Mapping[str, Any], statistic: str) -> list[Mapping[str, Any]]:
    """Return the rows of a fault matrix by group; in each, those that detect the most faults first."""
    faults = [fault["name"] for fault in matrix["faults"]]

    def rank(row: Mapping[str, Any]) -> tuple[int, int]:
        found = sum(smallest_of(row, fault, statistic) is not None for fault in faults)
        return list(GROUPS).index(row["group"]), -found

    return sorted(matrix["rows"], key=rank)


def fault_figure(matrix: Mapping[str, Any], *, title: str, statistic: str = "l1") -> Figure:
    """Draw a fault matrix: in each cell the smallest number of sequences that detects the fault.

    Args:
      matrix: of `fault_matrix`.
      title: of the data.
      statistic: the distance by which the scores are judged: l1, w1 or ks.
    """
    rows, counts = ordered(matrix, statistic), matrix["counts"]
    figure = Figure(figsize=(13, _TOP_INCHES + _ROW_INCHES * len(rows)), dpi=100, layout="constrained")
    axes = figure.subplots()
    cells = _cells(rows, matrix["faults"], counts, statistic)
    shades = ListedColormap([_UNDEFINED, *_shades(len(counts)), _MISSED])
    axes.imshow(cells, cmap=shades, norm=BoundaryNorm(np.arange(-1.5, len(counts) + 1), shades.N), aspect="auto")
    for y, row in enumerate(rows):
        for x, fault in enumerate(matrix["faults"]):
            smallest, shade = smallest_of(row, fault["name"], statistic), cells[y, x]
            text = "n/a" if shade < 0 else "-" if smallest is None else str(smallest)
            dark = 0 <= shade < len(counts) / 2
            axes.text(x, y, text, ha="center", va="center", fontsize=9, color="white" if dark else "#222222")
    _label(axes, rows, matrix, statistic)
    power, alarms = f"{matrix['power']:.0%}", f"{matrix['false_alarms']:.0%}"
    figure.suptitle(
        f"Sequences needed to detect a planted fault: {title}\n"
        f"alarms in {power} of {matrix['draws']} draws at {alarms} false alarms; {matrix['sequences']} real sequences, "
        f"{matrix['messages']:,} messages; - : not from {counts[-1]} sequences",
        fontsize=11,
    )
    return figure


def _shades(count: int) -> Sequence[str]:
    return [_SHADES[round(place)] for place in np.linspace(0, len(_SHADES) - 1, count)]


def _cells(
    rows: Sequence[Mapping[str, Any]], faults: Sequence[Mapping[str, Any]], counts: Sequence[int], statistic: str
) -> np.ndarray:
    """Return the place of each cell's number among the counts, one more if none detects, -1 if nothing is defined."""
    cells = np.full((len(rows), len(faults)), len(counts))
    for y, row in enumerate(rows):
        for x, fault in enumerate(faults):
            found = of_row(row, statistic)[fault["name"]]
            if found["smallest"] is not None:
                cells[y, x] = list(counts).index(found["smallest"])
            elif all(power is None for power in found["power"]):
                cells[y, x] = -1
    return cells


def _label(axes: Axes, rows: Sequence[Mapping[str, Any]], matrix: Mapping[str, Any], statistic: str) -> None:
    faults = matrix["faults"]
    axes.set_xticks(range(len(faults)), [f"{fault['label']}\n({fault['changes']})" for fault in faults], fontsize=9)
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, rotation=55)
    for label in axes.get_xticklabels():
        label.set(ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=9)
    groups = [row["group"] for row in rows]
    for y in np.flatnonzero([one != other for one, other in itertools.pairwise(groups)]):
        axes.axhline(y + 0.5, color="#222222", lw=1.2)
    for y in range(len(rows)):
        axes.axhline(y + 0.5, color="white", lw=0.5, zorder=0.9)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(rows)), [_false_alarms(row, statistic) for row in rows], fontsize=8)
    right.tick_params(length=0)
    right.set_ylabel("false alarms, mean over the numbers of sequences")
    first = {group: groups.index(group) for group in dict.fromkeys(groups)}
    for group, y in first.items():
        axes.annotate(
            GROUPS[group],
            (0, (y + groups.count(group) / 2) - 0.5),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-265, 0),
            textcoords="offset points",
            rotation=90,
            va="center",
            ha="center",
            fontsize=10,
            weight="bold",
        )


def _false_alarms(row: Mapping[str, Any], statistic: str) -> str:
    shares = [share for share in of_row(row, statistic)["nothing"]["power"] if share is not None]
    return f"{np.mean(shares):.0%}" if shares else "n/a"
