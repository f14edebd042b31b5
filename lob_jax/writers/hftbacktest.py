"""Write any day as an `.npz` file for hftbacktest, to test strategies on it.

Rows follow the event layout of hftbacktest 2: eight fields of 64 bits, of which `ev` combines a kind with flags for
the side and for where the row is visible (exchange, local). The book is written as absolute level sizes, or order by
order.
"""

import dataclasses
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.levels import load_levels, occupied, with_level_room
from lob_jax.book.loops import EventColumns, correction_columns, cut, event_columns, most_added
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, COLUMNS, Events, Kind
from lob_jax.feeds.reading.order_table import new_table, room_for
from lob_jax.writers.hftbacktest_rows import (
    CLEAR,
    MOST_ROWS,
    SNAPSHOT,
    SOUND,
    Rows,
    level_rows,
    new_rows,
    order_rows,
)

EXCHANGE, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
ROW: np.dtype[np.void] = np.dtype(  # ty: ignore[invalid-assignment]  # ty takes NumPy's overload for float64
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ]
)
_RUN_EVENTS = 1 << 16
_COPIED_BYTES = 1 << 22


@dataclasses.dataclass(frozen=True)
class HftBacktestExport:
    """Result of an export.

    Attributes:
      path: the file.
      rows: number of rows in it.
      exchange_times_moved: events whose exchange time ran backwards and was replaced by the latest time so far.
      local_times_moved: the same for local times.
      local_shift_ns: added to every local time, because some were earlier than their exchange time.
    """

    path: pathlib.Path
    rows: int
    exchange_times_moved: int
    local_times_moved: int
    local_shift_ns: int


def write_hftbacktest(
    path: pathlib.Path, day: MarketDay, *, latency_ns: int = 0, orders: bool = False
) -> HftBacktestExport:
    """Write a day as levels and trades, or order by order, in chunks: the events may be larger than memory.

    As levels: the starting book becomes a CLEAR and SNAPSHOT rows. An event becomes the new size of its level. A trade
    also becomes a TRADE before the level, with the aggressor's side, or neither side if the aggressor is unknown. A
    correction becomes a level, and a CLEAR covers both sides. Levels that drop out of a feed's window are written as
    removed, since they are removed from the replayed book too.

    As orders: the starting book and every ADD become added orders. An execution becomes a TRADE and a FILL. What
    remains of an order after an execution or a CANCEL becomes a modified order, or a cancelled one if nothing remains.

    Rows keep the order of the events. Local times are the capture times if all events have one, otherwise the exchange
    times plus `latency_ns`. A backward time is replaced by the latest one so far; if an event would then be visible
    before it happens, all local times are shifted by the largest such difference.

    Args:
      path: the file to write; its name ends in .npz.
      day: the day to write.
      latency_ns: delay of local times if there are no capture times.
      orders: write order by order instead of levels.

    Raises:
      InputError: the path does not end in .npz, the latency is negative, or orders are asked for and the day's book is
        not known order by order.
    """
    path = pathlib.Path(path)
    _check(path, latency_ns)
    if orders:
        _check_orders(day)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The shift must be known before the first row is written: go through the times once, then start over.
    clock = _Clock(day, latency_ns)
    clock.shift = max([0, *(int((exchange - local).max()) for exchange, local in map(clock.times, clock.runs()))])
    clock.restart()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        table, partial = pathlib.Path(folder) / "rows", pathlib.Path(folder) / path.name
        with table.open("wb") as file:
            for rows, exchange, local in _timed_rows(day, clock, orders):
                _as_table(rows, exchange, local, day.instrument).tofile(file)
        count = table.stat().st_size // ROW.itemsize
        _pack(table, count, partial)
        partial.replace(path)
    return HftBacktestExport(path, count, clock.exchange_moved, clock.local_moved, clock.shift)


