"""What is behind the view of a windowed book, event by event, as `lob_jax.book.view.follow_view` finds it in a day."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.loops import write_levels
from lob_jax.book.orders import Book
from lob_jax.book.view import MOST_REMEMBERED, NOTHING_BEHIND, OutOfView
from lob_jax.events.schema import ASK, BID
from lob_jax.jit import in_place, inner


class Behind(NamedTuple):
    """The levels that have left the view, and the view itself.

    Attributes:
      price: int64 [2, MOST_REMEMBERED], price quanta, the best level last.
      lots: int64 [2, MOST_REMEMBERED].
      count: int64 [2], how many there are of either side.
      before: int64 [2, 2, N], prices and lots of the N levels of the window, of both sides, when they were last noted;
        N is 0 without a window.
      after: int64 [2, 2, N], those now.
    """

    price: np.ndarray
    lots: np.ndarray
    count: np.ndarray
    before: np.ndarray
    after: np.ndarray


def nothing_behind(window: int) -> Behind:
    """Return the state at the opening."""
    price, lots = np.zeros((2, 2, MOST_REMEMBERED if window else 0), np.int64)
    return Behind(price, lots, np.zeros(2, np.int64), *np.zeros((2, 2, 2, window), np.int64))


def out_of_view(book: Book, behind: Behind) -> OutOfView:
    """Return the levels behind the view of a book, on either side from the best."""
    if not book.window:
        return NOTHING_BEHIND
    now = Behind(*(leaf.copy() for leaf in behind))
    note_view(book, now)
    each = [[leaf[s, :count][::-1] for s, count in enumerate(now.count.tolist())] for leaf in now[:2]]
    return OutOfView(np.repeat(np.array([BID, ASK], np.int8), now.count), *(np.concatenate(sides) for sides in each))


@in_place
def note_view(book: Book, behind: Behind) -> None:
    """Remember what has left the view since it was last noted, and forget what has come back.

    Called before each event, it compares the books before and after the last one, all of its corrections included,
    which may come later than the event.
    """
    if book.window == 0:
        return
    write_levels(book, behind.after[0], behind.after[1])
    for s in range(2):
        last = behind.before.shape[2] - 1
        was_full, is_full = behind.before[1, s, last] > 0, behind.after[1, s, last] > 0
        if was_full and is_full:
            if behind.before[0, s, last] != behind.after[0, s, last]:
                _move(behind, s, 2 * s - 1)
        elif was_full or is_full:  # a feed that shows fewer levels than it could shows all there are
            behind.count[s] = 0
        for k in range(last + 1):
            for what in range(2):
                behind.before[what, s, k] = behind.after[what, s, k]


@inner
def _move(behind: Behind, s: int, sign: int) -> None:
    """Follow a view whose last level is another one; prices times `sign` are larger the worse they are."""
    levels, price = behind.before.shape[2], behind.price[s]
    was_last, is_last = sign * behind.before[0, s, levels - 1], sign * behind.after[0, s, levels - 1]
    for k in range(levels - 1, -1, -1):
        if sign * behind.before[0, s, k] > is_last:
            _push(behind, s, behind.before[0, s, k], behind.before[1, s, k])
    for k in range(levels):
        key = sign * behind.after[0, s, k]
        if key > was_last:
            while behind.count[s] > 0 and sign * price[behind.count[s] - 1] < key:
                behind.count[s] -= 1
            if behind.count[s] > 0 and sign * price[behind.count[s] - 1] == key:
                behind.count[s] -= 1


@inner
def _push(behind: Behind, s: int, price: int, lots: int) -> None:
    """Remember a level as the best, and forget the worst if there is no room."""
    if behind.count[s] == behind.price.shape[1]:
        for at in range(1, behind.price.shape[1]):
            behind.price[s, at - 1], behind.lots[s, at - 1] = behind.price[s, at], behind.lots[s, at]
        behind.count[s] -= 1
    behind.price[s, behind.count[s]], behind.lots[s, behind.count[s]] = price, lots
    behind.count[s] += 1
