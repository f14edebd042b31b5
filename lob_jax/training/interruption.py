"""What ends a run from outside, at a moment from which it can be gone on with: SIGTERM, and the end of its time."""

import signal
import threading
import time
from types import FrameType

import jax
import numpy as np
from jax.experimental import multihost_utils

EXIT_RESUMABLE = 75  # EX_TEMPFAIL of sysexits.h: start the same command again
REASONS = (None, "it was told to (SIGTERM)", "its time was over (config.train.max_hours)")


class Interruption:
    """Notes SIGTERM while it is entered, and watches the clock; a context manager.

    A signal is only noted: the loop asks between two steps, so that what is saved is whole. Of several processes some
    may be told and others not, so they ask one another and end at the same step.
    """

    def __init__(self, *, max_hours: float | None):
        self._deadline = None if max_hours is None else time.monotonic() + 3600 * max_hours
        self._told = False
        self._before: object = None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # no other thread may ask for signals
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, _: int, __: FrameType | None) -> None:
        self._told = True

    def reason(self, *, may_ask_others: bool) -> str | None:
        """Return why the run is to end now, None if it is not; all processes get the same answer.

        Asking others waits for them, so several processes do so only where `may_ask_others`, at the same steps each.
        """
        late = self._deadline is not None and time.monotonic() >= self._deadline
        number = 1 if self._told else 2 if late else 0
        if jax.process_count() > 1:
            if not may_ask_others:
                return None
            number = int(multihost_utils.process_allgather(np.array(number, np.int32)).max())
        return REASONS[number]
