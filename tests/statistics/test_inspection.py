"""Statistics of a small day computed by hand, and of other days by plain Python."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import count_states, replay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Code, Events, Flag, Kind
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.statistics import book_measures, event_measures
from lob_jax.statistics.histograms import new_histogram, note, summarize
from lob_jax.statistics.inspection import clock, duration, inspect_day, tables
from tests.feeds.checks import SAMPLES, sample_of

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
    (14, Kind.DELETE, 0, BID, 1020, 2, 0),
    (15, Kind.DELETE, 0, BID, 995, 1, 0),
]


def show(found, width=80):
    console = Console(file=io.StringIO(), width=width)
    for table in tables(found):
        console.print(table)
    return console.file.getvalue()


@pytest.fixture
def day():
    second, kind, code, side, price, size, known = np.array(ROWS).T
    events = Events.from_columns(
        time_ns=MIDNIGHT + second * S, kind=kind, code=code, side=side, price=price, size=size,
        receive_ns=np.where(second == 3, MIDNIGHT + second * S + 2_500_000, 0),
        flags=known * int(Flag.AGGRESSOR_KNOWN),
    )  # fmt: skip
    report = {"feed": "test", "rows_read": 11, "rows_kept": 10, "rows_dropped": {"a bad row": 1}}
    report |= {"trades_explained": 3, "trades_hidden": 1}
    return MarketDay(INSTRUMENT, BookSnapshot.empty(MIDNIGHT), events, Corrections.none(), report)


def test_counts_rates_and_gaps(day):
    found = inspect_day(day, levels=3)
    assert (found["kinds"]["ADD"]["events"], found["kinds"]["ADD"]["asks"]) == (3, 1)
    assert found["kinds"]["EXECUTE"] == {"events": 2, "share": 0.2, "asks": 1, "quantity": 3.5}
    assert found["span"] == {"events": 10, "first_ns": MIDNIGHT + S, "last_ns": MIDNIGHT + 15 * S}
    assert found["rates"] == {"mean_a_second": 10 / 14, "1 s": 2, "100 ms": 2, "1 ms": 2}
    assert found["gaps"]["backwards"] == 1 and found["gaps"]["zero_share"] == 2 / 9
    assert found["gaps"]["longest"][:2] == [(MIDNIGHT + 4 * S, 5 * S), (MIDNIGHT + 10 * S, 4 * S)]
    assert found["gaps"]["quantiles_ns"]["min"] == -S and found["gaps"]["quantiles_ns"]["q0.5"] == S
    assert found["control"] == {"counts": {"HALT": 1}, "first": [(MIDNIGHT + 9 * S, "HALT")]}
    assert found["latency_ns"]["min"] == found["latency_ns"]["max"] == 2_500_000


def test_trades_and_aggressors(day):
    trades = inspect_day(day, levels=3)["trades"]
    assert (trades["count"], trades["volume"], trades["bought"], trades["sold"]) == (3, 4.2, 0.5, 3.0)
    assert (trades["unknown_aggressor"], trades["hidden"]) == (0.7, 0.7)
    assert trades["vwap"] == pytest.approx((10.10 * 0.5 + 10.02 * 0.7 + 10.0 * 3) / 4.2)
    assert (trades["low"], trades["high"]) == (10.0, 10.1)
    assert trades["largest"][0] == (MIDNIGHT + 9 * S, 10.0, 3.0, "EXECUTE")
    assert trades["largest"][1] == (MIDNIGHT + 5 * S, 10.02, 0.7, "EXECUTE_HIDDEN")


def test_the_book_of_a_small_day(day):
    book = inspect_day(day, levels=3)["book"]
    # Bids: 1000 from 1 s to 9 s, none until 10 s, 1020 until 14 s, which crosses the ask of 1010, present from 3 s on.
    assert book["states"] == {"crossed": 1, "locked": 0, "one_sided": 4, "empty": 0}
    assert book["states_s"] == {"crossed": 4, "locked": 0, "one_sided": 2 + 1 + 1, "empty": 1}
    assert (book["unknown_level"], book["over_removal"], book["mid_moves"]) == (1, 0, 0)
    assert book["spread_ticks"]["mean"] == pytest.approx((5 * 2 - 2) / 6) and book["spread_ticks"]["min"] == -2
    assert book["spread_ticks_by_time"]["mean"] == pytest.approx((6 * 2 - 4 * 2) / 10)
    assert book["bid_best_size"]["max"] == 3.0 and book["ask_best_size"]["mean"] == pytest.approx(
        (2 * 1.5 + 10 * 1.0) / 12
    )
    assert book["mid"] == {"first": 10.05, "low": 10.05, "high": 10.15, "last": 10.15}


def naive_book(day, levels):
    """Return histograms of the book from the states of a replay with queues."""
    states = replay(day, levels=levels)
    times = np.maximum.accumulate(np.append(min(day.start.time_ns, day.events.time_ns[0]), day.events.time_ns))
    histograms = {name: new_histogram() for name in ("spread", "by_time", "bid", "ask", "bids", "asks", "move")}
    for i, lasted in enumerate(np.diff(times).tolist()):
        (bid, ask), sizes = states.price[i, :, 0], states.size[i]
        if sizes[:, 0].all():
            note(histograms["spread"], ask - bid, 1)
            note(histograms["by_time"], ask - bid, lasted)
            if states.mid2()[i + 1] not in (0, states.mid2()[i]):
                note(histograms["move"], abs(states.mid2()[i + 1] - states.mid2()[i]), 1)
        for s, (best, depth) in enumerate((("bid", "bids"), ("ask", "asks"))):
            note(histograms[best], sizes[s, 0], lasted if sizes[s, 0] else 0)
            note(histograms[depth], sizes[s].sum(), lasted)
    return histograms


def assert_measured_naively(day, levels):
    found, naive = book_measures.book(day, levels), naive_book(day, levels)
    tick, lot = day.instrument.tick, day.instrument.lot_scale
    for name, key, unit in (
        ("spread_ticks", "spread", tick), ("spread_ticks_by_time", "by_time", tick), ("bid_best_size", "bid", lot),
        ("ask_best_size", "ask", lot), ("bid_depth", "bids", lot), ("ask_depth", "asks", lot),
        ("mid_move_ticks", "move", 2 * tick),
    ):  # fmt: skip
        assert found[name] == pytest.approx(summarize(naive[key], unit)), name
    counted = count_states(day)
    assert counted == {name: {**found, **found["states"]}[name] for name in counted}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_book_of_every_feed_against_a_replay_with_queues(name, tmp_path):
    sample = sample_of(name)
    day = sample.FEED.read(sample.write(tmp_path))
    assert_measured_naively(day, min(3, day.start.window or 3))


def test_the_book_of_a_simulated_day_against_a_replay_with_queues():
    assert_measured_naively(SyntheticFeed(1, 1000, 3).read("2024-01-02"), 5)


def test_all_of_it_is_plain_json_and_fits_a_terminal(day):
    found = inspect_day(day, levels=3)
    assert json.loads(json.dumps(found))["span"] == found["span"]
    text = show(found)
    assert "…" not in text
    for part in (
        "ABC, TEST, 2024-01-02", "a bad row 1", "tick 0.05, lot 0.1", "00:00:09.000000", "HALT", "1 crossed (4 s)",
        "75.0% of trades", "2.5 ms", "10.050 to 10.150", "1 removals of lots not in the book",
    ):  # fmt: skip
        assert part in text, part


def test_runs_of_events_do_not_show(day, monkeypatch):
    simulated = SyntheticFeed(1, 3000, 0).read("2024-01-02")
    whole = inspect_day(day, levels=2), inspect_day(simulated, levels=5)
    for run_events, number in ((3, 0), (700, 1)):
        monkeypatch.setattr(event_measures, "_RUN_EVENTS", run_events)
        monkeypatch.setattr(book_measures, "_RUN_EVENTS", run_events)
        found = inspect_day((day, simulated)[number], levels=(2, 5)[number])
        assert found["trades"].pop("vwap") == pytest.approx(whole[number]["trades"].pop("vwap"), rel=1e-12)
        assert found == whole[number]


def test_the_busiest_windows_of_a_simulated_day():
    day = SyntheticFeed(1, 2000, 1).read("2024-01-02")
    times = day.events.time_ns.tolist()
    found = inspect_day(day, levels=1)["rates"]
    for name, width in (("1 s", S), ("100 ms", S // 10), ("1 ms", S // 1000)):
        assert found[name] == max(sum(t <= u < t + width for u in times[i : i + 400]) for i, t in enumerate(times))


def test_a_real_day(market_data):
    path = market_data("lobster/AAPL_2012-06-21_34200000_57600000_message_1.csv.gz")
    day = LobsterFeed().read(path)
    found = inspect_day(day, levels=10)
    kinds = np.bincount(day.events.kind, minlength=8)
    assert [found["kinds"][kind.name]["events"] for kind in Kind] == kinds[1:].tolist()
    assert found["book"]["levels"] == 1 and found["book"]["states"]["crossed"] == 0
    assert clock(found["span"]["first_ns"], day.instrument).startswith("09:30:00.0")
    before = replay(day, levels=1).before()
    spread = (before.price[:, 1, 0] - before.price[:, 0, 0])[before.mid2() > 0]
    assert found["book"]["spread_ticks"]["mean"] == pytest.approx(spread.mean() / 100)
    assert found["book"]["spread_ticks"]["q0.5"] == np.quantile(spread, 0.5, method="inverted_cdf") / 100


def test_an_empty_day_has_nothing_to_show(day):
    empty = MarketDay(INSTRUMENT, day.start, day.events[:0], Corrections.none(), {"feed": "test"})
    found = inspect_day(empty, levels=2)
    assert found["span"]["events"] == 0 and found["trades"]["vwap"] is None
    assert "HALT" not in show(found)


def test_a_start_without_a_time_lasts_no_time(day):
    found = inspect_day(MarketDay(INSTRUMENT, BookSnapshot.empty(), day.events, Corrections.none(), {}), levels=2)
    assert found["book"]["states_s"]["empty"] == 0


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0 ns"), (999, "999 ns"), (1500, "1.5 µs"), (2.5e6, "2.5 ms"), (23_400e9, "23,400 s")]
)
def test_durations_have_the_unit_that_suits_them(ns, text):
    assert duration(ns) == text


def test_times_are_on_the_venues_clock():
    assert clock(MIDNIGHT + 9 * 3600 * S + 30_000_000, INSTRUMENT) == "09:00:00.030000"
    assert clock(MIDNIGHT - S, INSTRUMENT) == "23:59:59.000000 (-1 d)"
