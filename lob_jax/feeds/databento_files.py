"""DBN files: what their metadata say, and which days and symbols lie at a path."""

import dataclasses
import datetime
import pathlib
from collections.abc import Iterator, Mapping

import databento_dbn

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.feeds.feed import DaySource, Reading
from lob_jax.feeds.source import COMPRESSIONS, Source, empty_file

_PREFIX = 8  # bytes: "DBN", the version, the length of the metadata behind them
_MOST_METADATA = 1 << 28
_FIRST_BLOCK = Reading(block_bytes=1 << 16)
_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
_REMEDY = "fetch the file again, or ask for the MBO schema with symbols mapped to instrument ids"


@dataclasses.dataclass(frozen=True)
class Header:
    """What the metadata of an MBO file say.

    Attributes:
      dataset: such as "GLBX.MDP3".
      trading_day: ISO date (UTC) on which the data begin.
      symbols: by instrument id.
      send_times: whether each record ends in a time of sending, as a live capture's may.
    """

    dataset: str
    trading_day: str
    symbols: Mapping[int, str]
    send_times: bool


def read_header(source: Source, blocks: Iterator[bytes]) -> tuple[Header, bytes]:
    """Return a file's metadata, and what was read beyond them.

    Raises:
      InputError: no DBN, metadata that cannot be decoded, or another schema than MBO.
    """
    data, wanted = b"", _PREFIX
    while len(data) < wanted:
        block = next(blocks, b"")
        data += block
        if not data:
            raise empty_file(source, expected="metadata that begin with DBN")
        if data[:3] != b"DBN"[: len(data)] or not block:
            raise _no_metadata(source, expected="metadata that begin with DBN", was=data[:16])
        if len(data) >= _PREFIX:
            wanted = _PREFIX + int.from_bytes(data[4:_PREFIX], "little")
            if wanted > _MOST_METADATA:
                raise _no_metadata(source, expected=f"at most {_MOST_METADATA} bytes of metadata", was=wanted)
    try:
        metadata = databento_dbn.Metadata.decode(data[:wanted])
    except databento_dbn.DBNError as error:
        raise _no_metadata(source, expected="metadata of DBN version 1 to 3", was=error) from error
    return _header(source, metadata), data[wanted:]


def _no_metadata(source: Source, *, expected: str, was: object) -> InputError:
    return InputError(
        "a file without the metadata of a DBN file", where=source, expected=expected, was=was, remedy=_REMEDY
    )


def _header(source: Source, metadata: databento_dbn.Metadata) -> Header:
    schema = "mixed" if metadata.schema is None else str(metadata.schema)
    if schema != "mbo":
        raise InputError(
            f"a DBN file of the schema {schema}, which does not show orders",
            where=source,
            expected="the schema mbo",
            was=schema,
            remedy="ask for the MBO schema; other schemas show levels or trades",
        )
    day = metadata.start // NS_PER_DAY
    if not 0 <= day <= datetime.date.max.toordinal() - _EPOCH_ORDINAL:
        raise _no_metadata(source, expected="a time at which the data begin", was=metadata.start)
    date = datetime.date.fromordinal(_EPOCH_ORDINAL + day)
    return Header(metadata.dataset, date.isoformat(), _symbols(source, metadata), metadata.ts_out)


def _symbols(source: Source, metadata: databento_dbn.Metadata) -> dict[int, str]:
    """Return the symbol of each instrument id; each must have one of its own for all of the file."""
    names_are_ids = str(metadata.stype_in) == "instrument_id"
    symbols: dict[int, str] = {}
    for name, intervals in metadata.mappings.items():
        for mapped in {interval["symbol"] for interval in intervals} - {""}:
            number, symbol = (name, mapped) if names_are_ids else (mapped, name)
            if not (number.isascii() and number.isdigit()) or not symbol or symbols.get(int(number), symbol) != symbol:
                raise _no_metadata(source, expected="symbols mapped to instrument ids", was=f"{name}: {mapped}")
            symbols[int(number)] = symbol
    if not symbols or len(set(symbols.values())) < len(symbols):
        raise InputError(
            "a DBN file that does not lead from each symbol to one instrument",
            where=source,
            expected="mappings of symbols to one instrument id each",
            was=dict(list(symbols.items())[:8]),
            remedy="ask for the data a day a file, with the output symbology instrument_id",
        )
    return symbols


def peek(path: pathlib.Path) -> Header:
    """Return the metadata of a file; errors as `read_header`."""
    source = Source(path)
    return read_header(source, source.blocks(_FIRST_BLOCK))[0]


def list_days(path: pathlib.Path, symbols: tuple[str, ...]) -> list[DaySource]:
    """List the days at a path, a file or a folder, of some symbols, all if none is named, by date and symbol.

    Files of other schemas are refused, but passed over in a folder that holds MBO files too.

    Raises:
      InputError: there is no MBO, or none of these symbols, or one day of a symbol lies there twice.
    """
    days: dict[tuple[str, str], DaySource] = {}
    refused = None
    for file in _files(path):
        try:
            header = peek(file)
        except InputError as error:
            if path.is_file() or "of the schema" not in error.what:
                raise
            refused = error
            continue
        for symbol in header.symbols.values():
            if symbols and symbol not in symbols:
                continue
            day = DaySource(file, symbol, header.trading_day)
            other = days.setdefault((day.trading_day, symbol), day)
            if other is not day:
                raise _twice(day, other)
    if not days and refused is not None:
        raise refused
    if not days:
        raise InputError(
            "no DBN file with such a symbol",
            where=path,
            expected=f"files named .dbn, .dbn.zst or .dbn.gz with {symbols or 'any symbol'}",
            was="none",
            remedy="check the path and the symbols",
        )
    return [days[key] for key in sorted(days)]


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file() and _is_dbn(file.name))


def _is_dbn(name: str) -> bool:
    endings = {".dbn", *(f".dbn{compression}" for compression in COMPRESSIONS)}
    return any(name.endswith(ending) for ending in endings)


def _twice(day: DaySource, other: DaySource) -> InputError:
    return InputError(
        "one day of a symbol lies there twice",
        where=day.path,
        expected="one file a day and symbol",
        was=f"{day.symbol} on {day.trading_day} in {other.path} too",
        remedy="take one of the files away",
    )
