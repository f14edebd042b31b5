"""Read what is behind the view of a windowed feed from its days: levels that left it, and the distribution of others.

A feed of N levels shows the next level when one of the N goes. Generated books of such a feed follow two rules: a level
that left the view is remembered, and comes back as it was; where none is remembered, one is drawn from those that came
into view in training when none was remembered. Both are read from the states of a replay with N levels, and thus in the
same way for all tokens.
"""

from collections.abc import Iterable

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import replay
from lob_jax.book.view import NOTHING_BEHIND, OutOfView, follow_view
from lob_jax.data.records.reveals import MOST_PAIRS, Pairs
from lob_jax.generation.prompt import NO_REVEALS, RevealDistribution
from lob_jax.tokens.bins import MOST_DISTANCE, MOST_LOTS


def behind_view(day: MarketDay, events: int) -> OutOfView:
    """Return the levels behind the view of a day's book after so many events; none if it has no window."""
    if not day.start.window:
        return NOTHING_BEHIND
    return follow_view(replay(day.part(0, events, start=day.start), day.start.window)).behind


def fit_reveals(revealed: Iterable[tuple[Pairs, Pairs]], *, seed: int) -> RevealDistribution:
    """Return the distribution of the levels that came into view when none was remembered.

    Args:
      revealed: ticks and lots of what came into view of bids and of asks, of some days or parts of days.
      seed: of the sample, if there are more than MOST_PAIRS on a side.
    """
    sides = [[pair for part in parts for pair in part] for parts in zip(*revealed, strict=True)] or [[], []]
    reveals = RevealDistribution(
        *(np.zeros((2, MOST_PAIRS), np.int32) for _ in range(2)), count_2=np.zeros(2, np.int32)
    )
    for s, pairs in enumerate(sides):
        ticks, lots = np.array(pairs, np.int64).reshape(-1, 2).T
        valid = np.flatnonzero((ticks > 0) & (ticks <= MOST_DISTANCE) & (lots > 0) & (lots <= MOST_LOTS))
        kept = np.random.default_rng(seed).permutation(valid)[:MOST_PAIRS]
        kept = kept[np.lexsort((lots[kept], ticks[kept]))]
        reveals.ticks_2K[s, : len(kept)], reveals.lots_2K[s, : len(kept)], reveals.count_2[s] = (
            ticks[kept],
            lots[kept],
            len(kept),
        )
    return reveals if reveals.count_2.any() else NO_REVEALS
