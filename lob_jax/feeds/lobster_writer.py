"""Write events and their book as a LOBSTER pair, so that any tool of the field reads them."""

import os
import pathlib

import numpy as np
import polars as pl

from lob_jax.book.kernel import apply, level_of, rule_slot
from lob_jax.book.loops import CorrectionColumns, EventColumns, amend, correction_columns, event_columns
from lob_jax.book.orders import ID, Book
from lob_jax.book.replay import BookStates, book_for, replay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY, NS_PER_SECOND, Instrument
from lob_jax.events.schema import Events, Kind
from lob_jax.feeds.lobster_files import PATTERN, LobsterName, parse_name
from lob_jax.feeds.lobster_rows import CODE_OF_HALT, EMPTY_PRICE
from lob_jax.jit import njit

PRICE_SCALE = 10_000  # LOBSTER's price quanta in one unit of currency
CLOSE_MS = 57_600_000  # 16:00, where a session ends unless its events go on
_NS_PER_MS = 10**6
_ADD, _CANCEL, _EXECUTE = int(Kind.ADD), int(Kind.CANCEL), int(Kind.EXECUTE)


def write_lobster(
    folder: pathlib.Path,
    *,
    instrument: Instrument,
    start: BookSnapshot,
    events: Events,
    corrections: Corrections,
    levels: int,
) -> tuple[pathlib.Path, pathlib.Path]:
    """Write a message and an order-book file; return their paths in this order.

    The book rows are those of a replay from `start` with the corrections. An order without an id gets one:
    an ADD a new one, a removal that of the order which the book's rule lets pay, 0 where that is anonymous.
    The name's StartMs is the start's clock if the first event follows it on the same day, else the first
    event's; its EndMs is 16:00 or, if later, the last event's. Sizes are written in lots. Files of the same
    name are replaced only once both new ones are complete.

    Raises:
      InputError: an event that LOBSTER has no row for: another day's, one whose time runs backwards, a CONTROL
        that is no halt or resumption, a price or size out of range, a price scale other than 10,000; no events;
        or a symbol that a file name cannot carry.
    """
    folder = pathlib.Path(folder)
    since_midnight = events.time_ns - instrument.midnight_ns()
    _check_writable(events, since_midnight, instrument)
    clock = start.time_ns - instrument.midnight_ns()
    name = _name(instrument, since_midnight, clock=clock, levels=levels)
    states = replay(events, start=start, corrections=corrections, levels=levels).after()
    frames = {
        folder / (name.stem("message") + ".csv"): _message_frame(
            events, since_midnight, order_ids(events, start=start, corrections=corrections)
        ),
        folder / (name.stem("orderbook") + ".csv"): _book_frame(states),
    }
    _write_all(frames)
    message, orderbook = frames
    return message, orderbook


def order_ids(events: Events, *, start: BookSnapshot, corrections: Corrections) -> np.ndarray:
    """Return an order id for every event, uint64 [E]: its own, or the one that the book's rule settles.

    New ids count on from the largest in use below 2^62, so that one near the top of uint64 leaves them room.
    Events that touch no visible order keep what they have.
    """
    book = book_for(events, start, corrections)
    used = np.concatenate([start.order_id, events.order_id])
    new_id = used[used < 2**62].max(initial=0) + np.uint64(1)
    columns, corrected = event_columns(events), correction_columns(corrections, len(events))
    return _settled_ids(book, columns, corrected, new_id)


@njit
def _settled_ids(book: Book, events: EventColumns, corrections: CorrectionColumns, new_id: np.uint64) -> np.ndarray:
    """Replay the events, noting the order that each one adds or takes from."""
    ids = events.order_id.copy()
    cursor = 0
    for i in range(len(ids)):
        kind, price, size = np.int64(events.kind[i]), np.int64(events.price[i]), np.int64(events.size[i])
        if ids[i] == 0 and kind == _ADD:
            ids[i] = new_id
            new_id += np.uint64(1)
        elif ids[i] == 0 and _CANCEL <= kind <= _EXECUTE:
            s = 0 if events.side[i] > 0 else 1
            row = level_of(book, s, price)
            if row >= 0:
                ids[i] = np.uint64(book.orders[rule_slot(book, s, row, kind, size), ID])
        apply(book, kind, events.side[i], price, size, ids[i])
        cursor = amend(book, corrections, cursor, i)
    return ids


