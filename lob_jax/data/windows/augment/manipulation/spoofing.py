"""Spoofing: a large order behind the best price, which is withdrawn before anyone can trade with it.

Its size is meant to look like demand or supply. Lee, Eom and Park (2013, Microstructure-based manipulation: strategic
behavior and performance of spoofing traders) count an order as spoofing if it is at least twice as large as the average
order, is behind the market by several prices, and is withdrawn after the price has moved. Cartea, Jaimungal and Wang
(2020, Spoofing and price manipulation in order-driven markets) derive that its size should move the volume imbalance,
which is why it is several times the largest order that was entered lately.
"""

import numpy as np

from lob_jax.data.windows.augment.manipulation.stretch import Action, Stretch
from lob_jax.events.schema import ASK, BID, Kind

LEAST_LEVELS, MOST_LEVELS = 1, 4  # levels before that of the order
LEAST_FACTOR, MOST_FACTOR = 2.0, 5.0  # its size over the largest of the last ADDs
LEAST_LIFE, MOST_LIFE = 5, 30  # events of the market until it is withdrawn, if nothing comes too close to it
MOST_REPEATS = 3  # orders one after the other, all on one side


def spoofing(stretch: Stretch, random: np.random.Generator) -> list[Action]:
    """Return large orders on one side, each withdrawn before the next one is entered."""
    side, before, actions = int(random.choice([BID, ASK])), stretch.place(random), []
    for _ in range(int(random.integers(1, MOST_REPEATS, endpoint=True))):
        if before >= stretch.stop:
            break
        order, before = _one(stretch, before, side, random)
        actions += order
    return actions


def _one(stretch: Stretch, before: int, side: int, random: np.random.Generator) -> tuple[list[Action], int]:
    """Return an order that lives for at least an event, and the event before which the next one may be entered."""
    size = round(float(random.uniform(LEAST_FACTOR, MOST_FACTOR)) * stretch.largest(before))
    life = int(random.integers(LEAST_LIFE, MOST_LIFE, endpoint=True))
    reach = stretch.part(stretch.first, min(before + life, stretch.stop))
    prices = reach.prices(before, side)[LEAST_LEVELS : MOST_LEVELS + 1]
    ends = [reach.end_of(before, side, price, size=size, rank=LEAST_LEVELS) for price in prices]
    lasting = [(price, end) for price, end in zip(prices, ends, strict=True) if end > before]
    if not lasting:
        return [], before + 1
    price, end = lasting[int(random.integers(len(lasting)))]
    (entered,), (withdrawn,) = stretch.times(before, 1, random), stretch.times(end, 1, random)
    order = [
        Action(before, entered, Kind.ADD, side, price, size),
        Action(end, withdrawn, Kind.DELETE, side, price, size),
    ]
    return order, end + 1
