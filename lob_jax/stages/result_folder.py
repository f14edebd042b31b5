"""A folder a result, under a name that no other result has: none is ever replaced, and each appears whole."""

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
TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def check_name(name: str | None, folder: pathlib.Path) -> None:
    """Refuse a name that no result can have, or that another one in the folder has; None is the next number.

    Raises:
      InputError: it is one of these.
    """
    if name is None:
        return
    if NAME.fullmatch(name) is None or name.endswith("."):
        raise InputError(
            "a name that a result cannot have",
            where="config.generate.name",
            expected="letters, digits, dots, dashes and underscores, a letter or digit first, at most 100",
            was=repr(name),
            remedy="choose another name, or leave it out for the next number",
        )
    if (folder / name).exists():
        raise InputError(
            "there is a result of this name",
            where="config.generate.name",
            expected=f"a name that is not in {folder} yet",
            was=name,
            remedy="choose another name, or leave it out for the next number; an earlier result is never replaced",
        )


@contextlib.contextmanager
def partial_folder(folder: pathlib.Path) -> Generator[pathlib.Path]:
    """Yield a new folder inside `folder` for a result; unless it has been given a name by then, it goes in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)  # of a process of the same number that was killed
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def take_name(partial: pathlib.Path, name: str | None) -> pathlib.Path:
    """Move a folder in one move to a name beside it, or to the next number: 001, 002, ...; return where it lies.

    Raises:
      InputError: another result has taken the name.
    """
    folder = partial.parent
    used = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    for number in itertools.count(max(used, default=0) + 1):
        check_name(name, folder)
        try:
            return partial.rename(folder / (name or f"{number:03d}"))
        except OSError as error:  # a number that another call has taken at this moment is passed over
            if name is not None or error.errno not in TAKEN:
                raise
    raise AssertionError("there is always a next number")
