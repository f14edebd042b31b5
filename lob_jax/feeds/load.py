"""Which format lies at a path, and its feed: the one door to every file."""

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

_OF_CONFIG = ("tick", "lot", "columns", "time_zone", "order_book")  # settings that a configuration names
_SHOWN = 80  # bytes of a file, in an error
_REMEDY = (
    "check the path, or convert the file to one of these formats; a table whose columns have other names than ours is "
    "read with feed=table and columns=time_ns=...,kind=... (--config.data.columns)"
)


def make_feed(
    name: str, *, symbols: tuple[str, ...] = (), tick: str | None = None, lot: str | None = None, **settings: Any
) -> Feed:
    """Return the feed of a name, with what a user knows of the instruments.

    Args:
      name: one of `format.FEEDS`, or "synthetic".
      symbols: those wanted of files that hold several; none for all.
      tick: the smallest price step, such as "0.01"; None leaves it to the feed.
      lot: the unit of size; None leaves it to the feed.
      settings: further ones of the feed, such as `trading_day` or `columns`; None and "" leave them to the feed.

    Raises:
      InputError: no such feed, a setting that it does not have, or a step that it cannot have.
    """
    known = settings_of(name)
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
            remedy=f"did you mean {meant[0]}?" if meant else "leave it out: the files of this feed say what it is",
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
    """Return the settings that a feed has.

    Raises:
      InputError: no such feed.
    """
    return list(inspect.signature(_maker_of(name)).parameters)


def load_incremental_data(
    path: Any = None, *, symbol: str = "", feed: str = "auto", reading: Reading = STRICT, **settings: Any
) -> MarketDay:
    """Read the one day of one instrument that lies at a path, whatever its format.

    Args:
      path: a file, or a folder with one day's files; or a table in memory (a DataFrame of pandas or polars, a table
        of Arrow, with the columns that `feeds.table.names` lists); or None for a simulated day.
      symbol: the instrument, where there are several.
      feed: one of `format.FEEDS`, or "synthetic"; "auto" looks at the files, and simulates where there is no path.
      reading: what to do with bad rows, where to keep the events.
      settings: of the feed, such as tick="0.01"; of the simulated day `events` and `seed`.

    Raises:
      InputError: no known format, several days, a setting that the feed does not have, or whatever the feed refuses.
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
            expected="a path, a DataFrame of pandas or polars, or a table of Arrow",
            was=type(path).__name__,
            remedy="collect a LazyFrame; turn other objects into one of these",
        )
    path = pathlib.Path(path).expanduser()
    _refuse_feed(feed, (AUTO, *FEEDS), path=path)
    made = make_feed(format_named(path, feed), symbols=symbols, **settings)
    return _read_only_day(made, made.days(path), path, symbol, reading)


def _refuse_feed(feed: str, fitting: Sequence[str], *, path: object) -> None:
    """Refuse a feed that does not fit to what is to be read."""
    if feed == AUTO:
        return
    _maker_of(feed)  # refuses a name that no feed has
    if feed in fitting:
        return
    raise InputError(
        "a feed that does not fit to what is to be read",
        where=path,
        expected=" or ".join(fitting),
        was=feed,
        remedy="leave the path out to simulate a day" if feed == SYNTHETIC else "name what the feed reads, or no feed",
    )


def _read_only_day(
    feed: Feed, listed: Sequence[DaySource], path: pathlib.Path | None, symbol: str, reading: Reading
) -> MarketDay:
    days = [day for day in listed if symbol in ("", day.symbol)]
    if len(days) != 1:
        raise InputError(
            "no such day" if not days else "more than one day lies at the path",
            where=path,
            expected="one day of one instrument" + (f", {symbol}" if symbol else ""),
            was=[f"{day.symbol} {day.trading_day}" for day in days[:8] or listed[:8]],
            remedy="name one file, and the symbol if it holds several; or use the feed's days() and read()",
        )
    return feed.read(days[0], reading)


def format_named(path: pathlib.Path, feed: str) -> str:
    """Return the name of the feed to read a path with: the one that is named, or what `detect_format` finds.

    Raises:
      InputError: as `detect_format`; or a single file of a known format that no feed reads, whatever feed is named.
    """
    if feed == AUTO:
        return detect_format(path)
    known = _format_of(path) if path.is_file() else None
    if isinstance(known, Known):
        raise not_read(path, known.name, _beginning(path), known.remedy)
    return feed


def detect_format(path: pathlib.Path) -> str:
    """Return the name of the feed whose format a file has, or all the readable files of a folder.

    Raises:
      InputError: nothing there, nothing that a feed reads, or files of several formats; says what they are, or that
        the first is damaged, empty, or not what its suffix says.
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
            remedy="name the feed that is to read its own: --config.data.feed=" + " or ".join(sorted(feeds)) + ", or "
            "move the others to a folder of their own",
        )
    return feeds.pop()


def _listed(formats: dict[pathlib.Path, str | Known | None]) -> str:
    """Say which files have which format."""
    named: dict[str, list[str]] = {}
    for file, found in formats.items():
        if found is not None:
            named.setdefault(found.name if isinstance(found, Known) else found, []).append(file.name)
    texts = [f"{name}: {', '.join(files[:3])}{' ...' if len(files) > 3 else ''}" for name, files in named.items()]
    return "; ".join(texts)


def _unreadable(path: pathlib.Path, formats: dict[pathlib.Path, str | Known | None]) -> InputError:
    """Return the error for a path without a file that a feed reads, by the first known one, or the first."""
    for file, found in formats.items():
        if isinstance(found, Known):
            return not_read(file, found.name, _beginning(file), found.remedy)
    refuse_unreadable(list(formats), expected=f"one of {list(FEEDS)}")
    begin = _beginning(next(iter(formats))) if formats else b""
    was = repr(begin[:_SHOWN]) if formats else "nothing at this path"
    return not_read(path, was, b"", _REMEDY)


def _files(path: pathlib.Path) -> Sequence[pathlib.Path]:
    """Return the files at a path; of a folder of days as our own Parquet their events."""
    if path.is_dir():
        inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        return [entry for entry in inside if entry.is_file()] + [
            entry / EVENTS for entry in inside if entry.is_dir() and is_ours(entry / EVENTS)
        ]
    return [path] if path.exists() else []


def _format_of(file: pathlib.Path) -> str | Known | None:
    """Return the feed that reads a file, or a known format that none reads."""
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
            "a file that several feeds take for theirs",
            where=file,
            expected="a file of one format",
            was=" and ".join(names),
            remedy=f"name the feed: --config.data.feed={names[0]}",
        )
    return names[0]


def _beginning(file: pathlib.Path) -> bytes:
    """Return the first bytes of a file's content; of what is compressed although its name does not say so, as it lies.

    Raises:
      InputError: it is damaged from its first byte on, or not what its suffix says, and no known format either.
    """
    try:
        return Source(file).first_bytes(SNIFFED_BYTES)
    except InputError:
        with file.open("rb") as raw:
            begin = raw.read(SNIFFED_BYTES)
        if file.suffix in COMPRESSIONS or recognise(begin) is None:
            raise
        return begin
