import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import COLUMNS
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.feeds.table.converted import read_parquet
from lob_jax.writers.parquet import write_parquet
from tests.feeds.checks import SAMPLES, assert_round_trip, assert_same_day, sample_of


@pytest.fixture(scope="module")
def day():
    return SyntheticFeed(1, 500, 0).read("2024-01-02")


def assert_equal_days(again, day):
    assert_same_day(again, day)
    assert again.report == day.report
    for name, dtype in COLUMNS.items():
        assert getattr(again.events, name).dtype == dtype
    for part in ("start", "corrections"):
        for field in dataclasses.fields(getattr(day, part)):
            values = [getattr(getattr(one, part), field.name) for one in (again, day)]
            assert type(values[0]) is type(values[1]) or isinstance(values[1], np.ndarray)
            assert getattr(values[0], "dtype", None) == getattr(values[1], "dtype", None), field.name


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_day_comes_back(name, tmp_path):
    sample = sample_of(name)
    (tmp_path / "raw").mkdir()
    day = sample.FEED.read(sample.write(tmp_path / "raw"), Reading(store=tmp_path / "store"))
    again = read_parquet(write_parquet(tmp_path / "day", day))
    assert_equal_days(again, day)
    assert_round_trip(again)


def test_numbers_at_the_ends_of_their_columns_come_back(day, tmp_path):
    ends = {
        name: np.resize(np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype), len(day.events))
        for name, dtype in COLUMNS.items()
    }
    extreme = dataclasses.replace(day, events=day.events.replace(**ends))
    assert_equal_days(read_parquet(write_parquet(tmp_path / "day", extreme)), extreme)


def test_rows_are_written_and_read_in_groups(day, tmp_path, monkeypatch):
    monkeypatch.setattr("lob_jax.writers.parquet.ROW_GROUP", 70)
    rows = np.arange(100)
    corrections = Corrections(rows, np.ones(100, np.int8), rows * 100, rows)
    day = dataclasses.replace(day, corrections=corrections)
    folder = write_parquet(tmp_path / "day", day)
    assert parquet.ParquetFile(folder / "events.parquet").num_row_groups == -(-len(day.events) // 70)
    assert parquet.ParquetFile(folder / "corrections.parquet").num_row_groups == 2
    assert_equal_days(read_parquet(folder), day)
    mapped = read_parquet(folder, store=tmp_path / "store")
    assert isinstance(mapped.events.time_ns, np.memmap) and isinstance(mapped.corrections.price, np.memmap)
    assert_equal_days(mapped, day)


def test_a_day_of_nothing_comes_back(day, tmp_path):
    empty = dataclasses.replace(day, events=day.events[:0], start=BookSnapshot.empty(7, 3, True), report={})
    assert_equal_days(read_parquet(write_parquet(tmp_path / "day", empty)), empty)


def test_a_real_day_comes_back(market_data, tmp_path):
    day = LobsterFeed().read(market_data("lobster/GOOG_2012-06-21_34200000_57600000_message_1.csv.gz"))
    assert_equal_days(read_parquet(write_parquet(tmp_path / "day", day)), day)


def test_nothing_is_overwritten_and_nothing_half_written_stays(day, tmp_path):
    write_parquet(tmp_path / "day", day)
    with pytest.raises(InputError, match="already exists"):
        write_parquet(tmp_path / "day", day)
    with pytest.raises(TypeError):
        write_parquet(tmp_path / "other", dataclasses.replace(day, report={"a": object()}))
    assert [path.name for path in tmp_path.iterdir()] == ["day"]


@pytest.mark.parametrize("name", ["events", "start", "corrections"])
def test_damaged_and_missing_tables_are_refused(name, day, tmp_path):
    folder = write_parquet(tmp_path / "day", day)
    path = folder / f"{name}.parquet"
    good = path.read_bytes()
    for bad in (b"no", good[: len(good) // 2], good[:-1]):
        path.write_bytes(bad)
        with pytest.raises(InputError, match=rf"cannot be read(.|\n)*{name}\.parquet"):
            read_parquet(folder)
    path.unlink()
    with pytest.raises(InputError, match=rf"cannot be read(.|\n)*{name}\.parquet"):
        read_parquet(folder)


def test_tables_of_another_kind_are_refused(day, tmp_path):
    folder = write_parquet(tmp_path / "day", day)
    events = parquet.read_table(folder / "events.parquet")
    parquet.write_table(events.replace_schema_metadata(None), folder / "events.parquet")
    with pytest.raises(InputError, match="another kind"):
        read_parquet(folder)
    wrong = events.set_column(2, "sequence", pa.array(np.arange(len(events)), pa.int32()))
    for table in (wrong, events.drop_columns("flags")):
        parquet.write_table(table, folder / "events.parquet")
        with pytest.raises(InputError, match="cannot be read(.|\n)*columns"):
            read_parquet(folder)


def test_tables_of_two_days_in_one_folder_are_refused(day, tmp_path):
    folder = write_parquet(tmp_path / "day", day)
    other = write_parquet(tmp_path / "other", SyntheticFeed(1, 500, 1).read("2024-01-02"))
    (other / "start.parquet").replace(folder / "start.parquet")
    with pytest.raises(InputError, match=r"different days[\s\S]*start\.parquet"):
        read_parquet(folder)


@pytest.mark.parametrize(
    "meta", [b"{", b"[1]", b"\xff", b'{"format": 1}', b'{"format": 1, "instrument": {"symbol": 1}, "start": {}}']
)
def test_a_description_that_is_none_is_refused(meta, day, tmp_path):
    folder = write_parquet(tmp_path / "day", day)
    for name in ("events", "start", "corrections"):
        table = parquet.read_table(folder / f"{name}.parquet").replace_schema_metadata({b"lob_jax": meta})
        parquet.write_table(table, folder / f"{name}.parquet")
    with pytest.raises(InputError):
        read_parquet(folder)


def test_a_changed_byte_of_a_table_is_damage(day, tmp_path):
    folder = write_parquet(tmp_path / "day", day)
    path = folder / "events.parquet"
    good = path.read_bytes()
    end = len(good) - 8 - int.from_bytes(good[-8:-4], "little")  # end of the pages, which the footer follows
    again = 0
    for at in range(4, end, max(end // 60, 1)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        try:
            assert_equal_days(read_parquet(folder), day)
            again += 1
        except InputError:
            pass
    assert again < 10  # bytes that mean nothing
