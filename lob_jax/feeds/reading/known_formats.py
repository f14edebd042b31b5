"""Known formats that no feed reads: how their files begin, their names, and what to do with them."""

import re
from typing import NamedTuple

_TABLE = "write its events as a table with the columns time_ns, kind, side, price, size and order_id (feed=table)"
_CAPTURE = (
    "extract the ITCH messages, write the length of each (2 bytes, big-endian) in front of it; then use feed=itch"
)
_UNPACK = "unpack it, and pass the file or the folder"
_AS_TABLE = f"load it in Python and {_TABLE}, as Parquet, CSV or a DataFrame"
_AS_CSV = "save the sheet as CSV without formatting the prices; then use feed=table"
_DEPTH = "download incremental_book_L2 (and trades) from Tardis: the other types hold samples or quotes, not changes"
_MBO = "request the schema mbo from Databento: the other schemas hold levels or trades, not orders"
_ANY = ("*",)


class Known(NamedTuple):
    """A format that no feed reads.

    Attributes:
      name: description of the format.
      remedy: what the user can do.
      beside: feeds that tolerate such a file next to their own files in a folder; "*" for all.
    """

    name: str
    remedy: str
    beside: tuple[str, ...] = ()


def _starts(*beginnings: bytes) -> re.Pattern[bytes]:
    return re.compile(b"|".join(re.escape(begin) for begin in beginnings))


def _zip_of(member: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"PK\x03\x04[\s\S]{26}" + member)


