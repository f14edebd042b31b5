"""`EventCounts`: a count-based model of events that needs neither a book nor tokens, in a few megabytes.

It is what live log-likelihoods are compared with: an event that is hard to predict is so for both, and how much better
the model is than counts varies far less than its log-likelihood. An event is a sequence of decisions:

* its class (kind and side), given those of the two events before it; the code of a CONTROL event is uniform;
* its price: that of one of the last PLACES events on its side (the newest that has it), or another one, as the number
  of ticks from the price of the last event there;
* its size: that of the event whose price it has, or another one;
* the gap in time before it, given its class and the power of ten of the gap before.

Numbers are spelled as in tokens: a code for the first two digits and how many follow, see `lob_jax.tokens.numbers`,
then the digits, which are uniform; of sizes, whether all are 0 is counted. Codes are smoothed by the method of Witten
and Bell (1991, method C). Let n(h, c) be the count of c in context h, n(h) its sum, u(h) how many different c were seen
there, and h' a wider context; the widest is followed by the uniform distribution:

  P(c | h) = (n(h, c) + u(h) P(c | h')) / (n(h) + u(h)).

Choices of two have half a count added to each (Krichevsky and Trofimov, 1981). Where a decision leaves a value that an
earlier one has excluded its share, both are added, so that the probabilities of all events sum to one.
"""

import dataclasses
import functools
import math
from typing import NamedTuple, Self

import numpy as np

from lob_jax.events.schema import ASK, BID, Code, Kind
from lob_jax.export.reference.features import CLASSES, CONTROL, Columns, classes_of, places_on
from lob_jax.tokens.vocabulary import MAX_NUMBER_DIGITS

PLACES = 8  # events of a side whose prices an event may have
CODES = 1000  # of a number without a sign
DECADES = 14  # of the gap before: 0 and below, 1-9, 10-99, ...
_SIGNED = 2 * CODES
_EVEN = np.where(np.arange(_SIGNED) == CODES, 0.0, 1 / (_SIGNED - 1))  # of signed codes: there is no -0
_SKIP_NS = 10**MAX_NUMBER_DIGITS
_OTHER = PLACES  # in place of a place: the price of none of them
_POWER = 10 ** np.arange(19, dtype=np.int64)
_IN_QUANTA = (Kind.EXECUTE_HIDDEN, Kind.CROSS)  # whose prices need not be multiples of the tick


