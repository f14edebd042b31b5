"""Handle Ctrl-C and SIGTERM: acknowledge the first at once, whatever the program is doing, and exit on the second.

Python runs a signal handler only after the main thread returns from its current native call, which may be a compilation
or a step that takes minutes. Signal numbers therefore go through a pipe to a separate thread, which acknowledges them
on the console, and ends the program if the main thread does not.
"""

import contextlib
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType, TracebackType
from typing import Any

from lob_jax.errors import TrainingError

EXIT_RESUMABLE = 75  # EX_TEMPFAIL of sysexits.h: start the same command again
NAMES: dict[int, str] = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
ONE_PRESS_S = 0.3  # one press may arrive twice: from the terminal or `timeout`, and from a launcher
STUCK_S = 3.0  # that the main thread may stay in one call before the program is ended around it
ENDING_S = 30.0  # that an orderly end may take once it is under way
CONSOLE_S = 1.0  # to wait for a console that takes no more text
SCRIPT = "lob-jax"  # the name of the program where it is installed
SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it
_WAKE, _END = 0, 255  # sent through the pipe in addition to signal numbers


class Stopped(KeyboardInterrupt):
    """Raised in the main thread after the first signal, if nothing has to be saved first.

    Attributes:
      number: the signal number.
    """

    def __init__(self, number: int):
        self.number = number
        super().__init__(NAMES[number])


def exit_status(number: int) -> int:
    """Return the exit status after an orderly exit on a signal; launchers restart a program only after status 75."""
    return 128 + number if number == signal.SIGINT else EXIT_RESUMABLE


def program() -> list[str]:
    """Return the words that start this program, as the user wrote them: `lob-jax`, or `python -m lob_jax.main`."""
    import shutil  # not before the signals are taken: see `listen`

    if os.path.basename(sys.argv[0]) != SCRIPT:
        return ["python", "-m", "lob_jax.main"]
    found = shutil.which(SCRIPT)
    on_path = found is not None and os.path.realpath(found) == os.path.realpath(sys.argv[0])
    return [SCRIPT if on_path else sys.argv[0]]


def same_command() -> str:
    """Return the command that runs, as a line for a shell."""
    import shlex

    return shlex.join([*program(), *sys.argv[1:]])


def say(sentence: str) -> None:
    """Write a line to standard error without Python's buffers, whose locks the main thread may hold."""
    line = f"\n{sentence}\n" if os.isatty(2) else f"{sentence}\n"  # a progress bar may have left a partial line
    with contextlib.suppress(OSError):
        if select.select([], [2], [], CONSOLE_S)[1]:
            os.write(2, line.encode())


