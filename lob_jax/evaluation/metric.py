"""The metrics of next-token predictions: `Metric` says what one is, and each module of `metrics/` defines one."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from lob_jax.registry import Registry


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """Tokens that were predicted, and how; every array is [n], a value a token, in the order of the tokens.

    Attributes:
      predicted: int64, the likeliest token at each place.
      target: int64, the token that came.
      nll: float64, nats, minus the log probability that the target had.
      field: int64, the target's field, as `vocabulary.field_of` gives it.
      time_digits: significant digits that the tokens keep of a gap, None if they keep every ns.
    """

    predicted: np.ndarray
    target: np.ndarray
    nll: np.ndarray
    field: np.ndarray
    time_digits: int | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure of a metric, as tables show it.

    Attributes:
      key: of the figure in `Metric.figures`, or in one of its dicts; and so in evaluation.json.
      label: in the table of an evaluation; one that begins with blanks is a part of the one above it.
      form: how a number is written, as `format` takes it.
      meaning: what the figure is, in a sentence, for the table in docs/evaluation.md.
    """

    key: str
    label: str
    form: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric, or a few that share what they count.

    Attributes:
      count: what some scored tokens add, numbers [k]: of tokens in two parts, the sum of what either part adds.
      figures: (the sum of all counts, scored events, scored tokens) -> figures by key, plain values fit for JSON; a
        figure may be a dict of figures.
      rows: the figures that tables show.
    """

    count: Callable[[Scored], np.ndarray]
    figures: Callable[[np.ndarray, int, int], dict[str, Any]]
    rows: tuple[Row, ...]


METRICS = Registry(
    "metric",
    files="evaluation/metrics/*.py",
    attribute="METRIC",
    of=Metric,
    where="lob_jax/evaluation/metrics",
    first=("bits", "loss", "accuracy"),
)


def rows() -> list[Row]:
    """Return the rows of all metrics, in the order of tables."""
    return [row for _, metric in METRICS.items() for row in metric.rows]
