"""The LOBSTER reader, on a day written by hand, on damaged copies of it, and on real days."""

import decimal
import gzip
import hashlib
import json
import pathlib

import numpy as np
import pytest

from lob_jax.book.replay import one_step_mismatches, replay
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Flag, Kind
from lob_jax.feeds.feed import DaySource
from lob_jax.feeds.lobster.feed import LobsterFeed, read_book_rows, read_messages
from lob_jax.writers.lobster import write_lobster
from tests.feeds.checks import assert_sound

NAME = "XYZ_2024-07-01_34200000_57600000_{}_2.csv"
NO_ASK, NO_BID = "9999999999,0", "-9999999999,0"
# Two levels. Before the first message: bid 100.00 x 50; ask 100.02 x 70, 100.03 x 10.
MESSAGES = [
    "34200.5,1,9000000001,30,1000100,1",  # a better bid
    "34200.5,5,0,5,1000150,-1",  # a hidden trade between ticks
    "34200.500000001,4,7,70,1000200,-1",  # the complete best ask trades
    "34201,7,0,0,-1,-1",
    "34202.25,7,0,0,0,-1",
    "34203.123456789,7,0,0,1,-1",
    "34203.2,6,-1,1000,1000250,-1",
    "34204,3,8,10,1000300,-1",  # no ask is left
    "34204.000,2,18446744073709551615,10,1000100,1",
]
BOOK = [
    "1000200,70,1000100,30,1000300,10,1000000,50",
    "1000200,70,1000100,30,1000300,10,1000000,50",
    *[f"1000300,10,1000100,30,{NO_ASK},1000000,50"] * 5,
    f"{NO_ASK},1000100,30,{NO_ASK},1000000,50",
    f"{NO_ASK},1000100,20,{NO_ASK},1000000,50",
]
SECOND = 10**9
NINE_THIRTY = 1_719_840_600 * SECOND  # 2024-07-01 13:30:00 UTC, summer time


def put(folder: pathlib.Path, messages: list[str] = MESSAGES, book: list[str] = BOOK, *, name: str = NAME, end="\n"):
    """Write a pair of files; return the message file."""
    for half, lines in (("message", messages), ("orderbook", book)):
        (folder / name.format(half)).write_bytes("".join(line + end for line in lines).encode())
    return folder / name.format("message")


def changed(lines: list[str], line: int, text: str) -> list[str]:
    return [*lines[: line - 1], text, *lines[line:]]


def error(path: pathlib.Path, **arguments) -> InputError:
    """Return the InputError that reading raises, after checking that it is complete."""
    with pytest.raises(InputError) as caught:
        LobsterFeed(**arguments).read(path)
    for part in ("what", "where", "expected", "was", "remedy"):
        assert str(getattr(caught.value, part)) != ""
    return caught.value


def test_every_message_becomes_its_event(tmp_path):
    events = LobsterFeed().read(put(tmp_path)).events
    seconds = ["0.5", "0.5", "0.500000001", "1", "2.25", "3.123456789", "3.2", "4", "4"]
    assert events.time_ns.tolist() == [NINE_THIRTY + int(decimal.Decimal(s) * SECOND) for s in seconds]
    assert events.kind.tolist() == [1, 5, 4, 7, 7, 7, 6, 3, 2]
    assert events.code.tolist() == [0, 0, 0, Code.HALT, Code.RESUME_QUOTE, Code.RESUME_TRADE, 0, 0, 0]
    assert events.side.tolist() == [1, -1, -1, 0, 0, 0, -1, -1, 1]
    assert events.price.tolist() == [1000100, 1000150, 1000200, 0, 0, 0, 1000250, 1000300, 1000100]
    assert events.size.tolist() == [30, 5, 70, 0, 0, 0, 1000, 10, 10]
    assert events.order_id.tolist() == [9000000001, 0, 7, 0, 0, 0, 0, 8, 2**64 - 1]
    assert events.sequence.tolist() == list(range(9))
    assert not events.receive_ns.any()
    last = [bool(flag & Flag.LAST_IN_GROUP) for flag in events.flags.tolist()]
    assert last == [False, True, True, True, True, True, True, False, True]


