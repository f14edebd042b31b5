"""Write the ITCH messages of one instrument's day: a compiled loop over its events that replays the book."""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import apply, clear, correct, level_of, ordered_slot, rule_slot
from lob_jax.book.loops import CorrectionColumns, EventColumns, mark_of
from lob_jax.book.orders import AHEAD, ANONYMOUS, BACK, BEHIND, END, FIRST, FRONT, ID, NOBODY, PRICE, SIZE, Book
from lob_jax.events.schema import Code, Kind
from lob_jax.feeds.itch.codes import SIZES
from lob_jax.feeds.reading.order_table import OrderTable, find, insert, remove
from lob_jax.jit import in_place, inner

_ADD, _CANCEL, _DELETE, _EXECUTE = int(Kind.ADD), int(Kind.CANCEL), int(Kind.DELETE), int(Kind.EXECUTE)
_HIDDEN, _CROSS, _CONTROL = int(Kind.EXECUTE_HIDDEN), int(Kind.CROSS), int(Kind.CONTROL)
_CLEAR, _OPEN, _CLOSE = int(Code.CLEAR), int(Code.SESSION_OPEN), int(Code.SESSION_CLOSE)
_STATE_OF = np.zeros(len(Code), np.uint8)
for _code, _letter in ((Code.HALT, "H"), (Code.RESUME_QUOTE, "Q"), (Code.RESUME_TRADE, "T")):
    _STATE_OF[_code] = ord(_letter)
_A, _D, _E, _X, _P, _Q, _H, _S, _M = (ord(letter) for letter in "ADEXPQHSM")
_BUY, _SELL, _BLANK, _OPENING = ord("B"), ord("S"), ord(" "), ord("O")
_A_SIZE, _D_SIZE, _E_SIZE, _X_SIZE, _P_SIZE, _Q_SIZE, _H_SIZE, _S_SIZE = (SIZES[letter] for letter in "ADEXPQHS")


class At(enum.IntEnum):
    """Indices of `Out.at`."""

    MATCHES = 0  # the last match number
    FRESH = 1  # the next unused reference
    LENGTH = 2  # number of bytes written


class Out(NamedTuple):
    """The output buffer and the state needed to write messages.

    Attributes:
      data: uint8 [N], with room for all messages.
      at: int64 [3], by `At`.
      references: int64 [O], the reference in the file of the order in each slot of the book.
      live: the references in use in the file, across all days.
      stock: uint8 [8], the symbol padded with blanks.
      locate: the stock's locate code.
      factor: price quanta of the file per price quantum of the instrument.
    """

    data: np.ndarray
    at: np.ndarray
    references: np.ndarray
    live: OrderTable
    stock: np.ndarray
    locate: int
    factor: int


@in_place
def write_day(
    book: Book, events: EventColumns, times: np.ndarray, corrections: CorrectionColumns, begin: int, out: Out
) -> None:
    """Write the orders of the starting book, then each event and its corrections.

    Args:
      book: the starting book; changed in place.
      events: E events.
      times: int64 [E], ns after midnight.
      corrections: those of the events.
      begin: time of the starting book, ns after midnight.
      out: where messages are written; changed in place.
    """
    for s in range(2):
        for row in range(book.side[s, END] - 1, book.side[s, FIRST] - 1, -1):
            slot = book.levels[s, row, FRONT]
            while slot != NOBODY:
                order = book.orders[slot]
                out.references[slot] = _enter(s, order[PRICE], order[SIZE], order[ID], begin, out)
                slot = book.orders[slot, BEHIND]
    cursor = 0
    for i in range(len(times)):
        kind, code, side = np.int64(events.kind[i]), np.int64(events.code[i]), np.int64(events.side[i])
        price, size, order_id = events.price[i], events.size[i], np.int64(events.order_id[i])
        s = 0 if side > 0 else 1
        if kind == _ADD:
            _add(book, s, price, size, order_id, mark_of(events, i), times[i], out)
        elif kind < _HIDDEN:
            # Write first: the messages name orders that the removal takes out of the book.
            _take(book, s, kind, price, size, order_id, times[i], out)
            apply(book, kind, side, price, size, order_id)
        elif kind == _CONTROL:
            _control(book, code, times[i], out)
        else:
            _trade(kind, s, price, size, order_id, times[i], out)
        while cursor < len(corrections.event) and corrections.event[cursor] == i:
            _amend(book, corrections, cursor, times[i], out)
            cursor += 1


