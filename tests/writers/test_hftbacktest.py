"""The rows of the `.npz`, read as hftbacktest does; if it is installed, its own backtester replays them."""

import collections
import dataclasses

import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import replay, snapshots_at
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Code, Events, Flag, Kind
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.writers import hftbacktest as hb
from lob_jax.writers import hftbacktest_rows as rows_module
from tests.feeds.checks import SAMPLES, final_levels, sample_of

CLEAR, SNAPSHOT, DEPTH, TRADE = rows_module.CLEAR, rows_module.SNAPSHOT, rows_module.DEPTH, rows_module.TRADE
ADDED, CANCELLED, MODIFIED, FILL = (
    rows_module.ADD_ORDER, rows_module.CANCEL_ORDER, rows_module.MODIFY_ORDER, rows_module.FILL,
)  # fmt: skip
INSTRUMENT = Instrument("ABC", "TEST", "2024-01-02", price_scale=100, tick=5, lot_scale=10)
T = INSTRUMENT.midnight_ns()


def rows_of(day, folder, **settings):
    export = hb.write_hftbacktest(folder / "day.npz", day, **settings)
    with np.load(export.path) as file:
        return file["data"], export


def kind_of(row):
    return int(row["ev"]) & 0xFF


def side_of(row):
    return (int(row["ev"]) & hb.BUY > 0) - (int(row["ev"]) & hb.SELL > 0)


def told(rows):
    """Return rows as (kind, side, price, size) in currency and units of quantity."""
    return [(kind_of(row), side_of(row), float(row["px"]), float(row["qty"])) for row in rows]


def depth_after(rows):
    """Build the levels as a backtester does."""
    book = {}
    for kind, side, price, size in told(rows):
        if kind == CLEAR:
            book.clear()
        elif kind in (DEPTH, SNAPSHOT):
            book.pop((side, price), None)
            book |= {(side, price): size} if size else {}
    return book


def orders_after(rows):
    """Build the orders as a backtester does, failing on an unknown order and on a new one that is already known."""
    live, filled = {}, collections.Counter()
    for row, (kind, side, price, size) in zip(rows, told(rows), strict=True):
        name = int(row["order_id"])
        if kind == CLEAR:
            live.clear()
        elif kind == ADDED:
            assert name not in live
            live[name] = (side, price, size)
        elif kind == MODIFIED:
            assert live[name][:2] == (side, price) and 0 < size < live[name][2]
            live[name] = (side, price, size)
        elif kind == CANCELLED:
            del live[name]
        elif kind == FILL:
            assert name in live
            filled[name] += 1
    return live, filled


def levels_of(day):
    return {(side, float(price)): float(size) for (side, price), size in final_levels(day).items()}


@pytest.fixture(params=SAMPLES)
def sampled_day(request, tmp_path):
    sample = sample_of(request.param)
    (tmp_path / "raw").mkdir()
    return sample.FEED.read(sample.write(tmp_path / "raw"))


@pytest.fixture
def pooled_day():
    """Levels, a window of two, a cleared book with corrections, trades of all types, and clocks that disagree."""
    start = BookSnapshot(
        time_ns=T,
        side=np.array([BID, BID, ASK], np.int8),
        price=np.array([1000, 995, 1010]),
        size=np.array([20, 30, 40]),
        order_id=np.zeros(3, np.uint64),
        anonymous=np.zeros(3, bool),
        last_best=np.array([1000, 1010]),
        window=2,
        pooled=True,
    )
    second, receive, kind, code, side, price, size, known = np.array(
        [
            (10, 11, Kind.EXECUTE, 0, ASK, 1010, 15, 1),
            (30, 31, Kind.ADD, 0, BID, 1005, 5, 0),  # pushes 995 out of the window
            (20, 32, Kind.EXECUTE_HIDDEN, 0, BID, 1007, 3, 0),
            (40, 33, Kind.CONTROL, Code.CLEAR, 0, 0, 0, 0),
            (50, 50, Kind.DELETE, 0, ASK, 1015, 8, 0),
            (60, 60, Kind.CROSS, 0, ASK, 1000, 9, 1),
            (70, 65, Kind.CONTROL, Code.HALT, 0, 0, 0, 0),
        ]
    ).T
    events = Events.from_columns(
        time_ns=T + second, receive_ns=T + receive, kind=kind, code=code, side=side, price=price, size=size,
        flags=known * int(Flag.AGGRESSOR_KNOWN),
    )  # fmt: skip
    corrections = Corrections(
        np.array([3, 3, 4]), np.array([BID, ASK, ASK], np.int8), np.array([990, 1015, 1020]), np.array([7, 8, 12])
    )
    return MarketDay(INSTRUMENT, start, events, corrections, {})


