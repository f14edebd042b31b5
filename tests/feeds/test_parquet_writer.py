import dataclasses

import pytest
from pyarrow import parquet

from lob_jax.errors import InputError
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.parquet_writer import read_parquet, write_parquet
from lob_jax.feeds.synthetic import SyntheticFeed
from tests.feeds.checks import SAMPLES, assert_round_trip, assert_same_day, sample_of


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_day_comes_back(name, tmp_path):
    sample = sample_of(name)
    (tmp_path / "raw").mkdir()
    day = sample.FEED.read(sample.write(tmp_path / "raw"), Reading(store=tmp_path / "store"))
    again = read_parquet(write_parquet(tmp_path / "day", day))
    assert_same_day(again, day)
    assert again.report == day.report and again.start.pooled == day.start.pooled
    assert_round_trip(again)


def test_rows_are_written_in_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("lob_jax.feeds.parquet_writer.ROW_GROUP", 300)
    day = SyntheticFeed(1, 1000, 0).read("2024-01-02")
    folder = write_parquet(tmp_path / "day", day)
    assert parquet.ParquetFile(folder / "events.parquet").num_row_groups == -(-len(day.events) // 300)
    assert_same_day(read_parquet(folder), day)


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path):
    day = SyntheticFeed(1, 100, 0).read("2024-01-02")
    write_parquet(tmp_path / "day", day)
    with pytest.raises(InputError, match="there already"):
        write_parquet(tmp_path / "day", day)
    with pytest.raises(TypeError):
        write_parquet(tmp_path / "other", dataclasses.replace(day, report={"a": object()}))
    assert not (tmp_path / "other").exists()


def test_other_files_are_refused(tmp_path):
    day = SyntheticFeed(1, 100, 0).read("2024-01-02")
    folder = write_parquet(tmp_path / "day", day)
    parquet.write_table(parquet.read_table(folder / "start.parquet"), folder / "events.parquet")
    with pytest.raises(InputError, match="another kind"):
        read_parquet(folder)
    (folder / "events.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match="cannot be read"):
        read_parquet(folder)
