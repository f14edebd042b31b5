"""Tardis files: refusals, finding and merging of trades, and real days against a plain dictionary."""

import csv
import gzip
import threading
from fractions import Fraction

import numpy as np
import pytest

from lob_jax.book.replay import count_states
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.feeds.feed import DaySource, Reading
from lob_jax.feeds.load import detect_format
from lob_jax.feeds.tardis.feed import TardisFeed
from tests.feeds import sample_tardis
from tests.feeds.checks import assert_round_trip, assert_same_day, assert_sound, final_levels

HEADER = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
TRADES_HEADER = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
DEPTH_NAME = "bitmex_incremental_book_L2_2024-01-02_XBTUSD.csv"
REAL = [
    "tardis/binance-futures_2024-08-08_incremental_book_L2_BTCUSDT.csv.gz",
    "tardis/binance_2024-08-08_09_incremental_book_L2_BTCUSDT.csv.gz",
    "tardis/tardis_binance_BTCUSDT_incremental_book_L2_2019-12-01_rows_1_2050.csv",
]


def write(folder, *rows, name=DEPTH_NAME, header=HEADER, clock=1_704_196_800_000_000):
    """Write rows (microseconds, the fields from the fifth on)."""
    lines = [f"bitmex,XBTUSD,{clock + us},{clock + us},{rest}" for us, rest in rows]
    (folder / name).write_text("\n".join([header, *lines]) + "\n")
    return folder / name


SNAPSHOT = [(0, "true,bid,100,5"), (0, "true,ask,100.5,4")]


def test_prices_and_sizes_are_exact_and_their_steps_inferred(tmp_path):
    day = TardisFeed().read(write(tmp_path, *SNAPSHOT, (9, "false,bid,99.5,1e-3"), (9, "false,ask,101,2.50")))
    assert (day.instrument.price_scale, day.instrument.tick, day.instrument.lot_scale) == (10, 5, 1000)
    assert day.events.price.tolist() == [995, 1010] and day.events.size.tolist() == [1, 2500]
    assert day.events.time_ns.tolist() == [1_704_196_800_000_009_000] * 2


@pytest.mark.parametrize("block_bytes", [64, 1 << 21])
def test_a_day_is_the_same_on_one_core_and_no_thread_outlives_a_reading(tmp_path, monkeypatch, block_bytes):
    rows = [(k, f"false,bid,{99 - k % 7},{1 + k % 5}") for k in range(1, 300)]
    sound = write(tmp_path, *SNAPSHOT, *rows, name="sound.csv")
    bad = write(tmp_path, *SNAPSHOT, *rows[:20], rows[3], *rows, name="bad.csv")
    days = []
    for cores in (True, False):
        monkeypatch.setattr("lob_jax.feeds.reading.ahead.has_cores", lambda cores=cores: cores)
        days.append(TardisFeed().read(sound, Reading(block_bytes=block_bytes)))
        with pytest.raises(InputError, match=r"runs backwards[\s\S]*line 24") as caught:
            TardisFeed().read(bad, Reading(block_bytes=block_bytes))
        assert caught.value and not [one for one in threading.enumerate() if one.name.startswith("lob_jax")]
    assert_same_day(*days)
    assert days[0].report == days[1].report


def test_named_steps_win_and_what_does_not_fit_them_is_at_fault(tmp_path):
    path = write(tmp_path, *SNAPSHOT, (9, "false,bid,99.5,1"), (10, "false,bid,99.25,1"), (11, "false,bid,99,0.05"))
    day = TardisFeed(tick="0.05", lot="0.01").read(path)
    assert (day.instrument.price_scale, day.instrument.tick, day.instrument.lot_scale) == (100, 5, 100)
    with pytest.raises(InputError, match=r"between ticks[\s\S]*line 5"):
        TardisFeed(tick="0.5").read(path)
    with pytest.raises(InputError, match=r"between lots[\s\S]*line 6"):
        TardisFeed(lot="0.1").read(path)
    skipped = TardisFeed(tick="0.5", lot="1").read(path, Reading(on_error="skip"))
    assert skipped.report["rows_dropped"] == {"a price between ticks": 1, "an amount between lots": 1}
    assert_sound(skipped)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ((9, "false,bid,99.5,-1"), "out of range"),
        ((9, "false,bid,1e300,1"), "out of range"),
        ((9, "false,bid,nan,1"), "not a decimal number"),
        ((9, "False,bid,99,1"), "false or true"),
        ((9, "false,buy,99,1"), "bid or ask"),
        ((9, "false,bid,99"), "columns"),
        ((9, "false,bid,99.1234567890123456789,1"), "decimal places"),
        ((-1, "false,bid,99,1"), "runs backwards"),
    ],
)
def test_a_bad_row_is_refused_by_line(tmp_path, row, told):
    path = write(tmp_path, *SNAPSHOT, row, (12, "false,bid,99,3"))
    with pytest.raises(InputError, match=rf"(?s){told}.*line 4|line 4.*{told}"):
        TardisFeed().read(path)
    skipped = TardisFeed().read(path, Reading(on_error="skip"))
    assert len(skipped.events) == 1 and sum(skipped.report["rows_dropped"].values()) == 1


