"""Convert NASDAQ TotalView-ITCH 5.0 messages to events, in one compiled loop over a block of bytes.

Each message is preceded by its length (2 bytes); all numbers are big-endian. For the layouts, see the Nasdaq
TotalView-ITCH 5.0 specification, section 1. Every message begins with its type (1 byte), the stock's locate code (2),
a tracking number (2) and ns since midnight (6).
"""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.events.schema import ASK, BID, Code, Flag, Kind
from lob_jax.feeds.itch.codes import ALL, SIZE_OF, STOCKS, UNNAMED, UNWANTED, At, Outcome, Tally
from lob_jax.feeds.reading.order_table import ABSENT, EXTRA, PRICE, SIDE, SIZE, OrderTable, find, insert, remove
from lob_jax.feeds.reading.scale import divisor_with
from lob_jax.feeds.reading.words import big_16_at, big_32_at, big_64_at
from lob_jax.jit import in_place, inlined


class _Role(enum.IntEnum):
    """How a message type is processed."""

    META = 0  # without an event; types from NEW on need a registered locate code
    SYSTEM = 1
    ENTRY = 2  # an entry of the stock directory
    NEW = 3  # a new order
    LESS = 4  # an order is reduced
    GONE = 5  # an order is deleted
    SWAP = 6  # an order replaces another
    TRADE = 7
    AUCTION = 8
    STATUS = 9


_ADD, _CANCEL, _DELETE, _EXECUTE = int(Kind.ADD), int(Kind.CANCEL), int(Kind.DELETE), int(Kind.EXECUTE)
_HIDDEN, _CROSS, _CONTROL = int(Kind.EXECUTE_HIDDEN), int(Kind.CROSS), int(Kind.CONTROL)
_LAST, _KNOWN = int(Flag.LAST_IN_GROUP), int(Flag.LAST_IN_GROUP | Flag.AGGRESSOR_KNOWN)
_DAY = int(NS_PER_DAY)
_TIME_BITS = (1 << 48) - 1
_BUY, _SELL, _YES, _NO, _NASDAQ = ord("B"), ord("S"), ord("Y"), ord("N"), ord("Q")
_STATE = np.zeros(256, np.int64)  # trading states and actions
for _letter, _code in (("H", Code.HALT), ("P", Code.HALT), ("Q", Code.RESUME_QUOTE), ("T", Code.RESUME_TRADE)):
    _STATE[ord(_letter)] = _code
_SESSION = np.full(256, -1, np.int64)  # system events; 0 for those without an event here
for _letter, _code in (("O", 0), ("S", 0), ("Q", Code.SESSION_OPEN), ("M", Code.SESSION_CLOSE), ("E", 0), ("C", 0)):
    _SESSION[ord(_letter)] = _code
_ROLE_OF = np.zeros(256, np.int64)  # by message type
for _letters, _role in (
    *(
        ("S", _Role.SYSTEM),
        ("R", _Role.ENTRY),
        ("AF", _Role.NEW),
        ("ECX", _Role.LESS),
        ("D", _Role.GONE),
        ("U", _Role.SWAP),
    ),
    *(("P", _Role.TRADE), ("Q", _Role.AUCTION), ("Hh", _Role.STATUS)),
):
    for _letter in _letters:
        _ROLE_OF[ord(_letter)] = _role
_E, _C, _X, _H = ord("E"), ord("C"), ord("X"), ord("H")


class Rows(NamedTuple):
    """Buffers for R events, with columns as in `Events` and `instrument` int32 [R], `ALL` if it concerns all."""

    time_ns: np.ndarray
    sequence: np.ndarray
    kind: np.ndarray
    code: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    order_id: np.ndarray
    flags: np.ndarray
    instrument: np.ndarray


class Reader(NamedTuple):
    """The state of a reading between two blocks, except for the live orders.

    Attributes:
      at: int64, by `At`.
      instrument: int32 [STOCKS], by locate code: index of a requested instrument, UNWANTED or UNNAMED.
      name: int64 [STOCKS], by locate code: the 8 bytes of the symbol.
      tally: int64 [STOCKS, 4], by instrument and `Tally`.
      idle: int64 [STOCKS + 1, 128], by instrument and type: messages without an event; the last row, without a stock.
      divisor: int64 [STOCKS], by instrument: the greatest common divisor of the prices of its orders, 0 without any.
      rows: buffers for the events.
    """

    at: np.ndarray
    instrument: np.ndarray
    name: np.ndarray
    tally: np.ndarray
    idle: np.ndarray
    divisor: np.ndarray
    rows: Rows


