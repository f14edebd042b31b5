"""Explain why a command failed: system and memory errors in words, unexpected errors with the file of their trace."""

import datetime
import errno
import os
import pathlib
import platform
import shlex
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from lob_jax.errors import InputError

FOLDER = "failures"  # in a run's folder
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # the status in XLA's error messages
SYSTEM = {
    errno.ENOSPC: ("the disk is full", "free disk space", "free some space, and run the same command again"),
    errno.EDQUOT: ("the disk quota is exceeded", "free disk space", "free some space, and run the same command again"),
    errno.EFBIG: (
        "a file grew too large",
        "a file within the size limit",
        "raise the limit of the shell (ulimit -f) or of the file system",
    ),
    errno.EROFS: ("the disk is read-only", "a writable disk", "choose a --workdir elsewhere"),
    errno.EACCES: (
        "permission is denied",
        "permission to use it",
        "change its permissions (chmod, chown), or use another path",
    ),
    errno.EPERM: (
        "permission is denied",
        "permission to use it",
        "change its permissions (chmod, chown), or use another path",
    ),
    errno.ENOENT: (
        "a file or folder does not exist",
        "an existing file or folder",
        "check the path; do not move the folder of a run while it is active",
    ),
    errno.ENOTDIR: ("a file is where a folder is expected", "a folder", "move the file away, or use another path"),
    errno.EEXIST: (
        "something else is where a folder is expected",
        "a folder, or nothing",
        "move it away, or use another path",
    ),
    errno.EISDIR: ("a folder is where a file is expected", "a file", "move the folder away, or use another path"),
    errno.ENOTEMPTY: ("a folder that must be empty is not", "an empty folder", "move its contents away"),
    errno.ENAMETOOLONG: ("a name is too long", "at most 255 bytes", "use a shorter path"),
    errno.ELOOP: ("a symbolic link leads back to itself", "a file or folder", "correct the link"),
    errno.EMFILE: ("too many files are open", "a free file handle", "raise the limit of the shell: ulimit -n 4096"),
    errno.EIO: ("the disk or device does not respond", "a working disk", "check the system log (dmesg)"),
    errno.ESTALE: (
        "a network share is gone",
        "a mounted share",
        "mount it again, and run the same command again",
    ),
    errno.ENOMEM: ("memory ran out", "free memory", "close other programs, or use a smaller model or batch"),
}


def of_system(error: BaseException, *, workdir: pathlib.Path | None = None) -> InputError | None:
    """Return a system error in words; None for any other error, and for one that no user can fix.

    Some libraries wrap a system error in an exception of another type that only quotes the system's message; therefore
    the text of other exceptions is searched for these messages.
    """
    number = error.errno if isinstance(error, OSError) else _number_in(str(error))
    if number not in SYSTEM:
        return None
    what, expected, remedy = SYSTEM[number]
    names = [getattr(error, name, None) for name in ("filename", "filename2")] if isinstance(error, OSError) else []
    where = " to ".join(os.fsdecode(name) for name in names if isinstance(name, str | bytes))
    unnamed = "a file of the run" if workdir is None else f"a file in {workdir}"
    was = error.strerror if isinstance(error, OSError) else str(error)
    return InputError(what, where=where or unnamed, expected=expected, was=was, remedy=remedy)


def _number_in(text: str) -> int | None:
    return next((number for number in SYSTEM if os.strerror(number) in text), None)


def of_memory(error: BaseException) -> InputError | None:
    """Return an error with a remedy if the machine or a device ran out of memory; None for any other error."""
    if not isinstance(error, MemoryError) and OUT_OF_MEMORY not in str(error):
        return None
    return InputError(
        "memory ran out",
        where="this machine" if isinstance(error, MemoryError) else "a device",
        expected="a run that fits in memory",
        was=(str(error).splitlines() or ["no details"])[0][:200],
        remedy="lower --config.train.micro_batch, --config.evaluate.batch_size or --config.generate.paths, use a"
        " shorter --config.model.max_seq_length or a smaller model, or close other programs",
    )


def unforeseen(error: BaseException, *, argv: Sequence[str], workdir: pathlib.Path | None) -> str:
    """Write the traceback of an unexpected error to a file, and return the message to show.

    The file is in the run's folder if that exists and is writable, else in the folder for temporary files.
    """
    text = _report(error, argv)
    path = _kept(text, workdir)
    frames = traceback.extract_tb(error.__traceback__)
    reason = f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0][:300]}"
    return str(
        InputError(
            "the program has failed with an unexpected error",
            where=f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "unknown",
            expected="a result, or an error that says what to fix",
            was=reason,
            remedy=f"report it, with the file {path}" if path else f"report it, with this text:\n{text}",
        )
    )


def divert_traces(argv: Sequence[str], workdir: pathlib.Path) -> None:
    """From now on, write the tracebacks that threads and libraries would print to the files of other failures instead.

    If a background task fails, the command itself reports that when it waits for the task. Exceptions that are not
    errors, such as KeyboardInterrupt, still go to the previous hooks.
    """
    uncaught_before, unraisable_before = sys.excepthook, sys.unraisablehook

    def keep(error: BaseException | None) -> None:
        if error is not None:
            _kept(_report(error, argv), workdir)

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, Exception):
            keep(error)
        else:
            uncaught_before(kind, error, trace)

    def unraisable(raised: Any) -> None:
        if isinstance(raised.exc_value, Exception):
            keep(raised.exc_value)
        else:
            unraisable_before(raised)

    threading.excepthook = lambda raised: keep(raised.exc_value)
    sys.unraisablehook = unraisable
    sys.excepthook = uncaught


def _kept(text: str, workdir: pathlib.Path | None) -> pathlib.Path | None:
    """Write a report to the first path that can be written; return that path."""
    return next((path for path in _places(workdir) if _written(path, text)), None)


def _report(error: BaseException, argv: Sequence[str]) -> str:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    about = f"{now}\n{shlex.join(argv)}\n{platform.platform()}, Python {platform.python_version()}\n\n"
    return about + "".join(traceback.format_exception(error))


def _places(workdir: pathlib.Path | None) -> list[pathlib.Path]:
    """Return the paths where a report may be written, preferred first, named by the current time and process."""
    name = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}_{os.getpid()}.txt"
    temporary = pathlib.Path(tempfile.gettempdir()) / f"lob_jax_failure_{name}"
    return [*([workdir / FOLDER / name] if workdir is not None and workdir.is_dir() else []), temporary]


def _written(path: pathlib.Path, text: str) -> bool:
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return False
    return True
