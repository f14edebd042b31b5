"""A histogram that one thread fills while others read it, without a lock: what an engine counts at each step."""

import bisect
import dataclasses
from collections.abc import Sequence

ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)  # upper bounds of rows of a step
STEP_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # those of seconds of a step


@dataclasses.dataclass(frozen=True)
class Tallied:
    """What has been counted.

    Attributes:
      bounds: the upper bounds of the classes, ascending; one more class has all that is above.
      counts: values in each class, one more than bounds.
      total: the sum of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float = 0.0


class Tally:
    """Counts values by class; one thread may add, any may read."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self._counts, self._total = tuple(bounds), [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        """Count a value, in the first class whose bound is not below it."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self._total += value

    def read(self) -> Tallied:
        """Return what has been counted; the sum may be ahead of the counts, or behind, by the value of the moment."""
        return Tallied(self._bounds, tuple(self._counts), self._total)


NO_ROWS, NO_STEPS = Tally(ROWS).read(), Tally(STEP_S).read()  # of engines that have no steps