class Rules(NamedTuple):
    """Settings of a reading.

    Attributes:
      midnight_ns: UTC ns of local midnight.
      tick: price quanta per tick.
      hidden_known: 1 if the messages give the true side of hidden trades, else 0.
    """

    midnight_ns: int
    tick: int
    hidden_known: int


def new_reader(rows: int) -> Reader:
    """Return the initial state for reading a file, with room for `rows` events."""
    return Reader(
        at=np.zeros(len(At), np.int64),
        instrument=np.full(STOCKS, UNNAMED, np.int32),
        name=np.zeros(STOCKS, np.int64),
        tally=np.zeros((STOCKS, len(Tally)), np.int64),
        idle=np.zeros((STOCKS + 1, 128), np.int64),
        divisor=np.zeros(STOCKS, np.int64),
        rows=new_rows(rows),
    )


def new_rows(count: int) -> Rows:
    """Return uninitialised buffers for `count` events."""
    kinds = {"kind": np.uint8, "code": np.uint8, "side": np.int8, "flags": np.uint16, "instrument": np.int32}
    return Rows(*(np.empty(count, kinds.get(name, np.int64)) for name in Rows._fields))


@in_place
def read_messages(data: np.ndarray, filled: int, reader: Reader, table: OrderTable, rules: Rules) -> Outcome:
    """Read the messages that are complete in data[:filled], uint8, from `at[At.POSITION]` on; return why it ended.

    Unless the table or the rows are full, `at[At.POSITION]` is then after the message that ended it.
    """
    at = reader.at
    position = at[At.POSITION]
    while position + 2 <= filled:
        length = big_16_at(data, position)
        begin = position + 2
        if begin + length > filled:
            break
        # Check for room before the message is consumed, so that it is read again once there is room.
        if 2 * (table.used[0] + 1) > len(table.keys):
            return Outcome.TABLE_FULL
        if at[At.ROWS] + 2 > len(reader.rows.kind):
            return Outcome.ROWS_FULL
        at[At.MESSAGE] = position
        at[At.POSITION] = position = begin + length
        if length == 0:
            return Outcome.END_MARK
        at[At.NUMBER] += 1
        outcome = _read_one(data, begin, length, reader, table, rules)
        if outcome != Outcome.FINE:
            return outcome
    return Outcome.FINE


@inlined
def _read_one(data: np.ndarray, p: int, length: int, reader: Reader, table: OrderTable, rules: Rules) -> int:
    """Process the message at data[p:p + length]; return Outcome.FINE, Outcome.DIRECTORY or a fault."""
    letter = data[p]
    reader.at[At.WAS] = letter
    if SIZE_OF[letter] == 0:
        return Outcome.BAD_TYPE
    if SIZE_OF[letter] != length:
        reader.at[At.WAS] = length
        return Outcome.BAD_LENGTH
    time = big_64_at(data, p + 3) & _TIME_BITS  # of the 8 bytes, the last 6
    if time >= _DAY:
        reader.at[At.WAS] = time
        return Outcome.BAD_CLOCK
    locate = big_16_at(data, p + 1)
    stock = np.int64(reader.instrument[locate])
    role = _ROLE_OF[letter]
    if role == _Role.META:
        if stock != UNWANTED:
            reader.idle[stock if stock >= 0 else STOCKS, letter] += 1
        return Outcome.FINE
    if role == _Role.ENTRY:
        return Outcome.DIRECTORY
    time += rules.midnight_ns
    if role == _Role.SYSTEM:
        return _system(data, p, time, reader)
    if stock < 0:
        reader.at[At.WAS] = locate
        return Outcome.FINE if stock == UNWANTED else Outcome.NO_STOCK
    if role == _Role.NEW:
        return _new_order(data, p, time, stock, locate, reader, table, rules)
    if role == _Role.LESS:
        return _less(data, p, time, stock, reader, table)
    if role == _Role.GONE:
        return _gone(data, p, time, stock, reader, table)
    if role == _Role.SWAP:
        return _swap(data, p, time, stock, reader, table, rules)
    if role == _Role.STATUS:
        return _status(data, p, time, stock, locate, reader)
    return _trade(data, p, time, stock, locate, reader, rules)


@inlined
def _system(data: np.ndarray, p: int, time: int, reader: Reader) -> int:
    """S: the session opens or closes for every instrument."""
    code = _SESSION[data[p + 11]]
    if code < 0:
        reader.at[At.WAS] = data[p + 11]
        return Outcome.BAD_LETTER
    if code == 0:
        reader.idle[STOCKS, data[p]] += 1
    else:
        _emit(reader, time, _CONTROL, code, 0, 0, 0, 0, _LAST, ALL)
    return Outcome.FINE


