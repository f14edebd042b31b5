"""Starting books as JSON, and back: {"time", "bids": [...], "asks": [...], "closed"?}.

A row is {"price", "size", "order_id"?} or [price, size]. Bids are listed from the best down, asks from the best up, the
orders of a level from the front of its queue. In the book of a feed of orders, a row without an id stands for a total
whose orders are unknown; in one of a feed of levels, each row is a level.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.book.snapshot import ORDER_COLUMNS, BookSnapshot
from lob_jax.events.halts import CLOSED, OPEN, QUOTING
from lob_jax.events.schema import ASK, BID
from lob_jax.serving.records import EXACT_JSON, SHOWN_FAULTS, SIDE_NAMES, Fault, InvalidRecords, Wrong, read_id, shown
from lob_jax.serving.units import Units, Unreadable, read_time, time_text

CLOSED_NAMES = {OPEN: "nothing", QUOTING: "trading", CLOSED: "trading_and_quoting"}
CLOSED_NUMBERS = {name: number for number, name in CLOSED_NAMES.items()}

Row = tuple[int, int, int]  # price, size, id


def read_opening(
    opening: Mapping[str, Any], units: Units, *, window: int, pooled: bool, inside: str = ""
) -> tuple[BookSnapshot, int]:
    """Return a starting book, and what is closed.

    Args:
      opening: as parsed from JSON.
      units: the units of the instrument.
      window: levels per side that the feed shows, 0 for all.
      pooled: whether each level is one order.
      inside: the JSON pointer of the opening, for errors.

    Raises:
      InvalidRecords: it cannot be read.
    """
    faults: list[Fault] = []
    time_ns, closed = 0, OPEN
    try:
        _check_keys(opening)
        closed = _closed(opening.get("closed", CLOSED_NAMES[OPEN]))
        time_ns = _time(opening["time"])
    except Wrong as wrong:
        faults.append(wrong.fault(inside))
    sides = {}
    for side, name in ((BID, "bids"), (ASK, "asks")):
        rows = opening.get(name, [])
        sides[side] = _side(rows, units, side=side, pooled=pooled, inside=f"{inside}/{name}", faults=faults)
    if faults:
        raise InvalidRecords("the starting book is invalid", faults[:SHOWN_FAULTS])
    return _book(sides, time_ns=time_ns, window=window, pooled=pooled), closed


def _check_keys(opening: Mapping[str, Any]) -> None:
    for name in ("time", "bids", "asks"):
        if name not in opening:
            raise Wrong(name, "this field", "absent")
    for name in opening.keys() - {"time", "bids", "asks", "closed"}:
        raise Wrong("", "only the fields time, bids, asks and closed", name)


def _closed(value: object) -> int:
    if not isinstance(value, str) or value not in CLOSED_NUMBERS:
        raise Wrong("closed", f"one of {', '.join(CLOSED_NUMBERS)}", value)
    return CLOSED_NUMBERS[value]


def _time(value: object) -> int:
    try:
        return read_time(value)
    except Unreadable as error:
        raise Wrong("time", error.expected, value) from error


def _side(rows: Any, units: Units, *, side: int, pooled: bool, inside: str, faults: list[Fault]) -> list[Row]:
    """Return the rows of a side, and add to `faults` what is wrong with them."""
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        faults.append(Fault(inside, "a list", shown(rows)))
        return []
    found: list[Row] = []
    for index, row in enumerate(rows):
        try:
            found.append(_row(row, units, pooled=pooled))
            if index and len(found) > 1:
                _check_place(found[-2][0], found[-1][0], side=side, pooled=pooled)
        except Wrong as wrong:
            faults.append(wrong.fault(f"{inside}/{index}"))
        if len(faults) >= SHOWN_FAULTS:
            break
    return found


def _row(row: Any, units: Units, *, pooled: bool) -> Row:
    """Return price, size and id of a row; raise Wrong."""
    if isinstance(row, Mapping):
        for name in ("price", "size"):
            if name not in row:
                raise Wrong(name, "this field", "absent")
        for name in row.keys() - {"price", "size", "order_id"}:
            raise Wrong("", "only the fields price, size and order_id", name)
        if pooled and "order_id" in row:
            raise Wrong("order_id", "no id: this market's feed shows levels, not orders", row["order_id"])
        given = {"price": row["price"], "size": row["size"]}
        order_id = read_id(row["order_id"]) if "order_id" in row else 0
    elif isinstance(row, Sequence) and not isinstance(row, str) and len(row) == 2:
        given, order_id = {"0": row[0], "1": row[1]}, 0
    else:
        raise Wrong("", "an object with price and size, or a pair of the two", row)
    numbers = []
    for (name, value), read in zip(given.items(), (units.read_price, units.read_size), strict=True):
        try:
            numbers.append(read(value))
        except Unreadable as error:
            raise Wrong(name, error.expected, value) from error
        except TypeError as error:
            raise Wrong(name, "a number or text", value) from error
    return numbers[0], numbers[1], order_id


def _check_place(before: int, price: int, *, side: int, pooled: bool) -> None:
    """Check that a row follows the one before it; raise Wrong."""
    worse = (before - price) * side
    if worse < 0 or (worse == 0 and pooled):
        order = "from the best down" if side == BID else "from the best up"
        once = ", each level once" if pooled else ""
        raise Wrong("", f"{SIDE_NAMES[side]}s {order}{once}", "a row out of order")


def _book(sides: Mapping[int, list[Row]], *, time_ns: int, window: int, pooled: bool) -> BookSnapshot:
    rows = [(side, price, size, order_id) for side, found in sides.items() for price, size, order_id in found]
    columns = dict(zip(("side", "price", "size", "order_id"), zip(*rows, strict=True), strict=True)) if rows else {}
    arrays = {name: np.array(columns.get(name, ()), ORDER_COLUMNS[name]) for name in ("side", "price", "size")}
    order_id = np.array(columns.get("order_id", ()), ORDER_COLUMNS["order_id"])
    best = [found[0][0] if found else 0 for found in sides.values()]
    return BookSnapshot(
        time_ns=time_ns,
        **arrays,
        order_id=order_id,
        anonymous=(order_id == 0) & (not pooled),
        last_best=np.array(best, np.int64),
        seen=np.array([len(found) > 0 for found in sides.values()]),
        window=window,
        pooled=pooled,
    )


def opening_of(book: BookSnapshot, units: Units, *, closed: int = OPEN) -> dict[str, Any]:
    """Return a starting book as JSON; ids of orders are kept, and the totals of anonymous ones have none."""
    named = np.where(book.anonymous, 0, book.order_id)
    columns = zip(book.side.tolist(), book.price.tolist(), book.size.tolist(), named.tolist(), strict=True)
    sides: dict[int, list[dict[str, Any]]] = {BID: [], ASK: []}
    for side, price, size, order_id in columns:
        row: dict[str, Any] = {"price": units.price_text(price), "size": units.size_text(size)}
        if order_id:
            row["order_id"] = order_id if order_id < EXACT_JSON else str(order_id)
        sides[side].append(row)
    plain = {"time": time_text(book.time_ns), "bids": sides[BID], "asks": sides[ASK]}
    return plain if closed == OPEN else {**plain, "closed": CLOSED_NAMES[closed]}
