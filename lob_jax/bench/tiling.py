"""Write long raw files for benchmarks by repeating a real day of each format with its clock moved forward."""

import gzip
import json
import pathlib
import shutil
import struct

import numpy as np
import polars as pl
from backports import zstd

from lob_jax.feeds.databento.records import RECORD
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.lobster.files import find_pair
from lob_jax.feeds.reading.source import Source
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.writers.itch import write_itch

_BINANCE_CLOCKS = ("E", "T")
_BINANCE_COUNTERS = ("U", "u", "pu", "t", "a", "lastUpdateId")
_SNAPSHOT = 0x20  # the snapshot flag of an MBO record


def _text(path: pathlib.Path) -> bytes:
    return b"".join(Source(path).blocks(Reading()))


def tile_lobster(path: pathlib.Path, folder: pathlib.Path, *, events: int) -> pathlib.Path:
    """Write a LOBSTER pair of at least `events` rows; times are compressed so that all repetitions fit in one day."""
    pair = find_pair(path)
    message, book = (_text(half.path) for half in (pair.message, pair.orderbook) if half is not None)
    schema = {name: pl.String for name in ("time", "type", "order id", "size", "price", "direction")}
    frame = pl.read_csv(message, has_header=False, schema=schema)
    tiles = -(-events // frame.height)
    day = LobsterFeed().read(path)
    since = day.events.time_ns - day.instrument.midnight_ns()
    first, span = int(since[0]), int(since[-1] - since[0]) // tiles
    target = folder / f"{pair.name.stem('message')}.csv"
    with target.open("wb") as file:
        for tile in range(tiles):
            moved = pl.Series((since - first) // tiles + first + tile * span)
            parts = pl.DataFrame({"s": moved // 10**9, "n": moved % 10**9})
            time = parts.select(time=pl.format("{}.{}", "s", pl.col("n").cast(pl.String).str.zfill(9)))["time"]
            frame.with_columns(time=time).write_csv(file, include_header=False)
    with (folder / f"{pair.name.stem('orderbook')}.csv").open("wb") as file:
        for _ in range(tiles):
            file.write(book if book.endswith(b"\n") else book + b"\n")
    return target


def gzipped(message: pathlib.Path) -> pathlib.Path:
    """Compress both files of a pair in place; return the message file's new path."""
    for path in list(message.parent.iterdir()):
        with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb", compresslevel=6) as packed:
            shutil.copyfileobj(plain, packed, 1 << 20)
        path.unlink()
    return message.with_name(f"{message.name}.gz")


def tile_tardis(path: pathlib.Path, folder: pathlib.Path, *, events: int) -> pathlib.Path:
    """Write Tardis depth and trades files of about `events` depth rows; every repetition begins with its snapshot."""
    trades = path.with_name(path.name.replace("incremental_book_L2", "trades"))
    frames = {file: pl.read_csv(_text(file), infer_schema=False) for file in (path, trades)}
    clock = [pl.col(name).cast(pl.Int64) for name in ("timestamp", "local_timestamp")]
    frames = {file: frame.with_columns(clock) for file, frame in frames.items()}
    span = max(int(frame["local_timestamp"][-1]) for frame in frames.values()) - min(
        int(frame["local_timestamp"][0]) for frame in frames.values()
    )
    for file, frame in frames.items():
        with (folder / Source(file).name).open("wb") as target:
            for tile in range(-(-events // frames[path].height)):
                moved = [pl.col(name) + tile * (span + 1) for name in ("timestamp", "local_timestamp")]
                frame.with_columns(moved).write_csv(target, include_header=tile == 0)
    return folder / Source(path).name


def write_itch_day(folder: pathlib.Path, *, events: int) -> pathlib.Path:
    """Write a simulated day of about `events` events as ITCH."""
    feed = SyntheticFeed(1, events, 0)
    target = folder / "01022024.NASDAQ_ITCH50"
    write_itch(target, feed.read(feed.days()[0]))
    return target


def tile_binance(path: pathlib.Path, folder: pathlib.Path, *, rows: int) -> pathlib.Path:
    """Write a Binance capture of at least `rows` level changes; clocks and counters continue across repetitions."""
    capture = [line.split(b" ", 1) for line in _text(path).splitlines()]
    parsed = [(int(receive), json.loads(content)) for receive, content in capture]
    counters = [message.get("data", message) for _, message in parsed]
    span_ms = (parsed[-1][0] - parsed[0][0]) // 10**6 + 1
    step = {
        name: max((m[name] for m in counters if isinstance(m.get(name), int)), default=0) for name in _BINANCE_COUNTERS
    }
    low = {
        name: min((m[name] for m in counters if isinstance(m.get(name), int)), default=0) for name in _BINANCE_COUNTERS
    }
    stride = max(step["u"], step["lastUpdateId"]) - min(low["U"], low["pu"] or low["U"]) + 1
    target = folder / Source(path).name
    with target.open("w", encoding="utf-8") as file:
        changes = sum(len(message.get(side, ())) for message in counters for side in ("a", "b") if "U" in message)
        for tile in range(-(-rows // changes)):
            for receive, message in parsed:
                body = _moved(message.get("data", message), tile, span_ms, stride)
                content = {**message, "data": body} if "data" in message else body
                file.write(f"{receive + tile * span_ms * 10**6} {json.dumps(content, separators=(',', ':'))}\n")
    return target


def _moved(message: dict, tile: int, span_ms: int, stride: int) -> dict:
    """Return a message with its clocks and update numbers moved forward."""
    moved = {name: message[name] + tile * span_ms for name in _BINANCE_CLOCKS if isinstance(message.get(name), int)}
    moved |= {name: message[name] + tile * stride for name in _BINANCE_COUNTERS if isinstance(message.get(name), int)}
    return {**message, **moved}


def tile_databento(path: pathlib.Path, folder: pathlib.Path, *, records: int) -> pathlib.Path:
    """Repeat the MBO records of a DBN file after its header, uncompressed, with times compressed to fit in one day.

    Each repetition begins by clearing the book, so that the snapshot at the beginning of the day applies again.
    """
    data = zstd.decompress(path.read_bytes())
    begin = 8 + struct.unpack_from("<I", data, 4)[0]
    rows = np.frombuffer(data, RECORD, offset=begin)
    rows = np.concatenate([rows[:1], rows])
    clear = {"order_id": 0, "price": 2**63 - 1, "size": 0, "flags": _SNAPSHOT, "action": ord("R"), "side": ord("N")}
    for name, value in clear.items():
        rows[name][0] = value
    first, repeats = int(rows["ts_recv"].min()), -(-records // len(rows))
    span = (int(rows["ts_recv"].max()) - first) // repeats + 1
    for name in ("ts_event", "ts_recv"):
        rows[name] = first + (rows[name] - first) // repeats
    target = folder / path.name.removesuffix(".zst")
    with target.open("wb") as file:
        file.write(data[:begin])
        for _ in range(repeats):
            file.write(rows.tobytes())
            rows["ts_event"] += span
            rows["ts_recv"] += span
    return target
