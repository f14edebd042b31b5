import dataclasses

import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import replay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Code, Events, Kind
from lob_jax.feeds.itch.feed import ItchFeed
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.writers.itch import write_itch

GOOG = "lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz"
INSTRUMENT = Instrument("TEST", "NASDAQ", "2019-01-30", "America/New_York")
OPEN_NS = INSTRUMENT.midnight_ns() + 34_200 * 10**9


def day_of(rows, *, start=None, corrections=None, symbol="TEST", step=1000):
    """Return a day of events (kind, side, price, size, order id[, code]), `step` ns apart."""
    columns = list(zip(*((*row, 0)[:6] for row in rows), strict=True)) or [[]] * 6
    names = ("kind", "side", "price", "size", "order_id", "code")
    values = {name: np.array(column, np.int64) for name, column in zip(names, columns, strict=True)}
    events = Events.from_columns(time_ns=OPEN_NS + step * np.arange(1, len(rows) + 1), **values)
    start = start or BookSnapshot.empty(OPEN_NS)
    instrument = dataclasses.replace(INSTRUMENT, symbol=symbol)
    return MarketDay(instrument, start, events, corrections or Corrections.none(), {})


def snapshot(rows, window=0):
    side, price, size, order_id = (np.array(column) for column in zip(*rows, strict=True))
    return BookSnapshot(
        OPEN_NS,
        side.astype(np.int8),
        price,
        size,
        order_id.astype(np.uint64),
        anonymous=np.zeros(len(price), bool),
        last_best=np.zeros(2, np.int64),
        window=window,
    )


def back(tmp_path, day):
    return ItchFeed().read(write_itch(tmp_path / "2019-01-30.itch", day))


def states_at(day, levels):
    """Return the times at which the book may change, and its best levels after each of them."""
    states = replay(day, levels=levels).after()
    last = np.flatnonzero(np.append(np.diff(day.events.time_ns) > 0, True))
    return day.events.time_ns[last], states.price[last], states.size[last]


def assert_same_book(day, again, levels=10):
    """Assert that the books are equal after every time of the day's events."""
    times, *expected = states_at(day, levels)
    found, *got = states_at(again, levels)
    rows = np.searchsorted(found, times, "right")
    for one, other in zip(expected, got, strict=True):
        empty = np.zeros_like(other[:1])  # before the first message
        np.testing.assert_array_equal(np.concatenate([empty, other])[rows], one)


def short(events):
    names = ("kind", "side", "price", "size", "order_id")
    return list(zip(*(getattr(events, name).tolist() for name in names), strict=True))


@pytest.mark.slow
def test_a_lobster_day_keeps_its_book_and_its_tokens(tmp_path, market_data):
    day = LobsterFeed().read(market_data(GOOG))
    again = ItchFeed().read(write_itch(tmp_path / "2012-06-21.itch", day))
    apart = np.diff(day.events.time_ns) > 0
    assert apart.mean() > 0.9
    assert_same_book(day, again)
    for kind in (Kind.EXECUTE_HIDDEN, Kind.CROSS):
        assert again.report["kinds"][kind.name] == day.report["kinds"][kind.name]
    tokenizer = ExactTokenizer()
    decoded = tokenizer.decode(tokenizer.encode(again), again)
    for name in ("time_ns", "kind", "code", "side", "price", "size"):
        np.testing.assert_array_equal(getattr(decoded, name), getattr(again.events, name), err_msg=name)


@pytest.mark.slow
def test_events_that_name_their_orders_come_back_as_they_are(tmp_path):
    rows = [
        (Kind.ADD, BID, 1_000_000, 10, 5),
        (Kind.ADD, BID, 1_000_000, 20, 6),
        (Kind.ADD, ASK, 1_000_200, 7, 2**64 - 1),
        (Kind.CANCEL, BID, 1_000_000, 4, 6),
        (Kind.EXECUTE, BID, 1_000_000, 3, 5),
        (Kind.EXECUTE_HIDDEN, ASK, 1_000_150, 9, 0),
        (Kind.CROSS, BID, 1_000_100, 900, 0),
        (Kind.DELETE, BID, 1_000_000, 16, 6),
        (Kind.EXECUTE, ASK, 1_000_200, 7, 2**64 - 1),
    ]
    day = day_of([])
    columns = {name: [row[k] for row in rows] for k, name in enumerate(("kind", "side", "price", "size"))}
    ids = np.array([row[4] for row in rows], np.uint64)
    events = Events.from_columns(
        time_ns=OPEN_NS + np.arange(9), order_id=ids, **{name: np.array(v) for name, v in columns.items()}
    )
    again = back(tmp_path, dataclasses.replace(day, events=events))
    assert short(again.events) == rows
    np.testing.assert_array_equal(again.events.time_ns, events.time_ns)


def test_control_events_come_back(tmp_path):
    codes = [Code.SESSION_OPEN, Code.HALT, Code.RESUME_QUOTE, Code.RESUME_TRADE, Code.SESSION_CLOSE]
    again = back(tmp_path, day_of([(Kind.CONTROL, 0, 0, 0, 0, code) for code in codes]))
    assert again.events.code.tolist() == codes