def test_a_row_earlier_than_the_block_before_is_refused(tmp_path):
    path = write(tmp_path, *SNAPSHOT, (9, "false,bid,99,1"), (8, "false,bid,98,1"), (9, "false,bid,97,1"))
    with pytest.raises(InputError, match=r"runs backwards[\s\S]*line 5"):
        TardisFeed().read(path, Reading(block_bytes=60))
    day = TardisFeed().read(path, Reading(block_bytes=60, on_error="skip"))
    assert day.events.price.tolist() == [990, 970] and day.report["rows_dropped"] == {
        "a local_timestamp that runs backwards": 1
    }


def test_decimal_places_are_those_that_the_numbers_need(tmp_path):
    rows = [(0, "true,bid,1600000000,1000000000000"), (0, "true,ask,1600000001.5,1.1e12"),
            (9, "false,bid,1600000000,1e12"), (9, "false,ask,1600000002,0.000001")]  # fmt: skip
    path = write(tmp_path, *rows)
    day = TardisFeed().read(path)
    assert (day.instrument.price_scale, day.instrument.tick, day.instrument.lot_scale) == (10, 5, 10**6)
    assert final_levels(day) == naive_book(path)
    assert_sound(day)
    fine = write(
        tmp_path,
        (0, "true,bid,0.000000000001,5"),
        (0, "true,ask,0.0000000000025,1e-12"),
        (9, "false,bid,0.000000000001,7"),
    )
    day = TardisFeed().read(fine, Reading(block_bytes=100, store=tmp_path / "store"))
    assert (day.instrument.price_scale, day.instrument.tick, day.instrument.lot_scale) == (10**13, 5, 10**12)
    assert final_levels(day) == naive_book(fine)


def test_the_trades_count_among_the_numbers_that_decide_the_places(tmp_path):
    path = write(tmp_path, *SNAPSHOT, (9, "false,ask,100.5,1"))
    name = DEPTH_NAME.replace("incremental_book_L2", "trades")
    write(tmp_path, (9, "7,buy,100.5,300000000000"), name=name, header=TRADES_HEADER)
    day = TardisFeed().read(path)
    assert day.report["lots_explained"] == 4 and day.report["lots_hidden"] == 300_000_000_000 - 4


def test_the_lots_of_many_large_trades_are_counted_exactly(tmp_path):
    path = write(tmp_path, *SNAPSHOT, *((9 + i, "false,ask,100.5,4e9") for i in range(40)))
    name = DEPTH_NAME.replace("incremental_book_L2", "trades")
    write(tmp_path, *((9 + i, "7,sell,99,11000000000.5") for i in range(40)), name=name, header=TRADES_HEADER)
    assert TardisFeed().read(path).report["lots_hidden"] == 40 * 110_000_000_005


def test_numbers_that_no_places_hold_are_told_with_a_lot_that_would(tmp_path):
    path = write(
        tmp_path, *SNAPSHOT, (9, "false,bid,99,0.00000001"), (10, "false,bid,99,1e12"), (11, "false,bid,98,0.5")
    )
    with pytest.raises(InputError, match=r"decimal places[\s\S]*line 4, column 8[\s\S]*lot='0.00000001'"):
        TardisFeed().read(path)
    skipped = TardisFeed().read(path, Reading(on_error="skip"))
    assert skipped.report["rows_dropped"] == {"a number with too many decimal places": 1}
    assert skipped.instrument.lot_scale == 10 and skipped.events.size.tolist() == [10**13, 5]
    with pytest.raises(InputError, match=r"a number out of range[\s\S]*line 5, column 8"):
        TardisFeed(lot="0.00000001").read(path)
    with pytest.raises(InputError, match=r"an amount between lots[\s\S]*line 4, column 8"):
        TardisFeed(lot="0.5").read(path)
    named = TardisFeed(lot="0.5").read(path, Reading(on_error="skip"))
    assert named.report["rows_dropped"] == {"an amount between lots": 1}


