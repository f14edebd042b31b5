"""A small Databento MBO day, a naive reading of one, and a writer of DBN."""

import datetime
import pathlib
import struct
import types
from fractions import Fraction

import databento_dbn

from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.feeds.databento.feed import DatabentoFeed

BID, ASK = 1, -1
FEED = DatabentoFeed()
BINARY = True
DAY = datetime.date(2024, 1, 2)
MIDNIGHT = 1_704_153_600_000_000_000
SNAPSHOT, LAST, BAD_RECEIVE = 0x20, 0x80, 0x08
UNDEF_PRICE, UNDEF_SIZE = 2**63 - 1, 2**32 - 1
RECORD = struct.Struct("<BBHIqQqIBBccQiI")
STATUS, SYSTEM = 18, 23


def metadata(symbols=None, *, schema="mbo", day=DAY, days=1, stype_in="raw_symbol", ts_out=False):
    """Return the metadata of a file with a mapping of symbols to instrument ids, {"XY": 7} by default.

    A symbol has one id, or a list with one id for each of the `days`; if `days` is None, the data have no end.
    """
    mappings = []
    for name, numbers in (symbols or {"XY": 7}).items():
        numbers = numbers if isinstance(numbers, list) else [numbers] * (days or 1)
        dates = [day + datetime.timedelta(days=k) for k in range(len(numbers) + 1)]
        spans = [
            types.SimpleNamespace(start_date=start, end_date=end, symbol=str(number))
            for start, end, number in zip(dates, dates[1:], numbers, strict=False)
        ]
        mappings.append(types.SimpleNamespace(raw_symbol=name, intervals=spans))
    start = int(datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC).timestamp()) * 10**9
    made = databento_dbn.Metadata(
        dataset="GLBX.MDP3",
        start=start,
        end=None if days is None else start + days * NS_PER_DAY,
        stype_in=databento_dbn.SType.from_str(stype_in),
        stype_out=databento_dbn.SType.from_str("instrument_id"),
        schema=None if schema is None else databento_dbn.Schema.from_str(schema),
        symbols=list(symbols or {"XY": 7}),
        mappings=mappings,
        ts_out=ts_out,
    )
    return made.encode()


def record(action, side="N", price=UNDEF_PRICE, size=0, order_id=0, **other):
    """Return an MBO record; the price is in units of the currency, or an int in units of 1e-9."""
    fields = {"flags": LAST, "time": 0, "received": None, "instrument": 7, "publisher": 1, "length": 14, "rtype": 160}
    fields |= other
    time = MIDNIGHT + fields["time"]
    received = time + 5 if fields["received"] is None else fields["received"]
    nano = price if isinstance(price, int) else int(Fraction(price) * 10**9)
    head = fields["length"], fields["rtype"], fields["publisher"], fields["instrument"], time, order_id
    return RECORD.pack(
        *head, nano, size, fields["flags"], 0, action.encode(), side.encode(), received, 0, fields["time"] % 2**32
    )


def beside(kind):
    """Return a record of another type, with 16 bytes of header and 8 of content."""
    return struct.pack("<BBHIq8s", 6, kind, 1, 7, MIDNIGHT, b"content")


def timed(rows):
    """Return records of (action, side, price, size, id, flags); consecutive groups are a microsecond apart."""
    time, data = 1_000, b""
    for row in rows:
        if isinstance(row, int):
            data += beside(row)
            continue
        action, side, price, size, order_id, *flags = row
        data += record(action, side, price, size, order_id, flags=flags[0] if flags else LAST, time=time)
        time += 1000 if not flags or flags[0] & LAST else 0
    return data


def stamped(rows):
    """Return records of (time, action, side, price, size, id, flags); flags default to LAST."""
    return b"".join(
        record(action, side, price, size, order_id, time=time, flags=flags[0] if flags else LAST)
        for time, action, side, price, size, order_id, *flags in rows
    )


