"""Write days of orders as a NASDAQ TotalView-ITCH 5.0 file, which any tool for that format can read.

In ITCH, every removal names the order that it reduces. A removal that names no order, or more than its order holds, is
distributed over orders as the book distributes it, so one event may become several messages.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.loops import (
    as_column,
    correction_columns,
    event_columns,
)
from lob_jax.book.replay import book_for
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.events.schema import Kind
from lob_jax.feeds.itch.codes import SIZES
from lob_jax.feeds.itch.scan import SYMBOL
from lob_jax.feeds.reading.order_table import OrderTable, new_table
from lob_jax.jit import njit
from lob_jax.writers.itch_stream import At, Out, write_day

PRICE_SCALE = 10_000
_MOST = 2**32 - 1  # of a price and of a size
_LONGEST = 2 + max(SIZES.values())


def write_itch(path: pathlib.Path, days: MarketDay | Sequence[MarketDay]) -> pathlib.Path:
    """Write one day, or several instruments' days of the same date, as one file; return its path.

    The starting book and the sizes that corrections add become new orders. An order keeps its reference unless it has
    none or another live order in the file uses it. A FEED_GAP, which has no message in ITCH, and a removal from a level
    that does not exist are left out. Sizes are written in lots. The messages of several days are merged by time, those
    with equal times in the order of `days`.

    Raises:
      InputError: ITCH cannot represent the days: a pooled book, a price scale that does not divide 10,000, a symbol of
        more than 8 letters, or a price, size or time out of range; the same symbol twice; or different dates.
    """
    days = [days] if isinstance(days, MarketDay) else list(days)
    _check_together(days)
    at = np.array([0, _first_fresh(days), 0], np.int64)
    live = new_table(sum(_most_orders(day) for day in days))
    # One table of live references and one counter for all days: references are unique within the file.
    streams = [_stream(day, locate, at, live) for locate, day in enumerate(days, 1)]
    begins = [_clock(day) for day in days]
    end = max(_clock(day, last=True) for day in days)
    head = [_system(b"O", min(begins)), _system(b"S", min(begins))]
    head += [_directory(day, locate, min(begins)) for locate, day in enumerate(days, 1)]
    body = streams[0] if len(streams) == 1 else _merged(streams)
    _replace(path, [*head, body, _system(b"E", end), _system(b"C", end)])
    return path


def _replace(path: pathlib.Path, parts: list[bytes | np.ndarray]) -> None:
    """Write a temporary file next to the target, then rename it, so that the target is never incomplete."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            for part in parts:
                file.write(part)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _system(letter: bytes, time: int) -> bytes:
    return b"\x00\x0cS" + bytes(4) + time.to_bytes(6, "big") + letter


def _directory(day: MarketDay, locate: int, time: int) -> bytes:
    """Return an R message (stock directory): round lots of 100, neutral values in the other fields."""
    begin = b"R" + locate.to_bytes(2, "big") + bytes(2) + time.to_bytes(6, "big") + _symbol(day)
    return b"\x00\x27" + begin + b"QN" + (100).to_bytes(4, "big") + b"NCZ PNN1N" + bytes(4) + b"N"


def _symbol(day: MarketDay) -> bytes:
    return day.instrument.symbol.encode("ascii").ljust(8)


def _most_orders(day: MarketDay) -> int:
    return len(day.start) + int(np.count_nonzero(day.events.kind == Kind.ADD)) + len(day.corrections)


def _first_fresh(days: Sequence[MarketDay]) -> int:
    """Return a reference above all ids below 2^62; larger ids are ignored, since new ones above them could overflow."""
    ids = [column for day in days for column in (day.start.order_id, day.events.order_id)]
    return 1 + max((int(column[column < 2**62].max(initial=0)) for column in ids), default=0)


def _clock(day: MarketDay, *, last: bool = False) -> int:
    """Return ns after midnight of the start, at most the first event's time; with `last`, of the last event."""
    times = [int(day.start.time_ns)]
    if len(day.events):
        times = [int(day.events.time_ns.max())] if last else [*times, int(day.events.time_ns.min())]
    return min(max(min(times) - day.instrument.midnight_ns(), 0), NS_PER_DAY - 1)


