"""LOBSTER's own book against a replay of its messages: the corrections, found chunk by chunk."""

import numpy as np

from lob_jax.book.levels import Levels, change, load_levels, set_level, size_at
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.jit import in_place, njit

_ADD, _EXECUTE = int(Kind.ADD), int(Kind.EXECUTE)
_TALLY = ("crossed_rows", "locked_rows", "unexplained_rows")
_CROSSED, _LOCKED, _UNEXPLAINED = range(len(_TALLY))
_NAMED_LINES = 10  # of the unexplained rows


class FeedBook:
    """Follows the messages and corrects itself by the feed's rows.

    Attributes:
      unexplained_lines: the first lines whose book does not follow from the row before and the message.
    """

    def __init__(self, start: BookSnapshot):
        """Begin with the book before the first event."""
        self._levels = load_levels(start)
        self._tally = np.zeros(len(_TALLY), np.int64)
        self._worst = np.full(2, -1, np.int64)
        self.unexplained_lines: list[int] = []

    def corrections(self, events: Events, book: np.ndarray, line: np.ndarray) -> Corrections:
        """Return where the feed's rows int64 [4 N, R] contradict the replay of as many events, and follow them.

        With them the best N levels of the replay equal the feed's after every event. Of one event, levels that the
        feed denies are removed first, so that the window never has to choose.
        """
        columns = (events.kind, events.side, events.price, events.size)
        found, unexplained = _contradictions(self._levels, *columns, book, self._worst, self._tally)
        room = _NAMED_LINES - len(self.unexplained_lines)
        self.unexplained_lines += line[unexplained[:room]].tolist()
        return Corrections(found[:, 0].copy(), found[:, 1].astype(np.int8), found[:, 2].copy(), found[:, 3].copy())

    def counts(self) -> dict[str, int]:
        """Return the rows that are crossed, locked, or not explained by the row before and the message."""
        return dict(zip(_TALLY, self._tally.tolist(), strict=True))


def start_book(events: Events, price: np.ndarray, size: np.ndarray, *, clock_ns: int) -> BookSnapshot:
    """Return the book before event 0: the state after it (price, size [2, N]) with the event undone.

    Each level is one anonymous order. The clock is `clock_ns`, or the first event's time if that is earlier.
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
        last_best=np.array(last_best, np.int64),
        window=levels,
    )


@njit
def _contradictions(
    levels: Levels,
    kind: np.ndarray,
    side: np.ndarray,
    price: np.ndarray,
    size: np.ndarray,
    book: np.ndarray,
    worst: np.ndarray,
    tally: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (event, side, price, size) of corrections, and the events whose rows are unexplained.

    A correction is explained if it reveals a level: one behind the last of the levels that fill the row before,
    whose prices are in `worst` int64 [2]: 0 for a side that is not full, -1 where there is no row before.
    """
    n_levels = book.shape[0] // 4
    found = np.empty((1024, 4), np.int64)
    unexplained = np.empty(len(kind), np.int64)
    count, odd = 0, 0
    for i in range(len(kind)):
        change(levels, kind[i], side[i], price[i], size[i])
        if count + 4 * n_levels > len(found):
            larger = np.empty((2 * len(found) + 4 * n_levels, 4), np.int64)
            larger[:count] = found[:count]
            found = larger
        first = count
        for s in range(2):
            if not _agrees(levels, s, book, i):
                count = _retract(levels, s, book, i, found, count)
                count = _assert_shown(levels, s, book, i, found, count)
        if count > first and worst[0] >= 0 and not _revealed(found[first:count], worst):
            unexplained[odd] = i
            odd += 1
        for s in range(2):
            row = 4 * n_levels - 4 + 2 * (1 - s)
            worst[s] = book[row, i] if book[row + 1, i] > 0 else 0
        if book[1, i] > 0 and book[3, i] > 0:
            tally[_CROSSED] += book[2, i] > book[0, i]
            tally[_LOCKED] += book[2, i] == book[0, i]
    tally[_UNEXPLAINED] += odd
    return found[:count].copy(), unexplained[:odd].copy()


@in_place
def _agrees(levels: Levels, s: int, book: np.ndarray, i: int) -> bool:
    """Return whether a side of the replay is the feed's; the ask comes first in the feed's rows."""
    n_levels = book.shape[0] // 4
    prices, sizes, depth = levels.price[s], levels.size[s], levels.depth[s]
    for k in range(n_levels):
        row = 4 * k + 2 * (1 - s)
        if k >= depth:
            return book[row + 1, i] == 0
        if sizes[depth - 1 - k] != book[row + 1, i] or prices[depth - 1 - k] != book[row, i]:
            return False
    return True


@in_place
def _retract(levels: Levels, s: int, book: np.ndarray, i: int, found: np.ndarray, count: int) -> int:
    """Remove the levels of a side that the feed's N levels deny; return the number of corrections so far.

    A feed that shows N levels says nothing about levels worse than its last.
    """
    sign = 1 - 2 * s
    n_levels = book.shape[0] // 4
    last = 4 * n_levels - 4 + 2 * (1 - s)
    full, limit = book[last + 1, i] > 0, book[last, i]
    for row in range(levels.depth[s] - 1, -1, -1):
        held = levels.price[s, row]
        if full and sign * held < sign * limit:
            break
        k = 0
        while k < n_levels and not (book[4 * k + 2 * (1 - s), i] == held and book[4 * k + 2 * (1 - s) + 1, i] > 0):
            k += 1
        if k == n_levels:
            count = _correct_and_note(levels, s, i, held, 0, found, count)
    return count


@in_place
def _assert_shown(levels: Levels, s: int, book: np.ndarray, i: int, found: np.ndarray, count: int) -> int:
    """Give a side the N levels that the feed shows; return the number of corrections so far."""
    for k in range(book.shape[0] // 4):
        shown_price, shown_size = book[4 * k + 2 * (1 - s), i], book[4 * k + 2 * (1 - s) + 1, i]
        if shown_size > 0 and size_at(levels, s, shown_price) != shown_size:
            count = _correct_and_note(levels, s, i, shown_price, shown_size, found, count)
    return count


@in_place
def _correct_and_note(levels: Levels, s: int, i: int, price: int, size: int, found: np.ndarray, count: int) -> int:
    """Apply one correction and write it down; return the number of corrections so far."""
    side = 1 - 2 * s
    set_level(levels, side, price, size)
    found[count, 0], found[count, 1], found[count, 2], found[count, 3] = i, side, price, size
    return count + 1


@in_place
def _revealed(found: np.ndarray, worst: np.ndarray) -> bool:
    """Return whether corrections only reveal levels behind the last ones of full sides."""
    for row in range(len(found)):
        side, price, size = found[row, 1], found[row, 2], found[row, 3]
        behind = worst[0] if side > 0 else worst[1]
        if behind <= 0 or size <= 0 or side * (behind - price) <= 0:
            return False
    return True
