"""Known formats that no feed reads are reported by name with a remedy; supported formats are not reported."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.feeds.feed import DaySource
from lob_jax.feeds.format import FEEDS
from lob_jax.feeds.itch.feed import ItchFeed
from lob_jax.feeds.load import detect_format, load_incremental_data
from lob_jax.feeds.reading.recognise import SNIFFED_BYTES, recognise
from tests.feeds.checks import SAMPLES, sample_of
from tests.feeds.sample_itch import messages
from tests.feeds.sample_itch import write as write_itch

TARDIS = "exchange,symbol,timestamp,local_timestamp,"
DATABENTO = "ts_recv,ts_event,rtype,publisher_id,instrument_id,"


def itch_bodies(tmp_path):
    return messages(write_itch(tmp_path).read_bytes())


def soup(bodies):
    """SoupBinTCP: a login, then each message in a packet of type S, a heartbeat in between."""
    login = struct.pack(">H", 31) + b"A" + b"SESSION   " + b"%20d" % 1
    data = [struct.pack(">H", len(body) + 1) + b"S" + body for body in bodies]
    return login + data[0] + b"\x00\x01H" + b"".join(data[1:])


def mold(bodies):
    """MoldUDP64: a header of 20 bytes, then messages preceded by their lengths."""
    packet = b"".join(struct.pack(">H", len(body)) + body for body in bodies[:5])
    return b"000000001A" + (1).to_bytes(8, "big") + (5).to_bytes(2, "big") + packet


def itch_41():
    """ITCH 4.1: separate messages for the seconds, and no locate codes."""
    parts = [b"T" + struct.pack(">I", 34_200), b"S" + struct.pack(">I", 5) + b"O"]
    parts += [b"R" + struct.pack(">I", 6) + b"TEST    QN" + struct.pack(">I", 100) + b"N"]
    parts += [b"A" + struct.pack(">IQ", 7, 1) + b"B" + struct.pack(">I", 100) + b"TEST    " + struct.pack(">I", 10_000)]
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def pitch():
    inside = b"\x06\x20" + struct.pack("<I", 34_200) + b"\x0e\x29" + bytes(12)
    return struct.pack("<HBBI", 8 + len(inside), 2, 1, 1) + inside


def npz():
    file = io.BytesIO()
    np.savez(file, data=np.zeros(3))
    return file.getvalue()


def zipped(name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "content")
    return file.getvalue()


FORMATS = {
    "pcap": (b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(16), "pcap capture"),
    "pcap of nanoseconds, big-endian": (b"\xa1\xb2\x3c\x4d\x00\x02\x00\x04" + bytes(16), "pcap capture"),
    "pcapng": (b"\n\r\r\n\x1c\x00\x00\x00M<+\x1a", "pcapng"),
    "ITCH 4.1": (itch_41(), r"4\.1"),
    "ITCH 3": (b"T   34200\r\nM   5\r\nS O\r\n", "version 3"),
    "PITCH as text": (b"S28800011AAK27GA0000DTS000100SH    0000619200Y\n", "Cboe PITCH as text"),
    "PITCH": (pitch(), "Cboe PITCH, binary"),
    "Tardis book_snapshot": (f"{TARDIS}asks[0].price,asks[0].amount\n".encode(), "book_snapshot"),
    "Tardis quotes": (f"{TARDIS}ask_amount,ask_price,bid_price,bid_amount\n".encode(), "quotes"),
    "Tardis derivative_ticker": (f"{TARDIS}funding_timestamp,funding_rate\n".encode(), "derivative_ticker"),
    "Tardis options_chain": (f"{TARDIS}type,strike_price,expiration\n".encode(), "options_chain"),
    "Databento trades": (f"{DATABENTO}action,side,depth,price,size,flags,ts_in_delta,sequence\n".encode(), "trades as"),
    "Databento mbp-10": (f"{DATABENTO}action,side,depth,price,size,flags,bid_px_00\n".encode(), "mbp"),
    "Databento ohlcv": (b"ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume\n", "ohlcv"),
    "Databento definition": (f"{DATABENTO}raw_symbol,security_update_action\n".encode(), "another schema"),
    "Databento JSON": (b'{"ts_recv":"2024","hd":{}}\n', "JSON"),
    "Bitstamp": (b"id,timestamp,exchange.timestamp,price,volume,action,direction\n1,2,3,4,5,created,bid\n", "Bitstamp"),
    "a quoted header behind a byte-order mark": (
        b'\xef\xbb\xbf"id","timestamp","exchange.timestamp","price","volume","action","direction"\r\n', "Bitstamp"
    ),
    "FI-2010": (b"   " + b"   ".join(b"%.7e" % (k / 7) for k in range(1, 200)) + b"\n", "FI-2010"),
    "LOBSTER's order book, renamed": (b"5859400,200,5853300,18,5859800,200,5853000,150\n", "LOBSTER order book"),
    "Binance trades": (b"id,price,qty,quote_qty,time,is_buyer_maker\n1,2,3,6,4,true\n", "Binance trades"),
    "Binance without arrival": (b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}\n', "of arrival"),
    "Bybit": (b'{"topic":"orderbook.500.BTCUSDT","type":"snapshot","ts":1}\n', "JSON messages"),
    "TAQ": (b"Time|Exchange|Symbol|Bid_Price|Bid_Size\n", "TAQ"),
    "Refinitiv": (b"#RIC,Domain,Date-Time,Type\n", "Refinitiv"),
    "AlgoSeek": (b"Date,Timestamp,EventType,Ticker,Price,Quantity,Exchange,Conditions\n", "AlgoSeek"),
    "npz": (npz(), "hftbacktest"),
    "xlsx": (zipped("[Content_Types].xml"), "Excel"),
    "a zip, renamed": (zipped("anything.bin"), r"\.zip"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(20), "old Excel"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5"),
    "npy": (b"\x93NUMPY\x01\x00" + bytes(20), "NumPy"),
    "SQLite": (b"SQLite format 3\x00" + bytes(20), "SQLite"),
    "MATLAB": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "MATLAB"),
    "R": (b"RDX3\nX\n" + bytes(20), "R data"),
    "ORC": (b"ORC\x11\x00", "ORC"),
    "Avro": (b"Obj\x01\x04", "Avro"),
    "pickle": (pickle.dumps({"a": [1]}, protocol=4), "pickle"),
    "a web page": (b"\n<!DOCTYPE html><html>", "web page"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04", "7z"),
    "RAR": (b"Rar!\x1a\x07\x01\x00", "RAR"),
    "tar": (b"day.csv".ljust(257, b"\0") + b"ustar\x0000", "tar"),
    "bzip2": (b"BZh91AY&SY", "bzip2"),
    "xz": (b"\xfd7zXZ\x00\x00\x04", "xz"),
    "gzip, renamed": (b"\x1f\x8b\x08\x00" + bytes(10), r"\.gz"),
    "zstd, renamed": (b"\x28\xb5\x2f\xfd" + bytes(10), r"\.zst"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_known_format_is_named_with_what_to_do(name, tmp_path):
    content, told = FORMATS[name]
    path = tmp_path / "2019-01-30.data"
    path.write_bytes(content)
    for feed in ("auto", *FEEDS):
        with pytest.raises(InputError, match="no feed reads") as caught:
            load_incremental_data(path, feed=feed)
        assert caught.value.remedy == recognise(content).remedy
        with pytest.raises(InputError, match=told):
            raise InputError(caught.value.was, where="", expected="", was="", remedy="")
    with pytest.raises(InputError, match="no feed reads"):
        detect_format(tmp_path)


@pytest.mark.parametrize("wrap,told", [(soup, "SoupBinTCP"), (mold, "MoldUDP64"), (b"".join, "without their lengths")])
def test_itch_in_another_wrapping_is_named_at_every_door(wrap, told, tmp_path):
    path = tmp_path / "2019-01-30.itch"
    path.write_bytes(wrap(itch_bodies(tmp_path)))
    feed = ItchFeed(symbols=("TEST",))
    for read in (feed.days, feed.read, feed.read_all, load_incremental_data, lambda at: feed.read(feed_day(at))):
        with pytest.raises(InputError, match=told):
            read(path)


def feed_day(path):
    return DaySource(path, "TEST", "2019-01-30")


@pytest.mark.parametrize("name", ["pcap", "ITCH 4.1"])
def test_itch_from_other_sources_is_named_by_its_own_feed(name, tmp_path):
    path = tmp_path / "2019-01-30.itch"
    path.write_bytes(FORMATS[name][0])
    for read in (ItchFeed().days, ItchFeed().read_all, lambda at: ItchFeed().read(feed_day(at))):
        with pytest.raises(InputError, match=FORMATS[name][1]):
            read(path)


@pytest.mark.parametrize("name", SAMPLES)
def test_what_a_feed_reads_is_no_other_format(name, tmp_path):
    sample_of(name).write(tmp_path)
    for file in tmp_path.iterdir():
        assert recognise(file.read_bytes()[:SNIFFED_BYTES]) is None or name == "lobster"
    assert detect_format(tmp_path) == name


def test_an_order_book_of_lobster_by_itself_asks_for_its_messages(tmp_path):
    sample_of("lobster").write(tmp_path)
    (book,) = (file for file in tmp_path.iterdir() if "orderbook" in file.name)
    with pytest.raises(InputError, match=r"message file"):
        load_incremental_data(book)
    renamed = book.rename(tmp_path / "book.csv")
    with pytest.raises(InputError, match="order book, under another file name"):
        load_incremental_data(renamed)
