"""`Stretch`: the part of a day that a manipulator acts in, and what happens there to the orders that he enters.

A manipulator reacts to the market, and the market goes on as it did: what real participants did is not changed by his
orders. He only joins levels that are there, so that a book that keeps the best levels alone forgets none of them, and
withdraws an order before the first event that could touch it, see `Stretch.end_of`. His orders are therefore never
executed, no removal of the market takes lots from one of them, whether or not removals name their orders, and each of
his DELETEs removes the order that he entered.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import BookStates, replay
from lob_jax.data.windows.augment.altered import ADDED, Proposal
from lob_jax.events.schema import Events, Kind
from lob_jax.tokens.bins import MOST_LOTS

LEVELS = 10  # levels per side in which orders are entered: more than a pattern uses, as some move out of reach
RECENT_ADDS = 50  # ADDs before an event that say what sizes are usual there
_TOUCHING = (Kind.CANCEL, Kind.DELETE, Kind.EXECUTE)


class Action(NamedTuple):
    """An event of the manipulator.

    Attributes:
      before: the event of the day that it comes before; the number of events for one behind the last.
      time_ns: not before the event in front of it, nor behind the one that it comes before.
      kind: ADD or DELETE.
      side: +1 bid, -1 ask.
      price: price quanta.
      size: lots.
    """

    before: int
    time_ns: int
    kind: int
    side: int
    price: int
    size: int


@dataclasses.dataclass(frozen=True, eq=False)
class Stretch:
    """Events first..stop-1 of a day, before which a manipulator acts.

    Attributes:
      day: the day.
      first: the first event that he may act before, at least 1.
      stop: the event before which he has withdrawn everything, greater than `first`.
      states: the day's book before each event, and after the last.
    """

    day: MarketDay
    first: int
    stop: int
    states: BookStates

    @classmethod
    def of(cls, day: MarketDay, first: int, stop: int) -> "Stretch":
        """Return a part of a day."""
        return cls(day, first, stop, replay(day, LEVELS))

    def part(self, first: int, stop: int) -> "Stretch":
        """Return another part of the same day."""
        return dataclasses.replace(self, first=first, stop=stop)

    def place(self, random: np.random.Generator) -> int:
        """Draw the event that a pattern begins before, from the first half, so that the market is seen to go on."""
        return int(random.integers(self.first, self.first + max(1, (self.stop - self.first) // 2)))

    def prices(self, before: int, side: int) -> list[int]:
        """Return the prices of a side's best levels before an event, the best first."""
        s = 0 if side > 0 else 1
        occupied = self.states.size[before, s] > 0
        return self.states.price[before, s, occupied].tolist()

    def end_of(self, before: int, side: int, price: int, *, size: int, rank: int) -> int:
        """Return the event before which an order has to be withdrawn, `stop` at the latest.

        It is the first one, from the event on that the order is entered before, that
          removes something at the order's price: the market could not have found the lots that it removes, or removals
            without an order's name would take them from the manipulator's order, which is the newest;
          adds an order of the same size there, which a DELETE without a name could not be told from;
          is followed by a correction of the level, whose size is absolute;
          leaves fewer than `rank` levels of the side before that of the order, moves it out of reach, or fills its
            level: an order that is meant to stay behind the best is withdrawn before it is in front;
          or is a CONTROL event, since nothing can be withdrawn in a halt.

        Args:
          before: the event that the order is entered before.
          side: +1 bid, -1 ask.
          price: price quanta.
          size: lots.
          rank: levels of the side that have to be before that of the order, at least.
        """
        part, s = slice(before, self.stop), 0 if side > 0 else 1
        events, at = self.day.events, slice(before, self.stop + 1)
        touches = np.isin(events.kind[part], _TOUCHING)
        touches |= (events.kind[part] == Kind.ADD) & (events.size[part] == size)
        touches &= (events.side[part] == side) & (events.price[part] == price)
        held = self.states.size[at, s, rank:]
        in_place = ((self.states.price[at, s, rank:] == price) & (held > 0) & (held <= MOST_LOTS - size)).any(1)
        bad = touches | (events.kind[part] == Kind.CONTROL) | ~(in_place[:-1] & in_place[1:])
        bad |= np.isin(np.arange(before, self.stop), self._corrected(side, price))
        return before + int(np.argmax(bad)) if bad.any() else self.stop

    def _corrected(self, side: int, price: int) -> np.ndarray:
        found = self.day.corrections
        return found.event[(found.side == side) & (found.price == price)]

    def largest(self, before: int) -> int:
        """Return the largest size, in lots, of the last ADDs before an event; 1 if there were none."""
        events = self.day.events
        adds = np.flatnonzero(events.kind[:before] == Kind.ADD)[-RECENT_ADDS:]
        return int(events.size[adds].max(initial=1))

    def times(self, before: int, count: int, random: np.random.Generator) -> list[int]:
        """Draw ascending times between an event and the one in front of it, ns."""
        time_ns = self.day.events.time_ns
        low = int(time_ns[before - 1])
        high = max(low, int(time_ns[min(before, len(time_ns) - 1)]))
        return np.sort(random.integers(low, high, count, endpoint=True)).tolist()


# What a manipulator does in a stretch, in any order of events; nothing where the book gives him no occasion.
Pattern = Callable[[Stretch, np.random.Generator], list[Action]]


def spliced(day: MarketDay, actions: Sequence[Action]) -> Proposal:
    """Return the proposal of a day's events with those of a manipulator, who acts in the order of time."""
    ordered = sorted(actions, key=lambda action: (action.before, action.time_ns))  # of equal ones, as they were
    columns = np.array(ordered, np.int64).reshape(-1, len(Action._fields)).T
    named = dict(zip(Action._fields, columns, strict=True))
    before = named.pop("before")
    count = len(day.events)
    order = np.lexsort((np.repeat([1, 0], [count, len(before)]), np.concatenate([np.arange(count), before])))
    origin = np.concatenate([np.arange(count), np.full(len(before), ADDED)])[order]
    return Proposal(Events.concatenate([day.events, Events.from_columns(**named)])[order], origin)
