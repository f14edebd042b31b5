"""The rows of LOBSTER's two files: the meaning of each column, and the rules that rows must satisfy."""

import enum
from collections.abc import Callable

import numpy as np

from lob_jax.events.instrument import NS_PER_DAY, NS_PER_SECOND, Instrument
from lob_jax.events.schema import COLUMNS, Code, Events, Flag, Kind
from lob_jax.feeds.lobster.files import MS_PER_DAY, LobsterName
from lob_jax.feeds.lobster.mpids import PARTICIPANT, Participants
from lob_jax.feeds.lobster.times import NO_TIME, PLACES, UNITS_PER_NS, nanoseconds
from lob_jax.feeds.reading.csv_rows import Column, Fault
from lob_jax.feeds.reading.faults import FaultCode
from lob_jax.jit import njit

EMPTY_PRICE = 9_999_999_999  # price of an ask level without orders; negative for a bid level
MAX_SIZE = 10**15 - 1  # larger than any order, even in the cheapest coins, and small enough for sums in an int64


class Message(enum.IntEnum):
    """Columns of a message file."""

    TIME = 0
    TYPE = 1
    ORDER_ID = 2
    SIZE = 3
    PRICE = 4
    DIRECTION = 5


MESSAGE_COLUMNS = (
    Column("time", "decimal", PLACES),
    Column("type", "int"),
    Column("order id", "id", low=-1),
    Column("size", "int"),
    Column("price", "int"),
    Column("direction", "int"),
)
TIME, TYPE, ORDER_ID, SIZE, PRICE, DIRECTION = (int(column) for column in Message)
CODE_OF_HALT = {-1: Code.HALT, 0: Code.RESUME_QUOTE, 1: Code.RESUME_TRADE}  # by the message's price
HIDDEN_SIDE_UNTIL = "2014-07-14"  # from this day on, Nasdaq reports all hidden trades as trades with a buy order
_REMEDY = "fetch the file again; if it was edited or written by another tool, correct the line"
_PLACES = "at most 9 places, or the printed double of a whole nanosecond"
_PRICES = f"{1 - EMPTY_PRICE} to {EMPTY_PRICE - 1}"


class MessageFault(FaultCode):
    """The faults of a message: description, column, expected value. The first one that applies is reported."""

    FINE = -1
    OUTSIDE = 0, "a time outside the day", TIME, ""
    BACKWARDS = 1, "time that runs backwards", TIME, "no earlier than the rows before"
    UNKNOWN_TYPE = 2, "an unknown message type", TYPE, "1 to 7"
    NO_DIRECTION = 3, "a direction that is neither side", DIRECTION, "1 or -1"
    HALT_DIRECTION = 4, "a halt message with a direction", DIRECTION, -1
    HALT_CODE = 5, "a halt message with an unknown code", PRICE, list(CODE_OF_HALT)
    HALT_ID = 6, "a halt message with an order id", ORDER_ID, 0
    HALT_SIZE = 7, "a halt message with a size", SIZE, 0
    NEGATIVE_SIZE = 8, "a negative size", SIZE, "0 or more"
    LARGE_SIZE = 9, "a size that no order can have", SIZE, f"up to {MAX_SIZE}"
    NO_SIZE = 10, "a message without size", SIZE, "1 or more"
    FAR_PRICE = 11, "a price that no order can have", PRICE, _PRICES
    BETWEEN_TICKS = 12, "a price between ticks", PRICE, ""
    NEGATIVE_ID = 13, "a negative order id", ORDER_ID, "0 or more"
    TOO_FINE = 14, "a number with too many decimal places", TIME, _PLACES


_HIDDEN, _CROSS, _CONTROL = int(Kind.EXECUTE_HIDDEN), int(Kind.CROSS), int(Kind.CONTROL)
_EXECUTE, _LAST, _KNOWN = int(Kind.EXECUTE), int(Flag.LAST_IN_GROUP), int(Flag.AGGRESSOR_KNOWN)
_HALT_CODES = np.array([CODE_OF_HALT[price] for price in (-1, 0, 1)], np.uint8)


