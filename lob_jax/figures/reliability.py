"""Draw reliability diagrams: how often the likeliest token came, against its predicted probability, by field."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

POINTS, DIAGONAL = "#0072b2", "#999999"
KINDS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # for the colour-blind
MARKERS = "os^Dvph"
COLUMNS = 4
Z = 1.96  # half-width of a 95 % interval of a frequency, in standard errors


def reliability_figure(found: Mapping[str, Any], *, title: str) -> Figure:
    """Return a figure with a panel for each field, and one for the kinds of events.

    Args:
      found: result of `lob_jax.evaluation.likelihood.calibration.calibration`.
      title: title of the figure.
    """
    fields = {name: one for name, one in found.items() if name != "kinds"}
    panels_needed = len(fields) + ("kinds" in found)
    rows = math.ceil(panels_needed / COLUMNS)
    columns = min(COLUMNS, panels_needed)
    figure = Figure(figsize=(3.6 * columns, 0.7 + 3.5 * rows), dpi=110, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, one) in zip(panels, fields.items(), strict=False):
        _draw(axes, one, color=POINTS, marker="o")
        axes.set_title(f"{'all tokens' if name == 'all' else name}, n {one['count']:,}\n{_errors(one)}", fontsize=9)
    if "kinds" in found:
        _draw_kinds(panels[len(fields)], found["kinds"])
    for axes in panels[panels_needed:]:
        axes.set_visible(False)
    figure.suptitle(f"{title}\npoints: bins of equal counts, with 95 % intervals; line: perfect calibration")
    figure.supxlabel("mean predicted probability")
    figure.supylabel("share that came true")
    return figure


def _draw_kinds(axes: Axes, kinds: Mapping[str, Any]) -> None:
    """Draw the probability of each kind of event before its head."""
    for number, (name, one) in enumerate(kinds["by_kind"].items()):
        style: dict[str, Any] = {"color": KINDS[number % len(KINDS)], "marker": MARKERS[number % len(MARKERS)]}
        _draw(axes, one, label=name.replace("_", " "), **style)
    count = next(iter(kinds["by_kind"].values()))["count"]
    axes.set_title(f"kind of event, n {count:,}\nmean ECE {kinds['ece']:.2%}", fontsize=9)
    axes.legend(loc="upper left", fontsize=7, frameon=False)


def _draw(axes: Axes, one: Mapping[str, Any], *, color: str, marker: str, label: str | None = None) -> None:
    probability, frequency = np.array(one["probability"]), np.array(one["frequency"])
    error = Z * np.sqrt(frequency * (1 - frequency) / np.array(one["counts"]))
    axes.plot([0, 1], [0, 1], color=DIAGONAL, lw=0.9, zorder=0)
    style: dict[str, Any] = {"fmt": f"{marker}-", "color": color, "ms": 3.5, "lw": 1.0, "elinewidth": 0.8}
    axes.errorbar(probability, frequency, yerr=error, label=label, **style)
    # Both axes end where the points do: digits of gaps have probabilities of 1 in 1,000.
    limit = 1.0 if label else min(1.0, 1.1 * float(max(probability.max(), (frequency + error).max(), 1e-6)))
    axes.set_xlim(-0.02 * limit, 1.02 * limit)
    axes.set_ylim(-0.02 * limit, 1.02 * limit)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.grid(alpha=0.3, lw=0.6)


def _errors(one: Mapping[str, Any]) -> str:
    return f"ECE {one['ece']:.2%} ({one['ece_by_chance']:.2%} by chance)"
