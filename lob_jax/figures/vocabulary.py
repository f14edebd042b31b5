"""Draw a map of token embeddings: their first two principal components, coloured by class."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lob_jax.figures.colours import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, YELLOW

STYLES = (  # colour and marker of each class; the kinds of events differ in both
    (GREY, "x"),
    (BLUE, "o"),
    (ORANGE, "s"),
    (VERMILION, "D"),
    (GREEN, "^"),
    (PURPLE, "v"),
    (BLACK, "P"),
    ("#b0b0b0", "."),
    (SKY, "*"),
    (YELLOW, "h"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """The first principal components of vectors.

    Attributes:
      point_V2: float64 [V, 2], the coordinates of each vector.
      share: share of the variance along each of the two components.
    """

    point_V2: np.ndarray
    share: tuple[float, float]


def principal_components(vector_VD: np.ndarray) -> Projection:
    """Return vectors projected to the two directions of largest variance (Pearson, 1901)."""
    centred_VD = np.asarray(vector_VD, np.float64) - np.mean(vector_VD, axis=0, dtype=np.float64)
    _, deviation, direction_DD = np.linalg.svd(centred_VD, full_matrices=False)
    total = np.square(deviation).sum() or 1.0
    share = np.square(deviation) / total
    return Projection(centred_VD @ direction_DD[:2].T, (float(share[0]), float(share[1])))


def vocabulary_map(
    vector_VD: np.ndarray, *, class_V: np.ndarray, count_V: np.ndarray, names: Sequence[str], title: str
) -> Figure:
    """Return a map of the embeddings of those tokens that occur.

    Args:
      vector_VD: the embedding of each token.
      class_V: the class of each token, an index into `names`.
      count_V: number of times that each token occurs in the training data; dots grow with its logarithm.
      names: the names of the classes.
      title: title of the figure.
    """
    seen_V = count_V > 0
    projection = principal_components(vector_VD[seen_V])
    class_V, size_V = class_V[seen_V], 6 + 7 * np.log10(count_V[seen_V])
    figure = Figure(figsize=(9, 6.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    for number in np.unique(class_V):
        mine, (colour, marker) = class_V == number, STYLES[number % len(STYLES)]
        edge: dict[str, Any] = {} if marker in "x." else {"edgecolors": "#555555", "linewidths": 0.3}
        label = f"{names[number]} ({np.count_nonzero(mine):,})"
        axes.scatter(*projection.point_V2[mine].T, s=size_V[mine], c=colour, marker=marker, label=label, **edge)
    axes.set_xlabel(f"first principal component, {projection.share[0]:.1%} of the variance")
    axes.set_ylabel(f"second principal component, {projection.share[1]:.1%} of the variance")
    axes.grid(alpha=0.2)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, title="class (tokens)")
    figure.suptitle(f"{title}: {np.count_nonzero(seen_V):,} tokens that occur in the training data", fontsize=11)
    return figure
