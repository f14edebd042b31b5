"""One process at a time: a lock on a name, which ends with its process however that ends."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

from lob_jax.errors import InputError


@contextlib.contextmanager
def locked(path: pathlib.Path, *, doing: str = "preparing records") -> Iterator[None]:
    """Hold the lock file `path`, and remove it in the end; one that a killed process left is taken over.

    Raises:
      InputError: another process holds it.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have removed the file that was opened here.
            if _is_at(descriptor, path):
                break
        except BlockingIOError as error:
            os.close(descriptor)
            raise InputError(
                f"another process is {doing} in this folder",
                where=path,
                expected="one process at a time",
                was="a lock that is held",
                remedy="wait until it is done, or name another --workdir",
            ) from error
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
