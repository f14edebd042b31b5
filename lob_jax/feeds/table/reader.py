"""Read one symbol's day of a table: check its rows in order, and convert them to events."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.events.schema import COLUMNS, Events, Flag, Kind
from lob_jax.feeds.feed import DaySource, Reading
from lob_jax.feeds.reading.csv_fields import MOST_PLACES
from lob_jax.feeds.reading.csv_rows import Fault
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.report import reading_report
from lob_jax.feeds.reading.scale import Scale, common_divisor, parse_step, scale_of, steps_of
from lob_jax.feeds.reading.store import EventStore
from lob_jax.feeds.table import book
from lob_jax.feeds.table import values as tv
from lob_jax.feeds.table.csv_files import Rows, Table
from lob_jax.feeds.table.rows import Layout, judge

pc: Any = pa.compute  # it defines its functions by name when it is imported, which no type checker follows
BETWEEN_TICKS = 4  # additional decimal places of a price, for hidden trades between ticks
_OTHERS = "of other symbols or days"
_MEASURED = Reading(block_bytes=1 << 20)


class TableDay(NamedTuple):
    """A day of rows converted to events.

    Attributes:
      events: in the integers of `scale`.
      scale: the units of the integers.
      start_ns: time of the first event, None if there is none.
      report: see `reading_report`.
    """

    events: Events
    scale: Scale
    start_ns: int | None
    report: dict[str, Any]


class TableReader:
    """Reads one symbol's day of a table; to be used once."""

    def __init__(self, table: Table, layout: Layout, day: DaySource, *, tick: str | None, lot: str | None):
        """Determine the decimal places of prices and sizes, from named steps or else from the rows.

        Args:
          table: the table.
          layout: its columns.
          day: the symbol and day to read.
          tick: the smallest price step, None to infer it.
          lot: the unit of size, None to infer it.
        """
        self._table, self._day = table, day
        named = {"price": _places_of(tick, BETWEEN_TICKS), "size": _places_of(lot, 0)}
        places = {name: count for name, count in named.items() if count is not None}
        places |= _measure(table, layout, day, [name for name in named if name not in places])
        self._layout = dataclasses.replace(layout, price_places=places["price"], size_places=places["size"])
        self._steps = steps_of(tick, lot, price_decimals=places["price"], size_decimals=places["size"])
        self._orders = book.LiveOrders(named="order_id" in layout.columns, tick=self._steps.price)
        self._first_ns = self._last_ns = None
        self._price_divisor = self._quantum_divisor = self._size_divisor = 0
        self._rows_read = self._others = 0

    def read(self, reading: Reading, *, name: str, inputs: Mapping[str, str]) -> TableDay:
        """Read the day.

        Args:
          reading: what to do with bad rows, and where to keep the events.
          name: the table's name, used for its quarantine file.
          inputs: sha256 of its file, by name.

        Raises:
          InputError: the first row at fault, if reading is strict.
        """
        store, faults = EventStore(reading.store), Faults(reading, _quarantine_name(name, self._layout, self._day))
        for rows in self._table.rows(self._layout.columns, reading):
            store.append(self._take(rows, faults))
        divisors = {"price_divisor": self._price_divisor, "quantum_divisor": self._quantum_divisor}
        scale = scale_of(self._steps, **divisors, size_divisor=self._size_divisor)
        events, _ = store.finish(divide_price=scale.divide_price, divide_size=scale.divide_size)
        used = set(self._layout.columns.values())
        report = reading_report(
            "table",
            events,
            inputs=inputs,
            rows_read=self._rows_read,
            dropped={_OTHERS: self._others},
            faults=[faults],
            columns=dict(self._layout.columns),
            columns_ignored=[column for column in self._table.names if column not in used],
            cancels_of_all_that_was_left=self._orders.whole_cancels,
        )
        return TableDay(events, scale, self._first_ns, report)

    def _take(self, rows: Rows, faults: Faults) -> Events:
        """Return the events of some rows; refuse the rows at fault in their order."""
        own, others = chosen(rows, self._layout, self._day)
        judged = judge(own.batch, own.number, self._layout)
        wrong = dict(judged.wrong)
        self._refuse_other_days(judged.columns["time_ns"], wrong)
        right = np.ones(len(own.number), bool)
        right[list(wrong)] = False
        good = np.flatnonzero(right)
        columns = {name: np.ascontiguousarray(values[good]) for name, values in judged.columns.items()}
        found = self._orders.follow(book.Rows(**{name: columns[name] for name in book.Rows._fields}))
        for i in np.flatnonzero(found).tolist():
            wrong[int(good[i])] = self._book_fault(
                int(found[i]), {name: int(values[i]) for name, values in columns.items()}
            )
        self._refuse(own, wrong, faults)
        self._rows_read += len(own.number) + others + len(rows.refused)
        self._others += others
        return self._events({name: values[found == book.Fault.FINE] for name, values in columns.items()})

    def _events(self, columns: dict[str, np.ndarray]) -> Events:
        time, visible = columns["time_ns"], columns["kind"] <= Kind.EXECUTE
        if len(time):
            self._first_ns = int(time[0]) if self._last_ns is None else self._first_ns
            before = np.append(time[0] if self._last_ns is None else self._last_ns, time[:-1])
            columns["flags"] = columns["flags"] | np.where(time < before, int(Flag.BAD_TIME), 0)
            self._last_ns = int(time[-1])
        price, size = columns["price"], columns["size"]
        self._price_divisor = common_divisor(price[visible], self._price_divisor)
        unseen = np.append(price[~visible], self._price_divisor)
        self._quantum_divisor = common_divisor(unseen, self._quantum_divisor)
        self._size_divisor = common_divisor(size, self._size_divisor)
        ids = columns.pop("order_id").view(np.uint64)
        return Events(order_id=ids, **{name: values.astype(COLUMNS[name]) for name, values in columns.items()})

    def _refuse_other_days(self, time_ns: np.ndarray, wrong: dict[int, Fault]) -> None:
        """Refuse the rows of other days in a table without a column of trading days."""
        if "trading_day" in self._layout.columns:
            return
        if self._first_ns is None:
            good = next((row for row in range(len(time_ns)) if row not in wrong), None)
            self._first_ns = None if good is None else int(time_ns[good])
        far = np.abs(time_ns - (self._first_ns or 0)) >= NS_PER_DAY
        for row in np.flatnonzero(far).tolist():
            what, remedy = (
                "a time a day or more from the table's first",
                "add a column trading_day to a table of several days",
            )
            name = self._layout.columns[self._layout.time]
            was = str(np.datetime64(int(time_ns[row]), "ns"))
            first = str(np.datetime64(self._first_ns or 0, "ns"))
            wrong.setdefault(row, Fault(None, name, what, f"less than 24 hours from {first}", was, remedy))

    def _book_fault(self, fault: int, event: Mapping[str, int]) -> Fault:
        found = book.Fault(fault)
        name = found.field
        ours = self._layout.columns.get(name, name)
        told = event["order_id"] % 2**64 if name == "order_id" else event[name]
        kind = Kind(event["kind"]).name
        places = {"price": self._layout.price_places, "size": self._layout.size_places}.get(name, 0)
        was = f"{told / 10**places:.{places}f}" if places else str(told)
        remedy = book.REMEDIES.get(found, book.REMEDY)
        return Fault(None, ours, found.what, found.expected, f"{was}, of {kind}", remedy)

    def _refuse(self, own: Rows, wrong: Mapping[int, Fault], faults: Faults) -> None:
        """Refuse rows in their order, including those that could not be parsed."""
        table, found = self._table, [(bad.number, bad.error, bad.raw) for bad in own.refused]
        for row, fault in wrong.items():
            number = int(own.number[row])
            where = f"{table.where}, {table.unit} {number}, column {fault.name}"
            error = InputError(fault.what, where=where, expected=fault.expected, was=fault.was, remedy=fault.remedy)
            found.append((number, error, str(own.batch.slice(row, 1).to_pylist()[0]).encode()))
        for _, error, raw in sorted(found, key=lambda entry: entry[0]):
            faults.refuse(error, raw=raw)


