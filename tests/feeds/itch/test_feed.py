import datetime
import gzip
import re

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.events.schema import COLUMNS, Flag, Kind
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.itch.feed import ItchFeed
from tests.feeds.sample_itch import DAY_NS, FEED, add, directory, message, write

T = 34_200 * 10**9
OTHER = b"OTHER   "
STOCKS = {7: b"TEST    ", 8: OTHER}


def two_stocks(folder):
    """Write a file of two stocks with alternating messages and common session events."""
    parts = [directory(), directory(stock=OTHER, locate=8)]
    for k in range(30):
        locate = 7 + k % 2
        parts.append(add(T + k, k + 1, b"B", 10, 10_000 + k * 50 * (locate == 8), stock=STOCKS[locate], locate=locate))
        if k == 9:
            parts.append(message("S", T + k, b"Q", locate=0))
        if k > 10:
            parts.append(message("D", T + k, (k - 9, 8), locate=7 + (k - 10) % 2))
    path = folder / "S013019-v50.txt"
    path.write_bytes(b"".join(parts))
    return path


def assert_same(first, second):
    assert first.instrument == second.instrument and first.report == second.report
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(first.events, name), getattr(second.events, name), err_msg=name)


@pytest.mark.slow
def test_two_stocks_of_one_file_are_two_days(tmp_path):
    days = ItchFeed().days(two_stocks(tmp_path))
    assert [(day.symbol, day.trading_day) for day in days] == [("OTHER", "2019-01-30"), ("TEST", "2019-01-30")]
    other, test = (ItchFeed().read(day) for day in days)
    assert set(test.events.order_id[test.events.order_id > 0] % 2) == {1}
    assert set(other.events.order_id[other.events.order_id > 0] % 2) == {0}
    for day in (other, test):
        assert np.count_nonzero(day.events.kind == Kind.CONTROL) == 1 and len(day.events) > 20
        assert day.report["rows_kept"] == len(day.events)
        assert day.report["rows_read"] == day.report["rows_kept"] + sum(day.report["rows_dropped"].values())
    # 30 orders, 19 removals and 1 session event: all others belong to the other stock
    assert len(test.events) + len(other.events) == 30 + 19 + 2
    assert other.report["rows_dropped"]["of other stocks"] == len(test.events) - 1


@pytest.mark.slow
def test_all_stocks_in_one_pass_are_those_read_one_by_one(tmp_path):
    path = two_stocks(tmp_path)
    one_by_one = [ItchFeed().read(day) for day in ItchFeed().days(path)]
    stored = Reading(store=tmp_path / "store", block_bytes=100)
    for reading in (Reading(), stored):
        for got, expected in zip(ItchFeed().read_all(path, reading), one_by_one, strict=True):
            assert_same(got, expected)
    assert isinstance(ItchFeed().read_all(path, stored)[0].events.price, np.memmap)
    (only,) = ItchFeed(("TEST",)).read_all(path)
    assert_same(only, one_by_one[1])


def test_wanted_stocks_alone_are_listed(tmp_path):
    path = two_stocks(tmp_path)
    assert [day.symbol for day in ItchFeed(("OTHER",)).days(path)] == ["OTHER"]
    for feed in (ItchFeed(("OTHER", "NONE")),):
        with pytest.raises(InputError, match="not in the file"):
            feed.days(path)
        with pytest.raises(InputError, match="not in the file"):
            feed.read_all(path)


def test_a_path_with_two_stocks_does_not_say_which_to_read(tmp_path):
    with pytest.raises(InputError, match="several stocks"):
        ItchFeed().read(two_stocks(tmp_path))


def test_the_tick_of_a_stock_fits_its_prices(tmp_path):
    days = {day.instrument.symbol: day for day in ItchFeed().read_all(two_stocks(tmp_path))}
    assert {symbol: day.instrument.tick for symbol, day in days.items()} == {"TEST": 100, "OTHER": 50}
    path = tmp_path / "2019-01-31.itch"
    path.write_bytes(directory() + add(T, 1, b"B", 5, 9_999) + add(T, 2, b"B", 5, 1_000_000))
    assert ItchFeed().read(path).instrument.tick == 1
    path.write_bytes(
        directory() + add(T, 1, b"B", 5, 1_000_000) + message("U", T, (1, 8), (2, 8), (5, 4), (999_950, 4))
    )
    assert ItchFeed().read(path).instrument.tick == 50
    path.write_bytes(directory())
    assert ItchFeed().read(path).instrument.tick == 100


@pytest.mark.parametrize(
    "name,expected",
    [
        ("01302019.NASDAQ_ITCH50", "2019-01-30"),
        ("S081321-v50.txt", "2021-08-13"),
        ("itch-2020-02-29.bin", "2020-02-29"),
        ("20190130.BX_ITCH_50", "2019-01-30"),
    ],
)
def test_the_trading_day_is_in_the_file_name(tmp_path, name, expected):
    path = write(tmp_path).rename(tmp_path / name)
    day = ItchFeed().read(path)
    assert day.instrument.trading_day == expected
    midnight = day.events.time_ns[0] - 3
    assert datetime.datetime.fromtimestamp(midnight / 1e9, datetime.UTC).hour == (4 if "-08-" in expected else 5)


@pytest.mark.parametrize("name", ["day.itch", "13322019.NASDAQ_ITCH50", "2019-02-30.itch"])
def test_a_file_without_a_date_needs_the_setting(tmp_path, name):
    path = write(tmp_path).rename(tmp_path / name)
    with pytest.raises(InputError, match="trading.day"):
        ItchFeed().days(path)
    assert FEED.days(path)[0].trading_day == "2019-01-30"