def test_one_absurd_number_costs_its_row_and_no_other(tmp_path):
    path = write(tmp_path, *SNAPSHOT, (9, "false,bid,99.25,1e17"), (10, "false,bid,99.25,0.125"),
                 (11, "false,bid,99.25,0.25"))  # fmt: skip
    day = TardisFeed().read(path, Reading(on_error="quarantine", quarantine=tmp_path / "bad"))
    assert day.report["rows_dropped"] == {"a number out of range": 1} and day.instrument.lot_scale == 1000
    assert len((tmp_path / "bad" / f"{DEPTH_NAME}.jsonl").read_text().splitlines()) == 1


def test_prices_may_be_negative_or_zero(tmp_path):
    path = write(tmp_path, (0, "true,bid,-0.75,5"), (0, "true,ask,0,4"), (9, "false,bid,-0.5,2"), (10, "false,ask,0,0"),
                 (11, "false,ask,0.25,3"), (12, "false,bid,0,1"))  # fmt: skip
    name = DEPTH_NAME.replace("incremental_book_L2", "trades")
    write(tmp_path, (9, "7,sell,-0.75,1"), name=name, header=TRADES_HEADER)
    day = TardisFeed().read(path)
    assert final_levels(day) == naive_book(path) == {(BID, Fraction(-3, 4)): 5, (BID, Fraction(-1, 2)): 2,
        (BID, 0): 1, (ASK, Fraction(1, 4)): 3}  # fmt: skip
    assert (day.instrument.price_scale, day.instrument.tick) == (100, 25)
    assert day.report["prices_not_positive"] == 6 and day.report["crossed_groups"] == 0
    assert_sound(day)
    assert final_levels(TardisFeed(tick="0.25").read(path)) == final_levels(day)


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([(9, "false,bid,99,1"), (12, "false,ask,101,1")], "without any snapshot"),
        ([*((i, "false,bid,99,1") for i in range(9)), (9, "true,bid,100,5"), (9, "true,ask,101,1")], "mostly before"),
    ],
)
def test_a_day_that_would_vanish_is_refused_unless_rows_may_be_left_out(tmp_path, rows, what):
    path = write(tmp_path, *rows)
    with pytest.raises(InputError, match=rf"{what}[\s\S]*on_error='skip'"):
        TardisFeed().read(path)
    day = TardisFeed().read(path, Reading(on_error="skip"))
    early = sum("false" in row for _, row in rows)
    assert day.report["rows_dropped"] == {"rows before the first snapshot": early} and len(day.events) == 0
    assert_sound(day)


