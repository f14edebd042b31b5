"""Days of a feed of individual orders whose ids come back, for tests of which order a removal takes from."""

import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Events, Kind
from tests.market_day import market_day

TICK, BEST = 5, {BID: 100, ASK: 101}
LEVELS, MOST_LOTS, HIDDEN, FEWEST = 3, 4, 6, 30


def feed_day(seed, count, *, returning=0.5, orderly=False):
    """Return a day of events of a few levels, many of orders of the same size.

    An order that has gone is added again under the same id with the probability `returning`. If the day is orderly,
    executions take from the front, and the first book is empty. Otherwise they name orders anywhere in a queue, and the
    first book has one anonymous order per level, whose parts have ids that only their removals name.
    """
    rng = np.random.default_rng(seed)
    start = [] if orderly else _hidden(rng)
    live = {count + 1 + k: order for k, order in enumerate(start)}  # by id, as they came
    rows, fresh = [], rng.permutation(count) + 1
    while len(rows) < count:
        kind = rng.choice([Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE], p=[0.4, 0.15, 0.25, 0.2])
        if kind == Kind.ADD or len(live) < FEWEST:
            _add(rows, live, int(fresh[len(rows)]), rng)
            continue
        name = int(rng.choice(list(live)))
        if orderly and kind == Kind.EXECUTE:
            name = next(other for other, order in live.items() if order[:2] == live[name][:2])
        side, ticks, held = live[name]
        size = held if kind == Kind.DELETE else int(rng.integers(1, held + 1))
        kind = Kind.DELETE if kind == Kind.CANCEL and size == held else kind
        rows.append((kind, side, ticks, size, name))
        live[name] = (side, ticks, held - size)
        if size == held:
            live.pop(name)
            if rng.random() < returning:
                _add(rows, live, name, rng)
    kind, side, ticks, size, name = np.array(rows[:count], np.int64).T
    columns = {"kind": kind, "side": side, "price": TICK * ticks, "size": size, "order_id": name}
    events = Events.from_columns(time_ns=np.cumsum(rng.integers(0, 5_000, count)), **columns)
    return market_day(events, start=_anonymous(start), instrument=Instrument("X", "TEST", "2024-03-04", tick=TICK))


def _hidden(rng):
    levels = [(side, BEST[side] - side * depth) for side in (BID, ASK) for depth in range(LEVELS)]
    return [(*level, size) for level in levels for size in rng.integers(1, MOST_LOTS, HIDDEN).tolist()]


def _add(rows, live, name, rng):
    side = int(rng.choice([BID, ASK]))
    live[name] = (side, BEST[side] - side * int(rng.integers(LEVELS)), int(rng.integers(1, MOST_LOTS)))
    rows.append((Kind.ADD, *live[name], name))


def _anonymous(orders):
    """Return a book with one anonymous order per level, in place of orders listed level by level."""
    side, ticks, size = np.array(orders, np.int64).reshape(-1, HIDDEN, 3).transpose(2, 0, 1)
    return BookSnapshot(
        time_ns=0,
        side=side[:, 0].astype(np.int8),
        price=TICK * ticks[:, 0],
        size=size.sum(1),
        order_id=np.zeros(len(side), np.uint64),
        anonymous=np.ones(len(side), bool),
        last_best=np.zeros(2, np.int64),
    )
