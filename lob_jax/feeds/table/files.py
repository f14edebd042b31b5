"""Open tables, CSV, Parquet and Arrow files or tables in memory, as batches of Arrow columns."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading.recognise import beginning, not_read, recognise
from lob_jax.feeds.reading.source import COMPRESSIONS, Source, damaged
from lob_jax.feeds.table.converted import DAMAGE
from lob_jax.feeds.table.csv_files import CsvTable, Refused, Rows, Table, no_rows

SUFFIXES = (".csv", ".txt", ".parquet", ".pq", ".arrow", ".feather", ".ipc")
_ROWS_AT_ONCE = 1 << 16


def open_table(source: Source) -> Table:
    """Open a table in the format that its first bytes indicate.

    Raises:
      InputError: the file cannot be read or is not a table; a known format is named.
    """
    begin = beginning(source)
    if not begin:
        begin = next(source.blocks(Reading(block_bytes=64)), b"")  # raises the error that describes the damage
    if begin[:4] == b"PAR1":
        return _ParquetTable(source)
    if begin[:6] == b"ARROW1" or begin[:4] == b"\xff\xff\xff\xff":
        return ArrowTable(str(source), _read_arrow(source, streamed=begin[:6] != b"ARROW1"), path=source.path)
    known = recognise(begin)
    if known is not None:
        raise not_read(source, known.name, begin, known.remedy)
    return CsvTable(source)


def is_table(table: object) -> bool:
    """Return whether an object is a table in memory: a pandas or polars DataFrame, or an Arrow table."""
    return hasattr(table, "__arrow_c_stream__") or type(table).__module__.split(".")[0] == "pandas"


def table_in_memory(table: Any) -> "ArrowTable":
    """Wrap a table in memory so that its rows can be read.

    Raises:
      InputError: the object is not a table of columns, or a column has values of several types.
    """
    try:
        if hasattr(table, "__arrow_c_stream__"):
            return ArrowTable("table", pa.table(table))
        return ArrowTable("table", pa.Table.from_pandas(table))  # pandas before 2.2
    except (TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise InputError(
            "a table that Arrow cannot convert",
            where=f"a {type(table).__name__} in memory",
            expected="a pandas or polars DataFrame, or an Arrow table, each column of one type",
            was=f"{type(error).__name__}: {error}",
            remedy="give each column a single type: prices as text, Decimals or floats, not a mixture",
        ) from error


def suits(file: pathlib.Path) -> bool:
    """Return whether a file name has the suffix of a table."""
    name = next((file.name.removesuffix(end) for end in COMPRESSIONS if file.name.endswith(end)), file.name)
    return name.endswith(SUFFIXES)


@dataclasses.dataclass
class ArrowTable:
    """A table in memory, or memory-mapped."""

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
            self._file = parquet.ParquetFile(
                _whole(source) if source.path.suffix in COMPRESSIONS else source.path, page_checksum_verification=True
            )
            self.names = self._file.schema_arrow.names
        except DAMAGE as error:
            raise damaged(source, error) from error

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
        except DAMAGE as error:
            yield Rows(np.empty(0, np.int64), no_rows(columns), [Refused(first, damaged(self.where, error), b"")])


def _whole(source: Source) -> pa.BufferReader:
    return pa.BufferReader(b"".join(source.blocks(Reading())))


def _read_arrow(source: Source, *, streamed: bool) -> pa.Table:
    packed = source.path.suffix in COMPRESSIONS
    try:
        with _whole(source) if packed else pa.memory_map(str(source.path)) as file:
            table = (pa.ipc.open_stream(file) if streamed else pa.ipc.open_file(file)).read_all()
            table.validate(full=True)  # Arrow does not check offsets on access: a damaged one could read any memory
            return table
    except DAMAGE as error:
        raise damaged(source, error) from error


def _zone(schema: pa.Schema, column: str) -> str | None:
    kind = schema.field(column).type
    return kind.tz if pa.types.is_timestamp(kind) else None