def test_the_aggressor_is_known_where_the_resting_side_is(tmp_path):
    def known(day):
        events = LobsterFeed().read(put(tmp_path, name=NAME.replace("2024-07-01", day))).events
        return events.kind[(events.flags & Flag.AGGRESSOR_KNOWN) > 0].tolist()

    assert known("2012-06-21") == [5, 4]
    assert known("2024-07-01") == [4]  # the exchange hides the side of hidden orders by then


def test_the_start_is_the_first_row_with_its_message_undone(tmp_path):
    start = LobsterFeed().read(put(tmp_path)).start
    assert start.side.tolist() == [1, -1, -1]
    assert start.price.tolist() == [1000000, 1000200, 1000300]
    assert start.size.tolist() == [50, 70, 10]
    assert start.order_id.tolist() == [0, 0, 0]
    assert start.last_best.tolist() == [1000000, 1000200]
    assert (start.time_ns, start.window) == (NINE_THIRTY, 2)


@pytest.mark.parametrize(
    ("message", "row", "bids", "last_best"),
    [
        ("34200.5,1,1,20,1000000,1", BOOK[0], [(1000100, 30), (1000000, 30)], 1000100),  # joined a level
        ("34200.5,4,1,5,1000100,1", BOOK[0], [(1000100, 35), (1000000, 50)], 1000100),
        ("34200.5,3,1,5,1000200,1", BOOK[0], [(1000200, 5), (1000100, 30)], 1000200),  # one level left, one came
        ("34200.5,2,1,5,1000100,1", f"1000200,70,1000100,30,{NO_ASK},{NO_BID}", [(1000100, 35)], 1000100),
        ("34200.5,1,1,30,1000100,1", f"1000200,70,1000100,30,{NO_ASK},{NO_BID}", [], 0),
        ("34200.5,5,0,30,1000100,1", BOOK[0], [(1000100, 30), (1000000, 50)], 1000100),
        ("34200.5,7,0,0,-1,-1", BOOK[0], [(1000100, 30), (1000000, 50)], 1000100),
    ],
)
def test_every_kind_of_first_message_is_undone(tmp_path, message, row, bids, last_best):
    start = LobsterFeed().read(put(tmp_path, [message], [row])).start
    is_bid = start.side > 0
    assert list(zip(start.price[is_bid].tolist(), start.size[is_bid].tolist(), strict=True)) == bids
    assert start.last_best[0] == last_best


def test_what_the_first_message_reveals_is_no_gap(tmp_path):
    report = LobsterFeed().read(put(tmp_path, ["34200.5,3,1,5,1000200,1", MESSAGES[1]], BOOK[:2])).report
    assert (report["corrections"], report["unexplained_rows"]) == (1, 0)


@pytest.mark.parametrize(
    ("first", "expected"), [("34200.000000000", NINE_THIRTY), ("34199.9", NINE_THIRTY - 100_000_000)]
)
def test_the_clock_starts_with_the_session_or_an_earlier_event(tmp_path, first, expected):
    path = put(tmp_path, changed(MESSAGES, 1, f"{first},1,1,30,1000100,1"))
    assert LobsterFeed().read(path).start.time_ns == expected


@pytest.mark.parametrize(
    ("day", "utc_of_nine_thirty"),
    [("2024-01-15", 1_705_329_000), ("2024-07-01", 1_719_840_600), ("2024-03-11", 1_710_163_800)],
)
def test_local_time_becomes_utc_in_winter_and_summer(tmp_path, day, utc_of_nine_thirty):
    read = LobsterFeed().read(put(tmp_path, name=NAME.replace("2024-07-01", day)))
    assert read.start.time_ns == utc_of_nine_thirty * SECOND
    assert read.instrument.trading_day == day


def test_empty_levels_are_zero_on_both_sides(tmp_path):
    path = put(tmp_path, book=[*BOOK[:8], f"{NO_ASK},{NO_BID},{NO_ASK},{NO_BID}"])
    price, size = read_book_rows(path)
    assert price[:1].tolist() == [[[1000100, 1000000], [1000200, 1000300]]]
    assert size[:1].tolist() == [[[30, 50], [70, 10]]]
    assert price[7].tolist() == [[1000100, 1000000], [0, 0]]
    assert not price[8].any() and not size[8].any()
    assert price.dtype == size.dtype == np.int64


