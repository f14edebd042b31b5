"""The compiled loop over the lines of a capture: messages in the form in which Binance writes them.

A line that differs from that form in anything, even if only by a space, is left to `messages`, which knows all of JSON
and tells what is wrong. A line is either understood completely here, with every check that is made there, or not at
all; so both say the same of it.
"""

import enum

import numpy as np

from lob_jax.feeds.binance.messages import EXECUTION, LAST_NS
from lob_jax.feeds.reading.words import position_of
from lob_jax.jit import in_place


class Kind(enum.IntEnum):
    """The kinds of lines."""

    LEFT = 0  # not understood here
    TICKER = 1
    DEPTH = 2
    TRADE = 3
    AGGREGATE = 4
    OTHER = 5  # of another symbol


class Number(enum.IntEnum):
    """The numbers of a line."""

    RECEIVE_NS = 0
    TIME_NS = 1
    FIRST = 2
    FINAL = 3
    PREVIOUS = 4
    BIDS = 5
    ASKS = 6
    TEXT_END = 7


class _Value(enum.IntEnum):
    """The kinds of the value of a key."""

    NO_VALUE = 0
    TEXT = 1
    INTEGER = 2
    TRUTH = 3
    PAIRS = 4


# As plain integers: Numba would compile functions again for arguments that are members of an enum.
LEFT, TICKER, DEPTH, TRADE, AGGREGATE, OTHER = (int(kind) for kind in Kind)
RECEIVE_NS, TIME_NS, FIRST, FINAL, PREVIOUS, BIDS, ASKS, TEXT_END = (int(number) for number in Number)
_NO_VALUE, _TEXT, _INTEGER, _TRUTH, _PAIRS = (int(value) for value in _Value)

_LF, _SPACE, _QUOTE, _COMMA, _COLON, _BACKSLASH = 10, 32, 34, 44, 58, 92
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST, _ZERO, _NINE, _LAST_ASCII = 123, 125, 91, 93, 48, 57, 126
_MAY_BE_NUMBER = np.array(
    [_SPACE < byte <= _LAST_ASCII and byte not in (_QUOTE, _BACKSLASH, _COMMA) for byte in range(256)]
)
_MOST_DIGITS = 18  # as many as fit into an int64
_DEPTH_EVENT, _TRADE_EVENT, _AGGREGATE_EVENT, _TICKER_EVENT, _EXECUTION, _WRAPPER, _INSIDE, _TRUE, _FALSE, _PARTIAL = (
    np.frombuffer(text, np.uint8)
    for text in (
        *(b"depthUpdate", b"trade", b"aggTrade", b"bookTicker", EXECUTION.encode()),
        *(b'{"stream":"', b'","data":', b"true", b"false", b"@depth"),
    )
)
_PAIR_START, _PAIR_MIDDLE = np.frombuffer(b'["', np.uint8), np.frombuffer(b'","', np.uint8)
_PAIR_END = np.frombuffer(b'"]', np.uint8)

# Places of the values of keys: those of one letter at its code, in front of them one of two letters, and all others.
_e, _E, _s, _U, _u, _b, _a, _B, _A, _p, _q, _T, _m, _X = (ord(key) for key in "eEsUubaBApqTmX")
_PU, _LONGER = 0, 1
KEYS = 128
_AMOUNT, _BEGIN, _STOP = 0, 1, 2


@in_place
def is_at(data: np.ndarray, at: int, end: int, text: np.ndarray) -> bool:
    """Return whether a text is at a position of the line that ends at `end`."""
    size = len(text) if at + len(text) <= end else 0
    equal = 0
    while equal < size and data[at + equal] == text[equal]:
        equal += 1
    return equal == len(text)


@in_place
def _text_end(data: np.ndarray, at: int, end: int) -> int:
    """Return the position of the quote that ends a plain text, -1 if it has other than printable ASCII or an escape."""
    while at < end:
        byte = data[at]
        if byte == _QUOTE:
            return at
        if byte < _SPACE or byte > _LAST_ASCII or byte == _BACKSLASH:
            return -1
        at += 1
    return -1