@inner
def _add(book: Book, s: int, price: int, size: int, order_id: int, mark: int, time: int, out: Out) -> None:
    """Write a new order, and the deletion of the orders that a full window drops for it, or of the order itself."""
    sign, worst = 1 - 2 * s, book.side[s, FIRST]
    full = book.window > 0 and book.side[s, END] - worst >= book.window and level_of(book, s, price) < 0
    reference = _enter(s, price, size, order_id, time, out)
    if full and sign * price < sign * book.levels[s, worst, PRICE]:
        _leave(reference, time, out)
        return
    if full:
        _leave_level(book, s, worst, NOBODY, time, out)
        correct(book, sign, book.levels[s, worst, PRICE], 0)
    out.references[book.free[0]] = reference  # the slot that `apply` is about to give to the order
    apply(book, _ADD, sign, price, size, order_id, mark)


@inner
def _take(book: Book, s: int, kind: int, price: int, size: int, order_id: int, time: int, out: Out) -> None:
    """Write a removal, order by order, as the book will distribute it."""
    row = level_of(book, s, price)
    if row < 0 or size <= 0:
        return
    first = ordered_slot(book, s, row, kind, size, order_id)
    if size >= book.levels[s, row, SIZE]:
        if kind == _EXECUTE:
            _charge_from(book, book.levels[s, row, FRONT], BEHIND, NOBODY, book.levels[s, row, SIZE], kind, time, out)
        else:
            _leave_level(book, s, row, first, time, out)
        return
    if first == NOBODY:
        first = rule_slot(book, s, row, kind, size)
    size -= _charge(book, first, size, kind, time, out)
    end, onward = (FRONT, BEHIND) if kind == _EXECUTE else (BACK, AHEAD)
    _charge_from(book, book.levels[s, row, end], onward, first, size, kind, time, out)


@inner
def _charge_from(book: Book, slot: int, onward: int, but: int, size: int, kind: int, time: int, out: Out) -> None:
    """Write a removal of `size` from the orders from `slot` onwards, skipping the order `but`."""
    while size > 0 and slot != NOBODY:
        if slot != but:
            size -= _charge(book, slot, size, kind, time, out)
        slot = book.orders[slot, onward]


@inner
def _charge(book: Book, slot: int, size: int, kind: int, time: int, out: Out) -> int:
    """Write the removal of up to `size` from one order; return the lots removed."""
    held, reference = book.orders[slot, SIZE], out.references[slot]
    taken = min(size, held)
    if kind == _EXECUTE:
        p = _begin(out, _E, _E_SIZE, time)
        _put(out, p + 11, 8, reference)
        _put(out, p + 19, 4, taken)
        _put_match(out, p + 23)
        if taken == held:
            remove(out.live, find(out.live, reference))
    elif taken == held:
        _leave(reference, time, out)
    else:
        p = _begin(out, _X, _X_SIZE, time)
        _put(out, p + 11, 8, reference)
        _put(out, p + 19, 4, taken)
    return taken


@inner
def _amend(book: Book, corrections: CorrectionColumns, c: int, time: int, out: Out) -> None:
    """Write the messages that bring a level to its corrected size, and correct the book."""
    s = 0 if corrections.side[c] > 0 else 1
    price, size = corrections.price[c], corrections.size[c]
    row = level_of(book, s, price)
    held = book.levels[s, row, SIZE] if row >= 0 else 0
    if size > held:
        _add(book, s, price, size - held, 0, 0 if book.pooled else ANONYMOUS, time, out)
        return
    if row >= 0:
        _charge_from(book, book.levels[s, row, BACK], AHEAD, NOBODY, held - size, _CANCEL, time, out)
    correct(book, 1 - 2 * s, price, size)


