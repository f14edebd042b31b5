"""LOBSTER days: a message file and an order-book file, row for row, read strictly.

The book row k is the state after message k, so both files are needed: the book gives the start and,
where it contradicts a replay of the messages, the corrections.
"""

import dataclasses
import hashlib
import pathlib
from typing import Any

import numpy as np
import polars as pl

from lob_jax.book import replay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY, Instrument
from lob_jax.events.schema import ASK, BID, Code, Events, Flag, Kind
from lob_jax.feeds.feed import MarketDay
from lob_jax.feeds.lobster_files import Half, LobsterName, Pair, find_pair, list_days
from lob_jax.feeds.strict_csv import nanoseconds, parse_table

EMPTY_PRICE = 9_999_999_999  # of an ask level without orders; a bid level's is minus this
MESSAGE_COLUMNS = {
    "time": "seconds",
    "type": "int64",
    "order id": "wide",
    "size": "int64",
    "price": "int64",
    "direction": "int64",
}
CODE_OF_HALT = {-1: Code.HALT, 0: Code.RESUME_QUOTE, 1: Code.RESUME_TRADE}  # by the message's price
_HIDDEN_SIDE_UNTIL = "2014-01-01"  # from that year on the exchange reports every hidden order as a buy order
_REMEDY = "fetch the file again; if it was edited or made by another tool, mend the line"


@dataclasses.dataclass(frozen=True)
class LobsterFeed:
    """Reads LOBSTER days: plain, gzipped or zipped pairs of files.

    Attributes:
      tick: price quanta (1e-4 of the currency) between neighbouring order prices.
      venue: where the orders rest.
      time_zone: of the seconds after midnight that the files count in.
    """

    tick: int = 100
    venue: str = "NASDAQ"
    time_zone: str = "America/New_York"

    def days(self, path: pathlib.Path) -> list[pathlib.Path]:
        """List the message files (or zips) at a path, a file or a folder, by date and then by symbol.

        Raises:
          InputError: nothing is there, a name cannot be parsed, a half is missing, or a day lies there twice.
        """
        return list_days(pathlib.Path(path))

    def read(self, path: pathlib.Path) -> MarketDay:
        """Read the day of a message file, or of a zip; its order book is found by its name.

        The events keep the file's order and numbering: `sequence` is the row, counted from 0. A trading
        halt's price becomes a `Code`. The start is book row 0 with message 0 undone.

        Raises:
          InputError: the first line of either file that is not what LOBSTER's format says, or a missing half.
        """
        pair = find_pair(pathlib.Path(path))
        instrument = self._instrument(pair.name)
        events = _read_messages(pair.message, instrument)
        price, size, ended = _read_book(pair.orderbook, levels=pair.name.levels, tick=self.tick)
        _check_lengths(pair, len(events), len(price))
        start = start_book(events, name=pair.name, midnight_ns=instrument.midnight_ns(), price=price[0], size=size[0])
        corrections = replay.find_corrections(events, start=start, price=price, size=size)
        if not ended:
            _check_last_size(pair.orderbook, corrections, price[-1], size[-1], row=len(events) - 1)
        report = _report(pair, events, price=price, corrections=corrections)
        return MarketDay(instrument, start, events, corrections, report)

    def _instrument(self, name: LobsterName) -> Instrument:
        return Instrument(
            symbol=name.symbol,
            venue=self.venue,
            trading_day=name.trading_day,
            time_zone=self.time_zone,
            price_scale=10_000,
            tick=self.tick,
        )


def read_messages(path: pathlib.Path, *, feed: LobsterFeed | None = None) -> Events:
    """Read only the messages of a day; errors as `LobsterFeed.read`."""
    pair = find_pair(pathlib.Path(path))
    return _read_messages(pair.message, (feed or LobsterFeed())._instrument(pair.name))