def _check(path: pathlib.Path, latency_ns: int) -> None:
    if path.suffix != ".npz":
        raise InputError(
            "a file name that hftbacktest does not accept",
            where=path,
            expected="a name that ends in .npz",
            was=path.name,
            remedy="let the file name end in .npz",
        )
    if latency_ns < 0:
        raise InputError(
            "a negative latency, which would show events before they happen",
            where="write_hftbacktest, latency_ns",
            expected="0 or more",
            was=latency_ns,
            remedy="pass the delay from the exchange to the strategy in ns",
        )


def _check_orders(day: MarketDay) -> None:
    """Raise InputError for a day whose starting book or corrections are levels."""
    start = day.start
    levels = {
        "orders pooled by level": start.pooled,
        f"a window of {start.window} levels": start.window > 0,
        f"{np.count_nonzero(start.order_id == 0):,} orders without id in the starting book": not start.order_id.all(),
        f"{len(day.corrections):,} corrections of levels": len(day.corrections) > 0,
    }
    found = [name for name, there in levels.items() if there]
    if found:
        _refuse_orders(f"{day.instrument.symbol} {day.instrument.trading_day}", was=", ".join(found))


def _refuse_orders(where: str, *, was: object) -> None:
    raise InputError(
        "a day whose book is not known order by order",
        where=where,
        expected="ids for all orders, and events that refer to live orders only",
        was=was,
        remedy="write levels instead: orders=False",
    )