def test_every_row_of_a_small_day(pooled_day, tmp_path):
    rows, _ = rows_of(pooled_day, tmp_path)
    assert told(rows) == [
        (CLEAR, 0, 0.0, 0.0),
        (SNAPSHOT, BID, 10.0, 2.0),
        (SNAPSHOT, BID, 9.95, 3.0),
        (SNAPSHOT, ASK, 10.1, 4.0),
        (TRADE, BID, 10.1, 1.5),
        (DEPTH, ASK, 10.1, 2.5),
        (DEPTH, BID, 9.95, 0.0),
        (DEPTH, BID, 10.05, 0.5),
        (TRADE, 0, 10.07, 0.3),
        (CLEAR, 0, 0.0, 0.0),
        (SNAPSHOT, BID, 9.9, 0.7),
        (SNAPSHOT, ASK, 10.15, 0.8),
        (DEPTH, ASK, 10.15, 0.0),
        (DEPTH, ASK, 10.2, 1.2),
        (TRADE, BID, 10.0, 0.9),
    ]


def test_times_that_run_backwards_and_a_capture_clock_that_is_slow(pooled_day, tmp_path):
    rows, export = rows_of(pooled_day, tmp_path)
    assert (rows["exch_ts"] - T).tolist() == [0] * 4 + [10, 10, 30, 30, 30, 40, 40, 40, 50, 50, 60]
    # The event of 40 was captured at 33: all local times are 7 later.
    assert (rows["local_ts"] - T - 7).tolist() == [11] * 4 + [11, 11, 31, 31, 32, 33, 33, 33, 50, 50, 60]
    assert (export.exchange_times_moved, export.local_times_moved, export.local_shift_ns) == (1, 0, 7)


def test_without_all_capture_times_local_times_are_a_latency_behind(pooled_day, tmp_path):
    receive = pooled_day.events.receive_ns.copy()
    receive[2] = 0
    day = dataclasses.replace(pooled_day, events=pooled_day.events.replace(receive_ns=receive))
    rows, export = rows_of(day, tmp_path, latency_ns=250)
    assert (rows["local_ts"] - rows["exch_ts"] == 250).all()
    assert (export.exchange_times_moved, export.local_times_moved, export.local_shift_ns) == (1, 1, 0)


def test_the_levels_end_as_the_book_does(sampled_day, tmp_path):
    rows, _ = rows_of(sampled_day, tmp_path)
    assert depth_after(rows) == pytest.approx(levels_of(sampled_day))
    (bought,) = [row for row in told(rows) if row[:3] == (TRADE, BID, 100.02)]
    assert bought[3] == 3  # on the aggressor's side


def test_no_time_runs_backwards_and_none_is_seen_before_it_happens(sampled_day, tmp_path):
    rows, export = rows_of(sampled_day, tmp_path)
    assert (np.diff(rows["exch_ts"]) >= 0).all() and (np.diff(rows["local_ts"]) >= 0).all()
    assert (rows["local_ts"] >= rows["exch_ts"]).all() and export.rows == len(rows)
    both = hb.EXCHANGE | hb.LOCAL
    assert (rows["ev"] & np.uint64(both) == both).all()
    assert [path.name for path in tmp_path.iterdir() if path.name != "raw"] == ["day.npz"]


@pytest.mark.parametrize("orders", [False, True])
def test_runs_of_events_do_not_show(orders, pooled_day, tmp_path, monkeypatch):
    day = SyntheticFeed(1, 500, 0).read("2024-01-02") if orders else pooled_day
    whole, export = rows_of(day, tmp_path, orders=orders)
    for run_events in (1, 3):
        monkeypatch.setattr(hb, "_RUN_EVENTS", run_events)
        again, export_again = rows_of(day, tmp_path, orders=orders)
        assert export_again == export
        np.testing.assert_array_equal(again, whole)


def test_a_simulated_day_shows_every_trade_by_levels(tmp_path):
    day = SyntheticFeed(1, 2000, 0).read("2024-01-02")
    rows, _ = rows_of(day, tmp_path)
    traded = np.isin(day.events.kind, (Kind.EXECUTE, Kind.EXECUTE_HIDDEN, Kind.CROSS))
    trades = [row for row in told(rows) if row[0] == TRADE]
    assert len(trades) == traded.sum() > 10
    assert [row[1] for row in trades] == (-day.events.side[traded]).tolist()
    assert depth_after(rows) == pytest.approx(levels_of(day))


