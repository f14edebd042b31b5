"""Compare LOBSTER's own book with a replay of its messages, and find the corrections, chunk by chunk."""

import enum
from typing import Any

import numpy as np

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.jit import inner, njit

_ADD, _EXECUTE = int(Kind.ADD), int(Kind.EXECUTE)
_NAMED_LINES = 10  # of the unexplained rows


class Tally(enum.IntEnum):
    """What is counted, named as in the report."""

    CROSSED_ROWS = 0
    LOCKED_ROWS = 1
    UNEXPLAINED_ROWS = 2


class FeedBook:
    """Follows the messages and corrects itself by the feed's rows.

    A corrected book that keeps as many levels as the feed shows equals the feed's row. It is therefore enough to
    compare each row with the previous one and the event between them.

    Attributes:
      unexplained_lines: the first lines whose book does not follow from the previous row and the message.
    """

    def __init__(self, start: BookSnapshot):
        """Begin with the book before the first event."""
        self._before = np.zeros(4 * start.window, np.int64)
        for side, place in ((ASK, 0), (BID, 2)):
            own = start.side == side
            count = np.count_nonzero(own)
            self._before[place::4][:count], self._before[place + 1 :: 4][:count] = start.price[own], start.size[own]
        self._tally = np.zeros(len(Tally), np.int64)
        self._begun = False
        self.unexplained_lines: list[int] = []

    def corrections(self, events: Events, book: np.ndarray, line: np.ndarray) -> Corrections:
        """Return the corrections with which the best N levels of the replay equal the feed's after every event.

        Within an event, levels that the feed rules out are removed first, so that no correction drops a level that the
        feed shows out of the full window.

        Args:
          events: R events, R >= 1.
          book: int64 [4N, R], the feed's row after each event.
          line: int64 [R], line numbers.
        """
        columns = (events.kind, events.side, events.price, events.size)
        found, unexplained = _contradictions(*columns, book, self._before, self._begun, self._tally)
        self._before, self._begun = book[:, -1].copy(), True
        room = _NAMED_LINES - len(self.unexplained_lines)
        self.unexplained_lines += line[unexplained[:room]].tolist()
        return Corrections(found[:, 0].copy(), found[:, 1].astype(np.int8), found[:, 2].copy(), found[:, 3].copy())

    def report(self) -> dict[str, Any]:
        """Return the number of rows that are crossed, locked, or not explained by the previous row and the message."""
        counts = {count.name.lower(): int(self._tally[count]) for count in Tally}
        return {"order_book": "required", **counts, "first_unexplained_lines": self.unexplained_lines}


def start_book(events: Events, price: np.ndarray, size: np.ndarray, *, clock_ns: int) -> BookSnapshot:
    """Return the book before event 0: the state after it, with the event undone.

    Each level is a single anonymous order.

    Args:
      events: the events of the day.
      price: int64 [2, N], the state after event 0, bid then ask.
      size: int64 [2, N], lots, 0 for an empty level.
      clock_ns: time of the book; the first event's time if that is earlier.
    """
    levels = price.shape[1]
    undone = int(events.side[0]) if _ADD <= events.kind[0] <= _EXECUTE else 0
    change_of = int(events.size[0]) * (-1 if events.kind[0] == Kind.ADD else 1)
    sides, prices, sizes, last_best = [], [], [], []
    for index, side in enumerate((BID, ASK)):
        book = {int(p): int(s) for p, s in zip(price[index], size[index], strict=True) if s}
        if side == undone:
            book[int(events.price[0])] = book.get(int(events.price[0]), 0) + change_of
        occupied = sorted((p for p, s in book.items() if s > 0), key=lambda p, side=side: -side * p)[:levels]
        sides += [side] * len(occupied)
        prices += occupied
        sizes += [book[p] for p in occupied]
        last_best.append(occupied[0] if occupied else 0)
    return BookSnapshot(
        time_ns=min(clock_ns, int(events.time_ns[0])),
        side=np.array(sides, np.int8),
        price=np.array(prices, np.int64),
        size=np.array(sizes, np.int64),
        order_id=np.zeros(len(prices), np.uint64),
        anonymous=np.ones(len(prices), bool),
        last_best=np.array(last_best, np.int64),
        window=levels,
    )


