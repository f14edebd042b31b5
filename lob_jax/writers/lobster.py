"""Write events and their book as a pair of LOBSTER files, which most tools in the field can read."""

import collections
import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import polars as pl

from lob_jax.book.day import MarketDay
from lob_jax.book.kernel import level_of, load, rule_slot
from lob_jax.book.loops import (
    CorrectionColumns,
    EventColumns,
    amend,
    correction_columns,
    cut,
    event_columns,
    most_added,
    step,
    write_levels,
)
from lob_jax.book.orders import ID, Book, with_room
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY, NS_PER_SECOND, Instrument
from lob_jax.events.schema import ANONYMOUS_ID, Code, Events, Kind
from lob_jax.feeds.lobster.files import MOST_MS, MS_PER_DAY, PAST_MIDNIGHT, PATTERN, LobsterName, parse_name
from lob_jax.feeds.lobster.rows import CODE_OF_HALT, EMPTY_PRICE, MAX_SIZE
from lob_jax.jit import njit

PRICE_SCALE = 10_000  # LOBSTER's price quanta in one unit of currency
CLOSE_MS = 57_600_000  # 16:00, the end of a session unless events follow it
_BACKWARDS, _AFTER_MIDNIGHT = "time that runs backwards", "an event after midnight, of another day"
_REMEDIES = {
    _BACKWARDS: "pass monotone_time, leave the event out, or write another format",
    _AFTER_MIDNIGHT: "pass past_midnight='cut' to leave out what comes after midnight, or 'continue' to write times of "
    "86,400 seconds and more (--config.convert.past_midnight=cut)",
}
_NS_PER_MS = 10**6
_ROWS_AT_ONCE = 1 << 16
_ADD, _CANCEL, _EXECUTE = int(Kind.ADD), int(Kind.CANCEL), int(Kind.EXECUTE)


@dataclasses.dataclass(frozen=True)
class LobsterExport:
    """Result of an export.

    Attributes:
      message: the message file.
      orderbook: the order-book file.
      rows: rows in each file.
      left_out: number of events without a row, by the name of their code.
      moved_times: rows with a later time than their event.
      cut: events left out because they come after the midnight that ends the trading day.
      past_midnight: rows after that midnight, with times of 86,400 seconds and more.
    """

    message: pathlib.Path
    orderbook: pathlib.Path
    rows: int
    left_out: dict[str, int]
    moved_times: int
    cut: int
    past_midnight: int


def write_lobster(
    folder: pathlib.Path,
    day: MarketDay,
    *,
    levels: int,
    monotone_time: bool = False,
    past_midnight: str = "refuse",
) -> LobsterExport:
    """Write a day as a message and an order-book file.

    The book rows are those of a replay of the day. A CONTROL event that is no halt or
    resumption has no row: it shows in the book of the next one. An order without an id gets one: an ADD a new one, a
    removal that of the order which the book's rule lets pay, 0 where that is anonymous. The name's StartMs is the
    start's clock if the first row follows it on the same day, else the first row's time; its EndMs is 16:00 or, if
    later, the last row's. Sizes are written in lots, prices in ten-thousandths of the currency. Files of the same
    name are replaced only once both new ones are complete.

    Args:
      folder: created if it does not exist.
      day: at least one event, with the book that they start from.
      levels: levels per side in the order-book file.
      monotone_time: replace a time earlier than a previous one by the latest time so far, and count such rows.
      past_midnight: what to do with events after the midnight that ends the trading day. "refuse" raises InputError;
        "cut" leaves out and counts everything from the first of them on; "continue" writes their times as 86,400
        seconds and more, and extends EndMs accordingly.

    Raises:
      InputError: LOBSTER cannot represent an event: it is on another day, its time runs backwards, or its price or size
        is out of range; the price scale does not divide 10,000; there are no events; or the symbol cannot be part of a
        file name.
    """
    instrument, factor = day.instrument, price_factor(day.instrument)
    time = _times(day.events, instrument, monotone_time=monotone_time)
    whole = _events_of_day(time, past_midnight)
    cut, day = len(day.events) - whole, day.part(0, whole, start=day.start)
    events, time = day.events, time[:whole]
    kept = (events.kind != Kind.CONTROL) | np.isin(events.code, (Code.NONE, *CODE_OF_HALT.values()))
    moved = int(np.count_nonzero((time != events.time_ns - instrument.midnight_ns())[kept]))
    time = time[kept]
    _check_writable(events[kept], time, np.flatnonzero(kept), factor, no_end=past_midnight == "continue")
    clock = day.start.time_ns - instrument.midnight_ns()
    name = _name(instrument, time, clock=clock, levels=levels)
    paths = [pathlib.Path(folder) / (name.stem(half) + ".csv") for half in ("message", "orderbook")]
    with _replacing(paths) as files:
        first = 0
        for rows, ids, price, size in _replayed(day, levels):
            own, ids = kept[rows], np.where(ids == ANONYMOUS_ID, np.uint64(0), ids)
            part = events[rows][own]
            times = time[first : first + len(part)]
            first += len(part)
            message_frame(part, times, ids[own], factor).write_csv(files[0], include_header=False)
            book_frame(price[own], size[own], factor).write_csv(files[1], include_header=False)
    left_out = collections.Counter(Code(code).name for code in events.code[~kept].tolist())
    late = int(np.count_nonzero(time >= NS_PER_DAY))
    return LobsterExport(*paths, rows=first, left_out=dict(left_out), moved_times=moved, cut=cut, past_midnight=late)


