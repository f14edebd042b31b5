"""The quantities of events that tokenizers are fitted to: price distances, sizes and gaps, without the book."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events, Kind

IN_QUANTA = (Kind.EXECUTE_HIDDEN, Kind.CROSS)  # kinds whose price may fall between ticks


class Seen(NamedTuple):
    """The quantities of events of one or more days, integers [E] each.

    Attributes:
      kind: 1..7.
      distance: from the reference, positive deeper; in ticks, or in price quanta for hidden executions and crosses; 0
        for CONTROL.
      size: lots; 0 for CONTROL.
      gap: ns since the previous event.
    """

    kind: np.ndarray
    distance: np.ndarray
    size: np.ndarray
    gap: np.ndarray


def joined(parts: Sequence[Seen]) -> Seen:
    """Concatenate the quantities of several days."""
    return Seen(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def seen_in(events: Events, before: np.ndarray, instrument: Instrument, start_ns: int) -> Seen:
    """Compute the quantities of events.

    Args:
      events: E events.
      before: int64 [E, 2], the reference prices of bids and of asks before each event.
      instrument: the instrument, for its tick.
      start_ns: the clock before the first event.
    """
    kind, side = events.kind.astype(np.int64), events.side.astype(np.int64)
    origin = np.where(side >= 0, before[:, 0], before[:, 1])
    unit = np.where(np.isin(kind, IN_QUANTA), 1, instrument.tick)
    control = kind == Kind.CONTROL
    return Seen(
        kind=kind,
        distance=np.where(control, 0, side * (origin - events.price) // unit),
        size=np.where(control, 0, events.size),
        gap=np.diff(events.time_ns, prepend=start_ns),
    )
