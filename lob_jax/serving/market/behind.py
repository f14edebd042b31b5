"""What is behind the view of a windowed book, event by event, as `lob_jax.book.view.follow_view` finds it in a day."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.loops import write_levels
from lob_jax.book.orders import Book
from lob_jax.book.view import MOST_REMEMBERED, NOTHING_BEHIND, OutOfView
from lob_jax.events.schema import ASK, BID
from lob_jax.jit import inner


class Behind(NamedTuple):
    """The levels that have left the view, and memory for the view before an event and after it.

    Attributes:
      price: int64 [2, MOST_REMEMBERED], price quanta, the best level last.
      lots: int64 [2, MOST_REMEMBERED].
      count: int64 [2], how many there are of either side.
      before: int64 [2, 2, N], prices and lots of the N levels of the window, of both sides; N is 0 without a window.
      after: int64 [2, 2, N].
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


def out_of_view(behind: Behind) -> OutOfView:
    """Return the levels behind the view, on either side from the best."""
    if not behind.before.shape[-1]:
        return NOTHING_BEHIND
    each = [[leaf[s, :count][::-1] for s, count in enumerate(behind.count.tolist())] for leaf in behind[:2]]
    return OutOfView(np.repeat(np.array([BID, ASK], np.int8), behind.count), *(np.concatenate(sides) for sides in each))


@inner
def note_before(book: Book, behind: Behind) -> None:
    """Note the view before an event."""
    if book.window > 0:
        write_levels(book, behind.before[0], behind.before[1])


@inner
def note_after(book: Book, behind: Behind) -> None:
    """Remember what an event and its corrections moved out of view, and forget what they brought back."""
    if book.window == 0:
        return
    write_levels(book, behind.after[0], behind.after[1])
    for s in range(2):
        last = behind.before.shape[2] - 1
        was_full, is_full = behind.before[1, s, last] > 0, behind.after[1, s, last] > 0
        if was_full == is_full and behind.before[0, s, last] == behind.after[0, s, last]:
            continue
        if was_full and is_full:
            _move(behind, s, 2 * s - 1)
        else:  # a feed that shows fewer levels than it could shows all there are
            behind.count[s] = 0


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
