"""Any day as the `.npz` of hftbacktest, so that strategies can be tested on it.

Rows follow its event layout (hftbacktest 2): eight fields of 64 bits, `ev` holding a kind and the flags of where the
row is seen (exchange, local) and of its side. The book is written as absolute level sizes.
"""

import dataclasses
import pathlib
from typing import NamedTuple

import numpy as np

from lob_jax.book.levels import Levels, change, clear_levels, load_levels, set_level, size_at, with_level_room
from lob_jax.book.loops import CorrectionColumns, EventColumns, correction_columns, event_columns
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Code, Kind
from lob_jax.feeds.feed import MarketDay
from lob_jax.jit import in_place, njit

DEPTH, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
EXCHANGE, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
ROW = np.dtype(
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
_EXECUTE, _HIDDEN, _CROSS, _CONTROL = int(Kind.EXECUTE), int(Kind.EXECUTE_HIDDEN), int(Kind.CROSS), int(Kind.CONTROL)
_CLEAR_CODE = int(Code.CLEAR)
START = -1  # in place of an event: the starting book


@dataclasses.dataclass(frozen=True)
class HftBacktestExport:
    """What was written.

    Attributes:
      path: the file.
      rows: rows in it.
      exchange_times_moved: rows whose exchange time ran backwards, written with the latest time so far.
      local_times_moved: the same of local times.
      local_shift_ns: what was added to every local time, because some lay before their exchange time.
    """

    path: pathlib.Path
    rows: int
    exchange_times_moved: int
    local_times_moved: int
    local_shift_ns: int


class _Rows(NamedTuple):
    """Rows as they are written, int64 [M] each, and how many there are, int64 [1]."""

    event: np.ndarray
    what: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    count: np.ndarray


def write_hftbacktest(path: pathlib.Path, day: MarketDay, *, latency_ns: int = 0) -> HftBacktestExport:
    """Write a day as levels and trades.

    The starting book is a CLEAR and SNAPSHOT rows; an event is the level that it leaves, behind a TRADE of the
    aggressor's side where it is one; a correction is a level; a CLEAR takes both sides. Levels that leave a feed's
    window are written as gone, as they are from our book. Local times are capture times where they are known, else
    `latency_ns` behind the exchange's.

    Raises:
      InputError: a path that does not end in .npz.
    """
    path = pathlib.Path(path)
    if path.suffix != ".npz":
        raise InputError(
            "a file name that hftbacktest does not take",
            where=path,
            expected="a name that ends in .npz",
            was=path.name,
            remedy="rename it",
        )
    rows = _rows_of(day)
    exchange, local, export = _times(day, rows.event, latency_ns)
    table = np.zeros(len(rows.event), ROW)
    table["ev"] = rows.what | EXCHANGE | LOCAL | np.select([rows.side == BID, rows.side == ASK], [BUY, SELL], 0)
    table["exch_ts"], table["local_ts"] = exchange, local
    table["px"] = rows.price / day.instrument.price_scale
    table["qty"] = rows.size / day.instrument.lot_scale
    partial = path.with_name(f".{path.stem}.partial.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(partial, data=table)
    partial.replace(path)
    return dataclasses.replace(export, path=path, rows=len(table))


def _rows_of(day: MarketDay) -> _Rows:
    """Return the rows of a day without their times."""
    events, corrections = event_columns(day.events), correction_columns(day.corrections, len(day.events))
    room = len(day.start) + 2 + 4 * len(day.events) + 2 * len(day.corrections)
    levels = with_level_room(load_levels(day.start), len(day.events) + len(day.corrections))
    rows = _Rows(*(np.zeros(room, np.int64) for _ in range(5)), np.zeros(1, np.int64))
    _write_start(rows, levels)
    _write_events(rows, levels, events, corrections)
    return _Rows(*(column[: rows.count[0]] for column in rows[:-1]), rows.count)


@njit
def _write_start(rows: _Rows, levels: Levels) -> None:
    """Write the starting book, from the best levels outwards."""
    for s in range(2):
        side = BID if s == 0 else ASK
        _put(rows, START, CLEAR, side, levels.price[s, 0] if levels.depth[s] > 0 else 0, 0)
        for row in range(levels.depth[s] - 1, -1, -1):
            _put(rows, START, SNAPSHOT, side, levels.price[s, row], levels.size[s, row])


@njit
def _write_events(rows: _Rows, levels: Levels, events: EventColumns, corrections: CorrectionColumns) -> None:
    """Write events and corrections as the levels that they leave."""
    cursor = 0
    for i in range(len(events.kind)):
        kind, side = np.int64(events.kind[i]), np.int64(events.side[i])
        price, size = np.int64(events.price[i]), np.int64(events.size[i])
        restarted = kind == _CONTROL and events.code[i] == _CLEAR_CODE
        if restarted:
            _put_clear(rows, levels, i)
        if _EXECUTE <= kind <= _CROSS:
            _put(rows, i, TRADE, -side, price, size)
        if kind <= _EXECUTE:
            _put_forgotten(rows, levels, i, side, price)
            change(levels, kind, side, price, size)
            _put(rows, i, DEPTH, side, price, size_at(levels, 0 if side > 0 else 1, price))
        while cursor < len(corrections.event) and corrections.event[cursor] == i:
            side, price = np.int64(corrections.side[cursor]), corrections.price[cursor]
            _put_forgotten(rows, levels, i, side, price)
            set_level(levels, side, price, corrections.size[cursor])
            left = size_at(levels, 0 if side > 0 else 1, price)
            _put(rows, i, SNAPSHOT if restarted else DEPTH, side, price, left)
            cursor += 1


@in_place
def _put(rows: _Rows, event: int, what: int, side: int, price: int, size: int) -> None:
    k = rows.count[0]
    rows.event[k], rows.what[k], rows.side[k], rows.price[k], rows.size[k] = event, what, side, price, size
    rows.count[0] = k + 1


@in_place
def _put_clear(rows: _Rows, levels: Levels, i: int) -> None:
    """Empty each side down to its worst level."""
    for s in range(2):
        side = BID if s == 0 else ASK
        _put(rows, i, CLEAR, side, levels.price[s, 0] if levels.depth[s] > 0 else 0, 0)
    clear_levels(levels)


@in_place
def _put_forgotten(rows: _Rows, levels: Levels, i: int, side: int, price: int) -> None:
    """Write the worst level of a full window as gone if a level at a price would push it out."""
    s = 0 if side > 0 else 1
    if levels.window > 0 and levels.depth[s] == levels.window and size_at(levels, s, price) == 0:
        worst = levels.price[s, 0]
        if side * (price - worst) > 0:
            _put(rows, i, DEPTH, side, worst, 0)


def _times(day: MarketDay, event: np.ndarray, latency_ns: int) -> tuple[np.ndarray, np.ndarray, HftBacktestExport]:
    """Return exchange and local times of rows, neither ever running backwards, and what that took."""
    first_receive = day.events.receive_ns[:1]
    own_exchange = np.concatenate([[day.start.time_ns], day.events.time_ns])[event + 1]
    known = len(first_receive) and bool((day.events.receive_ns > 0).all())
    if known:
        own_local = np.concatenate([first_receive, day.events.receive_ns])[event + 1]
    else:
        own_local = own_exchange + latency_ns
    exchange, local = np.maximum.accumulate(own_exchange), np.maximum.accumulate(own_local)
    shift = max(0, int((exchange - local).max(initial=0)))
    moved = {
        "exchange_times_moved": int(np.count_nonzero(exchange != own_exchange)),
        "local_times_moved": int(np.count_nonzero(local != own_local)),
        "local_shift_ns": shift,
    }
    return exchange, local + shift, HftBacktestExport(pathlib.Path(), 0, **moved)
