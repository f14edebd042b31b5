"""Where tables lie: CSV, Parquet and Arrow files, and tables in memory; all become batches of Arrow columns."""

import csv
import dataclasses
import io
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.recognise import beginning, not_read, recognise
from lob_jax.feeds.source import COMPRESSIONS, Source, damaged

SUFFIXES = (".csv", ".txt", ".parquet", ".pq", ".arrow", ".feather", ".ipc")
_ROWS_AT_ONCE = 1 << 16
_FIELD = rb'(?:"(?:[^"]|"")*"|[^",]*)'
_QUOTED_LINE = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*")
_BOM = b"\xef\xbb\xbf"
_SHOWN = 80
_REMEDY = "mend the line; on_error=skip leaves such lines out and counts them"


class Refused(NamedTuple):
    """A row that cannot be parsed, or damage that ends the table: its number, what is wrong, how it was found."""

    number: int
    error: InputError
    raw: bytes


class Rows(NamedTuple):
    """Some rows of a table.

    Attributes:
      number: int64 [R], their numbers: lines of a CSV file, the header being 1; else rows, from 1.
      batch: their columns, by our names.
      refused: rows among or behind them that cannot be parsed.
    """

    number: np.ndarray
    batch: pa.RecordBatch
    refused: list[Refused]


class Table(Protocol):
    """A table, wherever it lies.

    Attributes:
      where: the table, for errors.
      unit: what a row's number counts.
      first: the number of the first row.
      names: its columns.
    """

    where: str
    unit: str
    first: int
    names: list[str]

    def rows(self, columns: Mapping[str, str], reading: Reading) -> Iterator[Rows]:
        """Yield the columns whose names are given, by ours, some rows at once."""

    def zone(self, column: str) -> str | None:
        """Return the time zone of a column's type, None if it has none."""


def open_table(source: Source) -> Table:
    """Open a table by what it begins with.

    Raises:
      InputError: the file cannot be read, or is no table; a format that is known is named.
    """
    begin = beginning(source)
    if not begin:
        begin = next(source.blocks(Reading(block_bytes=64)), b"")  # says what the damage is
    if begin[:4] == b"PAR1":
        return _ParquetTable(source)
    if begin[:6] == b"ARROW1" or begin[:4] == b"\xff\xff\xff\xff":
        return ArrowTable(str(source), _read_arrow(source, streamed=begin[:6] != b"ARROW1"), path=source.path)
    known = recognise(begin)
    if known is not None:
        raise not_read(source, known.name, begin, known.remedy)
    return _CsvTable(source)


def is_table(table: object) -> bool:
    """Return whether an object is a table in memory: a DataFrame of pandas or polars, or a table of Arrow."""
    return hasattr(table, "__arrow_c_stream__") or type(table).__module__.split(".")[0] == "pandas"


def table_in_memory(table: Any) -> "ArrowTable":
    """Return a table in memory as one that rows can be read from."""
    if hasattr(table, "__arrow_c_stream__"):
        return ArrowTable("table", pa.table(table))
    return ArrowTable("table", pa.Table.from_pandas(table))  # pandas before 2.2


def suits(file: pathlib.Path) -> bool:
    """Return whether a file's name is that of a table."""
    name = next((file.name.removesuffix(end) for end in COMPRESSIONS if file.name.endswith(end)), file.name)
    return name.endswith(SUFFIXES)


