"""Replay a day's events, starting book and corrections to the states of the book before and after each event."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.features import book_features
from lob_jax.book.kernel import load, to_snapshot
from lob_jax.book.levels import LEVEL_COUNTERS, MOVED, Levels, follow, load_levels, with_level_room
from lob_jax.book.loops import (
    CorrectionColumns,
    EventColumns,
    as_column,
    contradictions,
    correction_columns,
    cut,
    event_columns,
    most_added,
    one_step,
    run,
    settle,
)
from lob_jax.book.orders import COUNTERS, Book, with_room
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import Events, Kind

_REMOVALS = (Kind.CANCEL, Kind.DELETE, Kind.EXECUTE)
_NO_LEVELS = np.empty((0, 2, 0), np.int64)
NO_REFERENCES = np.empty((0, 2), np.int64)
_STRIDE = 1 << 16  # events after which the book's memory is enlarged if needed: compiled loops cannot do that


@dataclasses.dataclass(frozen=True, eq=False)
class BookStates:
    """The best levels before each of E events, and after the last: row i is the state before event i.

    Attributes:
      price: int64 [E+1, 2, P], price quanta, best first, bid then ask, 0 for an empty level.
      size: int64 [E+1, 2, P], lots, 0 for an empty level.
      reference: int64 [E+1, 2], the reference prices of bids and of asks.
      start_ns: the clock before the first event.
      tick: price quanta per tick.
      counts: number of contradictions between events and book, by name; for crossed and locked, of states.
    """

    price: np.ndarray
    size: np.ndarray
    reference: np.ndarray
    start_ns: int
    tick: int
    counts: dict[str, int]

    def before(self) -> "BookStates":
        """Return the E states before each event."""
        return self._rows(slice(None, -1))

    def after(self) -> "BookStates":
        """Return the E states after each event and its corrections."""
        return self._rows(slice(1, None))

    def mid2(self) -> np.ndarray:
        """Return best bid + best ask, twice the mid price, int64 [E+1]; 0 where a side is empty, see `two_sided`."""
        return np.where(self.two_sided(), self.price[:, 0, 0] + self.price[:, 1, 0], 0)

    def two_sided(self) -> np.ndarray:
        """Return whether there are a best bid and a best ask, bool [E+1]."""
        return np.all(self.size[:, :, 0] > 0, axis=1)

    def features(self) -> np.ndarray:
        """Return the features of each book, float32 [E+1, 4P], named by `features.feature_names(P)`."""
        return book_features(self.price, self.size, tick=self.tick)

    def _rows(self, rows: slice) -> "BookStates":
        return dataclasses.replace(self, price=self.price[rows], size=self.size[rows], reference=self.reference[rows])


def replay(day: MarketDay, levels: int) -> BookStates:
    """Replay a day and return the best levels of its book before each event and after the last.

    Args:
      day: E events, with their starting book and corrections.
      levels: P, occupied levels per side to keep, at least 1.

    Raises:
      InputError: corrections are out of order, or refer to events that do not exist.
    """
    rows = len(day.events) + 1
    price = np.empty((rows, 2, levels), np.int64)
    size = np.empty((rows, 2, levels), np.int64)
    references = np.empty((rows, 2), np.int64)
    book = advance(load(day.start, 0), *_columns(day), 0, len(day.events), price, size, references)
    return BookStates(price, size, references, day.start.time_ns, day.instrument.tick, counts_of(book))


def references(day: MarketDay) -> np.ndarray:
    """Return the reference prices of bids and of asks before each event and after the last, int64 [E+1, 2].

    Raises:
      InputError: corrections are out of order, or refer to events that do not exist.
    """
    out = np.empty((len(day.events) + 1, 2), np.int64)
    advance_levels(load_levels(day.start), *_columns(day), 0, len(day.events), out)
    return out


def reference_runs(day: MarketDay, run_events: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of `references`, each with the slice of its E' events: int64 [E', 2].

    Raises:
      InputError: corrections are out of order, or refer to events that do not exist.
    """
    columns, corrected = _columns(day)
    levels, count = load_levels(day.start), len(day.events)
    out = np.empty((min(run_events, count) + 1, 2), np.int64)
    for first in range(0, count, run_events):
        stop = min(first + run_events, count)
        levels = advance_levels(levels, columns, corrected, first, stop, out[: stop - first + 1])
        yield slice(first, stop), out[: stop - first]


def count_states(day: MarketDay) -> dict[str, int]:
    """Count the states that are crossed or locked, and the events that contradict their level, by name.

    Raises:
      InputError: corrections are out of order, or refer to events that do not exist.
    """
    levels = advance_levels(load_levels(day.start), *_columns(day), 0, len(day.events), NO_REFERENCES)
    return dict(zip(LEVEL_COUNTERS, levels.counters[:MOVED].tolist(), strict=True))


def snapshots_at(day: MarketDay, at: np.ndarray) -> Iterator[BookSnapshot]:
    """Yield the book just before each event `at[k]`, in one pass; E means after the last event.

    Raises:
      InputError: `at` is not ascending within 0..E, or corrections are out of order.
    """
    at, count = np.asarray(at, np.int64), len(day.events)
    if np.any(np.diff(at, prepend=0) < 0) or np.any(at > count):
        raise InputError(
            "invalid positions of snapshots",
            where="snapshots_at",
            expected=f"ascending event indices within 0..{count}",
            was=at.tolist(),
            remedy="sort the indices, and keep them within the events",
        )
    return _snapshots(load(day.start, 0), *_columns(day), day.events.time_ns, day.start.time_ns, at.tolist())


