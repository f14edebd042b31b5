"""Strict CSV: every field by its column's grammar, and the first bad line by number, for any block size."""

import decimal
import gzip
import re
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading.csv_rows import Column, CsvRows, Fault
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.scale import PlacesMisfit
from lob_jax.feeds.reading.source import Source

COLUMNS = (
    Column("time", "decimal", 9, low=0),
    Column("order", "id"),
    Column("size", "int"),
    Column("side", "word", words=("buy", "sell", "buyer")),
    Column("symbol", "same"),
    Column("note", "any"),
)
SOUND = (
    b"34200.015105074,18446744073709551615,-5,buy,XYZ,\n"
    b"34200,0,007,buyer,XYZ,\xff \n"
    b"9.5,10,9223372036854775807,sell,XYZ,a b\n"
)
ROWS = [(34_200_015_105_074, -1, -5, 0, 0, 0), (34_200 * 10**9, 0, 7, 2, 0, 0), (95 * 10**8, 10, 2**63 - 1, 1, 0, 0)]


def read(folder, data, columns=COLUMNS, *, header=None, rules=None, name="f.csv", **reading):
    """Return all rows, their lines, the reader and its faults."""
    (folder / name).write_bytes(data)
    how = Reading(**reading)
    faults = Faults(how, "f")
    rows = CsvRows(Source(folder / name), columns, header=header, reading=how, faults=faults, rules=rules)
    blocks = list(rows)
    values = np.concatenate([np.empty((len(columns), 0), np.int64), *(block.values for block in blocks)], axis=1)
    line = [number for block in blocks for number in block.line.tolist()]
    return list(map(tuple, values.T.tolist())), line, rows, faults


def error(folder, data, columns=COLUMNS, **arguments):
    with pytest.raises(InputError) as caught:
        read(folder, data, columns, **arguments)
    for part in ("what", "where", "expected", "was", "remedy"):
        assert str(getattr(caught.value, part)) != ""
    return caught.value


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1 << 20])
def test_sound_rows_are_read_exactly(tmp_path, block_bytes):
    rows, line, reader, _ = read(tmp_path, SOUND, block_bytes=block_bytes)
    assert rows == ROWS
    assert line == [1, 2, 3]
    assert (reader.rows_read, reader.ended) == (3, True)
    assert reader.first[:4] == ("34200.015105074", "18446744073709551615", "-5", "buy")


@pytest.mark.parametrize(
    ("text", "scale", "value"),
    [
        ("0", 9, 0),
        ("-0", 9, 0),
        ("34200", 9, 34_200_000_000_000),
        ("34200.000000001", 9, 34_200_000_000_001),
        ("34200.0151050740000000000000000000", 9, 34_200_015_105_074),
        ("00000000000000000000000000012.5", 1, 125),
        ("-1.5", 2, -150),
        ("9e-05", 9, 90_000),
        ("9E-05", 9, 90_000),
        ("1.25e+3", 0, 1250),
        ("1250e-1", 0, 125),
        ("1e18", 0, 10**18),
        ("0e999", 0, 0),
        ("9223372036.854775807", 9, 2**63 - 1),
        ("-9223372036.854775807", 9, 1 - 2**63),
        ("0.000000000000000001", 18, 1),
        ("123456789.12345678", 8, 12_345_678_912_345_678),
    ],
)
def test_decimals_come_digit_by_digit(tmp_path, text, scale, value):
    rows, *_ = read(tmp_path, f"{text}\n".encode(), [Column("x", "decimal", scale)])
    assert rows == [(value,)]