class Decisions(NamedTuple):
    """The decisions that events are, [E] each; -1 for what an event has not, or what is not known of it.

    Attributes:
      action: the classes of the two events before, as one number, and the event's own.
      place: which of the last events on its side has its price; _OTHER for none.
      is_open: bool [E, PLACES + 1], which places have a price that no newer one has; that of other prices always.
      distance: the code of its distance, with CODES added for a negative one, and its further digits.
      same: whether it has the size of the event in its place (of the last one for _OTHER), 0 or 1.
      size: the code of the size, its further digits, and whether all are 0.
      gap: the decade of the gap before, the code of its own, with CODES added for a negative one, its further digits,
        and how many times 10^12 ns are to be added.
    """

    action: tuple[np.ndarray, np.ndarray]
    place: np.ndarray
    is_open: np.ndarray
    distance: tuple[np.ndarray, np.ndarray]
    same: np.ndarray
    size: tuple[np.ndarray, np.ndarray, np.ndarray]
    gap: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class EventCounts:
    """What was counted, int64 each; the classes of the first axis are those of the event itself unless it says else.

    Attributes:
      action: [CLASSES^2, CLASSES], by the two classes before.
      place: [CLASSES, PLACES + 1].
      distance: [CLASSES, 2 CODES].
      same: [CLASSES, PLACES + 1, 2].
      size: [CLASSES, CODES].
      zeros: [CLASSES, 2], whether the further digits of a size are all 0.
      gap: [CLASSES, DECADES, 2 CODES].
      skip: [2], how often 10^12 ns were added, and how often no more.
      digits: int64 [1], significant digits that a gap is rounded to.
    """

    action: np.ndarray
    place: np.ndarray
    distance: np.ndarray
    same: np.ndarray
    size: np.ndarray
    zeros: np.ndarray
    gap: np.ndarray
    skip: np.ndarray
    digits: np.ndarray

    @classmethod
    def nothing(cls, *, digits: int) -> Self:
        """Return counts of 0, for gaps of so many significant digits; 12 for all."""
        arrays = {name: np.zeros(shape, np.int64) for name, shape in SHAPES.items()}
        return cls(**{**arrays, "digits": np.array([digits], np.int64)})

    def add(self, columns: Columns, *, tick: int, first: int) -> None:
        """Count the events from `first` on, in place; those before are their context.

        Events of which too little is known, as in `log_prob`, are left out.
        """
        self.__dict__.pop("_tables", None)
        known, (d, own) = self._known(columns, tick=tick, first=first)
        order, far = known & (own != CONTROL), known & (d.place == _OTHER)
        plain = order & (d.same == 0)
        long = plain & (d.size[1] > 0)
        np.add.at(self.action, (d.action[0][known], own[known]), 1)
        np.add.at(self.place, (own[order], d.place[order]), 1)
        np.add.at(self.distance, (own[far], d.distance[0][far]), 1)
        np.add.at(self.same, (own[order], d.place[order], d.same[order]), 1)
        np.add.at(self.size, (own[plain], d.size[0][plain]), 1)
        np.add.at(self.zeros, (own[long], d.size[2][long]), 1)
        np.add.at(self.gap, (own[known], d.gap[0][known], d.gap[1][known]), 1)
        self.skip[:] += [d.gap[3][known].sum(), known.sum()]

    def log_prob(self, columns: Columns, *, tick: int, first: int) -> np.ndarray:
        """Return the log-likelihood of the events from `first` on, nats, float64 [E - first].

        It is NaN where too little is known: where there are no two events before one, or none on its side.

        Args:
          columns: the events; those before `first` are their context, and 64 usually have all that is needed.
          tick: price quanta in a tick.
          first: the first event that is asked for.
        """
        known, (d, own) = self._known(columns, tick=tick, first=first)
        log_p = np.full(len(own), np.nan)
        parts = self._action(d, own) + self._gap(d, own)
        orders = np.where(own == CONTROL, 0.0, self._price(d, own) + self._size(d, own))
        log_p[known] = (parts + orders)[known]
        return log_p[first:]

    def _known(self, columns: Columns, *, tick: int, first: int) -> tuple[np.ndarray, tuple[Decisions, np.ndarray]]:
        own = classes_of(columns.kind, columns.side)
        found = decisions_of(columns, own, tick=tick, digits=int(self.digits[0]))
        known = (np.arange(len(own)) >= max(first, 2)) & ((own == CONTROL) | (found.place >= 0))
        return known, (found, own)

    @functools.cached_property
    def _tables(self) -> "_Tables":
        return _Tables.of(self)

    def _action(self, d: Decisions, own: np.ndarray) -> np.ndarray:
        codes = np.where(own == CONTROL, math.log(len(Code) - 1), 0.0)
        return np.log(self._tables.action[d.action[0], own]) - codes

    def _price(self, d: Decisions, own: np.ndarray) -> np.ndarray:
        tables, place = self._tables, np.maximum(d.place, 0)
        weight = np.where(d.is_open, tables.place[own], 0.0)
        weight /= weight.sum(1, keepdims=True)
        far = tables.distance[own, d.distance[0]] / _POWER[d.distance[1]]
        here = np.where(place == _OTHER, 0.0, weight[np.arange(len(own)), place])
        return np.log(here + weight[:, _OTHER] * far)

    def _size(self, d: Decisions, own: np.ndarray) -> np.ndarray:
        tables = self._tables
        rest = np.where(d.size[2] > 0, 1.0, np.maximum(_POWER[d.size[1]] - 1, 1))
        digits = np.where(d.size[1] > 0, tables.zeros[own, d.size[2]] / rest, 1.0)
        same = tables.same[own, np.maximum(d.place, 0)]
        lots = np.where(d.same > 0, same[:, 1], 0.0) + same[:, 0] * tables.size[own, d.size[0]] * digits
        return np.log(lots)

    def _gap(self, d: Decisions, own: np.ndarray) -> np.ndarray:
        decade, code, more, skips = d.gap
        again = (self.skip[0] + 0.5) / (self.skip.sum() + 1)
        return (
            np.log(self._tables.gap[own, decade, code])
            - more * math.log(10)
            + skips * math.log(again)
            + math.log1p(-again)
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Tables:
    """The probabilities of `EventCounts`, in the shapes of its counts; `place` is not normalised."""

    action: np.ndarray
    place: np.ndarray
    distance: np.ndarray
    same: np.ndarray
    size: np.ndarray
    zeros: np.ndarray
    gap: np.ndarray

    @classmethod
    def of(cls, counts: EventCounts) -> Self:
        one = counts.action.reshape(CLASSES, CLASSES, CLASSES).sum(0)  # by the class before alone
        one = np.tile(smoothed(one, smoothed(one.sum(0), 1 / CLASSES)), (CLASSES, 1))
        by_class = counts.gap.sum(1)
        return cls(
            action=smoothed(counts.action, one),
            place=counts.place + 0.5,
            distance=smoothed(counts.distance, smoothed(counts.distance.sum(0), _EVEN)),
            same=(counts.same + 0.5) / (counts.same + 0.5).sum(-1, keepdims=True),
            size=smoothed(counts.size, smoothed(counts.size.sum(0), 1 / CODES)),
            zeros=(counts.zeros + 0.5) / (counts.zeros + 0.5).sum(-1, keepdims=True),
            gap=smoothed(counts.gap, smoothed(by_class, smoothed(by_class.sum(0), _EVEN))[:, None]),
        )


SHAPES = {
    "action": (CLASSES**2, CLASSES),
    "place": (CLASSES, PLACES + 1),
    "distance": (CLASSES, _SIGNED),
    "same": (CLASSES, PLACES + 1, 2),
    "size": (CLASSES, CODES),
    "zeros": (CLASSES, 2),
    "gap": (CLASSES, DECADES, _SIGNED),
    "skip": (2,),
    "digits": (1,),
}


def smoothed(counts: np.ndarray, wider: np.ndarray | float) -> np.ndarray:
    """Return the probabilities of what was counted along the last axis by the method of Witten and Bell.

    Args:
      counts: int64 [..., C].
      wider: the probabilities in a wider context, that broadcast against the counts.
    """
    total, seen = counts.sum(-1, keepdims=True), (counts > 0).sum(-1, keepdims=True)
    return np.where(total > 0, (counts + seen * wider) / np.maximum(total + seen, 1), wider)


def decisions_of(columns: Columns, own: np.ndarray, *, tick: int, digits: int) -> Decisions:
    """Return the decisions that events are.

    Args:
      columns: the events.
      own: int64 [E], their classes.
      tick: price quanta in a tick.
      digits: significant digits of a gap.
    """
    padded = np.concatenate([[CONTROL, CONTROL], own])
    place, is_open, ticks, same = _on_their_sides(columns, tick=tick)
    size = np.maximum(columns.size, 0)
    code, more = codes_of(size)
    zeros = (size % _POWER[more] == 0).astype(np.int64)
    return Decisions(
        (padded[:-2] * CLASSES + padded[1:-1], own),
        place,
        is_open,
        signed_codes(ticks),
        same,
        (code, more, zeros),
        _gaps(columns.time_ns, digits),
    )


def codes_of(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the code 0..999 of numbers from 0 on, below 10^12, and how many digits follow it; larger ones are cut."""
    number = np.minimum(number, _SKIP_NS - 1)
    more = np.maximum(np.searchsorted(_POWER, number, side="right") - 2, 0)
    return np.where(number < 10, number, 90 * more + number // _POWER[more]), more


def signed_codes(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of numbers of either sign, with CODES added for negative ones, and how many digits follow."""
    code, more = codes_of(np.abs(number))
    return code + CODES * (number < 0), more


def _gaps(time_ns: np.ndarray, digits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    gap = np.diff(time_ns, prepend=time_ns[:1])
    far = np.abs(gap)
    code, more = codes_of(far % _SKIP_NS)
    before = np.concatenate([[0], gap])[: len(gap)]
    decade = np.searchsorted(_POWER[: DECADES - 1], before, side="right")
    return decade, code + CODES * (gap < 0), np.minimum(more, digits - 2), far // _SKIP_NS


def _on_their_sides(columns: Columns, *, tick: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return place, open places, ticks from the last price and whether the size is the same, see `Decisions`."""
    count = len(columns.kind)
    place, ticks, same = np.full(count, -1), np.zeros(count, np.int64), np.zeros(count, np.int64)
    is_open = np.zeros((count, PLACES + 1), bool)
    is_open[:, _OTHER] = True
    for side in (BID, ASK):
        at = places_on(columns, side)
        if not len(at):
            continue
        price, size = columns.price[at], columns.size[at]
        back = np.arange(len(at))[:, None] - np.arange(1, PLACES + 1)  # [N, PLACES]
        there = back >= 0
        came = price[np.maximum(back, 0)]
        newer = (came[:, :, None] == came[:, None, :]) & (np.arange(PLACES) < np.arange(PLACES)[:, None])
        is_open[at, :_OTHER] = there & ~newer.any(-1)
        match = there & (came == price[:, None])
        found = np.where(match.any(1), match.argmax(1), _OTHER)
        place[at] = np.where(there[:, 0], found, -1)
        last = np.where(found == _OTHER, 0, found)
        same[at] = size == size[np.maximum(back[np.arange(len(at)), last], 0)]
        coarse = np.isin(columns.kind[at], _IN_QUANTA)
        ticks[at] = side * np.where(coarse, came[:, 0] - price, came[:, 0] // tick - price // tick)
    return place, is_open, ticks, same