def _snapshots(
    book: Book,
    events: EventColumns,
    corrections: CorrectionColumns,
    time_ns: np.ndarray,
    start_ns: int,
    at: list[int],
) -> Iterator[BookSnapshot]:
    done = 0
    for stop in at:
        book = advance(book, events, corrections, done, stop, _NO_LEVELS, _NO_LEVELS, NO_REFERENCES)
        yield to_snapshot(book, int(time_ns[stop - 1] if stop else start_ns))
        done = stop


def advance(
    book: Book,
    events: EventColumns,
    corrections: CorrectionColumns,
    first: int,
    stop: int,
    price: np.ndarray,
    size: np.ndarray,
    references: np.ndarray,
) -> Book:
    """Apply events first..stop-1 to a book, see `loops.run`; return it, in larger memory if that was needed."""
    for begin in range(first, max(stop, first + 1), _STRIDE):
        end = min(begin + _STRIDE, stop)
        book = with_room(book, most_added(*cut(events, corrections, begin, end)))
        run(book, events, corrections, begin, end, price, size, references)
    return book


def advance_levels(
    levels: Levels, events: EventColumns, corrections: CorrectionColumns, first: int, stop: int, references: np.ndarray
) -> Levels:
    """Apply events first..stop-1 to levels, see `levels.follow`; return them, in larger memory if that was needed.

    `references` has one row per event and one more, or no row at all.
    """
    for begin in range(first, max(stop, first + 1), _STRIDE):
        end = min(begin + _STRIDE, stop)
        part, corrected = cut(events, corrections, begin, end)
        levels = with_level_room(levels, most_added(part, corrected))
        follow(levels, part, corrected, references[begin - first : end - first + 1])
    return levels


def find_corrections(events: Events, *, start: BookSnapshot, price: np.ndarray, size: np.ndarray) -> Corrections:
    """Return corrections where a feed's own book contradicts the replay of its events.

    With these corrections, the best N levels of the replay equal the feed's book after every event. Among the
    corrections of one event, removals of levels come first, so that the window never has more than N levels.

    With `start.window` = N, the book forgets levels that leave the feed's view, and corrections only reveal levels that
    come into view; none should remove a level. With `start.window` = 0, it remembers the last known state of levels
    out of view: this needs fewer corrections, but some change or remove levels that have become outdated.

    Args:
      events: E events.
      start: the book before the first one.
      price: int64 [E, 2, N], the feed's levels after each event, bid then ask, best first, 0 if empty.
      size: int64 [E, 2, N], lots, 0 for an empty level.

    Raises:
      InputError: the arrays do not have one row per event, or the window keeps fewer levels than the feed shows.
    """
    _check_feed_book(events, price, size, start.window)
    # A corrected level becomes one order: no more corrected levels than this can be live at once.
    corrected = 2 * start.window if start.window else sum(len(np.unique(price[:, s])) for s in range(2))
    book = load(start, int(np.count_nonzero(events.kind == Kind.ADD)) + corrected)
    found = contradictions(book, event_columns(events), as_column(price, np.int64), as_column(size, np.int64))
    return Corrections(found[:, 0].copy(), found[:, 1].astype(np.int8), found[:, 2].copy(), found[:, 3].copy())


def one_step_mismatches(events: Events, *, price: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the rows i >= 1 for which event i, applied to the feed's row i-1, does not result in row i.

    Only levels 1..N-1 of N are compared: a level that disappears makes room for one that row i-1 does not show.

    Args:
      events: E events.
      price: int64 [E, 2, N], the feed's levels after each event, bid then ask, best first, 0 if empty.
      size: int64 [E, 2, N], lots, 0 for an empty level.

    Raises:
      InputError: the arrays do not have one row per event.
    """
    _check_feed_book(events, price, size, 0)
    window = price.shape[2]
    book = load(BookSnapshot.empty(window=window), 2 * window + 2)
    wrong = one_step(book, event_columns(events), as_column(price, np.int64), as_column(size, np.int64))
    return np.flatnonzero(wrong)


def settled_share(day: MarketDay) -> dict[str, float]:
    """Return how often the rule for removals without order ids selects the order that the id identifies.

    By kind name (CANCEL, DELETE, EXECUTE): the share among removals whose order is known to rest at their price, in a
    book that is kept by ids. Kinds without such a removal are absent.
    """
    tally = np.zeros((8, 2), np.int64)
    settle(book_for(day), *_columns(day), tally)
    return {kind.name: float(tally[kind, 1] / tally[kind, 0]) for kind in _REMOVALS if tally[kind, 0]}


def book_for(day: MarketDay) -> Book:
    """Return the starting book of a day with room for all orders that its events and corrections can add."""
    return load(day.start, int(np.count_nonzero(day.events.kind == Kind.ADD)) + len(day.corrections))


def _columns(day: MarketDay) -> tuple[EventColumns, CorrectionColumns]:
    """Check a day's events and corrections, and return them in the form of the compiled loops."""
    return event_columns(day.events), correction_columns(day.corrections, len(day.events))


def counts_of(book: Book) -> dict[str, int]:
    """Return a book's counters by name."""
    return dict(zip(COUNTERS, book.counters[: len(COUNTERS)].tolist(), strict=True))


def _check_feed_book(events: Events, price: np.ndarray, size: np.ndarray, window: int) -> None:
    """Check that a feed's book has one row per event, and no more levels than the window keeps."""
    levels = price.shape[-1]
    if price.shape != (len(events), 2, levels) or size.shape != price.shape or 0 < window < levels or levels < 1:
        raise InputError(
            "the feed's book does not match its events",
            where="price and size of the feed's book",
            expected=f"price and size of shape ({len(events)}, 2, N), N within 1..{window or 'any'}",
            was=f"price {price.shape}, size {size.shape}",
            remedy="pass one row per event, and set the starting book's window to the feed's number of levels",
        )