class Listener:
    """Receive SIGINT and SIGTERM; the first raises Stopped in the main thread, except inside `deferred`.

    Attributes:
      started: when listening began, in the time of `time.monotonic`.
      told: the first signal, or None.
      unwinding: whether Stopped has been raised in the main thread.
      whole_process: whether the process runs only this program, so that it may be ended; otherwise a second signal
        raises Stopped in the main thread.
    """

    def __init__(self, *, whole_process: bool):
        self.started = time.monotonic()
        self.told: int | None = None
        self.whole_process = whole_process
        self._first = math.inf  # time of the first signal
        self._acknowledged = threading.Lock()  # acquired by whoever acknowledges the signal, and never released
        self.unwinding = False
        self._leave_by = self._late_at = math.inf
        self._grace_s = 0.0
        self._late: Callable[[], None] | None = None
        self._meanwhile: str | None = None  # inside `deferred`, what happens after the first signal
        self._before: dict[int, Any] = {}
        self._heard, self._bell = os.pipe()
        os.set_blocking(self._bell, False)
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)

    def start(self) -> None:
        """Start to listen; Python allows this only in the main thread."""
        self._thread.start()
        self._wakeup_before = signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
        self.take_signals()

    def take_signals(self) -> None:
        """Install the signal handlers, also over those of a library; an ignored signal stays ignored."""
        for number in NAMES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before.setdefault(number, signal.signal(number, self._on_signal))

    def end(self) -> None:
        """Restore the previous signal handlers and stop the thread."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._ring(_END)
        self._thread.join()
        os.close(self._heard)
        os.close(self._bell)

    def forget(self) -> None:
        """Stop listening in a forked process: its parent handles the signals for both."""
        signal.set_wakeup_fd(-1)
        for number in self._before:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)

    @contextlib.contextmanager
    def deferred(
        self, late: Callable[[], None] | None, *, grace_s: float, meanwhile: str, due: float = math.inf
    ) -> Generator[None]:
        """Do not raise Stopped inside this context: the code inside checks `told` and returns by itself.

        Args:
          late: called in a separate thread if the context is still active `grace_s` after the first signal or `due`.
          grace_s: the grace period in seconds.
          meanwhile: what happens after a signal, for the console.
          due: when to end without a signal, in the time of `time.monotonic`.
        """
        self._grace_s, self._meanwhile = grace_s, meanwhile
        self._late, self._late_at = late, min(due, math.inf if self.told is None else time.monotonic()) + grace_s
        self._ring(_WAKE)
        try:
            yield
        finally:
            self._late, self._late_at, self._meanwhile = None, math.inf, None
            if self.told is not None:
                self._leave_by = time.monotonic() + ENDING_S
            self._ring(_WAKE)

    def leave(self, status: int, sentence: str) -> None:
        """Exit the process at once, from any thread, and kill its worker processes, which would be orphaned."""
        say(sentence)
        if "multiprocessing" in sys.modules:
            for child in sys.modules["multiprocessing"].active_children():
                child.kill()
        if sys.stdout.isatty():
            with contextlib.suppress(OSError):
                os.write(1, SHOW_CURSOR.encode())
        flushing = threading.Thread(target=_flush, daemon=True)  # may block: the main thread may hold a buffer's lock
        flushing.start()
        flushing.join(CONSOLE_S)
        os._exit(status)

    def leave_soon(self) -> None:
        """Exit the process soon although the main thread is still running, since its Stopped was swallowed."""
        self._leave_by = time.monotonic()
        self._ring(_WAKE)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        """Handle a signal in the main thread, once that has returned from its native call."""
        first = self.told is None
        self.told = self.told or number
        again = not first and time.monotonic() > self._first + ONE_PRESS_S and not self.whole_process
        if again or (self._meanwhile is None and not self.unwinding):
            self.unwinding = True
            logging = sys.modules.get("logging")  # which may be half imported
            if self.whole_process and hasattr(logging, "disable"):
                logging.disable()  # what libraries' threads report about the parts that are being closed under them
            self._leave_by = time.monotonic() + ENDING_S
            self._ring(_WAKE)
            self._acknowledge(number)  # the listening thread may be too late for that
            raise Stopped(number)

    def _acknowledge(self, number: int) -> None:
        if self._acknowledged.acquire(blocking=False):
            say(f"{NAMES[number]}: {self._meanwhile or 'exiting'}; repeat it to exit at once")

    def _ring(self, byte: int) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full: the bytes in it will wake the thread
            os.write(self._bell, bytes([byte]))

    def _listen(self) -> None:
        while True:
            left = min(self._leave_by if self.whole_process else math.inf, self._late_at) - time.monotonic()
            select.select([self._heard], [], [], None if math.isinf(left) else max(0.0, left))
            for byte in self._waiting():
                if byte == _END:
                    return
                if byte in NAMES:
                    self._hear(byte)
            self._look_at_the_time()

    def _waiting(self) -> bytes:
        return os.read(self._heard, 256) if select.select([self._heard], [], [], 0)[0] else b""

    def _hear(self, number: int) -> None:
        now = time.monotonic()
        if math.isinf(self._first):
            self._first, self.told = now, self.told or number
            if self._meanwhile is None and not self.unwinding:  # unless the main thread has handled it already
                self._leave_by = min(self._leave_by, now + STUCK_S)
            elif self._meanwhile is not None:
                self._late_at = min(self._late_at, now + self._grace_s)
            self._acknowledge(number)
        elif now > self._first + ONE_PRESS_S and self.whole_process:
            self.leave(128 + number, f"{NAMES[number]} again: exited at once; to resume: {same_command()}")

    def _look_at_the_time(self) -> None:
        now = time.monotonic()
        if self._late is not None and now >= self._late_at:
            self._late_at = math.inf
            threading.Thread(target=self._late, name="late", daemon=True).start()
        if self.told is not None and self.whole_process and now >= self._leave_by:
            self.leave(exit_status(self.told), ended_line(self.told))


def ended_line(number: int) -> str:
    """Return the last message of a program that had nothing to save."""
    return f"stopped by {NAMES[number]}; to resume: {same_command()}"


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


_active: list[Listener] = []  # at most one, since signal handlers belong to the process


def listen() -> Listener:
    """Listen until the process ends, and allow signals to end it; to be called first in a program.

    Before this call little should be imported: an earlier signal is handled by Python, which prints a traceback.
    """
    listener = Listener(whole_process=True)
    _active.append(listener)
    listener.start()
    sys.excepthook = _ending_with(listener, sys.excepthook)
    sys.unraisablehook = _heeding(listener, sys.unraisablehook)
    threading.excepthook = _unless_unwinding(listener, threading.excepthook)
    return listener


def _unless_unwinding(listener: Listener, before: Callable[..., object]) -> Callable[..., None]:
    """Return a hook that reports errors in other threads, unless Stopped is unwinding the main thread.

    Threads of libraries then fail because what they use is gone: those of Orbax and TensorStore call back into a closed
    event loop. The program exits without them, so these errors mean nothing to the user.
    """

    def hook(*error: Any) -> None:
        if not (listener.unwinding and threading.get_ident() != threading.main_thread().ident):
            before(*error)

    return hook


def _ending_with(listener: Listener, before: Callable[..., object]) -> Callable[..., None]:
    """Return a hook for uncaught exceptions: a Stopped, which may be raised during imports, exits the program."""
    tell = _unless_unwinding(listener, before)  # extension modules call this hook in other threads, too

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, Stopped):
            listener.leave(exit_status(error.number), ended_line(error.number))
        tell(kind, error, trace)

    return hook


def _heeding(listener: Listener, before: Callable[..., object]) -> Callable[..., None]:
    """Return a hook for exceptions that Python swallows, as in a destructor: a Stopped still ends the program."""
    tell = _unless_unwinding(listener, before)

    def hook(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, Stopped):
            listener.leave_soon()
        else:
            tell(unraisable)

    return hook


@contextlib.contextmanager
def listening() -> Generator[Listener]:
    """Yield the listener of this process, or a temporary one; outside the main thread that receives no signals."""
    if _active:
        yield _active[0]
        return
    listener = Listener(whole_process=False)
    if threading.current_thread() is not threading.main_thread():
        yield listener
        return
    _active.append(listener)
    listener.start()
    try:
        yield listener
    finally:
        _active.clear()
        listener.end()


def _forget() -> None:
    """Make a forked process leave signals to its parent."""
    if _active:
        _active.pop().forget()


os.register_at_fork(after_in_child=_forget)


class EndsInOrder:
    """A context manager that exits the program without a traceback after a signal has unwound the code inside.

    It skips Python's shutdown, during which leftover threads of libraries would report errors.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        told = _active[0].told if _active and _active[0].whole_process else None
        if error is None or told is None or isinstance(error, SystemExit | TrainingError):
            return
        # Any other exception may be a consequence of Stopped that a library has replaced it by.
        _active[0].leave(exit_status(told), ended_line(told))


@contextlib.contextmanager
def spared(*numbers: int) -> Generator[None]:
    """Block these signals in this thread; worker processes started inside inherit that.

    Otherwise a terminal's Ctrl-C, which goes to all processes, would end the workers before the run is saved.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Make this worker process end with its parent, however that ends, and before that only on SIGKILL."""
    from multiprocessing.process import BaseProcess, parent_process

    for number in NAMES:
        signal.signal(number, signal.SIG_IGN)
    parent = parent_process()

    def end_with(parent: BaseProcess) -> None:
        parent.join()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=end_with, args=(parent,), daemon=True).start()
