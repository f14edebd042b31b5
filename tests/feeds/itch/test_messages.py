import pathlib

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Code, Flag, Kind
from lob_jax.feeds.feed import STRICT, Reading
from lob_jax.feeds.itch.codes import SIZES
from lob_jax.feeds.itch.feed import ItchFeed
from tests.feeds.sample_itch import FEED, LENGTHS, LOCATE, STOCK, add, directory, message

LAST, KNOWN = int(Flag.LAST_IN_GROUP), int(Flag.LAST_IN_GROUP | Flag.AGGRESSOR_KNOWN)
T = 34_200 * 10**9
ADDED = (Kind.ADD, Code.NONE, BID, 1_000_000, 10, 1, LAST)
HALT = (Kind.CONTROL, Code.HALT, 0, 0, 0, 0, LAST)
RESUME = (Kind.CONTROL, Code.RESUME_TRADE, 0, 0, 0, 0, LAST)
BASE = [directory(), add(T, 1, b"B", 10, 1_000_000)]


def read(tmp_path, parts, *, feed=FEED, reading=STRICT, name="a.itch"):
    path = tmp_path / name
    path.write_bytes(b"".join(parts))
    return feed.read(path, reading)


def rows(events):
    names = ("kind", "code", "side", "price", "size", "order_id", "flags")
    return list(zip(*(getattr(events, name).tolist() for name in names), strict=True))