def test_a_simulated_day_order_by_order(tmp_path):
    day = SyntheticFeed(1, 2000, 0).read("2024-01-02")
    rows, _ = rows_of(day, tmp_path, orders=True)
    live, filled = orders_after(rows)
    (end,) = snapshots_at(day, [len(day.events)])
    scaled = zip(end.side.tolist(), (end.price / 10_000).tolist(), end.size.tolist(), strict=True)
    assert live == dict(zip(end.order_id.tolist(), scaled, strict=True))
    hit = day.events.order_id[day.events.kind == Kind.EXECUTE]
    assert filled == collections.Counter(hit.tolist())


def refusal_of(day, folder, **settings):
    with pytest.raises(InputError) as error:
        hb.write_hftbacktest(folder / "out" / "day.npz", day, **settings)
    assert not list((folder / "out").glob("*")) if (folder / "out").exists() else True
    return error.value


def test_a_day_of_levels_cannot_be_written_order_by_order(pooled_day, tmp_path):
    error = refusal_of(pooled_day, tmp_path, orders=True)
    for part in ("pooled", "window of 2 levels", "3 orders without id", "3 corrections"):
        assert part in error.was


@pytest.mark.parametrize(
    ("wrong", "changed"),
    [
        ("an unknown order", {"order_id": 99}),
        ("another price", {"price": 1005}),
        ("another side", {"side": ASK}),
        ("more than it holds", {"size": 31}),
        ("a part deleted", {"kind": Kind.DELETE, "size": 29}),
        ("a second order of an id", {"kind": Kind.ADD}),
        ("an order without id", {"kind": Kind.ADD, "order_id": 0}),
    ],
)
def test_an_event_that_does_not_fit_its_order_is_refused(wrong, changed, tmp_path):
    added = {"time_ns": T, "kind": Kind.ADD, "side": BID, "price": 1000, "size": 30, "order_id": 7}
    taken = {**added, "kind": Kind.EXECUTE, "size": 30}

    def day_of(*events):
        columns = {name: np.array([event[name] for event in events]) for name in added}
        return MarketDay(INSTRUMENT, BookSnapshot.empty(), Events.from_columns(**columns), Corrections.none(), {})

    rows, _ = rows_of(day_of(added, taken), tmp_path, orders=True)
    assert [kind_of(row) for row in rows] == [CLEAR, ADDED, TRADE, FILL, CANCELLED]
    assert refusal_of(day_of(added, taken | changed), tmp_path, orders=True).where == "event 1"


def test_levels_that_leave_the_window_of_a_feed_are_gone(market_data, tmp_path):
    day = LobsterFeed().read(market_data("lobster/GOOG_2012-06-21_34200000_57600000_message_1.csv.gz"))
    rows, _ = rows_of(day, tmp_path)
    assert depth_after(rows) == pytest.approx(levels_of(day)) and len(levels_of(day)) == 2


def test_a_day_without_events_is_its_starting_book(pooled_day, tmp_path):
    day = MarketDay(INSTRUMENT, pooled_day.start, pooled_day.events[:0], Corrections.none(), {})
    rows, _ = rows_of(day, tmp_path)
    assert [kind_of(row) for row in rows] == [CLEAR, SNAPSHOT, SNAPSHOT, SNAPSHOT]
    assert (rows["exch_ts"] == T).all()


def test_what_hftbacktest_does_not_take_is_refused(pooled_day, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.npz"):
        hb.write_hftbacktest(tmp_path / "day.csv", pooled_day)
    with pytest.raises(InputError, match="before they happen"):
        hb.write_hftbacktest(tmp_path / "day.npz", pooled_day, latency_ns=-1)


@pytest.mark.parametrize("orders", [False, True])
@pytest.mark.filterwarnings("default")
def test_the_backtester_itself_shows_our_best_quotes(orders, tmp_path):
    hft = pytest.importorskip("hftbacktest")
    from hftbacktest.data import validate_event_order

    day = SyntheticFeed(1, 2000, 0).read("2024-01-02")
    rows, export = rows_of(day, tmp_path, orders=orders)
    validate_event_order(rows)
    asset = hft.BacktestAsset().data(str(export.path)).linear_asset(1.0).constant_order_latency(0, 0)
    asset = asset.no_partial_fill_exchange().trading_value_fee_model(0, 0).tick_size(0.01).lot_size(1.0)
    asset = asset.l3_fifo_queue_model() if orders else asset.risk_adverse_queue_model()
    backtest = hft.HashMapMarketDepthBacktest([asset])
    backtest.elapse(0)
    states = replay(day, levels=1).after()
    for row in np.flatnonzero(np.diff(day.events.time_ns) > 0)[::50]:
        backtest.elapse(int(day.events.time_ns[row]) - backtest.current_timestamp)
        depth = backtest.depth(0)
        assert [depth.best_bid, depth.best_ask] == pytest.approx((states.price[row, :, 0] / 10_000).tolist())
        assert [depth.best_bid_qty, depth.best_ask_qty] == states.size[row, :, 0].tolist()
