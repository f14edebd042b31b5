"""Decide from update ids alone whether Binance's depth updates continue a book or need a new snapshot.

Binance documents the rules for spot and for futures ("How to manage a local order book correctly"): which updates a
snapshot already includes, which update may follow a snapshot, and which may follow another update. On spot, ids of a
symbol are consecutive, so an update must begin at most one after the book's last id. On futures, ids have gaps, and an
update names its predecessor (`pu`). A snapshot whose id lies between two consecutive updates misses nothing of either,
so it is as good as one whose id lies within an update.
"""

import collections
import dataclasses
import enum
from typing import Any

import numpy as np

from lob_jax.jit import in_place

MOST_HELD = 10_000  # updates; a quarter of an hour at ten updates per second


class Outcome(enum.Enum):
    """What happens to an update."""

    APPLY = enum.auto()  # it continues the book
    HOLD = enum.auto()  # it waits for a snapshot
    GAP = enum.auto()  # an earlier update is missing; it waits for a snapshot
    OLD = enum.auto()  # the book already includes it


class Drop(enum.StrEnum):
    """The reason why a message has no effect."""

    BEFORE_SNAPSHOT = "depth before the first snapshot"
    BEHIND_GAP = "depth behind a gap"
    IN_SNAPSHOT = "depth that the snapshot holds already"
    IN_BOOK = "depth that the book holds already"
    SNAPSHOT_TOO_OLD = "a snapshot older than the depth at hand"
    SNAPSHOT_IN_STEP = "a snapshot of a book in step"


@dataclasses.dataclass(frozen=True)
class Update:
    """One depthUpdate.

    Attributes:
      first: its first update id, `U`.
      final: its last update id, `u`.
      previous: the last update id of its predecessor, `pu`; -1 on spot, where it does not exist.
      content: arbitrary data of the caller.
    """

    first: int
    final: int
    previous: int = -1
    content: Any = None


@in_place
def _run(ids: np.ndarray, plain: np.ndarray, final: int, futures: bool) -> int:
    """Return how many of the next updates continue a book whose last update is `final`."""
    for number in range(len(ids)):
        first, last, previous = ids[number]
        follows = previous == final if futures else previous < 0 and first <= final + 1
        if not plain[number] or last <= final or not follows:
            return number
        final = last
    return len(ids)


class BookSync:
    """Synchronisation state of one book, with the updates that wait for a snapshot.

    Attributes:
      futures: whether updates name their predecessor, as on futures; None before the first one.
      in_step: whether the book includes all updates up to `final`.
      final: the last update id in the book.
      dropped: number of messages without effect so far, by reason.
    """

    def __init__(self, *, most_held: int = MOST_HELD):
        self.futures: bool | None = None
        self.in_step = False
        self.final = -1
        self.dropped: collections.Counter[Drop] = collections.Counter()
        self._most_held = most_held
        self._at_snapshot = False  # whether the book is a snapshot to which no update has been applied yet
        self._lost = Drop.BEFORE_SNAPSHOT
        self._held: collections.deque[Update] = collections.deque()
        self._spare: Any | None = None

    def update(self, update: Update) -> Outcome:
        """Process the next update; one that waits for a snapshot is kept as long as a snapshot may need it."""
        if self.futures is None:
            self.futures = update.previous >= 0
        if not self.in_step:
            self._hold(update)
            return Outcome.HOLD
        if self._is_old(update, self.final, snapshot=self._at_snapshot):
            self.dropped[Drop.IN_SNAPSHOT if self._at_snapshot else Drop.IN_BOOK] += 1
            return Outcome.OLD
        if not (self._bridges(update, self.final) if self._at_snapshot else self._follows(update, self.final)):
            self.in_step, self._lost = False, Drop.BEHIND_GAP
            self._hold(update)
            return Outcome.GAP
        self.final, self._at_snapshot = update.final, False
        return Outcome.APPLY

    def advance(self, ids: np.ndarray, plain: np.ndarray) -> int:
        """Process the next updates if they continue the book, up to the first that does not; return their number.

        It has the same effect as `update` for each of them.

        Args:
          ids: int64 [N, 3], of each update `first`, `final` and `previous`.
          plain: bool [N], whether this is an update; the first that is none ends the run.
        """
        if not self.in_step or self._at_snapshot or self.futures is None:
            return 0
        count = _run(ids, plain, self.final, self.futures)
        if count:
            self.final = int(ids[count - 1, 1])
        return count

    def snapshot(self, last_id: int, *, content: Any = None) -> list[Update] | None:
        """Process a snapshot, which brings the book back in sync together with the returned updates that follow it.

        Returns:
          The waiting updates after the snapshot, or None if the snapshot is not used: updates between it and the
          waiting ones are missing, or the book is in sync. In the latter case it is kept as a spare, because the first
          update after a gap may arrive after its snapshot.
        """
        if self.in_step:
            self.dropped[Drop.SNAPSHOT_IN_STEP] += self._spare is not None
            self._spare = content
            return None
        newer = [update for update in self._held if not self._is_old(update, last_id, snapshot=True)]
        if newer and not self._bridges(newer[0], last_id):
            self.dropped[Drop.SNAPSHOT_TOO_OLD] += 1
            return None
        self.dropped[Drop.IN_SNAPSHOT] += len(self._held) - len(newer)
        self._held.clear()
        self.in_step, self._at_snapshot = True, not newer
        self.final = newer[-1].final if newer else last_id
        return newer

    def take_spare(self) -> Any | None:
        """Return and forget the content of the last snapshot that came while the book was in sync, None without one."""
        spare, self._spare = self._spare, None
        return spare

    def finish(self) -> None:
        """End the feed and drop everything that still waits."""
        self._forget(len(self._held))
        self.dropped[Drop.SNAPSHOT_IN_STEP] += self.take_spare() is not None

    def _hold(self, update: Update) -> None:
        """Keep an update, and the earlier ones only if it continues them: no snapshot can bridge a gap among them."""
        if self._held and self._is_old(update, self._held[-1].final, snapshot=False):
            self.dropped[self._lost] += 1
            return
        if self._held and not self._follows(update, self._held[-1].final):
            self._forget(len(self._held))
        elif len(self._held) == self._most_held:
            self._forget(1)
        self._held.append(update)

    def _forget(self, count: int) -> None:
        self.dropped[self._lost] += count
        for _ in range(count):
            self._held.popleft()

    def _is_old(self, update: Update, final: int, *, snapshot: bool) -> bool:
        """Return whether the book up to `final` includes an update; futures repeat the last update of a snapshot."""
        return update.final < final + (not (snapshot and self.futures))

    def _bridges(self, update: Update, last_id: int) -> bool:
        """Return whether an update that is not old may be the first one after a snapshot."""
        if self.futures:
            return update.first <= last_id or update.previous <= last_id
        return update.first <= last_id + 1

    def _follows(self, update: Update, final: int) -> bool:
        """Return whether an update that is not old continues a book whose last update is `final`."""
        return update.previous == final if self.futures else update.first <= final + 1