def _name(instrument: Instrument, since_midnight: np.ndarray, *, clock: int, levels: int) -> LobsterName:
    """Return the day's name, refusing a symbol or a number of levels that it cannot carry."""
    begin = clock if 0 <= clock <= since_midnight[0] else int(since_midnight[0])
    start_ms = begin // _NS_PER_MS
    end_ms = max(CLOSE_MS, -(int(-since_midnight[-1]) // _NS_PER_MS), start_ms + 1)
    name = LobsterName(instrument.symbol, instrument.trading_day, start_ms, end_ms, levels)
    if parse_name(name.stem("message") + ".csv") != (name, "message"):
        raise InputError(
            "a day that LOBSTER's file names cannot carry",
            where="the instrument's symbol and the number of levels",
            expected=PATTERN.format(half="message") + " with a ticker of letters, digits, '.', '-' and '_'",
            was=f"symbol {instrument.symbol!r}, {levels} levels",
            remedy="rename the instrument, or ask for 1 to 9999 levels",
        )
    return name


def _check_writable(events: Events, since_midnight: np.ndarray, instrument: Instrument) -> None:
    """Refuse events that no LOBSTER row can hold, naming the first."""
    if instrument.price_scale != PRICE_SCALE:
        raise InputError(
            "a price scale that LOBSTER files do not have",
            where=f"instrument {instrument.symbol}",
            expected=f"{PRICE_SCALE} quanta in a unit of currency",
            was=instrument.price_scale,
            remedy="convert the prices",
        )
    if not len(events):
        raise InputError(
            "no events to write", where="write_lobster", expected="at least one", was=0, remedy="pass some events"
        )
    control = events.kind == Kind.CONTROL
    order = ~control & (events.kind != Kind.CROSS)
    rules = [
        ("an event of another day", (since_midnight < 0) | (since_midnight >= NS_PER_DAY), "time_ns"),
        ("time that runs backwards", np.append(False, np.diff(events.time_ns) < 0), "time_ns"),
        ("a control event without a LOBSTER row", control & ~np.isin(events.code, list(CODE_OF_HALT.values())), "code"),
        ("an event without a side", ~control & (abs(events.side) != 1), "side"),
        ("a price out of range", order & (events.price < 1), "price"),
        ("a price out of range", (events.price < 0) | (events.price >= EMPTY_PRICE), "price"),
        ("a size out of range", (order & (events.size < 1)) | (events.size < 0), "size"),
    ]
    for what, wrong, column in rules:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"{what}, which LOBSTER cannot hold",
                where=f"event {row}, {column}",
                expected="halts, resumptions and orders of one trading day, in order of time",
                was=f"{getattr(events, column)[row]} in an event of kind {events.kind[row]}",
                remedy="leave the event out, or write another format",
            )


def _message_frame(events: Events, since_midnight: np.ndarray, ids: np.ndarray) -> pl.DataFrame:
    """Return the six columns of a message file."""
    control = events.kind == Kind.CONTROL
    halt_price = np.zeros(max(CODE_OF_HALT.values()) + 1, np.int64)
    for price, code in CODE_OF_HALT.items():
        halt_price[code] = price
    seconds, fraction = np.divmod(since_midnight, NS_PER_SECOND)
    columns = {
        "type": events.kind,
        "order id": np.where(control, np.uint64(0), ids),
        "size": np.where(control, 0, events.size),
        "price": np.where(control, halt_price[np.where(control, events.code, 0)], events.price),
        "direction": np.where(control, -1, events.side),
    }
    parts = pl.DataFrame({"seconds": seconds, "fraction": fraction})
    time = parts.select(time=pl.format("{}.{}", "seconds", pl.col("fraction").cast(pl.String).str.zfill(9)))
    return time.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def _book_frame(states: BookStates) -> pl.DataFrame:
    """Return the 4 x levels columns of an order-book file."""
    rows, _, levels = states.price.shape
    table = np.empty((rows, levels, 2, 2), np.int64)  # level, ask before bid, price and size
    for place, index, dummy in ((0, 1, EMPTY_PRICE), (1, 0, -EMPTY_PRICE)):
        size = states.size[:, index]
        table[:, :, place, 0] = np.where(size > 0, states.price[:, index], dummy)
        table[:, :, place, 1] = size
    return pl.from_numpy(table.reshape(rows, 4 * levels))


def _write_all(frames: dict[pathlib.Path, pl.DataFrame]) -> None:
    """Write every file beside its place, then move them all there."""
    unfinished = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in frames}
    try:
        for path, frame in frames.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.write_csv(unfinished[path], include_header=False, line_terminator="\n")
        for path, temporary in unfinished.items():
            os.replace(temporary, path)
    finally:
        for temporary in unfinished.values():
            temporary.unlink(missing_ok=True)