def test_the_report_counts_what_was_read(tmp_path):
    path = put(tmp_path)
    report = LobsterFeed().read(path).report
    assert json.loads(json.dumps(report)) == report
    kinds = {"ADD": 1, "CANCEL": 1, "DELETE": 1, "EXECUTE": 1, "EXECUTE_HIDDEN": 1, "CROSS": 1, "CONTROL": 3}
    assert report["kinds"] == kinds
    assert (report["rows_read"], report["rows_kept"], report["rows_dropped"]) == (9, 9, {})
    assert (report["corrections"], report["unexplained_rows"], report["crossed_rows"], report["time_reversals"]) == (
        0,
        0,
        0,
        0,
    )
    book = path.with_name(NAME.format("orderbook"))
    assert report["inputs"] == {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (path, book)}


def test_a_level_that_comes_into_view_is_a_correction_but_no_gap(tmp_path):
    book = [row.replace(NO_ASK, "1000500,40", 1) if 2 < n < 8 else row for n, row in enumerate(BOOK, 1)]
    day = LobsterFeed().read(put(tmp_path, book=[*book[:7], *[r.replace(NO_ASK, "1000500,40", 1) for r in BOOK[7:]]]))
    found = day.corrections
    assert [found.event.tolist(), found.side.tolist(), found.price.tolist(), found.size.tolist()] == [
        [2], [-1], [1000500], [40],
    ]  # fmt: skip
    assert (day.report["corrections"], day.report["unexplained_rows"]) == (1, 0)


@pytest.mark.parametrize(
    ("line", "row", "gap_lines"),
    [
        (2, "1000200,60,1000100,30,1000300,10,1000000,50", [2]),  # a size differs, and line 3 removes that level
        (2, "1000200,70,1000100,30,1000300,10,1000000,51", [2, 3]),  # a size differs, and differs back
        (2, f"1000200,70,1000100,30,1000300,10,{NO_BID}", [2, 3]),  # a level disappears, and reappears
        (2, "1000200,70,1000100,30,1000250,1,1000000,50", [2, 3]),  # one appears before the last, and disappears
        (5, "1000300,10,1000100,30,1000400,5,1000000,50", [5, 6]),  # one appears where nothing was hidden
    ],
)
def test_a_book_row_that_its_message_does_not_explain_is_a_gap(tmp_path, line, row, gap_lines):
    report = LobsterFeed(tick=50).read(put(tmp_path, book=changed(BOOK, line, row))).report
    assert report["first_unexplained_lines"] == gap_lines
    assert report["unexplained_rows"] == len(gap_lines) <= report["corrections"]


def test_crossed_and_locked_rows_are_counted_not_refused(tmp_path):
    book = changed(changed(BOOK, 1, BOOK[0].replace("1000200", "1000100")), 2, BOOK[1].replace("1000200", "1000000"))
    report = LobsterFeed().read(put(tmp_path, book=book)).report
    assert (report["crossed_rows"], report["locked_rows"]) == (1, 1)


def test_windows_line_ends_and_compression_change_nothing(tmp_path):
    plain = LobsterFeed().read(put(tmp_path))
    for folder in ("crlf", "gz"):
        (tmp_path / folder).mkdir()
    crlf = put(tmp_path / "crlf", end="\r\n")
    for half in ("message", "orderbook"):
        packed = gzip.compress((tmp_path / NAME.format(half)).read_bytes())
        (tmp_path / "gz" / (NAME.format(half) + ".gz")).write_bytes(packed)
    for path in (crlf, tmp_path / "gz" / (NAME.format("message") + ".gz")):
        day = LobsterFeed().read(path)
        for name in ("time_ns", "kind", "code", "side", "price", "size", "order_id", "flags"):
            assert np.array_equal(getattr(day.events, name), getattr(plain.events, name))


