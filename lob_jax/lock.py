"""Lock a file for one process at a time; the lock ends with the process, however that ends."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import socket
import warnings
from collections.abc import Generator

from lob_jax.errors import InputError

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
HELD = 4096  # bytes read of the holder's description


@contextlib.contextmanager
def locked(path: pathlib.Path, *, doing: str = "preparing records") -> Generator[None]:
    """Hold a lock on the file `path` and remove the file at the end; a file left by a killed process is taken over.

    The file describes its holder: process, host, start and activity. On a file system without locks there is a warning,
    and nothing is locked.

    Raises:
      InputError: another process holds the lock.
    """
    makes_folder = not path.parent.exists()
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        # Between open and lock, the previous holder may have removed the file: then this lock would exclude nobody.
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
            with contextlib.suppress(OSError):  # the folder is not empty
                path.parent.rmdir()


def _lock(descriptor: int, path: pathlib.Path) -> bool:
    """Lock an open file, and return whether its file system supports locks."""
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
            f"{path.parent} is on a file system without locks ({error.strerror}): nothing prevents a second process"
            " from working there at the same time, so start only one",
            stacklevel=4,
        )
        return False
    return True


def _holder(doing: str) -> bytes:
    """Return the description of this process for a lock file."""
    since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return json.dumps({"doing": doing, "pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode()


def _refusal(path: pathlib.Path, description: bytes) -> InputError:
    """Return the error for a lock held by another process, which `description` describes unless it has just started."""
    try:
        held = json.loads(description)
        by = f"process {held['pid']} on {held['host']}, {held['doing']} since {held['since']}"
        end = f"end it (kill -TERM {held['pid']} on {held['host']}), "
    except json.JSONDecodeError:
        by, end = "a process that has just started", ""
    return InputError(
        "another process is at work in this folder",
        where=path,
        expected="one process at a time",
        was=by,
        remedy=f"wait until it is done, {end}or use another --workdir",
    )


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