def order_ids(day: MarketDay) -> np.ndarray:
    """Return an order id for every event of a day, uint64 [E]: its own, or the one that the book's rule selects.

    New ids continue from the largest id below 2^62; larger ids are ignored, since new ones above them could overflow.
    Events that do not affect a visible order keep their id, as does one with ANONYMOUS_ID.
    """
    parts = [ids for _, ids, _, _ in _replayed(day, 1)]
    return np.concatenate([np.zeros(0, np.uint64), *parts])


def _replayed(day: MarketDay, levels: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield chunks of R events: their slice, order ids uint64 [R], and price and size int64 [R, 2, N] of the book."""
    events, start = day.events, day.start
    columns, corrections_in = event_columns(events), correction_columns(day.corrections, len(events))
    book = load(start, 0)
    used = (events.order_id[events.order_id < 2**62], start.order_id[start.order_id < 2**62])
    new_id = max(int(ids.max(initial=0)) for ids in used) + 1
    for first in range(0, len(events), _ROWS_AT_ONCE):
        rows = slice(first, min(first + _ROWS_AT_ONCE, len(events)))
        part, corrected = cut(columns, corrections_in, rows.start, rows.stop)
        book = with_room(book, most_added(part, corrected))
        price, size = (np.empty((len(part.kind), 2, levels), np.int64) for _ in range(2))
        ids = _follow(book, part, corrected, np.uint64(new_id), price, size)
        new_id += int(np.count_nonzero((part.kind == Kind.ADD) & (part.order_id == 0)))
        yield rows, ids, price, size


@njit
def _follow(
    book: Book,
    events: EventColumns,
    corrections: CorrectionColumns,
    new_id: np.uint64,
    price: np.ndarray,
    size: np.ndarray,
) -> np.ndarray:
    """Replay events; return the id of the order that each one adds or reduces, and write the levels after it."""
    ids = events.order_id.copy()
    # The replay uses the assigned ids, so that later removals find the orders that were added here.
    named = EventColumns(events.kind, events.code, events.side, events.price, events.size, ids, events.flags)
    cursor = 0
    for i in range(len(ids)):
        kind = np.int64(events.kind[i])
        if ids[i] == 0 and kind == _ADD:
            ids[i] = new_id
            new_id += np.uint64(1)
        elif ids[i] == 0 and _CANCEL <= kind <= _EXECUTE:
            s = 0 if events.side[i] > 0 else 1
            row = level_of(book, s, np.int64(events.price[i]))
            if row >= 0:
                ids[i] = np.uint64(book.orders[rule_slot(book, s, row, kind, np.int64(events.size[i])), ID])
        step(book, named, i)
        cursor = amend(book, corrections, cursor, i)
        write_levels(book, price[i], size[i])
    return ids


def _times(events: Events, instrument: Instrument, *, monotone_time: bool) -> np.ndarray:
    """Return ns since midnight, or their running maximum if time must be monotone."""
    time = events.time_ns - instrument.midnight_ns()
    return np.maximum.accumulate(time) if monotone_time else time


def _events_of_day(time: np.ndarray, past_midnight: str) -> int:
    """Return the number of events to write."""
    if past_midnight not in PAST_MIDNIGHT:
        raise InputError(
            "an unknown value of past_midnight",
            where="past_midnight",
            expected=" | ".join(PAST_MIDNIGHT),
            was=past_midnight,
            remedy="refuse reports the first of them, cut leaves them out, continue writes 86,400 seconds and more",
        )
    late = time >= NS_PER_DAY
    return int(np.argmax(late)) if past_midnight == "cut" and late.any() else len(time)


def price_factor(instrument: Instrument) -> int:
    """Return the factor that converts the instrument's price quanta to LOBSTER's."""
    if instrument.price_scale < 1 or PRICE_SCALE % instrument.price_scale:
        raise InputError(
            "a price scale that LOBSTER files do not have",
            where=f"instrument {instrument.symbol}",
            expected=f"a divisor of {PRICE_SCALE}: prices are ten-thousandths of the currency",
            was=instrument.price_scale,
            remedy="write another format, one that holds finer prices",
        )
    return PRICE_SCALE // instrument.price_scale


def _name(instrument: Instrument, time: np.ndarray, *, clock: int, levels: int) -> LobsterName:
    """Return the day's file name; raise InputError if it cannot hold the symbol, the levels or the session."""
    begin = clock if 0 <= clock <= time[0] else int(time[0])
    start_ms = begin // _NS_PER_MS
    last_ms = -(int(-time[-1]) // _NS_PER_MS) + int(time[-1] == NS_PER_DAY)  # midnight itself is past the day's end
    end_ms = max(CLOSE_MS, last_ms, start_ms + 1)
    name = LobsterName(instrument.symbol, instrument.trading_day, start_ms, end_ms, levels)
    if parse_name(name.stem("message") + ".csv") != (name, "message"):
        raise InputError(
            "a day that LOBSTER's file names cannot represent",
            where="the instrument's symbol, the number of levels, and the session",
            expected=PATTERN.format(half="message") + " with a ticker of letters, digits, '.', '-' and '_', StartMs "
            f"below {MS_PER_DAY} and EndMs up to {MOST_MS}",
            was=f"symbol {instrument.symbol!r}, {levels} levels, {start_ms} to {end_ms} ms",
            remedy="rename the instrument, ask for 1 to 9999 levels, or cut the day at midnight",
        )
    return name


def _check_writable(events: Events, time: np.ndarray, index: np.ndarray, factor: int, *, no_end: bool) -> None:
    """Raise InputError for the first event that no LOBSTER row can hold; `index` numbers the events in the day.

    `time` is ns since midnight. Events after the day's end are refused unless `no_end`.
    """
    if not len(events):
        raise InputError(
            "no events to write", where="write_lobster", expected="at least one", was=0, remedy="pass a day with events"
        )
    control = events.kind == Kind.CONTROL
    order = ~control & (events.kind != Kind.CROSS)
    highest = (EMPTY_PRICE - 1) // factor
    rules = [
        ("an event of another day", time < 0, "time_ns"),
        (_AFTER_MIDNIGHT, (time >= NS_PER_DAY) & ~np.bool_(no_end), "time_ns"),
        (_BACKWARDS, np.append(False, np.diff(time) < 0), "time_ns"),
        ("a control event without a code", control & (events.code == Code.NONE), "code"),
        ("an event without a side", ~control & (abs(events.side) != 1), "side"),
        ("a price out of range", (events.price < -highest) | (events.price > highest), "price"),
        ("a size out of range", (order & (events.size < 1)) | (events.size < 0) | (events.size > MAX_SIZE), "size"),
    ]
    for what, wrong, column in rules:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"{what}, which LOBSTER cannot hold",
                where=f"event {index[row]}, {column}",
                expected="halts, resumptions and orders of one trading day, ordered by time",
                was=f"{getattr(events, column)[row]} in an event of kind {events.kind[row]}",
                remedy=_REMEDIES.get(what, "leave the event out, or write another format"),
            )


def message_frame(events: Events, time: np.ndarray, ids: np.ndarray, factor: int) -> pl.DataFrame:
    """Return the six columns of a message file."""
    control = events.kind == Kind.CONTROL
    halt_price = np.zeros(max(CODE_OF_HALT.values()) + 1, np.int64)
    for price, code in CODE_OF_HALT.items():
        halt_price[code] = price
    seconds, fraction = np.divmod(time, NS_PER_SECOND)
    columns = {
        "type": events.kind,
        "order id": np.where(control, 0, ids),
        "size": np.where(control, 0, events.size),
        "price": np.where(control, halt_price[np.where(control, events.code, 0)], factor * events.price),
        "direction": np.where(control, -1, events.side),
    }
    parts = pl.DataFrame({"seconds": seconds, "fraction": fraction})
    text = parts.select(time=pl.format("{}.{}", "seconds", pl.col("fraction").cast(pl.String).str.zfill(9)))
    return text.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def book_frame(price: np.ndarray, size: np.ndarray, factor: int) -> pl.DataFrame:
    """Return the 4N columns of an order-book file for levels [R, 2, N]."""
    if (abs(price) > (EMPTY_PRICE - 1) // factor).any() or (size > MAX_SIZE).any():
        raise InputError(
            "a level out of range, which LOBSTER cannot hold",
            where="the book of the events",
            expected=f"prices up to {(EMPTY_PRICE - 1) // factor} quanta above or below 0, sizes up to {MAX_SIZE} lots",
            was=f"prices {price.min()} to {price.max()}, size {size.max()}",
            remedy="ask for fewer levels, or write another format",
        )
    rows, _, levels = price.shape
    table = np.empty((rows, levels, 2, 2), np.int64)  # level, ask before bid, price and size
    for place, index, dummy in ((0, 1, EMPTY_PRICE), (1, 0, -EMPTY_PRICE)):
        table[:, :, place, 0] = np.where(size[:, index] > 0, factor * price[:, index], dummy)
        table[:, :, place, 1] = size[:, index]
    return pl.from_numpy(table.reshape(rows, 4 * levels))


@contextlib.contextmanager
def _replacing(paths: list[pathlib.Path]) -> Iterator[list[BinaryIO]]:
    """Open a temporary file next to each path; rename all of them once all are written, delete them on failure."""
    unfinished = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    try:
        with contextlib.ExitStack() as stack:
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            yield [stack.enter_context(temporary.open("wb")) for temporary in unfinished]
        for temporary, path in zip(unfinished, paths, strict=True):
            os.replace(temporary, path)
    finally:
        for temporary in unfinished:
            temporary.unlink(missing_ok=True)
