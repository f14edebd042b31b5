"""Edge cases of the format, one test each."""

import numpy as np
import pytest

from lob_jax.book.replay import replay
from lob_jax.events.schema import ASK, BID, Code, Kind
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.lobster.feed import LobsterFeed, read_book_rows, read_messages
from lob_jax.tokens.exact import ExactTokenizer

NO_ASK, NO_BID = (9_999_999_999, 0), (-9_999_999_999, 0)
BOOK = ((1000200, 70), (1000100, 30), (1000300, 10), (1000000, 50))  # ask and bid, two levels


def put(folder, messages, rows, *, day="2024-07-01", levels=2):
    """Write messages and book rows of (price, size), ask first; return the message file."""
    name = f"XYZ_{day}_34200000_57600000_{{}}_{levels}.csv"
    for half, lines in (("message", messages), ("orderbook", [[n for level in row for n in level] for row in rows])):
        (folder / name.format(half)).write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    return folder / name.format("message")


def states_of(day, levels=2):
    return replay(day, levels=levels)


def test_case_1_a_hidden_execution_inside_the_spread_changes_no_book(tmp_path):
    messages = [
        ("34200.5", 1, 9, 30, 1000100, 1),
        ("34200.6", 5, 0, 200, 1000150, 1),
        ("34200.7", 5, 0, 7, 1000149, -1),
    ]
    day = LobsterFeed().read(put(tmp_path, messages, [BOOK] * 3))
    assert day.events.kind[1:].tolist() == [Kind.EXECUTE_HIDDEN] * 2
    assert day.events.price[1:].tolist() == [1000150, 1000149]  # a half tick, and off any tick
    assert day.events.order_id[1:].tolist() == [0, 0]
    assert (len(day.corrections), day.report["unexplained_rows"]) == (0, 0)
    states = states_of(day)
    assert (states.price[1:] == states.price[1]).all() and (states.size[1:] == states.size[1]).all()


def test_case_2_a_halt_has_no_price_no_size_and_a_duplicate_book_row(tmp_path):
    halts = [(f"3420{k}", 7, 0, 0, price, -1) for k, price in enumerate((-1, 0, 1), 1)]
    day = LobsterFeed().read(put(tmp_path, [("34200.5", 1, 9, 30, 1000100, 1), *halts], [BOOK] * 4))
    assert day.events.code[1:].tolist() == [Code.HALT, Code.RESUME_QUOTE, Code.RESUME_TRADE]
    for column in ("price", "size", "side", "order_id"):
        assert not getattr(day.events, column)[1:].any()
    assert not len(day.corrections)
    tokens = ExactTokenizer().encode(day)
    shown = [ExactTokenizer().describe(int(token)) for token in tokens]
    assert not any("-1" in text for text in shown)


@pytest.mark.parametrize(("order_id", "direction"), [(0, -1), (-1, -1), (-1, 1), (77, -1)])
def test_case_3_a_cross_trade_changes_no_book(tmp_path, order_id, direction):
    messages = [("34200.5", 1, 9, 30, 1000100, 1), ("34201", 6, order_id, 123_456, 1000250, direction)]
    day = LobsterFeed().read(put(tmp_path, messages, [BOOK] * 2))
    assert (day.events.kind[1], day.events.size[1], day.events.price[1]) == (Kind.CROSS, 123_456, 1000250)
    assert (day.events.order_id[1], day.events.side[1]) == (max(order_id, 0), direction)
    assert not len(day.corrections)


def test_case_3_a_cross_of_nothing_is_left_out_and_counted(tmp_path):
    messages = [("34200", 6, -1, 0, 0, -1), ("34200.5", 1, 9, 30, 1000100, 1), ("34201", 6, 0, 0, 1000250, -1)]
    path = put(tmp_path, messages, [(BOOK[0], (1000000, 50), *BOOK[2:3], NO_BID), BOOK, BOOK])
    for block_bytes in (30, 10_000):
        day = LobsterFeed().read(path, Reading(block_bytes=block_bytes))
        assert (day.events.kind.tolist(), day.events.sequence.tolist()) == ([Kind.ADD], [1])
        assert day.report["rows_dropped"] == {"a cross without size": 2}


def test_case_4_empty_levels_of_a_thin_stock_have_prices_of_opposite_signs(tmp_path):
    def row(asks, bids):
        levels = zip(asks + [NO_ASK] * (10 - len(asks)), bids + [NO_BID] * (10 - len(bids)), strict=True)
        return [side for level in levels for side in level]

    asks, bids = [(1000200, 5), (1000700, 1)], [(1000000, 8)]
    messages = [
        ("34200", 1, 1, 1, 1000700, -1),
        ("34201", 3, 2, 8, 1000000, 1),
        ("34202", 3, 3, 5, 1000200, -1),
        ("34203", 3, 4, 1, 1000700, -1),
        ("34204", 1, 5, 9, 999900, 1),
    ]
    rows = [row(asks, bids), row(asks, []), row(asks[1:], []), row([], []), row([], [(999900, 9)])]
    path = put(tmp_path, messages, rows, levels=10)
    day = LobsterFeed().read(path)
    assert not len(day.corrections)
    states = states_of(day, levels=10)
    assert states.size.sum(axis=(1, 2)).tolist() == [13, 14, 6, 1, 0, 9]
    assert abs(states.price).max() < 9_999_999_999
    assert states.mid2().tolist() == [2000200, 2000200, 0, 0, 0, 0]
    price, size = read_book_rows(path)
    assert np.array_equal(states.price[1:], price) and np.array_equal(states.size[1:], size)


