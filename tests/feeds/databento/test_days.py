"""Files of several days: where a day begins and ends, what is listed, and what is refused."""

import datetime

import numpy as np
import pytest
from backports import zstd

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.events.schema import Code, Kind
from lob_jax.feeds.databento.feed import DatabentoFeed
from lob_jax.feeds.feed import DaySource, Reading
from lob_jax.feeds.load import load_incremental_data
from tests.feeds.checks import assert_round_trip, assert_same_day, assert_sound
from tests.feeds.sample_databento import BAD_RECEIVE, DAY, LAST, SNAPSHOT, UNDEF_PRICE, metadata, record
from tests.feeds.sample_databento_csv import as_csv

FEED = DatabentoFeed()
HOUR = NS_PER_DAY // 24
NEXT = DAY + datetime.timedelta(days=1)


def session(day, number=7, *, begin=8, anew=True):
    """Return a Nasdaq session's records: a clear at its beginning, trading until half past midnight UTC."""
    at = day * NS_PER_DAY
    data = record("R", flags=BAD_RECEIVE, time=at + begin * HOUR, instrument=number) if anew else b""
    data += record("A", "A", f"10{day}", 10, 1, time=at + 9 * HOUR, instrument=number)
    data += record("A", "B", "99", 5, 2, time=at + 20 * HOUR, instrument=number)
    data += record("C", "A", f"10{day}", 4, 1, time=at + 24 * HOUR + 1, instrument=number)
    return data + record("M", "B", "98", 5, 2, time=at + 24 * HOUR + HOUR // 2, instrument=number)


def write(tmp_path, content, name="x.dbn"):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def content_of(day):
    """Return the content of a day, without the positions of its records in the file."""
    events = day.events.replace(sequence=np.arange(len(day.events)))
    return type(day)(day.instrument, day.start, events, day.corrections, {})


@pytest.mark.parametrize("block_bytes", [56, 1 << 20])
@pytest.mark.parametrize("days", [3, None])
def test_a_session_that_runs_past_midnight_is_one_day_and_the_next_clear_begins_another(tmp_path, days, block_bytes):
    path = write(tmp_path, metadata(days=days) + b"".join(session(k) for k in range(3)))
    listed = FEED.days(path)
    dates = [(DAY + datetime.timedelta(days=k)).isoformat() for k in range(3)]
    assert [(day.symbol, day.trading_day) for day in listed] == [("XY", date) for date in dates]
    whole = FEED.read_all(path, Reading(block_bytes=block_bytes))
    for k, (source, day) in enumerate(zip(listed, whole, strict=True)):
        alone = write(tmp_path, metadata(day=DAY + datetime.timedelta(days=k)) + session(k), "alone.dbn")
        assert_same_day(content_of(day), content_of(FEED.read(alone)))
        read = FEED.read(source, Reading(block_bytes=block_bytes))
        assert_same_day(read, day)
        assert read.report == day.report
        assert day.report["rows_dropped"] == {"records of another day": 10} and day.report["rows_kept"] == 5
        assert day.events.kind.tolist() == [Kind.ADD, Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.ADD]
        assert_sound(day)
        assert_round_trip(day)


def test_several_days_are_never_read_as_one(tmp_path):
    path = write(tmp_path, metadata(days=2) + session(0) + session(1))
    with pytest.raises(InputError, match="several days or symbols"):
        FEED.read(path)
    with pytest.raises(InputError, match="more than one day"):
        load_incremental_data(path)
    with pytest.raises(InputError, match="no such symbol and day") as error:
        FEED.read(DaySource(path, "XY", "2024-01-09"))
    assert error.value.expected == ["XY 2024-01-02", "XY 2024-01-03"]


def test_csv_of_several_days_is_cut_alike(tmp_path):
    data = metadata(days=2) + session(0) + session(1)
    csv, dbn = write(tmp_path, as_csv(data), "x.csv"), write(tmp_path, data)
    for one, other in zip(FEED.read_all(csv), FEED.read_all(dbn), strict=True):
        assert_same_day(one, other)
        assert one.report | {"inputs": {}} == other.report | {"inputs": {}}


def test_ids_that_change_from_day_to_day_are_one_symbol(tmp_path):
    path = write(tmp_path, metadata({"XY": [7, 8], "ZZ": [8, 7]}, days=2) + session(0) + session(1, 8) + session(1))
    assert [(day.symbol, day.trading_day) for day in FEED.days(path)] == [
        ("XY", "2024-01-02"),
        ("XY", "2024-01-03"),
        ("ZZ", "2024-01-03"),
    ]
    first, second, other = FEED.read_all(path, Reading(store=tmp_path / "store"))
    assert [day.instrument.symbol for day in (first, second, other)] == ["XY", "XY", "ZZ"]
    assert second.report["rows_dropped"] == {"records of another instrument": 5, "records of another day": 5}
    assert len(list((tmp_path / "store").iterdir())) == 3
    assert_same_day(content_of(FEED.read(FEED.days(path)[1])), content_of(second))


@pytest.mark.parametrize("symbols", [{"XY": [7, 7], "ZZ": [8, 7]}, {"XY": [7, 7], "ZZ": [7, 8]}])
def test_an_id_with_two_symbols_on_one_day_is_refused(tmp_path, symbols):
    with pytest.raises(InputError, match="one instrument"):
        FEED.days(write(tmp_path, metadata(symbols, days=2) + session(0)))


def test_an_id_that_no_symbol_is_named_for_on_its_day_is_refused(tmp_path):
    path = write(tmp_path, metadata({"XY": [7, 9], "ZZ": [8, 7]}, days=2) + session(0, 7) + session(3, 7))
    with pytest.raises(InputError, match="a day without a symbol"):
        FEED.days(path)


def test_snapshots_at_midnight_begin_days(tmp_path, market_data):
    """Two CME days in one request: each is the same as on its own."""
    paths = [market_data(f"databento/esh4-glbx-mdp3-{name}.mbo.dbn.zst") for name in ("20231224", "20231225")]
    contents = [zstd.decompress(path.read_bytes()) for path in paths]
    head = metadata({"ESH4": 17077}, day=datetime.date(2023, 12, 24), days=2)
    path = write(tmp_path, head + b"".join(data[8 + int.from_bytes(data[4:8], "little") :] for data in contents))
    assert [day.trading_day for day in FEED.days(path)] == ["2023-12-24", "2023-12-25"]
    for day, alone in zip(FEED.read_all(path), paths, strict=True):
        assert_same_day(content_of(day), content_of(FEED.read(alone)))
        assert day.report["snapshots"] == 0


def test_a_clear_in_mid_session_begins_no_day(tmp_path):
    middle = record("R", time=15 * HOUR) + record("A", "A", "100", 1, 1, time=15 * HOUR)
    data = session(0)[: 2 * 56] + middle
    for days in (1, 2):
        day = FEED.read(write(tmp_path, metadata(days=days) + data))
        assert day.events.code.tolist() == [0, Code.CLEAR, 0] and day.report["rows_kept"] == 4


def test_a_file_of_one_date_is_one_day_whatever_clears_its_book(tmp_path):
    late = record("R", "N", UNDEF_PRICE, 0, 0, flags=SNAPSHOT | BAD_RECEIVE, time=24 * HOUR)
    late += record("A", "A", "103", 2, 5, flags=SNAPSHOT | BAD_RECEIVE | LAST, time=24 * HOUR)
    path = write(tmp_path, metadata() + session(0)[:-112] + late)
    (day,) = FEED.days(path)
    read = FEED.read(day)
    assert day.trading_day == DAY.isoformat() and read.report["snapshots"] == 1 and read.events.code[-1] == Code.CLEAR


@pytest.mark.parametrize("days", [1, 2, None])
def test_a_book_that_does_not_begin_anew_is_refused_behind_24_hours(tmp_path, days):
    late = record("A", "A", "109", 1, 9, time=33 * HOUR) + record("A", "A", "109", 1, 10, time=34 * HOUR)
    path = write(tmp_path, metadata(days=days) + session(0) + late)
    (day,) = FEED.days(path)
    with pytest.raises(InputError, match="more than 24 hours after") as error:
        FEED.read(day)
    assert 'split_duration="day"' in error.value.remedy and "record 5, ts_recv" in error.value.where
    kept = FEED.read(day, Reading(on_error="skip"))
    assert kept.report["rows_dropped"] == {"a record more than 24 hours after the start of its day": 2}
    assert len(kept.events) == 5 and day.trading_day == DAY.isoformat()


def test_a_file_is_listed_anew_when_it_has_changed(tmp_path):
    path = write(tmp_path, metadata(days=2) + session(0))
    assert len(FEED.days(path)) == 1
    write(tmp_path, metadata(days=2) + session(0) + session(1))
    assert [day.trading_day for day in FEED.days(path)] == [DAY.isoformat(), NEXT.isoformat()]


def test_damage_does_not_keep_days_from_being_listed(tmp_path):
    path = write(tmp_path, metadata(days=2) + session(0) + session(1)[:-10])
    assert len(FEED.days(path)) == 2
    with pytest.raises(InputError, match="truncated"):
        FEED.read(FEED.days(path)[1])
    first, second = FEED.read_all(path, Reading(on_error="skip"))
    assert (first.report["rows_kept"], second.report["rows_kept"]) == (5, 4)
