"""Read tables in CSV: parse blocks of complete lines to columns of text, and report the lines that cannot be split."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading.csv_lines import BOM
from lob_jax.feeds.reading.source import Source, empty_file

_LF, _CR, _NUL, _QUOTE, _COMMA = b'\n\r\0",'
_SHOWN = 80
_REMEDY = "correct the line; on_error=skip leaves such lines out and counts them"
_EMPTY = ("an empty line", "a row")
_BINARY = ("a line that is not UTF-8", "plain text")
_STRAY = ("a quote within a field", "quotes around complete fields only, on one line")


class Refused(NamedTuple):
    """A row that cannot be parsed, or damage that ends the table: row number, error and raw content."""

    number: int
    error: InputError
    raw: bytes


class Rows(NamedTuple):
    """Some rows of a table.

    Attributes:
      number: int64 [R], line numbers in a CSV file, where the header is line 1, otherwise row numbers from 1.
      batch: their columns, under our names.
      refused: rows among or after them that cannot be parsed.
    """

    number: np.ndarray
    batch: pa.RecordBatch
    refused: list[Refused]


class Table(Protocol):
    """A table in a file or in memory.

    Attributes:
      where: the table's name for errors.
      unit: what row numbers count, "line" or "row".
      first: the number of the first row.
      names: the column names.
    """

    @property
    def where(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def first(self) -> int: ...

    @property
    def names(self) -> list[str]: ...

    def rows(self, columns: Mapping[str, str], reading: Reading) -> Iterator[Rows]:
        """Yield the given columns (our name to the table's name), a number of rows at a time."""

    def zone(self, column: str) -> str | None:
        """Return the time zone of a column's type, None if it has none."""


class CsvTable:
    """A CSV file with a header, read in blocks of complete lines; every column is text."""

    unit, first = "line", 2

    def __init__(self, source: Source):
        self.where, self._source = str(source), source
        damage: list[InputError] = []
        begin = next(_lines(source, Reading(block_bytes=1 << 16), damage), b"")
        header = begin.split(b"\n", 1)[0]
        if damage:
            raise damage[0]
        if not begin:
            raise empty_file(source, expected="column names separated by commas, and rows")
        self.names = self._parse_header(header.removeprefix(BOM).removesuffix(b"\r"))

    def zone(self, column: str) -> str | None:
        del column
        return None

    def _parse_header(self, header: bytes) -> list[str]:
        try:
            text = header.decode()
        except UnicodeDecodeError:
            text = ""
        if not text.strip() or "\0" in text or _broken_lines(header + b"\n", np.array([len(header)])):
            raise InputError(
                "a table without a header",
                where=f"{self.where}, line 1",
                expected="column names separated by commas",
                was=repr(header[:_SHOWN]),
                remedy="pass a CSV file with a header, a Parquet file or an Arrow file",
            )
        return [name.strip() for name in next(csv.reader([text]))]

    def rows(self, columns: Mapping[str, str], reading: Reading) -> Iterator[Rows]:
        damage: list[InputError] = []
        line = 1
        for data in _lines(self._source, reading, damage):
            first = line
            line += data.count(b"\n")
            if first == 1:
                data = data[data.index(b"\n") + 1 :]
                first = 2
            if data:
                yield self._parse(data, first, columns)
        for error in damage:
            yield Rows(np.empty(0, np.int64), no_rows(columns), [Refused(line, error, b"")])

    def _parse(self, data: bytes, first: int, columns: Mapping[str, str]) -> Rows:
        """Parse complete lines, the first of which has line number `first`."""
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _LF)
        broken = _broken_lines(data, ends)
        number = np.delete(np.arange(first, first + len(ends)), list(broken))
        refused = [self._refuse(data, ends, line, first, what) for line, what in sorted(broken.items())]
        kept = data
        if broken:
            kept = b"".join(line + b"\n" for k, line in enumerate(data.split(b"\n")[:-1]) if k not in broken)
        if not kept:
            return Rows(number, no_rows(columns), refused)
        wanted = [str(self.names.index(theirs)) for theirs in columns.values()]
        table, uneven = _parse_lines(kept, len(self.names), wanted)
        count = ("a wrong number of columns", f"{len(self.names)} columns")
        refused += [self._refuse(data, ends, line - first, first, count) for line in number[uneven].tolist()]
        batch = pa.RecordBatch.from_arrays([table[name].combine_chunks() for name in wanted], list(columns))
        return Rows(np.delete(number, uneven), batch, refused)

    def _refuse(self, data: bytes, ends: np.ndarray, line: int, first: int, told: tuple[str, str]) -> Refused:
        """Return the refusal of a line, counted from 0 in the block."""
        raw = data[ends[line - 1] + 1 if line else 0 : ends[line]].removesuffix(b"\r")
        what, expected = told
        where = f"{self.where}, line {first + line}"
        error = InputError(what, where=where, expected=expected, was=repr(raw[:_SHOWN]), remedy=_REMEDY)
        return Refused(first + line, error, raw)