@dataclasses.dataclass
class ArrowTable:
    """A table that lies in memory, or is mapped there."""

    where: str
    table: pa.Table
    path: pathlib.Path | None = None
    unit: str = "row"
    first: int = 1

    @property
    def names(self) -> list[str]:
        return self.table.column_names

    def zone(self, column: str) -> str | None:
        return _zone(self.table.schema, column)

    def rows(self, columns: Mapping[str, str], reading: Reading) -> Iterator[Rows]:
        wanted = self.table.select(list(columns.values())).rename_columns(list(columns))
        first, size = 1, self.path.stat().st_size if self.path else 0
        for batch in wanted.to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield Rows(np.arange(first, first + batch.num_rows), batch, [])
            first += batch.num_rows
            if reading.on_bytes is not None and size:
                reading.on_bytes(size * (first - 1) // max(wanted.num_rows, 1), size)


class _ParquetTable:
    """A Parquet file, read row group by row group."""

    unit, first = "row", 1

    def __init__(self, source: Source):
        self.where, self._source = str(source), source
        try:
            self._file = parquet.ParquetFile(_whole(source) if source.path.suffix in COMPRESSIONS else source.path)
        except (OSError, pa.ArrowException) as error:
            raise damaged(source, error) from error

    @property
    def names(self) -> list[str]:
        return self._file.schema_arrow.names

    def zone(self, column: str) -> str | None:
        return _zone(self._file.schema_arrow, column)

    def rows(self, columns: Mapping[str, str], reading: Reading) -> Iterator[Rows]:
        first, size = 1, self._source.path.stat().st_size
        try:
            for batch in self._file.iter_batches(_ROWS_AT_ONCE, columns=list(dict.fromkeys(columns.values()))):
                ours = pa.RecordBatch.from_arrays([batch.column(theirs) for theirs in columns.values()], list(columns))
                yield Rows(np.arange(first, first + batch.num_rows), ours, [])
                first += batch.num_rows
                if reading.on_bytes is not None:
                    reading.on_bytes(size * (first - 1) // self._file.metadata.num_rows, size)
        except (OSError, pa.ArrowException) as error:
            yield Rows(np.empty(0, np.int64), _no_rows(columns), [Refused(first, damaged(self.where, error), b"")])


class _CsvTable:
    """A CSV file with a header, read in blocks of whole lines; every column is text."""

    unit, first = "line", 2

    def __init__(self, source: Source):
        self.where, self._source = str(source), source
        damage: list[InputError] = []
        header = next(_lines(source, Reading(block_bytes=1 << 16), damage), b"").split(b"\n", 1)[0]
        if damage:
            raise damage[0]
        self.names = self._parse_header(header.removeprefix(_BOM).removesuffix(b"\r"))

    def zone(self, column: str) -> str | None:
        del column
        return None

    def _parse_header(self, header: bytes) -> list[str]:
        try:
            text = header.decode()
        except UnicodeDecodeError:
            text = ""
        if not text.strip() or "\0" in text or _QUOTED_LINE.fullmatch(header) is None:
            raise InputError(
                "a table without a header",
                where=f"{self.where}, line 1",
                expected="names of columns, by commas",
                was=repr(header[:_SHOWN]),
                remedy="name a CSV file with a header, a Parquet file or an Arrow file",
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
            yield Rows(np.empty(0, np.int64), _no_rows(columns), [Refused(line, error, b"")])

    def _parse(self, data: bytes, first: int, columns: Mapping[str, str]) -> Rows:
        """Parse whole lines, of which the first has the number `first`."""
        lines = data.split(b"\n")[:-1]
        refused = [] if _is_plain(data) else self._unparsable(lines, first)
        left_out = {bad.number for bad in refused}
        number = np.array([n for n in range(first, first + len(lines)) if n not in left_out], np.int64)
        if refused:
            data = b"".join(line + b"\n" for n, line in enumerate(lines, first) if n not in left_out)
        if not data:
            return Rows(number, _no_rows(columns), refused)
        wanted = [str(self.names.index(theirs)) for theirs in columns.values()]
        table, uneven = _parse_lines(data, len(self.names), wanted)
        count = f"{len(self.names)} columns"
        refused += [
            self._refuse(lines[n - first], n, "a wrong number of columns", count) for n in number[uneven].tolist()
        ]
        batch = pa.RecordBatch.from_arrays([table[name].combine_chunks() for name in wanted], list(columns))
        return Rows(np.delete(number, uneven), batch, refused)

    def _unparsable(self, lines: Sequence[bytes], first: int) -> list[Refused]:
        """Return the lines that would not stay one row each."""
        bad = []
        for number, line in enumerate(lines, first):
            line = line.removesuffix(b"\r")
            if not line:
                bad.append(self._refuse(line, number, "an empty line", "a row"))
            elif b"\r" in line or b"\0" in line or not _is_text(line):
                bad.append(self._refuse(line, number, "a line that is not UTF-8", "plain text"))
            elif b'"' in line and _QUOTED_LINE.fullmatch(line) is None:
                bad.append(self._refuse(line, number, "a quote within a field", "fields within quotes as a whole"))
        return bad

    def _refuse(self, line: bytes, number: int, what: str, expected: str) -> Refused:
        where = f"{self.where}, line {number}"
        error = InputError(what, where=where, expected=expected, was=repr(line[:_SHOWN]), remedy=_REMEDY)
        return Refused(int(number), error, line)


def _parse_lines(data: bytes, columns: int, wanted: Sequence[str]) -> tuple[pa.Table, list[int]]:
    """Return the wanted columns, named by their places, and which lines have another number of them."""
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
    """Yield blocks of whole lines; blank lines at the end are left out, and so is the line that damage cuts off."""
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


def _is_plain(data: bytes) -> bool:
    """Return whether no line needs to be looked at by itself."""
    quoted = b'"' in data or b"\0" in data or data.count(b"\r") != data.count(b"\r\n")
    return not quoted and b"\n\n" not in data and b"\n\r\n" not in data and data[:1] not in b"\r\n" and _is_text(data)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole(source: Source) -> pa.BufferReader:
    return pa.BufferReader(b"".join(source.blocks(Reading())))


def _read_arrow(source: Source, *, streamed: bool) -> pa.Table:
    packed = source.path.suffix in COMPRESSIONS
    try:
        with _whole(source) if packed else pa.memory_map(str(source.path)) as file:
            return (pa.ipc.open_stream(file) if streamed else pa.ipc.open_file(file)).read_all()
    except (OSError, pa.ArrowException) as error:
        raise damaged(source, error) from error


def _zone(schema: pa.Schema, column: str) -> str | None:
    kind = schema.field(column).type
    return kind.tz if pa.types.is_timestamp(kind) else None


def _no_rows(columns: Mapping[str, str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], pa.string()) for _ in columns], list(columns))
