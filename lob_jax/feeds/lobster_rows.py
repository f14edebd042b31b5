"""The rows of LOBSTER's two files: what each column means, and what is refused, by line and column."""

import numpy as np
import polars as pl

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY, Instrument
from lob_jax.events.schema import Code, Events, Flag, Kind
from lob_jax.feeds.lobster_files import Half
from lob_jax.feeds.strict_csv import nanoseconds, parse_table

EMPTY_PRICE = 9_999_999_999  # of an ask level without orders; a bid level's is minus this
MAX_SIZE = 10**12 - 1  # far above any order; it keeps sums of sizes within an int64
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


def read_message_file(half: Half, instrument: Instrument) -> Events:
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
        ("a halt message with an unknown code", "price", list(CODE_OF_HALT), halt & ((price < -1) | (price > 1))),
        ("a halt message with an order id", "order id", 0, halt & (order_id != 0)),
        ("a halt message with a size", "size", 0, halt & (size != 0)),
        ("a negative size", "size", "0 or more", size < 0),
        ("a size that no order can have", "size", f"up to {MAX_SIZE}", size > MAX_SIZE),
        ("a message without size", "size", "1 or more", ordinary & (size == 0)),
        ("a price that no order can have", "price", f"1 to {EMPTY_PRICE - 1}", ~halt & (price >= EMPTY_PRICE)),
        ("a price that no order can have", "price", f"1 to {EMPTY_PRICE - 1}", ordinary & (price < 1)),
        ("a negative price", "price", "0 or more", cross & (price < 0)),
        ("a price between ticks", "price", "", visible & (price % tick != 0)),
        ("a negative order id", "order id", "0 or more", order_id < np.where(cross, -1, 0)),
    ]


def read_book_file(half: Half, *, levels: int, tick: int) -> tuple[np.ndarray, np.ndarray, bool]:
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
    occupied = (size > 0) & (size <= MAX_SIZE) & (price > 0) & (price < EMPTY_PRICE) & (price % tick == 0)
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
    elif s > MAX_SIZE:
        what, expected, was, column = "a size that no level can have", f"up to {MAX_SIZE}", s, column + 1
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