class MessageRules:
    """The rules for a message; see `csv_rows.Rules`.

    Attributes:
      participants: the participants that good messages name.
    """

    def __init__(self, tick: int, name: LobsterName):
        self._tick = tick
        self._latest, self._rounded = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self._last_ns = name.end_ms * 10**6 if name.end_ms > MS_PER_DAY else NS_PER_DAY - 1
        self.participants = Participants()

    @property
    def rounded_times(self) -> int:
        """The number of good messages so far whose time was a printed double and was rounded to the nanosecond."""
        return int(self._rounded[0])

    def judge(self, values: np.ndarray, text: Callable[[int], tuple[str, ...]]) -> np.ndarray:
        """Return the rows at fault; convert times to ns, and the order id -1 of a cross to 0."""
        # -1 has the bits of the largest uint64 id, so only the text can tell the two apart.
        rows = np.flatnonzero(values[ORDER_ID] == -1)
        nameless = np.array([row for row in rows.tolist() if text(row)[ORDER_ID].startswith("-")], np.int64)
        crosses = nameless[values[TYPE, nameless] == _CROSS]
        values[ORDER_ID, crosses] = 0
        denied = np.setdiff1d(nameless, crosses)
        wrong = _judge_messages(values, self._latest, denied, self._tick, self._last_ns, self._rounded)
        if len(values) > PARTICIPANT:
            sound = np.ones(values.shape[1], np.bool_)
            sound[wrong[:, 0]] = False
            self.participants.count(values[PARTICIPANT], np.flatnonzero(sound), text)
        return wrong

    def explain(self, fault: int, detail: int, fields: tuple[str, ...]) -> Fault:
        """Describe the fault of a message; the detail is the latest time before it."""
        found = MessageFault(fault)
        what, column, expected = found.what, found.field, found.expected
        was, remedy = fields[column], _REMEDY
        if fault == MessageFault.OUTSIDE:
            past_midnight = self._last_ns >= NS_PER_DAY
            expected = f"0 to {_seconds(self._last_ns)}" if past_midnight else "0 to less than 86400"
            expected += " seconds after midnight"
        if fault == MessageFault.BACKWARDS:
            was = f"{was} after {_seconds(detail)}"
        if fault == MessageFault.BETWEEN_TICKS:
            expected, remedy = f"a multiple of {self._tick}", _tick_remedy(self._tick, int(was))
        return Fault(column, MESSAGE_COLUMNS[column].name, what, expected, was, remedy)


class BookRules:
    """The rules for a row of an order-book file; see `csv_rows.Rules`."""

    def __init__(self, levels: int, tick: int):
        self._levels, self._tick = levels, tick

    def judge(self, values: np.ndarray, text: Callable[[int], tuple[str, ...]]) -> np.ndarray:
        """Return the rows at fault; the detail is the index of the first level at fault, bids first."""
        return _judge_book(values, self._tick)

    def explain(self, fault: int, detail: int, fields: tuple[str, ...]) -> Fault:
        """Describe the fault of a row of levels."""
        index, level = divmod(detail, self._levels)
        column = 4 * level + (0 if index else 2)
        p, s, dummy = int(fields[column]), int(fields[column + 1]), EMPTY_PRICE if index else -EMPTY_PRICE
        what, expected, was, remedy = "levels out of order", "each level worse than the previous one", p, _REMEDY
        if s < 0:
            what, expected, was, column = "a negative size", "0 or more", s, column + 1
        elif s > MAX_SIZE:
            what, expected, was, column = "a size that no level can have", f"up to {MAX_SIZE}", s, column + 1
        elif (s == 0) != (p == dummy):
            what, was = "a level that is half empty", f"{p}, size {s}"
            expected = f"price {dummy} with size 0, or neither"
        elif s and not -EMPTY_PRICE < p < EMPTY_PRICE:
            what, expected = "a price that no order can have", f"{_PRICES}, or {dummy} with size 0"
        elif s and p % self._tick:
            what, expected = "a price between ticks", f"a multiple of {self._tick}"
            remedy = _tick_remedy(self._tick, p)
        return Fault(column, f"{('bid', 'ask')[index]} level {level + 1}", what, expected, was, remedy)


def book_columns(levels: int) -> list[Column]:
    """Return the columns of an order-book file: ask price, ask size, bid price, bid size, level by level."""
    fields = [(side, field) for side in ("ask", "bid") for field in ("price", "size")]
    return [Column(f"{side} {field} {level}", "int") for level in range(1, levels + 1) for side, field in fields]


def to_events(messages: np.ndarray, line: np.ndarray, instrument: Instrument) -> Events:
    """Convert messages int64 [6, R] that `MessageRules` has accepted to events; the last one ends its group."""
    rows = messages.shape[1]
    out = {name: np.zeros(rows, dtype) for name, dtype in COLUMNS.items()}
    out["sequence"] = line - 1
    columns = [out[name] for name in ("time_ns", "kind", "code", "side", "price", "size", "order_id", "flags")]
    _fill_events(messages, instrument.midnight_ns(), instrument.trading_day < HIDDEN_SIDE_UNTIL, *columns)
    return Events(**out)


