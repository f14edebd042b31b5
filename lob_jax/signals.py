"""Ctrl-C and SIGTERM: acknowledged at once whatever the program is doing, and the second one ends it at once.

A handler of Python's runs only once the main thread is back from the call that it is in, which may be a compilation or
a step of minutes. So the number of a signal goes through a pipe to a thread of its own, which answers on the console,
and ends the program itself if the main thread does not.
"""

import contextlib
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

from lob_jax.errors import TrainingError

EXIT_RESUMABLE = 75  # EX_TEMPFAIL of sysexits.h: start the same command again
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
ONE_PRESS_S = 0.3  # one press may arrive twice: from the terminal or `timeout`, and from a launcher
STUCK_S = 3.0  # that the main thread may stay in one call before the program is ended around it
ENDING_S = 30.0  # that an orderly end may take once it is under way
CONSOLE_S = 1.0  # to wait for a console that takes no more text
SCRIPT = "lob-jax"  # the name of the program where it is installed
SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it
_WAKE, _END = 0, 255  # sent through the pipe beside the numbers of signals


class Stopped(KeyboardInterrupt):
    """Unwinds the main thread after the first signal, where there is nothing to be saved before.

    Attributes:
      number: of the signal.
    """

    def __init__(self, number: int):
        self.number = number
        super().__init__(NAMES[number])


def exit_status(number: int) -> int:
    """Return the status of a program that a signal ended in good order; launchers start it again after 75 alone."""
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
    """Write a line to the standard error, past Python's buffers, which the main thread may hold."""
    line = f"\n{sentence}\n" if os.isatty(2) else f"{sentence}\n"  # behind what a bar has left on the line
    with contextlib.suppress(OSError):
        if select.select([], [2], [], CONSOLE_S)[1]:
            os.write(2, line.encode())


class Listener:
    """Hears SIGINT and SIGTERM; the first unwinds the main thread, unless it is in a part that ends by itself.

    Attributes:
      started: when listening began, of `time.monotonic`.
      told: the first signal, or None.
      unwinding: whether the main thread was made to leave what it did.
      whole_process: whether the process is this program's own, so that it may be ended; else a second signal unwinds
        the main thread.
    """

    def __init__(self, *, whole_process: bool):
        self.started = time.monotonic()
        self.told: int | None = None
        self.whole_process = whole_process
        self._first = math.inf  # when it came
        self._acknowledged = threading.Lock()  # taken by who says so, and never given back
        self.unwinding = False
        self._leave_by = self._late_at = math.inf
        self._grace_s = 0.0
        self._late: Callable[[], None] | None = None
        self._meanwhile: str | None = None  # said to the first signal by a part that ends by itself
        self._before: dict[int, Any] = {}
        self._heard, self._bell = os.pipe()
        os.set_blocking(self._bell, False)
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)

    def start(self) -> None:
        """Begin to listen; only the main thread can."""
        self._thread.start()
        self._wakeup_before = signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
        self.take_signals()

    def take_signals(self) -> None:
        """Make the signals come here, even after a library's own handler was put in place; one ignored stays so."""
        for number in NAMES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before.setdefault(number, signal.signal(number, self._on_signal))

    def end(self) -> None:
        """Give the signals back to those who had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._ring(_END)
        self._thread.join()
        os.close(self._heard)
        os.close(self._bell)

    def forget(self) -> None:
        """Hear no more, in a process that was forked off: its parent speaks for both."""
        signal.set_wakeup_fd(-1)
        for number in self._before:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)

    @contextlib.contextmanager
    def deferred(
        self, late: Callable[[], None] | None, *, grace_s: float, meanwhile: str, due: float = math.inf
    ) -> Iterator[None]:
        """Unwind nothing inside: what runs there asks for `told` and ends by itself.

        Args:
          late: called in a thread of its own if it has not ended `grace_s` after the first signal, or after `due`.
          grace_s: seconds.
          meanwhile: what happens now, for the console.
          due: when to end without a signal, of `time.monotonic`.
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
        """End the process at once, from any thread; worker processes, which would be left alone, end too."""
        say(sentence)
        if "multiprocessing" in sys.modules:
            for child in sys.modules["multiprocessing"].active_children():
                child.kill()
        if sys.stdout.isatty():
            with contextlib.suppress(OSError):
                os.write(1, SHOW_CURSOR.encode())
        flushing = threading.Thread(target=_flush, daemon=True)  # the main thread may hold the buffers
        flushing.start()
        flushing.join(CONSOLE_S)
        os._exit(status)

    def leave_soon(self) -> None:
        """End the process although the main thread goes on: what should have unwound it got lost."""
        self._leave_by = time.monotonic()
        self._ring(_WAKE)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        """Act in the main thread, once it is back from whatever call it was in."""
        first = self.told is None
        self.told = self.told or number
        again = not first and time.monotonic() > self._first + ONE_PRESS_S and not self.whole_process
        if again or (self._meanwhile is None and not self.unwinding):
            self.unwinding = True
            if self.whole_process and "logging" in sys.modules:
                sys.modules["logging"].disable()  # of what libraries' threads meet while what they report to goes
            self._leave_by = time.monotonic() + ENDING_S
            self._ring(_WAKE)
            self._acknowledge(number)  # the thread may come to it too late
            raise Stopped(number)

    def _acknowledge(self, number: int) -> None:
        if self._acknowledged.acquire(blocking=False):
            say(f"{NAMES[number]}: {self._meanwhile or 'ending'}; once more ends it at once")

    def _ring(self, byte: int) -> None:
        with contextlib.suppress(BlockingIOError):  # full of what rings as well
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
            if self._meanwhile is None and not self.unwinding:  # the main thread may have come to it before
                self._leave_by = min(self._leave_by, now + STUCK_S)
            elif self._meanwhile is not None:
                self._late_at = min(self._late_at, now + self._grace_s)
            self._acknowledge(number)
        elif now > self._first + ONE_PRESS_S and self.whole_process:
            self.leave(128 + number, f"{NAMES[number]} again: ended at once; to go on: {same_command()}")

    def _look_at_the_time(self) -> None:
        now = time.monotonic()
        if self._late is not None and now >= self._late_at:
            self._late_at = math.inf
            threading.Thread(target=self._late, name="late", daemon=True).start()
        if self.told is not None and self.whole_process and now >= self._leave_by:
            self.leave(exit_status(self.told), ended_line(self.told))