class _Clock:
    """The times to be written for a day's events, chunk by chunk.

    Attributes:
      start_ns, local_start_ns: the times of the starting book.
      exchange_moved, local_moved: number of backward times so far.
      shift: added to every local time.
    """

    def __init__(self, day: MarketDay, latency_ns: int):
        self._events, self._latency_ns, self.shift = day.events, latency_ns, 0
        some = len(day.events) > 0
        first = int(day.events.time_ns[0]) if some else day.start.time_ns
        self.start_ns = min(day.start.time_ns, first) if day.start.time_ns > 0 else first
        self._captured = some and all(bool((day.events.receive_ns[run] > 0).all()) for run in self.runs())
        self.local_start_ns = int(day.events.receive_ns[0]) if self._captured else self.start_ns + latency_ns
        self.restart()

    def restart(self) -> None:
        """Return to the first chunk."""
        self._exchange_ns, self._local_ns = self.start_ns, self.local_start_ns
        self.exchange_moved = self.local_moved = 0

    def runs(self) -> Iterator[slice]:
        """Yield slices of events in sequence."""
        for first in range(0, len(self._events), _RUN_EVENTS):
            yield slice(first, min(first + _RUN_EVENTS, len(self._events)))

    def times(self, run: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return non-decreasing exchange and local times of the events in the next chunk."""
        exchange = np.asarray(self._events.time_ns[run])
        local = np.asarray(self._events.receive_ns[run]) if self._captured else exchange + self._latency_ns
        even_exchange = np.maximum(np.maximum.accumulate(exchange), self._exchange_ns)
        even_local = np.maximum(np.maximum.accumulate(local), self._local_ns)
        self.exchange_moved += int(np.count_nonzero(even_exchange != exchange))
        self.local_moved += int(np.count_nonzero(even_local != local))
        self._exchange_ns, self._local_ns = int(even_exchange[-1]), int(even_local[-1])
        return even_exchange, even_local + self.shift


def _timed_rows(day: MarketDay, clock: _Clock, orders: bool) -> Iterator[tuple[Rows, np.ndarray, np.ndarray]]:
    """Yield the rows of the starting book, then those of each chunk of events, with their times."""
    runs = _order_runs(day, clock) if orders else _level_runs(day, clock)
    for run, rows in runs:
        exchange, local = (
            clock.times(run) if run else (np.array([clock.start_ns]), np.array([clock.local_start_ns + clock.shift]))
        )
        yield rows, exchange[rows.event], local[rows.event]


def _level_runs(day: MarketDay, clock: _Clock) -> Iterator[tuple[slice | None, Rows]]:
    """Yield the starting book's levels, best first, then each chunk and its rows, with events numbered per chunk."""
    levels = load_levels(day.start)
    sides = [occupied(levels, s) for s in range(2)]
    price, size = (np.concatenate([[0], *(side[part] for side in sides)]) for part in range(2))
    side = np.repeat([0, BID, ASK], [1, len(sides[0][0]), len(sides[1][0])])
    what = np.where(side == 0, CLEAR, SNAPSHOT)
    none = np.zeros_like(price)
    yield None, Rows(none, what, side, price, size, none, np.array([len(price)]))
    columns, corrected = event_columns(day.events), correction_columns(day.corrections, len(day.events))
    for run in clock.runs():
        events, own = cut(columns, corrected, run.start, run.stop)
        levels = with_level_room(levels, most_added(events, own))
        rows = new_rows(MOST_ROWS * len(events.kind) + 2 * len(own.event))
        level_rows(rows, levels, events, np.require(day.events.flags[run], None, ["C", "W"]), own)
        yield run, _used(rows)


def _order_runs(day: MarketDay, clock: _Clock) -> Iterator[tuple[slice | None, Rows]]:
    """Yield the starting book as added orders, in the order of their queues, then each chunk and its rows.

    Raises:
      InputError: an event refers to an order that is not live or is smaller than the event.
    """
    start, table = day.start, new_table(len(day.start))
    added = _added(start)
    rows = new_rows(len(added) + 1)
    rows.what[0], rows.count[0] = CLEAR, 1
    wrong = order_rows(rows, table, event_columns(added), added.flags)
    if wrong != SOUND:
        _refuse_orders(f"order {wrong} of the starting book", was=f"a second order {start.order_id[wrong]}")
    yield None, _used(rows)._replace(event=np.zeros(len(added) + 1, np.int64))
    columns = event_columns(day.events)
    for run in clock.runs():
        events = EventColumns(*(column[run] for column in columns))
        table = room_for(table, int(np.count_nonzero(events.kind == Kind.ADD)))
        rows = new_rows(MOST_ROWS * len(events.kind))
        wrong = order_rows(rows, table, events, np.require(day.events.flags[run], None, ["C", "W"]))
        if wrong != SOUND:
            event = {name: int(getattr(day.events, name)[run.start + wrong]) for name in COLUMNS}
            _refuse_orders(f"event {run.start + wrong}", was=event)
        yield run, _used(rows)


def _added(start: BookSnapshot) -> Events:
    """Return a starting book as the ADDs that would build it."""
    return Events.from_columns(
        kind=np.full(len(start), Kind.ADD), side=start.side, price=start.price, size=start.size, order_id=start.order_id
    )


def _used(rows: Rows) -> Rows:
    return Rows(*(column[: rows.count[0]] for column in rows[:-1]), rows.count)


def _as_table(rows: Rows, exchange: np.ndarray, local: np.ndarray, instrument: Instrument) -> np.ndarray:
    """Convert rows to hftbacktest's layout, prices in currency and sizes in units of quantity."""
    table = np.zeros(len(rows.what), ROW)
    table["ev"] = rows.what | EXCHANGE | LOCAL | np.select([rows.side == BID, rows.side == ASK], [BUY, SELL], 0)
    table["exch_ts"], table["local_ts"] = exchange, local
    table["px"], table["qty"] = rows.price / instrument.price_scale, rows.size / instrument.lot_scale
    table["order_id"] = rows.order_id.view(np.uint64)
    return table


def _pack(table: pathlib.Path, count: int, target: pathlib.Path) -> None:
    """Copy a file of rows into an .npz as the array `data`, block by block."""
    header = {"descr": np.lib.format.dtype_to_descr(ROW), "fortran_order": False, "shape": (count,)}
    # force_zip64: zipfile does not know the size of a streamed member in advance, and it may exceed 4 GiB.
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("data.npy", "w", force_zip64=True) as member,
        table.open("rb") as rows,
    ):
        np.lib.format.write_array_header_1_0(member, header)
        shutil.copyfileobj(rows, member, _COPIED_BYTES)
