"""Writing LOBSTER pairs: hand-made files, order ids, refusals, and what is read back."""

import dataclasses
import pathlib
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.replay import replay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Code, Events, Kind
from lob_jax.feeds.lobster.feed import LobsterFeed, read_book_rows
from lob_jax.writers.lobster import LobsterExport, order_ids, write_lobster
from tests.market_day import market_day

INSTRUMENT = Instrument("XYZ", "NASDAQ", "2024-07-01", "America/New_York")
MIDNIGHT = 1_719_806_400 * 10**9
SECOND = 10**9
EXACT = ("time_ns", "kind", "code", "side", "price", "size")


def book(*orders: tuple[int, int, int, int], clock: int = MIDNIGHT + 34_200 * SECOND) -> BookSnapshot:
    """Return a book of (side, price, size, id), best levels first."""
    side, price, size, order_id = (np.array(column) for column in zip(*orders, strict=True))
    best = [max(price[side == BID], default=0), min(price[side == ASK], default=0)]
    named = (side.astype(np.int8), price, size, order_id.astype(np.uint64), np.zeros(len(price), bool))
    return BookSnapshot(clock, *named, np.array(best, np.int64))


def events_of(*rows: tuple[int, int, int, int, int, int], code: tuple[int, ...] | None = None) -> Events:
    """Return events of (ns since 9:30, kind, side, price, size, id)."""
    time, kind, side, price, size, order_id = (np.array(column) for column in zip(*rows, strict=True))
    return Events.from_columns(
        time_ns=MIDNIGHT + 34_200 * SECOND + time,
        kind=kind.astype(np.uint8),
        code=np.array(code or [0] * len(rows), np.uint8),
        side=side.astype(np.int8),
        price=price,
        size=size,
        order_id=order_id.astype(np.uint64),
    )


START = book((BID, 1000000, 50, 0), (ASK, 1000200, 70, 0))
ROWS = [
    (5, Kind.ADD, BID, 1000100, 30, 0),
    (5, Kind.EXECUTE_HIDDEN, ASK, 1000150, 5, 0),
    (1_000_000_001, Kind.EXECUTE, ASK, 1000200, 70, 0),
    (2 * SECOND, Kind.CONTROL, 0, 0, 0, 0),
    (2 * SECOND, Kind.CONTROL, 0, 0, 0, 0),
    (2 * SECOND, Kind.CONTROL, 0, 0, 0, 0),
    (3 * SECOND, Kind.CROSS, ASK, 1000250, 1000, 0),
    (4 * SECOND, Kind.CANCEL, BID, 1000100, 10, 0),
]
CODES = (0, 0, 0, Code.HALT, Code.RESUME_QUOTE, Code.RESUME_TRADE, 0, 0)


def export(folder: pathlib.Path, events: Events, **arguments) -> LobsterExport:
    """Write with the usual surroundings."""
    own = {name: arguments.pop(name) for name in ("instrument", "start", "corrections") if name in arguments}
    day = market_day(events, **{"instrument": INSTRUMENT, "start": START, **own})
    return write_lobster(folder, day, **{"levels": 2, **arguments})


def write(folder: pathlib.Path, events: Events, **arguments) -> tuple[pathlib.Path, pathlib.Path]:
    """Write; return the two files."""
    written = export(folder, events, **arguments)
    return written.message, written.orderbook


