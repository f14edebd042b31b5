"""The compiled loop of `csv_rows`: parse complete lines to integers, each field by its column's grammar."""

import enum

import numpy as np

from lob_jax.feeds.reading.csv_times import iso_time
from lob_jax.feeds.reading.words import BYTES, leading_digits, same, word_at
from lob_jax.jit import in_place, released


class Content(enum.IntEnum):
    """The content of a column; the names in lower case are those of `csv_rows.Column.content`."""

    INT = 0
    DECIMAL = 1
    ID = 2
    WORD = 3
    SAME = 4  # as in the first row
    ANY = 5  # ignored
    NAME = 6  # any text, stored as its `name_key`
    OPTIONAL = 7  # a decimal, or an empty field
    TIME = 8


class Misfit(enum.IntEnum):
    """The faults of a line."""

    FINE = 0
    NO_NUMBER = 1
    OUT_OF_RANGE = 2
    TOO_FINE = 3
    UNKNOWN_WORD = 4
    CHANGED = 5
    EMPTY_FIELD = 6
    COLUMN_COUNT = 7


# As plain integers: Numba would compile functions again for arguments that are members of an enum.
INT, DECIMAL, ID, WORD, SAME, ANY, NAME, OPTIONAL, TIME = (int(content) for content in Content)
FINE, NO_NUMBER, OUT_OF_RANGE, TOO_FINE, UNKNOWN_WORD, CHANGED, EMPTY_FIELD, COLUMN_COUNT = (int(m) for m in Misfit)

