"""The report of a reading: rows read, kept and dropped, with the same keys for every feed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.events.schema import Code, Events, Kind
from lob_jax.feeds.reading.faults import Faults

_ROWS_AT_ONCE = 1 << 20


def reading_report(
    feed: str,
    events: Events,
    *,
    inputs: Mapping[str, str],
    rows_read: int,
    dropped: Mapping[str, int],
    faults: list[Faults],
    **more: Any,
) -> dict[str, Any]:
    """Return the report of a reading as plain JSON values.

    Keys: feed; inputs (sha256 of each file, by name); rows_read, which equals rows_kept plus all rows_dropped (by
    reason); quarantine (files, if any); kinds and codes (number of events by name); time_reversals; gaps (losses that
    the feed itself reports); and the entries that a feed adds in `more`.

    Args:
      feed: the feed's name.
      events: the events that the rows became.
      inputs: sha256 of each file, by name.
      rows_read: rows (lines, records or messages) found in the files.
      dropped: rows left out as the format requires, by reason.
      faults: the bad rows of each file.
      more: further entries, such as corrections.
    """
    rows_dropped = dict(dropped)
    for fault in faults:
        for reason, rows in fault.dropped.items():
            rows_dropped[reason] = rows_dropped.get(reason, 0) + rows
    rows_dropped = {reason: int(rows) for reason, rows in rows_dropped.items() if rows}
    kinds = np.bincount(events.kind, minlength=len(Kind) + 1)
    codes = np.bincount(events.code, minlength=len(Code))
    quarantined = [str(fault.path) for fault in faults if fault.path is not None and fault.path.exists()]
    return {
        "feed": feed,
        "inputs": dict(inputs),
        "rows_read": int(rows_read),
        "rows_kept": int(rows_read) - sum(rows_dropped.values()),
        "rows_dropped": rows_dropped,
        "quarantine": quarantined,
        "kinds": {kind.name: int(kinds[kind]) for kind in Kind},
        "codes": {code.name: int(codes[code]) for code in Code if code},
        "time_reversals": _time_reversals(events.time_ns),
        "gaps": int(codes[Code.FEED_GAP]),
        **more,
    }


def _time_reversals(time_ns: np.ndarray) -> int:
    """Count the events earlier than the previous one, in chunks: the column may be larger than memory."""
    return sum(
        int(np.count_nonzero(np.diff(time_ns[first : first + _ROWS_AT_ONCE + 1]) < 0))
        for first in range(0, len(time_ns), _ROWS_AT_ONCE)
    )
