"""Tardis files: the schema, instrument and day of a file, and the trades that belong to a depth file."""

import dataclasses
import datetime
import pathlib
import re

from lob_jax.errors import InputError
from lob_jax.feeds.reading.csv_lines import BOM, fields_of, unquoted
from lob_jax.feeds.reading.source import COMPRESSIONS, Source, refuse_unreadable

DEPTH_HEADER = ("exchange", "symbol", "timestamp", "local_timestamp", "is_snapshot", "side", "price", "amount")
TRADES_HEADER = ("exchange", "symbol", "timestamp", "local_timestamp", "id", "side", "price", "amount")
DEPTH, TRADES = "incremental_book_L2", "trades"
_SCHEMAS = re.compile(r"book_snapshot_\d+|quotes|derivative_ticker|liquidations|options_chain|book_ticker")
_PEEKED_BYTES = 1 << 16
_US_PER_DAY = 86_400 * 10**6


@dataclasses.dataclass(frozen=True)
class Peek:
    """The content of the first two lines of a Tardis file.

    Attributes:
      schema: the data type, such as "trades".
      exchange: that of the first row; empty if there is none.
      symbol: that of the first row.
      trading_day: ISO date, UTC, of the first row.
    """

    schema: str
    exchange: str
    symbol: str
    trading_day: str


def peek(path: pathlib.Path) -> Peek | None:
    """Return schema, instrument and day of a file, None if it is not a Tardis file.

    Raises:
      InputError: the file cannot be read.
    """
    lines = unquoted(Source(path).first_bytes(_PEEKED_BYTES).removeprefix(BOM)).split(b"\n", 2)
    header = fields_of(lines[0])
    if not {"exchange", "symbol"} <= set(header):
        return None
    known = {DEPTH: DEPTH_HEADER, TRADES: TRADES_HEADER}
    schema = next((name for name, columns in known.items() if set(columns) <= set(header)), "")
    named = _SCHEMAS.search(path.name)
    if not schema or (schema == TRADES and named):
        schema = named[0] if named else "an unknown schema, " + ",".join(header)[:60]
    row = dict(zip(header, fields_of(lines[1]) if len(lines) > 1 else (), strict=False))
    time = row.get("timestamp", "")
    if "local_timestamp" not in row or not (time.isascii() and time.isdigit()) or int(time) >= 100_000 * _US_PER_DAY:
        return Peek(schema, "", "", "")
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=int(time) // _US_PER_DAY)
    return Peek(schema, row["exchange"], row["symbol"], day.isoformat())


def depth_files(path: pathlib.Path) -> dict[pathlib.Path, Peek]:
    """Return the depth files at a path, a file or a folder, with their instrument and day.

    Raises:
      InputError: there is no depth file (the schemas found are named), or two have the same instrument and day.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    else:
        files = [path]
    peeks = {file: peek(file) for file in files}
    found = {file: seen for file, seen in peeks.items() if seen is not None and seen.schema == DEPTH}
    if not found:
        refuse_unreadable(files, expected=",".join(DEPTH_HEADER))
        schemas = sorted({seen.schema for seen in peeks.values() if seen is not None})
        raise InputError(
            "no Tardis file of order-book changes",
            where=path,
            expected=f"a CSV file of the schema {DEPTH}, plain or compressed",
            was=", ".join(schemas) or [file.name for file in files[:5]],
            remedy=f"pass the {DEPTH} file of the day; trades in the same folder are found by its name",
        )
    keys: dict[Peek, pathlib.Path] = {}
    for file, seen in found.items():
        if seen.symbol and seen in keys:
            raise InputError(
                "the folder contains the same instrument and day twice",
                where=file,
                expected="one depth file per exchange, symbol and day",
                was=f"{keys[seen].name} and {file.name}",
                remedy="keep one of them in the folder, or pass a single file",
            )
        keys[seen] = file
    return dict(sorted(found.items(), key=lambda item: (item[1].trading_day, item[1].symbol, item[1].exchange)))


def find_trades(depth: pathlib.Path) -> pathlib.Path | None:
    """Return the trades that belong to a depth file, found by its name or else by content, None if there are none.

    Raises:
      InputError: several files match.
    """
    if DEPTH in depth.name:
        stem = Source(depth).name.replace(DEPTH, TRADES)
        named = [depth.with_name(stem + suffix) for suffix in ("", *COMPRESSIONS)]
        existing = [path for path in named if path.is_file()]
        if existing:
            return existing[0]
    seen = peek(depth)
    assert seen is not None  # as of every file that `depth_files` finds
    wanted = dataclasses.replace(seen, schema=TRADES)
    others = sorted(path for path in depth.parent.iterdir() if TRADES in path.name and path.is_file())
    matching = [path for path in others if wanted.symbol and peek(path) == wanted]
    if len(matching) > 1:
        raise InputError(
            "several files of trades could belong to the depth",
            where=depth,
            expected="one of the same exchange, symbol and day",
            was=[path.name for path in matching],
            remedy="pass one of them, TardisFeed(trades=...), or rename it to match the depth file",
        )
    return matching[0] if matching else None
