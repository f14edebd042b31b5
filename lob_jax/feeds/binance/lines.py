"""The compiled loop over the lines of a capture: messages in the form in which Binance writes them.

A line that differs from that form in anything, even if only by a space, is left to `messages`, which knows all of JSON
and tells what is wrong. A line is either understood completely here, with every check that is made there, or not at
all; so both say the same of it.
"""

import enum

import numpy as np

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
_MOST_DIGITS = 18  # as many as fit into an int64
_LAST_NS = 2**62
_DEPTH_EVENT, _TRADE_EVENT, _AGGREGATE_EVENT, _TICKER_EVENT, _EXECUTION, _WRAPPER, _INSIDE, _TRUE, _FALSE, _PARTIAL = (
    np.frombuffer(text, np.uint8)
    for text in (
        *(b"depthUpdate", b"trade", b"aggTrade", b"bookTicker", b"MARKET"),
        *(b'{"stream":"', b'","data":', b"true", b"false", b"@depth"),
    )
)
_PAIR_START, _PAIR_MIDDLE = np.frombuffer(b'["', np.uint8), np.frombuffer(b'","', np.uint8)
_PAIR_END = np.frombuffer(b'"]', np.uint8)

# Keys that matter, as one number; others of one or two letters may hold a text, an integer or a truth value.
_e, _E, _s, _U, _u, _b, _a, _B, _A, _p, _q, _T, _m, _X = (ord(key) for key in "eEsUubaBApqTmX")
_pu = ord("p") * 256 + ord("u")


@in_place
def _is(data: np.ndarray, at: int, end: int, text: np.ndarray) -> bool:
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
    return number if number < _LAST_NS else -1


