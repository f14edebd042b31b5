"""Read the metadata of DBN files."""

import dataclasses
import datetime
import itertools
from collections.abc import Iterator

import databento_dbn

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.feeds.reading.source import Source, empty_file

_PREFIX = 8  # bytes: "DBN", the version, and the length of the metadata that follow
_MOST_METADATA = 1 << 28
EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
_REMEDY = "fetch the file again, or request the MBO schema with symbols mapped to instrument ids"


@dataclasses.dataclass(frozen=True)
class Name:
    """The symbol of an instrument id during some days.

    Attributes:
      number: the instrument id.
      symbol: its symbol.
      first: first UTC day, counted from 1970-01-01.
      stop: UTC day after the last one.
    """

    number: int
    symbol: str
    first: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Header:
    """The metadata of an MBO file.

    Attributes:
      dataset: such as "GLBX.MDP3".
      day: UTC day on which the data begin, counted from 1970-01-01.
      one_day: whether the data end on the same day; False if the metadata do not give the end.
      names: the symbols of instrument ids, by day.
      send_times: whether each record ends with a time of sending, as in some live captures.
    """

    dataset: str
    day: int
    one_day: bool
    names: tuple[Name, ...]
    send_times: bool

    @property
    def symbols(self) -> dict[int, str]:
        """Return the symbol of each instrument id, on any day."""
        return {name.number: name.symbol for name in self.names}

    def symbols_on(self, day: int) -> dict[int, str]:
        """Return the symbol of each instrument id on a day."""
        return {name.number: name.symbol for name in self.names if name.first <= day < name.stop}


def date_of(day: int) -> str:
    """Return the ISO date of a day counted from 1970-01-01."""
    return datetime.date.fromordinal(EPOCH_ORDINAL + day).isoformat()


def read_header(source: Source, blocks: Iterator[bytes]) -> tuple[Header, bytes]:
    """Return a file's metadata, and the bytes that were read after them.

    Raises:
      InputError: the file is not DBN, its metadata cannot be decoded, or its schema is not MBO.
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


def other_schema(source: Source, schema: str) -> InputError:
    """Return the error for a file without individual orders."""
    return InputError(
        f"a file of the schema {schema}, which does not contain orders",
        where=source,
        expected="the schema mbo",
        was=schema,
        remedy="request the MBO schema; other schemas contain levels or trades",
    )


def _no_metadata(source: Source, *, expected: str, was: object) -> InputError:
    return InputError(
        "a file without the metadata of a DBN file", where=source, expected=expected, was=was, remedy=_REMEDY
    )


def _header(source: Source, metadata: databento_dbn.Metadata) -> Header:
    schema = "mixed" if metadata.schema is None else str(metadata.schema)
    if schema != "mbo":
        raise other_schema(source, schema)
    day = metadata.start // NS_PER_DAY
    if not 0 <= day <= datetime.date.max.toordinal() - EPOCH_ORDINAL:
        raise _no_metadata(source, expected="a time at which the data begin", was=metadata.start)
    one_day = metadata.end is not None and (metadata.end - 1) // NS_PER_DAY <= day
    header = Header(metadata.dataset, day, one_day, _names(source, metadata), metadata.ts_out)
    _check_names(source, header)
    return header


def _names(source: Source, metadata: databento_dbn.Metadata) -> tuple[Name, ...]:
    names_are_ids = str(metadata.stype_in) == "instrument_id"
    names = []
    for name, intervals in metadata.mappings.items():
        for interval in intervals:
            mapped = interval["symbol"]
            number, symbol = (name, mapped) if names_are_ids else (mapped, name)
            if not mapped:
                continue
            if not (number.isascii() and number.isdigit()) or not symbol:
                raise _no_metadata(source, expected="symbols mapped to instrument ids", was=f"{name}: {mapped}")
            first, stop = (interval[key].toordinal() - EPOCH_ORDINAL for key in ("start_date", "end_date"))
            names.append(Name(int(number), symbol, first, stop))
    return tuple(names)


def _check_names(source: Source, header: Header) -> None:
    """Refuse a file without symbols, or in which a symbol or an id is ambiguous on one day."""
    if not header.names or _ambiguous(header, "number", "symbol") or _ambiguous(header, "symbol", "number"):
        raise InputError(
            "a DBN file that does not map each symbol to one instrument",
            where=source,
            expected="mappings of symbols to one instrument id each",
            was=[f"{name.symbol}: {name.number}" for name in header.names[:8]],
            remedy="request one file per day, with the output symbology instrument_id",
        )


def _ambiguous(header: Header, one: str, other: str) -> bool:
    """Return whether a name maps to two others on the same day; in a file of one day, the names' days do not matter."""
    names = sorted(header.names, key=lambda name: (getattr(name, one), name.first))
    return any(
        getattr(name, one) == getattr(then, one)
        and getattr(name, other) != getattr(then, other)
        and (header.one_day or then.first < name.stop)
        for name, then in itertools.pairwise(names)
    )
