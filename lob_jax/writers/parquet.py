"""Write any day as Parquet tables of events, starting book and corrections, which `feeds.table.converted` reads."""

import json
import pathlib
import tempfile
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import CORRECTION_COLUMNS, ORDER_COLUMNS
from lob_jax.errors import InputError
from lob_jax.events.schema import COLUMNS
from lob_jax.feeds.table.converted import FORMAT, META, schema_of

ROW_GROUP = 1 << 18  # rows; bounds the memory needed for writing


def write_parquet(folder: pathlib.Path, day: MarketDay) -> pathlib.Path:
    """Write events.parquet, start.parquet and corrections.parquet into a new folder; return the folder.

    The instrument, the report and the remaining fields of the starting book are stored as JSON in the metadata of each
    file, under the key "lob_jax". Events are written row group by row group: they may be larger than memory.

    Raises:
      InputError: the folder already exists.
    """
    folder = pathlib.Path(folder)
    if folder.exists():
        raise InputError(
            "the folder for a day already exists",
            where=folder,
            expected="a new folder",
            was=sorted(path.name for path in folder.iterdir())[:5] if folder.is_dir() else "a file",
            remedy="choose another folder, or remove this one",
        )
    meta = _meta_of(day)
    tables = (("events", COLUMNS, day.events), ("start", ORDER_COLUMNS, day.start))
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Write next to the target and rename at the end, so that an interrupted run never leaves an incomplete day.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as made:
        partial = pathlib.Path(made) / folder.name
        partial.mkdir()
        for name, columns, values in (*tables, ("corrections", CORRECTION_COLUMNS, day.corrections)):
            _write(partial / f"{name}.parquet", {column: getattr(values, column) for column in columns}, meta)
        partial.rename(folder)
    return folder


def _meta_of(day: MarketDay) -> bytes:
    """Return the parts of a day that the tables do not hold, as JSON."""
    start = day.start
    book = {"time_ns": start.time_ns, "window": start.window, "pooled": start.pooled}
    book |= {"last_best": start.last_best.tolist(), "seen": start.seen.tolist()}
    meta = {"format": FORMAT, "instrument": day.instrument.to_dict(), "report": day.report, "start": book}
    return json.dumps(meta).encode()


def _write(path: pathlib.Path, columns: Mapping[str, np.ndarray], meta: bytes) -> None:
    """Write columns row group by row group."""
    schema = schema_of({name: values.dtype for name, values in columns.items()}).with_metadata({META: meta})
    rows = len(next(iter(columns.values())))
    with parquet.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for first in range(0, rows, ROW_GROUP):
            part = [pa.array(np.ascontiguousarray(values[first : first + ROW_GROUP])) for values in columns.values()]
            writer.write_table(pa.Table.from_arrays(part, schema=schema))