def ended_line(number: int) -> str:
    """Return what is said in the end of a program that had nothing to save."""
    return f"ended by {NAMES[number]}; the same command goes on: {same_command()}"


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


_active: list[Listener] = []  # at most one: signals are the process's


def listen() -> Listener:
    """Listen from now on until the process ends, which it may be made to; for the first line of a program.

    Little is imported before: what a signal meets earlier is Python's own handler, and its trace.
    """
    listener = Listener(whole_process=True)
    _active.append(listener)
    listener.start()
    sys.excepthook = _ending_with(listener, sys.excepthook)
    sys.unraisablehook = _heeding(listener, sys.unraisablehook)
    threading.excepthook = _unless_unwinding(listener, threading.excepthook)
    return listener


def _unless_unwinding(listener: Listener, before: Callable[..., None]) -> Callable[..., None]:
    """Return a hook that tells of an error in another thread, unless the main one is being unwound under it.

    Threads of libraries then fail for want of what they reported to: Orbax's and TensorStore's call back into an event
    loop that is closed. The program ends without them.
    """

    def hook(*error: Any) -> None:
        if not (listener.unwinding and threading.get_ident() != threading.main_thread().ident):
            before(*error)

    return hook


def _ending_with(listener: Listener, before: Callable[..., None]) -> Callable[..., None]:
    """Return a hook for what nothing catches: a Stopped that comes while the program is being imported ends it."""
    tell = _unless_unwinding(listener, before)  # extension modules call this hook in threads of their own

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, Stopped):
            listener.leave(exit_status(error.number), ended_line(error.number))
        tell(kind, error, trace)

    return hook


def _heeding(listener: Listener, before: Callable[..., None]) -> Callable[..., None]:
    """Return a hook for what cannot be raised, as in a destructor: a Stopped ends the program nevertheless."""
    tell = _unless_unwinding(listener, before)

    def hook(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, Stopped):
            listener.leave_soon()
        else:
            tell(unraisable)

    return hook


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    """Yield the listener of this process, or one for as long as this is entered; other threads hear nothing."""
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
    """Leave the signals of a forked process to its parent."""
    if _active:
        _active.pop().forget()


os.register_at_fork(after_in_child=_forget)


class EndsInOrder:
    """Ends the program once a signal has unwound what is inside, without a trace; a context manager.

    It ends without Python's own shutdown, in which threads that libraries have left behind tell of errors.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        told = _active[0].told if _active and _active[0].whole_process else None
        if error is None or told is None or isinstance(error, SystemExit | TrainingError):
            return
        # Other errors, too, are what a library made of being stopped.
        _active[0].leave(exit_status(told), ended_line(told))


@contextlib.contextmanager
def spared(*numbers: int) -> Iterator[None]:
    """Start worker processes inside that these signals do not reach: a terminal sends Ctrl-C to them as well."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Let this worker process end with its parent, however that ends, and by no signal but SIGKILL before."""
    import multiprocessing

    for number in NAMES:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=end_with_parent, daemon=True).start()
