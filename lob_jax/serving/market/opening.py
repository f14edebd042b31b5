"""Check the book that a live market opens with, and date the instrument by it."""

import dataclasses
import datetime
import zoneinfo
from typing import Any

import numpy as np

from lob_jax.book.loops import CorrectionColumns, as_column
from lob_jax.book.snapshot import CORRECTION_COLUMNS, ORDER_COLUMNS, BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.halts import CLOSED, OPEN
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import ANONYMOUS_ID, ASK, BID
from lob_jax.tokens.compiled import MOST, MOST_SIZE


def dated(instrument: Instrument, time_ns: int) -> Instrument:
    """Return an instrument with the trading day of a time in the venue's time zone.

    Raises:
      InputError: the time is out of range.
    """
    if not 0 <= time_ns < MOST:
        raise InputError(
            "the time of the book is out of range",
            where="the book, time_ns",
            expected=f"ns since 1970, within 0..{MOST - 1}",
            was=time_ns,
            remedy="pass the time of the last event before the book, in ns since 1970, UTC",
        )
    zone = zoneinfo.ZoneInfo(instrument.time_zone)
    day = datetime.datetime.fromtimestamp(time_ns // NS_PER_SECOND, zone).date()
    return dataclasses.replace(instrument, trading_day=day.isoformat())


def check_book(book: BookSnapshot, instrument: Instrument, *, closed: int, may_cross: bool) -> None:
    """Check that orders of a book are valid by themselves and beside each other.

    Args:
      book: the book.
      instrument: its instrument, for the tick, and whether prices are signed.
      closed: what is closed; then best prices may cross.
      may_cross: whether they may anyway.

    Raises:
      InputError: one is not; names its row.
    """
    _check_shape(book)
    if closed not in range(OPEN, CLOSED + 1):
        what = "an unknown state of the market"
        expected = "0 open, 1 no trades, 2 neither quotes nor trades"
        raise InputError(what, where="closed", expected=expected, was=closed, remedy="pass one of these")
    least, reserved = -MOST if instrument.signed else instrument.tick, np.uint64(ANONYMOUS_ID)
    tick = instrument.tick
    _check("an order has no side", book, "side", (book.side != BID) & (book.side != ASK), "+1 (bid) or -1 (ask)")
    _check("an order has no size", book, "size", book.size < 1, "at least 1 lot")
    _check("an order is too large", book, "size", book.size > MOST_SIZE, f"at most {MOST_SIZE} lots")
    _check("a price is out of range", book, "price", np.abs(book.price) >= MOST, f"within ±{MOST}")
    _check("a price is below the lowest valid one", book, "price", book.price < least, f"at least {least}")
    _check("a price lies between ticks", book, "price", book.price % tick != 0, f"multiples of {tick}")
    _check("an order has a reserved id", book, "order_id", book.order_id >= reserved, f"below {reserved}")
    _check("two orders have the same id", book, "order_id", _repeated(book.order_id), "different ids")
    off_tick = book.seen & (book.last_best % tick != 0)
    if off_tick.any():
        where = f"the book, last_best of {'asks' if off_tick[1] else 'bids'}"
        raise _invalid("a last best price lies between ticks", where, f"multiples of {tick}", book.last_best.tolist())
    if closed == OPEN and not may_cross:
        _check_crossing(book)


def checked_corrections(corrections: Corrections, instrument: Instrument, *, events: int) -> CorrectionColumns:
    """Return corrections of events -1..E-1 in the form of the compiled loops.

    Raises:
      InputError: one is invalid; names its row.
    """
    columns = CorrectionColumns(*(as_column(getattr(corrections, name), None) for name in CORRECTION_COLUMNS))
    if not len(columns.event):
        return columns
    event, side, price, size = columns
    low, tick = -MOST if instrument.signed else instrument.tick, instrument.tick
    before = np.diff(event, prepend=-1) < 0
    faults = (
        ("event", before | (event >= events), f"non-decreasing indices within -1..{events - 1}"),
        ("side", (side != BID) & (side != ASK), "+1 (bid) or -1 (ask)"),
        ("price", (price < low) | (price >= MOST) | (price % tick != 0), f"a multiple of {tick}, at least {low}"),
        ("size", (size < 0) | (size > MOST_SIZE), f"within 0..{MOST_SIZE} lots"),
    )
    for name, wrong, expected in faults:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            was, remedy = getattr(corrections, name)[row], "pass the level as the feed's own book shows it"
            where = f"corrections, {name} in row {row}"
            raise InputError("an invalid correction", where=where, expected=expected, was=was, remedy=remedy)
    return columns


def _check_shape(book: BookSnapshot) -> None:
    lengths = {name: len(getattr(book, name)) for name in ORDER_COLUMNS}
    if len(set(lengths.values())) > 1 or len(book.last_best) != 2 or len(book.seen) != 2:
        was = {**lengths, "last_best": len(book.last_best), "seen": len(book.seen)}
        raise _invalid("columns of the book differ in length", "the book", "a value for each order", was)


def _check_crossing(book: BookSnapshot) -> None:
    bids, asks = (np.flatnonzero(book.side == side) for side in (BID, ASK))
    if not len(bids) or not len(asks):
        return
    bid, ask = bids[np.argmax(book.price[bids])], asks[np.argmin(book.price[asks])]
    if book.price[bid] >= book.price[ask]:
        where = f"the book, its bid in row {bid} and its ask in row {ask}"
        was = f"a bid of {book.price[bid]} and an ask of {book.price[ask]}"
        raise _invalid("the book is crossed or locked", where, "the best bid below the best ask", was)


def _repeated(order_id: np.ndarray) -> np.ndarray:
    """Return whether an order has the id of an earlier one, bool [O]; 0 is none."""
    first = np.zeros(len(order_id), bool)
    first[np.unique(order_id, return_index=True)[1]] = True
    return ~first & (order_id != 0)


def _check(what: str, book: BookSnapshot, column: str, wrong: np.ndarray, expected: str) -> None:
    """Refuse the first wrong row."""
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        side = {BID: "a bid", ASK: "an ask"}.get(int(book.side[row]), "an order")
        raise _invalid(what, f"the book, {column} in row {row}, {side}", expected, getattr(book, column)[row])


def _invalid(what: str, where: str, expected: str, was: Any) -> InputError:
    return InputError(what, where=where, expected=expected, was=was, remedy="pass a book as the venue shows it")
