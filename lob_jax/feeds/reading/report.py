"""The report of a reading: rows read, kept and dropped, with the same keys for every feed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.book.loops import as_column
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.feeds.reading.faults import Faults
from lob_jax.jit import in_place

_VALUES = 256  # of a uint8, the type of kinds and codes


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
    kinds, codes = np.zeros((2, _VALUES), np.int64)
    reversals = _tally(
        *(as_column(column, None) for column in (events.kind, events.code, events.time_ns)), kinds, codes
    )
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
        "time_reversals": int(reversals),
        "gaps": int(codes[Code.FEED_GAP]),
        **more,
    }


@in_place
def _tally(kind: np.ndarray, code: np.ndarray, time_ns: np.ndarray, kinds: np.ndarray, codes: np.ndarray) -> int:
    """Count the events of each kind and code; return the number of events earlier than the previous one."""
    reversals = 0
    for i in range(len(kind)):
        kinds[kind[i]] += 1
        codes[code[i]] += 1
        reversals += i > 0 and time_ns[i] < time_ns[i - 1]
    return reversals
