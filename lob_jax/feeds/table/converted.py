"""Read back days that `write_parquet` has written: tables of events, starting book and corrections."""

import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import CORRECTION_COLUMNS, ORDER_COLUMNS, BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import COLUMNS, Events
from lob_jax.feeds.reading.store import EventStore

FORMAT = 2  # incremented whenever the tables or their columns change
TABLES = ("events", "start", "corrections")
EVENTS = "events.parquet"  # the file that represents a day
DAMAGE = (OSError, pa.ArrowException, UnicodeDecodeError)  # raised by Arrow for a damaged file
META = b"lob_jax"  # the metadata key of everything that is not in the tables


def is_ours(file: pathlib.Path) -> bool:
    """Return whether a file is a table of `write_parquet`, even a damaged one if one of its siblings is readable."""
    if file.suffix != ".parquet" or file.stem not in TABLES or not file.is_file():
        return False
    return any(_is_described(file.with_name(f"{name}.parquet")) for name in TABLES)


def _is_described(file: pathlib.Path) -> bool:
    try:
        with parquet.ParquetFile(file) as opened:
            return META in (opened.schema_arrow.metadata or {})
    except DAMAGE:
        return False


def read_instrument(file: pathlib.Path) -> Instrument:
    """Return the instrument of a day, from one of its tables.

    Raises:
      InputError: the file is missing, damaged, or not of this format.
    """
    return _described(file, _meta_in(file))[0]


def read_parquet(
    folder: pathlib.Path,
    *,
    store: pathlib.Path | None = None,
    on_bytes: Callable[[int, int], None] | None = None,
) -> MarketDay:
    """Read a day that `write_parquet` has written.

    Args:
      folder: the folder with its tables.
      store: folder for the memory-mapped events, see `Reading.store`; None keeps them in memory.
      on_bytes: called with (bytes of events.parquet read so far, total bytes).

    Raises:
      InputError: a file is missing, damaged, or not of this format.
    """
    folder = pathlib.Path(folder)
    kept = EventStore(store)
    meta = _common_meta(folder)
    instrument, rest = _described(folder / EVENTS, meta)
    for columns in _groups(folder / "corrections.parquet", CORRECTION_COLUMNS):
        kept.append(Events.from_columns(), Corrections(**columns))  # first: counted from event 0
    for columns in _groups(folder / EVENTS, COLUMNS, on_bytes):
        kept.append(Events(**columns))
    orders = list(_groups(folder / "start.parquet", ORDER_COLUMNS))
    start: dict[str, Any] = {
        name: np.concatenate([np.zeros(0, dtype), *(part[name] for part in orders)])
        for name, dtype in ORDER_COLUMNS.items()
    }
    return MarketDay(instrument, BookSnapshot(**start, **rest), *kept.finish(), meta["report"])


def _described(path: pathlib.Path, meta: Mapping[str, Any]) -> tuple[Instrument, dict[str, Any]]:
    """Return the instrument of a day, and the fields of its starting book other than the orders."""
    try:
        instrument = Instrument(**meta["instrument"])
        last = np.array(meta["start"]["last_best"], np.int64), np.array(meta["start"]["seen"], bool)
        book = meta["start"] | dict(zip(("last_best", "seen"), last, strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"metadata without {error}") from error
    return instrument, book


def _common_meta(folder: pathlib.Path) -> dict[str, Any]:
    """Return the metadata of a day, which all its tables share if they belong together."""
    metas = {name: _meta_in(folder / f"{name}.parquet") for name in TABLES}
    for name, meta in metas.items():
        if meta != metas["events"]:
            raise InputError(
                "tables of different days, or a damaged one, in one folder",
                where=folder,
                expected="events, start and corrections that were written together",
                was=f"different metadata in {name}.parquet and {EVENTS}",
                remedy="convert the day again",
            )
    return metas["events"]


def _meta_in(path: pathlib.Path) -> dict[str, Any]:
    """Return the metadata of a day from one of its tables."""
    try:
        with parquet.ParquetFile(path) as file:
            text = (file.schema_arrow.metadata or {}).get(META)
    except DAMAGE as error:
        raise _damaged(path, error) from error
    try:
        meta = json.loads(text) if text else {}
    except ValueError as error:
        raise _damaged(path, error) from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(
            "a Parquet file of another kind",
            where=path,
            expected=f"a file written by write_parquet, format {FORMAT}",
            was=f"format {meta.get('format') if isinstance(meta, dict) else None}",
            remedy="convert the day again",
        )
    return meta


def schema_of(columns: Mapping[str, np.dtype]) -> pa.Schema:
    return pa.schema([(name, pa.from_numpy_dtype(dtype)) for name, dtype in columns.items()])


def _groups(
    path: pathlib.Path, columns: Mapping[str, np.dtype], on_bytes: Callable[[int, int], None] | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the columns of a table row group by row group."""
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(schema_of(columns)):
                raise _damaged(path, f"columns {', '.join(map(str, file.schema_arrow))}")
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                yield {name: table[name].to_numpy() for name in columns}
                if on_bytes is not None:
                    size = path.stat().st_size
                    on_bytes(size * (group + 1) // file.num_row_groups, size)
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: pathlib.Path, was: object) -> InputError:
    return InputError(
        "a Parquet file that cannot be read",
        where=path,
        expected="a file written by write_parquet",
        was=was,
        remedy="pass the folder of a converted day",
    )
