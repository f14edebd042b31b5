"""Integer CSV without a header, read fast where it is flawless and explained line by line where it is not.

polars parses in bulk, but on its own it would take ' 5' and '+5' for 5 and fill short lines with nulls.
So the bytes are held to an alphabet of digits, signs, dots, commas and line feeds first, and any null,
any miscount of rows and any refusal leads to a slow scan that names the first line at fault.
"""

import dataclasses
import io
import re

import numpy as np
import polars as pl

from lob_jax.errors import InputError

_ALPHABET = b"0123456789-.,\n"
_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,9}0*)?", re.ASCII)
_TYPES = {"seconds": pl.String, "int64": pl.Int64, "wide": pl.Int128}
_RANGES = {"int64": (-(2**63), 2**63 - 1), "wide": (-(2**63), 2**64 - 1)}
_ROWS_REMEDY = "fetch the file again; if it was edited, restore the line"


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows in front of the first line at fault.

    Attributes:
      frame: the parsed columns.
      fault: what is wrong with the line after them; None if the whole file is sound.
      ended: whether a line feed ends the last line; if not, its last number may have lost digits.
    """

    frame: pl.DataFrame
    fault: InputError | None
    ended: bool


def parse_table(data: bytes, columns: dict[str, str], *, where: object) -> Table:
    """Parse rows of decimal numbers.

    Args:
      data: the file's bytes; lines end in LF or CRLF.
      columns: name -> "int64", "wide" (any int64 or uint64, kept as Int128) or "seconds" (kept as a string of
        up to five digits and, after a dot, up to nine; zeros may follow them).
      where: the file, for errors.

    Raises:
      InputError: the file is empty.
    """
    if not data or data.isspace():
        raise InputError(
            "an empty file", where=where, expected="one row an event", was=f"{len(data)} bytes", remedy=_ROWS_REMEDY
        )
    text = data.replace(b"\r\n", b"\n") if b"\r" in data else data
    ended = text.endswith(b"\n")
    text = text if ended else text + b"\n"
    frame = _parse_fast(text, columns)
    if frame is not None:
        return Table(frame, None, ended)
    good_bytes, fault = _first_fault(text, columns, where, ended=ended)
    return Table(_parse_fast(text[:good_bytes], columns, may_be_empty=True), fault, ended)


def nanoseconds(seconds: pl.Series) -> np.ndarray:
    """Turn checked "seconds" strings into int64 ns, digit by digit: no float is ever involved."""
    parts = seconds.str.splitn(".", 2).struct.unnest()
    whole = parts.to_series(0).cast(pl.Int64)
    digits = parts.to_series(1).fill_null("").str.slice(0, 9).str.pad_end(9, "0").cast(pl.Int64)
    return (whole * 10**9 + digits).to_numpy()


def _parse_fast(text: bytes, columns: dict[str, str], *, may_be_empty: bool = False) -> pl.DataFrame | None:
    """Return the table if all of it is sound, else None."""
    schema = {name: _TYPES[content] for name, content in columns.items()}
    if may_be_empty and not text:
        return pl.DataFrame(schema=schema)
    if text.translate(None, _ALPHABET):
        return None
    try:
        frame = pl.read_csv(io.BytesIO(text), has_header=False, schema=schema, quote_char=None, ignore_errors=False)
    except pl.exceptions.PolarsError:
        return None
    if frame.height != text.count(b"\n") or any(frame.null_count().row(0)):
        return None
    for name, content in columns.items():
        if content == "seconds" and not frame[name].str.contains(f"^(?:{_SECONDS.pattern})$").all():
            return None
        if content == "wide" and not frame[name].is_between(*_RANGES["wide"]).all():
            return None
    return frame


def _first_fault(text: bytes, columns: dict[str, str], where: object, *, ended: bool) -> tuple[int, InputError]:
    """Find the first line at fault; return how many bytes lie in front of it, and what is wrong with it."""
    begin = 0
    lines = text.split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        cut_short = number == len(lines) and not ended
        fault = _line_fault(line, columns, f"{where}, line {number}", cut_short=cut_short)
        if fault is not None:
            return begin, fault
        begin += len(line) + 1
    raise InputError(
        "a table that cannot be parsed",
        where=where,
        expected=f"{len(columns)} decimal numbers a line",
        was="no single line is at fault",
        remedy="report this file: the bulk parser and the line scan disagree about it",
    )


def _line_fault(line: bytes, columns: dict[str, str], where: str, *, cut_short: bool) -> InputError | None:
    """Explain what is wrong with a line, if anything is."""
    try:
        fields = line.decode("utf-8").split(",")
    except UnicodeDecodeError as error:
        return InputError(
            "a line that is not UTF-8",
            where=where,
            expected="ASCII digits",
            was=line[error.start : error.start + 4],
            remedy="fetch the file again, or save it as UTF-8",
        )
    if len(fields) != len(columns) or not line:
        return InputError(
            "a truncated last line" if cut_short else "a wrong number of columns",
            where=where,
            expected=f"{len(columns)} columns",
            was=f"{len(fields)}: {line[:80].decode()!r}" if line else "an empty line",
            remedy=_ROWS_REMEDY,
        )
    for position, (field, (name, content)) in enumerate(zip(fields, columns.items(), strict=True), 1):
        fault = _field_fault(field, content, f"{where}, column {position} ({name})", cut_short=cut_short)
        if fault is not None:
            return fault
    return None


def _field_fault(field: str, content: str, where: str, *, cut_short: bool) -> InputError | None:
    """Explain what is wrong with one number, if anything is."""
    if content == "seconds":
        if _SECONDS.fullmatch(field):
            return None
        what, expected = "a time that is not a decimal number", "up to five digits, a dot, up to nine digits"
    elif not _INTEGER.fullmatch(field):
        what, expected = "a field that is not a whole number", "digits, with a minus sign in front if negative"
    else:
        low, high = _RANGES[content]
        if len(field) < 40 and low <= int(field) <= high:
            return None
        what, expected = "a number out of range", f"{low}..{high}"
    was = repr(field[:60]) if field else "an empty field"
    what = f"a truncated last line, with {what}" if cut_short else what
    return InputError(what, where=where, expected=expected, was=was, remedy=_ROWS_REMEDY)