def test_the_files_are_written_as_lobster_writes_them(tmp_path):
    message, orderbook = write(tmp_path / "new", events_of(*ROWS, code=CODES))
    assert message.name == "XYZ_2024-07-01_34200000_57600000_message_2.csv"
    assert message.read_text().splitlines() == [
        "34200.000000005,1,1,30,1000100,1",
        "34200.000000005,5,0,5,1000150,-1",
        "34201.000000001,4,0,70,1000200,-1",
        "34202.000000000,7,0,0,-1,-1",
        "34202.000000000,7,0,0,0,-1",
        "34202.000000000,7,0,0,1,-1",
        "34203.000000000,6,0,1000,1000250,-1",
        "34204.000000000,2,1,10,1000100,1",
    ]
    no_ask, no_bid = "9999999999,0", "-9999999999,0"
    assert orderbook.name == "XYZ_2024-07-01_34200000_57600000_orderbook_2.csv"
    assert orderbook.read_text().splitlines() == [
        *[f"1000200,70,1000100,30,{no_ask},1000000,50"] * 2,
        *[f"{no_ask},1000100,30,{no_ask},1000000,50"] * 5,
        f"{no_ask},1000100,20,{no_ask},1000000,50",
    ]
    write(tmp_path / "new", events_of((6, Kind.DELETE, BID, 1000000, 50, 0)), levels=1)
    assert (tmp_path / "new" / orderbook.name.replace("_2.", "_1.")).read_text() == f"1000200,70,{no_bid}\n"


def test_a_removal_without_an_id_gets_the_one_that_the_book_settles(tmp_path):
    start = book((BID, 1000000, 50, 7), (BID, 1000000, 20, 40), (ASK, 1000200, 70, 0))
    events = events_of(
        (1, Kind.ADD, BID, 1000000, 20, 0),  # 41, behind 40: the first above every id in use
        (2, Kind.ADD, BID, 1000000, 9, 12),  # keeps its id
        (3, Kind.DELETE, BID, 1000000, 20, 0),  # the newest of exactly 20: 41
        (4, Kind.CANCEL, BID, 1000000, 10, 0),  # the newest of more than 10: 40
        (5, Kind.EXECUTE, BID, 1000000, 5, 0),  # the front: 7
        (6, Kind.EXECUTE, BID, 1000000, 5, 12),  # by its id
        (7, Kind.EXECUTE, ASK, 1000200, 5, 0),  # anonymous
        (8, Kind.DELETE, ASK, 1000900, 5, 0),  # no such level
        (9, Kind.ADD, ASK, 1000300, 5, 0),  # 42
    )
    ids = order_ids(market_day(events, start=start))
    assert ids.dtype == np.uint64
    assert ids.tolist() == [41, 12, 41, 40, 7, 12, 0, 0, 42]


def test_ids_above_an_int64_survive(tmp_path):
    events = events_of(ROWS[0], ROWS[0], ROWS[0]).replace(order_id=np.array([2**64 - 1, 2**33, 0], np.uint64))
    message, _ = write(tmp_path, events)
    assert LobsterFeed().read(message).events.order_id.tolist() == [2**64 - 1, 2**33, 2**33 + 1]


def test_corrections_show_in_the_book_and_its_ids(tmp_path):
    event, side, price, size = np.array([[0, BID, 1000100, 80], [1, BID, 1000100, 35], [1, ASK, 1000200, 9]]).T
    corrections = Corrections(event, side.astype(np.int8), price, size)
    events = events_of(ROWS[0], (6, Kind.DELETE, BID, 1000100, 50, 0), (6, Kind.DELETE, BID, 1000100, 5, 0))
    message, orderbook = write(tmp_path, events, corrections=corrections)
    bids = [line.split(",")[2:4] for line in orderbook.read_text().splitlines()]
    assert bids == [["1000100", "80"], ["1000100", "35"], ["1000100", "30"]]
    assert orderbook.read_text().count("1000200,9,") == 2
    ids = [line.split(",")[2] for line in message.read_text().splitlines()]
    assert ids == ["1", "0", "0"]  # the removed orders came from the corrections


