"""What halts close: trading, or trading and quoting; resumptions open it again."""

from collections.abc import Mapping

import numpy as np

from lob_jax.events.schema import Code, Kind

OPEN, QUOTING, CLOSED = 0, 1, 2  # nothing is closed; trading is closed; trading and quoting are
CLOSES = {Code.HALT: CLOSED, Code.RESUME_QUOTE: QUOTING, Code.RESUME_TRADE: OPEN}  # what is closed after each
HALTS = tuple(CLOSES)
TRADES = (Kind.EXECUTE, Kind.EXECUTE_HIDDEN, Kind.CROSS)


def halts_of(kind: np.ndarray, code: np.ndarray) -> dict[int, int]:
    """Return what is closed after each halt or resumption among some events, by its index, in order."""
    at = np.flatnonzero(kind == Kind.CONTROL)
    return {index: CLOSES[code] for index, code in zip(at.tolist(), code[at].tolist(), strict=True) if code in CLOSES}


def closed_before(halts: Mapping[int, int], event: int, *, closed: int = OPEN) -> int:
    """Return what is closed just before an event.

    Args:
      halts: what is closed after each halt or resumption, by its index in ascending order, see `halts_of`.
      event: index of the event.
      closed: what is closed before the first event.
    """
    return next((halts[at] for at in reversed(halts) if at < event), closed)
