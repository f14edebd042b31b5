"""Strict CSV, block by block: whole columns of integers at once, and the first bad line by name.

Numbers never pass through a float: a decimal becomes an integer count of its last place.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lob_jax.errors import InputError
from lob_jax.feeds import csv_fields as cf
from lob_jax.feeds.faults import Faults
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.source import Source

CONTENTS = {"int": cf.INT, "id": cf.ID, "decimal": cf.DECIMAL, "word": cf.WORD, "same": cf.SAME, "any": cf.ANY}
_INT64 = np.iinfo(np.int64)
_REMEDY = "fetch the file again; if it was edited, restore the line"
_SHOWN = 80  # characters of a line or a field in an error


@dataclasses.dataclass(frozen=True)
class Column:
    """What the fields of one column hold.

    Attributes:
      name: for errors, and what a header must say.
      content: "int", a whole number; "id", an unsigned one, kept as its int64's bits; "decimal", a decimal number
        with or without an exponent, kept as a count of its place number `scale`; "word", the index of the field
        among `words`; "same", the field that the first row has, kept as 0; "any", not looked at, kept as 0.
      scale: decimal places of a "decimal"; a number with more of them is at fault.
      words: what a "word" may be.
      low: the least value of an "int" or "decimal".
      high: the largest one.
    """

    name: str
    content: str
    scale: int = 0
    words: tuple[str, ...] = ()
    low: int = _INT64.min
    high: int = _INT64.max


class Block(NamedTuple):
    """Some rows of a file.

    Attributes:
      values: int64 [C, R].
      line: int64 [R], the lines that they stand in, counted from 1.
    """

    values: np.ndarray
    line: np.ndarray


class CsvRows:
    """The rows of one file, to be iterated once, as `Block`s; bad lines go to `faults`.

    Attributes:
      rows_read: lines read so far, the header not counted, bad ones counted.
      first: the fields of the first line with the right number of them, as text; empty before there is one.
      ended: whether the last line read ends in a line feed.
    """

    def __init__(
        self,
        source: Source,
        columns: Sequence[Column],
        *,
        header: tuple[str, ...] | None,
        reading: Reading,
        faults: Faults,
    ):
        self.rows_read, self.ended = 0, True
        self.first: tuple[str, ...] = ()
        self._source, self._columns, self._reading, self._faults = source, tuple(columns), reading, faults
        self._header, self._lines = header, 0
        self._words: dict[str, np.ndarray] = {}

    def __iter__(self) -> Iterator[Block]:
        for data in self._whole_lines():
            if self._header is not None:
                data = self._without_header(data)
            if data:
                yield self._parse(data)
        if not self._lines:
            raise InputError(
                "an empty file",
                where=self._source,
                expected=",".join(self._header or [column.name for column in self._columns]),
                was="0 bytes",
                remedy=_REMEDY,
            )
        if self._header is not None:
            raise AssertionError("a file without a first line has lines")

    def _whole_lines(self) -> Iterator[bytes]:
        """Yield blocks that end with a line; what damage cuts off is at fault."""
        rest = []
        try:
            for block in self._source.blocks(self._reading):
                cut = block.rfind(b"\n") + 1
                if cut:
                    yield b"".join([*rest, block[:cut]])
                    rest = [block[cut:]] if cut < len(block) else []
                else:
                    rest.append(block)
        except InputError as error:
            self._faults.refuse(error, raw=b"", rows=0)
            rest = []
        if rest:
            self.ended = False
            yield b"".join([*rest, b"\n"])

    def _without_header(self, data: bytes) -> bytes:
        begin = data.index(b"\n") + 1
        found = tuple(data[: begin - 1].removesuffix(b"\r").decode("utf-8", "backslashreplace").split(","))
        if found != self._header:
            raise InputError(
                "a header that is not the format's",
                where=f"{self._source}, line 1",
                expected=",".join(self._header),
                was=",".join(found)[:_SHOWN],
                remedy="name a file of this format",
            )
        self._header, self._lines = None, 1
        return data[begin:]

    def _parse(self, data: bytes) -> Block:
        array = np.frombuffer(data, np.uint8)
        lines = int(np.count_nonzero(array == 10))
        values = np.empty((len(self._columns), lines), np.int64)
        row_line, bad = np.empty(lines, np.int64), np.empty((lines, 4), np.int64)
        if not self.first:
            self.first = _first_row(data, len(self._columns))
            self._words = _compiled_columns(self._columns, self.first)
        _, rows, faults = cf.parse_lines(array, **self._words, values=values, row_line=row_line, bad=bad)
        first_line = self._lines + 1
        self.rows_read += lines
        self._lines += lines
        for line, begin, column, fault in bad[:faults].tolist():
            raw = data[begin : data.index(b"\n", begin)]
            cut_short = not self.ended and line == lines - 1
            where = f"{self._source}, line {first_line + line}"
            self._faults.refuse(self._explain(raw, column, fault, where, cut_short=cut_short), raw=raw)
        return Block(values[:, :rows], row_line[:rows] + first_line)

    def _explain(self, raw: bytes, column: int, fault: int, where: str, *, cut_short: bool) -> InputError:
        """Say what is wrong with a line."""
        fields, columns = _fields(raw), self._columns
        if fault == cf.COLUMN_COUNT or len(fields) != len(columns):
            what, expected = "a wrong number of columns", f"{len(columns)} columns"
            was = f"{len(fields)}: {','.join(fields)[:_SHOWN]!r}" if raw.strip() else "an empty line"
        else:
            what, expected = _expectation(columns[column], fault, self.first[column] if self.first else "")
            was = repr(fields[column][:_SHOWN]) if fields[column] else "an empty field"
            where = f"{where}, column {column + 1} ({columns[column].name})"
        what = f"a truncated last line, with {what}" if cut_short else what
        return InputError(what, where=where, expected=expected, was=was, remedy=_REMEDY)


def _first_row(data: bytes, columns: int) -> tuple[str, ...]:
    """Return the fields of the first line that has as many as there are columns; none if no line has."""
    begin = 0
    while begin < len(data):
        end = data.index(b"\n", begin)
        fields = _fields(data[begin:end])
        if len(fields) == columns:
            return fields
        begin = end + 1
    return ()


def _fields(line: bytes) -> tuple[str, ...]:
    return tuple(line.removesuffix(b"\r").decode("utf-8", "backslashreplace").split(","))


def _compiled_columns(columns: tuple[Column, ...], first: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the columns as the compiled loop takes them."""
    words, column_words = [], []
    for column, field in zip(columns, [*first, *[""] * len(columns)], strict=False):
        own = column.words if column.content == "word" else (field,) if column.content == "same" else ()
        column_words.append((len(words), len(words) + len(own)))
        words += [word.encode() for word in own]
    return {
        "contents": np.array([CONTENTS[column.content] for column in columns]),
        "scales": np.array([column.scale for column in columns]),
        "low": np.array([column.low for column in columns]),
        "high": np.array([column.high for column in columns]),
        "words": np.frombuffer(b"".join(words) + b"\0", np.uint8),
        "word_ends": np.cumsum([0, *map(len, words)]),
        "column_words": np.array(column_words),
    }


def _expectation(column: Column, fault: int, first: str) -> tuple[str, str]:
    """Return what is wrong with a field, and what it should be."""
    number = "a decimal number" if column.content == "decimal" else "a whole number"
    if fault == cf.UNKNOWN_WORD:
        return "a word that the format does not have", " or ".join(column.words)
    if fault == cf.CHANGED:
        return f"another {column.name} than the first row's", first
    if fault == cf.TOO_FINE:
        return "a number with too many decimal places", f"at most {column.scale} places"
    if fault == cf.OUT_OF_RANGE:
        low, high = (0, 2**64 - 1) if column.content == "id" else (column.low, column.high)
        scale = 10**column.scale
        limits = f"{low}..{high}" if scale == 1 else f"{low / scale:g}..{high / scale:g}"
        return "a number out of range", limits
    return f"a field that is not {number}", "digits, with a minus sign in front if negative"
