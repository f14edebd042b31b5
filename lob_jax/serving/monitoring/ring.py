"""`Ring`: the latest of many columns, in memory that does not grow."""

import numpy as np


class Ring:
    """The latest columns of those that came, at most `window`.

    Attributes:
      added: how many have come.
    """

    def __init__(self, rows: int, window: int, dtype: type[np.generic]) -> None:
        """Begin with none, of so many rows."""
        self.added, self._window = 0, window
        self._columns = np.zeros((rows, window), dtype)

    def add(self, columns: np.ndarray) -> None:
        """Add columns [rows, N], the latest last."""
        kept = columns[:, -self._window :]
        self.added += columns.shape[1]
        self._columns[:, self._places(kept.shape[1])] = kept

    def latest(self) -> np.ndarray:
        """Return a copy of the latest columns [rows, N], in the order in which they came."""
        return self._columns[:, self._places(min(self.added, self._window))]

    def _places(self, count: int) -> np.ndarray:
        """Return where the last `count` columns are."""
        return (self.added - count + np.arange(count)) % self._window
