"""Work in another thread: read ahead of the consumer, and hash files while they are read.

Reading from a disk, decompression, hashing and the compiled parsing of lines release Python's lock, so that a second
core does them while the first converts what has been read.
"""

import concurrent.futures
import contextlib
import os
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from lob_jax.feeds.reading.source import Source

Item = TypeVar("Item")

_MOST = 2  # items that wait for the consumer


def has_cores() -> bool:
    """Return whether this process may use a second core."""
    return len(os.sched_getaffinity(0)) > 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) > 1


def ahead(items: Generator[Item], *, most: int = _MOST) -> Generator[Item]:
    """Yield items that a thread of their own makes, at most a few ahead of the consumer; or here, if there is one core.

    An exception of `items` is raised where the item after the last one would have been yielded. The thread has ended,
    and has closed `items`, once this generator has ended or is closed.

    Args:
      items: what to iterate over; only the thread touches it from the first item on.
      most: items that wait for the consumer, at least 1.
    """
    if not has_cores():
        yield from items
        return
    made: queue.SimpleQueue[tuple[Item] | BaseException | None] = queue.SimpleQueue()
    room, stopped = threading.Semaphore(most), threading.Event()

    def make() -> None:
        try:
            with contextlib.closing(items):
                room.acquire()
                for item in items:
                    made.put((item,))
                    room.acquire()
                    if stopped.is_set():
                        return
        except BaseException as error:  # whatever it is, it is the consumer's
            made.put(error)
        else:
            made.put(None)

    thread = threading.Thread(target=make, name="lob_jax reads ahead", daemon=True)
    thread.start()
    try:
        while (found := made.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            room.release()
            yield found[0]
    finally:
        stopped.set()
        room.release()
        thread.join()


@contextlib.contextmanager
def hashing(files: Sequence[Source]) -> Generator[Callable[[], dict[str, str]]]:
    """Hash files in a thread, or without one when they are wanted, if there is one core.

    The context's value waits for the thread and returns the sha256 of each file by its name on disk, or raises as
    `Source.sha256`. The thread has ended once the context has, which does not wait for files that are not hashed yet.
    """
    stopped = threading.Event()

    def hashes() -> dict[str, str]:
        return {file.path.name: file.sha256(stopped) for file in files}

    if not has_cores():
        yield hashes
        return
    with concurrent.futures.ThreadPoolExecutor(1, "lob_jax hashes") as thread:
        try:
            yield thread.submit(hashes).result
        finally:
            stopped.set()