@pytest.mark.parametrize(
    ("clock", "first", "last", "session"),
    [
        (34_200 * SECOND, 5, 6, "34200000_57600000"),
        (36_000 * SECOND + 1_999_999, 1_800 * SECOND + 1_999_999, 1_801 * SECOND, "36000001_57600000"),
        (37_000 * SECOND, 5, 6, "34200000_57600000"),  # a clock behind the first event
        (-5 * SECOND, 1_000_000, 6_000_000, "34200001_57600000"),  # another day's clock
        (34_200 * SECOND, 5, 23_400 * SECOND + 1, "34200000_57600001"),
        (34_200 * SECOND, 5, 52_200 * SECOND - 1, "34200000_86400000"),
        (57_600 * SECOND, 23_400 * SECOND, 23_400 * SECOND, "57600000_57600001"),
    ],
)
def test_the_name_holds_the_session(tmp_path, clock, first, last, session):
    rows = [(first, *ROWS[0][1:]), (last, *ROWS[1][1:])]
    start = dataclasses.replace(START, time_ns=MIDNIGHT + clock)
    message, _ = write(tmp_path, events_of(*rows), start=start)
    assert message.name == f"XYZ_2024-07-01_{session}_message_2.csv"
    assert len(LobsterFeed().read(message).events) == 2


@pytest.mark.parametrize(
    ("rows", "code", "what", "where"),
    [
        ([(-34_200 * SECOND - 1, *ROWS[0][1:])], 0, "another day", "event 0"),
        ([ROWS[0], (52_200 * SECOND, *ROWS[1][1:])], 0, "after midnight, of another day", "event 1"),
        ([ROWS[0], (4, *ROWS[1][1:])], 0, "backwards", "event 1"),
        ([(5, Kind.CONTROL, 0, 0, 0, 0)], Code.NONE, "control event", "event 0"),
        ([(5, Kind.ADD, 0, 1000100, 30, 0)], 0, "side", "event 0"),
        ([(5, Kind.ADD, BID, -9_999_999_999, 30, 0)], 0, "price", "event 0"),
        ([(5, Kind.ADD, ASK, 9_999_999_999, 30, 0)], 0, "price", "event 0"),
        ([(5, Kind.EXECUTE_HIDDEN, ASK, 1000100, 0, 0)], 0, "size", "event 0"),
        ([(5, Kind.CROSS, ASK, 1000100, 10**15, 0)], 0, "size", "event 0"),
    ],
)
def test_events_without_a_row_are_refused_and_leave_earlier_files(tmp_path, rows, code, what, where):
    before = [path.read_text() for path in write(tmp_path, events_of(*ROWS, code=CODES))]
    with pytest.raises(InputError) as caught:
        write(tmp_path, events_of(*rows, code=[code] * len(rows)))
    assert what in caught.value.what
    assert caught.value.where.startswith(where)
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == before


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"instrument": dataclasses.replace(INSTRUMENT, symbol="BTC/USD")}, "names cannot represent"),
        ({"instrument": dataclasses.replace(INSTRUMENT, price_scale=100_000)}, "price scale"),
        ({"instrument": dataclasses.replace(INSTRUMENT, price_scale=300)}, "price scale"),
        ({"levels": 0}, "names cannot represent"),
        ({"levels": 10_000}, "names cannot represent"),
    ],
)
def test_a_day_that_no_name_can_carry_is_refused(tmp_path, arguments, what):
    with pytest.raises(InputError, match=what):
        write(tmp_path, events_of(*ROWS, code=CODES), **arguments)
    assert not list(tmp_path.iterdir())


def test_no_events_are_refused(tmp_path):
    for events in (Events.from_columns(), events_of((5, Kind.CONTROL, 0, 0, 0, 0), code=(Code.CLEAR,))):
        with pytest.raises(InputError, match="no events"):
            write(tmp_path, events)


def test_a_level_that_no_file_can_hold_is_refused(tmp_path):
    far = book((BID, 1000000, 50, 0), (ASK, 9_999_999_999, 70, 0))
    with pytest.raises(InputError, match="level out of range"):
        write(tmp_path, events_of(ROWS[0]), start=far)
    heavy = book((BID, 1000100, 10**15 - 1, 0), (ASK, 1000200, 70, 0))
    with pytest.raises(InputError, match="level out of range"):
        write(tmp_path, events_of(ROWS[0]), start=heavy)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("price_scale", [1, 10, 100])
