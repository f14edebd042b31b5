"""Numbers of a small day worked out by hand, and of a simulated one by plain Python."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Code, Events, Flag, Kind
from lob_jax.feeds.feed import MarketDay
from lob_jax.feeds.inspection import duration, inspect_day, tables
from lob_jax.feeds.synthetic import SyntheticFeed

S = 10**9
INSTRUMENT = Instrument("ABC", "TEST", "2024-01-02", price_scale=100, tick=5, lot_scale=10)
MIDNIGHT = INSTRUMENT.midnight_ns()
ROWS = [  # second, kind, code, side, price, size, aggressor known
    (1, Kind.ADD, 0, BID, 1000, 30, 0),
    (3, Kind.ADD, 0, ASK, 1010, 20, 0),
    (3, Kind.EXECUTE, 0, ASK, 1010, 5, 1),
    (5, Kind.EXECUTE_HIDDEN, 0, BID, 1002, 7, 0),
    (4, Kind.CANCEL, 0, ASK, 1010, 5, 0),
    (9, Kind.CONTROL, Code.HALT, 0, 0, 0, 0),
    (9, Kind.EXECUTE, 0, BID, 1000, 30, 1),
    (10, Kind.ADD, 0, BID, 1020, 2, 0),
]


@pytest.fixture
def day():
    second, kind, code, side, price, size, known = np.array(ROWS).T
    events = Events.from_columns(
        time_ns=MIDNIGHT + second * S, kind=kind, code=code, side=side, price=price, size=size,
        flags=known * int(Flag.AGGRESSOR_KNOWN),
    )  # fmt: skip
    report = {"feed": "test", "rows_read": 9, "rows_kept": 8, "rows_dropped": {"a bad row": 1}, "corrections": 0}
    return MarketDay(INSTRUMENT, BookSnapshot.empty(MIDNIGHT), events, Corrections.none(), report)


def test_counts_rates_and_gaps(day):
    found = inspect_day(day, levels=3)
    assert found["kinds"]["EXECUTE"] == {"events": 2, "share": 0.25, "asks": 1, "quantity": 3.5}
    assert found["span"] == {"events": 8, "first_ns": MIDNIGHT + S, "last_ns": MIDNIGHT + 10 * S}
    assert found["rates"] == {"mean_a_second": 8 / 9, "1 s": 2, "100 ms": 2, "1 ms": 2}
    assert found["gaps"]["backwards"] == 1 and found["gaps"]["zero_share"] == 2 / 7
    assert found["gaps"]["longest"][:2] == [(MIDNIGHT + 4 * S, 5 * S), (MIDNIGHT + 3 * S, 2 * S)]
    assert found["control"] == {"counts": {"HALT": 1}, "first": [(MIDNIGHT + 9 * S, "HALT")]}


def test_trades_and_aggressors(day):
    trades = inspect_day(day, levels=3)["trades"]
    assert (trades["count"], trades["volume"], trades["bought"], trades["sold"]) == (3, 4.2, 0.5, 3.0)
    assert (trades["unknown_aggressor"], trades["hidden"]) == (0.7, 0.7)
    assert trades["vwap"] == pytest.approx((10.10 * 0.5 + 10.02 * 0.7 + 10.0 * 3) / 4.2)
    assert (trades["low"], trades["high"]) == (10.0, 10.1)


def test_the_book_before_each_event(day):
    found = inspect_day(day, levels=3)
    book = found["book"]
    assert (book["one_sided_states"], book["empty_states"], book["mid_moves"]) == (2, 1, 0)
    assert book["spread_ticks"]["mean"] == 2 and book["spread_ticks_by_time"]["max"] == 2
    assert book["ask_best_size"]["max"] == 2.0 and book["bid_depth"]["max"] == 3.0
    assert found["states"] == {"crossed": 1, "locked": 0, "unknown_level": 0, "over_removal": 0}


def test_all_of_it_is_plain_json_and_fits_a_terminal(day):
    found = inspect_day(day, levels=3)
    assert json.loads(json.dumps(found))["span"] == found["span"]
    out = io.StringIO()
    console = Console(file=out, width=80)
    for table in tables(found):
        console.print(table)
    text = out.getvalue()
    assert "…" not in text
    for part in ("ABC, TEST, 2024-01-02", "a bad row 1", "tick 0.05, lot 0.1", "00:00:09.000000", "HALT", "1 crossed"):
        assert part in text


def test_runs_of_events_do_not_show(day, monkeypatch):
    whole = inspect_day(day, levels=2)
    simulated = SyntheticFeed(1, 3000, 0).read("2024-01-02")
    whole_simulated = inspect_day(simulated, levels=5)
    monkeypatch.setattr("lob_jax.feeds.inspection._RUN_EVENTS", 3)
    assert inspect_day(day, levels=2) == whole
    monkeypatch.setattr("lob_jax.feeds.inspection._RUN_EVENTS", 700)
    assert inspect_day(simulated, levels=5) == whole_simulated


def test_the_busiest_windows_of_a_simulated_day():
    day = SyntheticFeed(1, 2000, 1).read("2024-01-02")
    times = day.events.time_ns.tolist()
    found = inspect_day(day, levels=1)["rates"]
    for name, width in (("1 s", S), ("100 ms", S // 10), ("1 ms", S // 1000)):
        assert found[name] == max(sum(t <= u < t + width for u in times[i : i + 400]) for i, t in enumerate(times))


def test_an_empty_day_has_nothing_to_show(day):
    empty = MarketDay(INSTRUMENT, day.start, day.events[:0], Corrections.none(), {"feed": "test"})
    found = inspect_day(empty, levels=2)
    assert found["span"]["events"] == 0 and found["trades"]["vwap"] is None
    console = Console(file=io.StringIO(), width=80)
    for table in tables(found):
        console.print(table)


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0 ns"), (999, "999 ns"), (1500, "1.5 µs"), (2.5e6, "2.5 ms"), (23_400e9, "23,400 s")]
)
def test_durations_have_the_unit_that_suits_them(ns, text):
    assert duration(ns) == text
