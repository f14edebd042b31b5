"""Convert Arrow columns to integers, exactly, with a description of the fault of each bad row.

Numbers are converted to their shortest text and parsed by the grammar of `csv_fields`. A float thus stands for the
decimal number in its text, provided that this has at most 15 digits, the number of digits that a double always keeps.
"""

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from lob_jax.errors import InputError
from lob_jax.feeds.reading import csv_fields as cf
from lob_jax.feeds.reading.csv_fields import MOST_PLACES
from lob_jax.feeds.reading.csv_rows import Fault

pc: Any = pa.compute  # it defines its functions by name when it is imported, which no type checker follows
LOWEST, HIGHEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
FIRST_NS = 315_532_800_000_000_000  # 1980: an earlier time is in other units than its column's name says
LAST_NS = 2**62
NS_OF = {"time_ns": 1, "receive_ns": 1, "time_us": 1_000, "time_ms": 1_000_000}
_ZONED = r"(Z|[+-]\d\d:?\d\d)$"
_MOST_DIGITS = 15
_SURE_LENGTH = 16  # a float's text of up to this length has at most 15 digits, and a point
_SHOWN = 60
_LF, _CR = b"\n\r"
_UNITS = "use time_us or time_ms for other units and time for dates; the setting columns can map the name"
_RESTORE = "correct the row; on_error=skip leaves such rows out and counts them"


class Values(NamedTuple):
    """A column as integers.

    Attributes:
      values: int64 [R]; undefined in bad rows.
      wrong: the faults, by row.
      empty: bool [R], rows without a value.
    """

    values: np.ndarray
    wrong: dict[int, Fault]
    empty: np.ndarray


def text_of(column: pa.Array, name: str, *, where: object) -> pa.StringArray:
    """Return a column as text, null values as empty text.

    Raises:
      InputError: the column's type cannot be converted to text exactly.
    """
    if pa.types.is_dictionary(column.type):
        column = pa.DictionaryArray.from_arrays(column.indices, pc.cast(column.dictionary, pa.string()))
        column = column.dictionary_decode()
    kind = column.type
    exact = (pa.types.is_integer, pa.types.is_float64, pa.types.is_decimal, pa.types.is_date, pa.types.is_null)
    words = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if not any(holds(kind) for holds in (*exact, *words)):
        rounded = pa.types.is_floating(kind)
        raise InputError(
            "a column of an unsupported type",
            where=f"{where}, column {name}",
            expected="text, integers, Decimals or float64" if not rounded else "float64, Decimals, integers or text",
            was=f"{kind}, which keeps no more than seven digits" if rounded else kind,
            remedy="read the column again from the source, as another type" if rounded else "cast it to one of these",
        )
    return pc.fill_null(pc.cast(column, pa.string()), "")


def numbers_of(
    text: pa.StringArray,
    name: str,
    *,
    content: int = cf.INT,
    scale: int = 0,
    low: int = LOWEST,
    high: int = HIGHEST,
    inexact: bool = False,
    remedy: str = _RESTORE,
) -> Values:
    """Parse numbers to integers in units of 10**-scale.

    Args:
      text: [R].
      name: the column, for errors.
      content: INT, ID or DECIMAL of `csv_fields`.
      scale: decimal places of a DECIMAL.
      low: the smallest valid value.
      high: the largest valid value.
      inexact: whether the text comes from floats, which must not have more than 15 digits.
      remedy: what to do about a bad row.
    """
    values, faults = parse(text, content, scale=scale, low=low, high=high)
    wrong = {}
    for row in np.flatnonzero(faults):
        field = text[row].as_py()
        what, expected = _misfit(int(faults[row]), content, scale, low, high)
        wrong[int(row)] = Fault(None, name, what, expected, repr(field[:_SHOWN]) if field else "an empty field", remedy)
    if inexact:
        wrong |= _too_long(text, name)
    return Values(values, wrong, faults == cf.EMPTY_FIELD)


