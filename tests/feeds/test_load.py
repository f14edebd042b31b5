"""The entry point for all feeds: which feed reads which data, and settings as a user writes them."""

import decimal
import importlib

import polars as pl
import pytest

from lob_jax.errors import InputError
from lob_jax.feeds.format import FEEDS
from lob_jax.feeds.itch.feed import ItchFeed
from lob_jax.feeds.load import detect_format, load_incremental_data, make_feed, settings_of
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.runs.records import find_days
from lob_jax.writers.parquet import write_parquet
from tests.feeds.checks import SAMPLES, assert_same_day, assert_sound, sample_of

QUANTA = ("lobster", "itch")
EXTRA = {"itch": {"trading_day": "2019-01-30"}}


def has_tick(name):
    return "tick" in settings_of(name)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("auto", [False, True])
def test_every_feed_takes_a_tick_as_text(name, auto, tmp_path):
    path = sample_of(name).write(tmp_path)
    settings = {**EXTRA.get(name, {}), **({"tick": "0.01"} if has_tick(name) else {})}
    day = load_incremental_data(str(path), feed="auto" if auto else name, **settings)
    assert_sound(day)
    assert day.report["feed"] == name and day.instrument.tick * 100 == day.instrument.price_scale


@pytest.mark.parametrize("step", ["0.01", decimal.Decimal("0.01"), 0.01])
def test_a_tick_is_what_its_text_says(step):
    assert make_feed("itch", tick=step) == ItchFeed(tick=100)
    assert make_feed("tardis", tick=step).tick == "0.01"


@pytest.mark.parametrize("name", QUANTA)
@pytest.mark.parametrize("step", ["0.00001", "0", "-0.01", "a cent", "nan"])
def test_a_tick_that_a_feed_cannot_have_is_refused(name, step):
    with pytest.raises(InputError, match="step"):
        make_feed(name, tick=step)


def test_a_day_is_simulated_where_there_is_no_path():
    day = load_incremental_data(feed="synthetic", events=300, seed=3)
    assert_same_day(day, SyntheticFeed(1, 300, 3).read("2024-01-02"))
    assert_same_day(
        load_incremental_data(events=300, seed=3, symbol="AB"),
        SyntheticFeed(1, 300, 3, symbols=("AB",)).read("2024-01-02"),
    )


@pytest.mark.parametrize(
    "path,feed,expected",
    [("", "synthetic", "auto or lobster"), (None, "itch", "auto or synthetic"), (None, "itchy", "synthetic")],
)
def test_a_feed_that_does_not_fit_to_the_path_is_refused(path, feed, expected, tmp_path):
    path = path if path is None else sample_of("itch").write(tmp_path)
    with pytest.raises(InputError, match=expected):
        load_incremental_data(path, feed=feed)


@pytest.mark.parametrize("thing", [pl.DataFrame({"kind": ["ADD"]}).lazy(), [1, 2], 3])
def test_what_is_neither_a_path_nor_a_table_is_refused(thing):
    with pytest.raises(InputError, match="neither a path nor a table"):
        load_incremental_data(thing)


def test_a_feed_that_does_not_exist_is_refused_with_the_one_that_was_meant(tmp_path):
    path = sample_of("lobster").write(tmp_path)
    with pytest.raises(InputError, match=r"no such feed[\s\S]*did you mean lobster"):
        load_incremental_data(path, feed="lobstr")
    with pytest.raises(InputError, match="no such feed"):
        make_feed("nothing like it")


@pytest.mark.parametrize("name", [*FEEDS, "synthetic"])
def test_a_setting_that_a_feed_does_not_have_is_refused(name):
    told = "".join(settings_of(name)[:1])  # a feed may have none
    with pytest.raises(InputError, match=rf"setting that the {name} feed does not have[\s\S]*{told}"):
        make_feed(name, lots="0.001", nothing=3)


def test_a_setting_with_a_slip_is_told_what_was_meant():
    with pytest.raises(InputError, match="did you mean trading_day"):
        make_feed("itch", trading_days="2019-01-30")


