"""The report of a reading: rows read, kept and dropped, with the same keys for every feed; and times that go back."""

import enum
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.events.schema import Code, Events, Kind
from lob_jax.feeds.reading.faults import Faults

_ROWS_AT_ONCE = 1 << 16  # their comparisons stay in the processor's cache


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
    codes = _counts(events.code, [code for code in Code if code])
    quarantined = [str(fault.path) for fault in faults if fault.path is not None and fault.path.exists()]
    return {
        "feed": feed,
        "inputs": dict(inputs),
        "rows_read": int(rows_read),
        "rows_kept": int(rows_read) - sum(rows_dropped.values()),
        "rows_dropped": rows_dropped,
        "quarantine": quarantined,
        "kinds": _counts(events.kind, list(Kind)),
        "codes": codes,
        "time_reversals": len(reversals(events.time_ns)),
        "gaps": codes[Code.FEED_GAP.name],
        **more,
    }


def reversals(time_ns: np.ndarray) -> np.ndarray:
    """Return the indices of the events that are earlier than the previous one.

    Args:
      time_ns: int64 [E]; it may be larger than memory.
    """
    found = [np.zeros(0, np.int64)]
    for first in range(0, len(time_ns), _ROWS_AT_ONCE):
        time = time_ns[first : first + _ROWS_AT_ONCE + 1]
        found.append(np.flatnonzero(time[1:] < time[:-1]) + first + 1)
    return np.concatenate(found)


def _counts(values: np.ndarray, among: Sequence[enum.IntEnum]) -> dict[str, int]:
    """Return how often each of some values occurs, by name: comparisons are faster than a histogram."""
    blocks = [values[first : first + _ROWS_AT_ONCE] for first in range(0, len(values), _ROWS_AT_ONCE)]
    return {value.name: sum(int(np.count_nonzero(block == int(value))) for block in blocks) for value in among}