_LF, _CR, _COMMA, _DOT, _MINUS, _PLUS, _ZERO, _NINE = 10, 13, 44, 46, 45, 43, 48, 57
_LARGEST = np.iinfo(np.int64).max
_SAFE = (_LARGEST - 9) // 10  # the largest mantissa to which one more digit can be appended
_POWERS = np.array([10**k for k in range(19)], np.int64)
_LIMITS = np.array([_LARGEST // 10**k for k in range(19)], np.int64)
_MOST_DIGITS = np.uint64(18)  # as many as always fit into an int64
_ONE, _TEN = np.uint64(1), np.uint64(10)
_WORD_POWERS = np.array([10**k for k in range(9)], np.uint64)
_FNV_BASIS, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)

MOST_PLACES = 18  # the most decimal places of a number
MOST_UNITS = 2**60  # limit of a price or size: the sum of two and twice one of them still fit into an int64


@released
def count_lines(data: np.ndarray) -> int:
    """Return the number of line feeds in uint8 [B]."""
    lines = 0
    for byte in data:
        lines += byte == _LF
    return lines


@released
def parse_lines(
    data: np.ndarray,
    contents: np.ndarray,
    scales: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    words: np.ndarray,
    word_ends: np.ndarray,
    column_words: np.ndarray,
    values: np.ndarray,
    row_line: np.ndarray,
    bad: np.ndarray,
) -> tuple[int, int, int]:
    """Parse lines that all end in a line feed.

    Args:
      data: uint8 [B].
      contents: int64 [C], see `Content`.
      scales: int64 [C], decimal places kept in a DECIMAL column.
      low: int64 [C], the smallest valid value.
      high: int64 [C], the largest valid value.
      words: uint8 [W], the words of WORD and SAME columns, concatenated.
      word_ends: int64 [K+1], the end of each word, after a leading 0.
      column_words: int64 [C, 2], the first word of a column and the one after its last.
      values: int64 [C, R], filled with the values of the good lines.
      row_line: int64 [R], filled with the line numbers of the good lines, from 0.
      bad: int64 [R, 4], filled with the bad lines: line, first byte, column, fault.

    Returns:
      The number of lines, of good lines and of bad lines.
    """
    columns, leading = len(contents), _leading(contents)
    at, line, rows, faults = 0, 0, 0, 0
    good, length = 0, 0  # where the latest good line begins, and the bytes of its leading columns
    while at < len(data):
        begin, column, fault = at, 0, FINE
        # Most rows repeat what the previous one begins with: the same instrument, times and side.
        if length > 0 and at + length <= len(data) and same(data, good, at, length):
            for k in range(leading):
                values[k, rows] = values[k, rows - 1]
            column = leading
            at += length
            leads = length
        else:
            leads = 0
        while True:
            if column == columns:
                fault = COLUMN_COUNT
                break
            content = contents[column]
            value = np.int64(0)
            if content <= DECIMAL:
                if content == INT:
                    value, at, fault = _short_int(data, at)
                else:
                    value, at, fault = _short_decimal(data, at, scales[column])
                if fault == NO_NUMBER:
                    value, at, fault = _number(data, at, content, scales[column])
                if fault == FINE and not low[column] <= value <= high[column]:
                    fault = OUT_OF_RANGE
            elif content == ID:
                value, at, fault = _number(data, at, content, 0)
                if fault == OUT_OF_RANGE and value == -1 and low[column] == -1:
                    fault = FINE
            elif content == ANY:
                at = _field_end(data, at)
            elif content == NAME:
                value, at = name_key(data, at)
            elif content == OPTIONAL:
                value, at, fault = _optional(data, at, scales[column])
                if fault == FINE and not low[column] <= value <= high[column] and value != _LARGEST:
                    fault = OUT_OF_RANGE
            elif content == TIME:
                value, at, fault = _time(data, at)
            else:
                first, last = column_words[column, 0], column_words[column, 1]
                value, at = _word(data, at, words, word_ends, first, last)
                if value < 0:
                    fault = UNKNOWN_WORD if content == WORD else CHANGED
            if fault != FINE:
                break
            # The row of a line that turns out to be bad is overwritten by the next good line.
            values[column, rows] = value
            column += 1
            if data[at] == _CR and data[at + 1] == _LF:
                at += 1
            if data[at] == _LF:
                fault = FINE if column == columns else COLUMN_COUNT
                break
            at += 1
            if column == leading:
                leads = at - begin
        if fault != FINE:
            while data[at] != _LF:
                at += 1
            bad[faults, 0], bad[faults, 1], bad[faults, 2], bad[faults, 3] = line, begin, column, fault
            faults += 1
        else:
            row_line[rows] = line
            rows += 1
            good, length = begin, leads
        at += 1
        line += 1
    return line, rows, faults


@in_place
def _leading(contents: np.ndarray) -> int:
    """Return how many columns come before the first whose fields differ from row to row, 0 if there is none."""
    column = 0
    while column < len(contents) and (
        contents[column] == INT or contents[column] == WORD or contents[column] == SAME or contents[column] == TIME
    ):
        column += 1
    return column if column < len(contents) else 0


@released
def count_places(data: np.ndarray, contents: np.ndarray, counts: np.ndarray) -> None:
    """Count how many numbers of each DECIMAL column can be represented with how many decimal places.

    Numbers that cannot be represented with any number of places are skipped, as is the rest of a line after a field
    that is not a number.

    Args:
      data: uint8 [B], lines that all end in a line feed.
      contents: int64 [C], DECIMAL for the columns to count; others are ignored.
      counts: int64 [C, 2, MOST_PLACES + 1], incremented: by [0, p], the numbers that need at least p places, and by
        [1, p], those that stay within `MOST_UNITS` up to p places.
    """
    at = 0
    while at < len(data):
        for column in range(len(contents)):
            fault = FINE
            if contents[column] == DECIMAL:
                at, fault = _count_number(data, at, counts[column])
            else:
                at = _field_end(data, at)
            if fault != FINE or data[at] != _COMMA:
                break
            at += 1
        while data[at] != _LF:
            at += 1
        at += 1


@in_place
def _count_number(data: np.ndarray, at: int, counts: np.ndarray) -> tuple[int, int]:
    """Count one number; return the position after it and its fault if it is not a number."""
    least, fault, value, end = -1, TOO_FINE, np.int64(0), at
    while fault == TOO_FINE and least < MOST_PLACES:
        least += 1
        value, end, fault = _number(data, at, DECIMAL, least)
    if fault != FINE:
        return end, FINE if fault in (TOO_FINE, OUT_OF_RANGE) else fault
    value, most = abs(value), least
    while most < MOST_PLACES and value <= MOST_UNITS // 10:
        value *= 10
        most += 1
    if value <= MOST_UNITS:
        counts[0, least] += 1
        counts[1, most] += 1
    return end, FINE


# Nearly all numbers are short: up to 18 digits, no exponent. The next two functions read only those, and return
# NO_NUMBER with the unchanged position for any other. Their indices are unsigned: Numba checks signed ones for counting
# from the end, which halves the speed.


@in_place
def _short_int(data: np.ndarray, at: int) -> tuple[int, int, int]:
    """Read an integer of up to 18 digits."""
    place = np.uint64(at)
    negative = data[place] == _MINUS
    if negative:
        place += _ONE
    first = place
    number, place = _digits(data, place, np.uint64(0))
    end = np.int64(place)
    if place == first or place - first > _MOST_DIGITS or not _ends(data, end):
        return np.int64(0), at, NO_NUMBER
    return -np.int64(number) if negative else np.int64(number), end, FINE


@in_place
def _digits(data: np.ndarray, place: int, number: int) -> tuple[int, int]:
    """Append the digits at a position to a number; return it, modulo 2^64, and the position after them."""
    while place + BYTES <= len(data):
        count, more = leading_digits(word_at(data, place))
        number = number * _WORD_POWERS[count] + more
        place += count
        if count < BYTES:
            return number, place
    digit = np.uint8(data[place] - np.uint8(_ZERO))
    while digit <= 9:
        number = number * _TEN + np.uint64(digit)
        place += _ONE
        digit = np.uint8(data[place] - np.uint8(_ZERO))
    return number, place


@in_place
def _short_decimal(data: np.ndarray, at: int, scale: int) -> tuple[int, int, int]:
    """Read a decimal number of up to 18 digits and `scale` places."""
    place = np.uint64(at)
    negative = data[place] == _MINUS
    if negative:
        place += _ONE
    first = place
    mantissa, place = _digits(data, place, np.uint64(0))
    digits, shift = place - first, np.int64(scale)
    if data[place] == _DOT and digits > 0:
        place += _ONE
        first = place
        mantissa, place = _digits(data, place, mantissa)
        places = place - first
        digits = digits + places if places > 0 else np.uint64(0)
        shift -= np.int64(places)
    end, value = np.int64(place), np.int64(mantissa)
    if digits == 0 or digits > _MOST_DIGITS or shift < 0 or value > _LIMITS[shift] or not _ends(data, end):
        return np.int64(0), at, NO_NUMBER
    value *= _POWERS[shift]
    return -value if negative else value, end, FINE


@in_place
def _number(data: np.ndarray, at: int, content: int, scale: int) -> tuple[int, int, int]:
    """Read a number up to the comma or the end of its line; return it, the position after it, and its fault."""
    negative = data[at] == _MINUS
    at += negative
    mantissa, first = np.int64(0), at
    while _ZERO <= data[at] <= _NINE:
        if mantissa > _SAFE:
            return _large(data, at, mantissa, content, negative)
        mantissa = mantissa * 10 + (data[at] - _ZERO)
        at += 1
    if at == first:
        ended = data[at] == _COMMA or data[at] == _LF or data[at] == _CR
        return np.int64(0), at, EMPTY_FIELD if ended and not negative else NO_NUMBER
    if content == DECIMAL:
        mantissa, at, fault = _scaled(data, at, mantissa, scale)
        if fault != FINE:
            return np.int64(0), at, fault
    if not _ends(data, at):
        return np.int64(0), at, NO_NUMBER
    if content == ID and negative and mantissa != 0:
        return -mantissa, at, OUT_OF_RANGE
    return -mantissa if negative else mantissa, at, FINE


@in_place
def _time(data: np.ndarray, at: int) -> tuple[int, int, int]:
    """Read a time: ISO 8601, or ns since 1970 like an ID; -1, the bits of the largest ID, if the field is empty."""
    if _ends(data, at):
        return np.int64(-1), at, FINE
    value, end, is_iso = iso_time(data, at)
    if is_iso:
        return value, end, FINE if _ends(data, end) else NO_NUMBER
    return _number(data, at, ID, 0)


@in_place
def _optional(data: np.ndarray, at: int, scale: int) -> tuple[int, int, int]:
    """Read a decimal number; an empty field gives the largest int64."""
    if _ends(data, at):
        return np.int64(_LARGEST), at, FINE
    value, end, fault = _short_decimal(data, at, scale)
    return _number(data, at, DECIMAL, scale) if fault == NO_NUMBER else (value, end, fault)


@in_place
def _ends(data: np.ndarray, at: int) -> bool:
    return data[at] == _COMMA or data[at] == _LF or (data[at] == _CR and data[at + 1] == _LF)


@in_place
def _large(data: np.ndarray, at: int, mantissa: int, content: int, negative: bool) -> tuple[int, int, int]:
    """Continue with a number of 19 or more digits: an ID may reach 2^64 - 1, an INT -2^63."""
    # Check before multiplying: uint64 arithmetic wraps around silently.
    number, overflow = np.uint64(mantissa), False
    while _ZERO <= data[at] <= _NINE:
        digit = np.uint64(data[at] - _ZERO)
        overflow |= number > np.uint64(1844674407370955161) or (
            number == np.uint64(1844674407370955161) and digit > np.uint64(5)
        )
        number = number * np.uint64(10) + digit
        at += 1
    if not _ends(data, at) and not (content == DECIMAL and data[at] == _DOT):
        return np.int64(0), at, NO_NUMBER
    if content == ID:
        return np.int64(number), at, OUT_OF_RANGE if overflow or negative else FINE
    if content == DECIMAL or overflow or number > np.uint64(_LARGEST) + np.uint64(negative):
        return np.int64(0), at, OUT_OF_RANGE
    return -np.int64(number) if negative else np.int64(number), at, FINE


@in_place
def _scaled(data: np.ndarray, at: int, mantissa: int, scale: int) -> tuple[int, int, int]:
    """Read what follows the integer digits of a decimal, and convert it to `scale` places."""
    places, zeros = 0, 0
    if data[at] == _DOT:
        at += 1
        first = at
        while _ZERO <= data[at] <= _NINE:
            zeros += 1  # defer zeros: trailing ones must not overflow the mantissa or count as decimal places
            if data[at] != _ZERO:
                digit = np.int64(data[at] - _ZERO)
                if zeros > 18 or mantissa > (_LARGEST - digit) // _POWERS[zeros]:
                    return np.int64(0), at, _rest(data, at, TOO_FINE if places + zeros > scale else OUT_OF_RANGE)
                mantissa = mantissa * _POWERS[zeros] + digit
                places += zeros
                zeros = 0
            at += 1
        if at == first:
            return np.int64(0), at, NO_NUMBER
    if data[at] | 32 == 101:  # an e
        at += 1
        sign = -1 if data[at] == _MINUS else 1
        at += data[at] == _MINUS or data[at] == _PLUS
        first, exponent = at, 0
        while _ZERO <= data[at] <= _NINE and at < first + 4:
            exponent = exponent * 10 + (data[at] - _ZERO)
            at += 1
        if at == first:
            return np.int64(0), at, NO_NUMBER
        places -= sign * exponent
    shift = scale - places
    if mantissa == 0 or shift == 0:
        return mantissa, at, FINE
    if shift > 18 or (shift > 0 and mantissa > _LARGEST // _POWERS[shift]):
        return np.int64(0), at, OUT_OF_RANGE
    if shift > 0:
        return mantissa * _POWERS[shift], at, FINE
    if shift < -18 or mantissa % _POWERS[-shift] != 0:
        return np.int64(0), at, TOO_FINE
    return mantissa // _POWERS[-shift], at, FINE


@in_place
def _rest(data: np.ndarray, at: int, fault: int) -> int:
    """Return `fault` for a number with too many digits, or NO_NUMBER if other characters follow the digits."""
    while _ZERO <= data[at] <= _NINE:
        at += 1
    return fault if _ends(data, at) or data[at] | 32 == 101 else NO_NUMBER


@in_place
def _field_end(data: np.ndarray, at: int) -> int:
    """Return the position of the comma or the line end after a field."""
    place = np.uint64(at)
    while data[place] != _COMMA and data[place] != _LF:
        place += _ONE
    end = np.int64(place)
    return end - 1 if end > at and data[end] == _LF and data[end - 1] == _CR else end


@in_place
def name_key(data: np.ndarray, at: int) -> tuple[int, int]:
    """Return the FNV-1a hash of a field's text, and the position after the field."""
    end, key = _field_end(data, at), _FNV_BASIS
    for place in range(at, end):
        key = (key ^ np.uint64(data[place])) * _FNV_PRIME
    return np.int64(key), end


@in_place
def _word(
    data: np.ndarray, at: int, words: np.ndarray, word_ends: np.ndarray, first: int, last: int
) -> tuple[int, int]:
    """Return the index of a field among the words first..last-1, counted from `first`, -1 if none, and its end."""
    for k in range(first, last):
        begin, place = np.uint64(word_ends[k]), np.uint64(at)
        end = np.uint64(word_ends[k + 1])
        while begin < end and data[place] == words[begin]:
            begin += _ONE
            place += _ONE
        if begin == end and _ends(data, np.int64(place)):
            return k - first, np.int64(place)
    return -1, at
