"""Messages without their order book: no event is lost, no future information is used, unknown orders are counted."""

import gzip
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lob_jax.book.replay import count_states, replay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Code, Events, Kind
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.lobster.alone import MessageBook
from lob_jax.feeds.lobster.feed import LobsterFeed, read_book_rows, read_messages
from tests.feeds.checks import assert_round_trip, assert_same_day, assert_sound, final_levels
from tests.feeds.sample_lobster import MESSAGES, NAME, write
from tests.market_day import market_day

ALONE = LobsterFeed(order_book="none")
REMOVALS = (Kind.CANCEL, Kind.DELETE, Kind.EXECUTE)


def read(folder, *messages, levels=2, **arguments):
    """Return the day of messages given as lines."""
    path = folder / f"XYZ_2024-07-01_34200000_57600000_message_{levels}.csv"
    path.write_text("".join(message + "\n" for message in messages))
    day = ALONE.read(path, **arguments)
    assert_sound(day)
    assert_round_trip(day)
    return day


def best(day):
    """Return the best (price, size) of bid and ask after each event, None where a side is empty."""
    states = replay(day, levels=1).after()
    levels = zip(states.price[:, :, 0].tolist(), states.size[:, :, 0].tolist(), strict=True)
    return [tuple((p, s) if s else None for p, s in zip(prices, sizes, strict=True)) for prices, sizes in levels]


def test_a_day_whose_orders_are_all_told_is_that_of_its_book(tmp_path):
    day = read(
        tmp_path,
        "34200.5,1,1,30,1000100,1",
        "34200.5,1,2,70,1000200,-1",
        "34200.6,1,3,5,1000100,1",
        "34200.7,4,1,30,1000100,1",
        "34200.8,2,2,20,1000200,-1",
        "34200.9,3,3,5,1000100,1",
    )
    both = [((1000100, 35), (1000200, 70)), ((1000100, 5), (1000200, 70)), ((1000100, 5), (1000200, 50))]
    assert best(day) == [((1000100, 30), None), ((1000100, 30), (1000200, 70)), *both, (None, (1000200, 50))]
    assert not len(day.corrections) and not len(day.start)
    report = day.report
    assert (report["order_book"], report["removals_of_unknown_orders"], report["disproved_levels"]) == ("none", 0, 0)


def test_an_order_from_before_the_session_is_an_event_and_takes_nothing_from_others(tmp_path):
    day = read(
        tmp_path,
        "34200.5,1,1,30,1000100,1",
        "34200.6,4,900,10,1000100,1",  # ahead of the known order
        "34200.7,3,901,40,1000100,1",  # more than the known size
        "34200.8,2,902,5,999900,1",  # at an unknown level
        "34200.9,4,1,30,1000100,1",
    )
    assert best(day) == [((1000100, 30), None)] * 4 + [(None, None)]
    assert day.events.order_id.tolist() == [1, 900, 901, 902, 1]
    assert (day.corrections.event.tolist(), day.corrections.size.tolist()) == ([1, 2], [30, 30])
    assert day.report["removals_of_unknown_orders"] == 3
    assert day.report["rows_dropped"] == {}


def test_what_an_order_cannot_pay_is_not_known_either(tmp_path):
    day = read(tmp_path, "34200,1,1,30,1000100,1", "34200,1,2,50,1000100,1", "34201,3,1,45,1000100,1")
    assert best(day)[-1] == ((1000100, 50), None)
    assert (day.report["removals_of_unknown_orders"], day.corrections.size.tolist()) == (1, [50])


def test_a_message_disproves_what_it_would_have_met(tmp_path):
    day = read(
        tmp_path,
        "34200,1,1,30,1000200,-1",
        "34200,1,2,30,1000300,-1",
        "34201,1,3,10,1000200,1",  # a bid rests at the best ask, which must be gone
        "34202,4,900,10,1000500,-1",  # a trade behind the second one
        "34203,1,4,10,999900,1",
        "34204,4,900,10,999900,1",  # a trade behind the bid at 100.02
    )
    expected = [(None, (1000200, 30)), (None, (1000200, 30)), ((1000200, 10), (1000300, 30)), ((1000200, 10), None)]
    assert best(day) == [*expected, ((1000200, 10), None), ((999900, 10), None)]
    assert day.report["disproved_levels"] == 3
    assert day.corrections.event.tolist() == [2, 3, 5, 5]


