"""Read what is behind the view of a windowed feed from its days: levels that left it, and the distribution of others.

A feed of N levels shows the next level when one of the N goes. Generated books of such a feed follow two rules: a level
that left the view is remembered, and comes back as it was; where none is remembered, one is drawn from those that came
into view in training when none was remembered. Both are read from the states of a replay with N levels, and thus in the
same way for all tokens.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import BookStates, replay
from lob_jax.events.schema import ASK, BID
from lob_jax.generation.device.out_of_view import (
    MOST_REMEMBERED,
    NO_REVEALS,
    NOTHING_BEHIND,
    OutOfView,
    RevealDistribution,
)
from lob_jax.tokens.bins import MOST_DISTANCE, MOST_LOTS

MOST_PAIRS = 4096  # of a distribution, for either side

Level = tuple[int, int]  # key, which is the price in quanta, negated for bids, and lots


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


def follow_view(states: BookStates) -> View:
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
    for i in moves.tolist():
        if not (full_E[i] and full_E[i + 1]):
            kept = []  # a feed that shows fewer levels than it could shows all there are
            continue
        kept = [*kept, *_worse(key_EN[i], size_EN[i], last_E[i + 1])[::-1]][-MOST_REMEMBERED:]
        shown = _worse(key_EN[i + 1], size_EN[i + 1], last_E[i])
        before = [*key_EN[i, :1], *key_EN[i + 1]][key_EN.shape[1] - len(shown)]
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
                pairs.append((int(key - before), lots))
            before = key
    return kept, Revealed(pairs, remembered, changed)


def _worse(key_N: np.ndarray, size_N: np.ndarray, than: int) -> list[Level]:
    """Return the levels of a full side that are worse than a key, from the best."""
    first = int(np.searchsorted(key_N, than, side="right"))
    return list(zip(key_N[first:].tolist(), size_N[first:].tolist(), strict=True))


def behind_view(day: MarketDay, events: int) -> OutOfView:
    """Return the levels behind the view of a day's book after so many events; none if it has no window."""
    if not day.start.window:
        return NOTHING_BEHIND
    return follow_view(replay(day.part(0, events, start=day.start), day.start.window)).behind


def fit_reveals(revealed: Iterable[tuple[Revealed, Revealed]], *, tick: int, seed: int) -> RevealDistribution:
    """Return the distribution of the levels that came into view when none was remembered.

    Args:
      revealed: what came into view of bids and of asks, of some days or parts of days.
      tick: price quanta per tick.
      seed: of the sample, if there are more than MOST_PAIRS on a side.
    """
    sides = [[pair for part in parts for pair in part.pairs] for parts in zip(*revealed, strict=True)] or [[], []]
    reveals = RevealDistribution(
        *(np.zeros((2, MOST_PAIRS), np.int32) for _ in range(2)), count_2=np.zeros(2, np.int32)
    )
    for s, pairs in enumerate(sides):
        ticks, lots = np.array(pairs, np.int64).reshape(-1, 2).T // [[tick], [1]]
        valid = np.flatnonzero((ticks > 0) & (ticks <= MOST_DISTANCE) & (lots > 0) & (lots <= MOST_LOTS))
        kept = np.random.default_rng(seed).permutation(valid)[:MOST_PAIRS]
        kept = kept[np.lexsort((lots[kept], ticks[kept]))]
        reveals.ticks_2K[s, : len(kept)], reveals.lots_2K[s, : len(kept)], reveals.count_2[s] = (
            ticks[kept],
            lots[kept],
            len(kept),
        )
    return reveals if reveals.count_2.any() else NO_REVEALS
