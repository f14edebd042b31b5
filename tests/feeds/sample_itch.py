"""A small ITCH day, written and read naively."""

import re
import struct
from fractions import Fraction

from lob_jax.events.schema import ASK, BID
from lob_jax.feeds.itch.feed import ItchFeed

FEED = ItchFeed(trading_day="2019-01-30")
BINARY = True
NAME = "01302019.NASDAQ_ITCH50"
LOCATE, STOCK = 7, b"TEST    "
LENGTHS = dict(zip("SRHhAFEXDUPQBINYLVWKJOC", map(int, "12 39 25 21 36 40 31 23 19 35 44 40 19 50 20 20 26 35 12 28 35 48 36".split()), strict=True))  # fmt: skip # noqa: E501
DAY_NS = 86_400 * 10**9


def message(letter, time, *fields, locate=LOCATE):
    """Return a message preceded by its length; fields are bytes, or (number, width)."""
    body = letter.encode() + struct.pack(">HH", locate, 0) + time.to_bytes(6, "big")
    body += b"".join(field if isinstance(field, bytes) else field[0].to_bytes(field[1], "big") for field in fields)
    return struct.pack(">H", len(body)) + body


def add(time, order, side, shares, price, *, mpid=b"", stock=STOCK, locate=LOCATE):
    fields = ((order, 8), side, (shares, 4), stock, (price, 4), mpid)
    return message("F" if mpid else "A", time, *fields, locate=locate)


def directory(time=1, *, stock=STOCK, locate=LOCATE):
    return message("R", time, stock, b"Q", b"N", (100, 4), b"N", b"C", b"Z ", b"P", b"N", b"N", b"1", b"N", (0, 4), b"N", locate=locate)  # fmt: skip # noqa: E501


def write(folder):
    """Write a day with every message type that changes a book, and some that do not; return its path."""
    t = 34_200 * 10**9
    parts = [message("S", 0, b"O", locate=0), directory(), message("S", 2, b"S", locate=0)]
    parts += [message("H", 3, STOCK, b"T", b" ", b"    "), message("S", t, b"Q", locate=0)]
    parts += [add(t + k, k + 1, b"B", 10 + k, 1_000_000 - 100 * k) for k in range(5)]
    parts += [add(t + 10 + k, k + 11, b"S", 10 + k, 1_000_200 + 100 * k, mpid=b"NSDQ") for k in range(5)]
    parts += [
        message("E", t + 20, (11, 8), (3, 4), (501, 8)),
        message("X", t + 30, (2, 8), (4, 4)),
        message("X", t + 31, (3, 8), (12, 4)),
        message("D", t + 40, (15, 8)),
        message("U", t + 50, (12, 8), (21, 8), (9, 4), (1_000_300, 4)),
        message("U", t + 60, (1, 8), (22, 8), (30, 4), (999_900, 4)),
        message("P", t + 70, (0, 8), b"B", (5, 4), STOCK, (1_000_150, 4), (502, 8)),
        message("Q", t + 80, (100, 8), STOCK, (1_000_100, 4), (503, 8), b"O"),
        message("Q", t + 81, (0, 8), STOCK, (0, 4), (504, 8), b"C"),
        message("h", t + 85, STOCK, b"Q", b"H"),
        message("h", t + 86, STOCK, b"Q", b"T"),
        message("B", t + 87, (502, 8)),
        message("Y", t + 88, STOCK, b"0"),
        message("I", t + 89, bytes(39)),
        add(t + 90, 23, b"B", 7, 1_000_000),
        add(t + 91, 24, b"S", 8, 1_000_400),
        message("D", t + 92, (5, 8)),
        message("S", 57_600 * 10**9, b"M", locate=0),
        message("S", 72_000 * 10**9, b"C", locate=0),
    ]
    path = folder / NAME
    path.write_bytes(b"".join(parts))
    return path


def messages(data):
    """Return the messages of a file, None if a length or type violates the format."""
    found, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        body = data[at + 2 : at + 2 + length]
        at += 2 + length
        if length == 0 and at == len(data) and data[-2:] == b"\0\0":
            return found
        if length == 0 or len(body) < length or LENGTHS.get(chr(body[0])) != length:
            return None
        found.append(body)
    return found


def final_book(path):
    """Return {(side, price): shares} after the last message, None if the file is not that of a single stock."""
    names, orders = {}, {}
    found = messages(path.read_bytes())
    for body in found or ():
        letter, locate = chr(body[0]), int.from_bytes(body[1:3], "big")
        if int.from_bytes(body[5:11], "big") >= DAY_NS:
            return None
        if letter == "R":
            name = body[11:19]
            if not re.fullmatch(rb"[!-.0-~]{1,8} *", name) or not name.strip(b". "):
                return None
            if names.get(locate, name) != name or any(names[k] == name for k in names if k != locate):
                return None
            names[locate] = name
        elif letter == "S":
            if chr(body[11]) not in "OSQMEC":
                return None
        elif letter in "AFECXDUPQHh" and not _apply(orders, letter, body, names.get(locate), locate):
            return None
    if found is None or len(names) != 1:
        return None
    book = {}
    for side, price, shares, _ in orders.values():
        key = (side, Fraction(price, 10_000))
        book[key] = book.get(key, 0) + Fraction(shares)
    return book


def _apply(orders, letter, body, name, locate):
    """Apply one message to the orders; return whether it obeys the format."""
    number = lambda begin, end: int.from_bytes(body[begin:end], "big")  # noqa: E731
    if name is None:
        return False
    order = number(11, 19)
    if letter in "ECXDU" and (order not in orders or orders[order][3] != locate):
        return False
    if letter in "AF":
        side, shares, price = chr(body[19]), number(20, 24), number(32, 36)
        good = side in "BS" and shares and price and body[24:32] == name and order not in orders
        orders[order] = (BID if side == "B" else ASK, price, shares, locate)
        return good
    if letter in "ECX":
        side, price, held, _ = orders.pop(order)
        shares = number(19, 23)
        if shares < held:
            orders[order] = (side, price, held - shares, locate)
        return 0 < shares <= held and (letter != "C" or chr(body[31]) in "YN")
    if letter == "D":
        del orders[order]
        return True
    if letter == "U":
        new, shares, price = number(19, 27), number(27, 31), number(31, 35)
        good = new not in orders and shares and price
        side = orders.pop(order)[0]
        orders[new] = (side, price, shares, locate)
        return good
    if letter == "P":
        return chr(body[19]) in "BS" and number(20, 24) and body[24:32] == name and number(32, 36)
    if letter == "Q":
        return body[19:27] == name and (not order or (order < 2**63 and number(27, 31)))
    return body[11:19] == name and chr(body[19 if letter == "H" else 20]) in ("HPQT" if letter == "H" else "HT")


def without_opening(data: bytes) -> bytes:
    """Return a day's data without the messages that add orders."""
    return b"".join(len(body).to_bytes(2, "big") + body for body in messages(data) if body[0] not in b"AF")