def _stream(day: MarketDay, locate: int, at: np.ndarray, live: OrderTable) -> np.ndarray:
    """Return the messages of one day, without the system and directory messages around them."""
    _check_writable(day)
    book = book_for(day)
    # Upper bound: every order begins and ends once, and each event and correction reduces at most one order in part.
    messages = 2 * _most_orders(day) + len(day.events) + len(day.corrections)
    out = Out(
        data=np.empty((messages + 1) * _LONGEST, np.uint8),
        at=at,
        references=np.zeros(len(book.orders), np.int64),
        live=live,
        stock=np.frombuffer(_symbol(day), np.uint8).copy(),
        locate=locate,
        factor=PRICE_SCALE // day.instrument.price_scale,
    )
    at[At.LENGTH] = 0
    times = as_column(day.events.time_ns - day.instrument.midnight_ns(), np.int64)
    columns, corrected = event_columns(day.events), correction_columns(day.corrections, len(day.events))
    write_day(book, columns, times, corrected, _clock(day), out)
    return out.data[: at[At.LENGTH]]


def _merged(streams: list[np.ndarray]) -> np.ndarray:
    """Merge streams of messages by time; messages of the same stream keep their order."""
    begins, times = zip(*(_message_times(stream) for stream in streams), strict=True)
    offsets = np.cumsum([0, *(len(stream) for stream in streams)])
    begin = np.concatenate([one + offset for one, offset in zip(begins, offsets, strict=False)])
    data = np.concatenate(streams)
    return _copied(data, begin[np.argsort(np.concatenate(times), kind="stable")])


@njit
def _message_times(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of each message, and the running maximum of the message times."""
    begin, time = np.empty(len(data) // 14 + 1, np.int64), np.empty(len(data) // 14 + 1, np.int64)
    count, p, latest = 0, 0, 0
    while p < len(data):
        now = 0
        for k in range(6):
            now = (now << 8) | np.int64(data[p + 7 + k])
        latest = max(latest, now)
        begin[count], time[count] = p, latest
        count += 1
        p += 2 + ((np.int64(data[p]) << 8) | np.int64(data[p + 1]))
    return begin[:count].copy(), time[:count].copy()


@njit
def _copied(data: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Return the messages that begin at the given positions, one after the other."""
    out, at = np.empty(len(data), np.uint8), 0
    for p in begin:
        length = 2 + ((np.int64(data[p]) << 8) | np.int64(data[p + 1]))
        out[at : at + length] = data[p : p + length]
        at += length
    return out


def _check_together(days: Sequence[MarketDay]) -> None:
    """Raise InputError for days that one file cannot hold."""
    seen = [(day.instrument.symbol, day.instrument.trading_day) for day in days]
    symbols = {symbol for symbol, _ in seen}
    legal = all(SYMBOL.fullmatch(symbol.encode().ljust(8)) for symbol in symbols)
    if not days or not legal or len(symbols) < len(seen) or len({day for _, day in seen}) > 1:
        raise InputError(
            "days that one ITCH file cannot hold",
            where="write_itch",
            expected="one or more symbols of at most 8 printable letters, each once, all of one date",
            was=seen[:8],
            remedy="rename the instruments, or write several files",
        )


def _check_writable(day: MarketDay) -> None:
    """Raise InputError for the first value that no message can hold."""
    scale, events, start, corrections = day.instrument.price_scale, day.events, day.start, day.corrections
    if start.pooled or scale < 1 or PRICE_SCALE % scale:
        raise InputError(
            "a day that ITCH cannot hold",
            where=f"{day.instrument.symbol} {day.instrument.trading_day}",
            expected=f"orders, and a price scale that divides {PRICE_SCALE}",
            was=f"price scale {scale}" + (", levels instead of orders" if start.pooled else ""),
            remedy="write another format",
        )
    most_price, order = _MOST * scale // PRICE_SCALE, events.kind != Kind.CONTROL
    since = events.time_ns - day.instrument.midnight_ns()
    rules = [
        ("time_ns", (since < 0) | (since >= NS_PER_DAY), since),
        ("price", order & ((events.price < 1) | (events.price > most_price)), events.price),
        ("size", order & ((events.size < 1) | (events.size > _MOST)), events.size),
        ("side", order & (abs(events.side) != 1), events.side),
        ("starting price", (start.price < 1) | (start.price > most_price), start.price),
        ("starting size", (start.size < 1) | (start.size > _MOST), start.size),
        ("corrected price", (corrections.price < 1) | (corrections.price > most_price), corrections.price),
        ("corrected size", (corrections.size < 0) | (corrections.size > _MOST), corrections.size),
    ]
    for name, wrong, values in rules:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"a {name} that ITCH cannot hold",
                where=f"{day.instrument.symbol}, row {row}",
                expected=f"times of the day, prices of 1..{most_price} quanta, sizes of 1..{_MOST}, sides of 1 or -1",
                was=int(values[row]),
                remedy="leave the row out, or write another format",
            )
