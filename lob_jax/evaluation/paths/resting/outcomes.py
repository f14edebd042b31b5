"""The resting orders of many prompts with their real fate and that on each path: what is scored."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.resting.fates import (
    NEVER,
    follow_by_id,
    follow_by_rule,
    in_events,
    in_seconds,
    without_ids,
)
from lob_jax.evaluation.paths.resting.orders import Resting, joined, resting_orders, same_queues, with_ids_of
from lob_jax.events.instrument import NS_PER_SECOND

UNITS = ("events", "seconds")
SAME = ("kind", "code", "side", "price", "size")  # columns in which tokens and the feed agree
Prices = dict[tuple[int, int], int]


class Reach(NamedTuple):
    """How long events last: their number, and seconds from the start of the day to the last one."""

    events: float
    seconds: float


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """Resting orders at N moments of real days, and what became of them.

    Attributes:
      orders: the O orders of all moments, those of a moment adjacent.
      moment_O: int64, the moment of each.
      truth: by unit, float64 [O, 4], how long it took to each of `fates.OUTCOMES`; infinite without one.
      reach: by unit, float64 [N], how long each moment is followed.
      ruled: bool [O, 4], whether the rule of the book, without the ids of the events, gives an order the same outcome,
        or none either, as long as it is followed.
      without_id: orders in the same part of the books that have no id.
      books: the books of the moments.
    """

    orders: Resting
    moment_O: np.ndarray
    truth: dict[str, np.ndarray]
    reach: dict[str, np.ndarray]
    ruled: np.ndarray
    without_id: int
    books: tuple[BookSnapshot, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Watched:
    """Known orders, and what becomes of them on P paths from each moment.

    Attributes:
      known: the orders and their real fate.
      paths: by unit, float64 [O, P, 4], as `Known.truth`.
      reach: by unit, float64 [N], how long the real events and all paths of a moment last.
      same_O: bool, whether the generator's book holds orders of the same sizes at the order's price.
    """

    known: Known
    paths: dict[str, np.ndarray]
    reach: dict[str, np.ndarray]
    same_O: np.ndarray


def known_orders(day: MarketDay, at: Sequence[int], *, following: int, levels: int) -> Known:
    """Return the resting orders at some moments of a day whose events have order ids, with their real fates.

    Args:
      day: the day, as its feed reads it.
      at: ascending indices of the events before which the moments are.
      following: events for which orders are followed.
      levels: occupied levels per side whose orders count.

    Raises:
      InputError: the day has no order ids.
    """
    orders, moments, truth, reach, ruled, without, books = [], [], [], [], [], 0, []
    for moment, (first, book) in enumerate(zip(at, snapshots_at(day, np.array(at, np.int64)), strict=True)):
        part = day.part(first, first + following, start=book)
        found = resting_orders(book, levels=levels, tick=day.instrument.tick)
        when = follow_by_id(part)[found.row_O]
        orders.append(found)
        moments.append(np.full(len(found), moment))
        truth.append((in_events(when), in_seconds(when, part)))
        reach.append(reach_of(part))
        ruled.append((follow_by_rule(without_ids(part))[found.row_O] == NEVER) == (when == NEVER))
        without += _in_view(book, levels) - len(found)
        books.append(book)
    times, lengths = (zip(*each, strict=True) for each in (truth, reach))
    return Known(
        joined(orders),
        np.concatenate(moments),
        {unit: np.concatenate(parts) for unit, parts in zip(UNITS, times, strict=True)},
        {unit: np.array(parts, float) for unit, parts in zip(UNITS, lengths, strict=True)},
        np.concatenate(ruled),
        without,
        tuple(books),
    )


def _in_view(book: BookSnapshot, levels: int) -> int:
    """Return the number of orders on the best levels of both sides."""
    every = dataclasses.replace(book, order_id=np.ones(len(book), np.uint64), anonymous=np.zeros(len(book), bool))
    return len(resting_orders(every, levels=levels, tick=1))


def reach_of(day: MarketDay) -> Reach:
    """Return how long the events of a day last."""
    events = len(day.events)
    return Reach(events, (day.events.time_ns[-1] - day.start.time_ns) / NS_PER_SECOND if events else 0.0)


def watched_orders(known: Known, days: Sequence[Sequence[MarketDay]]) -> Watched:
    """Follow known orders on generated paths.

    Args:
      known: orders at N moments.
      days: P paths from each moment, in the same order; they are replayed from the real book of the moment, whose
        orders have ids, which the generator's has not.

    Raises:
      InputError: paths begin with other levels than the real book.
    """
    each: dict[str, list[np.ndarray]] = {unit: [] for unit in UNITS}
    reach, same = [], []
    for moment, (book, paths) in enumerate(zip(known.books, days, strict=True)):
        rows = known.orders.row_O[known.moment_O == moment]
        _check_levels(book, paths[0])
        same.append(same_queues(book, paths[0].start)[rows])
        when = [follow_by_rule(with_ids_of(day, book))[rows] for day in paths]
        each["events"].append(np.stack([in_events(one) for one in when], axis=1))
        each["seconds"].append(np.stack([in_seconds(one, day) for one, day in zip(when, paths, strict=True)], axis=1))
        reach.append(np.array([reach_of(day) for day in paths]).min(0))
    lasts = dict(zip(UNITS, np.array(reach).T, strict=True))
    shortest = {unit: np.minimum(known.reach[unit], lasts[unit]) for unit in UNITS}
    times = {unit: np.concatenate(parts) for unit, parts in each.items()}
    return Watched(known, times, shortest, np.concatenate(same))


def _check_levels(book: BookSnapshot, path: MarketDay) -> None:
    """Check that a path begins with the levels of a book; ids and sizes of single orders may differ."""
    ours, theirs = _totals(book), _totals(path.start)
    if ours != theirs:
        raise InputError(
            "a path does not begin with the real book",
            where=f"{path.instrument.symbol} {path.instrument.trading_day}",
            expected=f"the {len(ours)} levels of the feed",
            was=f"{len(theirs)} levels, of which {len(set(ours.items()) & set(theirs.items()))} are the same",
            remedy="prepare the records again: the files have changed since",
        )


def _totals(book: BookSnapshot) -> Prices:
    """Return the size of each level by side and price."""
    found: Prices = {}
    for side, price, size in zip(book.side.tolist(), book.price.tolist(), book.size.tolist(), strict=True):
        found[side, price] = found.get((side, price), 0) + size
    return found


def check_same_events(day: MarketDay, part: MarketDay, first: int) -> None:
    """Check that events of a day are those that tokens were made of, apart from their times and ids.

    Args:
      day: the day as its feed reads it.
      part: events decoded from tokens.
      first: index in the day of the first of them.

    Raises:
      InputError: they are others.
    """
    ours = day.events[first : first + len(part.events)]
    if len(ours) == len(part.events) and all(
        np.array_equal(getattr(ours, name), getattr(part.events, name)) for name in SAME
    ):
        return
    raise InputError(
        "the files of the day hold other events than the records",
        where=f"{day.instrument.symbol} {day.instrument.trading_day}, event {first:,} and later",
        expected="the events of the records",
        was="events that differ in kind, side, price or size",
        remedy="prepare the records again: the files have changed since",
    )