@inlined
def _new_order(
    data: np.ndarray, p: int, time: int, stock: int, locate: int, reader: Reader, table: OrderTable, rules: Rules
) -> int:
    """A and F: an order joins the book."""
    order_id, letter = big_64_at(data, p + 11), data[p + 19]
    size, price = big_32_at(data, p + 20), big_32_at(data, p + 32)
    if big_64_at(data, p + 24) != reader.name[locate]:
        reader.at[At.WAS] = locate
        return Outcome.OTHER_STOCK
    if letter != _BUY and letter != _SELL:
        reader.at[At.WAS] = letter
        return Outcome.BAD_LETTER
    fault = _unfit(size, price, rules.tick, reader)
    if fault != Outcome.FINE:
        return fault
    live = table.used[0]
    row = insert(table, order_id)
    if table.used[0] == live:
        reader.at[At.WAS] = order_id
        return Outcome.IN_USE
    side = BID if letter == _BUY else ASK
    _rest(table, row, side, price, size, stock, reader)
    _emit(reader, time, _ADD, 0, side, price, size, order_id, _LAST, stock)
    reader.tally[stock, Tally.MADE] += 1
    return Outcome.FINE


@inlined
def _less(data: np.ndarray, p: int, time: int, stock: int, reader: Reader, table: OrderTable) -> int:
    """E, C and X: shares of an order trade or are withdrawn."""
    order_id, size, letter = big_64_at(data, p + 11), big_32_at(data, p + 19), data[p]
    row = _row_of(table, order_id, stock)
    reader.at[At.WAS] = order_id
    if row == ABSENT:
        return Outcome.NO_ORDER
    side, price, held = table.values[row, SIDE], table.values[row, PRICE], table.values[row, SIZE]
    reader.at[At.WAS] = size
    if size == 0:
        return Outcome.NO_SHARES
    if size > held:
        return Outcome.TOO_MANY
    flags = _LAST
    kind = _EXECUTE
    if letter == _E:
        flags = _KNOWN
    elif letter == _X:
        kind = _DELETE if size == held else _CANCEL
    else:
        printable = data[p + 31]
        if printable != _YES and printable != _NO:
            reader.at[At.WAS] = printable
            return Outcome.BAD_LETTER
        flags = _KNOWN if printable == _YES else _LAST
        reader.tally[stock, Tally.NON_PRINTABLE] += printable == _NO
        reader.tally[stock, Tally.OTHER_PRICE] += big_32_at(data, p + 32) != price
    if size == held:
        remove(table, row)
    else:
        table.values[row, SIZE] = held - size
    _emit(reader, time, kind, 0, side, price, size, order_id, flags, stock)
    reader.tally[stock, Tally.MADE] += 1
    return Outcome.FINE


@inlined
def _gone(data: np.ndarray, p: int, time: int, stock: int, reader: Reader, table: OrderTable) -> int:
    """D: all that remains of an order is withdrawn."""
    order_id = big_64_at(data, p + 11)
    row = _row_of(table, order_id, stock)
    if row == ABSENT:
        reader.at[At.WAS] = order_id
        return Outcome.NO_ORDER
    side, price, size = table.values[row, SIDE], table.values[row, PRICE], table.values[row, SIZE]
    remove(table, row)
    _emit(reader, time, _DELETE, 0, side, price, size, order_id, _LAST, stock)
    reader.tally[stock, Tally.MADE] += 1
    return Outcome.FINE


@inlined
def _swap(data: np.ndarray, p: int, time: int, stock: int, reader: Reader, table: OrderTable, rules: Rules) -> int:
    """U: an order leaves, and another of the same side joins the back of its level."""
    old, new = big_64_at(data, p + 11), big_64_at(data, p + 19)
    size, price = big_32_at(data, p + 27), big_32_at(data, p + 31)
    row = _row_of(table, old, stock)
    if row == ABSENT:
        reader.at[At.WAS] = old
        return Outcome.NO_ORDER
    fault = _unfit(size, price, rules.tick, reader)
    if fault != Outcome.FINE:
        return fault
    if find(table, new) != ABSENT:
        reader.at[At.WAS] = new
        return Outcome.IN_USE
    side = table.values[row, SIDE]
    # Write the DELETE before removing the order: `remove` shifts other orders into its row.
    _emit(reader, time, _DELETE, 0, side, table.values[row, PRICE], table.values[row, SIZE], old, 0, stock)
    remove(table, row)
    _rest(table, insert(table, new), side, price, size, stock, reader)
    _emit(reader, time, _ADD, 0, side, price, size, new, _LAST, stock)
    reader.tally[stock, Tally.MADE] += 1
    return Outcome.FINE


