"""The compiled search of captures for symbols, without a look at anything else in their lines."""

import numpy as np

from lob_jax.feeds.binance.lines import is_at
from lob_jax.feeds.reading.words import position_of, same
from lob_jax.jit import in_place

_LF, _SPACE, _QUOTE, _COLON = 10, 32, 34, 58
_e, _s = ord("e"), ord("s")
_DEPTH, _TRADE = (np.frombuffer(text, np.uint8) for text in (b'depthUpdate"', b'trade"'))
_IS_TRADE, _IS_DEPTH, _IS_OTHER, _UNKNOWN = 0, 1, -1, -2
_LONGEST_SYMBOL = 40
SHORTEST_LINE = len('"s":"e":"trade"')  # that seems to have a symbol


@in_place
def search_symbols(data: np.ndarray, spans: np.ndarray) -> int:
    """Find the symbols of depth updates and of trades, and return how many are written to `spans`.

    Args:
      data: uint8 [B], complete lines; the last one need not end in a line feed.
      spans: int64 [B // SHORTEST_LINE + 1, 3], a row for each line that may have a symbol, which gets where it
        begins, where it ends, and 1 if it is that of a depth update, 0 of a trade. A symbol that the last line of its
        kind had as well is left out.
    """
    at = found = 0
    last_trade = last_depth = -1
    while at < len(data):
        at, begin, end, event = _search_line(data, at)
        last = last_depth if event == _IS_DEPTH else last_trade
        if event >= 0 and end >= 0 and not _repeats(data, spans, last, begin, end):
            spans[found, 0], spans[found, 1], spans[found, 2] = begin, end, event
            last_trade = found if event == _IS_TRADE else last_trade
            last_depth = found if event == _IS_DEPTH else last_depth
            found += 1
        at = position_of(data, at, _LF) + 1
    return found


@in_place
def _search_line(data: np.ndarray, at: int) -> tuple[int, int, int, int]:
    """Search a line until nothing more can matter: its first event says what it is.

    Returns:
      The position reached, where the symbol begins and ends, -1 if there is none so far, and the event.
    """
    begin = end = -1
    event = _UNKNOWN
    while at < len(data) and data[at] != _LF and event != _IS_OTHER and (event == _UNKNOWN or end < 0):
        at += 1
        if data[at - 1] != _QUOTE or at + 1 >= len(data) or data[at + 1] != _QUOTE:
            continue
        if data[at] == _e and event == _UNKNOWN:
            event = _event(data, _value(data, at + 2))
        elif data[at] == _s and end < 0:
            begin = _value(data, at + 2)
            end = _symbol_end(data, begin) if begin >= 0 else -1
    return at, begin, end, event


@in_place
def _event(data: np.ndarray, at: int) -> int:
    """Return the event whose name is at a position, unknown for -1."""
    if at < 0:
        return _UNKNOWN
    if is_at(data, at, len(data), _DEPTH):
        return _IS_DEPTH
    return _IS_TRADE if is_at(data, at, len(data), _TRADE) else _IS_OTHER


@in_place
def _value(data: np.ndarray, at: int) -> int:
    """Return where the text begins that is the value of the key that ends at a position, -1 if it is no text."""
    at = _behind_blanks(data, at)
    if at >= len(data) or data[at] != _COLON:
        return -1
    at = _behind_blanks(data, at + 1)
    return at + 1 if at < len(data) and data[at] == _QUOTE else -1


@in_place
def _behind_blanks(data: np.ndarray, at: int) -> int:
    while at < len(data) and data[at] <= _SPACE and data[at] != _LF:
        at += 1
    return at


@in_place
def _symbol_end(data: np.ndarray, at: int) -> int:
    """Return where the symbol that begins at a position ends, -1 if it is empty or too long to be one."""
    end = at
    while end < len(data) and data[end] not in (_QUOTE, _LF) and end - at <= _LONGEST_SYMBOL:
        end += 1
    return end if end < len(data) and data[end] == _QUOTE and 0 < end - at <= _LONGEST_SYMBOL else -1


@in_place
def _repeats(data: np.ndarray, spans: np.ndarray, row: int, begin: int, end: int) -> bool:
    """Return whether a row of `spans` has the symbol that is at a position."""
    size = end - begin
    return row >= 0 and spans[row, 1] - spans[row, 0] == size and same(data, spans[row, 0], begin, size)
