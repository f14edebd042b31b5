"""Save a run and end it early: on Ctrl-C, on SIGTERM, and when its time limit is reached."""

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Generator

import jax
import numpy as np
from jax.experimental import multihost_utils

from lob_jax.errors import TrainingError
from lob_jax.signals import EXIT_RESUMABLE, Listener, exit_status, same_command

GRACE_S = 30.0  # how long a save may wait for the current step; after that, the state kept in memory is saved
LOOK_S = 0.5  # polling interval of the thread that waits for a state to save
CTRL_C, TOLD = "it received Ctrl-C", "it received SIGTERM"
LATE = "its time limit was reached (config.train.max_hours)"
REASONS = (None, LATE, TOLD, CTRL_C)  # ascending precedence, where processes have different reasons
FAILED = 1  # the exit status after a failed save


def status_of(reason: str) -> int:
    """Return the exit status of a run that was saved and ended for the given reason."""
    return exit_status(signal.SIGINT) if reason == CTRL_C else EXIT_RESUMABLE


@dataclasses.dataclass(frozen=True)
class Kept:
    """A state of the run that can be saved, and resumed from, whatever the devices are doing.

    Attributes:
      step: the step after which this was the state.
      save: writes its checkpoint and returns once that is complete.
    """

    step: int
    save: Callable[[], None]


class Interruption:
    """Record the first signal and watch the time limit, as a context manager.

    The loop asks for a `reason` between two steps, so that what it saves is consistent. If a step takes long compared
    with GRACE_S, the state before it is kept in memory; when the grace period is over, a thread saves that state and
    ends the process in the middle of the step. Several processes have to save together, so they keep no state: a signal
    may reach only some of them, so they exchange reasons, and all of them end at the same step.
    """

    def __init__(self, listener: Listener, *, max_hours: float | None):
        self._listener = listener
        self._deadline = float("inf") if max_hours is None else listener.started + 3600 * max_hours
        self._kept: Kept | None = None
        self._using = threading.RLock()  # held while a checkpoint may be written
        self._over = False
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> "Interruption":
        alone = jax.process_count() == 1
        wait = f"within {GRACE_S:.0f} s" if alone else "once all processes have agreed on a step"
        self._listener.take_signals()
        late = self._save_kept if alone and self._listener.whole_process else None
        meanwhile = f"saving {wait}, then exiting"
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
        """Return the first signal that this process received, as a reason; None if there was none."""
        if self._listener.told is None:
            return None
        return CTRL_C if self._listener.told == signal.SIGINT else TOLD

    def reason(self, *, may_ask_others: bool) -> str | None:
        """Return why the run has to end now, or None; all processes get the same answer.

        Exchanging reasons synchronises the processes, so they do it only with `may_ask_others`, which must be true at
        the same steps in every process.
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
    def saving(self) -> Generator[None]:
        """Save inside this context; the kept state is dropped.

        If the kept state is being saved already, entering blocks forever, since the process exits after that save.
        """
        with self._using:
            self._kept = None
            yield

    def keep(self, kept: Kept | None) -> None:
        """Set the state that can be saved from now on while the devices are busy; None if there is none."""
        with self._using:
            self._kept = kept

    def _save_kept(self) -> None:
        """Save the kept state as soon as there is one and exit the process, unless the run ends by itself first."""
        while True:
            with self._using:
                if self._over:
                    return
                if self._kept is not None:
                    self._leave(self._kept)
            time.sleep(LOOK_S)

    def _leave(self, kept: Kept) -> None:
        reason = self._own_reason() or LATE  # called only after a signal or at the time limit
        try:
            kept.save()
        except TrainingError as error:
            self._listener.leave(FAILED, f"error: {error}")
        self._listener.leave(status_of(reason), f"{saved_line(kept.step, reason)}: {same_command()}")


def saved_line(step: int, reason: str) -> str:
    """Return the message for a run that ended before its last step."""
    if step == 0:
        return f"stopped before completing its first step because {reason}; the same command starts from scratch"
    return f"saved at step {step:,} because {reason}; the same command resumes from there"
