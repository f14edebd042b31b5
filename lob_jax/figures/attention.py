"""Draw attention weights as heat maps: one per layer and head, or a single one with a label for each token."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from lob_jax.figures.colours import HEAT

LONGEST_LABEL = 34  # characters
PANEL = 2.1  # inches per heat map in a grid
LARGEST = 26.0  # inches per side of a grid
_UNSEEN = "#ececec"


def attention_grid(weight_LNTT: np.ndarray, *, labels: Sequence[str], event_T: np.ndarray, title: str) -> Figure:
    """Return a figure of one heat map per layer (row) and head (column), with a label for each event.

    Args:
      weight_LNTT: attention weights by layer, head, query token and key token; weights of zero are drawn as unseen.
      labels: a label for each event, in the order of the events.
      event_T: the event that each token belongs to, non-decreasing.
      title: title of the figure.
    """
    L, N = weight_LNTT.shape[:2]
    panel = min(PANEL, LARGEST / max(L, N))
    size = (max(panel * N + 3.2, 7.0), max(panel * L + 2.4, 4.5))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    panels = figure.subplots(L, N, squeeze=False, sharex=True, sharey=True)
    norm = _norm(weight_LNTT)
    places, text = _events(event_T, labels)
    for layer in range(L):
        for head in range(N):
            axes = panels[layer, head]
            image = _heat(axes, weight_LNTT[layer, head], event_T, norm)
            axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=8)
            axes.set_xticks(places, text, rotation=90, fontsize=6)
            axes.set_yticks(places, text, fontsize=6)
    _finish(figure, panels, image, title)
    return figure


def attention_map(weight_TT: np.ndarray, *, labels: Sequence[str], event_T: np.ndarray, title: str) -> Figure:
    """Return a figure of the weights of one head, with a label for each token.

    Args:
      weight_TT: attention weights by query token and key token.
      labels: a label for each token.
      event_T: the event that each token belongs to, non-decreasing.
      title: title of the figure.
    """
    T = len(weight_TT)
    side = min(max(0.17 * T + 2.6, 5.0), LARGEST)
    figure = Figure(figsize=(side + 0.8, side), dpi=110, layout="constrained")
    panels = figure.subplots(1, 1, squeeze=False)
    axes = panels[0, 0]
    norm = _norm(weight_TT)
    image = _heat(axes, weight_TT, event_T, norm)
    text = [_short(label) for label in labels]
    axes.set_xticks(range(T), text, rotation=90, fontsize=6.5)
    axes.set_yticks(range(T), text, fontsize=6.5)
    _finish(figure, panels, image, title)
    return figure


def _norm(weights: np.ndarray) -> PowerNorm:
    """Return a square-root colour scale up to a high quantile: the first tokens have few others to attend to."""
    seen = weights[weights > 0]
    return PowerNorm(0.5, vmin=0.0, vmax=float(np.quantile(seen, 0.98)) if len(seen) else 1.0)


def _heat(axes: Axes, weight_TT: np.ndarray, event_T: np.ndarray, norm: PowerNorm) -> AxesImage:
    """Draw one heat map, with lines between events."""
    axes.set_facecolor(_UNSEEN)
    image = axes.imshow(np.ma.masked_equal(weight_TT, 0), norm=norm, cmap=HEAT, interpolation="nearest")
    for edge in np.flatnonzero(np.diff(event_T)) + 0.5:
        axes.axvline(edge, color="white", lw=0.5)
        axes.axhline(edge, color="white", lw=0.5)
    axes.tick_params(length=2, pad=1)
    return image


def _events(event_T: np.ndarray, labels: Sequence[str]) -> tuple[list[float], list[str]]:
    """Return the middle of each event's tokens, and its label."""
    numbers = np.unique(event_T)
    middles = [float(np.flatnonzero(event_T == number).mean()) for number in numbers]
    return middles, [_short(label) for label in labels]


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def _finish(figure: Figure, panels: np.ndarray, image: AxesImage, title: str) -> None:
    bar = figure.colorbar(image, ax=panels, shrink=0.7, pad=0.01, extend="max")
    bar.set_label("attention weight; the weights of a row sum to 1", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.supxlabel("token attended to", fontsize=9)
    figure.supylabel("token that attends, read from top to bottom", fontsize=9)
    figure.suptitle(title, fontsize=10)
