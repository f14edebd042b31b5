"""The strict table: what polars would let pass is refused, and the first line at fault is named."""

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.errors import InputError
from lob_jax.feeds.strict_csv import nanoseconds, parse_table

COLUMNS = {"time": "seconds", "order": "wide", "size": "int64"}
SOUND = b"34200.015105074,18446744073709551615,-5\n34200,0,007\n9.5,-1,9223372036854775807\n"


def test_sound_rows_are_read_exactly():
    table = parse_table(SOUND, COLUMNS, where="f")
    assert table.fault is None
    assert table.frame.rows() == [("34200.015105074", 2**64 - 1, -5), ("34200", 0, 7), ("9.5", -1, 2**63 - 1)]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("34200", 34_200_000_000_000),
        ("34200.5", 34_200_500_000_000),
        ("34200.000000001", 34_200_000_000_001),
        ("34200.0151050740000", 34_200_015_105_074),
        ("57599.999999999", 57_599_999_999_999),
        ("34200.05990197", 34_200_059_901_970),
    ],
)
def test_nanoseconds_come_digit_by_digit(text, ns):
    out = nanoseconds(pl.Series([text]))
    assert out.dtype == np.int64
    assert out.tolist() == [ns]


@pytest.mark.parametrize(
    ("field", "column", "what"),
    [
        (" 5", 3, "whole number"),
        ("5 ", 3, "whole number"),
        ("+5", 3, "whole number"),
        ("5.0", 3, "whole number"),
        ("1e3", 3, "whole number"),
        ('"5"', 3, "whole number"),
        ("", 3, "whole number"),
        ("-", 3, "whole number"),
        ("--5", 3, "whole number"),
        ("5-3", 3, "whole number"),
        ("1_0", 3, "whole number"),
        ("12O", 3, "whole number"),
        ("\u0665", 3, "whole number"),
        ("9223372036854775808", 3, "out of range"),
        ("18446744073709551616", 2, "out of range"),
        ("9" * 60, 2, "out of range"),
        ("34200.", 1, "decimal"),
        (".5", 1, "decimal"),
        ("-34200.5", 1, "decimal"),
        ("3.4e4", 1, "decimal"),
        ("34200.1.2", 1, "decimal"),
        ("34200.0000000001", 1, "decimal"),
        (" 34200.1", 1, "decimal"),
    ],
)
def test_a_bad_field_is_named_by_line_and_column(field, column, what):
    row = ["34201.5", "7", "8"]
    row[column - 1] = field
    table = parse_table(SOUND + ",".join(row).encode() + b"\n" + SOUND, COLUMNS, where="the file")
    assert table.frame.height == 3
    assert what in table.fault.what
    assert f"the file, line 4, column {column} ({list(COLUMNS)[column - 1]})" == table.fault.where
    assert (repr(field)[1:60] if field else "empty") in table.fault.was


@pytest.mark.parametrize(
    ("tail", "line", "what", "was"),
    [
        (b"1,2\n", 4, "wrong number of columns", "2: '1,2'"),
        (b"1,2,3,4\n", 4, "wrong number of columns", "4: '1,2,3,4'"),
        (b"1,2,3,\n", 4, "wrong number of columns", "4: '1,2,3,'"),
        (b"\n1,2,3\n", 4, "wrong number of columns", "an empty line"),
        (b"1,2,3\n\n", 5, "wrong number of columns", "an empty line"),
        (b"1,2", 4, "truncated last line", "2: '1,2'"),
        (b"1,,3", 4, "truncated last line, with a field", "an empty field"),
        (b"1,2,-", 4, "truncated last line, with a field", "'-'"),
        (b"1,\xff\xfe,3\n", 4, "not UTF-8", "xff"),
        (b"1,2,3\r4,5,6\n", 4, "wrong number of columns", "5: "),
    ],
)
def test_a_bad_line_is_named(tail, line, what, was):
    table = parse_table(SOUND + tail, COLUMNS, where="f")
    assert what in table.fault.what
    assert table.fault.where.startswith(f"f, line {line}")
    assert was in str(table.fault.was)


def test_a_first_line_at_fault_leaves_no_rows():
    for data in (b"\n" + SOUND, b"time,order,size\n" + SOUND, b"\xef\xbb\xbf" + SOUND):
        table = parse_table(data, COLUMNS, where="f")
        assert table.frame.height == 0
        assert table.fault.where.startswith("f, line 1")


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\n"])
def test_an_empty_file_is_refused(data):
    with pytest.raises(InputError, match="an empty file"):
        parse_table(data, COLUMNS, where="f")


def test_a_last_line_without_an_end_is_reported():
    table = parse_table(SOUND[:-1], COLUMNS, where="f")
    assert (table.fault, table.ended, table.frame.height) == (None, False, 3)
    assert parse_table(SOUND, COLUMNS, where="f").ended


def test_windows_line_ends_read_the_same():
    table = parse_table(SOUND.replace(b"\n", b"\r\n"), COLUMNS, where="f")
    assert table.fault is None
    assert table.frame.equals(parse_table(SOUND, COLUMNS, where="f").frame)


DAMAGE = [bytes([byte]) for byte in b"0123456789-+.,\n\r \"'eEx#\xff"]


def by_hand(data: bytes) -> tuple[list, int | None]:
    """Parse with nothing but regular expressions: the rows before the first bad line, and its number."""
    rows = []
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    for number, line in enumerate(lines, 1):
        last = number == len(lines)
        if last and not line:
            return rows, None
        match = re.fullmatch(rb"(\d{1,5}(?:\.\d{1,9}0*)?),(-?\d+),(-?\d+)", line)
        if not match or not -(2**63) <= int(match[2]) < 2**64 or not -(2**63) <= int(match[3]) < 2**63:
            return rows, number
        rows.append((match[1].decode(), int(match[2]), int(match[3])))
    return rows, None


@settings(max_examples=200, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(SOUND)), st.integers(0, 2), st.sampled_from([*DAMAGE, b"", b"\r\n"])), max_size=4
    )
)
def test_any_damage_is_seen_as_a_plain_parser_sees_it(edits):
    data = bytearray(SOUND)
    for at, removed, byte in edits:
        data[at : at + removed] = byte
    rows, bad_line = by_hand(bytes(data))
    table = parse_table(bytes(data), COLUMNS, where="f")
    assert table.frame.rows() == rows
    assert (table.fault is None) == (bad_line is None)
    if bad_line:
        assert re.match(rf"f, line {bad_line}(,|$)", table.fault.where)
