"""Draw the result of a learning-rate range test."""

import numpy as np
from matplotlib.figure import Figure

from lob_jax.training.probe import RangeTest, Rates, slopes

STEEPEST, LOWEST, SUGGESTED, CONFIGURED = "#d55e00", "#7f7f7f", "#0072b2", "#009e73"  # for the colour-blind
_DOTS, _CURVE = "#b8b8b8", "#222222"


def range_figure(test: RangeTest, rates: Rates | None, *, configured: float, title: str) -> Figure:
    """Return a figure of loss and slope against the learning rate, with the rates derived from them.

    Args:
      test: a test of at least two steps.
      rates: the rates derived from the test; None if its loss never fell.
      configured: the learning rate in the current configuration.
      title: title of the figure.
    """
    figure = Figure(figsize=(12, 7.5), dpi=110, layout="constrained")
    panels = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2))
    top, bottom = panels
    top.plot(test.rates, test.losses, ".", color=_DOTS, ms=5, label="loss of a batch")
    top.plot(test.rates, test.smoothed, color=_CURVE, lw=2, label="smoothed")
    top.set_ylabel("loss, nats per token")
    top.set_ylim(*_range(test))
    bottom.plot(test.rates, slopes(test), color=_CURVE, lw=1.5)
    bottom.axhline(0, color="#999999", lw=0.8)
    bottom.set_ylabel("slope, nats\nper decade of the rate")
    bottom.set_ylim(*_slope_range(test))
    for axes in panels:
        axes.grid(alpha=0.25, which="major")
        axes.spines[["top", "right"]].set_visible(False)
    marks = [("configured now", configured, CONFIGURED, ":")]
    if rates is not None:
        for axes in panels:
            axes.axvspan(rates.suggested, rates.lowest, color=SUGGESTED, alpha=0.07, lw=0)
        marks += [
            ("steepest descent", rates.steepest, STEEPEST, "--"),
            ("lowest loss", rates.lowest, LOWEST, "--"),
            ("suggested: a tenth of the lowest", rates.suggested, SUGGESTED, "-"),
        ]
    for name, rate, colour, style in marks:
        _mark(panels, rate, label=f"{name}, {rate:.2g}", colour=colour, style=style)
    top.legend(loc="lower left", framealpha=0.9, edgecolor="none")  # empty, since the loss has not fallen yet
    bottom.set_xscale("log")
    bottom.set_xlim(test.rates[0], test.rates[-1])
    bottom.set_xlabel("learning rate")
    figure.suptitle(f"{title}\n{len(test.losses)} steps: {test.ended}")
    return figure


def _mark(panels: np.ndarray, rate: float, *, label: str, colour: str, style: str) -> None:
    for axes in panels:
        axes.axvline(rate, color=colour, ls=style, lw=1.8, label=label)


def _range(test: RangeTest) -> tuple[float, float]:
    """Return axis limits that show the fall of the loss and the beginning of its rise."""
    low, first = min(test.losses), max(test.losses[: max(1, len(test.losses) // 10)])
    high = max(first, min(max(test.smoothed), 2 * first - low))
    margin = 0.08 * (high - low) or 0.1
    return low - margin, high + margin


def _slope_range(test: RangeTest) -> tuple[float, float]:
    """Return axis limits that show the slope of the falling loss and cut off the steep rise at the end."""
    slope = slopes(test)
    low = min(float(slope.min()), 0.0)
    high = min(max(float(slope.max()), 0.0), 2 * abs(low) or 1.0)
    margin = 0.1 * (high - low) or 0.1
    return low - margin, high + margin
