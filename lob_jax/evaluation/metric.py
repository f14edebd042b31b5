"""The metrics of next-token predictions: the interface `Metric`, which each module of `metrics/` implements."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lob_jax.registry import Registry
from lob_jax.tokens.tokenizer import Ability


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """Scored tokens; every array is [n], one value per token, in the order of the tokens.

    Attributes:
      predicted: int64, the likeliest token at each position.
      target: int64, the token that came.
      nll: float64, nats, minus the log probability of the target.
      field: int64, the field of the target, see `vocabulary.field_of`.
      time_digits: significant digits that the tokens keep of a gap; None if they keep every ns.
    """

    predicted: np.ndarray
    target: np.ndarray
    nll: np.ndarray
    field: np.ndarray
    time_digits: int | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the evaluation table: one figure of a metric.

    Attributes:
      key: key of the figure in `Metric.figures`, or in one of its dicts; also its key in evaluation.json.
      label: label in the table; if it begins with spaces, the figure is a part of the one above it.
      form: format specification of the number, see `format`.
      meaning: description of the figure, for the table in docs/evaluation.md.
    """

    key: str
    label: str
    form: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric, or a group of metrics that share their counts.

    Attributes:
      count: scored tokens -> counts [n, k], one row per token. Figures are computed from sums of these rows: over all
        tokens, and over resamples of the events.
      figures: (the sum of the counts [k], scored events, scored tokens) -> figures by key, plain values as in JSON; a
        figure may be a dict of figures.
      rows: the rows of the evaluation table.
      needs: the ability of a tokenizer without which a figure is meaningless, by the figure's key.
    """

    count: Callable[[Scored], np.ndarray]
    figures: Callable[[np.ndarray, int, int], dict[str, Any]]
    rows: tuple[Row, ...]
    needs: Mapping[str, Ability] = dataclasses.field(default_factory=dict)


METRICS = Registry(
    "metric",
    files="evaluation/metrics/*.py",
    attribute="METRIC",
    of=Metric,
    where="lob_jax/evaluation/metrics",
    first=("bits", "loss", "accuracy"),
)


def rows() -> list[Row]:
    """Return the rows of all metrics, in the order of the table."""
    return [row for _, metric in METRICS.items() for row in metric.rows]
