"""A conformance suite that every feed must pass, on a small day written by its sample module."""

import datetime
import gzip
import hashlib
import importlib
import json
import pathlib
import pickle
import zipfile
import zlib
from fractions import Fraction

import numpy as np
import pytest
from backports import zstd

from lob_jax.book.replay import count_states, references
from lob_jax.config.validation import validate
from lob_jax.errors import InputError
from lob_jax.events.schema import ASK, COLUMNS, Flag, Kind
from lob_jax.feeds.feed import DaySource, Reading
from lob_jax.feeds.format import FEEDS
from lob_jax.feeds.load import detect_format, load_incremental_data
from lob_jax.feeds.reading.recognise import SNIFFED_BYTES, plain_header
from lob_jax.feeds.reading.source import DAMAGED
from lob_jax.feeds.synthetic import SyntheticFeed
from tests.feeds.checks import (
    SAMPLES,
    assert_round_trip,
    assert_same_day,
    assert_sound,
    final_levels,
    sample_of,
)

METHODS = ("days", "inputs", "read")


@pytest.fixture(params=SAMPLES)
def name(request):
    return request.param


@pytest.fixture
def feed(name):
    return sample_of(name).FEED


@pytest.fixture
def path(name, tmp_path):
    folder = tmp_path / "day"
    folder.mkdir()
    return sample_of(name).write(folder)


@pytest.mark.parametrize("name", FEEDS)
def test_every_feed_has_a_sample(name):
    assert pathlib.Path(__file__).with_name(f"sample_{name}.py").exists(), "a feed needs one: see docs/extending.md"


def test_the_feeds_that_there_are():
    assert {"lobster", "itch", "databento", "tardis", "binance", "table"} <= set(FEEDS)


def test_what_a_file_begins_with_tells_its_format_alone(path, name):
    begin = path.read_bytes()[:SNIFFED_BYTES]
    texts = (begin, plain_header(begin))
    assert [feed for feed, format in FEEDS.items() if any(format.begins.match(text) for text in texts)] == [name]
    by_name = [feed for feed, format in FEEDS.items() if format.named is not None and format.named(path)]
    assert by_name in ([], [name])


def test_its_feed_has_the_protocol_and_says_what_it_reads(name):
    format = FEEDS[name]
    assert type(sample_of(name).FEED) is format.feed and all(hasattr(format.feed, method) for method in METHODS)
    for told in (format.reads, format.gives):
        assert told and not told.endswith(".")


def test_a_configuration_may_name_it(name, path):
    config = importlib.import_module("lob_jax.configs.tiny").get_config()
    config.data.feed, config.data.path = name, str(path)
    validate(config)
    config.data.feed = f"{name}x"
    with pytest.raises(InputError, match=f"did you mean {name}"):
        validate(config)


def test_a_day_is_listed_by_its_file_and_by_its_folder(feed, path):
    (day,) = feed.days(path)
    assert isinstance(day, DaySource) and day.symbol and day.path == path
    assert datetime.date.fromisoformat(day.trading_day)
    assert feed.days(path.parent) == [day]
    assert pickle.loads(pickle.dumps((feed, day))) == (feed, day)


def test_the_day_read_is_the_day_listed(feed, path):
    (source,) = feed.days(path)
    day = feed.read(source)
    assert_same_day(day, feed.read(path))
    assert (day.instrument.symbol, day.instrument.trading_day) == (source.symbol, source.trading_day)
    assert_sound(day)
    assert 15 <= len(day.events) <= 200


def test_the_report_is_plain_and_names_its_inputs(feed, path, name):
    report = feed.read(path).report
    assert json.loads(json.dumps(report)) == report
    assert report["feed"] == name and report["rows_dropped"].keys() <= set(report["rows_dropped"])
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.parent.iterdir()}
    assert report["inputs"] == hashes
    inputs = feed.inputs(feed.days(path))
    assert json.loads(json.dumps(inputs)) == inputs
    path.write_bytes(path.read_bytes() + b"\n")
    assert feed.inputs([DaySource(path, "", "")]) != inputs


def test_a_buyer_initiated_trade_takes_from_the_ask(feed, path):
    """Depending on the format, the resting side, the aggressor or the maker is given: the events must agree."""
    day = feed.read(path)
    (row,) = np.flatnonzero(day.events.kind == Kind.EXECUTE)
    assert day.events.side[row] == ASK
    assert Fraction(int(day.events.price[row]), day.instrument.price_scale) == Fraction(10002, 100)
    assert Fraction(int(day.events.size[row]), day.instrument.lot_scale) == 3
    assert day.events.flags[row] & Flag.AGGRESSOR_KNOWN
    assert references(day)[row, 1] == day.events.price[row]