def test_nothing_is_disproved_in_a_halt(tmp_path):
    crossing = ["34200,1,1,30,1000200,-1", "34201,7,0,0,-1,-1", "34202,7,0,0,0,-1", "34203,1,2,10,1000300,1"]
    assert read(tmp_path, *crossing).report["disproved_levels"] == 0
    assert read(tmp_path, *crossing, "34204,7,0,0,1,-1").report["disproved_levels"] == 0
    assert read(tmp_path, *crossing, "34204,7,0,0,1,-1", "34205,1,3,1,1000300,1").report["disproved_levels"] == 1


def test_the_window_is_the_files_number_of_levels(tmp_path):
    asks = [f"34200,1,{k},30,{1000000 + 100 * k},-1" for k in range(1, 6)]
    day = read(tmp_path, *asks, "34201,3,1,30,1000100,-1", "34202,3,3,30,1000300,-1", levels=2)
    assert day.start.window == 2
    assert best(day)[-2:] == [(None, (1000200, 30))] * 2
    assert day.report["removals_of_unknown_orders"] == 1


@pytest.mark.parametrize(("first", "clock"), [("34200.5", 34_200), ("34100", 34_100)])
def test_the_clock_starts_with_the_session_or_an_earlier_message(tmp_path, first, clock):
    day = read(tmp_path, f"{first},1,1,30,1000100,1")
    assert day.start.time_ns - day.instrument.midnight_ns() == clock * 10**9


@pytest.mark.parametrize("block_bytes", [30, 200, 1 << 20])
def test_the_sample_day_reads_alone(tmp_path, block_bytes):
    path = write(tmp_path)
    both = LobsterFeed().read(path)
    day = ALONE.read(path, Reading(block_bytes=block_bytes))
    for name in ("time_ns", "kind", "code", "side", "price", "size", "order_id", "flags", "sequence"):
        np.testing.assert_array_equal(getattr(day.events, name), getattr(both.events, name))
    path.with_name(NAME.format("orderbook")).unlink()
    assert_same_day(day, ALONE.read(path))
    assert ALONE.days(tmp_path) == ALONE.days(path)
    assert list(day.report["inputs"]) == [path.name]
    assert ALONE.inputs(ALONE.days(path)) != LobsterFeed().inputs([]) | day.report["inputs"]
    assert len(read_messages(path, feed=ALONE)) == len(MESSAGES)
    assert final_levels(day) == {(ASK, Fraction("100.02")): 100, (BID, Fraction(100)): 18}
    with pytest.raises(InputError, match="order_book='none'"):
        LobsterFeed().read(path)


def test_bad_rows_are_named_or_left_out_as_ever(tmp_path):
    path = write(tmp_path)
    lines = path.read_text().splitlines()
    path.with_name(NAME.format("orderbook")).unlink()
    path.write_text("\n".join([*lines[:4], "34200.2,9,1,1,1,1", *lines[4:]]))
    with pytest.raises(InputError, match=r"unknown message type[\s\S]*line 5, column 2"):
        ALONE.read(path)
    report = ALONE.read(path, Reading(on_error="skip")).report
    assert report["rows_dropped"] == {"an unknown message type": 1}
    assert report["rows_kept"] == len(MESSAGES)
    path.write_text("\n".join([*lines, "57599.9999999999"]))
    with pytest.raises(InputError, match=r"truncated last line[\s\S]*line 23"):
        ALONE.read(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="an empty file"):
        ALONE.read(path)
    with pytest.raises(InputError, match="an unknown value of order_book"):
        LobsterFeed(order_book="maybe")


class Known:
    """The known part of a book, order by order: a naive implementation."""

    def __init__(self, window):
        self.window, self.orders, self.halted = window, [], False  # orders: [side, price, size, id]
        self.unknown = self.disproved = 0

    def levels(self, side):
        """Return {price: size}, best first."""
        prices = sorted({order[1] for order in self.orders if order[0] == side}, key=lambda price: -side * price)
        return {p: sum(order[2] for order in self.orders if order[:2] == [side, p]) for p in prices}

    def shows(self, side, price):
        better = [level for level in self.levels(side) if side * (level - price) > 0]
        return len(better) < self.window

    def drop(self, side, price):
        self.orders = [order for order in self.orders if order[:2] != [side, price]]

    def take(self, kind, code, side, price, size, order_id):
        if kind == Kind.CONTROL:
            self.halted = {Code.HALT: True, Code.RESUME_QUOTE: True, Code.RESUME_TRADE: False}.get(code, self.halted)
        if kind == Kind.ADD and self.shows(side, price):  # elsewhere it takes no identity from an order in the window
            for order in self.orders:
                order[3] = 0 if order[3] == order_id else order[3]
            self.orders.append([side, price, size, order_id])
            for worst in list(self.levels(side))[self.window :]:
                self.drop(side, worst)
        elif kind in REMOVALS:
            named = [order for order in self.orders if order[:2] == [side, price] and order[3] == order_id > 0]
            paid = min(size, named[0][2]) if named else 0
            self.unknown += paid < size
            if named:
                named[0][2] -= paid
            self.orders = [order for order in self.orders if order[2]]
        if kind <= Kind.EXECUTE and not self.halted:
            gone = [(-side, p) for p in self.levels(-side) if side * (price - p) >= 0]
            gone += [(side, p) for p in self.levels(side) if kind == Kind.EXECUTE and side * (p - price) > 0]
            self.disproved += len(gone)
            for level in gone:
                self.drop(*level)


