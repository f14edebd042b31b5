"""Tables of order events: CSV, Parquet and Arrow files with named columns, tables in memory, and our own Parquet.

For the content of the columns, see `names`.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.feeds.feed import STRICT, DaySource, Reading, each_once
from lob_jax.feeds.format import Format
from lob_jax.feeds.reading.scale import is_signed, parse_step
from lob_jax.feeds.reading.source import Source
from lob_jax.feeds.table.converted import EVENTS, TABLES, is_ours, read_instrument, read_parquet
from lob_jax.feeds.table.csv_files import Table
from lob_jax.feeds.table.days import list_days
from lob_jax.feeds.table.files import open_table, suits, table_in_memory
from lob_jax.feeds.table.names import find_columns, parse_columns, zone_of
from lob_jax.feeds.table.reader import TableReader
from lob_jax.feeds.table.rows import Layout


@dataclasses.dataclass(frozen=True)
class TableFeed:
    """Reads tables of order events: .csv, .parquet, .arrow and .feather files, plain or compressed, or in memory.

    A folder that `write_parquet` has written, or a folder of such folders, is read back unchanged.

    Attributes:
      symbols: for a table with a column `symbol`, the symbols to list and read, empty for all; for a table without
        one, its symbol.
      columns: the table's names for our columns, such as {"price": "px"} or "price=px,time_ns=ts"; the other columns
        have our names, see `names`.
      time_zone: IANA name of the venue's clock, for the trading day and for times without a zone; None uses that of
        the column of times, or UTC if it has none.
      venue: where the orders rest.
      tick: the smallest price step, such as "0.01"; None infers it from the visible orders.
      lot: the unit of size, such as "0.001"; None infers it from the sizes.
    """

    symbols: tuple[str, ...] = ()
    columns: Mapping[str, str] | str = ""
    time_zone: str | None = None
    venue: str = "unknown"
    tick: str | None = None
    lot: str | None = None

    def __post_init__(self) -> None:
        text = self.columns
        if not isinstance(text, str):
            text = ",".join(f"{ours}={theirs}" for ours, theirs in text.items())
        parse_columns(text, where="TableFeed.columns")
        object.__setattr__(self, "columns", text)  # text is hashable, and the same for both ways to pass it
        if self.time_zone is not None:
            zone_of(self.time_zone, where="TableFeed.time_zone")
        for name in ("tick", "lot"):
            if getattr(self, name) is not None:
                parse_step(getattr(self, name), where=f"TableFeed.{name}")

    def days(self, path: pathlib.Path) -> list[DaySource]:
        """List the symbols and days of the tables at a path, a file or a folder, by date and symbol.

        Raises:
          InputError: there is no table, a table lacks a column, or the same symbol and day occurs twice.
        """
        found = [day for file in _files(pathlib.Path(path)) for day in self._days_of(file)]
        return each_once(
            found,
            expected="one table per symbol and day",
            remedy="move one of the files elsewhere, or pass a single file",
        )

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return the sha256 of every file from which the days are read, by name, and the settings."""
        names = {
            file: f"{file.parent.name}/{file.name}" if is_ours(day.file) else file.name
            for day in days
            for file in _parts(day.file)
        }
        settings = {name: getattr(self, name) for name in ("columns", "time_zone", "venue", "tick", "lot")}
        return {**{name: Source(file).sha256() for file, name in names.items()}, **settings}

    def read(self, day: DaySource | pathlib.Path, reading: Reading = STRICT) -> MarketDay:
        """Read one day that `days` lists, or the only day at a path.

        The book starts empty. A CANCEL of all that remains becomes a DELETE and is counted; backward times are flagged.
        Our own Parquet is returned as it was written, with the report of its original reading.

        Raises:
          InputError: the first row that violates the rules in `names`, with its line or number and its column.
        """
        if not isinstance(day, DaySource):
            day = _only(self.days(day), day)
        if is_ours(day.file):
            self._refuse_settings(day.file)
            return read_parquet(day.file.parent, store=reading.store, on_bytes=reading.on_bytes)
        source = Source(day.file)
        return self._read(open_table(source), day, source.name, reading, inputs={day.file.name: source.sha256()})

    def read_table(self, table: Any, reading: Reading = STRICT) -> MarketDay:
        """Read a pandas or polars DataFrame, or an Arrow table, with one day of one symbol.

        Raises:
          InputError: as `read`, or if the table contains several symbols or days.
        """
        opened = table_in_memory(table)
        day = _only(self._days_in(opened, None, "table"), "table")
        return self._read(opened, day, "table", reading, inputs={})

    def _read(self, table: Table, day: DaySource, name: str, reading: Reading, *, inputs: dict[str, str]) -> MarketDay:
        layout = self._layout(table)
        reader = TableReader(table, layout, day, tick=self.tick, lot=self.lot)
        made = reader.read(reading, name=name, inputs=inputs)
        zone, scale = self._zone(table, layout), made.scale
        units = (scale.price_scale, scale.tick, scale.lot_scale)
        instrument = Instrument(day.symbol, self.venue, day.trading_day, zone, *units)
        start_ns = instrument.midnight_ns() if made.start_ns is None else made.start_ns
        start = BookSnapshot.empty(time_ns=start_ns, pooled="order_id" not in layout.columns)
        instrument = dataclasses.replace(instrument, signed=is_signed(start, made.events, Corrections.none()))
        return MarketDay(instrument, start, made.events, Corrections.none(), made.report)

    def _layout(self, table: Table) -> Layout:
        columns = find_columns(table.names, parse_columns(str(self.columns)), where=table.where)
        return Layout(columns, table.where, table.first, self.time_zone)

    def _zone(self, table: Table, layout: Layout) -> str:
        """Return the IANA name of the venue's time zone; a mere offset counts as UTC."""
        zone = table.zone(layout.columns[layout.time]) or ""
        return self.time_zone or (zone if "/" in zone else "UTC")

    def _days_of(self, file: pathlib.Path) -> list[DaySource]:
        if is_ours(file):
            instrument = read_instrument(file)
            return [DaySource(file, instrument.symbol, instrument.trading_day)]
        name = pathlib.PurePath(Source(file).name).stem
        return self._days_in(open_table(Source(file)), file, name)

    def _days_in(self, table: Table, file: pathlib.Path | None, name: str) -> list[DaySource]:
        """List the days in a table; rows that cannot be read are reported by the actual reading."""
        layout = self._layout(table)
        found = list_days(table, layout, zone=self._zone(table, layout))
        if "symbol" not in layout.columns:
            name = self.symbols[0] if len(self.symbols) == 1 else name
            return [DaySource(file, name, day) for _, day in found]
        return [DaySource(file, symbol, day) for symbol, day in found if not self.symbols or symbol in self.symbols]

    def _refuse_settings(self, path: pathlib.Path) -> None:
        """Refuse settings whose values are stored in our own Parquet."""
        given = {name: value for name in ("columns", "time_zone", "tick", "lot") if (value := getattr(self, name))}
        if given:
            raise InputError(
                "a setting that our own Parquet does not need",
                where=path,
                expected="none of columns, time_zone, tick and lot",
                was=given,
                remedy="leave it out: the files contain these settings",
            )


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    """Return the tables at a path, our own Parquet represented by its events file.

    Raises:
      InputError: there is none.
    """
    found = [path] if path.is_file() else []
    if path.is_dir():
        inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        found = [entry for entry in inside if entry.is_file() and suits(entry)]
        found += [entry / EVENTS for entry in inside if entry.is_dir() and is_ours(entry / EVENTS)]
    events = [file.with_name(EVENTS) if is_ours(file) else file for file in found]
    if not events:
        raise InputError(
            "there is no table",
            where=path,
            expected="a .csv, .parquet, .arrow or .feather file, plain or compressed, or a folder of them",
            was="a folder without one" if path.is_dir() else "nothing at this path",
            remedy="check the path",
        )
    return list(dict.fromkeys(events))


