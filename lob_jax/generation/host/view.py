"""The views of windowed books: levels that leave one are remembered, and one comes into it when a level goes.

The rules are those of `lob_jax.generation.device.live_book`.
"""

import numpy as np

from lob_jax.book.kernel import correct, level_of, reference
from lob_jax.book.orders import END, FIRST, PRICE, SIZE, Book
from lob_jax.generation.host.random import fold_in, uniform
from lob_jax.generation.host.state import Number, Reveals, Shown
from lob_jax.jit import inner
from lob_jax.tokens.sets.limits import EXECUTE, Rules

KEY_0, KEY_1, FRESH, FLIP = (int(Number[name]) for name in ("KEY_0", "KEY_1", "FRESH", "FLIP"))
_SHOWN_SIDE, _SHOWN_PRICE, _SHOWN_LOTS, _SHOWN_REMEMBERED, _, _ = (int(column) for column in Shown)
_REVEALS = 2**32 - 1  # folded into a path's key, see `lob_jax.generation.device.out_of_view`


@inner
def remember_hidden(book: Book, price_M: np.ndarray, lots_M: np.ndarray, kind: int, s: int, price: int) -> None:
    """Remember the last level of a full side if an event of the side is about to replace it."""
    side = book.side[s]
    if kind != 1 or side[END] - side[FIRST] < book.window or level_of(book, s, price) >= 0:
        return
    for at in range(len(price_M) - 1, 0, -1):
        price_M[at], lots_M[at] = price_M[at - 1], lots_M[at - 1]
    price_M[0], lots_M[0] = book.levels[s, side[FIRST], PRICE], book.levels[s, side[FIRST], SIZE]


@inner
def reveal(
    book: Book,
    price_M: np.ndarray,
    lots_M: np.ndarray,
    reveals: Reveals,
    rules: Rules,
    number: np.ndarray,
    shown: np.ndarray,
    s: int,
    price: int,
    levels: int,
    own: int,
) -> bool:
    """Bring a level into view after an event that has removed one; return whether there is such a level.

    Args:
      book: the book after the event; changed in place.
      price_M: prices of the levels behind the view of the side; changed in place, as are the next.
      lots_M: their lots.
      reveals: the distribution of the levels of which nothing is known.
      rules: the constants of the paths.
      number: the row of the path, see `Number`.
      shown: filled, see `Shown`.
      s: the side, 0 bid, 1 ask.
      price: that of the level that has gone.
      levels: the number of levels of the side before the event.
      own: number of tokens of the user's orders, 0 in an event of the model.
    """
    sign = 1 - 2 * s
    if lots_M[0] > 0:
        shown[_SHOWN_PRICE], shown[_SHOWN_LOTS], shown[_SHOWN_REMEMBERED] = price_M[0], lots_M[0], 1
        for at in range(1, len(price_M)):
            price_M[at - 1], lots_M[at - 1] = price_M[at], lots_M[at]
        lots_M[-1] = 0
    elif reveals.count[s] > 0 and (levels >= book.window or levels == 1):
        last = book.levels[s, book.side[s, FIRST], PRICE] if levels > 1 else price
        pair = _drawn(reveals.count[s], number, own)
        found = last - sign * reveals.ticks[s, pair] * rules.tick
        if not rules.signed and found < rules.tick:
            return False
        shown[_SHOWN_PRICE], shown[_SHOWN_LOTS], shown[_SHOWN_REMEMBERED] = found, reveals.lots[s, pair], 0
    else:
        return False
    shown[_SHOWN_SIDE] = sign
    correct(book, sign, shown[_SHOWN_PRICE], shown[_SHOWN_LOTS])
    return True


@inner
def _drawn(count: int, number: np.ndarray, own: int) -> int:
    """Return which of `count` pairs the current event of a path draws."""
    key0, key1 = fold_in(number[KEY_0], number[KEY_1], _REVEALS)
    key0, key1 = fold_in(key0, key1, number[FRESH])
    key0, key1 = fold_in(key0, key1, own)
    at = uniform(key0, key1, 0)
    at = 1 - at if number[FLIP] else at
    return min(max(np.int64(np.float32(at) * np.float32(count)), 0), count - 1)


@inner
def price_at(book: Book, kind: int, s: int, distance: int, rules: Rules) -> int:
    """Return the price of an event at a distance, in quanta."""
    sign = 1 - 2 * s
    return reference(book, sign) - sign * distance * (rules.tick if kind <= EXECUTE else 1)
