"""Detect the format of files, and read them with its feed."""

import difflib
import inspect
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError
from lob_jax.feeds.feed import STRICT, DaySource, Feed, Reading
from lob_jax.feeds.format import AUTO, FEEDS, SYNTHETIC
from lob_jax.feeds.reading.known_formats import Known
from lob_jax.feeds.reading.recognise import SNIFFED_BYTES, not_read, plain_header, recognise
from lob_jax.feeds.reading.scale import steps_of
from lob_jax.feeds.reading.source import COMPRESSIONS, Source, refuse_unreadable
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.feeds.table.converted import EVENTS, is_ours
from lob_jax.feeds.table.feed import TableFeed
from lob_jax.feeds.table.files import is_table

_OF_CONFIG = ("tick", "lot", "columns", "time_zone", "order_book")  # settings that a configuration has
_SHOWN = 80  # bytes of a file shown in an error
_REMEDY = (
    "check the path, or convert the file to one of these formats; to read a table whose columns have other names, pass "
    "feed=table and columns=time_ns=...,kind=... (--config.data.columns)"
)


def make_feed(
    name: str, *, symbols: tuple[str, ...] = (), tick: str | None = None, lot: str | None = None, **settings: Any
) -> Feed:
    """Construct a feed by name, with a user's settings.

    Args:
      name: one of `format.FEEDS`, or "synthetic".
      symbols: the symbols to read from files with several; empty for all.
      tick: the smallest price step, such as "0.01"; None leaves it to the feed.
      lot: the unit of size; None leaves it to the feed.
      settings: further settings of the feed, such as `trading_day` or `columns`; None and "" leave them to the feed.

    Raises:
      InputError: there is no such feed, it does not have such a setting, or the tick or lot is invalid.
    """
    known = settings_of(name)  # before the values: an unknown feed is the first error to report
    given = {"tick": tick and str(tick), "lot": lot and str(lot), **settings}
    wanted = {key: value for key, value in given.items() if value is not None and value != ""}
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        meant = difflib.get_close_matches(unknown[0], known, n=1)
        raise InputError(
            f"a setting that the {name} feed does not have",
            where=f"config.data.{unknown[0]}" if unknown[0] in _OF_CONFIG else unknown[0],
            expected=known,
            was={key: wanted[key] for key in unknown},
            remedy=f"did you mean {meant[0]}?" if meant else "omit it: the files of this feed determine it",
        )
    decimals = None if name == SYNTHETIC else FEEDS[name].price_decimals
    if tick is not None and decimals is not None:
        wanted["tick"] = steps_of(str(tick), None, price_decimals=decimals, size_decimals=0).price
    if symbols and "symbols" in known:
        wanted["symbols"] = symbols
    return _maker_of(name)(**wanted)


def _maker_of(name: str) -> Callable[..., Feed]:
    if name == SYNTHETIC:
        return SyntheticFeed
    if name not in FEEDS:
        raise FEEDS.unknown(name, where="feed", also=(SYNTHETIC, AUTO))
    return FEEDS[name].feed


def settings_of(name: str) -> list[str]:
    """Return the names of the settings of a feed.

    Raises:
      InputError: there is no such feed.
    """
    return list(inspect.signature(_maker_of(name)).parameters)


def load_incremental_data(
    path: Any = None, *, symbol: str = "", feed: str = "auto", reading: Reading = STRICT, **settings: Any
) -> MarketDay:
    """Read the only day at a path, in any format.

    Args:
      path: a file, or a folder with one day's files; or a table in memory (a pandas or polars DataFrame, or an Arrow
        table, with the columns listed in `feeds.table.names`); or None for a simulated day.
      symbol: the instrument, if there are several.
      feed: one of `format.FEEDS`, or "synthetic"; "auto" detects the format of the files, or simulates without a path.
      reading: the treatment of bad rows, and where to keep the events.
      settings: settings of the feed, such as tick="0.01", or `events` and `seed` of a simulated day.

    Raises:
      InputError: the format is unknown, there are several days, the feed does not have a setting, or it refuses the
        data.
    """
    symbols = (symbol,) if symbol else ()
    if is_table(path):
        _refuse_feed(feed, (AUTO, "table"), path=f"a {type(path).__name__} in memory")
        tables = make_feed("table", symbols=symbols, **settings)
        assert isinstance(tables, TableFeed)
        return tables.read_table(path, reading)
    if path is None:
        _refuse_feed(feed, (AUTO, SYNTHETIC), path="no path")
        simulated = make_feed(SYNTHETIC, symbols=symbols, **settings)
        assert isinstance(simulated, SyntheticFeed)
        return _read_only_day(simulated, simulated.days(), None, symbol, reading)
    if not isinstance(path, str | os.PathLike):
        raise InputError(
            "neither a path nor a table",
            where="load_incremental_data",
            expected="a path, a pandas or polars DataFrame, or an Arrow table",
            was=type(path).__name__,
            remedy="collect a LazyFrame, or convert the object to one of these",
        )
    path = pathlib.Path(path).expanduser()
    _refuse_feed(feed, (AUTO, *FEEDS), path=path)
    made = make_feed(format_named(path, feed), symbols=symbols, **settings)
    return _read_only_day(made, made.days(path), path, symbol, reading)