EFFECTS = {
    "E, a part": (message("E", T, (1, 8), (3, 4), (9, 8)), [(Kind.EXECUTE, 0, BID, 1_000_000, 3, 1, KNOWN)]),
    "C, printable": (
        message("C", T, (1, 8), (3, 4), (9, 8), b"Y", (999_000, 4)),
        [(Kind.EXECUTE, 0, BID, 1_000_000, 3, 1, KNOWN)],
    ),
    "C, in an auction": (
        message("C", T, (1, 8), (10, 4), (9, 8), b"N", (1_000_000, 4)),
        [(Kind.EXECUTE, 0, BID, 1_000_000, 10, 1, LAST)],
    ),
    "X, a part": (message("X", T, (1, 8), (9, 4)), [(Kind.CANCEL, 0, BID, 1_000_000, 9, 1, LAST)]),
    "X, all": (message("X", T, (1, 8), (10, 4)), [(Kind.DELETE, 0, BID, 1_000_000, 10, 1, LAST)]),
    "D": (message("D", T, (1, 8)), [(Kind.DELETE, 0, BID, 1_000_000, 10, 1, LAST)]),
    "U": (
        message("U", T, (1, 8), (2, 8), (7, 4), (1_000_100, 4)),
        [(Kind.DELETE, 0, BID, 1_000_000, 10, 1, 0), (Kind.ADD, 0, BID, 1_000_100, 7, 2, LAST)],
    ),
    "F": (add(T, 2, b"S", 4, 1_000_200, mpid=b"NSDQ"), [(Kind.ADD, 0, ASK, 1_000_200, 4, 2, LAST)]),
    "A, the largest reference": (
        add(T, 2**64 - 1, b"S", 4, 1_000_200),
        [(Kind.ADD, 0, ASK, 1_000_200, 4, 2**64 - 1, LAST)],
    ),
    "P": (
        message("P", T, (0, 8), b"S", (5, 4), STOCK, (1_000_050, 4), (9, 8)),
        [(Kind.EXECUTE_HIDDEN, 0, ASK, 1_000_050, 5, 0, LAST)],
    ),
    "Q": (
        message("Q", T, (2**40, 8), STOCK, (1_000_100, 4), (9, 8), b"O"),
        [(Kind.CROSS, 0, BID, 1_000_100, 2**40, 0, LAST)],
    ),
    "Q, nothing traded": (message("Q", T, (0, 8), STOCK, (0, 4), (9, 8), b"O"), []),
    "H, halt": (message("H", T, STOCK, b"H", b" ", b"T1  "), [HALT]),
    "H, pause": (message("H", T, STOCK, b"P", b" ", b"    "), [HALT]),
    "H, quotes": (message("H", T, STOCK, b"Q", b" ", b"    "), [(Kind.CONTROL, Code.RESUME_QUOTE, 0, 0, 0, 0, LAST)]),
    "H, trading": (message("H", T, STOCK, b"T", b" ", b"    "), [RESUME]),
    "h, halt": (message("h", T, STOCK, b"Q", b"H"), [HALT]),
    "h, trading": (message("h", T, STOCK, b"Q", b"T"), [RESUME]),
    "h, of another market": (message("h", T, STOCK, b"X", b"H"), []),
    "S, open": (message("S", T, b"Q", locate=0), [(Kind.CONTROL, Code.SESSION_OPEN, 0, 0, 0, 0, LAST)]),
    "S, close": (message("S", T, b"M", locate=0), [(Kind.CONTROL, Code.SESSION_CLOSE, 0, 0, 0, 0, LAST)]),
    "S, others": (message("S", T, b"E", locate=0), []),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_a_message_becomes_its_events(tmp_path, name):
    raw, expected = EFFECTS[name]
    events = read(tmp_path, [*BASE, raw]).events
    assert rows(events) == [ADDED, *expected]
    assert events.sequence.tolist() == [2] + [3] * len(expected)
    assert (events.time_ns == 1_548_824_400 * 10**9 + T).all()  # 2019-01-30T00:00:00-05:00


def test_a_replacement_ends_one_order_and_begins_another(tmp_path):
    swap = EFFECTS["U"][0]
    later = [message("X", T, (2, 8), (3, 4)), message("D", T, (2, 8))]
    assert rows(read(tmp_path, [*BASE, swap, *later]).events)[3:] == [
        (Kind.CANCEL, 0, BID, 1_000_100, 3, 2, LAST),
        (Kind.DELETE, 0, BID, 1_000_100, 4, 2, LAST),
    ]
    with pytest.raises(InputError, match="not in the book"):
        read(tmp_path, [*BASE, swap, message("D", T, (1, 8))])


def test_the_table_of_sizes_is_that_of_the_specification():
    assert SIZES == LENGTHS


@pytest.mark.parametrize("letter", "BINYLVWKJO")
def test_a_message_without_effect_is_counted_by_its_type(tmp_path, letter):
    raw = message(letter, T, bytes(LENGTHS[letter] - 11))
    day = read(tmp_path, [*BASE, raw])
    assert rows(day.events) == [ADDED]
    assert day.report["rows_dropped"] == {"type R, without an event": 1, f"type {letter}, without an event": 1}
    assert (day.report["rows_read"], day.report["rows_kept"]) == (3, 1)


@pytest.mark.parametrize("letter", LENGTHS)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_message_of_another_size_is_refused(tmp_path, letter, change):
    raw = message(letter, T, bytes(LENGTHS[letter] - 11 + change))
    with pytest.raises(InputError) as error:
        read(tmp_path, [*BASE, raw])
    assert error.value.what == "a message whose length is not that of its type"
    assert (error.value.expected, error.value.was) == (LENGTHS[letter], LENGTHS[letter] + change)
    assert f"byte {len(b''.join(BASE))}, message 3, type {letter!r}" in error.value.where


FAULTY = {
    "a message of an unknown type": [message("Z", T, bytes(20))],
    "a time beyond the day": [add(86_400 * 10**9, 2, b"B", 1, 100)],
    "a stock locate code without a directory message": [add(T, 2, b"B", 1, 100, locate=8)],
    "a stock that does not match its locate code": [
        add(T, 2, b"B", 1, 100, stock=b"OTHER   "),
        message("P", T, (0, 8), b"B", (5, 4), b"OTHER   ", (100, 4), (9, 8)),
        message("Q", T, (5, 8), b"OTHER   ", (100, 4), (9, 8), b"O"),
        message("H", T, b"OTHER   ", b"H", b" ", b"    "),
    ],
    "an unknown letter in a field": [
        add(T, 2, b"X", 1, 100),
        message("S", T, b"X", locate=0),
        message("P", T, (0, 8), b"b", (5, 4), STOCK, (100, 4), (9, 8)),
        message("C", T, (1, 8), (3, 4), (9, 8), b"X", (100, 4)),
        message("H", T, STOCK, b"X", b" ", b"    "),
        message("h", T, STOCK, b"Q", b"P"),
    ],
    "an order, a removal or a trade of 0 shares": [
        add(T, 2, b"B", 0, 100),
        message("X", T, (1, 8), (0, 4)),
        message("U", T, (1, 8), (2, 8), (0, 4), (100, 4)),
        message("Q", T, (2**63, 8), STOCK, (100, 4), (9, 8), b"O"),
    ],
    "an order or a trade without a price": [
        add(T, 2, b"B", 1, 0),
        message("U", T, (1, 8), (2, 8), (1, 4), (0, 4)),
        message("Q", T, (1, 8), STOCK, (0, 4), (9, 8), b"O"),
    ],
    "an order reference that is already in use": [
        add(T, 1, b"S", 1, 100),
        message("U", T, (1, 8), (1, 8), (1, 4), (100, 4)),
    ],
    "an order reference that is not in the book": [
        message("E", T, (2, 8), (1, 4), (9, 8)),
        message("D", T, (2, 8)),
        message("U", T, (2, 8), (3, 8), (1, 4), (100, 4)),
    ],
    "a removal of more shares than the order has left": [
        message("X", T, (1, 8), (11, 4)),
        message("E", T, (1, 8), (11, 4), (9, 8)),
    ],
    "an invalid symbol": [directory(stock=bytes(8), locate=8), directory(stock=b"../A    ", locate=8)],
    "a directory that contradicts itself": [directory(stock=b"OTHER   "), directory(locate=8)],
}
CASES = [(what, k) for what, parts in FAULTY.items() for k in range(len(parts))]


@pytest.mark.parametrize("what,k", CASES)
def test_a_bad_message_is_refused_or_left_out(tmp_path, what, k):
    parts = [*BASE, FAULTY[what][k], message("X", T, (1, 8), (4, 4))]
    with pytest.raises(InputError, match="message 3") as error:
        read(tmp_path, parts)
    assert error.value.what == what
    day = read(tmp_path, parts, reading=Reading("skip"))
    assert rows(day.events) == [ADDED, (Kind.CANCEL, 0, BID, 1_000_000, 4, 1, LAST)]
    assert day.report["rows_dropped"] == {"type R, without an event": 1, what: 1}
    assert day.report["rows_read"] == 4


def test_a_quarantine_keeps_the_bytes(tmp_path):
    raw = FAULTY["a message of an unknown type"][0]
    day = read(tmp_path, [*BASE, raw], reading=Reading("quarantine", tmp_path / "bad"))
    (kept,) = day.report["quarantine"]
    assert "Z" in pathlib.Path(kept).read_text()


def test_a_price_between_ticks_is_refused_where_a_tick_is_given(tmp_path):
    feed = ItchFeed(trading_day="2019-01-30", tick=100)
    with pytest.raises(InputError, match="between ticks"):
        read(tmp_path, [*BASE, add(T, 2, b"B", 1, 150)], feed=feed)
    assert read(tmp_path, [*BASE], feed=feed).instrument.tick == 100


def test_the_side_of_a_hidden_trade_is_known_while_it_was_told(tmp_path):
    raw = EFFECTS["P"][0]
    for day, known in (("2014-07-11", True), ("2014-07-14", False)):
        events = read(tmp_path, [*BASE, raw], feed=ItchFeed(trading_day=day)).events
        assert bool(events.flags[1] & Flag.AGGRESSOR_KNOWN) is known


def test_counts_beside_the_book_are_reported(tmp_path):
    raws = [EFFECTS[name][0] for name in ("C, printable", "Q, nothing traded")]
    last = message("C", T, (1, 8), (7, 4), (9, 8), b"N", (1_000_000, 4))
    report = read(tmp_path, [*BASE, *raws, last]).report
    assert [report[k] for k in ("non_printable", "executed_at_another_price", "empty_crosses")] == [1, 1, 1]


def test_an_order_of_another_stock_cannot_be_removed(tmp_path):
    other = directory(stock=b"OTHER   ", locate=8)
    with pytest.raises(InputError, match="not in the book"):
        ItchFeed(trading_day="2019-01-30").read_all(write(tmp_path, [*BASE, other, message("D", T, (1, 8), locate=8)]))


def write(tmp_path, parts):
    path = tmp_path / "two.itch"
    path.write_bytes(b"".join(parts))
    return path


def test_a_table_that_outgrows_its_room_loses_no_order(tmp_path):
    count = 5000
    adds = [add(T, k + 1, b"B", k + 1, 1_000_000) for k in range(count)]
    gone = [message("D", T, (k + 1, 8), locate=LOCATE) for k in range(count)]
    events = read(tmp_path, [directory(), *adds, *gone]).events
    assert (events.size == np.tile(np.arange(1, count + 1), 2)).all()
