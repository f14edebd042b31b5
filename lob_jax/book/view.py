"""Follow the view of a feed that shows N levels a side: what leaves it is remembered, what comes into it is counted."""

import bisect
import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lob_jax.events.schema import ASK, BID

if TYPE_CHECKING:  # at run time it would import Numba, which generation does not need
    from lob_jax.book.replay import BookStates

MOST_REMEMBERED = 64  # levels per side that a book keeps behind its view

Level = tuple[int, int]  # key, which is the price in quanta, negated for bids, and lots


@dataclasses.dataclass(frozen=True, eq=False)
class OutOfView:
    """The levels that have left the view of a book, on either side from the best.

    Attributes:
      side: int8 [M], +1 bid, -1 ask.
      price: int64 [M], price quanta.
      size: int64 [M], lots.
    """

    side: np.ndarray
    price: np.ndarray
    size: np.ndarray


NOTHING_BEHIND = OutOfView(np.zeros(0, np.int8), np.zeros(0, np.int64), np.zeros(0, np.int64))


class Revealed(NamedTuple):
    """The levels that came into view on one side.

    Attributes:
      pairs: those before which no level was remembered: price quanta behind the level before it, and lots.
      remembered: number of those that came back as the best of the levels remembered.
      changed: number of the others: a better level, or a worse one, is known to have left the view.
    """

    pairs: list[tuple[int, int]]
    remembered: int
    changed: int


class View(NamedTuple):
    """The result of following the view of a feed.

    Attributes:
      behind: the levels remembered after the last state.
      revealed: of bids and of asks.
    """

    behind: OutOfView
    revealed: tuple[Revealed, Revealed]


def follow_view(states: "BookStates") -> View:
    """Follow the view of a feed that shows as many levels as the states have."""
    sides = [_follow_side(sign * states.price[:, s], states.size[:, s]) for s, sign in enumerate((-1, 1))]
    rows = [
        (side, -side * key, lots)
        for side, (kept, _) in zip((BID, ASK), sides, strict=True)
        for key, lots in reversed(kept)
    ]
    side, price, size = np.array(rows, np.int64).reshape(-1, 3).T
    return View(OutOfView(side.astype(np.int8), price, size), (sides[0][1], sides[1][1]))


def _follow_side(key_EN: np.ndarray, size_EN: np.ndarray) -> tuple[list[Level], Revealed]:
    """Return the levels remembered after the last state, the best last, and those that came into view."""
    full_E, last_E = size_EN[:, -1] > 0, key_EN[:, -1]
    moves = np.flatnonzero((full_E[1:] != full_E[:-1]) | (last_E[1:] != last_E[:-1]))
    kept: list[Level] = []
    pairs, remembered, changed = [], 0, 0
    sides = (zip(full_E[at], key_EN[at].tolist(), size_EN[at].tolist(), strict=True) for at in (moves, moves + 1))
    for (was_full, was_N, was_lots_N), (is_full, is_N, is_lots_N) in zip(*sides, strict=True):
        if not (was_full and is_full):
            kept = []  # a feed that shows fewer levels than it could shows all there are
            continue
        kept = [*kept, *_worse(was_N, was_lots_N, is_N[-1])[::-1]][-MOST_REMEMBERED:]
        shown = _worse(is_N, is_lots_N, was_N[-1])
        before = [was_N[0], *is_N][len(is_N) - len(shown)]
        for key, lots in shown:
            knew = len(kept) > 0
            while kept and kept[-1][0] < key:
                kept.pop()
            if kept and kept[-1][0] == key:
                kept.pop()
                remembered += 1
            elif knew:
                changed += 1
            else:
                pairs.append((key - before, lots))
            before = key
    return kept, Revealed(pairs, remembered, changed)


def _worse(key_N: list[int], size_N: list[int], than: int) -> list[Level]:
    """Return the levels of a full side that are worse than a key, from the best."""
    first = bisect.bisect_right(key_N, than)
    return list(zip(key_N[first:], size_N[first:], strict=True))