def test_a_removal_that_names_no_order_is_settled_as_the_book_does(tmp_path):
    start = snapshot([(BID, 1_000_000, 10, 0), (BID, 1_000_000, 20, 8), (BID, 1_000_000, 30, 0)])
    rows = [(Kind.EXECUTE, BID, 1_000_000, 12, 0), (Kind.CANCEL, BID, 1_000_000, 31, 0), (Kind.DELETE, BID, 1_000_000, 17, 8)]  # fmt: skip # noqa: E501
    again = back(tmp_path, day_of(rows, start=start))
    assert short(again.events)[3:] == [
        (Kind.EXECUTE, BID, 1_000_000, 10, 9),
        (Kind.EXECUTE, BID, 1_000_000, 2, 8),
        (Kind.DELETE, BID, 1_000_000, 30, 10),
        (Kind.CANCEL, BID, 1_000_000, 1, 8),
        (Kind.DELETE, BID, 1_000_000, 17, 8),
    ]


def test_a_clear_a_window_and_corrections_are_orders_that_come_and_go(tmp_path):
    start = snapshot([(BID, 1_000_000, 10, 1), (BID, 999_900, 5, 2), (ASK, 1_000_100, 5, 3)], window=2)
    rows = [
        (Kind.ADD, BID, 1_000_050, 3, 4),  # drops the level at 999,900
        (Kind.ADD, BID, 999_800, 3, 5),  # dropped immediately
        (Kind.CANCEL, BID, 1_000_000, 2, 1),
        (Kind.CONTROL, 0, 0, 0, 0, Code.CLEAR),
        (Kind.ADD, ASK, 1_000_100, 4, 3),
    ]
    event, side = np.array([2, 2, 3, 3, 4]), np.array([1, -1, 1, -1, -1], np.int8)
    price, size = np.array([1_000_000, 1_000_100, 500_000, 1_500_000, 1_500_000]), np.array([1, 9, 7, 8, 0])
    day = day_of(rows, start=start, corrections=Corrections(event, side, price, size))
    assert_same_book(day, back(tmp_path, day), levels=3)


@pytest.mark.parametrize("window", [0, 3])
def test_any_flow_keeps_its_book(tmp_path, window):
    rng = np.random.default_rng(4 + window)
    n = 3000
    kind = rng.choice([1, 1, 2, 3, 4], n)
    side = rng.choice([BID, ASK], n)
    price = 1_000_000 - side * 100 * rng.integers(1, 8, n)
    rows = list(zip(kind, side, price, rng.integers(1, 30, n), rng.integers(0, 60, n), strict=True))
    event = np.sort(rng.integers(0, n, 200))
    corrected = rng.choice([BID, ASK], 200)
    corrections = Corrections(
        event,
        corrected.astype(np.int8),
        1_000_000 - corrected * 100 * rng.integers(1, 8, 200),
        rng.integers(0, 60, 200),
    )
    day = day_of(rows, start=BookSnapshot.empty(OPEN_NS, window=window), corrections=corrections)
    assert_same_book(day, back(tmp_path, day))


def test_two_instruments_are_merged_by_time(tmp_path):
    rows = [(Kind.ADD, BID, 1_000_000 - 100 * k, 5, k + 1) for k in range(20)]
    days = [day_of(rows, symbol="ONE", step=1000), day_of(rows, symbol="TWO", step=700)]
    one, two = ItchFeed().read_all(write_itch(tmp_path / "2019-01-30.itch", days))
    for day, again in zip(days, (one, two), strict=True):
        np.testing.assert_array_equal(again.events.time_ns, day.events.time_ns)
        np.testing.assert_array_equal(again.events.price, day.events.price)
    assert one.report["time_reversals"] == two.report["time_reversals"] == 0
    assert two.events.sequence[-1] - two.events.sequence[0] > 20


def test_what_the_format_cannot_hold_is_refused(tmp_path):
    good = day_of([(Kind.ADD, BID, 1_000_000, 5, 1)])
    fine = dataclasses.replace(good.instrument, price_scale=10**8)
    pooled = BookSnapshot.empty(OPEN_NS, pooled=True)
    bad = [
        dataclasses.replace(good, instrument=fine),
        dataclasses.replace(good, start=pooled),
        day_of([], symbol="NINECHARS"),
        day_of([(Kind.ADD, BID, 1_000_000, 2**32, 1)]),
        day_of([(Kind.ADD, BID, 2**32, 5, 1)]),
        day_of([(Kind.ADD, BID, 1_000_000, 5, 1)], step=86_400 * 10**9),
        [good, good],
        [],
    ]
    for days in bad:
        with pytest.raises(InputError):
            write_itch(tmp_path / "2019-01-30.itch", days)
        assert not list(tmp_path.iterdir())
    assert len(back(tmp_path, good).events) == 1
