"""Draw a fan chart of generated paths: quantiles of each measure against events or time."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lob_jax.generation.fan import LEAST_PATHS, MEASURES, QUANTILES, Fan


def fan_figure(forecast: Fan, *, title: str, real: Fan | None = None) -> Figure:
    """Draw each measure as bands between pairs of quantiles around the median, or, for too few paths, every path.

    Args:
      forecast: the paths.
      title: title of the figure.
      real: what really happened after the same prompt, as one path or more; each is drawn as a line.
    """
    figure = Figure(figsize=(12, 8), dpi=100, layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    few = forecast.paths_H.max() < LEAST_PATHS
    for axes, (name, label) in zip(panels.flat, MEASURES.items(), strict=True):
        if few:
            lines = axes.step(forecast.moment_H, forecast.paths_PH[name].T, color="#0072b2", lw=0.8, where="post")
            lines[0].set_label("each path")
        else:
            _draw_quantiles(axes, forecast, forecast.shown(name))
        if real is not None:
            lines = axes.step(real.moment_H, real.paths_PH[name].T, color="#000000", lw=1.3, ls="--", where="post")
            lines[0].set_label("real")
        axes.set_ylabel(label)
        axes.ticklabel_format(useOffset=False)
        axes.grid(alpha=0.3, lw=0.6)
    panels[0, 0].legend(loc="upper left", frameon=False)
    for axes in panels[1]:
        axes.set_xlabel(f"{forecast.by} since the prompt")
    figure.suptitle(f"{title}: {int(forecast.paths_H[-1])} paths at the end{', too few for quantiles' if few else ''}")
    return figure


def moves_figure(real_SH: np.ndarray, generated_SH: np.ndarray, *, horizons: np.ndarray, title: str) -> Figure:
    """Draw the moves of the mid since the prompt as quantiles over sequences, real beside generated, on one scale.

    Args:
      real_SH: moves of the real sequences in ticks, NaN where unknown.
      generated_SH: those of the generated sequences.
      horizons: [H], messages since the prompt.
      title: title of the figure, with the numbers of sequences.
    """
    figure = Figure(figsize=(12, 4.5), dpi=100, layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (name, moves_SH) in zip(panels, (("real", real_SH), ("generated", generated_SH)), strict=True):
        known = [column[np.isfinite(column)] for column in moves_SH.T]
        of_HQ = np.array([np.quantile(one, QUANTILES) if len(one) else [np.nan] * len(QUANTILES) for one in known])
        for low, shade in ((0, 0.18), (1, 0.35)):
            shares = f"{QUANTILES[low]:.0%} to {QUANTILES[-1 - low]:.0%}"
            ends = of_HQ[:, low], of_HQ[:, -1 - low]
            axes.fill_between(horizons, *ends, color="#0072b2", alpha=shade, lw=0, label=shares)
        axes.plot(horizons, of_HQ[:, 2], color="#003a5c", lw=1.4, label="median")
        axes.set_title(f"{name}, n = {len(moves_SH):,} sequences", fontsize=10)
        axes.set_xlabel("messages since the prompt")
        axes.grid(alpha=0.3, lw=0.6)
    panels[0].set_ylabel("move of the mid, ticks")
    panels[0].legend(loc="upper left", frameon=False)
    figure.suptitle(title)
    return figure


def _draw_quantiles(axes: Axes, forecast: Fan, values_HQ: np.ndarray) -> None:
    Q = len(forecast.quantile_Q)
    for low in range(Q // 2):
        ends = (values_HQ[:, low], values_HQ[:, Q - 1 - low])
        shares = f"{forecast.quantile_Q[low]:.0%} to {forecast.quantile_Q[Q - 1 - low]:.0%}"
        axes.fill_between(forecast.moment_H, *ends, color="#0072b2", alpha=0.25, lw=0, step="post", label=shares)
    axes.step(forecast.moment_H, values_HQ[:, Q // 2], color="#003a5c", lw=1.4, where="post", label="median")