def test_the_book_ends_where_a_naive_reading_ends(feed, path, name):
    day = feed.read(path)
    expected = sample_of(name).final_book(path)
    assert expected and final_levels(day) == expected
    counts = count_states(day)
    assert counts["crossed"] == counts["locked"] == counts["unknown_level"] == counts["over_removal"] == 0


def test_tokens_give_the_day_back(feed, path):
    assert_round_trip(feed.read(path))


def test_groups_end(feed, path):
    events = feed.read(path).events
    assert events.flags[-1] & Flag.LAST_IN_GROUP


@pytest.mark.parametrize("block_bytes", [64, 97, 1000])
def test_blocks_of_any_length_give_the_same_day(feed, path, block_bytes):
    assert_same_day(feed.read(path, Reading(block_bytes=block_bytes)), feed.read(path))


def test_a_day_on_disk_is_the_day_in_memory(feed, path, tmp_path):
    stored = feed.read(path, Reading(store=tmp_path / "store", block_bytes=200))
    assert isinstance(stored.events.price, np.memmap)
    assert_same_day(stored, feed.read(path))
    assert_round_trip(stored)


def compress(folder, suffix):
    """Replace every file in a folder by a compressed one."""
    for file in list(folder.iterdir()):
        data, target = file.read_bytes(), file.with_name(file.name + suffix)
        if suffix == ".zip":
            with zipfile.ZipFile(target, "w") as archive:
                archive.writestr(file.name, data)
        else:
            target.write_bytes({".gz": gzip.compress, ".zst": zstd.compress}[suffix](data))
        file.unlink()


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".zip"])
def test_compressed_files_give_the_same_day(feed, path, suffix):
    plain = feed.read(path)
    compress(path.parent, suffix)
    (listed,) = feed.days(path.parent)
    assert_same_day(feed.read(listed), plain)
    assert detect_format(listed.path) == plain.report["feed"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_damaged_compression_is_an_error_or_a_count(feed, path, suffix):
    compress(path.parent, suffix)
    for file in path.parent.iterdir():
        file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputError, match="decompressed"):
        for day in feed.days(path.parent):
            feed.read(day)


