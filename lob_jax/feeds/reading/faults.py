"""What becomes of a row that is not what its format says: an error, a count, or a line in a quarantine file."""

import collections
import contextlib
import enum
import json
import pathlib
import weakref
from collections.abc import Iterator
from typing import Any, Self

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading

_HELD_CHARACTERS = 1 << 16  # of a quarantine, before they are written: opening a file takes longer than writing a row
_latest: dict[pathlib.Path, list[str]] = {}  # what the newest reading into each quarantine holds


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
    """The bad rows of one input file, treated as a `Reading` says.

    Attributes:
      dropped: how many rows were left out, by reason.
    """

    def __init__(self, reading: Reading, input_name: str):
        """Begin a file; what an earlier reading put into its quarantine is removed."""
        self._strict = reading.on_error == "strict"
        self.dropped: collections.Counter[str] = collections.Counter()
        self._path: pathlib.Path | None = None
        self._held: list[str] = []
        self._room = _HELD_CHARACTERS
        if reading.on_error == "quarantine":
            self._path = reading.quarantine / f"{input_name}.jsonl"
            with _writable(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.unlink(missing_ok=True)
            _latest[self._path] = self._held
            weakref.finalize(self, _end, self._path, self._held)

    @property
    def path(self) -> pathlib.Path | None:
        """The quarantine file, None if there is none; all rows refused so far are in it."""
        if self._held:
            self._write()
        return self._path

    def _write(self) -> None:
        with _writable(self._path):
            _append(self._path, self._held)
        self._room = _HELD_CHARACTERS

    def refuse(self, error: InputError, *, raw: str | bytes, rows: int = 1) -> None:
        """Raise the error if reading is strict; else leave `rows` rows out, the reason being what the error says.

        Args:
          error: what is wrong, and where; its `what` must not hold anything that differs from row to row.
          raw: the row as it was found (or the first of several).
          rows: how many rows are lost by it.
        """
        if self._strict:
            raise error
        self.dropped[error.what] += rows
        if self._path is not None:
            text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
            entry = {"what": error.what, "where": str(error.where), "expected": str(error.expected)}
            entry |= {"was": str(error.was), "rows": rows, "raw": text}
            self._held.append(json.dumps(entry) + "\n")
            self._room -= len(self._held[-1])
            if self._room < 0:
                self._write()


@contextlib.contextmanager
def _writable(path: pathlib.Path) -> Iterator[None]:
    """Turn what goes wrong in writing a quarantine into an error that names it."""
    try:
        yield
    except OSError as error:
        raise InputError(
            "a quarantine that cannot be written",
            where=path,
            expected="a folder that can be made and written to",
            was=f"{type(error).__name__}: {error}",
            remedy="name another folder, or take on_error='skip'",
        ) from error


def _append(path: pathlib.Path, held: list[str]) -> None:
    """Write what is held."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(held)
    held.clear()


def _end(path: pathlib.Path, held: list[str]) -> None:
    """Write what a reading still holds, however it ended, unless a newer one has begun the file anew."""
    if _latest.get(path) is held:
        del _latest[path]
        if held:
            _append(path, held)
