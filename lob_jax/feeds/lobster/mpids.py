"""The seventh column of newer LOBSTER message files: the participant that sent the order, if it is disclosed."""

import collections
from collections.abc import Callable
from typing import Any

import numpy as np

from lob_jax.feeds.reading.csv_fields import name_key
from lob_jax.feeds.reading.csv_rows import Column

PARTICIPANT = 6  # index of the column, from 0
PARTICIPANT_COLUMN = Column("participant", "name")
_NOBODY = ("", "null")  # instead of a participant
_OTHERS = "(others)"
_MOST_NAMES, _NAMES_SHOWN = 10_000, 20


class Participants:
    """Counts rows by the participant that a message names.

    Attributes:
      rows: number of rows with a name so far; "null" and an empty field do not count.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._counts: collections.Counter[str] = collections.Counter()
        self._names: dict[int, str] = {}
        self._nobody = [_key_of(text) for text in _NOBODY]

    def count(self, keys: np.ndarray, rows: np.ndarray, text: Callable[[int], tuple[str, ...]]) -> None:
        """Count the participants of some rows.

        Args:
          keys: int64 [R], the `name_key` of each row's participant.
          rows: indices of the rows to count.
          text: returns the fields of a row as text.
        """
        rows = rows[~np.isin(keys[rows], self._nobody, kind="sort")]
        found, first, counts = np.unique(keys[rows], return_index=True, return_counts=True)
        for key, at, count in zip(found.tolist(), rows[first].tolist(), counts.tolist(), strict=True):
            if key not in self._names and len(self._names) < _MOST_NAMES:
                self._names[key] = text(at)[PARTICIPANT]
            self.rows += count
            self._counts[self._names.get(key, _OTHERS)] += count

    def report(self) -> dict[str, Any]:
        """Return the rows with a participant, in total and by name, most frequent first, the rarest taken together."""
        names = {name: rows for name, rows in self._counts.most_common(_NAMES_SHOWN) if name != _OTHERS}
        others = self.rows - sum(names.values())
        return {"participant_rows": self.rows, "participants": names | ({_OTHERS: others} if others else {})}


def _key_of(text: str) -> int:
    return int(name_key(np.frombuffer(text.encode() + b"\n", np.uint8), 0)[0])
