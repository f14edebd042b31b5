"""Which format lies at a path, and its feed: the one door to every file."""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from lob_jax.errors import InputError
from lob_jax.feeds.binance import BinanceFeed
from lob_jax.feeds.databento import DatabentoFeed
from lob_jax.feeds.feed import STRICT, Feed, MarketDay, Reading
from lob_jax.feeds.itch import ItchFeed
from lob_jax.feeds.lobster import LobsterFeed
from lob_jax.feeds.lobster_files import holds_messages, parse_name
from lob_jax.feeds.scale import steps_of
from lob_jax.feeds.source import Source, refuse_empty
from lob_jax.feeds.tardis import TardisFeed

FEEDS: dict[str, Callable[..., Feed]] = {
    "lobster": LobsterFeed,
    "tardis": TardisFeed,
    "binance": BinanceFeed,
    "databento": DatabentoFeed,
    "itch": ItchFeed,
}
QUANTA = {"lobster": 4, "itch": 4}  # feeds whose prices are counted in a fixed decimal place, by that place
_SNIFFED_BYTES, _SHOWN_BYTES = 4096, 80
_CONTENT = {  # by what the decompressed bytes begin with
    "databento": re.compile(rb"DBN[\x01-\x7f]"),
    "itch": re.compile(rb"\x00\x0cS|\x00\x27R"),
    "tardis": re.compile(rb"(?:\xef\xbb\xbf)?(?=[^\n]*exchange)(?=[^\n]*symbol)(?=[^\n]*local_timestamp)"),
    "binance": re.compile(rb"\d{13,19} \{"),
    "lobster": re.compile(rb"\d{1,5}(\.\d+)?,[1-7],-?\d+,\d+,-?\d+,-?1\r?\n"),
}


def make_feed(name: str, *, symbols: tuple[str, ...] = (), tick: str | None = None, lot: str | None = None) -> Feed:
    """Return the feed of a name, with what a user knows of the instruments.

    Args:
      name: one of `FEEDS`.
      symbols: those wanted of files that hold several; none for all.
      tick: the smallest price step, such as "0.01"; None leaves it to the feed.
      lot: the unit of size; None leaves it to the feed.

    Raises:
      InputError: a step that the feed cannot have.
    """
    settings: dict[str, Any] = {"tick": tick, "lot": lot, "symbols": symbols}
    wanted = {key: value for key, value in settings.items() if value}
    known = {field.name for field in dataclasses.fields(FEEDS[name])}
    unknown = sorted(set(wanted) - known - {"symbols"})
    if unknown:
        raise InputError(
            f"a setting that the {name} feed does not have",
            where=f"config.data.{unknown[0]}",
            expected=sorted(known & set(settings)),
            was={key: wanted[key] for key in unknown},
            remedy="leave it out: the files of this feed say what it is",
        )
    if tick is not None and name in QUANTA:
        wanted["tick"] = steps_of(tick, None, price_decimals=QUANTA[name], size_decimals=0).price
    return FEEDS[name](**{key: value for key, value in wanted.items() if key in known})


def load_incremental_data(
    path: str | pathlib.Path, *, symbol: str = "", feed: str = "auto", reading: Reading = STRICT, **settings: Any
) -> MarketDay:
    """Read the one day of one instrument that lies at a path, whatever its format.

    Args:
      path: a file, or a folder with one day's files.
      symbol: the instrument, where there are several.
      feed: one of `FEEDS`; "auto" looks at the files.
      reading: what to do with bad rows, where to keep the events.
      settings: of the feed, such as `tick`.

    Raises:
      InputError: no known format, several days, or whatever the feed refuses.
    """
    path = pathlib.Path(path)
    reader = FEEDS[detect_format(path) if feed == "auto" else feed](**settings)
    days = [day for day in reader.days(path) if symbol in ("", day.symbol)]
    if len(days) != 1:
        raise InputError(
            "no such day" if not days else "more than one day lies at the path",
            where=path,
            expected="one day of one instrument" + (f", {symbol}" if symbol else ""),
            was=[f"{day.symbol} {day.trading_day}" for day in days[:8] or reader.days(path)[:8]],
            remedy="name one file, and the symbol if it holds several; or use the feed's days() and read()",
        )
    return reader.read(days[0], reading)


def detect_format(path: pathlib.Path) -> str:
    """Return the name of the feed whose format a file has, or the first readable file of a folder.

    Raises:
      InputError: nothing there, or nothing that a feed reads; says what the first file begins with, or that it is
        damaged, empty, or not what its suffix says.
    """
    files, unread = _files(path), None
    for file in files:
        try:
            found = _format_of(file)
        except InputError as error:
            found, unread = None, unread or error
        if found is not None:
            return found
    if unread is not None:
        raise unread
    refuse_empty(files, expected=f"one of {list(FEEDS)}")
    raise InputError(
        "a format that no feed reads",
        where=path,
        expected=f"one of {list(FEEDS)}",
        was=Source(files[0]).first_bytes(_SHOWN_BYTES) if files else "nothing at this path",
        remedy="check the path, or convert the file to one of these formats",
    )


def _files(path: pathlib.Path) -> Sequence[pathlib.Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    return [path] if path.exists() else []


def _format_of(file: pathlib.Path) -> str | None:
    if parse_name(file.name) is not None or (file.suffix == ".zip" and holds_messages(file)):
        return "lobster"
    begin = Source(file).first_bytes(_SNIFFED_BYTES)
    return next((name for name, pattern in _CONTENT.items() if pattern.match(begin)), None)
