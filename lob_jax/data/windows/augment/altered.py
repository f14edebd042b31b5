"""Alter the events of a day: what an alteration proposes, and the day that results once the book has its say.

An alteration is a function that proposes events in place of those of a day from an event on. It need not know whether
the book takes them: `settled` replays the proposal and leaves out what the book does not take, so that every altered
day replays without a contradiction that the day itself did not have.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError
from lob_jax.events.schema import Events
from lob_jax.tokens.sets.fitting import fits, fitting

ADDED = -1  # origin of an event that an alteration adds


@dataclasses.dataclass(frozen=True, eq=False)
class Proposal:
    """Events in place of those of a day.

    Attributes:
      events: E' events; times are not decreasing where those of the day are not.
      origin: int64 [E'], the index of the day's event that each is, ascending, or ADDED.
    """

    events: Events
    origin: np.ndarray


# (day, first, random) -> the day's events before `first` as they are, and others behind. Event 0 is never altered.
Alteration = Callable[[MarketDay, int, np.random.Generator], Proposal]


@dataclasses.dataclass(frozen=True, eq=False)
class AlteredDay:
    """A day with altered events.

    Attributes:
      day: the day, whose book takes its events.
      origin: int64 [E'], the index of the original day's event that each is, ascending, or ADDED.
      left_out: number of events of the original day that an alteration has kept, and that the book does not take.
      refused: number of added events that the book does not take.
    """

    day: MarketDay
    origin: np.ndarray
    left_out: int = 0
    refused: int = 0

    @classmethod
    def unaltered(cls, day: MarketDay) -> "AlteredDay":
        """Return a day as it is."""
        return cls(day, np.arange(len(day.events)))


def settled(day: MarketDay, proposal: Proposal, *, first: int, closed: int) -> AlteredDay:
    """Apply a proposal to a day, without the events that the book does not take.

    Events of the day that its own book does not take, which are those that a feed's gaps or its window explain, stay.
    Corrections stay where they are in the stream of the day's events.

    Args:
      day: the day.
      proposal: the events in place of its own.
      first: the first event that may be altered, at least 1.
      closed: what halts before the first event have closed, see `lob_jax.events.halts`.

    Raises:
      InputError: the proposal alters an event before `first`, or its events are not in the order of the day.
    """
    events, origin = proposal.events, np.asarray(proposal.origin, np.int64)
    _check(day, events, origin, first=first)
    is_real = origin >= 0
    insisted = np.zeros(len(events), np.bool_)
    insisted[is_real] = ~fits(day, closed=closed)[origin[is_real]]
    insisted[:first] = True
    applied, after = fitting(day, events, origin, insisted, closed=closed)
    kept = after >= 0
    corrections = dataclasses.replace(day.corrections[kept], event=after[kept])
    return AlteredDay(
        dataclasses.replace(day, events=events[applied], corrections=corrections),
        origin[applied],
        left_out=int(np.count_nonzero(is_real & ~applied)),
        refused=int(np.count_nonzero(~is_real & ~applied)),
    )


def altered(
    day: MarketDay, alterations: Sequence[Alteration], *, first: int, closed: int, random: np.random.Generator
) -> AlteredDay:
    """Apply alterations one after the other to the events of a day from `first` on, at least 1; see `settled`."""
    found = AlteredDay.unaltered(day)
    for alteration in alterations:
        step = settled(found.day, alteration(found.day, first, random), first=first, closed=closed)
        origin = np.where(step.origin >= 0, found.origin[step.origin], ADDED)
        found = AlteredDay(step.day, origin, found.left_out + step.left_out, found.refused + step.refused)
    return found


def _check(day: MarketDay, events: Events, origin: np.ndarray, *, first: int) -> None:
    real = origin[origin >= 0]
    in_order = bool(np.all(np.diff(real) > 0)) and (not len(real) or real[-1] < len(day.events))
    if first < 1 or len(origin) != len(events) or not in_order or not np.array_equal(origin[:first], np.arange(first)):
        raise InputError(
            "an alteration does not propose a day's events in their order",
            where="Proposal.origin",
            expected=f"0..{first - 1}, then ascending indices below {len(day.events)}, or {ADDED}",
            was=origin[: first + 10].tolist(),
            remedy="keep the events before `first`, which is at least 1, and the order of those that stay",
        )
