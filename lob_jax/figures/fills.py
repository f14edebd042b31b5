"""Draw how well shares of paths predict fills: reliability diagrams, and histograms of the PIT of times."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lob_jax.figures.colours import BLACK, BLUE, GREY, VERMILION

COLUMNS = 3


def fills_figure(found: Mapping[str, Mapping[str, list[Any]]], *, title: str) -> Figure:
    """Return reliability diagrams of the shares of paths on which an order is filled or cancelled.

    Args:
      found: by the title of a panel, a result of `lob_jax.evaluation.paths.resting.scores.reliability`.
      title: title of the figure, with the number of observations.
    """
    figure, panels = _panels(len(found))
    for axes, (name, one) in zip(panels, found.items(), strict=False):
        share, came = np.array(one["probability"]), np.array(one["frequency"])
        ends = np.array([came - one["low"], np.array(one["high"]) - came]).clip(0)
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.9, zorder=0)
        calibrated = np.array(one["calibrated"], float)
        axes.plot(share, calibrated, "--", color=VERMILION, lw=1.1, label="one path against the others")
        axes.errorbar(share, came, yerr=ends, fmt="o-", color=BLUE, ms=4, lw=1.2, elinewidth=0.8, label="real orders")
        for at, height, count in zip(share, came, one["orders"], strict=True):
            axes.annotate(f"{count:,}", (at, height), xytext=(3, -9), textcoords="offset points", fontsize=6)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(alpha=0.3, lw=0.6)
        axes.set_title(name, fontsize=9)
        axes.legend(loc="lower right", fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=11)
    figure.supxlabel("share of the paths on which it comes", fontsize=9)
    figure.supylabel("share of the orders for which it came", fontsize=9)
    return figure


def pit_figure(found: Mapping[str, Mapping[str, Any]], *, title: str) -> Figure:
    """Return histograms of the PIT of times, beside the height of uniform ones.

    Args:
      found: by the title of a panel, "counts" in bins of equal width, "orders" and "p" of the test.
      title: title of the figure.
    """
    figure, panels = _panels(len(found))
    for axes, (name, one) in zip(panels, found.items(), strict=False):
        counts = np.array(one["counts"], float)
        edges = np.linspace(0, 1, len(counts) + 1)
        axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=BLUE, edgecolor="white", lw=0.6)
        axes.axhline(counts.sum() / len(counts), color=BLACK, lw=1)
        about = "no order" if one["p"] is None else f"{one['orders']:,} orders, p {one['p']:.2g}"
        axes.set_title(f"{name}\n{about}", fontsize=9)
    figure.suptitle(title, fontsize=11)
    figure.supxlabel("PIT of the number of events", fontsize=9)
    figure.supylabel("orders", fontsize=9)
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many panels, up to COLUMNS of them in one row, more of them in a square."""
    columns = count if count <= COLUMNS else math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.6 * columns, 0.9 + 3.3 * rows), dpi=110, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels
