"""Databento's CSV: the same day as from DBN, in every encoding; other schemas, and files that are not valid."""

import gzip
import itertools
import zipfile

import numpy as np
import pytest
from backports import zstd

from lob_jax.errors import InputError
from lob_jax.feeds.databento.feed import DatabentoFeed
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.load import detect_format, load_incremental_data
from lob_jax.feeds.reading.csv_times import iso_time
from tests.feeds.checks import assert_same_day, assert_sound, final_levels
from tests.feeds.sample_databento import ROWS as DBN_ROWS
from tests.feeds.sample_databento import beside, metadata, record, timed
from tests.feeds.sample_databento_csv import ROWS, as_csv, final_book, write
from tests.feeds.test_mutations import run

FEED = DatabentoFeed()
SKIP = Reading(on_error="skip")
ENCODINGS = [
    dict(zip(("pretty_px", "pretty_ts", "map_symbols"), chosen, strict=True))
    for chosen in itertools.product((True, False), repeat=3)
]


def read(tmp_path, content, reading=SKIP, name="x.csv"):
    (tmp_path / name).write_bytes(content)
    return FEED.read(tmp_path / name, reading)


@pytest.fixture
def dbn(tmp_path):
    (tmp_path / "xy.dbn").write_bytes(metadata() + timed(ROWS))
    return FEED.read(tmp_path / "xy.dbn")


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_every_encoding_gives_the_day_of_the_dbn_file(tmp_path, dbn, encoding):
    content = as_csv(metadata() + timed(ROWS), **encoding)
    for block_bytes in (100, 1 << 20):
        day = read(tmp_path, content, Reading(block_bytes=block_bytes))
        assert day.instrument.symbol == ("XY" if encoding["map_symbols"] else "7")
        same_symbol = vars(day.instrument) | {"symbol": "XY"}
        assert same_symbol == vars(dbn.instrument)
        assert_same_day(day, type(day)(**{**vars(dbn), "instrument": day.instrument}))
        assert day.report | {"inputs": dbn.report["inputs"]} == dbn.report


@pytest.mark.parametrize("encoding", [ENCODINGS[0], ENCODINGS[6]], ids=str)
def test_a_real_day_is_that_of_its_dbn_file(tmp_path, market_data, encoding):
    path = market_data("databento/esh4-glbx-mdp3-20231225.mbo.dbn.zst")
    content = as_csv(zstd.decompress(path.read_bytes()), **encoding)
    day, dbn = read(tmp_path, content, Reading()), FEED.read(path)
    assert_same_day(day, dbn)
    assert day.report | {"inputs": dbn.report["inputs"]} == dbn.report


@pytest.mark.parametrize("suffix", [".zst", ".gz", ".zip"])
def test_it_is_found_and_read_compressed(tmp_path, dbn, suffix):
    content, path = as_csv(metadata() + timed(ROWS)), tmp_path / f"day/x.mbo.csv{suffix}"
    path.parent.mkdir()
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.mbo.csv", content)
    else:
        path.write_bytes({".zst": zstd.compress, ".gz": gzip.compress}[suffix](content))
    (path.parent / "condition.json").write_text("{}")
    assert detect_format(path) == "databento"
    (day,) = FEED.days(path.parent)
    assert (day.symbol, day.trading_day) == ("XY", "2024-01-02")
    assert_same_day(load_incremental_data(path), dbn)


def rewritten(change):
    """Return the sample with changed fields in each line."""
    lines = as_csv(metadata() + timed(ROWS)).decode().splitlines()
    return "".join(",".join(change(line.split(","))) + "\n" for line in lines).encode()


def as_pandas(fields):
    """Write times as pandas does: in its own ISO 8601, with an offset; prices as floats."""
    if fields[0].startswith("2"):
        fields[:2] = [field.replace("T", " ").replace("Z", "+00:00") for field in fields[:2]]
        fields[7] = repr(float(fields[7])) if fields[7] else ""
    return fields


DIALECTS = {
    "columns in another order": rewritten(lambda fields: fields[7:] + fields[:7]),
    "a column more": rewritten(lambda fields: [fields[0], "more", *fields[1:]]),
    "columns that nobody needs left out": rewritten(lambda fields: fields[:2] + fields[4:9] + fields[10:12]),
    "a quoted header": rewritten(lambda fields: [f'"{own}"' for own in fields] if fields[0] == "ts_recv" else fields),
    "a byte order mark": b"\xef\xbb\xbf" + as_csv(metadata() + timed(ROWS)),
    "CRLF": as_csv(metadata() + timed(ROWS)).replace(b"\n", b"\r\n"),
    "as pandas writes it": rewritten(as_pandas),
    "no line feed at the end": as_csv(metadata() + timed(ROWS)).removesuffix(b"\n"),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_give_the_same_day(tmp_path, dbn, dialect):
    day = read(tmp_path, DIALECTS[dialect], Reading())
    left_out = dialect == "columns that nobody needs left out"
    assert (day.instrument.venue, day.instrument.symbol) == (("unknown", "7") if left_out else ("GLBX.MDP3", "XY"))
    assert_same_day(type(day)(**{**vars(day), "instrument": dbn.instrument}), dbn)


@pytest.mark.parametrize("schema", ["mbp-1", "trades"])
def test_other_schemas_are_refused_by_name(tmp_path, market_data, schema):
    path = market_data(f"databento/futures_{schema}_2024-07-01T23-58_2024-07-02T00-02.dbn.zst")
    other = tmp_path / "other.csv"
    other.write_bytes(as_csv(zstd.decompress(path.read_bytes())))
    for refused in (FEED.days, FEED.read):
        with pytest.raises(InputError, match=f"schema {schema}, "):
            refused(other)
    with pytest.raises(InputError, match=schema[:3]):
        load_incremental_data(other)
    write(tmp_path)
    assert len(FEED.days(tmp_path)) == 1  # ignored next to an MBO file


def test_bars_are_refused_by_name(tmp_path):
    header = "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol\n"
    (tmp_path / "bars.csv").write_text(header + "2024-01-02T00:00:00.000000000Z,33,1,7,1.0,2.0,1.0,2.0,5,XY\n")
    with pytest.raises(InputError, match="schema ohlcv-1m, "):
        FEED.days(tmp_path / "bars.csv")
    (tmp_path / "bars.csv").write_text(header)
    with pytest.raises(InputError, match="schema unknown, without ts_recv, action, side, "):
        FEED.days(tmp_path / "bars.csv")


BAD = {
    "an unknown word": (b",A,B,", b",Q,B,", "column 6 (action)"),
    "a field that is not a time": (b"2024-01-02T", b"2024-13-02T", "column 1 (ts_recv)"),
    "a number out of range": (b",160,", b",161,", "column 3 (rtype)"),
    "a number with too many decimal places": (b"99.980000000", b"99.9800000001", "column 8 (price)"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_line_is_named_by_line_and_column_or_counted(tmp_path, what):
    found, put, where = BAD[what]
    head, *lines = as_csv(metadata() + timed(ROWS)).splitlines(keepends=True)
    lines[5] = lines[5].replace(found, put, 1)
    content = b"".join([head, *lines])
    with pytest.raises(InputError, match=what) as error:
        read(tmp_path, content, Reading())
    assert error.value.where.endswith(f"x.csv, line 7, {where}")
    day = read(tmp_path, content)
    assert day.report["rows_dropped"][what] == 1 and day.report["rows_read"] == len(ROWS)
    assert_sound(day)


def test_what_contradicts_the_book_is_named_by_its_line(tmp_path):
    rows = [("A", "A", "101", 1, 1), ("C", "A", "101", 1, 9)]
    with pytest.raises(InputError, match="not in the book") as error:
        read(tmp_path, as_csv(metadata() + timed(rows)), Reading())
    assert error.value.where.endswith("x.csv, line 3, order_id")


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_cut_file_keeps_whole_lines(tmp_path, suffix):
    content = as_csv(metadata() + timed(ROWS))
    compress = {"": bytes, ".gz": gzip.compress, ".zst": zstd.compress}[suffix]
    path = tmp_path / f"x.csv{suffix}"
    path.write_bytes(compress(content)[: -20 if not suffix else -9])
    with pytest.raises(InputError, match="decompressed|truncated last line"):
        FEED.read(path)


def test_whole_lines_in_front_of_a_cut_are_read(tmp_path):
    content = as_csv(metadata() + timed(ROWS))
    day = read(tmp_path, content[:-20])
    assert day.report["rows_read"] == len(ROWS) and sum(day.report["rows_dropped"].values()) == 2
    assert "a truncated last line, with a wrong number of columns" in day.report["rows_dropped"]


def test_prices_of_which_nobody_knows_the_unit_are_refused(tmp_path):
    line = b"1704153600000000005,1704153600000000000,160,1,7,A,B,14,5,0,3,128,0,0\n"
    header = as_csv(metadata(), map_symbols=False)
    with pytest.raises(InputError, match="may be in units of the currency"):
        read(tmp_path, header + line)
    assert read(tmp_path, header + line.replace(b",14,", b",14.0,")).instrument.price_scale == 1
    assert read(tmp_path, header + line.replace(b",14,", b",14500000000,")).instrument.price_scale == 10


def test_undefined_prices_and_times_are_empty_or_the_largest_number(tmp_path):
    rows = (
        record("R", time=1) + record("A", "B", "-37.63", 5, 2**64 - 1) + record("A", "A", "0", 5, 3, received=2**64 - 1)
    )
    for encoding in (ENCODINGS[0], ENCODINGS[-1]):
        day = read(tmp_path, as_csv(metadata() + rows, **encoding), Reading())
        assert day.events.price.tolist() == [-3763, 0] and day.events.receive_ns[1] == 0
        assert day.events.order_id.tolist() == [2**64 - 1, 3]


def test_two_instruments_are_two_symbols(tmp_path):
    rows = b"".join(record("A", "B", "1", 2, k, instrument=7 + k % 2, time=k) for k in range(10))
    content = as_csv(metadata({"XY": 7, "ZZ": 8}) + rows)
    (tmp_path / "x.csv").write_bytes(content)
    assert [day.symbol for day in FEED.days(tmp_path / "x.csv")] == ["XY", "ZZ"]
    other, xy = sorted(FEED.read_all(tmp_path / "x.csv"), key=lambda day: day.instrument.symbol, reverse=True)
    assert len(xy.events) == len(other.events) == 5 and other.instrument.symbol == "ZZ"
    assert xy.report["rows_dropped"] == {"records of another instrument": 5}
    assert FEED.read(DatabentoFeed(symbols=("ZZ",)).days(tmp_path / "x.csv")[0]).report == other.report


def test_a_day_without_times_of_capture_is_that_of_its_events(tmp_path, dbn):
    day = read(tmp_path, rewritten(lambda fields: ["", *fields[1:]] if fields[0] != "ts_recv" else fields), Reading())
    assert vars(day.instrument) == vars(dbn.instrument) and not day.events.receive_ns.any()
    np.testing.assert_array_equal(day.events.price, dbn.events.price)


def test_a_file_without_a_record_is_refused(tmp_path):
    for content in (as_csv(metadata()), as_csv(metadata()).removesuffix(b"\n")):
        with pytest.raises(InputError, match="no MBO file"):
            read(tmp_path, content, Reading())


def test_the_sample_holds_what_the_dbn_sample_does(tmp_path):
    assert len(ROWS) == len(DBN_ROWS) - 2 and len(beside(18)) == 24
    path = write(tmp_path)
    assert final_levels(FEED.read(path)) == final_book(path)


def test_damage_is_refused_or_read_right(tmp_path):
    assert run("databento_csv", tmp_path, range(60))["refused"] > 10


@pytest.mark.slow
def test_much_damage_is_refused_or_read_right(tmp_path):
    verdicts = run("databento_csv", tmp_path, range(1000, 1400))
    assert verdicts["unjudged"] <= 40


def test_a_time_is_that_of_numpy():
    rng = np.random.default_rng(3)
    for ns in rng.integers(0, 9_214_646_400 * 10**9, 2000).tolist():  # up to the end of 2261
        digits = int(rng.integers(0, 10))
        ns -= ns % 10 ** (9 - digits)
        text = str(np.datetime64(ns, "ns"))[: 20 + digits if digits else 19]
        for written in (text, text + "Z", text.replace("T", " ") + "+00:00"):
            line = np.frombuffer(f"x,{written},\n".encode() + b"\n" * 20, np.uint8)
            assert iso_time(line, 2) == (ns, 2 + len(written), True), written


NO_TIMES = """
2023-02-29T00:00:00Z 2100-02-29T00:00:00Z 2024-04-31T00:00:00Z 2024-00-02T00:00:00Z 2024-13-02T00:00:00Z
2024-01-00T00:00:00Z 2024-01-02T24:00:00Z 2024-01-02T00:60:00Z 2024-01-02T00:00:60Z 2024-01-02T00:00:00.Z
1969-12-31T23:59:59Z 2262-01-01T00:00:00Z 2024-1-02T00:00:00.0Z 2024/01/02T00:00:00Z 2024-01-02
"""


@pytest.mark.parametrize("text", NO_TIMES.split())
def test_what_is_no_time_is_none(text):
    line = np.frombuffer(f"{text},\n".encode() + b"\n" * 20, np.uint8)
    assert not iso_time(line, 0)[2]
    assert not iso_time(line[: len(text) + 2], 0)[2]
