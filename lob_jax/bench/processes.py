"""A case in a process of its own, and the memory that it holds there."""

import concurrent.futures
import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import psutil

MIB = 2**20


class AnonymousMemory:
    """Watches how much memory a process holds beside mapped files, which the system can take back at any time.

    Attributes:
      start: bytes held on entering.
      peak: the most bytes seen so far.
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


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process and return what it returns.

    Raises:
      concurrent.futures.process.BrokenProcessPool: the process was killed, most likely for its memory.
    """
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
