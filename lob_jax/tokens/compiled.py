"""The loops of `ExactTokenizer`, compiled: events to tokens, tokens to fields, fields to prices and times."""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.levels import Levels, amend_levels, change, clear_levels, reference_of
from lob_jax.book.loops import CorrectionColumns, EventColumns
from lob_jax.events.schema import ASK, BID, Code, Kind
from lob_jax.jit import in_place, njit
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as v

MOST = 2**61  # bound of prices and times: differences of two then never overflow an int64
MOST_DISTANCE = 10**v.MAX_PRICE_DIGITS - 1
MOST_SIZE = 10**v.MAX_NUMBER_DIGITS - 1


class Refusal(enum.IntEnum):
    """The reason why an event cannot be encoded; `exact` has the error messages."""

    FINE = 0  # it can be encoded
    BAD_KIND = 1  # an unknown kind
    BAD_CONTROL = 2  # a CONTROL event with more than a code
    BAD_CODE = 3  # a code that its kind does not have
    BAD_SIDE = 4
    BAD_SIZE = 5  # negative
    BIG_SIZE = 6  # more digits than a number can have
    BAD_PRICE = 7  # out of range
    OFF_TICK = 8  # between ticks
    FAR_PRICE = 9  # its distance from the reference has too many digits
    BAD_TIME = 10  # out of range


_ADD, _EXECUTE, _CROSS, _CONTROL = int(Kind.ADD), int(Kind.EXECUTE), int(Kind.CROSS), int(Kind.CONTROL)
_CLEAR, _FIRST_CODE, _LAST_CODE = int(Code.CLEAR), int(Code.HALT), int(Code.FEED_GAP)
_EVENT_TOKENS = 20  # more than an event can have, not counting TIME_SKIPs


class Parsed(NamedTuple):
    """The fields of E events as tokens encode them, before prices and times are resolved.

    Attributes:
      kind: uint8 [E].
      code: uint8 [E].
      side: int8 [E].
      distance: int64 [E], from the reference, positive deeper; in ticks, or in price quanta for kinds 5 and 6.
      size: int64 [E], lots.
      rank: int64 [E], among the orders that a removal fits; -1 without one.
      gap_ns: int64 [E], since the previous event.
    """

    kind: np.ndarray
    code: np.ndarray
    side: np.ndarray
    distance: np.ndarray
    size: np.ndarray
    rank: np.ndarray
    gap_ns: np.ndarray


@njit
def write_events(
    events: EventColumns,
    time_ns: np.ndarray,
    references: np.ndarray,
    ranks: np.ndarray,
    start_ns: int,
    carry: int,
    tick: int,
    kept_digits: int,
) -> tuple[np.ndarray, Refusal, int, int]:
    """Write E events as tokens.

    Args:
      events: the columns.
      time_ns: int64 [E].
      references: int64 [E, 2], the reference prices of bids and of asks before each event.
      ranks: int64 [E], the rank of each, -1 for none; or empty, if no event has one.
      start_ns: the clock before the first event.
      carry: accumulated rounding error of the gaps so far, ns.
      tick: price quanta per tick.
      kept_digits: significant digits of a gap.

    Returns:
      The tokens uint16 [T]; the reason why the first event that cannot be encoded cannot (Refusal.FINE if all can); its
      index; and the carry.
    """
    tokens = np.empty(_EVENT_TOKENS + 6 * len(time_ns), np.uint16)
    place = np.array([0, 0, start_ns, carry])
    fault = _write(events, time_ns, references, ranks, place, tick, kept_digits, tokens)
    while fault == Refusal.FINE and place[0] < len(time_ns):
        longer = np.empty(_room_for(place, time_ns) + len(tokens), np.uint16)
        longer[: len(tokens)] = tokens
        tokens = longer
        fault = _write(events, time_ns, references, ranks, place, tick, kept_digits, tokens)
    return tokens[: place[1]], fault, place[0], place[3]