@in_place
def _integer(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """Return a whole number and the position behind it, which is -1 if there is none that JSON allows."""
    begin, number = at, 0
    while at < end and _ZERO <= data[at] <= _NINE:
        number = number * 10 + (data[at] - _ZERO)
        at += 1
        if at - begin > _MOST_DIGITS:
            return 0, -1
    if at == begin or (data[begin] == _ZERO and at - begin > 1):
        return 0, -1
    return number, at


@in_place
def _to_ns(number: int) -> int:
    """Return a UNIX time in ms (13 digits) or us (16) in ns, and -1 for other numbers."""
    if 10**12 <= number < 10**13:
        number *= 10**6
    elif 10**15 <= number < 10**16:
        number *= 1000
    else:
        return -1
    return number if number < LAST_NS else -1


@in_place
def _receive(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """Return the time of arrival in ns and the position behind it, which is -1 if it is not one."""
    begin, number = at, 0
    while at < end and at - begin < 19 and _ZERO <= data[at] <= _NINE:
        number = number * 10 + (data[at] - _ZERO)
        at += 1
    if at - begin < 19:
        number = _to_ns(number)
    elif number < 10**18 or number >= LAST_NS:  # numbers above int64 have become negative
        number = -1
    return (number, at) if number >= 0 else (-1, -1)


@in_place
def _number(data: np.ndarray, at: int, end: int, out: np.ndarray, filled: int) -> tuple[int, int]:
    """Copy a text that may be a number; return the position of what ends it, and how much of `out` is filled."""
    while at < end:
        if not _MAY_BE_NUMBER[data[at]]:
            break
        out[filled] = data[at]
        filled += 1
        at += 1
    return at, filled


@in_place
def _pairs(data: np.ndarray, at: int, end: int, out: np.ndarray, filled: int) -> tuple[int, int, int]:
    """Copy the pairs of texts of a list to lines "price,quantity".

    Returns:
      The position behind the list, -1 if it is not one of pairs of plain texts without commas; how much of `out` is
      filled; and the number of pairs.
    """
    count = 0
    at += 1
    if at < end and data[at] == _CLOSE_LIST:
        return at + 1, filled, 0
    while True:
        if not is_at(data, at, end, _PAIR_START):
            return -1, filled, 0
        at += len(_PAIR_START)
        at, filled = _number(data, at, end, out, filled)
        if not is_at(data, at, end, _PAIR_MIDDLE):
            return -1, filled, 0
        out[filled] = _COMMA
        at, filled = _number(data, at + len(_PAIR_MIDDLE), end, out, filled + 1)
        if not is_at(data, at, end, _PAIR_END):
            return -1, filled, 0
        out[filled] = _LF
        filled += 1
        at += len(_PAIR_END)
        count += 1
        if at < end and data[at] == _CLOSE_LIST:
            return at + 1, filled, count
        if at >= end or data[at] != _COMMA:
            return -1, filled, 0
        at += 1


@in_place
def _wrapped(data: np.ndarray, at: int, end: int) -> int:
    """Return where the message of a wrapper begins, -1 if it is not a wrapper or one of partial depth."""
    at += len(_WRAPPER)
    closing = _text_end(data, at, end)
    if closing < 0 or not is_at(data, closing, end, _INSIDE):
        return -1
    for place in range(at, closing):
        if is_at(data, place, closing, _PARTIAL):
            behind = place + len(_PARTIAL)
            if behind < closing and _ZERO <= data[behind] <= _NINE:
                return -1
    return closing + len(_INSIDE)


@in_place
def _key(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """Return the place of a key in the arrays of values, and where its value begins, which is -1 if it is not short."""
    if at + 3 >= end or data[at] != _QUOTE:
        return 0, -1
    stop = _text_end(data, at + 1, end)
    if stop - at not in (2, 3) or stop + 2 >= end or data[stop + 1] != _COLON:
        return 0, -1
    if stop - at == 2:
        return int(data[at + 1]), stop + 2
    return _PU if data[at + 1] == _p and data[at + 2] == _u else _LONGER, stop + 2


@in_place
def _object(
    data: np.ndarray, at: int, end: int, kinds: np.ndarray, values: np.ndarray, out: np.ndarray, filled: int
) -> tuple[int, int]:
    """Read the keys and values of an object, from behind its brace on.

    Returns:
      The position of the brace that ends it, -1 if it is not understood; and how much of `out` is filled.
    """
    while True:
        key, at = _key(data, at, end)
        if at < 0 or (key != _LONGER and kinds[key] != _NO_VALUE):
            return -1, filled
        begin, number = at, 0
        if data[at] == _QUOTE:
            kind, begin, stop = _TEXT, at + 1, _text_end(data, at + 1, end)
            at = stop + 1 if stop >= 0 else -1
        elif _ZERO <= data[at] <= _NINE:
            number, at = _integer(data, at, end)
            kind, stop = _INTEGER, at
        elif is_at(data, at, end, _TRUE):
            kind, number, stop = _TRUTH, 1, at
            at += len(_TRUE)
        elif is_at(data, at, end, _FALSE):
            kind, stop = _TRUTH, at
            at += len(_FALSE)
        elif data[at] == _OPEN_LIST and (key == _b or (key == _a and kinds[_b] == _PAIRS)):
            at, filled, number = _pairs(data, at, end, out, filled)
            kind, stop = _PAIRS, at
        else:
            return -1, filled
        if at < 0 or at >= end:
            return -1, filled
        kinds[key] = kind
        values[key, _AMOUNT], values[key, _BEGIN], values[key, _STOP] = number, begin, stop
        if data[at] != _COMMA:
            return (at if data[at] == _CLOSE else -1), filled
        at += 1


@in_place
def _says(data: np.ndarray, values: np.ndarray, key: int, text: np.ndarray) -> bool:
    """Return whether the value of a key is exactly a text; it must be there."""
    begin, stop = values[key, _BEGIN], values[key, _STOP]
    return stop - begin == len(text) and is_at(data, begin, stop, text)


@in_place
def _event(data: np.ndarray, kinds: np.ndarray, values: np.ndarray) -> int:
    """Return the kind of a message by its event, or by its keys if it names none."""
    if kinds[_e] == _NO_VALUE:
        quotes = kinds[_b] == _TEXT and kinds[_a] == _TEXT and kinds[_B] == _TEXT and kinds[_A] == _TEXT
        return TICKER if quotes and kinds[_u] != _NO_VALUE else LEFT
    if kinds[_e] != _TEXT:
        return LEFT
    if _says(data, values, _e, _DEPTH_EVENT):
        return DEPTH
    if _says(data, values, _e, _TRADE_EVENT):
        return TRADE
    if _says(data, values, _e, _AGGREGATE_EVENT):
        return AGGREGATE
    return TICKER if _says(data, values, _e, _TICKER_EVENT) else LEFT


@in_place
def _is_depth(kinds: np.ndarray, values: np.ndarray) -> bool:
    """Return whether a message has what a depth update must have."""
    has_ids = kinds[_U] == _INTEGER and kinds[_u] == _INTEGER and values[_U, _AMOUNT] <= values[_u, _AMOUNT]
    return has_ids and kinds[_b] == _PAIRS and kinds[_a] == _PAIRS and kinds[_PU] in (_NO_VALUE, _INTEGER)


@in_place
def _is_execution(data: np.ndarray, kinds: np.ndarray, values: np.ndarray) -> bool:
    """Return whether a message has what a trade must have, and is one that takes something from the book."""
    if kinds[_X] != _NO_VALUE and not (kinds[_X] == _TEXT and _says(data, values, _X, _EXECUTION)):
        return False
    return kinds[_T] == _INTEGER and kinds[_m] == _TRUTH and kinds[_p] == _TEXT and kinds[_q] == _TEXT


@in_place
def _trade_level(data: np.ndarray, values: np.ndarray, out: np.ndarray, filled: int) -> int:
    """Copy price and quantity to a line, and return how much of `out` is filled; -1 if one cannot be a number."""
    for key, separator in ((_p, _COMMA), (_q, _LF)):
        begin, stop = values[key, _BEGIN], values[key, _STOP]
        at, filled = _number(data, begin, stop, out, filled)
        if at != stop or begin == stop:
            return -1
        out[filled] = separator
        filled += 1
    return filled


@in_place
def _understood(
    data: np.ndarray,
    at: int,
    end: int,
    symbol: np.ndarray,
    kinds: np.ndarray,
    values: np.ndarray,
    numbers: np.ndarray,
    row: int,
    out: np.ndarray,
    filled: int,
) -> tuple[int, int, bool]:
    """Understand a line; return its kind, how much of `out` is filled, and whether it is of the symbol.

    Args:
      data: uint8 [B].
      at: where the line begins.
      end: where it ends, in front of its line feed.
      symbol: uint8 [S].
      kinds: uint8 [KEYS], for the kinds of the values of keys.
      values: int64 [KEYS, 3], for the values of keys: the number, or how many pairs, and where the text begins and
        ends.
      numbers: int64 [L, 8], whose row gets the numbers of the line.
      row: which row.
      out: uint8, which gets its levels as lines "price,quantity".
      filled: how much of `out` is filled.
    """
    start = filled
    receive_ns, at = _receive(data, at, end)
    if at < 0 or at + 2 >= end or data[at] != _SPACE or data[at + 1] != _OPEN:
        return LEFT, start, False
    at += 1
    wrapped = is_at(data, at, end, _WRAPPER)
    if wrapped:
        at = _wrapped(data, at, end)
        if at < 0 or at >= end or data[at] != _OPEN:
            return LEFT, start, False
    for key in range(len(kinds)):
        kinds[key] = _NO_VALUE
    at, filled = _object(data, at + 1, end, kinds, values, out, filled)
    if at < 0 or at + 1 + wrapped != end or data[end - 1] != _CLOSE:
        return LEFT, start, False
    kind = _event(data, kinds, values)
    if kind == LEFT or kinds[_s] != _TEXT or values[_s, _BEGIN] == values[_s, _STOP]:
        return LEFT, start, False
    is_mine = _says(data, values, _s, symbol)
    if kind != DEPTH and filled != start:
        return LEFT, start, False
    if kind == TICKER:
        return kind, start, is_mine
    time = _T if kinds[_T] != _NO_VALUE else _E
    time_ns = _to_ns(values[time, _AMOUNT]) if kinds[time] == _INTEGER else -1
    if time_ns < 0 or not (_is_depth(kinds, values) if kind == DEPTH else _is_execution(data, kinds, values)):
        return LEFT, start, False
    numbers[row, RECEIVE_NS], numbers[row, TIME_NS] = receive_ns, time_ns
    if kind == DEPTH:
        numbers[row, FIRST], numbers[row, FINAL] = values[_U, _AMOUNT], values[_u, _AMOUNT]
        numbers[row, PREVIOUS] = values[_PU, _AMOUNT] if kinds[_PU] == _INTEGER else -1
        bids, asks = values[_b, _AMOUNT], values[_a, _AMOUNT]
    else:
        filled = _trade_level(data, values, out, filled)
        if filled < 0:
            return LEFT, start, False
        numbers[row, FIRST], numbers[row, FINAL], numbers[row, PREVIOUS] = -1, -1, -1
        bids = values[_m, _AMOUNT]
        asks = 1 - bids
    if not is_mine:
        filled, bids, asks = start, 0, 0
    numbers[row, BIDS], numbers[row, ASKS], numbers[row, TEXT_END] = bids, asks, filled
    return kind, filled, is_mine


@in_place
def understand_lines(
    data: np.ndarray,
    symbol: np.ndarray,
    spans: np.ndarray,
    numbers: np.ndarray,
    out: np.ndarray,
    kinds: np.ndarray,
    values: np.ndarray,
) -> int:
    """Understand what can be understood of complete lines; return how many lines need a closer look.

    Lines of best quotes are only counted.

    Args:
      data: uint8 [B]; a last line need not end in a line feed.
      symbol: uint8 [S], the symbol that is read.
      spans: int64 [L+1, 4], which gets of each line that needs a closer look its `Kind`, its number from 0, where it
        begins and where it ends; the last row gets the numbers of lines, and of best quotes of the symbol and
        of others.
      numbers: int64 [L, 8], which gets the numbers of those lines; see `Number`. The levels of a
        line are in `out` between the TEXT_END of the line before and its own.
      out: uint8 [B], which gets the levels as lines "price,quantity".
      kinds: uint8 [KEYS], to work in.
      values: int64 [KEYS, 3], to work in.
    """
    at = line = found = filled = tickers = others = 0
    while at < len(data):
        end = position_of(data, at, _LF)
        kind, filled, is_mine = _understood(data, at, end, symbol, kinds, values, numbers, found, out, filled)
        if kind == TICKER:
            tickers += is_mine
            others += not is_mine
        else:
            kind = kind if is_mine or kind == LEFT else OTHER
            spans[found, 0], spans[found, 1], spans[found, 2], spans[found, 3] = kind, line, at, end
            numbers[found, TEXT_END] = filled
            found += 1
        at = end + 1
        line += 1
    spans[-1, 0], spans[-1, 1], spans[-1, 2] = line, tickers, others
    return found