@in_place
def _receive(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """Return the time of arrival in ns and the position behind it, which is -1 if it is not one."""
    begin, number = at, 0
    while at < end and at - begin < 19 and _ZERO <= data[at] <= _NINE:
        number = number * 10 + (data[at] - _ZERO)
        at += 1
    if at - begin < 19:
        number = _to_ns(number)
    elif number < 10**18 or number >= _LAST_NS:  # numbers above int64 have become negative
        number = -1
    return (number, at) if number >= 0 else (-1, -1)


@in_place
def _number(data: np.ndarray, at: int, end: int, out: np.ndarray, filled: int) -> tuple[int, int]:
    """Copy a text that may be a number; return the position of what ends it, and how much of `out` is filled."""
    while at < end:
        byte = data[at]
        if byte in (_QUOTE, _BACKSLASH, _COMMA) or byte <= _SPACE or byte > _LAST_ASCII:
            break
        out[filled] = byte
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
        if not _is(data, at, end, _PAIR_START):
            return -1, filled, 0
        at += len(_PAIR_START)
        at, filled = _number(data, at, end, out, filled)
        if not _is(data, at, end, _PAIR_MIDDLE):
            return -1, filled, 0
        out[filled] = _COMMA
        at, filled = _number(data, at + len(_PAIR_MIDDLE), end, out, filled + 1)
        if not _is(data, at, end, _PAIR_END):
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
    if closing < 0 or not _is(data, closing, end, _INSIDE):
        return -1
    for place in range(at, closing):
        if _is(data, place, closing, _PARTIAL):
            behind = place + len(_PARTIAL)
            if behind < closing and _ZERO <= data[behind] <= _NINE:
                return -1
    return closing + len(_INSIDE)


@in_place
def _understood(
    data: np.ndarray,
    at: int,
    end: int,
    symbol: np.ndarray,
    kinds: np.ndarray,
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
      kinds: uint8 [128], for the kinds of value of keys of one letter.
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
    wrapped = _is(data, at, end, _WRAPPER)
    if wrapped:
        at = _wrapped(data, at, end)
        if at < 0 or at >= end or data[at] != _OPEN:
            return LEFT, start, False
    at += 1
    kind = LEFT
    for letter in range(len(kinds)):
        kinds[letter] = _NO_VALUE
    is_mine = is_execution = is_maker = True
    sent = traded = first = final = previous = -1
    bids = asks = 0
    price_begin = price_end = size_begin = size_end = 0
    has_previous = False
    while True:
        if at + 3 >= end or data[at] != _QUOTE:
            return LEFT, start, False
        key = int(data[at + 1])
        if key in (_QUOTE, _BACKSLASH) or key < _SPACE or key > _LAST_ASCII:
            return LEFT, start, False
        at += 2
        if data[at] != _QUOTE:
            key = key * 256 + int(data[at])
            if key >= 256 * 128 or data[at] < _SPACE or data[at] > _LAST_ASCII or data[at] == _BACKSLASH:
                return LEFT, start, False
            at += 1
        if at + 2 >= end or data[at] != _QUOTE or data[at + 1] != _COLON:
            return LEFT, start, False
        at += 2
        value, number, truth = _NO_VALUE, 0, False
        begin = at
        if data[at] == _QUOTE:
            begin = at + 1
            at = _text_end(data, begin, end)
            if at < 0:
                return LEFT, start, False
            value, closing = _TEXT, at
            at += 1
        elif _ZERO <= data[at] <= _NINE:
            number, at = _integer(data, at, end)
            value, closing = _INTEGER, at
        elif _is(data, at, end, _TRUE) or _is(data, at, end, _FALSE):
            truth = data[at] == _TRUE[0]
            at += len(_TRUE) if truth else len(_FALSE)
            value, closing = _TRUTH, at
        elif data[at] == _OPEN_LIST and (key == _b or (key == _a and kinds[_b] == _PAIRS)):
            at, filled, count = _pairs(data, at, end, out, filled)
            value, closing = _PAIRS, at
            if key == _b:
                bids = count
            else:
                asks = count
        else:
            return LEFT, start, False
        if at < 0 or at >= end:
            return LEFT, start, False
        if key < 128:
            if kinds[key] != _NO_VALUE:
                return LEFT, start, False
            kinds[key] = value
        if key == _e:
            if _is(data, begin, closing, _DEPTH_EVENT) and closing - begin == len(_DEPTH_EVENT):
                kind = DEPTH
            elif _is(data, begin, closing, _TRADE_EVENT) and closing - begin == len(_TRADE_EVENT):
                kind = TRADE
            elif _is(data, begin, closing, _AGGREGATE_EVENT) and closing - begin == len(_AGGREGATE_EVENT):
                kind = AGGREGATE
            elif _is(data, begin, closing, _TICKER_EVENT) and closing - begin == len(_TICKER_EVENT):
                kind = TICKER
            else:
                return LEFT, start, False
        elif key == _s:
            is_mine = closing - begin == len(symbol) and _is(data, begin, closing, symbol)
            if closing == begin:
                return LEFT, start, False
        elif key == _E:
            sent = number
        elif key == _T:
            traded = number
        elif key == _U:
            first = number
        elif key == _u:
            final = number
        elif key == _pu:
            if value != _INTEGER or has_previous:
                return LEFT, start, False
            previous, has_previous = number, True
        elif key == _p:
            price_begin, price_end = begin, closing
        elif key == _q:
            size_begin, size_end = begin, closing
        elif key == _m:
            is_maker = truth
        elif key == _X:
            is_execution = closing - begin == len(_EXECUTION) and _is(data, begin, closing, _EXECUTION)
        if data[at] == _COMMA:
            at += 1
            continue
        break
    closed = at + 2 if wrapped else at + 1
    if closed != end or data[at] != _CLOSE or data[end - 1] != _CLOSE:
        return LEFT, start, False
    numbers[row, RECEIVE_NS], numbers[row, TIME_NS] = receive_ns, 0
    numbers[row, FIRST], numbers[row, FINAL], numbers[row, PREVIOUS] = -1, -1, -1
    if kinds[_e] == _NO_VALUE:
        quotes = kinds[_b] == _TEXT and kinds[_a] == _TEXT and kinds[_B] == _TEXT and kinds[_A] == _TEXT
        if quotes and kinds[_u] != _NO_VALUE:
            kind = TICKER
    if kind == LEFT or kinds[_s] != _TEXT:
        return LEFT, start, False
    if kind == TICKER:
        return (kind, start, is_mine) if filled == start else (LEFT, start, False)
    time_ns = _to_ns(traded if kinds[_T] != _NO_VALUE else sent)
    if time_ns < 0 or (kinds[_T] != _INTEGER if kinds[_T] != _NO_VALUE else kinds[_E] != _INTEGER):
        return LEFT, start, False
    numbers[row, TIME_NS] = time_ns
    if kind == DEPTH:
        has_ids = kinds[_U] == _INTEGER and kinds[_u] == _INTEGER and first <= final
        if not has_ids or kinds[_b] != _PAIRS or kinds[_a] != _PAIRS:
            return LEFT, start, False
        numbers[row, FIRST], numbers[row, FINAL], numbers[row, PREVIOUS] = first, final, previous
    else:
        has_all = kinds[_T] == _INTEGER and kinds[_m] == _TRUTH and kinds[_p] == _TEXT and kinds[_q] == _TEXT
        if not has_all or not is_execution or filled != start or (kinds[_X] != _NO_VALUE and kinds[_X] != _TEXT):
            return LEFT, start, False
        at, filled = _number(data, price_begin, price_end, out, filled)
        out[filled] = _COMMA
        closing, filled = _number(data, size_begin, size_end, out, filled + 1)
        out[filled] = _LF
        filled += 1
        if at != price_end or closing != size_end or price_begin == price_end or size_begin == size_end:
            return LEFT, start, False
        bids, asks = (1, 0) if is_maker else (0, 1)
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
      kinds: uint8 [128], to work in.
    """
    at = line = found = filled = tickers = others = 0
    while at < len(data):
        end = at
        while end < len(data) and data[end] != _LF:
            end += 1
        kind, filled, is_mine = _understood(data, at, end, symbol, kinds, numbers, found, out, filled)
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