@inner
def _control(book: Book, code: int, time: int, out: Out) -> None:
    """Write a change of the trading state, the session's start or end, or the deletion of all orders."""
    if code == _CLEAR:
        for s in range(2):
            for row in range(book.side[s, FIRST], book.side[s, END]):
                _leave_level(book, s, row, NOBODY, time, out)
        clear(book)
    elif code in (_OPEN, _CLOSE):
        p = _begin(out, _S, _S_SIZE, time)
        _put(out, p + 1, 2, 0)
        out.data[p + 11] = _Q if code == _OPEN else _M
    elif _STATE_OF[code] != 0:
        p = _begin(out, _H, _H_SIZE, time)
        _put_stock(out, p + 11)
        out.data[p + 19] = _STATE_OF[code]
        out.data[p + 20 : p + 25] = _BLANK


@inner
def _trade(kind: int, s: int, price: int, size: int, order_id: int, time: int, out: Out) -> None:
    """Write the trade of a hidden order, or an auction trade."""
    if kind == _HIDDEN:
        p = _begin(out, _P, _P_SIZE, time)
        _put(out, p + 11, 8, order_id)
        out.data[p + 19] = _BUY if s == 0 else _SELL
        _put(out, p + 20, 4, size)
        _put_stock(out, p + 24)
        _put(out, p + 32, 4, price * out.factor)
        _put_match(out, p + 36)
    else:
        p = _begin(out, _Q, _Q_SIZE, time)
        _put(out, p + 11, 8, size)
        _put_stock(out, p + 19)
        _put(out, p + 27, 4, price * out.factor)
        _put_match(out, p + 31)
        out.data[p + 39] = _OPENING


@inner
def _enter(s: int, price: int, size: int, order_id: int, time: int, out: Out) -> int:
    """Write a new order; return its reference, which is its id unless that is 0 or in use."""
    reference = order_id
    if reference == 0 or find(out.live, reference) >= 0:
        reference = out.at[At.FRESH]
        out.at[At.FRESH] += 1
    insert(out.live, reference)
    p = _begin(out, _A, _A_SIZE, time)
    _put(out, p + 11, 8, reference)
    out.data[p + 19] = _BUY if s == 0 else _SELL
    _put(out, p + 20, 4, size)
    _put_stock(out, p + 24)
    _put(out, p + 32, 4, price * out.factor)
    return reference


@inner
def _leave(reference: int, time: int, out: Out) -> None:
    """Write the deletion of an order."""
    _put(out, _begin(out, _D, _D_SIZE, time) + 11, 8, reference)
    remove(out.live, find(out.live, reference))


@inner
def _leave_level(book: Book, s: int, row: int, first: int, time: int, out: Out) -> None:
    """Write the deletion of all orders of a level, starting with `first` unless it is NOBODY."""
    if first != NOBODY:
        _leave(out.references[first], time, out)
    slot = book.levels[s, row, FRONT]
    while slot != NOBODY:
        if slot != first:
            _leave(out.references[slot], time, out)
        slot = book.orders[slot, BEHIND]


@inner
def _begin(out: Out, letter: int, size: int, time: int) -> int:
    """Write the length and the common fields of a message; return the position of its first byte."""
    p = out.at[At.LENGTH] + 2
    out.at[At.LENGTH] = p + size
    _put(out, p - 2, 2, size)
    out.data[p] = letter
    _put(out, p + 1, 2, out.locate)
    _put(out, p + 3, 2, 0)
    _put(out, p + 5, 6, time)
    return p


@inner
def _put(out: Out, p: int, width: int, value: int) -> None:
    """Write a big-endian integer."""
    for k in range(width):
        out.data[p + k] = (value >> (8 * (width - 1 - k))) & 255


@inner
def _put_stock(out: Out, p: int) -> None:
    for k in range(8):
        out.data[p + k] = out.stock[k]


@inner
def _put_match(out: Out, p: int) -> None:
    out.at[At.MATCHES] += 1
    _put(out, p, 8, out.at[At.MATCHES])