ROWS = [
    ("R", "N", UNDEF_PRICE, 0, 0, SNAPSHOT | BAD_RECEIVE),
    *(("A", "A", f"100.{2 + k:02}", 10 + k, 100 + k, SNAPSHOT | BAD_RECEIVE) for k in range(4)),
    *(("A", "B", f"99.{98 + k}" if k < 2 else "100.00", 5 + k, 200 + k, SNAPSHOT | BAD_RECEIVE) for k in range(3)),
    ("A", "B", "100.00", 4, 204, SNAPSHOT | BAD_RECEIVE | LAST),
    SYSTEM,
    ("A", "A", "100.02", 2, 300), ("A", "B", "99.97", 9, 301), ("C", "A", "100.05", 3, 103),
    ("T", "B", "100.02", 3, 900, 0), ("F", "A", "100.02", 3, 100, 0), ("M", "A", "100.02", 7, 100),
    ("N", "N", UNDEF_PRICE, 0, 0), ("M", "B", "100.00", 3, 204), ("M", "B", "99.97", 11, 301),
    ("M", "B", "99.96", 11, 301), ("C", "A", "100.05", 10, 103),
    ("T", "A", "100.01", 2, 901),
    ("A", "B", "100.01", 1, 302), STATUS, ("C", "B", "100.01", 1, 302), ("M", "B", "99.99", 6, 200),
    ("A", "A", "100.06", 8, 303, 0), ("A", "A", "100.07", 8, 304),
    ("R", "N", UNDEF_PRICE, 0, 0, SNAPSHOT | BAD_RECEIVE),
    ("A", "B", "99.98", 3, 400, SNAPSHOT | BAD_RECEIVE), ("A", "B", "100.00", 2, 401, SNAPSHOT | BAD_RECEIVE),
    ("A", "A", "100.03", 4, 402, SNAPSHOT | BAD_RECEIVE), ("A", "A", "100.03", 5, 403, SNAPSHOT | BAD_RECEIVE | LAST),
    ("C", "A", "100.03", 4, 402), ("C", "B", "99.98", 1, 400), ("M", "A", "100.03", 2, 403),
    ("M", "B", "99.99", 2, 401),
    ("A", "A", "100.04", 7, 404), ("A", "B", "99.95", 2, 405), ("M", "A", "100.05", 7, 404),
    ("C", "B", "99.95", 2, 405),
]  # fmt: skip


def write(folder: pathlib.Path) -> pathlib.Path:
    """Write one file: a snapshot, changes of all types, a trade, a second snapshot, further changes."""
    path = folder / "xy-20240102.mbo.dbn"
    path.write_bytes(metadata() + timed(ROWS))
    return path


def records_of(data: bytes):
    """Yield the fields of each MBO record."""
    at = 8 + int.from_bytes(data[4:8], "little")
    while at < len(data):
        length = 4 * data[at]
        if length < 16 or at + length > len(data):
            raise ValueError("a record that is not whole")
        if data[at + 1] == 160:
            yield RECORD.unpack(data[at : at + RECORD.size])
        elif not 18 <= data[at + 1] <= 24:
            raise ValueError("a record of another schema")
        at += length


def final_book(path: pathlib.Path):
    """Return the levels after the last record, by a naive implementation of the format's rules."""
    return book_behind(records_of(path.read_bytes()))


def book_behind(records):
    """Return the levels after the last of the records, None if they break a rule."""
    orders, opening, publishers = {}, True, set()
    for _, _, publisher, _, _, order_id, price, size, flags, _, action, side, _, _, _ in records:
        publishers.add(publisher)
        snapshot = bool(flags & SNAPSHOT)
        if action == b"R" or (snapshot and not opening):
            orders = {}
        opening = snapshot
        if action in (b"A", b"C", b"M"):
            known = orders.get(order_id)
            wrong = {b"A": known is not None, b"C": known is None, b"M": known is not None and known[0] != side}[action]
            if side == b"N" or wrong or price == UNDEF_PRICE or size in (0, UNDEF_SIZE):
                return None
            if action == b"C" and (known[:2] != [side, price] or known[2] < size):
                return None
            orders[order_id] = [side, price, known[2] - size if action == b"C" else size]
            if orders[order_id][2] == 0:
                del orders[order_id]
    if len(publishers) > 1:
        return None
    levels = {}
    for side, price, size in orders.values():
        key = ({b"B": BID, b"A": ASK}[side], Fraction(price, 10**9))
        levels[key] = levels.get(key, Fraction(0)) + size
    return levels


def without_opening(data: bytes) -> bytes:
    """Return a day's data without the records of its snapshots."""
    at = 8 + int.from_bytes(data[4:8], "little")
    kept = data[:at]
    while at < len(data):
        found = data[at : at + 4 * data[at]]
        kept += b"" if found[1] == 160 and found[36] & SNAPSHOT else found
        at += len(found)
    return kept
