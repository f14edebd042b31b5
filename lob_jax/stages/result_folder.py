"""One folder per result, with a unique name: no result is ever replaced, and each appears complete."""

import contextlib
import errno
import itertools
import os
import pathlib
import re
import shutil
from collections.abc import Generator

from lob_jax.errors import InputError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)  # of a rename to a name that exists; systems differ


def check_name(name: str | None, folder: pathlib.Path) -> None:
    """Raise an error if a name is not allowed, or already taken in the folder; None stands for the next number.

    Raises:
      InputError: the name is not allowed, or taken.
    """
    if name is None:
        return
    if NAME.fullmatch(name) is None or name.endswith("."):
        raise InputError(
            "a result cannot have this name",
            where="config.generate.name",
            expected="at most 100 letters, digits, dots, dashes and underscores, beginning with a letter or digit",
            was=repr(name),
            remedy="choose another name, or leave it out for the next number",
        )
    if (folder / name).exists():
        raise InputError(
            "there already is a result with this name",
            where="config.generate.name",
            expected=f"a name that does not exist in {folder}",
            was=name,
            remedy="choose another name, or leave it out for the next number; an earlier result is never replaced",
        )


@contextlib.contextmanager
def partial_folder(folder: pathlib.Path) -> Generator[pathlib.Path]:
    """Yield a new folder inside `folder` for a result; it is removed at the end unless it has been given a name."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed process with the same id
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def take_name(partial: pathlib.Path, name: str | None) -> pathlib.Path:
    """Rename a folder atomically to a name, or to the next number: 001, 002, ...; return the new path.

    Raises:
      InputError: another result has taken the name.
    """
    folder = partial.parent
    used = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    for number in itertools.count(max(used, default=0) + 1):
        check_name(name, folder)
        try:
            return partial.rename(folder / (name or f"{number:03d}"))
        except OSError as error:  # another call has just taken this number: try the next one
            if name is not None or error.errno not in TAKEN:
                raise
    raise AssertionError("there is always a next number")
