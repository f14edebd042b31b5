"""Convert absolute level sizes and trades to events, for all L2 feeds.

A message gives the new sizes of some levels, which include the effect of the trades since the previous message. If the
message changes the level at which a trade took place, the trade becomes an EXECUTE of at most the size of that level,
and the remaining change a CANCEL, a DELETE or an ADD. A trade that no level of its message explains becomes an
EXECUTE_HIDDEN. A message must follow the trades that it includes; in the opposite order they would be counted twice.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from lob_jax.book.levels import END, FIRST, LAST_BEST, SEEN, load_levels, occupied, with_level_room
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.schema import ASK, BID, COLUMNS, Events
from lob_jax.feeds.levels import loops
from lob_jax.feeds.levels.loops import COUNTS, Count, LevelRows, State, What
from lob_jax.feeds.reading.scale import Scale, Steps, scale_of
from lob_jax.feeds.reading.store import EventStore

__all__ = ["LevelChanges", "LevelDay", "LevelRows", "What"]

_DROPPED = [COUNTS[count] for count in (Count.EARLY_ROWS, Count.EARLY_TRADES, Count.LOST_ROWS, Count.SUPERSEDED)]
_EMITTED = loops.Emitted._fields[:-2]


class LevelDay(NamedTuple):
    """A day of level rows converted to events, in an instrument's integers.

    Attributes:
      start: the starting book.
      events: the events.
      corrections: the levels of later snapshots.
      scale: the units of the integers.
      signed: whether the price of a level was zero or negative.
      dropped: number of rows left out, by reason.
      counts: further counts by name, such as explained trades (sizes in lots), and crossed and locked books after a
        message.
    """

    start: BookSnapshot
    events: Events
    corrections: Corrections
    scale: Scale
    signed: bool
    dropped: dict[str, int]
    counts: dict[str, int]


class LevelChanges:
    """Converts the rows of an L2 feed to events in a store, block by block.

    Attributes:
      price_divisor: common divisor of the prices of all levels so far.
      quantum_divisor: common divisor of those and of the prices of trades.
      size_divisor: common divisor of all sizes so far.
    """

    def __init__(self, store: EventStore):
        self._store = store
        self._levels = load_levels(BookSnapshot.empty())
        self._start: BookSnapshot | None = None
        self._work = loops.Workspace(
            state=np.zeros(7, np.int64),
            counts=np.zeros(len(Count), np.int64),
            pending=np.zeros((0, 6), np.int64),
            places=np.zeros((0, 2), np.int64),
            stamp=np.zeros(2, np.int64),
            held=np.zeros(0, np.int64),
            lots=np.zeros((2, 2), np.int64),
        )
        self._out = _room_for(0)
        self.price_divisor = self.quantum_divisor = self.size_divisor = 0
        self._signed = False

    def push(self, rows: LevelRows) -> None:
        """Process the next rows: complete messages only; sizes are positive, or 0 for a removed level."""
        rows = LevelRows(*(np.ascontiguousarray(column, np.int64) for column in rows))
        self._find_divisors(rows)
        self._make_room(rows)
        done = 0
        while done < len(rows.what):
            out = self._new_output(len(rows.what) - done)
            done = loops.convert(self._levels, self._work, rows, done, out)
            self._keep(out)
            if done < len(rows.what):
                self._begin()

    def finish(self, steps: Steps) -> LevelDay:
        """End the feed, treat pending trades as hidden, and convert all integers to the scale that they need."""
        opening = self._begin() if self._start is None else self._start
        out = self._new_output(0)
        loops.flush(self._levels, self._work, out)
        self._keep(out)
        counts = {name: int(self._work.counts[count]) for count, name in COUNTS.items()}
        dropped = {name: counts.pop(name) for name in _DROPPED}
        scale = scale_of(
            steps,
            price_divisor=self.price_divisor,
            quantum_divisor=self.quantum_divisor,
            size_divisor=self.size_divisor,
        )
        price, size = scale.divide_price, scale.divide_size
        start = dataclasses.replace(
            opening,
            price=opening.price // price,
            size=opening.size // size,
            last_best=opening.last_best // price,
        )
        sums = [(high << 32) + low for high, low in self._work.lots.tolist()]
        counts |= {name: lots // size for name, lots in zip(("lots_explained", "lots_hidden"), sums, strict=True)}
        events, corrections = self._store.finish(divide_price=price, divide_size=size)
        return LevelDay(start, events, corrections, scale, self._signed, dropped, counts)

    def _begin(self) -> BookSnapshot:
        """Record the current book as the starting book of the events, and return it."""
        levels, state = self._levels, self._work.state
        state[State.STARTED] = 1
        (bid, bid_size), (ask, ask_size) = (occupied(levels, s) for s in range(2))
        self._start = start = BookSnapshot(
            time_ns=int(state[State.CLOCK]),
            side=np.repeat(np.array([BID, ASK], np.int8), [len(bid), len(ask)]),
            price=np.concatenate([bid, ask]),
            size=np.concatenate([bid_size, ask_size]),
            order_id=np.zeros(len(bid) + len(ask), np.uint64),
            anonymous=np.zeros(len(bid) + len(ask), bool),
            last_best=np.array([price[0] if len(price) else 0 for price in (bid, ask)], np.int64),
            seen=np.array([len(bid) > 0, len(ask) > 0]),
            pooled=True,
        )
        levels.side[:, LAST_BEST], levels.side[:, SEEN] = start.last_best, start.seen
        return start

    def _find_divisors(self, rows: LevelRows) -> None:
        divisors = self.price_divisor, self.quantum_divisor, self.size_divisor
        *divisors, lowest = loops.find_divisors(rows, *divisors)
        self.price_divisor, self.quantum_divisor, self.size_divisor = divisors
        self._signed |= lowest <= 0

    def _make_room(self, rows: LevelRows) -> None:
        """Enlarge the workspace for the given rows."""
        work, count = self._work, len(rows.what)
        self._levels = with_level_room(self._levels, count)
        held = int(work.state[State.PENDING])
        if held + count > len(work.pending):
            work = work._replace(pending=np.pad(work.pending[:held], ((0, 2 * count), (0, 0))))
        if 2 * count > len(work.places):
            work = work._replace(places=np.zeros((1 << (2 * count).bit_length(), 2), np.int64))
        if count > len(work.held):
            work = work._replace(held=np.zeros(2 * count, np.int64))
        self._work = work

    def _new_output(self, rows: int) -> loops.Emitted:
        levels = int((self._levels.side[:, END] - self._levels.side[:, FIRST]).sum())
        room = 2 * (rows + int(self._work.state[State.PENDING])) + levels + 1
        if room > len(self._out.time_ns):
            self._out = _room_for(room)
        self._out.at[:] = 0
        return self._out

    def _keep(self, out: loops.Emitted) -> None:
        events, corrections = out.at.tolist()
        columns = {name: getattr(out, name)[:events] for name in _EMITTED}
        event, side, price, size = out.corrections[:corrections].T
        self._store.append(
            Events.from_columns(**columns), Corrections(event.copy(), side.astype(np.int8), price.copy(), size.copy())
        )


def _room_for(events: int) -> loops.Emitted:
    """Return output buffers for so many events, and as many corrections."""
    columns = (np.empty(events, COLUMNS[name]) for name in _EMITTED)
    return loops.Emitted(*columns, np.empty((events, 4), np.int64), np.zeros(2, np.int64))
