"""Days of a feed of individual orders that does not follow the rules of the replay, for tests of order identity."""

import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Events, Kind
from tests.market_day import market_day

TICK, BEST = 5, {BID: 100, ASK: 101}
LEVELS, MOST_LOTS, HIDDEN = 3, 4, 6


def unruly_day(seed, count, *, returning=0.5):
    """Return a day whose ids come back, whose executions name orders anywhere in a queue, and whose sizes repeat.

    It starts from one anonymous order per level, whose parts have ids that only their own removals name. An order that
    is modified is deleted and added again under the same id, with the probability `returning`; otherwise it is gone.
    """
    rng = np.random.default_rng(seed)
    live = {}  # by id: side, ticks, lots
    start = []
    for side in (BID, ASK):
        for depth in range(LEVELS):
            ticks = BEST[side] - side * depth
            parts = rng.integers(1, MOST_LOTS, HIDDEN).tolist()
            for size in parts:
                live[10_000 + len(live)] = (side, ticks, size)
            start.append((side, ticks, sum(parts)))
    rows, fresh = [], 0
    while len(rows) < count:
        kind = rng.choice([Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE], p=[0.4, 0.15, 0.25, 0.2])
        if kind == Kind.ADD or len(live) < 8:
            fresh += 1
            _add(rows, live, fresh, rng)
            continue
        name = int(rng.choice(list(live)))
        side, ticks, held = live[name]
        size = held if kind == Kind.DELETE else int(rng.integers(1, held + 1))
        if kind == Kind.CANCEL and size == held:
            kind = Kind.DELETE
        rows.append((kind, side, ticks, size, name))
        live.pop(name)
        if size < held:
            live[name] = (side, ticks, held - size)
        elif rng.random() < returning:
            _add(rows, live, name, rng)
    kind, side, ticks, size, name = np.array(rows[:count], np.int64).T
    events = Events.from_columns(
        time_ns=10 * np.arange(1, count + 1), kind=kind, side=side, price=TICK * ticks, size=size, order_id=name
    )
    return market_day(events, start=_anonymous(start), instrument=Instrument("X", "TEST", "2024-03-04", tick=TICK))


def _add(rows, live, name, rng):
    side = int(rng.choice([BID, ASK]))
    live[name] = (side, BEST[side] - side * int(rng.integers(LEVELS)), int(rng.integers(1, MOST_LOTS)))
    rows.append((Kind.ADD, *live[name], name))


def _anonymous(levels):
    side, ticks, size = np.array(levels, np.int64).T
    return BookSnapshot(
        time_ns=0,
        side=side.astype(np.int8),
        price=TICK * ticks,
        size=size,
        order_id=np.zeros(len(side), np.uint64),
        anonymous=np.ones(len(side), bool),
        last_best=np.zeros(2, np.int64),
    )