@inlined
def _status(data: np.ndarray, p: int, time: int, stock: int, locate: int, reader: Reader) -> int:
    """H and h: trading halts or resumes; an h for another market is ignored."""
    if big_64_at(data, p + 11) != reader.name[locate]:
        reader.at[At.WAS] = locate
        return Outcome.OTHER_STOCK
    letter = data[p + (19 if data[p] == _H else 20)]
    code = _STATE[letter]
    if code == 0 or (data[p] != _H and code != _STATE[ord("T")] and letter != _H):
        reader.at[At.WAS] = letter
        return Outcome.BAD_LETTER
    if data[p] != _H and data[p + 19] != _NASDAQ:
        reader.idle[stock, data[p]] += 1
        return Outcome.FINE
    _emit(reader, time, _CONTROL, code, 0, 0, 0, 0, _LAST, stock)
    reader.tally[stock, Tally.MADE] += 1
    return Outcome.FINE


@inlined
def _trade(data: np.ndarray, p: int, time: int, stock: int, locate: int, reader: Reader, rules: Rules) -> int:
    """P and Q: a hidden order trades, or an auction takes place."""
    hidden = _ROLE_OF[data[p]] == _Role.TRADE
    if big_64_at(data, p + (24 if hidden else 19)) != reader.name[locate]:
        reader.at[At.WAS] = locate
        return Outcome.OTHER_STOCK
    side, order_id, flags = BID, np.int64(0), _LAST
    if hidden:
        order_id, size, price = big_64_at(data, p + 11), big_32_at(data, p + 20), big_32_at(data, p + 32)
        if data[p + 19] != _BUY and data[p + 19] != _SELL:
            reader.at[At.WAS] = data[p + 19]
            return Outcome.BAD_LETTER
        side = BID if data[p + 19] == _BUY else ASK
        flags = _KNOWN if rules.hidden_known else _LAST
    else:
        size, price = big_64_at(data, p + 11), big_32_at(data, p + 27)
        if size == 0:
            reader.tally[stock, Tally.EMPTY_CROSS] += 1
            reader.idle[stock, data[p]] += 1
            return Outcome.FINE
    fault = _unfit(size, price, 1, reader)
    if fault != Outcome.FINE:
        return fault
    _emit(reader, time, _HIDDEN if hidden else _CROSS, 0, side, price, size, order_id, flags, stock)
    reader.tally[stock, Tally.MADE] += 1
    return Outcome.FINE


@inlined
def _unfit(size: int, price: int, tick: int, reader: Reader) -> int:
    """Return the fault of the size or price of an order or a trade, or Outcome.FINE."""
    reader.at[At.WAS] = size
    if size <= 0:
        return Outcome.NO_SHARES
    reader.at[At.WAS] = price
    if price <= 0:
        return Outcome.NO_PRICE
    return Outcome.FINE if tick == 1 or price % tick == 0 else Outcome.OFF_TICK


@inlined
def _row_of(table: OrderTable, order_id: int, stock: int) -> int:
    """Return the row of a live order of a stock, ABSENT if there is none."""
    row = find(table, order_id)
    return row if row != ABSENT and table.values[row, EXTRA] == stock else ABSENT


@inlined
def _rest(table: OrderTable, row: int, side: int, price: int, size: int, stock: int, reader: Reader) -> None:
    """Enter a new order in its row of the table."""
    reader.divisor[stock] = divisor_with(reader.divisor[stock], price)
    values = table.values[row]
    values[SIDE], values[PRICE], values[SIZE], values[EXTRA] = side, price, size, stock


@inlined
def _emit(
    reader: Reader,
    time: int,
    kind: int,
    code: int,
    side: int,
    price: int,
    size: int,
    order_id: int,
    flags: int,
    stock: int,
) -> None:
    """Append one event."""
    rows, i = reader.rows, reader.at[At.ROWS]
    rows.time_ns[i], rows.sequence[i], rows.kind[i], rows.code[i] = time, reader.at[At.NUMBER], kind, code
    rows.side[i], rows.price[i], rows.size[i], rows.order_id[i] = side, price, size, order_id
    rows.flags[i], rows.instrument[i] = flags, stock
    reader.at[At.ROWS] = i + 1