_NUMBER = rb"[+-]?\d+\.\d+(?:[eE][+-]?\d+)?"
_TARDIS = rb"exchange,symbol,timestamp,local_timestamp,"
BY_PATTERN: tuple[tuple[re.Pattern[bytes], Known], ...] = (
    (
        _starts(b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"M<\xb2\xa1", b"\xa1\xb2<M"),
        Known("a pcap capture of packets", _CAPTURE),
    ),
    (_starts(b"\n\r\r\n"), Known("a pcapng capture of packets", _CAPTURE)),
    (
        re.compile(rb"T *\d{1,5}\r?\nM *\d{1,3}\r?\n"),
        Known("ASCII ITCH of version 3 or older", "fetch the day as ITCH 5.0"),
    ),
    (re.compile(rb"S?\d{8}[ABdEXPrHIsRJV][0-9A-Z ]{12}"), Known("Cboe PITCH as text", _TABLE)),
    (re.compile(_TARDIS + rb"[^\n]*asks\[0\]"), Known("Tardis book_snapshot", _DEPTH, ("tardis",))),
    (
        re.compile(_TARDIS + rb"ask_amount,ask_price,bid_price"),
        Known("Tardis quotes or book_ticker", _DEPTH, ("tardis",)),
    ),
    (re.compile(_TARDIS + rb"[^\n]*funding_rate"), Known("Tardis derivative_ticker", _DEPTH, ("tardis",))),
    (re.compile(_TARDIS + rb"[^\n]*strike_price"), Known("Tardis options_chain", _DEPTH, ("tardis",))),
    (
        re.compile(rb"[^\n]*\bpublisher_id,instrument_id,[^\n]*\bbid_(px|ct)_"),
        Known("Databento mbp or bbo as CSV", _MBO, ("databento",)),
    ),
    (
        re.compile(rb"[^\n]*\bpublisher_id,instrument_id,open,high,low"),
        Known("Databento ohlcv as CSV", _MBO, ("databento",)),
    ),
    (
        re.compile(rb"[^\n]*\bpublisher_id,instrument_id,action,side,depth,"),
        Known("Databento trades as CSV", _MBO, ("databento",)),
    ),
    (
        re.compile(rb"(?![^\n]*\border_id\b)[^\n]*\bpublisher_id,instrument_id,"),
        Known("another schema of Databento as CSV", _MBO, ("databento",)),
    ),
    (re.compile(rb'\{"(ts_recv|hd)":'), Known("Databento as JSON", "ask Databento for mbo as DBN, or as CSV")),
    (
        re.compile(rb"id,timestamp,exchange\.timestamp,price,volume,action,direction"),
        Known(
            "Bitstamp's orders as obAnalytics keeps them",
            f"{_TABLE}: created is an ADD, changed an EXECUTE or a CANCEL of the difference, deleted a DELETE",
        ),
    ),
    (re.compile(rb"Date,Timestamp,EventType,Ticker,Price,Quantity"), Known("AlgoSeek trades and quotes", _TABLE)),
    (re.compile(rb"#RIC,"), Known("Refinitiv Tick History", _TABLE)),
    (
        re.compile(rb"Time\|Exchange\|Symbol\|"),
        Known("NYSE TAQ", f"it holds quotes and trades, not orders; if you have orders, {_TABLE}"),
    ),
    (
        re.compile(rb"agg_trade_id,|id,price,qty,quote_?qty,time,|open_time,open,high"),
        Known(
            "Binance trades or candles as CSV",
            "they contain no order book: capture depth and trades live (feed=binance)",
            ("binance",),
        ),
    ),
    (
        re.compile(rb'(?:\[\s*)?\{[^\n]*"e" ?: ?"(depthUpdate|aggTrade|trade)"'),
        Known(
            "Binance messages without times of arrival",
            "write the time of arrival in front of each line: <ns since 1970> <message>; then use feed=binance",
        ),
    ),
    (
        re.compile(rb'(?:\[\s*)?\{"(topic|table|arg|instId|type|channel|product_id|stream)" ?:'),
        Known("JSON messages of an exchange", _TABLE),
    ),
    (
        re.compile(rb"\s*" + _NUMBER + rb"(?:[ \t]+" + _NUMBER + rb"){19}"),
        Known(
            "FI-2010, or another matrix of numbers",
            "it holds normalised snapshots without the messages between them, so there is nothing to tokenize; for "
            "FI-2010 pass the folder of its files to --mode=forecast, with config.forecast.model=deeplob or linear",
        ),
    ),
    (
        re.compile(rb"-?\d{3,10},\d{1,9},-?\d{3,10},\d{1,9}(?:,-?\d{1,10},\d{1,9},-?\d{1,10},\d{1,9})*\r?\n"),
        Known(
            "rows like those of a LOBSTER order book, under another file name",
            "pass the message file; keep the file names under which LOBSTER delivered both files",
            ("lobster",),
        ),
    ),
    (
        _zip_of(rb"[^\x00-\x1f]{1,80}\.npy"),
        Known(
            "an .npz of NumPy arrays, such as hftbacktest's",
            f"lob_jax writes this format but does not read it: pass the original data, or {_TABLE}",
        ),
    ),
    (_zip_of(rb"(\[Content_Types\]\.xml|_rels/|xl/|docProps/)"), Known("an Excel workbook", _AS_CSV, _ANY)),
    (_starts(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), Known("an old Excel or Office file", _AS_CSV, _ANY)),
    (_starts(b"\x89HDF\r\n\x1a\n"), Known("HDF5", _AS_TABLE)),
    (_starts(b"\x93NUMPY"), Known("a NumPy array", _AS_TABLE)),
    (_starts(b"SQLite format 3\x00"), Known("an SQLite database", _AS_TABLE)),
    (_starts(b"MATLAB 5.0 MAT-file"), Known("a MATLAB file", _AS_TABLE)),
    (_starts(b"RDX2\n", b"RDX3\n", b"RDA3\n", b"X\n\x00\x00\x00"), Known("an R data file", _AS_TABLE)),
    (_starts(b"FEA1"), Known("Feather of version 1", _AS_TABLE)),
    (_starts(b"ORC"), Known("ORC", _AS_TABLE)),
    (_starts(b"Obj\x01"), Known("Avro", _AS_TABLE)),
    (
        re.compile(rb"\xff\x01[\x00-\x63]|\xfe\x20[\x00-\x63]"),
        Known("a kdb+ table", "save it as CSV; then use feed=table"),
    ),
    (
        re.compile(rb"\x80[\x02-\x05](\x95|c|\}|\]|\()"),
        Known("a Python pickle", f"a pickle can run code when loaded, so it is not opened: {_AS_TABLE}"),
    ),
    (
        re.compile(rb"\s*(<!doctype html|<html|<\?xml)", re.IGNORECASE),
        Known("a web page or XML", "the download failed: look into the file, and fetch the day again", _ANY),
    ),
    (_starts(b"version https://git-lfs"), Known("a pointer of Git LFS, not the file", "run git lfs pull")),
    (_starts(b"7z\xbc\xaf\x27\x1c"), Known("a 7z archive", _UNPACK, _ANY)),
    (_starts(b"Rar!\x1a\x07"), Known("a RAR archive", _UNPACK, _ANY)),
    (re.compile(rb"[\s\S]{257}ustar"), Known("a tar archive", _UNPACK, _ANY)),
    (_starts(b"BZh"), Known("bzip2", _UNPACK)),
    (_starts(b"\xfd7zXZ\x00"), Known("xz", _UNPACK)),
    (_starts(b"\x04\x22\x4d\x18"), Known("lz4", _UNPACK)),
    (_starts(b"\x1f\x8b\x08"), Known("gzip under a name that does not end in .gz", "rename it to end in .gz")),
    (_starts(b"\x28\xb5\x2f\xfd"), Known("zstd under a name that does not end in .zst", "rename it to end in .zst")),
    (_starts(b"PK\x03\x04"), Known("a zip under a name that does not end in .zip", "rename it to end in .zip")),
)
CBOE = Known("Cboe PITCH, binary", _TABLE)
SOUP = Known(
    "ITCH in SoupBinTCP packets",
    "keep the packets of type S, remove their type (1 byte) and reduce their length by 1; then use feed=itch",
)
MOLD = Known("ITCH in MoldUDP64 packets", "remove the header of each packet (20 bytes); then use feed=itch")
BARE = Known(
    "ITCH 5.0 messages without their lengths",
    "write the length of each message in front of it (2 bytes, big-endian); then use feed=itch",
)
SECONDS = Known("ITCH with messages of seconds, such as 4.1", f"fetch the day as ITCH 5.0; or {_TABLE}")