@pytest.mark.parametrize("settings", [{"tick": 0}, {"trading_day": "30.1.2019"}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(InputError):
        ItchFeed(**settings)


def test_a_day_that_lies_there_twice_is_refused(tmp_path):
    path = write(tmp_path)
    (tmp_path / "2019-01-30.itch").write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="twice"):
        ItchFeed().days(tmp_path)


@pytest.mark.parametrize("block_bytes", [1, 13, 100])
def test_small_blocks_are_as_good_as_one(tmp_path, block_bytes):
    path = write(tmp_path)
    assert_same(FEED.read(path, Reading(block_bytes=block_bytes)), FEED.read(path))


@pytest.mark.parametrize("rows,block_bytes", [(2, 1 << 20), (3, 1), (7, 100)])
def test_small_buffers_are_as_good_as_large_ones(tmp_path, monkeypatch, rows, block_bytes):
    path = tmp_path / "2019-01-30.itch"
    sessions = b"".join(message("S", T - 9 + k, b"QM"[k % 2 :][:1], locate=0) for k in range(9))
    orders = [
        add(T + k, k + 1, b"B", 10, 10_000) + message("U", T + k, (k + 1, 8), (k + 99, 8), (3, 4), (100, 4))
        for k in range(9)
    ]
    path.write_bytes(sessions + directory() + b"".join(orders) + sessions)
    whole = ItchFeed().read(path)
    assert len(whole.events) == 9 + 27 + 9
    monkeypatch.setattr("lob_jax.feeds.itch.scan._ROWS_AT_ONCE", rows)
    monkeypatch.setattr("lob_jax.feeds.itch.scan._BYTES_AN_EVENT", 1 << 20)
    for store in (None, tmp_path / "store"):
        assert_same(ItchFeed().read(path, Reading(block_bytes=block_bytes, store=store)), whole)


def test_time_that_runs_backwards_is_flagged(tmp_path):
    path = tmp_path / "2019-01-30.itch"
    path.write_bytes(directory() + b"".join(add(T + t, k + 1, b"B", 1, 100) for k, t in enumerate((5, 3, 3, 4, 2))))
    day = ItchFeed().read(path)
    assert (day.events.flags & Flag.BAD_TIME > 0).tolist() == [False, True, False, False, True]
    assert day.report["time_reversals"] == 2


def test_a_message_cut_off_by_the_end_is_refused_or_counted(tmp_path):
    path = write(tmp_path)
    whole = FEED.read(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="cut off"):
        FEED.read(path)
    report = FEED.read(path, Reading("skip")).report
    assert report["rows_dropped"]["a message cut off by the end of the file"] == 1
    assert (report["rows_read"], report["lost_bytes"]) == (whole.report["rows_read"], 11)


def test_a_message_of_no_length_marks_the_end(tmp_path):
    path = write(tmp_path)
    whole, data = FEED.read(path), path.read_bytes()
    path.write_bytes(data + b"\0\0")
    assert len(FEED.read(path).events) == len(whole.events)
    path.write_bytes(data + b"\0\0" + data)
    for block_bytes in (len(data) + 2, 1 << 20):
        with pytest.raises(InputError, match="marks the end"):
            FEED.read(path, Reading(block_bytes=block_bytes))
        report = FEED.read(path, Reading("skip", block_bytes=block_bytes)).report
        assert report["lost_bytes"] == len(data) and report["rows_read"] == whole.report["rows_read"] + 1


def test_a_broken_chain_of_lengths_loses_the_rest(tmp_path):
    path = write(tmp_path)
    whole, data = FEED.read(path), bytearray(path.read_bytes())
    at = data.index(b"\x00\x24A", 300)
    data[at + 1] -= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=re.escape(f"byte {at}, message")):
        FEED.read(path)
    day = FEED.read(path, Reading("skip"))
    assert day.report["rows_dropped"]["a message whose length is not that of its type"] == 1
    assert 0 < len(day.events) < len(whole.events)
    np.testing.assert_array_equal(day.events.order_id, whole.events.order_id[: len(day.events)])


def test_a_stock_that_a_damage_hides_is_no_stock_that_is_missing(tmp_path):
    names = [f"A{number:06d}" for number in range(900)]
    data = b"".join(directory(stock=f"{name} ".encode(), locate=code) for code, name in enumerate(names, 1))
    path = tmp_path / "S013019-v50.gz"
    path.write_bytes(gzip.compress(data)[:2000])
    assert ItchFeed(symbols=(names[0],)).days(path)[0].symbol == names[0]
    with pytest.raises(InputError, match="decompressed"):
        ItchFeed(symbols=(names[-1],)).days(path)
    path.write_bytes(gzip.compress(data))
    with pytest.raises(InputError, match="not in the file"):
        ItchFeed(symbols=("B",)).days(path)


def test_a_file_without_a_directory_is_refused(tmp_path):
    path = tmp_path / "2019-01-30.itch"
    path.write_bytes(message("S", 0, b"O", locate=0))
    with pytest.raises(InputError, match="without a stock directory"):
        ItchFeed().days(path)


def test_the_last_nanosecond_of_the_day_is_a_time(tmp_path):
    path = tmp_path / "2019-01-30.itch"
    path.write_bytes(directory() + add(DAY_NS - 1, 1, b"B", 1, 100))
    assert len(ItchFeed().read(path).events) == 1


@pytest.mark.parametrize("marks", [b"\0\0", b"\0\0\0\0", bytes(100), bytes(7)])
@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_the_end_may_be_marked_more_than_once(marks, block_bytes, tmp_path):
    path = write(tmp_path)
    whole = FEED.read(path)
    path.write_bytes(path.read_bytes() + marks)
    day = FEED.read(path, Reading(block_bytes=block_bytes))
    assert len(day.events) == len(whole.events) and day.report["rows_read"] == whole.report["rows_read"]
