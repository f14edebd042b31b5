"""A small Tardis day, and a naive reading of one."""

import csv
import pathlib
import re
from fractions import Fraction

from lob_jax.feeds.tardis.feed import TardisFeed

BID, ASK = 1, -1
FEED = TardisFeed(tick="0.01", lot="0.001")
CLOCK = 1_704_196_800_000_000
_PLAIN = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def write(folder: pathlib.Path) -> pathlib.Path:
    """Write depth and trades; prices in 0.01, sizes in 0.001."""
    depth = [(0, "true", "ask", f"{100.02 + k / 100:.2f}", 10 if k == 0 else k + 0.5) for k in range(5)]
    depth += [(0, "true", "bid", f"{100.00 - k / 100:.2f}", k + 5) for k in range(5)]
    depth += [
        (900, "false", "bid", "100.01", 2), (900, "false", "ask", "100.06", 0), (900, "false", "bid", "99.00", 0),
        (1500, "false", "ask", "100.02", 7), (1500, "false", "bid", "99.96", "9e-03"),
        (2500, "false", "bid", "100.01", "1.25"), (2500, "false", "bid", "100.00", 0),
        (2600, "false", "ask", "100.05", 4),
        (2700, "false", "bid", "99.95", 3), (2700, "false", "ask", "100.03", 1), (2700, "false", "ask", "100.10", 8),
        (3000, "true", "ask", "100.03", 1), (3000, "true", "bid", "100.01", "2"), (3000, "true", "bid", "99.99", "6"),
        (3300, "false", "ask", "100.04", "0.125"), (3300, "false", "bid", "100.01", "3"),
        (3400, "false", "bid", "99.99", 0),
        (3500, "false", "bid", "99.98", 1), (3600, "false", "ask", "100.04", 0), (3700, "false", "ask", "100.05", 2),
    ]  # fmt: skip
    trades = [(-50, "0", "sell", "100.00", 1), (1500, "1", "buy", "100.02", 3), (2650, "2", "buy", "100.04", 1)]
    trades += [(2650, "", "unknown", "99.00", "0.5")]
    path = folder / "binance_incremental_book_L2_2024-01-02_BTCUSDT.csv"
    _write(path, "is_snapshot,side", depth)
    _write(folder / "binance_trades_2024-01-02_BTCUSDT.csv", "id,side", trades)
    return path


def _write(path, own, rows):
    with path.open("w") as file:
        file.write(f"exchange,symbol,timestamp,local_timestamp,{own},price,amount\n")
        for local, *rest in rows:
            file.write(
                ",".join(["binance", "BTCUSDT", str(CLOCK + local - 7), str(CLOCK + local), *map(str, rest)]) + "\n"
            )


def _number(text: str) -> Fraction:
    if not _PLAIN.fullmatch(text):
        raise ValueError(text)
    return Fraction(text)


def final_book(path: pathlib.Path):
    """Return the levels after the last row of a depth file, by a naive implementation of the format's rules."""
    levels, begun, snapshot, message = {}, False, False, None
    snapshots_in_a_row = 0
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            first = {"true": True, "false": False}[row["is_snapshot"]]
            key = (row["local_timestamp"], first)
            if first and key != message:
                snapshots_in_a_row = snapshots_in_a_row + 1 if snapshot else 1
                shown = {side for side, _ in levels}
                if snapshots_in_a_row > 1 or (begun and len(shown) < 2):
                    return None  # adds to the previous snapshot or replaces it, depending on its sides
                levels, begun = {}, True
            snapshot, message = first, key
            if begun:
                level = ({"bid": BID, "ask": ASK}[row["side"]], _number(row["price"]))
                levels.pop(level, None)
                if _number(row["amount"]):
                    levels[level] = _number(row["amount"])
    return levels


def without_opening(data: bytes) -> bytes:
    """Return a day's data without its snapshots."""
    return b"".join(line for line in data.splitlines(keepends=True) if b",true," not in line)
