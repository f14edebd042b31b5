"""Run benchmark cases in separate processes, and watch their memory."""

import concurrent.futures
import multiprocessing
import operator
import threading
from collections.abc import Callable
from typing import Any

import psutil

MIB = 2**20


class AnonymousMemory:
    """Watch the resident memory of a process, without mapped files, which the system can reclaim at any time.

    Attributes:
      start: bytes on entry.
      peak: the largest number of bytes sampled so far.
    """

    def __init__(self, every_s: float = 0.02):
        self.start = self.peak = 0
        self._every_s, self._done = every_s, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "AnonymousMemory":
        self._look()
        self.start = self.peak
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(self._every_s):
            self._look()

    def _look(self) -> None:
        memory = psutil.Process().memory_info()
        self.peak = max(self.peak, memory.rss - memory.shared)


def fresh_process() -> concurrent.futures.ProcessPoolExecutor:
    """Return an executor with one new process; if the process is killed, results raise BrokenProcessPool."""
    # spawn: JAX and PyTorch start threads, whose locks a forked child would inherit in whatever state they are.
    return concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process and return its result."""
    with fresh_process() as pool:
        return pool.submit(function, *arguments).result()


class Resident:
    """An object that is created and kept in a new process, so that several cases can take turns."""

    def __init__(self, kind: Callable[..., Any], *arguments: Any):
        self._pool = fresh_process()
        self._pool.submit(_settle, kind, arguments).result()

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object in its process and return the result."""
        return self._pool.submit(_call_resident, method, arguments).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


_resident: list[Any] = []  # in a process started by Resident, its object


def _settle(kind: Callable[..., Any], arguments: tuple) -> None:
    _resident.append(kind(*arguments))


def _call_resident(method: str, arguments: tuple) -> Any:
    return operator.methodcaller(method, *arguments)(_resident[0])
