"""One process at a time: a lock on a name, which ends with its process however that ends."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import socket
import warnings
from collections.abc import Iterator

from lob_jax.errors import InputError

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
HELD = 4096  # bytes read of what a holder says of itself


@contextlib.contextmanager
def locked(path: pathlib.Path, *, doing: str = "preparing records") -> Iterator[None]:
    """Hold the lock file `path`, and remove it in the end; one that a killed process left is taken over.

    It says who holds it: process, host, since when, and what for. A file system without locks is warned of, and nothing
    is held there.

    Raises:
      InputError: another process holds it.
    """
    makes_folder = not path.parent.exists()
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        # Whoever held it before may have removed the file that was opened here.
        if not _lock(descriptor, path) or _is_at(descriptor, path):
            break
        os.close(descriptor)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, _holder(doing), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        if makes_folder:
            with contextlib.suppress(OSError):  # unless something has been written there
                path.parent.rmdir()


def _lock(descriptor: int, path: pathlib.Path) -> bool:
    """Lock an open file, and return whether its file system has locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        refusal = _refusal(path, os.pread(descriptor, HELD, 0))
        os.close(descriptor)
        raise refusal from error
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            os.close(descriptor)
            raise
        warnings.warn(
            f"{path.parent} lies on a file system without locks ({error.strerror}): nothing keeps a second process from"
            " working there at the same time, so start one alone",
            stacklevel=4,
        )
        return False
    return True


def _holder(doing: str) -> bytes:
    """Return what a lock file says of the process that holds it."""
    since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return json.dumps({"doing": doing, "pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode()


def _refusal(path: pathlib.Path, told: bytes) -> InputError:
    """Return the error for a lock that another process holds, and of which it says `told`, unless it has just begun."""
    try:
        held = json.loads(told)
        by = f"process {held['pid']} on {held['host']}, {held['doing']} since {held['since']}"
        end = f"end it (kill -TERM {held['pid']} on {held['host']}), "
    except json.JSONDecodeError:
        by, end = "a process that has just begun", ""
    return InputError(
        "another process is at work in this folder",
        where=path,
        expected="one process at a time",
        was=by,
        remedy=f"wait until it is done, {end}or name another --workdir",
    )


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