def dialect(path, *, order, extra=(), quote=""):
    """Rewrite a file with a byte-order mark, reordered and additional columns, and a blank last line."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [*extra, *order, *extra]
    lines = [names, *([row.get(name, "note") for name in names] for row in rows)]
    text = "\r\n".join(",".join(f"{quote}{field}{quote}" for field in line) for line in lines)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n\r\n")


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_dialect_of_the_files_gives_the_same_day(tmp_path, quote):
    path = sample_tardis.write(tmp_path)
    trades = path.with_name(path.name.replace("incremental_book_L2", "trades"))
    plain = TardisFeed().read(path)
    dialect(path, order=reversed(HEADER.split(",")), extra=("exchange_2",), quote=quote)
    dialect(trades.rename(tmp_path / "the_trades.csv"), order=sorted(TRADES_HEADER.split(",")), quote=quote)
    assert detect_format(path) == "tardis"
    (listed,) = TardisFeed().days(path)
    assert (listed.symbol, listed.trading_day) == ("BTCUSDT", "2024-01-02")
    for block_bytes in (50, 1 << 20):
        assert_same_day(TardisFeed().read(path, Reading(block_bytes=block_bytes)), plain)
    path.write_bytes(path.read_bytes().replace(b"amount", b"quantity", 1))
    with pytest.raises(InputError, match="an unknown schema"):
        TardisFeed().days(path)


def test_a_file_of_two_symbols_is_refused(tmp_path):
    path = write(tmp_path, *SNAPSHOT)
    path.write_text(path.read_text() + "bitmex,ETHUSD,1704196800000009,1704196800000009,false,bid,99,1\n")
    with pytest.raises(InputError, match=r"a different symbol from the first row[\s\S]*XBTUSD[\s\S]*ETHUSD"):
        TardisFeed().read(path)


def test_trades_are_found_by_name_and_come_before_the_depth_of_the_same_time(tmp_path):
    path = write(tmp_path, *SNAPSHOT, (9, "false,ask,100.5,1"))
    trades = write(
        tmp_path, (9, "7,buy,100.5,3"), name=DEPTH_NAME.replace("incremental_book_L2", "trades"), header=TRADES_HEADER
    )
    day = TardisFeed().read(path)
    assert day.events.kind.tolist() == [Kind.EXECUTE] and day.report["trades_file"]
    elsewhere = trades.rename(tmp_path / "bitmex_trades_of_the_day.csv")
    assert TardisFeed().read(path).events.kind.tolist() == [Kind.EXECUTE]  # found by its content
    elsewhere.rename(tmp_path / "other.csv")
    alone = TardisFeed().read(path)
    assert alone.events.kind.tolist() == [Kind.CANCEL] and not alone.report["trades_file"]
    named = TardisFeed(trades=tmp_path / "other.csv").read(path)
    assert named.events.kind.tolist() == [Kind.EXECUTE]


@pytest.mark.parametrize("name", [DEPTH_NAME.replace("incremental_book_L2", "trades"), "eth.csv"])
@pytest.mark.parametrize("other", ["ftx,XBTUSD", "bitmex,ETHUSD"])
def test_trades_of_another_instrument_are_refused(tmp_path, name, other):
    path = write(tmp_path, *SNAPSHOT, (9, "false,ask,100.5,1"))
    trades = write(tmp_path, (9, "7,buy,100.5,3"), name=name, header=TRADES_HEADER)
    trades.write_text(trades.read_text().replace("bitmex,XBTUSD", other))
    for reading in (Reading(), Reading(on_error="skip")):
        with pytest.raises(InputError, match="another instrument"):
            TardisFeed(trades=trades).read(path, reading)


def test_updates_before_the_first_snapshot_are_left_out_and_counted(tmp_path):
    path = write(tmp_path, (-9, "false,bid,98,7"), (-5, "false,ask,99,1"), *SNAPSHOT, (9, "false,bid,99.5,1"))
    write(
        tmp_path,
        *((-7, "1,sell,98,1"), (-6, "2,buy,99,1")),
        name=DEPTH_NAME.replace("incremental_book_L2", "trades"),
        header=TRADES_HEADER,
    )
    day = TardisFeed().read(path)
    assert day.report["rows_dropped"] == {
        "rows before the first snapshot": 2, "trades before the first snapshot": 2
    }  # fmt: skip
    assert final_levels(day) == naive_book(path) and len(day.events) == 1


def test_a_snapshot_in_mid_stream_replaces_the_whole_book(tmp_path):
    path = write(tmp_path, *SNAPSHOT, (9, "false,bid,99.5,1"), (12, "true,ask,103,2"), (15, "false,bid,100,5"))
    day = TardisFeed().read(path)
    assert day.events.kind.tolist() == [Kind.ADD, Kind.CONTROL, Kind.ADD] and len(day.corrections) == 1
    assert final_levels(day) == naive_book(path) == {(ASK, 103): 2, (BID, 100): 5}  # as if 100 had never existed


def test_a_stream_of_snapshots_alone_is_read_by_its_differences(tmp_path):
    path = write(tmp_path, *SNAPSHOT, (9, "true,bid,100,5"), (9, "true,ask,101,2"), (20, "true,bid,100,4"),
                 (20, "true,ask,101,2"))  # fmt: skip
    day = TardisFeed().read(path)
    assert day.events.kind.tolist() == [Kind.DELETE, Kind.ADD, Kind.CANCEL] and len(day.corrections) == 0
    assert final_levels(day) == {(BID, 100): 4, (ASK, 101): 2}


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_a_snapshot_may_show_one_side_alone(tmp_path, side):
    path = write(tmp_path, (0, f"true,{side},100,5"), (9, f"false,{side},100,4"))
    day = TardisFeed().read(path)
    assert final_levels(day) == naive_book(path) and day.events.kind.tolist() == [Kind.CANCEL]
    assert_round_trip(day)


def test_a_snapshot_may_have_thousands_of_levels_over_several_blocks(tmp_path):
    levels = [(0, f"true,bid,{price},1") for price in range(1, 4001)]
    levels += [(0, f"true,ask,{price},2") for price in range(4001, 8001)]
    path = write(tmp_path, *levels, (9, "false,bid,1,0"), (9, "false,ask,8000,3"))
    day = TardisFeed().read(path, Reading(block_bytes=5000))
    assert len(day.start) == 8000 and day.report["snapshots"] == 1
    assert day.events.kind.tolist() == [Kind.DELETE, Kind.ADD] and final_levels(day) == naive_book(path)


def test_a_crossed_level_that_is_never_removed_is_counted_and_stays(tmp_path):
    path = write(tmp_path, *SNAPSHOT, (9, "false,bid,101,1"), (12, "false,bid,99,1"), (15, "false,bid,50,0"))
    day = TardisFeed().read(path)
    assert day.report["crossed_groups"] == 3 and day.report["zero_of_unknown_level"] == 1
    assert final_levels(day) == naive_book(path)


def test_other_schemas_are_refused_by_their_name(tmp_path):
    header = "exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,bids[0].price,bids[0].amount"
    path = write(tmp_path, (0, "1,2,3,4"), name="bitmex_book_snapshot_5_2024-01-02_XBTUSD.csv", header=header)
    with pytest.raises(InputError, match="book_snapshot_5"):
        TardisFeed().days(path)
    trades = write(tmp_path, (9, "7,buy,100.5,3"), name="x.csv", header=TRADES_HEADER)
    with pytest.raises(InputError, match="trades"):
        TardisFeed().days(trades)


def test_a_day_twice_is_refused_and_two_exchanges_are_two_days(tmp_path):
    first = write(tmp_path, *SNAPSHOT)
    (tmp_path / "other.csv").write_text(first.read_text().replace("bitmex,", "ftx,"))
    assert [day.symbol for day in TardisFeed().days(tmp_path)] == ["XBTUSD", "XBTUSD"]
    (tmp_path / "copy.csv").write_text(first.read_text())
    with pytest.raises(InputError, match="twice"):
        TardisFeed().days(tmp_path)


def test_damage_in_the_middle_keeps_what_came_before_unless_reading_is_strict(tmp_path):
    path = write(tmp_path, *SNAPSHOT, *((9 + i, f"false,bid,99,{i + 1}") for i in range(4000)))
    data = gzip.compress(path.read_bytes())
    path.unlink()
    packed = tmp_path / f"{DEPTH_NAME}.gz"
    packed.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="decompressed"):
        TardisFeed().read(packed)
    day = TardisFeed().read(packed, Reading(on_error="quarantine", quarantine=tmp_path / "bad", block_bytes=1000))
    assert 100 < len(day.events) < 4000
    assert "decompressed" in (tmp_path / "bad" / f"{DEPTH_NAME}.jsonl").read_text()


def naive_book(path):
    """Return the last levels of a file, in which equal prices have equal text."""
    levels, snapshot = {}, False
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for row in csv.DictReader(file):
            if row["is_snapshot"] == "true" and not snapshot:
                levels = {}
            snapshot = row["is_snapshot"] == "true"
            levels[row["side"], row["price"]] = row["amount"]
    sides = {"bid": BID, "ask": ASK}
    return {(sides[s], Fraction(p)): Fraction(amount) for (s, p), amount in levels.items() if float(amount)}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_a_real_day_is_never_crossed_and_ends_in_the_right_book(market_data, name):
    day = TardisFeed().read(market_data(name))
    assert_sound(day)
    counts = count_states(day)
    assert counts == {"crossed": 0, "locked": 0, "unknown_level": 0, "over_removal": 0}
    assert day.report["crossed_groups"] == day.report["locked_groups"] == 0
    assert final_levels(day) == naive_book(market_data(name))
    assert_round_trip(day)


def test_real_trades_are_explained_by_their_levels(market_data):
    day = TardisFeed().read(market_data(REAL[0]))
    executed = day.events.size[np.isin(day.events.kind, (Kind.EXECUTE, Kind.EXECUTE_HIDDEN))].sum()
    assert executed == day.report["lots_explained"] + day.report["lots_hidden"]
    assert day.report["lots_explained"] / executed > 0.88
    (source,) = TardisFeed().days(market_data(REAL[0]))
    assert source == DaySource(source.path, "BTCUSDT", "2024-08-08") == TardisFeed().days(source.path)[0]