def read_book_rows(path: pathlib.Path, *, tick: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Read only the order book of a day, named by its message file or zip.

    Returns:
      price, size: int64 [E, 2, N], side 0 bid and 1 ask, best level first, 0 where a level is empty;
        row k is the state after message k.

    Raises:
      InputError: as `LobsterFeed.read`, but for what only the messages can tell.
    """
    pair = find_pair(pathlib.Path(path))
    price, size, _ = _read_book(pair.orderbook, levels=pair.name.levels, tick=tick)
    return price, size


def start_book(
    events: Events, *, name: LobsterName, midnight_ns: int, price: np.ndarray, size: np.ndarray
) -> BookSnapshot:
    """Return the book before event 0: the state after it (price, size [2, N]) with the event undone.

    Each level is one anonymous order. The clock is the session's start, or the first event's time if earlier.
    """
    levels = price.shape[1]
    undone = int(events.side[0]) if events.kind[0] in (Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE) else 0
    change = int(events.size[0]) * (-1 if events.kind[0] == Kind.ADD else 1)
    sides, prices, sizes, last_best = [], [], [], []
    for index, side in enumerate((BID, ASK)):
        book = {int(p): int(s) for p, s in zip(price[index], size[index], strict=True) if s}
        if side == undone:
            book[int(events.price[0])] = book.get(int(events.price[0]), 0) + change
        occupied = sorted((p for p, s in book.items() if s > 0), key=lambda p, side=side: -side * p)[:levels]
        sides += [side] * len(occupied)
        prices += occupied
        sizes += [book[p] for p in occupied]
        last_best.append(occupied[0] if occupied else 0)
    return BookSnapshot(
        time_ns=min(midnight_ns + name.start_ms * 10**6, int(events.time_ns[0])),
        side=np.array(sides, np.int8),
        price=np.array(prices, np.int64),
        size=np.array(sizes, np.int64),
        order_id=np.zeros(len(prices), np.uint64),
        last_best=np.array(last_best, np.int64),
        window=levels,
    )


def _read_messages(half: Half, instrument: Instrument) -> Events:
    """Read a message file into events."""
    table = parse_table(half.read(), MESSAGE_COLUMNS, where=half)
    frame = table.frame
    columns = {name: frame[name].to_numpy() for name in ("type", "size", "price", "direction")}
    columns["time"] = nanoseconds(frame["time"])
    order_id = frame["order id"]
    columns["order id"] = order_id.clip(-2, 2).cast(pl.Int64).to_numpy()  # all that the rules ask of it
    _check_messages(columns, frame, half, tick=instrument.tick)
    if table.fault is not None:
        raise table.fault
    control = columns["type"] == Kind.CONTROL
    unnamed = pl.when(order_id < 0).then(0).otherwise(order_id).cast(pl.UInt64)
    return Events.from_columns(
        time_ns=instrument.midnight_ns() + columns["time"],
        kind=columns["type"].astype(np.uint8),
        code=np.where(control, _halt_codes(columns["price"]), 0).astype(np.uint8),
        side=np.where(control, 0, columns["direction"]).astype(np.int8),
        price=np.where(control, 0, columns["price"]),
        size=columns["size"],
        order_id=pl.select(unnamed).to_series().to_numpy(),
        flags=_flags(columns["time"], columns["type"], instrument.trading_day),
    )


def _halt_codes(price: np.ndarray) -> np.ndarray:
    """Return the Code that a halt message's price stands for, 0 for any other price."""
    return np.select([price == halt for halt in CODE_OF_HALT], [int(code) for code in CODE_OF_HALT.values()], 0)


def _flags(time: np.ndarray, kind: np.ndarray, trading_day: str) -> np.ndarray:
    """Return the last message of each time stamp, and trades whose resting side, hence aggressor, is known."""
    last = np.append(time[1:] != time[:-1], True)
    known = kind == Kind.EXECUTE
    if trading_day < _HIDDEN_SIDE_UNTIL:
        known |= kind == Kind.EXECUTE_HIDDEN
    return (last * int(Flag.LAST_IN_GROUP) + known * int(Flag.AGGRESSOR_KNOWN)).astype(np.uint16)


def _check_messages(columns: dict[str, np.ndarray], frame: pl.DataFrame, half: Half, *, tick: int) -> None:
    """Refuse the first message that breaks a rule, naming its line and column."""
    rules = _message_rules(columns, tick)
    first = [int(np.argmax(bad)) if bad.any() else len(bad) for _, _, _, bad in rules]
    row = min(first, default=0)
    if row == frame.height:
        return
    what, column, expected, _ = rules[first.index(row)]
    was = frame[column][row]
    if column == "price" and "tick" in what:
        expected = f"a multiple of {tick}"
        remedy = f"mend the line, or read the file with a tick that fits, such as {np.gcd(tick, was)}"
    elif "backwards" in what:
        was, remedy = f"{was} after {frame[column][row - 1]}", _REMEDY
    else:
        remedy = _REMEDY
    position = list(MESSAGE_COLUMNS).index(column) + 1
    where = f"{half}, line {row + 1}, column {position} ({column})"
    raise InputError(what, where=where, expected=expected, was=was, remedy=remedy)


def _message_rules(columns: dict[str, np.ndarray], tick: int) -> list[tuple[str, str, object, np.ndarray]]:
    """Return what may be wrong with a message: the fault, its column, what is expected, and a mask of rows."""
    time, kind, order_id, size, price, direction = (columns[name] for name in MESSAGE_COLUMNS)
    halt, cross = kind == Kind.CONTROL, kind == Kind.CROSS
    ordinary = ~halt & ~cross
    visible = ordinary & (kind != Kind.EXECUTE_HIDDEN)
    backwards = np.append(False, time[1:] < time[:-1]) if len(time) else np.zeros(0, bool)
    return [
        ("a time outside the day", "time", "less than 86400 seconds after midnight", time >= NS_PER_DAY),
        ("time that runs backwards", "time", "no earlier than the line before", backwards),
        ("an unknown message type", "type", "1 to 7", (kind < Kind.ADD) | (kind > Kind.CONTROL)),
        ("a direction that is neither side", "direction", "1 or -1", abs(direction) != 1),
        ("a halt message with a direction", "direction", -1, halt & (direction != -1)),
        ("a halt message with an unknown code", "price", list(CODE_OF_HALT), halt & (abs(price) > 1)),
        ("a halt message with an order id", "order id", 0, halt & (order_id != 0)),
        ("a halt message with a size", "size", 0, halt & (size != 0)),
        ("a negative size", "size", "0 or more", size < 0),
        ("a message without size", "size", "1 or more", ordinary & (size == 0)),
        ("a price that no order can have", "price", f"1 to {EMPTY_PRICE - 1}", ~halt & (price >= EMPTY_PRICE)),
        ("a price that no order can have", "price", f"1 to {EMPTY_PRICE - 1}", ordinary & (price < 1)),
        ("a negative price", "price", "0 or more", cross & (price < 0)),
        ("a price between ticks", "price", "", visible & (price % tick != 0)),
        ("a negative order id", "order id", "0 or more", order_id < np.where(cross, -1, 0)),
    ]


def _read_book(half: Half, *, levels: int, tick: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Read an order-book file into price and size, int64 [E, 2, N], 0 if empty; and whether its last line ends."""
    names = [f"{side} {field} {i + 1}" for i in range(levels) for side in ("ask", "bid") for field in ("price", "size")]
    table = parse_table(half.read(), dict.fromkeys(names, "int64"), where=half)
    rows = table.frame.to_numpy(order="c").reshape(-1, levels, 2, 2)[:, :, ::-1]  # the ask comes first in the file
    price = np.ascontiguousarray(rows[..., 0].transpose(0, 2, 1))
    size = np.ascontiguousarray(rows[..., 1].transpose(0, 2, 1))
    _check_book(price, size, half, tick=tick)
    if table.fault is not None:
        raise table.fault
    price[size == 0] = 0
    return price, size, table.ended


def _check_book(price: np.ndarray, size: np.ndarray, half: Half, *, tick: int) -> None:
    """Refuse the first row with a level that cannot be, naming its line and column."""
    empty = np.array([[-EMPTY_PRICE], [EMPTY_PRICE]])
    outward = np.array([[-1], [1]])
    occupied = (size > 0) & (price > 0) & (price < EMPTY_PRICE) & (price % tick == 0)
    vacant = (size == 0) & (price == empty)
    sound = occupied | vacant
    sound[:, :, 1:] &= vacant[:, :, 1:] | (outward * np.diff(price, axis=2) > 0)
    if sound.all():
        return
    row, index, level = (int(i) for i in np.argwhere(~sound)[0])
    p, s, dummy = int(price[row, index, level]), int(size[row, index, level]), int(empty[index, 0])
    column = 4 * level + (1 if index else 3)
    remedy = _REMEDY
    if s < 0:
        what, expected, was, column = "a negative size", "0 or more", s, column + 1
    elif (s == 0) != (p == dummy):
        what, expected, was = "a level that is half empty", f"price {dummy} with size 0, or neither", f"{p}, size {s}"
    elif not 0 < p < EMPTY_PRICE:
        what, expected, was = "a price that no order can have", f"1 to {EMPTY_PRICE - 1}, or {dummy} with size 0", p
    elif p % tick:
        what, expected, was = "a price between ticks", f"a multiple of {tick}", p
        remedy = f"mend the line, or read the file with a tick that fits, such as {np.gcd(tick, p)}"
    else:
        what, expected, was = "levels out of order", "each level worse than the one before", p
    name = f"{('bid', 'ask')[index]} level {level + 1}"
    raise InputError(
        what, where=f"{half}, line {row + 1}, column {column} ({name})", expected=expected, was=was, remedy=remedy
    )


def _check_last_size(half: Half, corrections: Corrections, price: np.ndarray, size: np.ndarray, *, row: int) -> None:
    """Refuse a file without a line feed at its end unless the replay confirms its last number, a bid size.

    (A message file needs no such proof: its last number is a whole direction or none.)
    """
    bid, size = int(price[0, -1]), int(size[0, -1])
    doubted = (corrections.event == row) & (corrections.side == BID) & (corrections.price == bid)
    if size and doubted.any():
        raise InputError(
            "a truncated last line: no line feed ends it, and the messages do not confirm its last number",
            where=f"{half}, line {row + 1}",
            expected="a line feed at the end",
            was=f"the file ends after {bid},{size}",
            remedy="fetch the file again; if it is whole, end it with a line feed",
        )


def _check_lengths(pair: Pair, messages: int, rows: int) -> None:
    """Refuse a pair whose files do not match row for row."""
    if messages != rows:
        raise InputError(
            "the message and the order-book file differ in length",
            where=f"{pair.orderbook}, line {min(messages, rows) + 1}",
            expected=f"{messages} rows, as in {pair.message}",
            was=f"{rows} rows",
            remedy="fetch both files again: one of them is cut short, or they are of different days",
        )


def _report(pair: Pair, events: Events, *, price: np.ndarray, corrections: Corrections) -> dict[str, Any]:
    """Say what was read, as plain JSON values; lines count from 1."""
    bid, ask = price[:, 0, 0], price[:, 1, 0]
    kinds = np.bincount(events.kind, minlength=len(Kind) + 1)
    gaps = _unexplained_rows(corrections, price)
    return {
        "feed": "lobster",
        "inputs": {half.path.name: _sha256(half.path) for half in (pair.message, pair.orderbook)},
        "rows_read": len(events),
        "rows_kept": len(events),
        "rows_dropped": {},
        "kinds": {kind.name: int(kinds[kind]) for kind in Kind},
        "corrections": len(corrections),
        "time_reversals": int((np.diff(events.time_ns) < 0).sum()),
        "crossed_rows": int(((bid > ask) & (ask > 0)).sum()),
        "locked_rows": int(((bid == ask) & (ask > 0)).sum()),
        "gaps": len(gaps),
        "first_gap_lines": [int(row) + 1 for row in gaps[:10]],
    }


def _unexplained_rows(corrections: Corrections, price: np.ndarray) -> np.ndarray:
    """Return the rows whose book does not follow from the row before and the message; something is missing there.

    A correction is explained if it reveals a level: one behind the last of the levels that fill the row before.
    """
    asked = corrections.event > 0
    event, side = corrections.event[asked], corrections.side[asked].astype(np.int64)
    behind = price[event - 1, (side < 0).astype(np.int64), -1]
    revealed = (behind > 0) & (corrections.size[asked] > 0) & (side * (behind - corrections.price[asked]) > 0)
    return np.unique(event[~revealed])


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