@pytest.mark.parametrize(
    ("line", "text", "what", "column", "was"),
    [
        (2, "86400,5,0,5,1000150,-1", "outside the day", 1, "86400"),
        (2, "99999.5,5,0,5,1000150,-1", "outside the day", 1, "99999.5"),
        (2, "-1.5,5,0,5,1000150,-1", "outside the day", 1, "-1.5"),
        (2, "1.5.1,5,0,5,1000150,-1", "not a decimal", 1, "1.5.1"),
        (2, "1.0000000001,5,0,5,1000150,-1", "too many decimal places", 1, "1.0000000001"),
        (3, "34200.499999999,4,7,70,1000200,-1", "backwards", 1, "34200.499999999 after 34200.5"),
        (2, "34200.5,0,0,5,1000150,-1", "unknown message type", 2, "0"),
        (2, "34200.5,8,0,5,1000150,-1", "unknown message type", 2, "8"),
        (2, "34200.5,5,0,5,1000150,0", "direction", 6, "0"),
        (2, "34200.5,5,0,5,1000150,2", "direction", 6, "2"),
        (1, "34200.5,1,9,-30,1000100,1", "negative size", 4, "-30"),
        (1, "34200.5,1,9,0,1000100,1", "without size", 4, "0"),
        (1, "34200.5,1,9,1000000000000000,1000100,1", "size that no order can have", 4, "1000000000000000"),
        (7, "34203.2,6,-1,-1,1000250,-1", "negative size", 4, "-1"),
        (7, "34203.2,6,-1,1,-9999999999,-1", "no order can have", 5, "-9999999999"),
        (7, "34203.2,6,-2,1,1000250,-1", "negative order id", 3, "-2"),
        (1, "34200.5,1,-1,30,1000100,1", "negative order id", 3, "-1"),
        (1, "34200.5,1,9,30,1000150,1", "between ticks", 5, "1000150"),
        (3, "34200.500000001,4,7,70,1000201,-1", "between ticks", 5, "1000201"),
        (8, "34204,3,8,10,1000301,-1", "between ticks", 5, "1000301"),
        (9, "34204,2,8,10,1000101,1", "between ticks", 5, "1000101"),
        (1, "34200.5,1,9,30,-9999999999,1", "no order can have", 5, "-9999999999"),
        (1, f"34200.5,1,9,30,{-(2**63)},1", "no order can have", 5, "-9223372036854775808"),
        (2, "34200.5,5,9,30,9999999999,1", "no order can have", 5, "9999999999"),
        (4, "34201,7,0,0,2,-1", "halt message with an unknown code", 5, "2"),
        (4, f"34201,7,0,0,{-(2**63)},-1", "halt message with an unknown code", 5, "-9223372036854775808"),
        (4, "34201,7,0,0,-1,1", "halt message with a direction", 6, "1"),
        (4, "34201,7,5,0,-1,-1", "halt message with an order id", 3, "5"),
        (4, "34201,7,0,5,-1,-1", "halt message with a size", 4, "5"),
        (5, "34202.25,7,0,O,0,-1", "not a whole number", 4, "'O'"),
    ],
)
def test_a_bad_message_is_named(tmp_path, line, text, what, column, was):
    path = put(tmp_path, changed(MESSAGES, line, text))
    fault = error(path)
    assert what in fault.what
    assert fault.where.startswith(f"{path}, line {line}, column {column} (")
    assert was in str(fault.was)


def test_the_first_bad_line_is_named_whatever_its_fault(tmp_path):
    early, late = "34200.5,8,0,5,1000150,-1", "34202.25,7,0,x,0,-1"
    fault = error(put(tmp_path, changed(changed(MESSAGES, 2, early), 5, late)))
    assert ", line 2, " in fault.where
    fault = error(put(tmp_path, changed(changed(MESSAGES, 2, late), 5, early)))
    assert ", line 2, " in fault.where
    bad_row = changed(BOOK, 3, BOOK[2].replace("30,", "-30,"))
    fault = error(put(tmp_path, book=changed(bad_row, 5, "1,2,3")))
    assert ", line 3, " in fault.where


@pytest.mark.parametrize("down", [1000100, 1000200, 1000250, 1000300, 2000000])
def test_prices_may_be_zero_or_below(tmp_path, down):
    """Negative prices, as of calendar spreads: the same day at lower prices is the same market."""
    rows = [line.split(",") for line in MESSAGES]
    messages = [",".join([*row[:4], str(int(row[4]) - down * (row[1] != "7")), row[5]]) for row in rows]
    levels = [line.split(",") for line in BOOK]
    book = [
        ",".join(str(int(p) - down * (n != "0")) + f",{n}" for p, n in zip(row[::2], row[1::2], strict=True))
        for row in levels
    ]
    plain = LobsterFeed(tick=50).read(put(tmp_path))
    for feed in (LobsterFeed(tick=50), LobsterFeed(tick=50, order_book="none")):
        day = feed.read(put(tmp_path, messages, book))
        priced = day.events.kind != Kind.CONTROL
        assert np.array_equal(day.events.price[priced], plain.events.price[priced] - down)
        assert_sound(day)
    assert np.array_equal(
        LobsterFeed(tick=50).read(put(tmp_path, messages, book)).start.price, plain.start.price - down
    )
    day = LobsterFeed(tick=50).read(put(tmp_path, messages, book))
    assert (day.report["unexplained_rows"], len(day.corrections)) == (0, len(plain.corrections))
    (tmp_path / "again").mkdir()
    again = LobsterFeed(tick=50).read(write_lobster(tmp_path / "again", day, levels=2).message)
    assert np.array_equal(again.events.price, day.events.price)
    assert np.array_equal(again.start.price, day.start.price)


