"""Layering: orders at several levels behind the best price, which follow it, and are all withdrawn at the end.

Several orders together are meant to look like demand or supply of many participants. They keep their distance: when the
best price of their side moves, they are withdrawn and entered anew (Dalko, Michael and Wang, 2020, Spoofing: effective
market power building through perception alignment, describe both forms).
"""

import numpy as np

from lob_jax.data.windows.augment.manipulation.stretch import Action, Stretch
from lob_jax.events.schema import ASK, BID, Kind

BEHIND = 1  # levels before that of the first order, which is never at the best
LEAST_ORDERS, MOST_ORDERS = 3, 5  # levels with an order
LEAST_FACTOR, MOST_FACTOR = 0.5, 1.5  # size of each over the largest of the last ADDs: large together, not alone
LEAST_LIFE, MOST_LIFE = 10, 40  # events of the market until all are withdrawn


def layering(stretch: Stretch, random: np.random.Generator) -> list[Action]:
    """Return orders at successive levels of one side, moved as the best moves, and withdrawn."""
    side, first = int(random.choice([BID, ASK])), stretch.place(random)
    count = int(random.integers(LEAST_ORDERS, MOST_ORDERS, endpoint=True))
    last = min(first + int(random.integers(LEAST_LIFE, MOST_LIFE, endpoint=True)), stretch.stop)
    size = max(1, round(float(random.uniform(LEAST_FACTOR, MOST_FACTOR)) * stretch.largest(first)))
    reach, held, best, actions = stretch.part(stretch.first, last), {}, None, []
    for before in range(first, last + 1):
        prices = reach.prices(before, side) if before < last else []
        wanted = dict(held)
        if prices[:1] != best:  # also at the end, where there are none
            best, ahead = prices[:1], prices[BEHIND : BEHIND + count]
            wanted = {price: reach.end_of(before, side, price, size=size, rank=BEHIND) for price in ahead}
        wanted = {price: end for price, end in wanted.items() if end > before}
        moves = [(Kind.DELETE, price) for price in held if price not in wanted]
        moves += [(Kind.ADD, price) for price in wanted if price not in held]
        times = stretch.times(before, len(moves), random)
        actions += [Action(before, at, kind, side, price, size) for at, (kind, price) in zip(times, moves, strict=True)]
        held = wanted
    return actions