def _refuse_feed(feed: str, fitting: Sequence[str], *, path: object) -> None:
    """Check that the named feed can read the given data."""
    if feed == AUTO:
        return
    _maker_of(feed)  # refuses a name that no feed has
    if feed in fitting:
        return
    raise InputError(
        "a feed that cannot read the given data",
        where=path,
        expected=" or ".join(fitting),
        was=feed,
        remedy="omit the path to simulate a day" if feed == SYNTHETIC else "pass data of this feed, or omit the feed",
    )


def _read_only_day(
    feed: Feed, listed: Sequence[DaySource], path: pathlib.Path | None, symbol: str, reading: Reading
) -> MarketDay:
    days = [day for day in listed if symbol in ("", day.symbol)]
    if len(days) != 1:
        raise InputError(
            "no such day" if not days else "more than one day at the path",
            where=path,
            expected="one day of one instrument" + (f", {symbol}" if symbol else ""),
            was=[f"{day.symbol} {day.trading_day}" for day in days[:8] or listed[:8]],
            remedy="pass one file, and the symbol if it contains several; or use the feed's days() and read()",
        )
    return feed.read(days[0], reading)


def format_named(path: pathlib.Path, feed: str) -> str:
    """Return the name of the feed for a path: the given one, or for "auto" the one that `detect_format` finds.

    Raises:
      InputError: as `detect_format`; or the path is a file of a known format that no feed reads.
    """
    if feed == AUTO:
        return detect_format(path)
    known = _format_of(path) if path.is_file() else None
    if isinstance(known, Known):
        raise not_read(path, known.name, _beginning(path), known.remedy)
    return feed


def detect_format(path: pathlib.Path) -> str:
    """Return the name of the feed for a file, or for all readable files of a folder.

    Raises:
      InputError: there is no file that a feed reads, or there are files of several formats; names the formats, or the
        fault of the first file, which may be damaged, empty, or have a suffix that does not match its content.
    """
    formats, damaged = {}, []
    for file in _files(path):
        try:
            formats[file] = _format_of(file)
        except InputError as error:
            damaged.append(error)
    feeds = {name for name in formats.values() if isinstance(name, str)}
    if not feeds:
        raise damaged[0] if damaged else _unreadable(path, formats)
    strange = [known for known in formats.values() if isinstance(known, Known) and not {"*", *feeds} & {*known.beside}]
    if len(feeds) > 1 or strange:
        raise InputError(
            "files of several formats in one folder",
            where=path,
            expected="files that one feed reads",
            was=_listed(formats),
            remedy="choose the feed: --config.data.feed=" + " or ".join(sorted(feeds)) + ", or move the others to a "
            "separate folder",
        )
    return feeds.pop()


def _listed(formats: dict[pathlib.Path, str | Known | None]) -> str:
    """Return the files by format, as text."""
    named: dict[str, list[str]] = {}
    for file, found in formats.items():
        if found is not None:
            named.setdefault(found.name if isinstance(found, Known) else found, []).append(file.name)
    texts = [f"{name}: {', '.join(files[:3])}{' ...' if len(files) > 3 else ''}" for name, files in named.items()]
    return "; ".join(texts)


def _unreadable(path: pathlib.Path, formats: dict[pathlib.Path, str | Known | None]) -> InputError:
    """Return the error for a path without readable files, about the first file of a known format, or the first."""
    for file, found in formats.items():
        if isinstance(found, Known):
            return not_read(file, found.name, _beginning(file), found.remedy)
    refuse_unreadable(list(formats), expected=f"one of {list(FEEDS)}")
    begin = _beginning(next(iter(formats))) if formats else b""
    was = repr(begin[:_SHOWN]) if formats else "nothing at this path"
    return not_read(path, was, b"", _REMEDY)


def _files(path: pathlib.Path) -> Sequence[pathlib.Path]:
    """Return the files at a path; a day as our own Parquet is represented by its events file."""
    if path.is_dir():
        inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        return [entry for entry in inside if entry.is_file()] + [
            entry / EVENTS for entry in inside if entry.is_dir() and is_ours(entry / EVENTS)
        ]
    return [path] if path.exists() else []


def _format_of(file: pathlib.Path) -> str | Known | None:
    """Return the feed for a file, or a known format that no feed reads; None if the file is unknown."""
    formats = dict(FEEDS.items())
    by_name = [name for name, format in formats.items() if format.named is not None and format.named(file)]
    if by_name:
        return _only_feed(file, by_name)
    begin = _beginning(file)
    known = recognise(begin)
    if known is not None:
        return known
    texts = (begin, plain_header(begin))
    by_content = [name for name, format in formats.items() if any(format.begins.match(text) for text in texts)]
    return _only_feed(file, by_content) if by_content else None


def _only_feed(file: pathlib.Path, names: list[str]) -> str:
    if len(names) > 1:
        raise InputError(
            "a file that several feeds recognise",
            where=file,
            expected="a file of one format",
            was=" and ".join(names),
            remedy=f"choose the feed: --config.data.feed={names[0]}",
        )
    return names[0]


def _beginning(file: pathlib.Path) -> bytes:
    """Return the first bytes of a file, decompressed according to its suffix.

    Without such a suffix, the compressed bytes of a known format are returned as they are.

    Raises:
      InputError: the file is damaged from its first byte on, or its suffix does not match its content.
    """
    try:
        return Source(file).first_bytes(SNIFFED_BYTES)
    except InputError:
        with file.open("rb") as raw:
            begin = raw.read(SNIFFED_BYTES)
        if file.suffix in COMPRESSIONS or recognise(begin) is None:
            raise
        return begin