def cut_short(path, suffix):
    """Compress a file and truncate it at 95 %; return its path, and what a slow decompressor recovers."""
    data = path.read_bytes()
    if suffix == ".gz":
        packed, new = gzip.compress(data), lambda: zlib.decompressobj(31)
    else:  # a frame is decompressed completely or not at all
        step = len(data) // 40
        packed = b"".join(zstd.compress(data[at : at + step]) for at in range(0, len(data), step))
        new = zstd.ZstdDecompressor
    cut, target = packed[: len(packed) * 95 // 100], path.with_name(path.name + suffix)
    target.write_bytes(cut)
    path.unlink()
    kept, decompressor = bytearray(), new()
    for byte in cut:
        decompressor = new() if decompressor.eof else decompressor
        kept += decompressor.decompress(bytes([byte]))
    assert 0.8 * len(data) < len(kept) < len(data)
    return target, bytes(kept)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_of_a_file_cut_short_every_whole_row_is_kept(feed, path, name, suffix, tmp_path):
    (listed,) = feed.days(path)
    damaged, kept = cut_short(path, suffix)
    if not getattr(sample_of(name), "BINARY", False):  # of those a cut message is told from a whole one
        kept = kept[: kept.rindex(b"\n") + 1]
    (tmp_path / "plain").mkdir()
    for other in damaged.parent.iterdir():
        if other != damaged:
            (tmp_path / "plain" / other.name).write_bytes(other.read_bytes())
    plain = tmp_path / "plain" / path.name
    plain.write_bytes(kept)
    expected = feed.read(plain, Reading(on_error="skip"))
    (day,) = feed.days(damaged)
    assert (day.symbol, day.trading_day) == (listed.symbol, listed.trading_day)
    assert detect_format(damaged) == name
    for block_bytes in (300, 1 << 20):
        read = feed.read(day, Reading(on_error="skip", block_bytes=block_bytes))
        assert_same_day(read, expected)
        assert_sound(read)
        assert read.report["rows_dropped"][DAMAGED] == 1
        assert read.report["rows_kept"] == expected.report["rows_kept"]
    kept_apart = feed.read(day, Reading(on_error="quarantine", quarantine=tmp_path / "bad"))
    assert any(DAMAGED in pathlib.Path(file).read_text() for file in kept_apart.report["quarantine"])
    with pytest.raises(InputError, match="decompressed"):
        feed.read(day)


def not_compressed(file):
    file.rename(file.with_name(file.name + ".gz"))


def emptied(file):
    file.write_bytes(b"")


def two_in_a_zip(file):
    with zipfile.ZipFile(file.with_name(f"{file.name}.zip"), "w") as archive:
        archive.writestr("one.csv", file.read_bytes())
        archive.writestr("other.csv", file.read_bytes())
    file.unlink()


def damaged_at_once(file):
    packed = gzip.compress(file.read_bytes())
    file.with_name(f"{file.name}.gz").write_bytes(packed[:10] + b"\xff" * 99)
    file.unlink()


def damaged_within_the_first_row(file):
    packed = gzip.compress(file.read_bytes(), 0)
    file.with_name(f"{file.name}.gz").write_bytes(packed[: 10 + 5 + 12])  # 12 bytes of a stored block
    file.unlink()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (damaged_within_the_first_row, "cannot be read or decompressed"),
        (not_compressed, "a .gz file that is not compressed"),
        (emptied, "an empty file"),
        (two_in_a_zip, "a zip must contain"),
        (damaged_at_once, "cannot be read or decompressed"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_as_what_it_is_at_every_door(feed, path, name, change, told):
    for file in list(path.parent.iterdir()):
        change(file)
    (changed,) = (file for file in path.parent.iterdir() if path.name in file.name)
    doors = [lambda: load_incremental_data(changed), lambda: [feed.read(day) for day in feed.days(changed)]]
    doors += [lambda: feed.read(changed), lambda: [feed.read(day) for day in feed.days(path.parent)]]
    if name == "lobster":  # its files are recognised by their names, also inside a zip
        told = f"{told}|no LOBSTER message file in the folder"
    for door in doors:
        with pytest.raises(InputError, match=told):
            door()


def test_a_day_whose_book_is_unknown_does_not_vanish_in_strict_mode(feed, path, name):
    sample = sample_of(name)
    if not hasattr(sample, "without_opening"):
        pytest.skip("every row of this format tells the book")
    data = sample.without_opening(path.read_bytes())
    assert 0 < len(data) < len(path.read_bytes())
    path.write_bytes(data)
    with pytest.raises(InputError) as refused:
        [feed.read(day) for day in feed.days(path)]
    assert refused.value.remedy
    try:
        (day,) = (feed.read(day, Reading(on_error="skip")) for day in feed.days(path))
    except InputError as error:
        assert "snapshot" in error.what
    else:
        assert_sound(day)
        assert sum(day.report["rows_dropped"].values()) > 0


def test_progress_is_told(feed, path):
    seen = []
    feed.read(path, Reading(on_bytes=lambda done, size: seen.append((done, size)), block_bytes=256))
    assert len(seen) > 1 and all(0 < done <= size for done, size in seen)


def test_other_formats_are_refused(feed, name, tmp_path):
    for other in SAMPLES:
        if other != name:
            folder = tmp_path / other
            folder.mkdir()
            foreign = sample_of(other).write(folder)
            with pytest.raises(InputError):
                [feed.read(day) for day in feed.days(foreign)]


@pytest.mark.parametrize("content", [b"", b"\n", b"hello\n", bytes(range(256)) * 4])
def test_what_is_no_data_is_refused(feed, path, content):
    for file in path.parent.iterdir():
        file.write_bytes(content)
    with pytest.raises(InputError):
        [feed.read(day) for day in feed.days(path)]


def test_a_path_without_anything_is_refused(feed, tmp_path):
    for nothing in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError):
            feed.days(nothing)


def test_the_format_is_told_by_the_files(feed, path, name):
    assert detect_format(path) == detect_format(path.parent) == name
    settings = {"trading_day": feed.trading_day} if name == "itch" else {}
    assert_sound(load_incremental_data(path, **settings))


def test_the_synthetic_feed_conforms(tmp_path):
    feed = SyntheticFeed(2, 500, 3)
    source, other = feed.days()
    day = feed.read(source)
    assert_sound(day)
    assert_round_trip(day)
    assert (day.instrument.symbol, day.instrument.trading_day) == (source.symbol, source.trading_day)
    assert_same_day(day, feed.read(source, Reading(store=tmp_path)))
    assert feed.inputs([source]) != feed.inputs([other])
    assert pickle.loads(pickle.dumps(feed)).read(source).report == day.report


def test_a_format_that_no_feed_reads_is_named_by_its_content(tmp_path):
    (tmp_path / "orders.csv").write_text("id,timestamp,exchange.timestamp,price\n1,2,3,4\n")
    with pytest.raises(InputError, match=r"no feed reads[\s\S]*exchange\.timestamp"):
        load_incremental_data(tmp_path / "orders.csv")


def test_a_path_with_two_days_asks_for_one(tmp_path):
    sample = sample_of("lobster")
    path = sample.write(tmp_path)
    for file in list(tmp_path.iterdir()):
        file.with_name(file.name.replace(path.name.split("_")[0], "OTHER")).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="more than one day"):
        load_incremental_data(tmp_path)
    assert load_incremental_data(tmp_path, symbol="OTHER").instrument.symbol == "OTHER"
    with pytest.raises(InputError, match="no such day"):
        load_incremental_data(tmp_path, symbol="THIRD")
    assert set(COLUMNS) == set(vars(sample.FEED.read(path).events))
