"""The lines of a CSV file as bytes, without what may surround them: byte-order mark, quotes, a blank last line."""

import functools
import re

import numpy as np

BOM = b"\xef\xbb\xbf"
_BLANK = (b"\n", b"\r\n")
_QUOTED = re.compile(rb'(?:(?<=[,\n])|\A)"([^",\r\n]*)"(?=,|\r?\n)')


class Lines:
    """The lines of a block, located only when one is requested."""

    def __init__(self, data: bytes):
        self._data = data

    def __len__(self) -> int:
        return len(self._begins) - 1

    def __getitem__(self, line: int) -> bytes:
        return self._data[self._begins[line] : self._begins[line + 1] - 1]

    @functools.cached_property
    def _begins(self) -> np.ndarray:
        return np.append(0, np.flatnonzero(np.frombuffer(self._data, np.uint8) == 10) + 1)


def unquoted(data: bytes) -> bytes:
    """Remove the quotes around fields that do not need them from complete lines; keep all other quotes."""
    return _QUOTED.sub(rb"\1", data) if b'"' in data else data


def content_end(data: bytes) -> int:
    """Return the position of a blank last line, or the length of the data if there is none."""
    begin = data.rfind(b"\n", 0, max(len(data) - 1, 0)) + 1
    return begin if data[begin:] in _BLANK else len(data)


def first_row(data: bytes, columns: int) -> bytes | None:
    """Return the first line with as many fields as there are columns, None if there is no such line."""
    begin = 0
    while begin < len(data):
        end = data.index(b"\n", begin)
        if data.count(b",", begin, end) == columns - 1:
            return data[begin:end]
        begin = end + 1
    return None


def is_text(line: bytes) -> bool:
    """Return whether a line is valid UTF-8."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def fields_of(line: bytes) -> tuple[str, ...]:
    """Return the fields of a line as text."""
    return tuple(line.removesuffix(b"\r").decode("utf-8", "backslashreplace").split(","))
