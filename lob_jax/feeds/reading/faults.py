"""Treat rows that violate their format: raise an error, count them, or write them to a quarantine file."""

import collections
import contextlib
import enum
import json
import pathlib
import weakref
from collections.abc import Generator
from typing import Any, Self

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading

_HELD_CHARACTERS = 1 << 16  # buffered before writing: opening the quarantine file takes longer than writing a row
_latest: dict[pathlib.Path, list[str]] = {}  # the buffer of the newest reading into each quarantine file


class FaultCode(enum.IntEnum):
    """What is wrong with a row: the number that a compiled loop returns, and what is said of it.

    A loop's faults are a subclass, one line each, so that no code can lack its words. A code without any is no fault.

    Attributes:
      what: the fault, see `InputError`.
      field: the field or column that it is said of.
      expected: what would have been right there.
    """

    what: str
    field: Any
    expected: Any

    def __new__(cls, code: int, what: str = "", field: Any = "", expected: Any = "") -> Self:
        """Return a member, which is its code."""
        member = int.__new__(cls, code)
        member._value_, member.what, member.field, member.expected = code, what, field, expected
        return member


class Faults:
    """Treats the bad rows of one input file as a `Reading` specifies.

    Attributes:
      dropped: number of rows left out, by reason.
    """

    def __init__(self, reading: Reading, input_name: str):
        """Begin a file; delete the quarantine file of an earlier reading."""
        self._strict = reading.on_error == "strict"
        self.dropped: collections.Counter[str] = collections.Counter()
        self._path: pathlib.Path | None = None
        self._held: list[str] = []
        self._room = _HELD_CHARACTERS
        if reading.on_error == "quarantine" and reading.quarantine is not None:
            path = self._path = reading.quarantine / f"{input_name}.jsonl"
            with _writable(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
            _latest[path] = self._held
            # A finalizer rather than a close method: a reading may end in an exception or be abandoned.
            weakref.finalize(self, _end, path, self._held)

    @property
    def path(self) -> pathlib.Path | None:
        """The quarantine file, None if there is none; flushes all rows refused so far into it."""
        if self._path is not None and self._held:
            self._write(self._path)
        return self._path

    def _write(self, path: pathlib.Path) -> None:
        with _writable(path):
            _append(path, self._held)
        self._room = _HELD_CHARACTERS

    def refuse(self, error: InputError, *, raw: str | bytes, rows: int = 1) -> None:
        """Raise the error if reading is strict; otherwise leave rows out and count them under the error's `what`.

        Args:
          error: the fault and its location; its `what` must not contain anything that differs from row to row.
          raw: the row as found in the file (or the first of several).
          rows: number of rows lost.
        """
        if self._strict:
            raise error
        self.dropped[error.what] += rows
        if self._path is not None:
            text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
            entry: dict[str, str | int] = {
                "what": error.what,
                "where": str(error.where),
                "expected": str(error.expected),
            }
            entry |= {"was": str(error.was), "rows": rows, "raw": text}
            self._held.append(json.dumps(entry) + "\n")
            self._room -= len(self._held[-1])
            if self._room < 0:
                self._write(self._path)


@contextlib.contextmanager
def _writable(path: pathlib.Path) -> Generator[None]:
    """Convert an OSError while writing a quarantine file to an InputError that names the file."""
    try:
        yield
    except OSError as error:
        raise InputError(
            "a quarantine that cannot be written",
            where=path,
            expected="a folder that can be created and written to",
            was=f"{type(error).__name__}: {error}",
            remedy="choose another folder, or use on_error='skip'",
        ) from error


def _append(path: pathlib.Path, held: list[str]) -> None:
    """Append the buffer to the file and clear it."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(held)
    held.clear()


def _end(path: pathlib.Path, held: list[str]) -> None:
    """Flush the buffer of a reading that has ended, unless a newer reading has started the file again."""
    if _latest.get(path) is held:
        del _latest[path]
        if held:
            _append(path, held)
