"""A small LOBSTER day, and a naive reading of one."""

import math
import pathlib
import re
from decimal import Decimal
from fractions import Fraction

from lob_jax.events.schema import ASK, BID
from lob_jax.feeds.lobster.feed import LobsterFeed

FEED = LobsterFeed()
LEVELS = 3
NAME = "XYZ_2012-06-21_34200000_57600000_{}_3.csv"
EMPTY = {ASK: 9_999_999_999, BID: -9_999_999_999}
WHOLE = re.compile(r"-?\d+", re.ASCII)
SECONDS = re.compile(r"\d{1,5}(\.\d+)?", re.ASCII)
# Seconds, type, order id, size, price, direction; the market behind the window has more levels than are shown.
MESSAGES = [
    ("34200.004241176", 1, 11, 18, 1000000, BID),
    ("34200.004241176", 1, 12, 20, 1000300, ASK),
    ("34200.1", 1, 13, 6, 1000100, BID),
    ("34200.1", 2, 13, 2, 1000100, BID),
    ("34201", 3, 13, 4, 1000100, BID),
    ("34201.5", 4, 7, 3, 1000200, ASK),
    ("34201.500000001", 5, 0, 9, 1000150, ASK),
    ("34202.25", 3, 7, 7, 1000200, ASK),
    ("34202.25", 1, 2**63 + 5, 40, 1000100, BID),
    ("34203", 2, 99, 30, 1000000, BID),
    ("34203.123456789", 3, 2**63 + 5, 40, 1000100, BID),
    ("34204", 7, 0, 0, -1, ASK),
    ("34209", 7, 0, 0, 0, ASK),
    ("34210", 7, 0, 0, 1, ASK),
    ("34210.7", 6, -1, 500, 1000050, ASK),
    ("34211", 3, 5, 50, 999700, BID),
    ("34211.5", 3, 6, 60, 999800, BID),
    ("34212", 1, 14, 1, 999900, BID),
    ("34212.125", 2, 15, 8, 1000400, ASK),
    ("34213", 3, 12, 20, 1000300, ASK),
    ("34214", 1, 16, 100, 1000200, ASK),
    ("57599.999999999", 3, 14, 1, 999900, BID),
]
START = {BID: {1000000: 30, 999800: 60, 999700: 50}, ASK: {1000200: 10, 1000400: 25, 1000500: 5, 1000700: 12}}


def write(folder: pathlib.Path) -> pathlib.Path:
    """Write a day with every type of message, and its book."""
    book = {side: dict(levels) for side, levels in START.items()}
    rows = []
    for _, kind, _, size, price, side in MESSAGES:
        if kind <= 4:
            left = book[side].pop(price, 0) + (size if kind == 1 else -size)
            if left > 0:
                book[side][price] = left
        best = {side: sorted(book[side].items(), key=lambda level, side=side: -side * level[0]) for side in book}
        row = []
        for k in range(LEVELS):
            for side in (ASK, BID):
                row += best[side][k] if k < len(best[side]) else (EMPTY[side], 0)
        rows.append(row)
    for half, lines in (("message", MESSAGES), ("orderbook", rows)):
        (folder / NAME.format(half)).write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    return folder / NAME.format("message")


def seconds(text: str) -> Decimal | None:
    """Return a time in ns, None if it has a fraction of a nanosecond that no double explains."""
    time = Decimal(text)
    places = max(-time.normalize().as_tuple().exponent, 0)
    if places <= 9:
        return time
    double, nearest = float(text), round(time, 9)
    printed = places <= 13 and len(time.normalize().as_tuple().digits) <= 17 and Decimal(f"{double:.{places}f}") == time
    near = abs(Fraction(double) - Fraction(nearest)) < Fraction(math.ulp(double))
    return nearest if printed and near else None


def _rows(path: pathlib.Path) -> list[list[str]]:
    text = path.read_bytes().decode("utf-8")
    lines = text.removesuffix("\n").split("\n")
    return [line.removesuffix("\r").split(",") for line in lines]


def final_book(path: pathlib.Path):
    """Return the levels in the last row of the order book, None unless all rows of both files are valid."""
    messages = _rows(path)
    book = _rows(path.with_name(path.name.replace("message", "orderbook")))
    if len(messages) != len(book) or not all(map(_is_message, messages)) or not all(map(_is_book_row, book)):
        return None
    if len({len(row) for row in messages}) != 1:
        return None
    times = [seconds(row[0]) for row in messages]
    if times != sorted(times):
        return None
    last = list(map(int, book[-1]))
    levels = {}
    for place, side in ((0, ASK), (2, BID)):
        for price, size in zip(last[place::4], last[place + 1 :: 4], strict=True):
            if size:
                levels[side, Fraction(price, 10_000)] = Fraction(size)
    return levels


def _is_message(row: list[str]) -> bool:
    if len(row) not in (6, 7) or not SECONDS.fullmatch(row[0]) or not all(map(WHOLE.fullmatch, row[1:6])):
        return False
    kind, order_id, size, price, side = map(int, row[1:6])
    if seconds(row[0]) is None or seconds(row[0]) >= 86_400 or side not in (BID, ASK) or not 0 <= size < 10**15:
        return False
    if kind == 7:
        return (order_id, size, side) == (0, 0, ASK) and price in (-1, 0, 1)
    if kind == 6:
        return -1 <= order_id < 2**64 and abs(price) < EMPTY[ASK]
    sound = 0 <= order_id < 2**64 and size > 0 and abs(price) < EMPTY[ASK]
    return sound and 1 <= kind <= 5 and (kind == 5 or price % 100 == 0)


def _is_book_row(row: list[str]) -> bool:
    if len(row) != 4 * LEVELS or not all(map(WHOLE.fullmatch, row)):
        return False
    numbers = list(map(int, row))
    for place, side in ((0, ASK), (2, BID)):
        levels = list(zip(numbers[place::4], numbers[place + 1 :: 4], strict=True))
        occupied = [price for price, size in levels if size]
        if any((price == EMPTY[side]) != (size == 0) or not 0 <= size < 10**15 for price, size in levels):
            return False
        if levels[len(occupied) :] != [(EMPTY[side], 0)] * (LEVELS - len(occupied)):
            return False
        if any(abs(price) >= EMPTY[ASK] or price % 100 for price in occupied):
            return False
        if any(side * (first - second) <= 0 for first, second in zip(occupied, occupied[1:], strict=False)):
            return False
    return True
