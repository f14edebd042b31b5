"""What a decoder knows before each decision of an event, as small integers: the items of contexts.

It knows the past events of the record and the decoder's book, in which an order is known by the event that added it.
Orders that were there before, or that a correction revealed, have no known age.
"""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import best_price, best_size, is_empty, level_of, queue_length, rank, reference, rule_slot
from lob_jax.book.orders import AHEAD, BACK, END, FIRST, FRONT, ID, NOBODY, PRICE, SIZE, Book
from lob_jax.events.schema import Kind
from lob_jax.jit import in_place, inner
from lob_jax.tokens import numbers


class Item(enum.IntEnum):
    """The items, in the order in which they become known."""

    # of the past, newest first
    ACTION_1 = 0
    ACTION_2 = 1
    ACTION_3 = 2
    ACTION_4 = 3
    HEAD_1 = 4
    HEAD_2 = 5
    HEAD_3 = 6
    HEAD_4 = 7
    PLACE_1 = 8
    PLACE_2 = 9
    PACE_1 = 10  # digits of the gap
    PACE_2 = 11
    PACE_3 = 12
    CLASS_1 = 13  # class of the gap
    CLASS_2 = 14
    SIZE_1 = 15
    SIZE_2 = 16
    SPREAD = 17
    IMBALANCE = 18
    TOUCH = 19  # numbers of orders at the best prices
    STILL_1 = 20  # where the last event's price is now
    RUN = 21  # events since the action changed
    TRADE = 22  # events since the last execution, and its side
    BURST = 23  # recent gaps below a millisecond
    # given kind and side
    ACTION = 24
    OWN_KIND_1 = 25  # the last event of this side
    OWN_DISTANCE_1 = 26
    OWN_AGO_1 = 27
    OWN_KIND_2 = 28
    OWN_DISTANCE_2 = 29
    OWN_PLACE_1 = 30
    OWN_PLACE_2 = 31
    STEP = 32  # from the best to the second best price
    QUEUE_1 = 33  # number of orders at the best price
    QUEUE_2 = 34
    # given the price
    HEAD_NOW = 35
    PLACE_NOW = 36
    QUEUE_NOW = 37
    BACK_1 = 38  # size of the newest order
    BACK_2 = 39
    FRONT_1 = 40
    SAME = 41  # whether the last events were at this price
    REMOVED = 42  # size that was last removed from this side
    ADDED = 43  # size that was last added to this side
    OWN_SIZE_1 = 44
    # given the size
    SIZE_NOW = 45
    EFFECT = 46  # whether the event opens or closes a level, and how good a one
    AGE = 47  # of the removed order
    # inside a number
    LEAD = 48  # its first token
    DIGITS_1 = 49  # the groups so far, newest first
    DIGITS_2 = 50


N_ITEMS = len(Item)
(
    ACTION_1, ACTION_2, ACTION_3, ACTION_4, HEAD_1, HEAD_2, HEAD_3, HEAD_4, PLACE_1, PLACE_2, PACE_1, PACE_2, PACE_3,
    CLASS_1, CLASS_2, SIZE_1, SIZE_2, SPREAD, IMBALANCE, TOUCH, STILL_1, RUN, TRADE, BURST,
    ACTION, OWN_KIND_1, OWN_DISTANCE_1, OWN_AGO_1, OWN_KIND_2, OWN_DISTANCE_2, OWN_PLACE_1, OWN_PLACE_2, STEP,
    QUEUE_1, QUEUE_2,
    HEAD_NOW, PLACE_NOW, QUEUE_NOW, BACK_1, BACK_2, FRONT_1, SAME, REMOVED, ADDED, OWN_SIZE_1,
    SIZE_NOW, EFFECT, AGE, LEAD, DIGITS_1, DIGITS_2,
) = (int(one) for one in Item)  # fmt: skip

NONE = -1
ADD, CANCEL, DELETE, EXECUTE, HIDDEN = (int(kind) for kind in list(Kind)[:5])


class Column(enum.IntEnum):
    """The columns of a remembered event."""

    ACTION = 0
    PRICE = 1
    SIZE = 2
    GAP = 3
    HEAD = 4
    LEAD = 5
    PLACE = 6
    CODE = 7
    INDEX = 8


class Mark(enum.IntEnum):
    """The columns of `Past.marks`: sizes last removed and added, and the price of the last hidden execution."""

    LAST_REMOVED = 0
    LAST_ADDED = 1
    LAST_HIDDEN = 2


P_ACTION, P_PRICE, P_SIZE, P_GAP, P_HEAD, P_LEAD, P_PLACE, P_CODE, P_INDEX = (int(one) for one in Column)
LAST_REMOVED, LAST_ADDED, LAST_HIDDEN = (int(one) for one in Mark)
DEPTH = 8
BOTH = 2  # the row of `Past.events` for both sides


