"""List the symbols and days in a table."""

import datetime
import zoneinfo

import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading.csv_rows import Fault
from lob_jax.feeds.table import values as tv
from lob_jax.feeds.table.csv_files import Rows, Table
from lob_jax.feeds.table.reader import column_text
from lob_jax.feeds.table.rows import Layout

_PEEKING = Reading(block_bytes=1 << 16)
_DAYS = 1 << 22  # larger than the ordinal of any date


def list_days(table: Table, layout: Layout, *, zone: str) -> list[tuple[str, str]]:
    """Return the pairs of symbol and ISO date, in table order; the symbol is "" if there is no such column.

    A table without a column `trading_day` has one day per symbol, the date of its first time on the clock of `zone`.

    Raises:
      InputError: no row can be read; describes the fault of the first row.
    """
    keys = ("symbol", "trading_day") if "trading_day" in layout.columns else ("symbol", layout.time)
    needed = {ours: theirs for ours, theirs in layout.columns.items() if ours in keys}
    found: dict[str, dict[int, None]] = {}
    error: InputError | None = None
    for rows in table.rows(needed, _PEEKING):
        seen, fault = _seen(rows, layout, zone, table.unit)
        for symbol, day in seen:
            if "trading_day" in layout.columns or symbol not in found:
                found.setdefault(symbol, {})[day] = None
        if error is None and (fault or rows.refused):
            error = rows.refused[0].error if rows.refused else fault
        if found and len(needed) == 1 and "trading_day" not in layout.columns:
            break
    if not found:
        raise error or _no_row(table)
    dates = {day: datetime.date.fromordinal(day).isoformat() for days in found.values() for day in days}
    return [(symbol, dates[day]) for symbol, days in found.items() for day in days]


def _seen(rows: Rows, layout: Layout, zone: str, unit: str) -> tuple[list[tuple[str, int]], InputError | None]:
    """Return the symbols and days in some rows, by first appearance, and the fault of the first bad row."""
    count = len(rows.number)
    if not count:
        return [], None
    symbols, code = [""], np.zeros(count, np.int64)
    if "symbol" in layout.columns:
        coded = column_text(rows.batch, "symbol", layout).dictionary_encode()
        symbols, code = coded.dictionary.to_pylist(), coded.indices.to_numpy()
    days = _days(rows, layout, symbols, code, zone)
    right = np.ones(count, bool)
    right[list(days.wrong)] = False
    good = np.flatnonzero(right)
    good = good[np.array([symbol != "" for symbol in symbols], bool)[code[good]] | ("symbol" not in layout.columns)]
    _, first = np.unique(code[good] * _DAYS + days.values[good], return_index=True)
    fault = days.wrong[min(days.wrong)] if days.wrong else None
    where = f"{layout.where}, {unit} {rows.number[min(days.wrong)]}" if days.wrong else ""
    return [(symbols[code[row]], int(days.values[row])) for row in good[np.sort(first)]], _as_error(fault, where)


def _days(rows: Rows, layout: Layout, symbols: list[str], code: np.ndarray, zone: str) -> tv.Values:
    """Return each row's day; without a column of days, all rows of a symbol get the day of its first time."""
    if "trading_day" in layout.columns:
        return tv.days_of(column_text(rows.batch, "trading_day", layout), layout.columns["trading_day"])
    column = rows.batch.column(rows.batch.schema.get_field_index(layout.time))
    name = layout.columns[layout.time]
    times = tv.times_of(column, layout.time, name, time_zone=layout.time_zone, where=layout.where)
    days = np.zeros(len(code), np.int64)
    readable = np.ones(len(code), bool)
    readable[list(times.wrong)] = False
    for symbol in range(len(symbols)):
        own = np.flatnonzero((code == symbol) & readable)
        if len(own):
            days[own] = _day_of(int(times.values[own[0]]), zone)
    return times._replace(values=days)


def _day_of(time_ns: int, zone: str) -> int:
    return datetime.datetime.fromtimestamp(time_ns // NS_PER_SECOND, zoneinfo.ZoneInfo(zone)).toordinal()


def _as_error(fault: Fault | None, where: str) -> InputError | None:
    if fault is None:
        return None
    where = f"{where}, column {fault.name}"
    return InputError(fault.what, where=where, expected=fault.expected, was=fault.was, remedy=fault.remedy)


def _no_row(table: Table) -> InputError:
    return InputError(
        "a table without a row",
        where=table.where,
        expected="one row per event",
        was="none",
        remedy="check that this is the right file",
    )