def test_coarser_prices_are_converted(tmp_path, price_scale):
    factor = 10_000 // price_scale
    coarse = [(BID, 100 * price_scale, 50, 0), (ASK, 101 * price_scale, 70, 0)]
    rows = [(1, Kind.ADD, BID, 100 * price_scale, 3, 0), (2, Kind.EXECUTE, ASK, 101 * price_scale, 70, 0)]
    instrument = dataclasses.replace(INSTRUMENT, price_scale=price_scale, tick=1, lot_scale=1000)
    message, orderbook = write(tmp_path, events_of(*rows), start=book(*coarse), instrument=instrument, levels=1)
    assert orderbook.read_text() == "1010000,70,1000000,53\n9999999999,0,1000000,53\n"
    day = LobsterFeed(tick=factor).read(message)
    assert day.events.price.tolist() == [1000000, 1010000]
    highest = events_of((1, Kind.ADD, ASK, 10**10 // factor, 3, 0))
    with pytest.raises(InputError, match="a price out of range"):
        write(tmp_path, highest, start=book(*coarse), instrument=instrument)


def test_control_events_without_a_row_show_in_the_book(tmp_path):
    event, side, price, size = np.array([[1, BID, 999_900, 8], [1, ASK, 1000300, 9]]).T
    rows = [ROWS[0], (6, Kind.CONTROL, 0, 0, 0, 0), (7, Kind.CONTROL, 0, 0, 0, 0), (8, Kind.ADD, ASK, 1000400, 1, 0)]
    rows += [(9, Kind.CONTROL, 0, 0, 0, 0), (10, Kind.CANCEL, ASK, 1000300, 2, 0), (11, Kind.CONTROL, 0, 0, 0, 0)]
    codes = (0, Code.CLEAR, Code.FEED_GAP, 0, Code.HALT, 0, Code.CLEAR)
    corrections = Corrections(event, side.astype(np.int8), price, size)
    done = export(tmp_path, events_of(*rows, code=codes), corrections=corrections)
    assert (done.rows, done.left_out, done.moved_times) == (4, {"CLEAR": 2, "FEED_GAP": 1}, 0)
    assert done.orderbook.read_text().splitlines() == [
        "1000200,70,1000100,30,9999999999,0,1000000,50",
        *["1000300,9,999900,8,1000400,1,-9999999999,0"] * 2,
        "1000300,7,999900,8,1000400,1,-9999999999,0",
    ]
    assert LobsterFeed().read(done.message).events.kind.tolist() == [1, 1, 7, 2]


def test_a_fault_is_named_by_its_event_behind_events_without_a_row(tmp_path):
    rows = [(4, Kind.CONTROL, 0, 0, 0, 0), ROWS[0], (4, *ROWS[1][1:])]
    with pytest.raises(InputError, match="event 2, time_ns"):
        write(tmp_path, events_of(*rows, code=(Code.CLEAR, 0, 0)))


def test_time_is_kept_from_running_backwards_where_asked(tmp_path):
    rows = [(time, *ROWS[0][1:]) for time in (5, 9, 7, 8, 12)]
    done = export(tmp_path, events_of(*rows), monotone_time=True)
    assert done.moved_times == 2
    times = [line.split(",")[0][-9:] for line in done.message.read_text().splitlines()]
    assert [int(time) for time in times] == [5, 9, 9, 9, 12]
    with pytest.raises(InputError, match="another day"):
        export(tmp_path, events_of(ROWS[0], (52_200 * SECOND, *ROWS[0][1:]), ROWS[0]), monotone_time=True)


MIDNIGHT_AFTER = 52_200 * SECOND  # from 9:30
LATE = [ROWS[0], (MIDNIGHT_AFTER - 1, *ROWS[1][1:]), (MIDNIGHT_AFTER, *ROWS[2][1:]), (MIDNIGHT_AFTER + 5, *ROWS[7][1:])]
OF_LATE = Corrections(np.array([1, 3]), np.array([BID, BID], np.int8), np.array([999_900, 999_800]), np.array([8, 9]))


def test_a_day_that_runs_past_midnight_is_refused_with_what_to_choose(tmp_path):
    with pytest.raises(InputError) as caught:
        export(tmp_path, events_of(*LATE))
    assert "after midnight" in caught.value.what and caught.value.where == "event 2, time_ns"
    for choice in ("cut", "continue", "--config.convert.past_midnight"):
        assert choice in caught.value.remedy
    with pytest.raises(InputError, match="an unknown value of past_midnight"):
        export(tmp_path, events_of(*LATE), past_midnight="ignore")
    assert not list(tmp_path.iterdir())


def test_a_day_is_cut_at_midnight_where_asked(tmp_path):
    done = export(tmp_path, events_of(*LATE), past_midnight="cut", corrections=OF_LATE, levels=3)
    assert (done.rows, done.cut, done.past_midnight) == (2, 2, 0)
    assert done.message.name == "XYZ_2024-07-01_34200000_86400000_message_3.csv"
    assert done.message.read_text().splitlines()[-1].startswith("86399.999999999,")
    day, whole = LobsterFeed().read(done.message), export(tmp_path / "whole", events_of(*LATE[:2]))
    assert len(day.events) == 2 and (whole.cut, whole.rows) == (0, 2)
    assert "999900,8" in done.orderbook.read_text().splitlines()[1]
    with pytest.raises(InputError, match="no events to write"):
        export(tmp_path, events_of(*LATE[2:]), past_midnight="cut")


def test_times_continue_past_midnight_where_asked_and_are_read_back(tmp_path):
    events = events_of(*LATE)
    done = export(tmp_path, events, past_midnight="continue")
    assert (done.rows, done.cut, done.past_midnight) == (4, 0, 2)
    assert done.message.name == "XYZ_2024-07-01_34200000_86400001_message_2.csv"
    assert [line.split(",")[0] for line in done.message.read_text().splitlines()][1:] == [
        "86399.999999999", "86400.000000000", "86400.000000005",
    ]  # fmt: skip
    day = LobsterFeed().read(done.message)
    for name in EXACT:
        assert np.array_equal(getattr(day.events, name), getattr(events, name)), name
    assert LobsterFeed(order_book="none").read(done.message).events.time_ns.tolist() == events.time_ns.tolist()


def test_the_name_says_how_far_a_day_goes_on(tmp_path):
    exact = export(tmp_path, events_of(*LATE[:3]), past_midnight="continue")
    assert exact.message.name.split("_")[3] == "86400001"  # of a file that ends there, midnight is another day's
    assert len(LobsterFeed().read(exact.message).events) == 3
    text = exact.message.read_text().replace("86400.000000000", "86400.001000001")
    exact.message.write_text(text)
    with pytest.raises(InputError, match=r"outside the day[\s\S]*0 to 86400.001 seconds"):
        LobsterFeed().read(exact.message)
    far = export(tmp_path / "9", events_of(ROWS[0], (9 * 86_400 * SECOND, *ROWS[1][1:])), past_midnight="continue")
    assert len(LobsterFeed().read(far.message).events) == 2
    with pytest.raises(InputError, match="names cannot represent"):
        export(tmp_path, events_of(ROWS[0], (10 * 86_400 * SECOND, *ROWS[1][1:])), past_midnight="continue")


def test_events_before_the_day_stay_refused(tmp_path):
    early = events_of((-34_200 * SECOND - 1, *ROWS[0][1:]), ROWS[1])
    for choice in ("cut", "continue"):
        with pytest.raises(InputError, match="an event of another day"):
            export(tmp_path, early, past_midnight=choice)


def test_times_that_run_backwards_over_midnight_are_cut_from_the_first_after_it(tmp_path):
    rows = [ROWS[0], (MIDNIGHT_AFTER + 1, *ROWS[0][1:]), (MIDNIGHT_AFTER - 1, *ROWS[0][1:])]
    done = export(tmp_path, events_of(*rows), monotone_time=True, past_midnight="cut")
    assert (done.rows, done.cut, done.moved_times) == (1, 2, 0)
    done = export(tmp_path, events_of(*rows), monotone_time=True, past_midnight="continue")
    assert (done.rows, done.past_midnight, done.moved_times) == (3, 2, 1)


def test_a_write_that_fails_leaves_neither_half(tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, events_of(*ROWS, code=CODES))
    assert not list(tmp_path.iterdir())


BID_PRICES, ASK_PRICES = st.integers(9_995, 10_000), st.integers(10_001, 10_006)  # ticks
GAPS = st.sampled_from([0, 0, 1, 999_999_999, 10**9, 61_000_000_001])
ROWLESS = (Code.CLEAR, Code.SESSION_OPEN, Code.SESSION_CLOSE, Code.FEED_GAP)
SIZES = st.sampled_from([1, 3, 50, 100, 10**9])


@st.composite
def small_days(draw) -> Events:
    """Draw a short day with every kind of event, many of them on levels that do not exist."""
    rows, codes, clock = [], [], 0
    for _ in range(draw(st.integers(1, 25))):
        clock += draw(GAPS)
        kind = draw(st.sampled_from(list(Kind)))
        side = draw(st.sampled_from([BID, ASK]))
        price = 100 * draw(BID_PRICES if side == BID else ASK_PRICES)
        if kind in (Kind.EXECUTE_HIDDEN, Kind.CROSS):
            price += draw(st.sampled_from([0, 50, 1]))
        code = draw(st.sampled_from([Code.HALT, Code.RESUME_QUOTE, *ROWLESS])) if kind == Kind.CONTROL else 0
        rows.append((clock, kind, 0, 0, 0, 0) if code else (clock, kind, side, price, draw(SIZES), 0))
        codes.append(code)
    return events_of(*rows, code=tuple(codes))


@settings(max_examples=60)
@given(events=small_days(), levels=st.integers(1, 4), one_sided=st.booleans(), run=st.sampled_from([3, 1000]))
def test_what_is_written_is_read_back(events, levels, one_sided, run):
    start = book((BID, 1000000, 50, 0), (BID, 999_900, 5, 0), *([] if one_sided else [(ASK, 1000200, 70, 0)]))
    kept = ~np.isin(events.code, ROWLESS)
    if not kept.any():
        return
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("lob_jax.writers.lobster._ROWS_AT_ONCE", run)
        done = export(pathlib.Path(folder), events, start=start, levels=levels)
        day = LobsterFeed().read(done.message)
        price, size = read_book_rows(done.message)
    assert (done.rows, sum(done.left_out.values())) == (kept.sum(), (~kept).sum())
    for name in EXACT:
        assert np.array_equal(getattr(day.events, name), getattr(events[kept], name)), name
    written = replay(market_day(events, start=start), levels=levels).after()
    assert np.array_equal(price, written.price[kept]) and np.array_equal(size, written.size[kept])
    again = replay(day, levels=levels).after()
    assert np.array_equal(again.price, price) and np.array_equal(again.size, size)
    added = day.events.order_id[day.events.kind == Kind.ADD].tolist()
    assert added == list(range(1, len(added) + 1))
    assert day.start.time_ns == start.time_ns


@pytest.mark.parametrize("with_ids", [True, False])
def test_a_real_morning_is_read_back(market_data, tmp_path, with_ids):
    path = market_data("lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz")
    day = LobsterFeed().read(path)
    count = 20_000
    events = day.events[:count]
    if not with_ids:
        events = events.replace(order_id=np.zeros(count, np.uint64))
    part = day.part(0, count, start=day.start).with_events(events)
    message = write_lobster(tmp_path, part, levels=10).message
    back = LobsterFeed().read(message)
    assert message.name == path.name.removesuffix(".gz")
    for name in (*EXACT, "flags", "sequence") + (("order_id",) if with_ids else ()):
        assert np.array_equal(getattr(back.events, name), getattr(events, name)), name
    for mine, theirs in ((back.start, day.start), (back.corrections, day.corrections.between(0, count))):
        for field in dataclasses.fields(mine):
            assert np.array_equal(getattr(mine, field.name), getattr(theirs, field.name)), field.name
    price, size = read_book_rows(path)
    new_price, new_size = read_book_rows(message)
    assert np.array_equal(new_price, price[:count]) and np.array_equal(new_size, size[:count])