class Past(NamedTuple):
    """What is remembered of past events.

    Attributes:
      events: int64 [3, DEPTH, 9], the newest events of bids, of asks, and of both, newest first; P_ACTION is NONE if
        there was none.
      marks: int64 [2, 3], by side, see `Mark`; NONE at first.
      counters: int64 [3]: length of the current run of one action, events since the last execution, its side.
      time_ns: int64 [E + 1], the time of each event, preceded by that of the start.
    """

    events: np.ndarray
    marks: np.ndarray
    counters: np.ndarray
    time_ns: np.ndarray


def new_past(time_ns: np.ndarray) -> Past:
    """Return a memory of no events; `time_ns` [E + 1] has the start's time and those of the events."""
    return Past(
        events=np.full((3, DEPTH, 9), NONE, np.int64),
        marks=np.full((2, 3), NONE, np.int64),
        counters=np.array([0, 99, 0], np.int64),
        time_ns=np.ascontiguousarray(time_ns, np.int64),
    )


@in_place
def gap_class(code: int) -> int:
    """Return the class of a gap's code, 0..53: codes 0..9, then quarters of each decade."""
    if code < 10:
        return code
    lead = 10 + (code - 10) % 90
    quarter = (lead >= 18) + (lead >= 32) + (lead >= 56)
    return 10 + 4 * ((code - 10) // 90) + quarter


@inner
def capped(number: int, most: int) -> int:
    """Return a number, at most `most`."""
    return min(number, most)


@inner
def rough(number: int) -> int:
    """Return a number >= 0 itself up to 12, then in steps of about a quarter."""
    if number <= 12:
        return max(number, NONE)
    step, value = 12, 13
    while step + step // 4 < number and value < 60:
        step += step // 4
        value += 1
    return value


@inner
def lead_code(size: int) -> int:
    """Return the leading code of a number; NONE of a negative one."""
    if size < 10:
        return max(size, NONE)
    more = numbers.digit_count(size) - 2
    return 90 * more + size // 10**more


@inner
def distance_of(origin: int, s: int, price: int, unit: int) -> int:
    """Return how much deeper than its reference a price is, in units."""
    return (origin - price) * (1 - 2 * s) // unit


@inner
def unit_of(kind: int, tick: int) -> int:
    """Return the unit of a kind's distances, in price quanta."""
    return tick if kind <= EXECUTE else 1


@inner
def place_of(book: Book, s: int, price: int) -> int:
    """Return 2 * (number of better levels, up to 12) + (1 if there is a level at the price)."""
    row = rank(book, s, price)
    occupied = row < book.side[s, END] and book.levels[s, row, PRICE] == price
    return 2 * capped(book.side[s, END] - row - occupied, 12) + occupied


@inner
def state_items(book: Book, past: Past, tick: int, items: np.ndarray) -> None:
    """Set the items of the past and of the book."""
    events = past.events[BOTH]
    for k in range(4):
        items[ACTION_1 + k] = events[k, P_ACTION]
        items[HEAD_1 + k] = events[k, P_HEAD]
    for k in range(2):
        items[PLACE_1 + k], items[SIZE_1 + k] = events[k, P_PLACE], events[k, P_LEAD]
        items[CLASS_1 + k] = gap_class(events[k, P_GAP]) if events[k, P_ACTION] >= 0 else NONE
    items[BURST] = 0
    for k in range(6):
        code = events[k, P_GAP]
        pace = NONE if events[k, P_ACTION] < 0 else min(code, 1) if code < 10 else 2 + (code - 10) // 90
        if k < 3:
            items[PACE_1 + k] = pace
        items[BURST] += pace < 7
    two_sided = not is_empty(book, 0) and not is_empty(book, 1)
    items[SPREAD] = rough((best_price(book, 1) - best_price(book, 0)) // tick) if two_sided else NONE
    bid, ask = best_size(book, 0), best_size(book, 1)
    items[IMBALANCE] = 5 * bid // (bid + ask + 1)
    items[TOUCH] = 0
    for s in range(2):
        if not is_empty(book, s):
            items[TOUCH] = 4 * items[TOUCH] + queue_length(book, s, book.side[s, END] - 1, 3)
    last = events[0, P_ACTION]
    items[STILL_1] = place_of(book, last % 2, events[0, P_PRICE]) if 0 <= last < 12 else NONE
    items[RUN] = capped(past.counters[0], 5)
    items[TRADE] = 2 * rough(past.counters[1]) + past.counters[2] if past.counters[1] < 30 else NONE


@inner
def action_items(book: Book, past: Past, tick: int, action: int, items: np.ndarray) -> None:
    """Set the items that depend on kind and side."""
    items[ACTION] = action
    for k in range(OWN_KIND_1, QUEUE_2 + 1):
        items[k] = NONE
    if action >= 12:
        return
    s = action % 2
    unit = unit_of(1 + action // 2, tick)
    origin = reference(book, 1 - 2 * s)
    for k in range(2):
        event = past.events[s, k]
        if event[P_ACTION] >= 0:
            shift = 3 * k
            items[OWN_KIND_1 + shift] = event[P_ACTION] // 2
            far = distance_of(origin, s, event[P_PRICE], unit)
            items[OWN_DISTANCE_1 + shift] = rough(far) if far >= 0 else -2 - rough(-far)
            items[OWN_PLACE_1 + k] = place_of(book, s, event[P_PRICE])
    if past.events[s, 0, P_ACTION] >= 0:
        items[OWN_AGO_1] = rough(past.events[BOTH, 0, P_INDEX] - past.events[s, 0, P_INDEX])
    top = book.side[s, END] - 1
    if top >= book.side[s, FIRST]:
        items[QUEUE_1] = queue_length(book, s, top, 4)
    if top - 1 >= book.side[s, FIRST]:
        items[QUEUE_2] = queue_length(book, s, top - 1, 4)
        items[STEP] = rough(abs(book.levels[s, top, PRICE] - book.levels[s, top - 1, PRICE]) // tick)


@inner
def price_items(book: Book, past: Past, action: int, price: int, head: int, items: np.ndarray) -> None:
    """Set the items that depend on the price."""
    for k in range(HEAD_NOW, OWN_SIZE_1 + 1):
        items[k] = NONE
    items[HEAD_NOW] = head
    if action >= 12:
        return
    s = action % 2
    items[PLACE_NOW] = place_of(book, s, price)
    row = level_of(book, s, price)
    items[QUEUE_NOW] = 0
    if row >= 0:
        items[QUEUE_NOW] = queue_length(book, s, row, 4)
        back, front = book.levels[s, row, BACK], book.levels[s, row, FRONT]
        items[BACK_1], items[FRONT_1] = lead_code(book.orders[back, SIZE]), lead_code(book.orders[front, SIZE])
        if book.orders[back, AHEAD] != NOBODY:
            items[BACK_2] = lead_code(book.orders[book.orders[back, AHEAD], SIZE])
    items[SAME] = 0
    for k in range(2):
        event = past.events[BOTH, k]
        items[SAME] += (event[P_ACTION] >= 0 and event[P_ACTION] % 2 == s and event[P_PRICE] == price) << k
    items[REMOVED], items[ADDED] = lead_code(past.marks[s, LAST_REMOVED]), lead_code(past.marks[s, LAST_ADDED])
    items[OWN_SIZE_1] = past.events[s, 0, P_LEAD]


@inner
def size_items(book: Book, past: Past, i: int, action: int, price: int, size: int, items: np.ndarray) -> None:
    """Set the items that depend on the size of event i."""
    items[SIZE_NOW], items[EFFECT], items[AGE] = lead_code(size), NONE, NONE
    if action >= 8:
        return
    s, kind = action % 2, 1 + action // 2
    row = level_of(book, s, price)
    better = items[PLACE_NOW] // 2
    changes = row < 0 if kind == ADD else row >= 0 and book.levels[s, row, SIZE] <= size
    items[EFFECT] = 2 * capped(better, 5) + changes
    if kind != ADD and row >= 0:
        items[AGE] = age_of(book, past, i, rule_slot(book, s, row, kind, size))


@inner
def age_of(book: Book, past: Past, i: int, slot: int) -> int:
    """Return the age of an order before event i, 0..19: 0 if it is unknown; 1..3 events; or quarters of its ns."""
    born = book.orders[slot, ID] - 1
    if born < 0:
        return 0
    if i - born <= 3:
        return i - born
    age = (past.time_ns[i] - past.time_ns[born + 1]) // 16_384  # time_ns[i] is the time of the event before i
    found = 4
    while age > 0 and found < 19:
        age //= 4
        found += 1
    return found


@inner
def remember(
    book: Book, past: Past, i: int, action: int, price: int, size: int, gap: int, head: int, place: int
) -> None:
    """Add event i to the memory; `gap` and `head` are its leading codes."""
    past.counters[0] = past.counters[0] + 1 if past.events[BOTH, 0, P_ACTION] == action else 1
    past.counters[1] += 1
    if action in (6, 7, 8, 9):
        past.counters[1], past.counters[2] = 1, action % 2
    for row in range(3):
        if row == BOTH or (action < 12 and action % 2 == row):
            events = past.events[row]
            for k in range(DEPTH - 1, 0, -1):
                for column in range(9):
                    events[k, column] = events[k - 1, column]
            events[0, P_ACTION], events[0, P_PRICE], events[0, P_SIZE] = action, price, size
            events[0, P_GAP], events[0, P_HEAD], events[0, P_LEAD] = gap, head, lead_code(size)
            events[0, P_PLACE], events[0, P_INDEX] = place, i
    if action < 12:
        s, kind = action % 2, 1 + action // 2
        if kind in (CANCEL, DELETE):
            past.marks[s, LAST_REMOVED] = size
        elif kind == ADD:
            past.marks[s, LAST_ADDED] = size
        elif kind == HIDDEN:
            past.marks[s, LAST_HIDDEN] = price
