"""`BookSnapshot`, the state of a book at one point in time, and the `Corrections` of a feed to a replay."""

import dataclasses
from collections.abc import Sequence

import numpy as np

ORDER_COLUMNS: dict[str, np.dtype] = {
    name: np.dtype(dtype)
    for name, dtype in {
        "side": np.int8,
        "price": np.int64,
        "size": np.int64,
        "order_id": np.uint64,
        "anonymous": np.bool_,
    }.items()
}
CORRECTION_COLUMNS: dict[str, np.dtype] = {
    name: np.dtype(dtype)
    for name, dtype in {"event": np.int64, "side": np.int8, "price": np.int64, "size": np.int64}.items()
}


@dataclasses.dataclass(frozen=True, eq=False)
class BookSnapshot:
    """The orders of a book at one point in time, and the other state that a decoder needs.

    Orders are listed level by level, bids from the best down, then asks from the best up; within a level from the
    front of the queue to the back. An anonymous order stands for a total whose orders are unknown: that of a level in
    the book that a feed starts from, or what a correction adds. Part of it may be deleted, see `kernel.apply`. An order
    that an event adds is never anonymous, even without an id, and a pooled book has no anonymous order.

    An order that an event with `Flag.OWN` adds is the user's own. CANCEL and DELETE without an id never apply to it,
    and in a pooled book it remains an order by itself.

    Attributes:
      time_ns: the time of the previous event, ns since the UNIX epoch, UTC.
      side: int8 [O], +1 bid, -1 ask.
      price: int64 [O], price quanta.
      size: int64 [O], lots, > 0.
      order_id: uint64 [O], 0 for an order without one.
      anonymous: bool [O], whether an order is anonymous.
      last_best: int64 [2], the last best bid and ask; the reference of an empty side that has had orders.
      seen: bool [2], whether there has been such a bid and such an ask; True for a side with orders.
      window: occupied levels per side that the feed shows, 0 for all.
      pooled: whether a level is a single order, which ADDs enlarge; True for feeds that show levels, not orders.
      own: int64 [N], which of the orders are the user's own, as ascending indices; feeds have none.
    """

    time_ns: int
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    order_id: np.ndarray
    anonymous: np.ndarray
    last_best: np.ndarray
    window: int = 0
    pooled: bool = False
    seen: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2, bool))
    own: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def empty(cls, time_ns: int = 0, window: int = 0, pooled: bool = False) -> "BookSnapshot":
        """Return a book without orders."""
        return cls(
            time_ns=time_ns,
            **{name: np.zeros(0, dtype) for name, dtype in ORDER_COLUMNS.items()},
            last_best=np.zeros(2, np.int64),
            window=window,
            pooled=pooled,
        )

    def __len__(self) -> int:
        return len(self.price)

    def new_ids(self, count: int) -> np.ndarray:
        """Return ids that continue from the largest one below 2^62, uint64 [count]."""
        largest = self.order_id[self.order_id < 2**62].max(initial=np.uint64(0))
        return largest + np.arange(1, count + 1, dtype=np.uint64)

    def identified(self) -> "BookSnapshot":
        """Return the same book with an id for every order but the anonymous ones."""
        nameless = (self.order_id == 0) & ~self.anonymous
        order_id = self.order_id.copy()
        order_id[nameless] = self.new_ids(int(nameless.sum()))
        return dataclasses.replace(self, order_id=order_id)

    def is_own(self) -> np.ndarray:
        """Return whether each order is the user's own, bool [O]."""
        return np.isin(np.arange(len(self)), self.own)


@dataclasses.dataclass(frozen=True, eq=False)
class Corrections:
    """Level sizes of a feed's own book that override the replay, in the order in which they apply.

    Attributes:
      event: int64 [C], non-decreasing; a correction takes effect after the event with this index.
      side: int8 [C], +1 bid, -1 ask.
      price: int64 [C], price quanta.
      size: int64 [C], the level's absolute size in lots; 0 removes the level.
    """

    event: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray

    @classmethod
    def none(cls) -> "Corrections":
        """Return no corrections."""
        return cls(**{name: np.zeros(0, dtype) for name, dtype in CORRECTION_COLUMNS.items()})

    @classmethod
    def concatenate(cls, parts: Sequence["Corrections"], *, events: Sequence[int]) -> "Corrections":
        """Concatenate the corrections of parts of a day, one after another; `events` is how many events each has."""
        first = np.cumsum([0, *events])
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in CORRECTION_COLUMNS}
        columns["event"] += np.repeat(first[:-1], [len(part) for part in parts])
        return cls(**columns)

    def __len__(self) -> int:
        return len(self.event)

    def between(self, first: int, last: int) -> "Corrections":
        """Return the corrections of events first..last-1, renumbered so that event `first` is 0."""
        part = self[slice(*np.searchsorted(self.event, (first, last)))]
        return dataclasses.replace(part, event=part.event - first)

    def __getitem__(self, rows: slice) -> "Corrections":
        """Select rows by slice; columns stay views."""
        return Corrections(**{name: getattr(self, name)[rows] for name in CORRECTION_COLUMNS})
