"""What a command says when it fails: errors of the system and of memory in words; of others where the trace lies."""

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

FOLDER = "failures"  # of a run's folder
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # how XLA names it
SYSTEM = {
    errno.ENOSPC: ("the disk is full", "room on the disk", "make room, and start the same command again"),
    errno.EDQUOT: ("the quota is used up", "room on the disk", "make room, and start the same command again"),
    errno.EFBIG: (
        "a file grew too large",
        "room for it",
        "raise the limit of the shell (ulimit -f), or of the file system",
    ),
    errno.EROFS: ("the disk is read-only", "a disk that can be written to", "name a --workdir elsewhere"),
    errno.EACCES: (
        "permission is denied",
        "the right to use it",
        "change its rights (chmod, chown), or name another path",
    ),
    errno.EPERM: (
        "permission is denied",
        "the right to use it",
        "change its rights (chmod, chown), or name another path",
    ),
    errno.ENOENT: (
        "a file or folder is not there",
        "it at this path",
        "check the path; do not move a run while it works",
    ),
    errno.ENOTDIR: ("a file lies where a folder should", "a folder", "move the file away, or name another path"),
    errno.EEXIST: (
        "something else lies where a folder should",
        "a folder, or nothing",
        "move it away, or name another path",
    ),
    errno.EISDIR: ("a folder lies where a file should", "a file", "move the folder away, or name another path"),
    errno.ENOTEMPTY: ("a folder that should be empty is not", "an empty folder", "move away what lies in it"),
    errno.ENAMETOOLONG: ("a name is too long", "at most 255 bytes", "name a shorter path"),
    errno.ELOOP: ("a link leads back to itself", "a file or folder", "mend the link"),
    errno.EMFILE: ("too many files are open", "a free file handle", "raise the limit of the shell: ulimit -n 4096"),
    errno.EIO: ("the disk or device does not answer", "a disk that works", "look at the system's log (dmesg)"),
    errno.ESTALE: (
        "a network share has gone",
        "the share, mounted",
        "mount it again, and start the same command again",
    ),
    errno.ENOMEM: ("there is no memory left", "memory", "close other programs, or take a smaller model or batch"),
}


def of_system(error: BaseException, *, workdir: pathlib.Path | None = None) -> InputError | None:
    """Return an error of the system in words; None for one that is none, or that no user can mend.

    Libraries beneath hand some of them on in errors of their own, with the system's words in them.
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
    """Return what to do where memory ran out, of the machine or of a device; None if it did not."""
    if not isinstance(error, MemoryError) and OUT_OF_MEMORY not in str(error):
        return None
    return InputError(
        "memory ran out",
        where="this machine" if isinstance(error, MemoryError) else "a device",
        expected="a run that fits",
        was=(str(error).splitlines() or ["no figures"])[0][:200],
        remedy="lower --config.train.micro_batch, --config.evaluate.batch_size or --config.generate.paths, take a"
        " shorter --config.model.max_seq_length or a smaller model, or close other programs",
    )


def unforeseen(error: BaseException, *, argv: Sequence[str], workdir: pathlib.Path | None) -> str:
    """Write the trace of an error that nothing foresaw, and return what to tell of it.

    It lies in the run's folder if there is one that can be written to, else in the folder for temporary files.
    """
    text = _report(error, argv)
    path = _kept(text, workdir)
    frames = traceback.extract_tb(error.__traceback__)
    reason = f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0][:300]}"
    return str(
        InputError(
            "the program has failed, which it should not",
            where=f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "unknown",
            expected="a result, or an error that says what to mend",
            was=reason,
            remedy=f"report it, with the file {path}" if path else f"report it, with this:\n{text}",
        )
    )


def divert_traces(argv: Sequence[str], workdir: pathlib.Path) -> None:
    """Keep, from now on, the traces that threads and libraries would print on their own, with those of other faults.

    What fails behind a command is told of by the command, when it waits for it. What is no fault but an end, as Ctrl-C
    is, goes to the hooks that were there before.
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

    def unraisable(told: Any) -> None:
        if isinstance(told.exc_value, Exception):
            keep(told.exc_value)
        else:
            unraisable_before(told)

    threading.excepthook = lambda told: keep(told.exc_value)
    sys.unraisablehook = unraisable
    sys.excepthook = uncaught


def _kept(text: str, workdir: pathlib.Path | None) -> pathlib.Path | None:
    """Write a report in the first place that takes it; return where."""
    return next((path for path in _places(workdir) if _written(path, text)), None)


def _report(error: BaseException, argv: Sequence[str]) -> str:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    about = f"{now}\n{shlex.join(argv)}\n{platform.platform()}, Python {platform.python_version()}\n\n"
    return about + "".join(traceback.format_exception(error))


def _places(workdir: pathlib.Path | None) -> list[pathlib.Path]:
    """Return where a trace may be written, the best place first; names are of this moment and this process."""
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