@in_place
def _room_for(place: np.ndarray, time_ns: np.ndarray) -> int:
    """Return how many tokens suffice up to the end of the next event."""
    gap = time_ns[place[0]] - place[2]
    return place[1] + _EVENT_TOKENS + (abs(gap) + abs(place[3])) // numbers.SKIP_NS + 1


@in_place
def _write(
    events: EventColumns,
    time_ns: np.ndarray,
    references: np.ndarray,
    ranks: np.ndarray,
    place: np.ndarray,
    tick: int,
    kept_digits: int,
    tokens: np.ndarray,
) -> Refusal:
    """Write events until one cannot be encoded, or `tokens` may have too little room for the next.

    `place`, int64 [4], holds the next event, the number of tokens, the clock and the carry. Separate from the function
    that enlarges `tokens`, since Numba would count references to them at every call.
    """
    at, clock, carry = place[1], place[2], place[3]
    fault, i = Refusal.FINE, place[0]
    while i < len(time_ns):
        control = events.kind[i] == _CONTROL
        side = np.int64(events.side[i])
        origin = references[i, 0 if side == BID else 1]
        fault = Refusal.BAD_TIME if abs(time_ns[i]) >= MOST else Refusal.FINE
        if fault == Refusal.FINE:
            fault = _control_fault(events, i) if control else _fault(events, i, origin, tick)
        if fault != Refusal.FINE:
            break
        gap = time_ns[i] - clock
        coded = numbers.coded_gap(gap, carry, kept_digits)
        if at + _EVENT_TOKENS + abs(coded) // numbers.SKIP_NS > len(tokens):
            break
        clock = time_ns[i]
        carry += gap - coded  # the clock is the true one: only the carry knows how far decoded times are off
        if control:
            tokens[at] = v.CONTROL_BASE + events.code[i]
            at += 1
        else:
            head = events.kind[i] * v.CLASS_SIZE + (0 if side == BID else v.ASK_OFFSET)
            at = numbers.write_price(tokens, at, head, _distance(events, i, origin, tick))
            at = numbers.write_number(tokens, at, v.SIZE, events.size[i])
            if len(ranks) > 0 and ranks[i] >= 0:
                at = numbers.write_rank(tokens, at, ranks[i])
        at = numbers.write_gap(tokens, at, coded)
        i += 1
    place[0], place[1], place[2], place[3] = i, at, clock, carry
    return fault


@in_place
def unit_of(kind: int, tick: int) -> int:
    """Return the unit of a kind's distances, in price quanta: hidden and auction trades may be priced between ticks."""
    return tick if kind <= _EXECUTE else 1


@in_place
def _distance(events: EventColumns, i: int, origin: int, tick: int) -> int:
    """Return the distance of an event's price from its reference, in units, positive deeper."""
    return (origin - events.price[i]) * events.side[i] // unit_of(events.kind[i], tick)


@in_place
def _control_fault(events: EventColumns, i: int) -> int:
    """Return why a CONTROL event cannot be encoded, FINE if it can."""
    if not _FIRST_CODE <= events.code[i] <= _LAST_CODE:
        return Refusal.BAD_CODE
    return Refusal.BAD_CONTROL if events.side[i] != 0 or events.price[i] != 0 or events.size[i] != 0 else Refusal.FINE


@in_place
def _fault(events: EventColumns, i: int, origin: int, tick: int) -> int:
    """Return why an event other than CONTROL cannot be encoded, FINE if it can."""
    if not _ADD <= events.kind[i] <= _CROSS:
        return Refusal.BAD_KIND
    if events.code[i] != 0:
        return Refusal.BAD_CODE
    if events.side[i] != BID and events.side[i] != ASK:
        return Refusal.BAD_SIDE
    if events.size[i] < 0:
        return Refusal.BAD_SIZE
    if events.size[i] > MOST_SIZE:
        return Refusal.BIG_SIZE
    if abs(events.price[i]) >= MOST or abs(origin) >= MOST:
        return Refusal.BAD_PRICE
    unit = unit_of(events.kind[i], tick)
    if unit > 1 and (events.price[i] % unit != 0 or (origin - events.price[i]) % unit != 0):
        return Refusal.OFF_TICK
    return Refusal.FAR_PRICE if abs(_distance(events, i, origin, tick)) > MOST_DISTANCE else Refusal.FINE