def test_an_off_tick_price_names_a_tick_that_fits(tmp_path):
    path = put(tmp_path, changed(MESSAGES, 1, "34200.5,1,9,30,1000150,1"))
    assert "such as 50" in error(path).remedy
    assert LobsterFeed(tick=50).read(path).events.price[0] == 1000150
    with pytest.raises(InputError, match="a tick that is not a positive number"):
        LobsterFeed(tick=0)


@pytest.mark.parametrize(
    ("line", "old", "new", "what", "column"),
    [
        (1, "1000200,70", "1000200,-70", "negative size", 2),
        (1, "1000200,70", "1000200,1000000000000000", "size that no level can have", 2),
        (1, "1000200,70", "1000200,0", "half empty", 1),
        (3, NO_ASK, "9999999999,5", "half empty", 5),
        (3, NO_ASK, NO_BID, "half empty", 5),
        (3, "1000000,50", NO_ASK, "half empty", 7),
        (3, NO_ASK, "0,0", "half empty", 5),
        (1, "1000000,50", "-9999999999,5", "half empty", 7),
        (1, "1000000,50", "9999999999,5", "no order can have", 7),
        (1, "1000000,50", "-10000000000,50", "no order can have", 7),
        (1, "1000000,50", "999950,50", "between ticks", 7),
        (1, "1000000,50", "1000200,50", "out of order", 7),
        (1, "1000000,50", "1000100,50", "out of order", 7),
        (1, "1000300,10", "1000100,10", "out of order", 5),
        (8, f"{NO_ASK},1000000", "1000400,5,1000000", "out of order", 5),
        (2, "1000200,70", "1000200,7O", "not a whole number", 2),
        (2, "1000200,70,", "1000200,", "wrong number of columns", None),
    ],
)
def test_a_bad_book_row_is_named(tmp_path, line, old, new, what, column):
    path = put(tmp_path, book=changed(BOOK, line, BOOK[line - 1].replace(old, new, 1)))
    fault = error(path)
    assert what in fault.what
    where = f"{tmp_path / NAME.format('orderbook')}, line {line}"
    assert fault.where.startswith(f"{where}, column {column} (" if column else where)


@pytest.mark.parametrize("half", ["message", "orderbook"])
@pytest.mark.parametrize("cut", [2, 3, 9, 20])
def test_a_truncated_last_line_is_named(tmp_path, half, cut):
    path = put(tmp_path)
    file = tmp_path / NAME.format(half)
    file.write_bytes(file.read_bytes()[:-cut])
    fault = error(path)
    assert fault.where.startswith(f"{file}, line 9")
    assert "truncated last line" in fault.what


def test_a_missing_line_feed_at_the_end_is_borne_where_nothing_is_lost(tmp_path):
    path = put(tmp_path)
    for half in ("message", "orderbook"):
        file = tmp_path / NAME.format(half)
        file.write_bytes(file.read_bytes()[:-1])
    assert len(LobsterFeed().read(path).events) == 9
    book = [row.replace("1000000,50", NO_BID) for row in BOOK]
    put(tmp_path, book=book)
    file.write_bytes(file.read_bytes()[:-1])
    assert len(LobsterFeed().read(path).events) == 9
    revealed = [*book[:8], f"{NO_ASK},1000100,20,{NO_ASK},1000000,50"]
    put(tmp_path, book=revealed)
    file.write_bytes(file.read_bytes()[:-1])
    fault = error(path)
    assert "truncated last line" in fault.what
    assert (fault.where, fault.was) == (f"{file}, line 9", "the file ends after 1000000,50")