def test_case_4_a_level_behind_the_last_one_is_not_known_until_it_shows(tmp_path):
    deeper = ((1000300, 10), (1000100, 30), (1000900, 4), (1000000, 50))
    messages = [("34200", 1, 1, 30, 1000100, 1), ("34201", 3, 2, 70, 1000200, -1)]
    day = LobsterFeed().read(put(tmp_path, messages, [BOOK, deeper]))
    assert (day.corrections.event.tolist(), day.corrections.price.tolist()) == ([1], [1000900])
    assert day.report["unexplained_rows"] == 0


def test_case_5_orders_from_before_the_open_may_be_executed_and_cancelled(tmp_path):
    first = (BOOK[0], (1000100, 90), *BOOK[2:])
    rows = [first, (BOOK[0], (1000100, 60), *BOOK[2:]), ((1000200, 40), (1000100, 60), *BOOK[2:])]
    messages = [("34200", 1, 1, 30, 1000100, 1), ("34201", 2, 555, 30, 1000100, 1), ("34202", 4, 556, 30, 1000200, -1)]
    day = LobsterFeed().read(put(tmp_path, messages, rows))
    assert day.events.order_id.tolist() == [1, 555, 556]
    assert not len(day.corrections)
    counts = states_of(day).counts
    assert counts["unknown_order"] == 2 and counts["unknown_level"] == counts["over_removal"] == 0


def test_case_6_messages_of_one_time_stamp_keep_their_order(tmp_path):
    sizes = [7, 3, 9, 1, 8, 2]
    messages = [("34200.000000001", 1, 1, 30, 1000100, 1)]
    messages += [("34200.000000002", 4, 50 - k, size, 1000200, -1) for k, size in enumerate(sizes)]
    rows = [((1000200, 70 - sum(sizes[:k])), *BOOK[1:]) for k in range(len(sizes) + 1)]
    for block_bytes in (33, 10_000):
        day = LobsterFeed().read(put(tmp_path, messages, rows), Reading(block_bytes=block_bytes))
        assert day.events.size[1:].tolist() == sizes
        assert (day.events.flags & 1).tolist() == [1, 0, 0, 0, 0, 0, 1]
        assert not len(day.corrections)


@pytest.mark.parametrize("order_id", [2**31, 2**32 + 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_case_7_order_ids_are_unsigned_and_wide(tmp_path, order_id):
    messages = [("34200", 1, order_id, 30, 1000100, 1), ("34201", 4, order_id, 10, 1000100, 1)]
    path = put(tmp_path, messages, [BOOK, (BOOK[0], (1000100, 20), *BOOK[2:])])
    events = LobsterFeed().read(path).events
    assert events.order_id.dtype == np.uint64
    assert events.order_id.tolist() == [order_id] * 2 == read_messages(path).order_id.tolist()


# Case 8 (truncated files, unequal lengths, CRLF, a missing half) is in test_feed, test_pair and test_files.


@pytest.mark.parametrize(
    ("day", "utc_hour"),
    [
        ("2024-03-08", 14),
        ("2024-03-10", 13),
        ("2024-03-11", 13),
        ("2024-11-01", 13),
        ("2024-11-03", 14),
        ("2012-06-21", 13),
    ],
)
def test_case_9_the_day_is_the_names_and_its_clock_new_yorks(tmp_path, day, utc_hour):
    read = LobsterFeed().read(put(tmp_path, [("34200.25", 1, 1, 30, 1000100, 1)], [BOOK], day=day))
    expected = np.datetime64(f"{day}T{utc_hour}:30:00.250", "ns").astype(np.int64)
    assert read.events.time_ns.tolist() == [expected]
    assert read.instrument.trading_day == day


def test_case_10_a_mid_between_ticks_stays_whole(tmp_path):
    rows = [((1000200, 70), (1000100, 30), (1000300, 10), (1000000, 50))]
    mid2 = states_of(LobsterFeed().read(put(tmp_path, [("34200", 1, 1, 30, 1000100, 1)], rows))).mid2()
    assert mid2.dtype == np.int64 and mid2[-1] == 2000300  # the mid is 100.015
    pennies = [((10_003, 70), (10_002, 30), (10_004, 10), (10_001, 50))]
    day = LobsterFeed(tick=1).read(put(tmp_path, [("34200", 1, 1, 30, 10_002, 1)], pennies))
    assert states_of(day).mid2()[-1] == 20_005  # half of a ten-thousandth
    assert {BID, ASK} == set(day.start.side.tolist())