def parse(
    text: pa.StringArray, content: int, *, scale: int = 0, low: int = LOWEST, high: int = HIGHEST
) -> tuple[np.ndarray, np.ndarray]:
    """Parse numbers.

    Args:
      text: [R].
      content: INT, ID or DECIMAL of `csv_fields`.
      scale: decimal places of a DECIMAL.
      low: the smallest valid value.
      high: the largest valid value.

    Returns:
      The numbers, int64 [R], and the fault of each, a constant of `csv_fields`, FINE if there is none.
    """
    rows = len(text)
    data = _as_lines(text)
    if np.count_nonzero(data == _LF) != rows or np.count_nonzero(data == _CR):
        data = _as_lines(pc.if_else(pc.match_substring_regex(text, "[\r\n]"), "?", text))
    values, row_line = np.empty((1, rows), np.int64), np.empty(rows, np.int64)
    bad = np.empty((rows, 4), np.int64)
    one = {name: np.array([value]) for name, value in (("contents", content), ("scales", scale))}
    one |= {"low": np.array([low]), "high": np.array([high])}
    none = {
        "words": np.zeros(1, np.uint8),
        "word_ends": np.zeros(1, np.int64),
        "column_words": np.zeros((1, 2), np.int64),
    }
    _, good, faulty = cf.parse_lines(data, **one, **none, values=values, row_line=row_line, bad=bad)
    found, faults = np.zeros(rows, np.int64), np.zeros(rows, np.uint8)
    found[row_line[:good]] = values[0, :good]
    faults[bad[:faulty, 0]] = bad[:faulty, 3]
    return found, faults


def _as_lines(text: pa.StringArray) -> np.ndarray:
    """Return the texts as uint8 [B], each followed by a line feed."""
    lines = pc.binary_join_element_wise(text, "", "\n")
    if not len(lines):
        return np.zeros(0, np.uint8)
    return np.frombuffer(
        lines.buffers()[2], np.uint8, count=int(np.frombuffer(lines.buffers()[1], np.int32)[len(lines)])
    )


def places_needed(text: pa.StringArray, places: int, *, inexact: bool = False) -> int:
    """Return the decimal places that the numbers need, at least `places`, ignoring those that are refused anyway."""
    if inexact:
        good = np.ones(len(text), bool)
        good[list(_too_long(text, ""))] = False
        text = text.filter(pa.array(good))
    while len(text) and places < MOST_PLACES:
        _, faults = parse(text, cf.DECIMAL, scale=places)
        text = text.filter(pa.array(faults == cf.TOO_FINE))
        places += len(text) > 0
    return places


def words_of(text: pa.StringArray, name: str, words: Mapping[str, int]) -> Values:
    """Return the value of each word, ignoring case."""
    values, unknown, empty = _distinct(text, lambda word: words.get(word.upper()))
    wrong = {}
    for row in unknown:
        field = text[row].as_py()
        was = repr(field[:_SHOWN]) if field else "an empty field"
        wrong[row] = Fault(None, name, "an unknown word", " or ".join(words), was, _REMEDIES[name])
    return Values(values, wrong, empty)


_REMEDIES = {
    "kind": "rename it; a modification is a CANCEL, or a DELETE and an ADD; on_error=skip leaves such rows out",
    "side": "give the side of the resting order",
    "code": "use one of these codes",
}


def days_of(text: pa.StringArray, name: str) -> Values:
    """Parse ISO dates to proleptic Gregorian ordinals."""
    values, unknown, empty = _distinct(text, _ordinal)
    wrong = {
        row: Fault(None, name, "an invalid date", "YYYY-MM-DD", repr(text[row].as_py()[:_SHOWN]), _RESTORE)
        for row in unknown
    }
    return Values(values, wrong, empty)


def _ordinal(text: str) -> int | None:
    try:
        return datetime.date.fromisoformat(text).toordinal() if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        return None


