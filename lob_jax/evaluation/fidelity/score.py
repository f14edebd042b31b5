"""`Score`: a quantity whose distribution in real and generated flow is compared; modules of `scores/` define them."""

import dataclasses
import enum
from collections.abc import Callable

import numpy as np

from lob_jax.registry import Registry
from lob_jax.statistics.flow import Flow

GROUPS = ("lob_bench", "further")


class Need(enum.StrEnum):
    """What a flow must have for a score; the book after each message is always there."""

    MESSAGES = "messages"  # kind, side, price and size of each message
    TIMES = "times"
    ORDER_IDS = "order ids"


_LACKING = {
    Need.MESSAGES: "the flow has a book, but no messages",
    Need.TIMES: "the flow has no times",
    Need.ORDER_IDS: "the flow has no order ids",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Values:
    """What a score measured in the sequences of a flow.

    Attributes:
      value: float64 [N], finite.
      sequence: int64 [N], the sequence that each value comes from, ascending.
      row: int64 [N], the message that each value belongs to.
    """

    value: np.ndarray
    sequence: np.ndarray
    row: np.ndarray


@dataclasses.dataclass(frozen=True)
class Score:
    """A quantity of messages and books that has a distribution.

    Attributes:
      name: its key in JSON.
      label: its name in tables and figures.
      unit: the unit of its values; empty if they have none.
      discrete: whether every distinct value is a bin; otherwise the bins follow Freedman and Diaconis.
      values: flow -> its values. Sequences are independent of each other; values that are not defined are left out.
      group: one of `GROUPS`, which summaries are made of.
      needs: what a flow must have, see `lacking`.
      version: number of the definition, increased whenever the values change.
    """

    name: str
    label: str
    unit: str
    discrete: bool
    values: Callable[[Flow], Values]
    group: str = "further"
    needs: frozenset[Need] = frozenset()
    version: int = 1


REGISTRY: Registry[tuple] = Registry(
    "fidelity score",
    files="evaluation/fidelity/scores/*.py",
    attribute="SCORES",
    of=tuple,
    where="lob_jax/evaluation/fidelity/scores",
    first=("quotes", "times", "volumes", "depths", "levels", "trading", "order_flow"),
)


def all_scores(group: str | None = None) -> tuple[Score, ...]:
    """Return all scores, or those of one group, in the order of tables."""
    scores = (score for _, scores in REGISTRY.items() for score in scores)
    return tuple(score for score in scores if group in (None, score.group))


def available(flow: Flow) -> frozenset[Need]:
    """Return what a flow has: a column of zeros only is absent."""
    columns = {Need.MESSAGES: flow.kind, Need.TIMES: flow.time_ns, Need.ORDER_IDS: flow.order_id}
    return frozenset(need for need, column in columns.items() if np.any(column))


def lacking(needs: frozenset[Need], flow: Flow) -> str | None:
    """Return why a flow cannot have a score with these needs; None if it can. A flow without messages can."""
    if flow.edges[-1] == 0:
        return None
    missing = needs - available(flow)
    return next((_LACKING[need] for need in Need if need in missing), None)


def select(flow: Flow, value: np.ndarray, row: np.ndarray | None = None) -> Values:
    """Return the finite ones of some values.

    Args:
      flow: the flow.
      value: [N].
      row: int64 [N], the message that each value belongs to, in ascending sequences; None if each message has one.
    """
    value = np.asarray(value, np.float64)
    finite = np.flatnonzero(np.isfinite(value))
    of = finite if row is None else row[finite]
    return Values(value[finite], flow.sequence()[of], of)
