"""Draw scores of models: bars with noise floors, curves by horizon, and values against the range of real data."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lob_jax.figures.colours import BLACK, series

BAR = 0.8  # of the distance between two rows
FARTHEST = 60.0  # half-widths of the real range up to which a value is drawn in its place


@dataclasses.dataclass(frozen=True)
class Bar:
    """A value, and the ends of its interval if it has one; NaN draws nothing."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclasses.dataclass(frozen=True)
class Against:
    """A quantity of real data with the range that real halves of the same size have, and its values by model."""

    label: str
    real: float
    low: float
    high: float
    models: Mapping[str, float]


def bar_figure(
    rows: Mapping[str, Mapping[str, Bar]], *, floors: Mapping[str, float] | None = None, unit: str, title: str
) -> Figure:
    """Return a figure of horizontal bars, one group per row and one colour per model.

    Args:
      rows: the bars by row and model.
      floors: the noise floor of some of the rows, drawn as a line across the group.
      unit: label of the axis.
      title: title of the figure, with the number of observations.
    """
    models = list(dict.fromkeys(model for bars in rows.values() for model in bars))
    height = max(2.6, 1.5 + len(rows) * (0.16 + 0.15 * len(models)))
    figure = Figure(figsize=(9, height), dpi=110, layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(rows))
    thick = BAR / max(len(models), 1)
    for k, model in enumerate(models):
        bars = [one.get(model, Bar(float("nan"))) for one in rows.values()]
        _draw_bars(axes, place - BAR / 2 + (k + 0.5) * thick, bars, thick=thick, colour=series(k), label=model)
    drawn = [(row, floors[name]) for row, name in enumerate(rows) if floors and np.isfinite(floors.get(name, np.nan))]
    if drawn:
        at, value = zip(*drawn, strict=True)
        ends = [row - BAR / 2 for row in at], [row + BAR / 2 for row in at]
        axes.vlines(value, *ends, color=BLACK, lw=2.2, label="real against real: the noise floor", zorder=4)
    axes.set_yticks(place, list(rows), fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(unit)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    _legend_below(figure, axes)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_bars(axes: Axes, at: np.ndarray, bars: Sequence[Bar], *, thick: float, colour: str, label: str) -> None:
    value = np.array([bar.value for bar in bars])
    axes.barh(at, np.nan_to_num(value), height=0.9 * thick, color=colour, label=label)
    below, above = (np.array([getattr(bar, end) for bar in bars]) for end in ("low", "high"))
    known = np.isfinite(value) & np.isfinite(below) & np.isfinite(above)
    if known.any():
        spread = np.maximum(np.stack([value - below, above - value])[:, known], 0)
        axes.errorbar(value[known], at[known], xerr=spread, fmt="none", ecolor="#333333", elinewidth=0.9, capsize=1.5)


def curve_figure(curves: Mapping[str, Mapping[str, Sequence[float]]], *, horizon: str, unit: str, title: str) -> Figure:
    """Return a figure of curves by model.

    Args:
      curves: by model, "at" and "value" of equal length, and "low" and "high" of its interval if it has one.
      horizon: label of the horizontal axis.
      unit: label of the vertical axis.
      title: title of the figure, with the number of observations.
    """
    figure = Figure(figsize=(9, 4.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    for k, (model, curve) in enumerate(curves.items()):
        at, value = (np.asarray(curve[name], float) for name in ("at", "value"))
        if "low" in curve and "high" in curve:
            low, high = (np.asarray(curve[name], float) for name in ("low", "high"))
            axes.fill_between(at, low, high, color=series(k), alpha=0.18, lw=0)
        axes.plot(at, value, "o-", color=series(k), ms=3.5, lw=1.4, label=model)
    axes.set_xlabel(horizon)
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    _legend_below(figure, axes)
    figure.suptitle(title, fontsize=11)
    return figure


def against_figure(rows: Sequence[Against], *, title: str) -> Figure:
    """Return a figure of quantities of generated data against the range of real data, all on one scale.

    Each row is drawn in half-widths of its real range: the shaded band from -1 to 1 holds 95 % of real halves.

    Args:
      rows: the quantities.
      title: title of the figure, with the number of observations.
    """
    models = list(dict.fromkeys(model for row in rows for model in row.models))
    figure = Figure(figsize=(9, max(2.4, 1.4 + 0.24 * len(rows))), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-1, 1, color="#d9d9d9", lw=0, label="95 % of real halves")
    for k, model in enumerate(models):
        at = np.array([_placed(row, row.models.get(model, float("nan"))) for row in rows])
        place = np.arange(len(rows)) + (k - (len(models) - 1) / 2) * 0.5 / max(len(models), 1)
        axes.plot(np.clip(at, -FARTHEST, FARTHEST), place, "o", color=series(k), ms=5, label=model)
    axes.plot([_placed(row, row.real) for row in rows], range(len(rows)), "|", color=BLACK, ms=9, mew=1.6, label="real")
    axes.set_xscale("symlog", linthresh=2)
    ticks = [-30, -10, -5, -2, -1, 0, 1, 2, 5, 10, 30]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(-1.1 * FARTHEST, 1.1 * FARTHEST)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("distance from the middle of the real range, in half-widths; beyond 2 logarithmic", fontsize=8)
    axes.grid(axis="both", alpha=0.25)
    _legend_below(figure, axes)
    figure.suptitle(title, fontsize=11)
    return figure


def _placed(row: Against, value: float) -> float:
    """Return a value in half-widths of the row's range, from its middle; NaN if the range has no width."""
    half = (row.high - row.low) / 2
    return (value - (row.high + row.low) / 2) / half if half > 0 else float("nan")


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4), frameon=False, fontsize=8)
