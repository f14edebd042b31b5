"""A reference book in plain Python: specifies the compiled one, and is short enough to verify by reading."""

import dataclasses
from collections import Counter

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import ANONYMOUS_ID, ASK, BID, Kind


@dataclasses.dataclass(slots=True, eq=False)
class Order:
    """An order of a queue; `order_id` is 0 if it has none, `anonymous` and `own` are as in `BookSnapshot`."""

    order_id: int
    size: int
    anonymous: bool = False
    own: bool = False


class OracleBook:
    """Price levels as dictionaries of queues, with the same update rules as `lob_jax.book.kernel`, but slow.

    Attributes:
      sides: by side (+1, -1) and price, the orders of a level, front of the queue first.
      last_best: by side, the last best price, None if there never was one.
      counts: how often the events contradicted the book, keyed by the names in `COUNTERS`.
      window: levels kept per side, 0 for all.
      pooled: whether each level is a single order, apart from the user's own orders.
    """

    def __init__(self, start: BookSnapshot):
        self.sides: dict[int, dict[int, list[Order]]] = {BID: {}, ASK: {}}
        known = zip((BID, ASK), start.last_best.tolist(), start.seen.tolist(), strict=True)
        self.last_best = {side: price if seen else None for side, price, seen in known}
        self.counts: Counter[str] = Counter()
        self.window, self.pooled = start.window, start.pooled
        rows = (start.side, start.price, start.size, start.order_id, start.anonymous, start.is_own())
        for side, price, *order in zip(*(column.tolist() for column in rows), strict=True):
            size, order_id, anonymous, own = order
            self._add(side, price, Order(order_id, size, anonymous, own))
            self._note_best(side)

    def levels(self, side: int) -> list[tuple[int, int]]:
        """Return (price, size) of a side's levels, best first."""
        return [(price, sum(self.sizes(side, price))) for price in self._best_first(side)]

    def sizes(self, side: int, price: int) -> list[int]:
        """Return the lots of the orders of a level, front of the queue first; none if there is no such level."""
        return [order.size for order in self.sides[side].get(price, ())]

    def orders(self, side: int) -> list[tuple[int, int, int]]:
        """Return (price, size, order_id) of a side's orders, best level first, front of the queue first."""
        queues = [(price, self.sides[side][price]) for price in self._best_first(side)]
        return [(price, order.size, order.order_id) for price, queue in queues for order in queue]

    def reference(self, side: int) -> int:
        """Return the side's best price, else its last best, else the best of the other side, else 0."""
        candidates = (self.best(side), self.last_best[side], self.best(-side), 0)
        return next(price for price in candidates if price is not None)

    def best(self, side: int) -> int | None:
        """Return the side's best price, None if it is empty."""
        prices = self.sides[side]
        return (max(prices) if side == BID else min(prices)) if prices else None

    def clear(self) -> None:
        """Empty both sides."""
        self.sides = {BID: {}, ASK: {}}

    def apply(self, kind: int, side: int, price: int, size: int, order_id: int, *, own: bool = False) -> None:
        """Apply one event.

        Args:
          kind: a `Kind`.
          side: +1 bid, -1 ask.
          price: price quanta.
          size: lots.
          order_id: 0 for none.
          own: whether an ADD is the user's own order.
        """
        if size > 0 and kind == Kind.ADD:
            self._add(side, price, Order(order_id, size, own=own))
        elif size > 0 and kind in (Kind.CANCEL, Kind.DELETE, Kind.EXECUTE):
            self._remove(kind, side, price, size, order_id)
        self._note_best(side)

    def correct(self, side: int, price: int, size: int) -> None:
        """Set a level's size: it grows by an anonymous order at the back and shrinks from the back."""
        held = sum(self.sizes(side, price))
        if size > held:
            self._add(side, price, Order(0, size - held, anonymous=not self.pooled))
        elif size <= 0:
            self.sides[side].pop(price, None)
        else:
            self._take(self.sides[side][price], held - size, from_front=False)
        self._note_best(side)

    def count_state(self) -> None:
        """Increment the crossed or the locked count if the best prices cross or are equal."""
        bids, asks = self._best_first(BID), self._best_first(ASK)
        if bids and asks:
            self.counts["crossed"] += bids[0] > asks[0]
            self.counts["locked"] += bids[0] == asks[0]

    def _best_first(self, side: int) -> list[int]:
        return sorted(self.sides[side], reverse=side == BID)

    def _note_best(self, side: int) -> None:
        if self.sides.get(side):
            self.last_best[side] = self._best_first(side)[0]

    def _add(self, side: int, price: int, order: Order) -> None:
        levels = self.sides[side]
        levels.setdefault(price, [])
        if self.window:
            for worse in self._best_first(side)[self.window :]:
                del levels[worse]
        if price not in levels:
            return
        if self.pooled and levels[price] and not (order.own or levels[price][-1].own):
            levels[price][-1].size += order.size
            return
        for other in [other for side in self.sides.values() for queue in side.values() for other in queue]:
            if order.order_id and other.order_id == order.order_id:
                other.order_id = 0
                self.counts["duplicate_order"] += 1
        levels[price].append(order)

    def _remove(self, kind: int, side: int, price: int, size: int, order_id: int) -> None:
        queue = self.sides[side].get(price)
        if queue is None:
            self.counts["unknown_level"] += 1
            return
        payer = next((order for order in queue if order_id and order.order_id == order_id), None)
        self.counts["unknown_order"] += order_id not in (0, ANONYMOUS_ID) and payer is None
        held = sum(order.size for order in queue)
        self.counts["over_removal"] += size > held
        if size >= held:
            del self.sides[side][price]
            return
        if order_id == ANONYMOUS_ID and kind != Kind.EXECUTE:
            payer = self._withdrawn([order for order in queue if order.anonymous], kind, size)
        if payer is None and kind != Kind.EXECUTE:
            payer = self._withdrawn(queue, kind, size)
        if payer is not None:
            paid = min(size, payer.size)
            payer.size -= paid
            size -= paid
            queue[:] = [order for order in queue if order.size]
        self._take(queue, size, from_front=kind == Kind.EXECUTE)

    @staticmethod
    def _withdrawn(queue: list[Order], kind: int, size: int) -> Order | None:
        """Return the order that the rule selects for a CANCEL or DELETE, None if no order fits."""
        newest_first = [order for order in queue[::-1] if not order.own]
        larger = [order for order in newest_first if order.size > size]
        if kind == Kind.CANCEL:
            return next(iter(larger), None)
        exact = [order for order in newest_first if order.size == size]
        return next(iter([*exact, *(order for order in larger if order.anonymous)]), None)

    @staticmethod
    def _take(queue: list[Order], size: int, *, from_front: bool) -> None:
        while size > 0:
            order = queue[0 if from_front else -1]
            paid = min(size, order.size)
            order.size -= paid
            size -= paid
            if not order.size:
                queue.remove(order)