def _parts(file: pathlib.Path) -> list[pathlib.Path]:
    """Return the files from which a day is read."""
    return [file.with_name(f"{name}.parquet") for name in TABLES] if is_ours(file) else [file]


def _only(days: list[DaySource], path: object) -> DaySource:
    if len(days) != 1:
        raise InputError(
            "a table with several symbols or days" if days else "a symbol that is not in the table",
            where=path,
            expected="one symbol and day, or a DaySource that names it",
            was=[f"{day.symbol} {day.trading_day}" for day in days[:8]],
            remedy="set `symbols`, or read one of the days that days() lists",
        )
    return days[0]


FORMAT = Format(
    feed=TableFeed,
    reads="CSV, Parquet or Arrow with named columns, and the Parquet that `convert` writes",
    gives="orders, or levels without `order_id`",
    begins=re.compile(  # a header with Tardis' columns is left to that feed
        rb"PAR1|ARROW1|\xff\xff\xff\xff|(?!(?=[^\n]*exchange)(?=[^\n]*symbol)[^\n]*local_timestamp)"
        rb"(?=[^\n]*\bkind\b)(?=[^\n]*\bside\b)(?=[^\n]*\bprice\b)(?=[^\n]*\bsize\b)[^\n]*\btime(_ns|_us|_ms)?\b"
    ),
)
