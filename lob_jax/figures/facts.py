"""Draw stylised facts: a panel for each, with its figure and interval by flow, where it holds, and the verdict."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lob_jax.evaluation.fidelity.facts import FAILS, HOLDS, UNDECIDED
from lob_jax.figures.colours import REAL, series

COLUMNS = 3
_REGION, _BOUND = "#dbe9f2", "#7fa3ba"
_MARKS = {HOLDS: "o", FAILS: "X", UNDECIDED: "o"}
_WORDS = {HOLDS: "holds", FAILS: "does not hold", UNDECIDED: "undecidable"}
_WIDE = 40.0  # times the median size of the numbers in a panel: beyond it the axis is logarithmic


def facts_figure(result: Mapping[str, Any], *, title: str) -> Figure:
    """Draw a result of `facts.compare_facts`: real flow above the generated ones, fact by fact.

    Args:
      result: the result.
      title: of the data.
    """
    flows, facts = result["flows"], result["facts"]
    rows = math.ceil((len(facts) + 1) / COLUMNS)
    figure = Figure(figsize=(12.5, 1.1 + rows * (1.15 + 0.27 * len(flows))), dpi=110, layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for place, (name, fact) in enumerate(facts.items()):
        found = {flow: one["facts"][name] for flow, one in flows.items()}
        _draw_panel(panels[place], fact, found)
        if place % COLUMNS == 0:
            panels[place].set_yticklabels([f"{flow}, n = {one['returns']:,}" for flow, one in flows.items()])
    for empty in panels[len(facts) :]:
        empty.set_axis_off()
    panels[-1].legend(handles=_key(flows), loc="center left", frameon=False, fontsize=9, handlelength=1.6)
    figure.suptitle(
        f"Stylised facts: {title}\nreturns r are moves of the mid over {result['step']} messages, in ticks; n: returns;"
        " the figures have no unit; lines: 95 % bootstrap intervals",
        fontsize=11,
    )
    return figure


def colour_of(place: int) -> str:
    """Return the colour of a flow by its place, of which the first is that of real flow."""
    return REAL if place == 0 else series(place - 1)


def _draw_panel(axes: Axes, fact: Mapping[str, Any], flows: Mapping[str, Mapping[str, Any]]) -> None:
    bounds = [bound for bound in (fact["low"], fact["high"]) if bound is not None]
    numbers = [one[key] for one in flows.values() for key in ("value", "low", "high") if one[key] is not None]
    _scale(axes, [*numbers, *bounds])
    low, high = axes.get_xlim()
    region = (low if fact["low"] is None else fact["low"], high if fact["high"] is None else fact["high"])
    axes.axvspan(*region, color=_REGION, lw=0, zorder=0)
    for bound in bounds:
        axes.axvline(bound, color=_BOUND, lw=1, ls=(0, (4, 2)), zorder=1)
    for place, one in enumerate(flows.values()):
        _draw_flow(axes, one, place)
    axes.set_xlim(low, high)
    axes.set_ylim(len(flows) - 0.4, -0.6)
    axes.set_yticks(range(len(flows)), [""] * len(flows), fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title(fact["label"], fontsize=10, loc="left", weight="bold")
    wide = axes.get_xscale() != "linear"
    axes.set_xlabel(f"{fact['figure']}, logarithmic beyond 1" if wide else fact["figure"], fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _scale(axes: Axes, numbers: Sequence[float]) -> None:
    """Set the scale and the range of the axis so that all numbers are inside."""
    sizes = np.abs(numbers)
    wide = sizes.max() > _WIDE * max(float(np.median(sizes)), 1e-9) and sizes.max() > 1
    if wide:
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter("{x:,g}")
    shown = axes.transScale.transform([(number, 0) for number in numbers])[:, 0]
    margin = 0.08 * (np.ptp(shown) or 1.0)
    ends = [(shown.min() - margin, 0), (shown.max() + margin, 0)]
    axes.set_xlim(*axes.transScale.inverted().transform(ends)[:, 0])


def _draw_flow(axes: Axes, one: Mapping[str, Any], place: int) -> None:
    """Draw the figure of one flow, and its verdict in words at the right."""
    colour, verdict = colour_of(place), one["verdict"]
    if one["low"] is not None:
        axes.plot([one["low"], one["high"]], [place, place], color=colour, lw=2, solid_capstyle="butt", zorder=2)
    if one["value"] is None:
        words = "n/a"
    else:
        words = _WORDS[verdict]
        inside = "white" if verdict == UNDECIDED else colour
        axes.plot(one["value"], place, _MARKS[verdict], color=colour, mfc=inside, ms=7, mew=1.5, zorder=3)
    axes.text(1.01, place, words, transform=axes.get_yaxis_transform(), fontsize=8, va="center", color=colour)


def _key(flows: Mapping[str, Any]) -> list[Line2D | Patch]:
    """Return what explains marks and colours."""
    grey: dict[str, Any] = {"color": "#444444", "ls": "none", "ms": 7, "markeredgewidth": 1.5}
    marks = [
        Line2D([], [], marker="o", label="the fact holds", **grey),
        Line2D([], [], marker="X", label="it does not hold", **grey),
        Line2D([], [], marker="o", markerfacecolor="white", label="undecidable at this sample size:\n"
               "the interval contains a bound, or is n/a", **grey),
        Patch(facecolor=_REGION, edgecolor=_BOUND, ls="--", label="where the fact holds"),
    ]  # fmt: skip
    names = [textwrap.shorten(name, 40, placeholder=" …") for name in flows]
    return [*marks, *(Line2D([], [], color=colour_of(k), lw=2.5, label=name) for k, name in enumerate(names))]