@st.composite
def streams(draw):
    """Draw messages that need not fit together."""
    rows = []
    for _ in range(draw(st.integers(1, 40))):
        kind = draw(st.sampled_from([Kind.ADD, Kind.ADD, Kind.ADD, *REMOVALS, *REMOVALS, 5, 7]))
        code = draw(st.sampled_from([Code.HALT, Code.RESUME_TRADE])) if kind == 7 else 0
        place = (draw(st.sampled_from([BID, ASK])), 100 * draw(st.integers(1, 8)), draw(st.integers(1, 4)))
        rows.append((kind, code, *place, draw(st.integers(0, 12))))
    return rows


@settings(max_examples=80)
@given(rows=streams(), window=st.integers(1, 3), cuts=st.sets(st.integers(1, 39), max_size=3))
@example(  # an order outside the window has the identity of one inside
    rows=[
        (Kind.ADD, 0, BID, 200, 1, 0),
        (Kind.CONTROL, Code.HALT, BID, 100, 1, 0),
        (Kind.ADD, 0, ASK, 100, 1, 1),
        (Kind.ADD, 0, BID, 100, 1, 1),
        (Kind.CANCEL, 0, ASK, 100, 1, 1),
    ],
    window=1,
    cuts=set(),
)
def test_the_replay_is_what_is_known_and_no_more(rows, window, cuts):
    names = ("kind", "code", "side", "price", "size", "order_id")
    columns = {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    events = Events.from_columns(time_ns=np.arange(len(rows)), **columns)
    start = BookSnapshot.empty(window=window)
    book, edges = MessageBook(start), [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    found = []
    for first, stop in zip(edges, edges[1:], strict=False):  # no chunk of messages depends on later ones
        part = book.corrections(events[first:stop], np.empty((0, stop - first)), np.arange(first, stop))
        found += zip((part.event + first).tolist(), part.side, part.price, part.size, strict=True)
    event, side, price, size = np.array(found, np.int64).reshape(-1, 4).T
    corrections = Corrections(event, side.astype(np.int8), price, size)
    states = replay(market_day(events, start=start, corrections=corrections), levels=window).after()
    known = Known(window)
    for i, row in enumerate(rows):
        known.take(*row)
        for s, side in enumerate((BID, ASK)):
            shown = dict(zip(states.price[i, s].tolist(), states.size[i, s].tolist(), strict=True))
            assert {p: n for p, n in shown.items() if n} == known.levels(side)
    report = book.report()
    assert report["removals_of_unknown_orders"] == known.unknown
    assert report["disproved_levels"] == known.disproved


REAL = {  # unknown removals, disproved levels, and at least so many rows with both true best prices
    "lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz": (6_463, 69, 0.85),
    "lobster/GOOG_2012-06-21_34200000_57600000_message_1.csv.gz": (6_667, 0, 0.44),
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_day_without_its_book(market_data, tmp_path, name):
    path = market_data(name)
    unknown, disproved, agreeing = REAL[name]
    message = tmp_path / path.name.removesuffix(".gz")
    message.write_bytes(gzip.decompress(path.read_bytes()))
    day, both = ALONE.read(message), LobsterFeed().read(path)
    for column in ("time_ns", "kind", "side", "price", "size", "order_id", "flags"):
        np.testing.assert_array_equal(getattr(day.events, column), getattr(both.events, column))
    report = day.report
    assert (report["removals_of_unknown_orders"], report["disproved_levels"]) == (unknown, disproved)
    price, _ = read_book_rows(path)
    states = replay(day, levels=1).after()
    assert (states.price[:, :, 0] == price[:, :, 0]).all(axis=1).mean() > agreeing
    counts = count_states(day)
    assert counts["crossed"] == counts["locked"] == 0
    assert_sound(day)
    assert_round_trip(day)