def chosen(rows: Rows, layout: Layout, day: DaySource) -> tuple[Rows, int]:
    """Return the rows of a symbol and day, including those without a symbol or day, and the number of other rows."""
    batch = rows.batch
    mine = np.ones(batch.num_rows, bool)
    if "symbol" in layout.columns:
        text = column_text(batch, "symbol", layout)
        mine &= np.asarray(pc.is_in(text, pa.array([day.symbol, ""])))
    if "trading_day" in layout.columns:
        wanted = datetime.date.fromisoformat(day.trading_day).toordinal()
        days = tv.days_of(column_text(batch, "trading_day", layout), layout.columns["trading_day"])
        mine &= days.values == wanted
        mine[list(days.wrong)] = True
    if mine.all():
        return rows, 0
    kept = pa.array(mine)
    return Rows(rows.number[mine], batch.filter(kept), rows.refused), int(np.count_nonzero(~mine))


def column_text(batch: pa.RecordBatch, name: str, layout: Layout) -> pa.StringArray:
    """Return a column of names or dates as text."""
    return tv.text_of(batch.column(batch.schema.get_field_index(name)), layout.columns[name], where=layout.where)


def _places_of(step: str | None, further: int) -> int | None:
    """Return the decimal places for a named step, None if it is not named."""
    return None if step is None else min(parse_step(step, where="tick or lot")[1] + further, MOST_PLACES)


def _measure(table: Table, layout: Layout, day: DaySource, names: list[str]) -> dict[str, int]:
    """Return the number of decimal places that the numbers in some columns need."""
    places = dict.fromkeys(names, 0)
    needed = {ours: theirs for ours, theirs in layout.columns.items() if ours in (*names, "symbol", "trading_day")}
    for rows in table.rows(needed, _MEASURED) if names else ():
        own, _ = chosen(rows, layout, day)
        for name in names:
            inexact = pa.types.is_floating(own.batch.schema.field(name).type)
            places[name] = tv.places_needed(column_text(own.batch, name, layout), places[name], inexact=inexact)
    return places


def _quarantine_name(name: str, layout: Layout, day: DaySource) -> str:
    """Return the name of a day's quarantine file, a separate one for each day if the table has several."""
    several = {"symbol", "trading_day"} & set(layout.columns)
    raw = f"{name}.{day.symbol}.{day.trading_day}" if several else name
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in raw)