def test_a_folder_of_several_formats_says_which_file_has_which(tmp_path):
    for name in ("itch", "tardis"):
        sample_of(name).write(tmp_path)
    with pytest.raises(
        InputError, match=r"several formats[\s\S]*itch: 01302019[\s\S]*tardis: binance_[\s\S]*feed=itch or tardis"
    ):
        detect_format(tmp_path)
    with pytest.raises(InputError, match="several formats"):
        load_incremental_data(tmp_path)


def test_a_header_of_tardis_is_that_feeds_whatever_else_it_names(tmp_path):
    path = tmp_path / "day.csv"
    path.write_text("exchange,symbol,timestamp,local_timestamp,kind,side,price,size,time_ns\n")
    assert detect_format(path) == "tardis"


def test_a_file_that_two_feeds_take_for_theirs_is_told_so(tmp_path):
    path = tmp_path / "day.csv"
    path.write_text("ts_event,rtype,publisher_id,kind,side,price,size,time_ns\n")
    with pytest.raises(InputError, match=r"several feeds[\s\S]*databento and table[\s\S]*feed=databento"):
        detect_format(path)


def test_a_folder_with_a_format_that_nobody_reads_says_so(tmp_path):
    sample_of("itch").write(tmp_path)
    (tmp_path / "feed.pcap").write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(20))
    with pytest.raises(InputError, match=r"several formats[\s\S]*pcap capture of packets: feed\.pcap"):
        detect_format(tmp_path)


def test_what_belongs_beside_the_files_of_a_feed_does_not_stop_it(tmp_path):
    sample_of("tardis").write(tmp_path)
    (tmp_path / "quotes.csv").write_text("exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price\n")
    (tmp_path / "README.txt").write_text("where it comes from\n")
    (tmp_path / "day.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    (tmp_path / ".hidden.pcap").write_bytes(b"\xd4\xc3\xb2\xa1")
    assert detect_format(tmp_path) == "tardis"


@pytest.mark.parametrize("name", SAMPLES)
def test_our_own_parquet_comes_back_as_the_same_day(name, tmp_path):
    (tmp_path / "raw").mkdir()
    day = sample_of(name).FEED.read(sample_of(name).write(tmp_path / "raw"))
    folder = write_parquet(tmp_path / "converted" / "day", day)
    for path in (folder, folder / "events.parquet", folder / "start.parquet", tmp_path / "converted"):
        again = load_incremental_data(path)
        assert_same_day(again, day)
        assert again.report == day.report
    assert detect_format(tmp_path / "converted") == "table"


def test_a_simulated_day_comes_back_from_parquet(tmp_path):
    day = SyntheticFeed(1, 400, 0).read("2024-01-02")
    assert_same_day(load_incremental_data(write_parquet(tmp_path / "day", day)), day)


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = sample_of("itch").write(tmp_path)
    assert_sound(load_incremental_data(f"~/{path.name}", trading_day="2019-01-30"))


def test_a_table_with_other_names_is_told_how_to_be_read(tmp_path):
    path = tmp_path / "day.csv"
    path.write_text("ts,type,side,px,qty\n1,ADD,bid,2,3\n")
    with pytest.raises(InputError, match=r"no feed reads[\s\S]*feed=table"):
        load_incremental_data(path)


def test_a_configuration_says_what_the_columns_of_a_table_are_called(tmp_path):
    path = sample_of("table").write(tmp_path)
    path.write_text(path.read_text().replace("time_ns", "ts", 1).replace("price", "px", 1))
    data = {"feed": "table", "path": str(path), "columns": "time_ns=ts,price=px", "time_zone": "Asia/Tokyo"}
    config = importlib.import_module("lob_jax.configs.base").get_config()
    config.update_from_flattened_dict({f"data.{key}": value for key, value in data.items()})
    feed, (day,) = find_days(config)
    assert_sound(feed.read(day))
    assert feed.read(day).instrument.time_zone == "Asia/Tokyo"
    config.data.feed = "itch"
    with pytest.raises(InputError, match=r"setting that the itch feed does not have[\s\S]*config\.data\.columns"):
        find_days(config)
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match="HDF5"):
        find_days(config)