@njit
def _contradictions(
    kind: np.ndarray,
    side: np.ndarray,
    price: np.ndarray,
    size: np.ndarray,
    book: np.ndarray,
    before: np.ndarray,
    begun: bool,
    tally: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (event, side, price, size) of corrections, and the events whose rows are unexplained.

    A correction is explained if it reveals a level behind the last one of a full side of the previous row.
    """
    n_levels = book.shape[0] // 4
    held = np.empty((2, n_levels), np.int64)
    was, now = before.copy(), np.empty(4 * n_levels, np.int64)  # contiguous, unlike rows of `book`
    found = np.empty((1024, 4), np.int64)
    unexplained = np.empty(len(kind), np.int64)
    count, odd = 0, 0
    for i in range(len(kind)):
        if count + 4 * n_levels > len(found):
            larger = np.empty((2 * len(found) + 4 * n_levels, 4), np.int64)
            larger[:count] = found[:count]
            found = larger
        for c in range(4 * n_levels):
            now[c] = book[c, i]
        explained = True
        for s in range(2):
            change = np.int64(0)
            if kind[i] <= _EXECUTE and (side[i] > 0) == (s == 0):
                change = size[i] if kind[i] == _ADD else -size[i]
            depth = _follow(was, now, s, price[i], change, held)
            if depth >= 0:
                begin = count
                count = _correct(now, i, s, held, depth, found, count)
                explained &= _reveals(was, s, found[begin:count])
        if not explained and (i > 0 or begun):
            unexplained[odd] = i
            odd += 1
        if now[1] > 0 and now[3] > 0:
            tally[Tally.CROSSED_ROWS] += now[2] > now[0]
            tally[Tally.LOCKED_ROWS] += now[2] == now[0]
        was, now = now, was
    tally[Tally.UNEXPLAINED_ROWS] += odd
    return found[:count].copy(), unexplained[:odd].copy()


@inner
def _follow(was: np.ndarray, now: np.ndarray, s: int, price: int, change: int, held: np.ndarray) -> int:
    """Apply an event to one side of the previous row, and write its levels to `held` int64 [2, N].

    Returns:
      -1 if the side now equals that of the row, else its number of levels.
    """
    n_levels = held.shape[1]
    sign, place = 1 - 2 * s, 2 * (1 - s)  # the ask comes first in a row
    k, equal, placed = 0, True, change == 0
    for j in range(n_levels + 1):
        old_price, old_size = np.int64(0), np.int64(0)
        if j < n_levels:
            old_price, old_size = was[4 * j + place], was[4 * j + place + 1]
        if not placed and (old_size == 0 or sign * old_price <= sign * price):
            placed = True
            if old_size > 0 and old_price == price:
                old_size += change
                if old_size <= 0:
                    continue
            elif change > 0 and k < n_levels:
                held[0, k], held[1, k] = price, change
                equal &= now[4 * k + place] == price and now[4 * k + place + 1] == change
                k += 1
        if old_size == 0 or k == n_levels:
            break
        held[0, k], held[1, k] = old_price, old_size
        equal &= now[4 * k + place] == old_price and now[4 * k + place + 1] == old_size
        k += 1
    if equal and (k == n_levels or now[4 * k + place + 1] == 0):
        return -1
    return k


@inner
def _correct(now: np.ndarray, i: int, s: int, held: np.ndarray, depth: int, found: np.ndarray, count: int) -> int:
    """Record the corrections from the held levels to the row of event i; return the number of corrections so far.

    First the levels are removed that the row rules out (it says nothing about levels worse than its last one), then
    those are set that it shows.
    """
    n_levels = held.shape[1]
    side, place = 1 - 2 * s, 2 * (1 - s)
    last = 4 * (n_levels - 1) + place
    full, limit = now[last + 1] > 0, now[last]
    for j in range(depth):
        if full and side * held[0, j] < side * limit:
            break
        k = 0
        while k < n_levels and not (now[4 * k + place] == held[0, j] and now[4 * k + place + 1] > 0):
            k += 1
        if k == n_levels:
            found[count, 0], found[count, 1], found[count, 2], found[count, 3] = i, side, held[0, j], 0
            count += 1
    for k in range(n_levels):
        shown_price, shown_size = now[4 * k + place], now[4 * k + place + 1]
        j = 0
        while j < depth and held[0, j] != shown_price:
            j += 1
        if shown_size > 0 and (j == depth or held[1, j] != shown_size):
            found[count, 0], found[count, 1], found[count, 2], found[count, 3] = i, side, shown_price, shown_size
            count += 1
    return count


@inner
def _reveals(was: np.ndarray, s: int, found: np.ndarray) -> bool:
    """Return whether corrections only reveal levels behind the last one of a full side of the previous row."""
    worst = was[len(was) - 4 + 2 * (1 - s)]
    revealing = was[len(was) - 4 + 2 * (1 - s) + 1] > 0
    for k in range(len(found)):
        revealing &= found[k, 3] > 0 and found[k, 1] * (worst - found[k, 2]) > 0
    return revealing