@in_place
def walk(transition: np.ndarray, tokens: np.ndarray, state: int) -> tuple[int, int]:
    """Return the number of tokens that a grammar accepts from a state, and the state after them."""
    for position in range(len(tokens)):
        token = tokens[position]
        if token < 0 or token >= transition.shape[1] or transition[state, token] < 0:
            return position, state
        state = np.int64(transition[state, token])
    return len(tokens), state


def parse(tokens: np.ndarray, n_events: int) -> Parsed:
    """Parse the fields of complete events from tokens [T] that the grammar accepts, without BOS, EOS and PAD."""
    parsed = Parsed(
        kind=np.zeros(n_events, np.uint8),
        code=np.zeros(n_events, np.uint8),
        side=np.zeros(n_events, np.int8),
        distance=np.zeros(n_events, np.int64),
        size=np.zeros(n_events, np.int64),
        rank=np.full(n_events, -1),
        gap_ns=np.zeros(n_events, np.int64),
    )
    _parse(tokens, *parsed)
    return parsed


@in_place
def _parse(
    tokens: np.ndarray,
    kind: np.ndarray,
    code: np.ndarray,
    side: np.ndarray,
    distance: np.ndarray,
    size: np.ndarray,
    rank: np.ndarray,
    gap_ns: np.ndarray,
) -> None:
    """Fill the columns of `Parsed`."""
    at = 0
    for i in range(len(kind)):
        head = np.int64(tokens[at])
        at += 1
        if head < v.CLASS_SIZE:
            kind[i], code[i] = _CONTROL, head - v.CONTROL_BASE
        else:
            kind[i] = head // v.CLASS_SIZE
            low = head % v.CLASS_SIZE
            side[i] = BID if low < v.ASK_OFFSET else ASK
            distance[i], at = numbers.read_price(tokens, at, low % v.ASK_OFFSET)
            size[i], at = numbers.read_number(tokens, at + 1, np.int64(tokens[at]) - v.SIZE)
            rank[i], at = numbers.read_rank(tokens, at)
        gap_ns[i], at = numbers.read_gap(tokens, at)


@in_place
def resolve(
    levels: Levels,
    parsed: Parsed,
    corrections: CorrectionColumns,
    start_ns: int,
    tick: int,
    time_ns: np.ndarray,
    price: np.ndarray,
) -> int:
    """Convert gaps to times and distances to prices, applying each event to the book before the next one.

    Args:
      levels: the book before the first event; changed in place.
      parsed: E events.
      corrections: those of these events.
      start_ns: the clock before the first event.
      tick: price quanta per tick.
      time_ns, price: int64 [E], filled in.

    Returns:
      The number of converted events, less than E if a time or a price is out of range.
    """
    n_events = len(parsed.kind)
    clock, cursor = start_ns, 0
    for i in range(n_events):
        clock += parsed.gap_ns[i]
        if abs(clock) >= MOST or abs(parsed.gap_ns[i]) >= MOST:
            return i
        time_ns[i] = clock
        if parsed.kind[i] == _CONTROL:
            if parsed.code[i] == _CLEAR:
                clear_levels(levels)
        else:
            side, unit = np.int64(parsed.side[i]), unit_of(parsed.kind[i], tick)
            origin = reference_of(levels, 0 if side == BID else 1)
            if abs(origin) >= MOST or abs(parsed.distance[i]) > (MOST - 1 - abs(origin)) // unit:
                return i
            price[i] = origin - side * parsed.distance[i] * unit
            change(levels, parsed.kind[i], side, price[i], parsed.size[i])
        cursor = amend_levels(levels, corrections, cursor, i)
    return n_events
