"""A small table of order events as CSV, and a naive reading of one."""

import csv
import io
import pathlib
import re
from fractions import Fraction

from lob_jax.feeds.table.feed import TableFeed

BID, ASK = 1, -1
FEED = TableFeed(tick="0.01", lot="0.001")
CLOCK = 1_704_203_400_000_000_000  # 2024-01-02, 13:50 UTC
HEADER = ["kind", "note", "order_id", "price", "side", "size", "time_ns", "code", "sequence"]
_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_KINDS = ["ADD", "CANCEL", "DELETE", "EXECUTE", "EXECUTE_HIDDEN", "CROSS", "CONTROL"]
_CODES = ["HALT", "RESUME_QUOTE", "RESUME_TRADE", "CLEAR", "SESSION_OPEN", "SESSION_CLOSE", "FEED_GAP"]
_SIDES = {"BID": BID, "BUY": BID, "B": BID, "1": BID, "ASK": ASK, "SELL": ASK, "S": ASK, "-1": ASK}


def rows():
    """Return the events of a small day: (kind, side, price, size, order_id, code)."""
    made = [("CONTROL", "", "", "", "", "SESSION_OPEN")]
    made += [("ADD", "bid", f"{100 - k / 100:.2f}", 5 + k, 1 + k, "") for k in range(5)]
    made += [("ADD", "ask", f"{100.02 + k / 100:.2f}", f"{10 + k}.5", 11 + k, "") for k in range(5)]
    made += [
        ("EXECUTE", "ask", "100.02", 3, 11, ""), ("CANCEL", "ask", "100.02", "0.5", 11, ""),
        ("DELETE", "bid", "99.96", "", 5, ""), ("DELETE", "bid", "99.97", 8, 4, ""),
        ("EXECUTE_HIDDEN", "ask", "100.015", 2, "", ""), ("CROSS", "bid", "100.01", 7, 0, ""),
        ("ADD", "BUY", "1.0001e2", "1.250", 6, ""), ("CANCEL", "B", "100.01", "0.250", 6, ""),
        ("3", "1", "100.010", "1", 6, ""), ("1", "-1", "100.05", "9e-03", 18446744073709551615, ""),
        ("CONTROL", 0, 0, 0, 0, "1"), ("CONTROL", "", "", "", "", "RESUME_TRADE"),
    ]  # fmt: skip
    return made


def write(folder: pathlib.Path) -> pathlib.Path:
    """Write one file, its columns in no particular order."""
    path = folder / "XY.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        for k, row in enumerate(rows()):
            fields = dict(zip(["kind", "side", "price", "size", "order_id", "code"], row, strict=True))
            writer.writerow({**fields, "note": "a, b" if k == 2 else "", "time_ns": CLOCK + k, "sequence": 10 + k // 2})
    return path


def _decimal(text: str) -> Fraction:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return Fraction(text)


def _word(text: str, words: list[str]) -> int:
    return int(text) if text in map(str, range(1, 8)) else 1 + words.index(text.upper())


def final_book(path: pathlib.Path):
    """Return the levels after the last row, naively by the rules of the table feed; None if one is violated."""
    data = path.read_bytes().decode().rstrip("\r\n")
    orders, last = {}, -(2**63)
    for row in csv.DictReader(io.StringIO(data, newline=""), strict=True):
        if None in row or None in row.values():
            return None
        kind, sequence = _KINDS[_word(row["kind"], _KINDS) - 1], int(row["sequence"] or 0)
        if sequence < last:
            return None
        last = sequence
        if kind == "CONTROL":
            orders = {} if _CODES[_word(row["code"], _CODES) - 1] == "CLEAR" else orders
            continue
        side, price, number = _SIDES[row["side"].upper()], _decimal(row["price"]), int(row["order_id"] or 0)
        size = _decimal(row["size"]) if row["size"] or kind != "DELETE" else None
        if kind in ("EXECUTE_HIDDEN", "CROSS"):
            continue
        if kind == "ADD":
            if number in orders or not number:
                return None
            orders[number] = [side, price, size]
            continue
        if orders[number][:2] != [side, price]:
            return None
        size = orders[number][2] if size is None else size
        left = orders[number][2] - size
        if left < 0 or (left and kind == "DELETE"):
            return None
        orders[number][2] = left
        if not left:
            del orders[number]
    levels = {}
    for side, price, size in orders.values():
        levels[side, price] = levels.get((side, price), Fraction(0)) + size
    return levels
