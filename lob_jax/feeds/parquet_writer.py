"""Any day as Parquet: events, starting book and corrections as tables, from which the same day comes back."""

import json
import pathlib
import shutil

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import COLUMNS, Events
from lob_jax.feeds.feed import MarketDay
from lob_jax.feeds.store import CORRECTION_COLUMNS

FORMAT = 1
ROW_GROUP = 1 << 18  # rows; the memory that writing takes
_META = b"lob_jax"
_START_COLUMNS = {"side": np.int8, "price": np.int64, "size": np.int64, "order_id": np.uint64}
_TABLES = ("events", "start", "corrections")


def write_parquet(folder: pathlib.Path, day: MarketDay) -> pathlib.Path:
    """Write events.parquet, start.parquet and corrections.parquet into a new folder; return the folder.

    The instrument, the report and the rest of the starting book are JSON in the metadata of events.parquet, under the
    key "lob_jax".

    Raises:
      InputError: the folder is there already.
    """
    folder = pathlib.Path(folder)
    if folder.exists():
        raise InputError(
            "the folder for a day is there already",
            where=folder,
            expected="a new folder",
            was=sorted(path.name for path in folder.iterdir())[:5] if folder.is_dir() else "a file",
            remedy="name another one, or remove it",
        )
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    start = day.start
    meta = {
        "format": FORMAT,
        "instrument": day.instrument.to_dict(),
        "report": day.report,
        "start": {
            "time_ns": start.time_ns,
            "last_best": start.last_best.tolist(),
            "window": start.window,
            "pooled": start.pooled,
        },
    }
    _write(partial / "events.parquet", {name: getattr(day.events, name) for name in COLUMNS}, meta)
    _write(partial / "start.parquet", {name: getattr(start, name) for name in _START_COLUMNS}, {})
    _write(partial / "corrections.parquet", {name: getattr(day.corrections, name) for name in CORRECTION_COLUMNS}, {})
    partial.rename(folder)
    return folder


def read_parquet(folder: pathlib.Path) -> MarketDay:
    """Return a day that `write_parquet` has written.

    Raises:
      InputError: a file is missing, or is not of this format.
    """
    folder = pathlib.Path(folder)
    tables = {name: _read(folder / f"{name}.parquet") for name in _TABLES}
    meta = json.loads(tables["events"].schema.metadata.get(_META, b"{}")) if tables["events"].schema.metadata else {}
    if meta.get("format") != FORMAT:
        raise InputError(
            "a Parquet file of another kind",
            where=folder / "events.parquet",
            expected=f"one that write_parquet wrote, format {FORMAT}",
            was=f"format {meta.get('format')}",
            remedy="convert the day again",
        )
    start = meta["start"]
    return MarketDay(
        instrument=Instrument(**meta["instrument"]),
        start=BookSnapshot(
            time_ns=start["time_ns"],
            last_best=np.array(start["last_best"], np.int64),
            window=start["window"],
            pooled=start["pooled"],
            **_arrays(tables["start"], _START_COLUMNS),
        ),
        events=Events(**_arrays(tables["events"], COLUMNS)),
        corrections=Corrections(**_arrays(tables["corrections"], CORRECTION_COLUMNS)),
        report=meta["report"],
    )


def _write(path: pathlib.Path, columns: dict[str, np.ndarray], meta: dict) -> None:
    """Write columns row group by row group."""
    schema = pa.schema([(name, pa.from_numpy_dtype(values.dtype)) for name, values in columns.items()])
    if meta:
        schema = schema.with_metadata({_META: json.dumps(meta)})
    rows = len(next(iter(columns.values())))
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for first in range(0, max(rows, 1), ROW_GROUP):
            part = [pa.array(np.ascontiguousarray(values[first : first + ROW_GROUP])) for values in columns.values()]
            writer.write_table(pa.Table.from_arrays(part, schema=schema))


def _read(path: pathlib.Path) -> pa.Table:
    try:
        return parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            "a Parquet file that cannot be read",
            where=path,
            expected="one that write_parquet wrote",
            was=error,
            remedy="name the folder of a converted day",
        ) from error


def _arrays(table: pa.Table, columns: dict[str, np.dtype]) -> dict[str, np.ndarray]:
    return {name: np.asarray(table[name].to_numpy(), dtype) for name, dtype in columns.items()}