def _broken_lines(data: bytes, ends: np.ndarray) -> dict[int, tuple[str, str]]:
    """Return the lines that cannot be parsed to one row each, with fault and expected content."""
    array = np.frombuffer(data, np.uint8)
    found = {}
    quotes = np.flatnonzero(array == _QUOTE)
    if len(quotes):
        found |= dict.fromkeys(_stray_quotes(array, quotes, ends), _STRAY)
    returns = np.flatnonzero(array == _CR)
    stray = np.append(returns[array[returns + 1] != _LF], np.flatnonzero(array == _NUL))
    found |= dict.fromkeys(np.searchsorted(ends, stray).tolist(), _BINARY)
    if not _is_text(data):
        lines = data.split(b"\n")[:-1]
        found |= {line: _BINARY for line, raw in enumerate(lines) if not _is_text(raw)}
    begins = np.append(0, ends[:-1] + 1)
    length = ends - begins
    empty = (length == 0) | ((length == 1) & (array[begins] == _CR))
    return found | dict.fromkeys(np.flatnonzero(empty).tolist(), _EMPTY)


def _stray_quotes(array: np.ndarray, quotes: np.ndarray, ends: np.ndarray) -> list[int]:
    """Return the lines in which a quote opens or closes within a field, or is never closed."""
    line = np.searchsorted(ends, quotes)
    first = np.searchsorted(line, line)  # index of the first quote on the same line
    opens = (np.arange(len(quotes)) - first) % 2 == 0
    before = np.where(quotes > 0, array[quotes - 1], _LF)
    after = array[quotes + 1]
    outside = np.where(opens, before, after)
    right = np.isin(outside, (_COMMA, _LF, _QUOTE)) | (~opens & (outside == _CR))
    last = np.append(line[1:] != line[:-1], True)
    return np.unique(line[~right | (last & opens)]).tolist()


def _parse_lines(data: bytes, columns: int, wanted: Sequence[str]) -> tuple[pa.Table, list[int]]:
    """Return the wanted columns, named by their positions, and the lines with another number of columns."""
    names, uneven = [str(k) for k in range(columns)], []

    def skip(row: arrow_csv.InvalidRow) -> str:
        uneven.append(row.number - 1)
        return "skip"

    table = arrow_csv.read_csv(
        io.BytesIO(data),
        read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1),
        parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=skip),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=list(dict.fromkeys(wanted)), column_types=dict.fromkeys(wanted, pa.string())
        ),
    )
    return table, uneven


def _lines(source: Source, reading: Reading, damage: list[InputError]) -> Iterator[bytes]:
    """Yield blocks of complete lines, without blank lines at the end and without a line truncated by damage."""
    rest = b""
    try:
        for block in source.blocks(reading):
            rest += block
            text = rest.rstrip(b"\r\n")
            end = rest.find(b"\n", len(text)) + 1 or rest.rfind(b"\n", 0, len(text)) + 1
            if text and end:
                yield rest[:end]
                rest = rest[end:]
    except InputError as error:
        damage.append(error)
        rest = b""
    if rest.strip(b"\r\n"):
        yield rest.rstrip(b"\r\n") + b"\n"


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def no_rows(columns: Mapping[str, str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], pa.string()) for _ in columns], list(columns))