@pytest.mark.parametrize(("text", "value"), [("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1)])
def test_an_int_may_be_any_int64(tmp_path, text, value):
    assert read(tmp_path, f"{text}\n".encode(), [Column("x", "int")])[0] == [(value,)]


@pytest.mark.parametrize(
    ("field", "column", "what"),
    [
        *[(text, 3, "not a whole number") for text in (" 5", "5 ", "+5", "5.0", "1e3", '"5', "", "-", "--5", "5-3")],
        *[(text, 3, "not a whole number") for text in ("1_0", "12O", "\u0665", "5\r", "\x005", "9" * 30 + "x")],
        ("9223372036854775808", 3, "out of range"),
        ("-9223372036854775809", 3, "out of range"),
        ("18446744073709551616", 2, "out of range"),
        ("18446744073709551625", 2, "out of range"),
        ("9" * 60, 2, "out of range"),
        ("-1", 2, "a negative order"),
        *[
            (text, 1, "not a decimal")
            for text in ("34200.", ".5", "34200.1.2", " 1.1", "1,", "1e", "1e+", "1e1.5", "e5")
        ],
        *[(text, 1, "not a decimal") for text in ("NaN", "inf", "0x1F", "1e5e5", "1.5-", "1.12345678901234567890x")],
        ("-1.5", 1, "out of range"),
        ("34200.0000000001", 1, "too many decimal places"),
        ("1e-10", 1, "too many decimal places"),
        ("1e-9999", 1, "too many decimal places"),
        ("9223372036.854775808", 1, "out of range"),
        ("1e300", 1, "out of range"),
        ("99999999999999999999", 1, "out of range"),
        *[(text, 4, "an unknown word") for text in ("Buy", "bu", "buyers", "", " buy", '"buy', '""buy""')],
        *[(text, 5, "a different symbol") for text in ("XY", "XYZZ", "xyz", "")],
    ],
)
def test_a_bad_field_is_named_by_line_and_column(tmp_path, field, column, what):
    row = ["34201.5", "7", "8", "buy", "XYZ", ""]
    row[column - 1] = field
    fault = error(tmp_path, SOUND + ",".join(row).encode() + b"\n" + SOUND)
    if field == "1,":
        assert fault.where == f"{tmp_path}/f.csv, line 4"
        return
    assert what in fault.what
    assert fault.where == f"{tmp_path}/f.csv, line 4, column {column} ({COLUMNS[column - 1].name})"
    shown = field.removesuffix("\r") if column == len(row) else field
    assert (repr(shown[:80]) if field else "an empty field") == fault.was


@pytest.mark.parametrize(("low", "high", "good"), [(0, 5, (0, 5)), (-3, -1, (-3, -1))])
def test_a_range_includes_its_ends(tmp_path, low, high, good):
    for content in ("int", "decimal"):
        column = Column("x", content, low=low, high=high)
        assert [row[0] for row in read(tmp_path, b"%d\n%d\n" % good, [column])[0]] == list(good)
        for bad in (low - 1, high + 1):
            assert "out of range" in error(tmp_path, b"%d\n" % bad, [column]).what


def test_an_id_may_be_minus_one_where_that_means_none(tmp_path):
    column = Column("x", "id", low=-1)
    assert read(tmp_path, b"-1\n18446744073709551615\n0\n", [column])[0] == [(-1,), (-1,), (0,)]
    assert "a negative x" in error(tmp_path, b"-2\n", [column]).what


@pytest.mark.parametrize(
    ("tail", "line", "what", "was"),
    [
        (b"1,2,3\n", 4, "a wrong number of columns", "3: "),
        (b"1,2,3,buy,XYZ,,\n", 4, "a wrong number of columns", "7: "),
        (b"\n\n", 4, "a wrong number of columns", "an empty line"),
        (b"\r\n9.5,10,9,sell,XYZ,\n", 4, "a wrong number of columns", "an empty line"),
        (b" \n", 4, "a wrong number of columns", "an empty line"),
        (b"1,2", 4, "a truncated last line, with a wrong number of columns", "2: '1,2'"),
        (b"1,2,", 4, "a truncated last line, with a wrong number of columns", "3: "),
        (b"1,2,x,buy,XYZ,", 4, "a truncated last line, with a field", "'x'"),
        (b"1,\xff\xfe,3,buy,XYZ,\n", 4, "not UTF-8", "xff"),
        (b"1,2,3,buy,XYZ,\r1,2,3,buy,XYZ,\n", 4, "a wrong number of columns", "11: "),
    ],
)
def test_a_bad_line_is_named(tmp_path, tail, line, what, was):
    fault = error(tmp_path, SOUND + tail, block_bytes=30)
    assert what in fault.what
    assert fault.where.startswith(f"{tmp_path}/f.csv, line {line}")
    assert was in str(fault.was)


@pytest.mark.parametrize("first", [b"\n", b"time,order,size,side,symbol,note\n", b"\xef\xbb1,2,3,buy,XYZ,\n"])
def test_a_first_line_at_fault_is_named(tmp_path, first):
    assert ", line 1" in error(tmp_path, first + SOUND).where


def test_an_empty_file_is_refused(tmp_path):
    assert error(tmp_path, b"").what == "an empty file"
    assert error(tmp_path, b"", on_error="skip", header=("a",)).what == "an empty file"


@pytest.mark.parametrize("block_bytes", [5, 1000])
def test_a_header_must_be_the_formats(tmp_path, block_bytes):
    header = ("a", "b")
    columns = [Column("a", "int"), Column("b", "int")]
    for end in (b"\n", b"\r\n"):
        data = end.join([b"a,b", b"1,2", b"3,4", b""])
        rows, line, reader, _ = read(tmp_path, data, columns, header=header, block_bytes=block_bytes)
        assert (rows, line, reader.rows_read) == ([(1, 2), (3, 4)], [2, 3], 2)
    for wrong in (b"a,c\n1,2\n", b"1,2\n3,4\n", b"a,b,a\n", b"\n1,2\n", b'"a,b\n', b"a,B\n", b"\xffa,b\n"):
        fault = error(tmp_path, wrong, columns, header=header, on_error="skip")
        assert "header" in fault.what and fault.expected == "a,b" and ", line 1" in fault.where
    assert ", line 3, column 2 (b)" in error(tmp_path, b"a,b\n1,2\n3,x\n", columns, header=header).where
    rows, _, reader, _ = read(tmp_path, b"a,b\n", columns, header=header)
    assert (rows, reader.rows_read) == ([], 0)


@pytest.mark.parametrize("block_bytes", [1, 7, 1000])
def test_columns_are_found_by_the_header_in_any_order_and_among_others(tmp_path, block_bytes):
    header = ("a", "b", "s")
    columns = [Column("a", "int"), Column("b", "decimal", 2), Column("s", "same")]
    data = b"\xef\xbb\xbfs,x,b,a,\nX,1 2,0.25,7,\nX,,3,8,z\n"
    rows, line, reader, _ = read(tmp_path, data, columns, header=header, block_bytes=block_bytes)
    assert (rows, line, reader.first) == ([(7, 25, 0), (8, 300, 0)], [2, 3], ("7", "0.25", "X"))
    fault = error(tmp_path, data.replace(b",3,", b",y,"), columns, header=header)
    assert ", line 3, column 3 (b)" in fault.where and fault.was == "'y'"
    fault = error(tmp_path, data.replace(b"X,,3", b"Y,,3"), columns, header=header)
    assert ", line 3, column 1 (s)" in fault.where and fault.expected == "X"
    fault = error(tmp_path, b"s,a,b\nX,1,4\nX,2,5\nX,3,6\n", columns, header=header, rules=OddSizes())
    assert ", line 2, column 2 (x)" in fault.where


@pytest.mark.parametrize("block_bytes", [1, 3, 1000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_mark_quotes_and_a_blank_last_line_change_nothing(tmp_path, block_bytes, end):
    quoted = b"\n".join(b",".join(b'"' + field + b'"' for field in line.split(b",")) for line in SOUND.splitlines())
    for data in (b"\xef\xbb\xbf" + SOUND, quoted + b"\n", SOUND + b"\n", b"\xef\xbb\xbf" + quoted + b"\n\n"):
        rows, line, reader, _ = read(tmp_path, data.replace(b"\n", end), block_bytes=block_bytes)
        assert (rows, line, reader.rows_read, reader.ended) == (ROWS, [1, 2, 3], 3, True)
    assert error(tmp_path, end, on_error="skip").what == "an empty file"


def test_a_quote_within_a_field_stays_a_fault(tmp_path):
    for field in (b'"5"5', b'5"5"', b'"5""', b'"'):
        assert "not a whole number" in error(tmp_path, b"1,2," + field + b",buy,XYZ,\n").what


def test_a_number_that_does_not_fit_a_guessed_scale_asks_for_another(tmp_path):
    guess = [Column("x", "decimal", 2, high=100, step="lot", scale_from="guess"), Column("y", "int")]
    for bad in (b"1.125,1\n", b"9e9,1\n"):
        with pytest.raises(PlacesMisfit):
            read(tmp_path, b"1,1\n" + bad, guess, on_error="skip")
    with pytest.raises(InputError, match="line 1, column 2"):
        read(tmp_path, b"1,x\n1.125,1\n", guess)
    rows = CsvRows(Source(tmp_path / "f.csv"), guess, header=None, reading=Reading(), faults=Faults(Reading(), "f"))
    counts = rows.count_places()
    assert counts[0, 0].nonzero()[0].tolist() == [0, 3] and not counts[1].any()


@pytest.mark.parametrize(
    ("field", "scale_from", "what", "remedy"),
    [
        (b"9e9", "file", "out of range", "lot='1'"),
        (b"0.0001", "file", "too many decimal places", "lot='0.0001'"),
        (b"9e99", "file", "out of range", "does not fit within 2^60 units"),
        (b"0.0001", "step", "an amount between lots", "another lot"),
        (b"9e9", "step", "out of range", "another lot"),
        (b"9e9", "format", "out of range", "fetch the file again"),
    ],
)
def test_a_number_that_does_not_fit_its_scale_is_told_with_a_step_that_would(tmp_path, field, scale_from, what, remedy):
    step = "" if scale_from == "format" else "lot"
    column = Column("amount", "decimal", 2, high=100, step=step, scale_from=scale_from)
    fault = error(tmp_path, b"1\n" + field + b"\n", [column])
    assert what in fault.what and remedy in fault.remedy and ", line 2, column 1 (amount)" in fault.where


def test_a_last_line_without_an_end_is_read_and_reported(tmp_path):
    rows, _, reader, _ = read(tmp_path, SOUND[:-1], block_bytes=20)
    assert (rows, reader.ended) == (ROWS, False)


def test_windows_line_ends_read_the_same(tmp_path):
    for block_bytes in (1, 3, 1000):
        assert read(tmp_path, SOUND.replace(b"\n", b"\r\n"), block_bytes=block_bytes)[0] == ROWS


@pytest.mark.parametrize("block_bytes", [11, 1000])
def test_bad_lines_are_left_out_counted_and_kept(tmp_path, block_bytes):
    bad = [b"1,2,x,buy,XYZ,", b"", b"1,2,3,hold,XYZ,"]
    data = b"\n".join([bad[0], *SOUND.splitlines()[:2], bad[1], SOUND.splitlines()[2], bad[2]]) + b"\n"
    rows, line, reader, faults = read(
        tmp_path, data, block_bytes=block_bytes, on_error="quarantine", quarantine=tmp_path / "bad"
    )
    assert (rows, line, reader.rows_read) == (ROWS, [2, 3, 5], 6)
    what = ["a field that is not a whole number", "a wrong number of columns", "an unknown word"]
    assert faults.dropped == dict.fromkeys(what, 1)
    assert reader.refused == dict(zip((1, 4, 6), what, strict=True))
    kept = faults.path.read_text().splitlines()
    assert len(kept) == 3 and all(repr(raw.decode())[1:-1] in entry for raw, entry in zip(bad, kept, strict=True))


def test_what_the_first_row_says_is_that_of_the_first_whole_row(tmp_path):
    columns = [Column("x", "same"), Column("y", "int")]
    rows, _, reader, faults = read(tmp_path, b"A\nB,1\nA,2\nB,3\n", columns, on_error="skip", block_bytes=2)
    assert (rows, reader.first) == ([(0, 1), (0, 3)], ("B", "1"))
    assert faults.dropped == {"a wrong number of columns": 1, "a different x from the first row": 1}


def test_damage_keeps_what_came_before_and_is_counted(tmp_path):
    data = gzip.compress(b"".join(b"%d\n" % n for n in range(20_000)))
    columns = [Column("x", "int")]
    cut = data[: len(data) // 2]
    whole = zlib.decompressobj(31).decompress(cut).count(b"\n")
    assert "decompressed" in error(tmp_path, cut, columns, name="f.gz").what
    rows, _, reader, faults = read(tmp_path, cut, columns, name="f.gz", on_error="skip", block_bytes=1000)
    assert rows == [(n,) for n in range(whole)] and 100 < whole < 20_000
    assert read(tmp_path, cut, columns, name="f.gz", on_error="skip")[0] == rows
    assert reader.rows_read == len(rows) + 1 and sum(faults.dropped.values()) == 1


class OddSizes:
    """Rules under which odd numbers are faults."""

    def judge(self, values, text):
        odd = np.flatnonzero(values[0] % 2)
        assert [int(text(row)[0]) for row in odd] == values[0, odd].tolist()
        return np.stack([odd, odd * 0 + 3, values[0, odd]], axis=1)

    def explain(self, fault, detail, fields):
        assert fault == 3 and int(fields[0]) == detail
        return Fault(0, "x", "an odd number", "an even one", fields[0], "add one")


def test_rows_that_break_a_rule_go_with_those_that_cannot_be_parsed_in_their_order(tmp_path):
    columns, data = [Column("x", "int")], b"2\nx\n4\n5\n7\n\n8\n"
    assert ", line 2" in error(tmp_path, data, columns, rules=OddSizes()).where
    fault = error(tmp_path, data.replace(b"x", b"1"), columns, rules=OddSizes())
    assert (fault.where, fault.was) == (f"{tmp_path}/f.csv, line 2, column 1 (x)", "1")
    for block_bytes in (3, 1000):
        rows, line, reader, _ = read(
            tmp_path, data, columns, rules=OddSizes(), on_error="skip", block_bytes=block_bytes
        )
        assert (rows, line) == ([(2,), (4,), (8,)], [1, 3, 7])
        assert list(reader.refused) == [2, 4, 5, 6]


PLAIN = (
    Column("time", "decimal", 9),
    Column("order", "id"),
    Column("size", "int"),
    Column("side", "word", words=("b", "a")),
)
PLAIN_ROWS = b"34200.015105074,18446744073709551615,-5,b\n34200,0,007,a\n9.5,10,9223372036854775807,a\n1e-3,1,2,b\n"
DAMAGE = [bytes([byte]) for byte in b"0123456789-+.,\n\r \"'eEx#b\xff"]


def by_hand(data: bytes) -> list:
    """Parse with regular expressions and `decimal`; None for a bad line."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines = lines[: -2 if len(lines) > 1 and lines[-2] in (b"", b"\r") else -1]
    rows = []
    for line in lines:
        end = b"\r" if line.endswith(b"\r") else b""
        fields = line.removesuffix(b"\r").split(b",")
        line = b",".join(re.sub(rb'\A"([^"\r]*)"\Z', rb"\1", field) for field in fields) + end
        match = re.fullmatch(
            rb"(-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,4})?),(-?\d+),(-?\d+),([ba])", line.removesuffix(b"\r")
        )
        row = None
        if match:
            time = decimal.Decimal(match[1].decode()).scaleb(9)
            order, size = int(match[2]), int(match[3])
            if time == int(time) and abs(time) < 2**63 and 0 <= order < 2**64 and -(2**63) <= size < 2**63:
                row = (int(time), order - 2**64 if order >= 2**63 else order, size, b"ba".index(match[4]))
        rows.append(row)
    return rows


@settings(max_examples=300)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(PLAIN_ROWS)), st.integers(0, 2), st.sampled_from([*DAMAGE, b"", b"\r\n"])),
        max_size=4,
    ),
    block_bytes=st.sampled_from([1, 13, 1000]),
)
def test_any_damage_is_seen_as_a_plain_parser_sees_it(tmp_path_factory, edits, block_bytes):
    data = bytearray(PLAIN_ROWS)
    for at, removed, byte in edits:
        data[at : at + removed] = byte
    folder = tmp_path_factory.getbasetemp()
    expected = by_hand(bytes(data))
    if not expected:
        return
    rows, line, reader, _ = read(folder, bytes(data), PLAIN, on_error="skip", block_bytes=block_bytes)
    assert rows == [row for row in expected if row is not None]
    assert line == [number for number, row in enumerate(expected, 1) if row is not None]
    assert reader.rows_read == len(expected)
    bad = [number for number, row in enumerate(expected, 1) if row is None]
    if bad:
        assert re.match(rf"{folder}/f.csv, line {bad[0]}(,|$)", error(folder, bytes(data), PLAIN).where)


REPEATED = (
    Column("symbol", "same"),
    Column("time", "int"),
    Column("side", "word", words=("bid", "ask")),
    Column("price", "decimal", 2),
)


@pytest.mark.parametrize("block_bytes", [1, 13, 40, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_that_begins_like_the_one_before_it_has_its_fields(tmp_path, block_bytes, end):
    rows = [(15, 0, 100), (15, 0, 250), (15, 1, 250), (16, 1, 250), (15, 1, 250), (15, 1, 0)]
    text = "".join(f"ABC,{time},{('bid', 'ask')[side]},{price / 100}{end}" for time, side, price in rows)
    read_rows, _, _, _ = read(tmp_path, text.encode(), REPEATED, block_bytes=block_bytes)
    assert read_rows == [(0, *row) for row in rows]


@pytest.mark.parametrize("changed", range(len("ABC,15,bid,")))
def test_a_row_that_differs_from_the_one_before_it_in_one_byte_is_parsed(tmp_path, changed):
    line = bytearray(b"ABC,15,bid,7.25")
    line[changed : changed + 1] = b"9"
    rows, _, _, faults = read(tmp_path, b"ABC,15,bid,1\n" + line + b"\nABC,15,bid,2\n", REPEATED, on_error="skip")
    time = {4: 95, 5: 19}.get(changed)
    middle = [] if time is None else [(0, time, 0, 725)]
    assert rows == [(0, 15, 0, 100), *middle, (0, 15, 0, 200)]
    assert sum(faults.dropped.values()) == 1 - len(middle)


@pytest.mark.parametrize("tail", [b"", b"x", b"1,2", b"1.234"])
def test_a_row_that_begins_like_the_one_before_it_can_still_be_at_fault(tmp_path, tail):
    rows, line, _, faults = read(
        tmp_path, b"ABC,15,bid,1\nABC,15,bid," + tail + b"\nABC,15,bid,2\n", REPEATED, on_error="skip"
    )
    assert rows == [(0, 15, 0, 100), (0, 15, 0, 200)]
    assert line == [1, 3]
    assert sum(faults.dropped.values()) == 1