def _distinct(text: pa.StringArray, value: Callable[[str], int | None]) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Convert each distinct text once; return the value of each row, the rows without one, a mask of empty texts."""
    coded = text.dictionary_encode()
    table = [value(word) for word in coded.dictionary.to_pylist()]
    index = coded.indices.to_numpy()
    known = np.array([entry is not None for entry in table], bool)[index]
    values = np.array([entry or 0 for entry in table], np.int64)[index]
    empty = np.array([word == "" for word in coded.dictionary.to_pylist()], bool)[index]
    return values, np.flatnonzero(~known).tolist(), empty


def times_of(column: pa.Array, ours: str, name: str, *, time_zone: str | None, where: object) -> Values:
    """Convert times to ns since 1970, UTC, from datetimes, ISO 8601 text, or integers in the unit given by `ours`.

    Args:
      column: [R].
      ours: our name of the column.
      name: the table's name of the column, for errors.
      time_zone: time zone of times without one; None if not specified.
      where: the table, for errors.

    Raises:
      InputError: the times are ambiguous: no time zone, no unit, or floats.
    """
    if pa.types.is_timestamp(column.type):
        return _ranged(_of_datetimes(column, name, time_zone, where), name, 1)
    text = text_of(column, name, where=where)
    if ours == "time":
        if not pa.types.is_integer(column.type) and not pa.types.is_floating(column.type):
            return _ranged(_of_texts(text, name, time_zone, where), name, 1)
        raise _unclear(
            "times without a unit", name, where, "a name with the unit: time_ns, time_us or time_ms", column.type
        )
    if pa.types.is_floating(column.type):
        raise _unclear("times as floats", name, where, "integers: a float cannot represent nanoseconds", column.type)
    return _ranged(numbers_of(text, name, remedy=_UNITS), name, NS_OF[ours])


def _unclear(what: str, name: str, where: object, expected: str, was: object) -> InputError:
    return InputError(what, where=f"{where}, column {name}", expected=expected, was=was, remedy="convert or rename it")


def _of_datetimes(column: pa.Array, name: str, time_zone: str | None, where: object) -> Values:
    empty = np.asarray(column.is_null())
    try:
        exact = pc.fill_null(
            column.cast(pa.timestamp("ns", column.type.tz)), pa.scalar(0, pa.timestamp("ns", column.type.tz))
        )
    except pa.ArrowInvalid as error:
        raise _unclear("times that do not fit into ns since 1970", name, where, "1980 to 2116", error) from error
    wrong = {
        row: Fault(None, name, "an empty field", "a time", "nothing", _RESTORE)
        for row in np.flatnonzero(empty).tolist()
    }
    if column.type.tz is not None:
        return Values(np.asarray(exact.cast(pa.int64())), wrong, empty)
    values, unclear = _placed(exact, name, time_zone, where)
    return Values(values, {**_no_moment(unclear, name), **wrong}, empty)


def _of_texts(text: pa.StringArray, name: str, time_zone: str | None, where: object) -> Values:
    """Parse times in ISO 8601 text, with or without an offset."""
    zoned = np.asarray(pc.match_substring_regex(text, _ZONED))
    empty = np.asarray(pc.equal(text, ""))
    values, wrong = np.zeros(len(text), np.int64), {}
    for rows, zone in ((np.flatnonzero(zoned), "UTC"), (np.flatnonzero(~zoned), None)):
        moments, bad = _moments(text.take(pa.array(rows)), pa.timestamp("ns", zone))
        for row in rows[bad].tolist():
            field = text[row].as_py()
            was = repr(field[:_SHOWN]) if field else "an empty field"
            wrong[row] = Fault(
                None, name, "an invalid time", "a time such as 2024-01-02T09:30:00.123456789Z", was, _RESTORE
            )
        values[rows] = np.asarray(moments.cast(pa.int64()))
        if zone is None and not bad.all():
            values[rows], unclear = _placed(moments, name, time_zone, where)
            wrong = {**_no_moment(rows[unclear & ~bad], name), **wrong}
    return Values(values, wrong, empty)


def _moments(text: pa.StringArray, kind: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    """Return the parsed times, 1970 where the text is not a time, and a mask of those rows."""
    try:
        return pc.cast(text, kind), np.zeros(len(text), bool)
    except pa.ArrowInvalid:
        each = [_moment(entry, kind) for entry in text]
        bad = np.array([entry is None for entry in each], bool)
        return pa.array([0 if entry is None else entry for entry in each], pa.int64()).cast(kind), bad


def _moment(text: pa.Scalar, kind: pa.DataType) -> int | None:
    try:
        return text.cast(kind).value
    except pa.ArrowInvalid:
        return None


def _placed(moments: pa.Array, name: str, time_zone: str | None, where: object) -> tuple[np.ndarray, np.ndarray]:
    """Convert local times of a time zone to UTC ns, and return a mask of those that are ambiguous or nonexistent."""
    if time_zone is None:
        raise InputError(
            "times without a time zone",
            where=f"{where}, column {name}",
            expected="an offset such as Z or +01:00, a datetime with a zone, or the setting time_zone",
            was=str(moments[0]),
            remedy="set the zone, such as time_zone=America/New_York or UTC (--config.data.time_zone)",
        )
    # The two conversions agree exactly where the local time is unique.
    early, late = (
        np.asarray(pc.assume_timezone(moments, time_zone, ambiguous=how, nonexistent=how).cast(pa.int64()))
        for how in ("earliest", "latest")
    )
    return early, early != late


def _no_moment(rows: np.ndarray, name: str) -> dict[int, Fault]:
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    what, expected = "a time that occurs twice or not at all in its zone", "a time outside the hour of a clock change"
    return {
        row: Fault(None, name, what, expected, "that hour", "write such times with an offset") for row in rows.tolist()
    }


def _ranged(found: Values, name: str, unit_ns: int) -> Values:
    """Convert times to ns, refusing those outside plausible years."""
    values = found.values
    outside = (values < FIRST_NS // unit_ns) | (values > LAST_NS // unit_ns)
    wrong = dict(found.wrong)
    for row in np.flatnonzero(outside & ~found.empty).tolist():
        fault = Fault(
            None, name, "a time before 1980 or after 2116", "a time in its column's unit", int(values[row]), _UNITS
        )
        wrong.setdefault(row, fault)
    return found._replace(values=np.where(outside, 0, values) * unit_ns, wrong=wrong)


def _too_long(text: pa.StringArray, name: str) -> dict[int, Fault]:
    """Refuse floats that are not the nearest double to a short decimal number, which are results of computations."""
    wrong = {}
    for row in np.flatnonzero(np.asarray(pc.binary_length(text)) > _SURE_LENGTH).tolist():
        digits = re.sub(r"e.*|\D", "", text[row].as_py()).strip("0")
        if len(digits) > _MOST_DIGITS:
            what = "a float that is not a decimal number of at most 15 digits"
            remedy = "round the column to its tick where it was computed, or use text, Decimals or integers"
            wrong[row] = Fault(None, name, what, "such as 100.02", text[row].as_py(), remedy)
    return wrong


def _misfit(fault: int, content: int, scale: int, low: int, high: int) -> tuple[str, str]:
    """Return the fault of a number, and what it should be."""
    if fault == cf.EMPTY_FIELD:
        return "an empty field", "a number"
    if fault == cf.TOO_FINE:
        return "a number with too many decimal places", f"at most {scale} places"
    if fault == cf.OUT_OF_RANGE:
        limits = f"{low / 10**scale:g}..{high / 10**scale:g}" if content != cf.ID else f"0..{2**64 - 1}"
        return "a number out of range", limits + (f", at {scale} decimal places" if scale else "")
    return (
        ("a field that is not a whole number", "digits")
        if content != cf.DECIMAL
        else ("a field that is not a decimal number", "such as 100.02")
    )