def to_levels(book: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert book rows int64 [4N, R] to price and size, int64 [R, 2, N], bid first, 0 for an empty level."""
    levels = book.T.reshape(book.shape[1], -1, 2, 2)[:, :, ::-1].transpose(0, 2, 1, 3)
    price, size = np.ascontiguousarray(levels[..., 0]), np.ascontiguousarray(levels[..., 1])
    price[size == 0] = 0
    return price, size


def _seconds(time: int) -> str:
    whole, fraction = divmod(time, NS_PER_SECOND)
    return f"{whole}.{fraction:09d}".rstrip("0").rstrip(".")


def _tick_remedy(tick: int, price: int) -> str:
    return f"correct the line, or read the file with a tick that divides the price, such as {np.gcd(tick, price)}"


@njit
def _judge_messages(
    values: np.ndarray, latest: np.ndarray, denied: np.ndarray, tick: int, last_ns: int, rounded: np.ndarray
) -> np.ndarray:
    """Return (row, fault, latest time before) of the messages at fault; those in `denied` have a negative order id.

    Converts times from 10^-13 s to ns in place, and counts in `rounded` the good ones that were not whole ns.
    """
    found = np.empty((values.shape[1], 3), np.int64)
    count, cursor = 0, 0
    for i in range(values.shape[1]):
        printed, kind, size, price = values[TIME, i], values[TYPE, i], values[SIZE, i], values[PRICE, i]
        direction, time = values[DIRECTION, i], nanoseconds(max(printed, 0))
        negative_id = cursor < len(denied) and denied[cursor] == i
        cursor += negative_id
        fault = MessageFault.FINE
        if printed < 0 or time > last_ns:
            fault = MessageFault.OUTSIDE
        elif time == NO_TIME:
            fault = MessageFault.TOO_FINE
        elif time < latest[0]:
            fault = MessageFault.BACKWARDS
        elif not 1 <= kind <= _CONTROL:
            fault = MessageFault.UNKNOWN_TYPE
        elif direction != 1 and direction != -1:
            fault = MessageFault.NO_DIRECTION
        elif kind == _CONTROL:
            if direction != -1:
                fault = MessageFault.HALT_DIRECTION
            elif not -1 <= price <= 1:
                fault = MessageFault.HALT_CODE
            elif values[ORDER_ID, i] != 0:
                fault = MessageFault.HALT_ID
            elif size != 0:
                fault = MessageFault.HALT_SIZE
        elif size < 0:
            fault = MessageFault.NEGATIVE_SIZE
        elif size > MAX_SIZE:
            fault = MessageFault.LARGE_SIZE
        elif size == 0 and kind != _CROSS:
            fault = MessageFault.NO_SIZE
        elif not -EMPTY_PRICE < price < EMPTY_PRICE:
            fault = MessageFault.FAR_PRICE
        elif kind < _HIDDEN and price % tick != 0:
            fault = MessageFault.BETWEEN_TICKS
        elif negative_id:
            fault = MessageFault.NEGATIVE_ID
        if fault == MessageFault.FINE:
            latest[0] = values[TIME, i] = time
            rounded[0] += printed != time * UNITS_PER_NS
        else:
            found[count, 0], found[count, 1], found[count, 2] = i, fault, latest[0]
            count += 1
    return found[:count].copy()


@njit
def _judge_book(values: np.ndarray, tick: int) -> np.ndarray:
    """Return (row, 0, side index * N + level) of the rows with an invalid level."""
    levels = values.shape[0] // 4
    found = np.empty((values.shape[1], 3), np.int64)
    was = np.zeros(4 * levels, np.int64)  # the previous row: what repeats a good one is not checked again
    count, wrong = 0, 0
    for i in range(values.shape[1]):
        after_sound, wrong = wrong < 0, -1
        for index in range(2):
            outward = 2 * index - 1
            before, same_before = np.int64(0), True
            for k in range(levels):
                column = 4 * k + (0 if index else 2)
                p, s = values[column, i], values[column + 1, i]
                same = after_sound and was[column] == p and was[column + 1] == s
                was[column], was[column + 1] = p, s
                if not (same and same_before) and wrong < 0:
                    sound = s == 0 and p == outward * EMPTY_PRICE
                    if s != 0:
                        sound = 0 < s <= MAX_SIZE and -EMPTY_PRICE < p < EMPTY_PRICE and (same or p % tick == 0)
                        sound &= k == 0 or outward * (p - before) > 0
                    if not sound:
                        wrong = index * levels + k
                before, same_before = p, same
        if wrong >= 0:
            found[count, 0], found[count, 1], found[count, 2] = i, 0, wrong
            count += 1
    return found[:count].copy()


@njit
def _fill_events(
    messages: np.ndarray,
    midnight_ns: int,
    hidden_side_known: bool,
    time_ns: np.ndarray,
    kind: np.ndarray,
    code: np.ndarray,
    side: np.ndarray,
    price: np.ndarray,
    size: np.ndarray,
    order_id: np.ndarray,
    flags: np.ndarray,
) -> None:
    """Convert messages to the columns of events."""
    rows = messages.shape[1]
    for i in range(rows):
        what = messages[TYPE, i]
        time_ns[i], kind[i] = midnight_ns + messages[TIME, i], what
        if what == _CONTROL:
            code[i] = _HALT_CODES[messages[PRICE, i] + 1]
        else:
            side[i], price[i], size[i] = messages[DIRECTION, i], messages[PRICE, i], messages[SIZE, i]
            order_id[i] = np.uint64(messages[ORDER_ID, i])
        ends = i + 1 == rows or messages[TIME, i + 1] != messages[TIME, i]
        known = what == _EXECUTE or (what == _HIDDEN and hidden_side_known)
        flags[i] = ends * _LAST + known * _KNOWN
