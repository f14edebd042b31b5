"""What ends a run from outside, and what of it is saved then: Ctrl-C, SIGTERM, and the end of its time."""

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from lob_jax.errors import TrainingError
from lob_jax.signals import EXIT_RESUMABLE, Listener, exit_status, same_command

GRACE_S = 30.0  # that a save may wait for the step under way; past it, what is kept in memory is saved
LOOK_S = 0.5  # between two looks for something that can be saved
CTRL_C, TOLD = "it was told to (Ctrl-C)", "it was told to (SIGTERM)"
LATE = "its time was over (config.train.max_hours)"
REASONS = (None, LATE, TOLD, CTRL_C)  # of several processes' the last one counts
FAILED = 1  # the exit status of a save that failed


def status_of(reason: str) -> int:
    """Return the exit status of a run that was saved and ended for a reason."""
    return exit_status(signal.SIGINT) if reason == CTRL_C else EXIT_RESUMABLE


@dataclasses.dataclass(frozen=True)
class Kept:
    """A moment of the run that can be gone on from, whatever the devices are doing.

    Attributes:
      step: whose state it is.
      save: returns once its checkpoint is written.
    """

    step: int
    save: Callable[[], None]


class Interruption:
    """Notes the first signal while it is entered, and watches the clock; a context manager.

    The loop asks for a `reason` between two steps, so that what is saved is whole. Where a step takes longer than
    GRACE_S, the moment before it is kept in memory, is saved from there when the grace is over, and the process ends
    around the step. A save of several processes is their common work, so nothing is kept there: some may have been told
    and others not, they ask one another, and all end at the same step.
    """

    def __init__(self, listener: Listener, *, max_hours: float | None):
        self._listener = listener
        self._deadline = float("inf") if max_hours is None else listener.started + 3600 * max_hours
        self._kept: Kept | None = None
        self._using = threading.RLock()  # for as long as a checkpoint may be written
        self._over = False
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> "Interruption":
        alone = jax.process_count() == 1
        wait = f"at the latest in {GRACE_S:.0f} s" if alone else "once all processes have agreed on a step"
        self._listener.take_signals()
        late = self._save_kept if alone and self._listener.whole_process else None
        meanwhile = f"saving, {wait}, and ending"
        self._exits.enter_context(
            self._listener.deferred(late, grace_s=GRACE_S, meanwhile=meanwhile, due=self._deadline)
        )
        return self

    def __exit__(self, *_: object) -> None:
        with self._using:
            self._over = True
        self._exits.close()

    @property
    def told(self) -> str | None:
        """Return which signal has come to this process, as a reason; None if there was none."""
        if self._listener.told is None:
            return None
        return CTRL_C if self._listener.told == signal.SIGINT else TOLD

    def reason(self, *, may_ask_others: bool) -> str | None:
        """Return why the run is to end now, None if it is not; all processes get the same answer.

        Asking others waits for them, so several processes do so only where `may_ask_others`, at the same steps each.
        """
        number = REASONS.index(self._own_reason())
        if jax.process_count() > 1:
            if not may_ask_others:
                return None
            number = int(multihost_utils.process_allgather(np.array(number, np.int32)).max())
        return REASONS[number]

    def _own_reason(self) -> str | None:
        return self.told or (LATE if time.monotonic() >= self._deadline else None)

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Save inside, in place of what is kept; waits for ever if that is being saved, as the process ends then."""
        with self._using:
            self._kept = None
            yield

    def keep(self, kept: Kept | None) -> None:
        """Say what can be saved from now on while the devices are busy; None if nothing can."""
        with self._using:
            self._kept = kept

    def _save_kept(self) -> None:
        """Save what is kept as soon as there is something, and end the process, unless the run has ended by itself."""
        while True:
            with self._using:
                if self._over:
                    return
                if self._kept is not None:
                    self._leave(self._kept)
            time.sleep(LOOK_S)

    def _leave(self, kept: Kept) -> None:
        reason = self._own_reason()
        try:
            kept.save()
        except TrainingError as error:
            self._listener.leave(FAILED, f"error: {error}")
        self._listener.leave(status_of(reason), f"{saved_line(kept.step, reason)}: {same_command()}")


def saved_line(step: int, reason: str) -> str:
    """Return what is said of a run that ended before its last step."""
    if step == 0:
        return f"ended before its first step was over, since {reason}; the same command begins anew"
    return f"saved at step {step:,}, since {reason}; the same command goes on from there"
