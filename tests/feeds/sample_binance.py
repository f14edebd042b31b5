"""A small Binance spot capture, and a naive reading of one."""

import json
import pathlib
import re
from fractions import Fraction

from lob_jax.feeds.binance.feed import BinanceFeed

BID, ASK = 1, -1
FEED = BinanceFeed(tick="0.01", lot="0.001")
CLOCK_MS = 1_704_196_800_000
_PRICE, _SIZE = (re.compile(rf"{sign}\d+(\.\d+)?", re.ASCII) for sign in ("-?", ""))
_LINE = re.compile(rb"(\d{13}|\d{16}|\d{19}) ({.*})")


def line(ms, content, stream="btcusdt@depth@100ms"):
    """Return one line of a capture, received 3 ms after `ms`."""
    return bare(ms, {"stream": stream, "data": content})


def bare(ms, content):
    """Return one line of a capture of a single stream, without a wrapper."""
    return f"{(CLOCK_MS + ms + 3) * 10**6} {json.dumps(content, separators=(',', ':'))}\n"


def depth(ms, first, final, bids, asks, **more):
    """Return a depthUpdate of (price, quantity) texts."""
    content = {"e": "depthUpdate", "E": CLOCK_MS + ms, "s": "BTCUSDT", "U": first, "u": final, **more}
    return line(ms, {**content, "b": [list(level) for level in bids], "a": [list(level) for level in asks]})


def trade(ms, price, quantity, *, maker_is_buyer, **more):
    """Return a trade."""
    content = {"e": "trade", "E": CLOCK_MS + ms, "s": "BTCUSDT", "t": ms, "p": price, "q": quantity, **more}
    return line(ms, {**content, "T": CLOCK_MS + ms, "m": maker_is_buyer}, "btcusdt@trade")


def snapshot(ms, last, bids, asks):
    """Return a REST snapshot."""
    levels = {"bids": [list(level) for level in bids], "asks": [list(level) for level in asks]}
    return line(ms, {"lastUpdateId": last, **levels}, "btcusdt@depthSnapshot")


BIDS = [(f"{100 - k / 100:.2f}", f"{5 + k}.000") for k in range(5)]
ASKS = [("100.02", "10.000"), *((f"{100.02 + k / 100:.2f}", f"{k}.500") for k in range(1, 5))]


def write(folder: pathlib.Path) -> pathlib.Path:
    """Write a capture: an update that overlaps the snapshot, the snapshot, updates, trades, best quotes."""
    ticker = {"u": 106, "s": "BTCUSDT", "b": "100.01", "B": "2.000", "a": "100.02", "A": "10.000"}
    lines = [
        depth(0, 90, 95, [("99.97", "1.000")], []),
        depth(100, 96, 104, [("100.01", "2.000")], [("100.06", "0.000")]),
        snapshot(150, 100, BIDS, ASKS),
        depth(200, 105, 106, [("99.00", "0.000")], []),
        line(210, ticker, "btcusdt@bookTicker"),
        trade(250, "100.02", "3.000", maker_is_buyer=False),
        depth(300, 107, 110, [("99.96", "0.009")], [("100.02", "7.000")]),
        depth(400, 111, 115, [("100.01", "1.250"), ("100.00", "0.000")], [("100.05", "4.000")]),
        trade(450, "99.50", "0.500", maker_is_buyer=True),
        depth(500, 116, 120, [("99.95", "3.000")], [("100.03", "1.000"), ("100.10", "8.000")]),
        depth(600, 121, 121, [("100.01", "3.000")], [("100.04", "0.125")]),
        depth(700, 122, 125, [("99.99", "0.000"), ("99.98", "1.000")], [("100.04", "0.000")]),
        depth(800, 126, 126, [], [("100.05", "2.000")]),
    ]
    path = folder / "btcusdt_20240102.txt"
    path.write_text("".join(lines))
    return path


def _level(level):
    price, quantity = level
    if not _PRICE.fullmatch(price) or not _SIZE.fullmatch(quantity):
        raise ValueError(level)
    return Fraction(price), Fraction(quantity)


def final_book(path: pathlib.Path):
    """Return the levels after the last line of a spot capture, by a naive implementation of the exchange's rules."""
    held, book, final = [], None, None
    for raw in path.read_bytes().splitlines():
        message = json.loads(_LINE.fullmatch(raw)[2])["data"]
        if "lastUpdateId" in message:
            if book is not None:
                return None  # a second snapshot, which this naive reading does not handle
            last = message["lastUpdateId"]
            newer = [update for update in held if update["u"] > last]
            if newer and newer[0]["U"] > last + 1:
                return None
            held, final, book = [], last, {}
            for side, key in ((BID, "bids"), (ASK, "asks")):
                book |= {(side, price): size for price, size in map(_level, message[key]) if size}
            for update in newer:
                final = _apply(book, update, final)
        elif message.get("e") == "depthUpdate" and book is None:
            held.append(message)
        elif message.get("e") == "depthUpdate" and message["u"] > final:
            final = _apply(book, message, final)
    return book


def _apply(book, update, final):
    if update["U"] > final + 1 or "pu" in update:
        raise ValueError("a gap")
    for side, key in ((BID, "b"), (ASK, "a")):
        for price, size in map(_level, update[key]):
            book.pop((side, price), None)
            book |= {(side, price): size} if size else {}
    return update["u"]


def without_opening(data: bytes) -> bytes:
    """Return a day's data without its snapshots."""
    return b"".join(line for line in data.splitlines(keepends=True) if b"lastUpdateId" not in line)