def test_halves_of_unequal_length_are_refused(tmp_path):
    fault = error(put(tmp_path, book=BOOK[:7]))
    assert "differ in length" in fault.what
    assert (fault.where, fault.was) == (f"{tmp_path / NAME.format('orderbook')}, line 8", "7 rows")
    assert "9 rows" in fault.expected and NAME.format("message") in fault.expected
    assert "differ in length" in error(put(tmp_path, MESSAGES[:8])).what


@pytest.mark.parametrize("half", ["message", "orderbook"])
def test_an_empty_file_is_refused(tmp_path, half):
    path = put(tmp_path)
    (tmp_path / NAME.format(half)).write_bytes(b"")
    fault = error(path)
    assert fault.what == "an empty file"
    assert str(fault.where) == str(tmp_path / NAME.format(half))


def test_a_book_of_other_levels_is_refused(tmp_path):
    path = put(tmp_path, book=["1000200,70,1000100,30"] * 9)
    assert "8 columns" in error(path).expected


def test_bytes_that_are_not_text_are_refused(tmp_path):
    path = put(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"34201,", b"34201\xb5"))
    fault = error(path)
    assert "UTF-8" in fault.what
    assert ", line 4" in fault.where


def test_days_are_listed(tmp_path):
    path = put(tmp_path)
    listed = [DaySource(path, "XYZ", "2024-07-01")]
    assert LobsterFeed().days(tmp_path) == LobsterFeed().days(path) == listed


REAL = {
    "lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz": (147_916, [0, 71258, 19, 64961, 7765, 3913, 0, 0]),
    "lobster/AAPL_2012-06-21_34200000_57600000_message_1.csv.gz": (118_497, [0, 54818, 252, 28437, 23658, 11332, 0, 0]),
    "lobster/GOOG_2012-06-21_34200000_57600000_message_1.csv.gz": (49_482, [0, 24368, 7, 13429, 7765, 3913, 0, 0]),
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_day_is_read_whole(market_data, name):
    path = market_data(name)
    rows, kinds = REAL[name]
    day = LobsterFeed().read(path)
    assert len(day.events) == rows
    assert np.bincount(day.events.kind, minlength=8).tolist() == kinds
    assert (day.report["unexplained_rows"], day.report["crossed_rows"], day.report["time_reversals"]) == (0, 0, 0)
    levels = day.start.window
    price, size = read_book_rows(path)
    states = replay(day, levels=levels).after()
    assert np.array_equal(states.price, price) and np.array_equal(states.size, size)
    assert not len(one_step_mismatches(day.events, price=price, size=size))
    assert not (day.corrections.size == 0).any()  # corrections only reveal levels


def test_real_messages_are_read_digit_by_digit(market_data):
    path = market_data("lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz")
    events = read_messages(path)
    midnight = 1_340_251_200 * SECOND  # 2012-06-21 04:00 UTC
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    for row in range(0, len(lines), 37):
        time, kind, order_id, size, price, side = lines[row].split(",")
        assert events.time_ns[row] - midnight == int(decimal.Decimal(time) * SECOND)
        values = [int(getattr(events, name)[row]) for name in ("kind", "order_id", "size", "price", "side")]
        assert values == [int(kind), int(order_id), int(size), int(price), int(side)]
    groups = np.diff(np.flatnonzero(np.append(True, (events.flags & Flag.LAST_IN_GROUP) > 0)))
    assert groups.max() <= 43
    hidden = events.kind == Kind.EXECUTE_HIDDEN
    assert not events.order_id[hidden].any()
    assert (events.price[hidden] % 100 != 0).any() and not (events.price[~hidden] % 100).any()


def test_the_real_excerpt_needs_its_true_name(market_data, tmp_path):
    message = market_data("lobster/AAPL_2012-06-21_message_10_first998.csv")
    assert "not LOBSTER's" in error(message).what
    for half in ("message", "orderbook"):
        source = message.with_name(message.name.replace("message", half))
        (tmp_path / f"AAPL_2012-06-21_34200000_57600000_{half}_10.csv").write_bytes(source.read_bytes())
    day = LobsterFeed().read(tmp_path / "AAPL_2012-06-21_34200000_57600000_message_10.csv")
    assert (len(day.events), day.report["unexplained_rows"]) == (999, 0)  # complete, without a line feed
