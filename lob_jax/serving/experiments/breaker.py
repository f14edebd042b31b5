"""`Breaker`: the circuit breaker of an arm, by its last requests."""

import collections

WINDOW = 50  # requests that are looked at
LEAST = 20  # of them, before it opens
SHARE = 0.5  # of failures, above which it opens


class Breaker:
    """Opens when more than half of the last requests of an arm have failed by a fault of the server."""

    def __init__(self) -> None:
        self._failed: collections.deque[bool] = collections.deque(maxlen=WINDOW)

    def note(self, *, failed: bool) -> bool:
        """Note a request, and return whether the breaker is open."""
        self._failed.append(failed)
        return self.open

    @property
    def open(self) -> bool:
        """Return whether the arm has to be taken out."""
        return len(self._failed) >= LEAST and sum(self._failed) > SHARE * len(self._failed)

    @property
    def because(self) -> str:
        """Return why, in a sentence."""
        return f"{sum(self._failed)} of its last {len(self._failed)} requests have failed"

    def reset(self) -> None:
        """Forget all requests."""
        self._failed.clear()
