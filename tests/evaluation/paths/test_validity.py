"""Each thing that cannot have happened is found, and nothing else."""

import dataclasses

import numpy as np
import pytest

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.evaluation.paths.validity import check_events, merged
from lob_jax.events.schema import Code, Events, Flag, Kind

START = BookSnapshot(
    time_ns=1_000,
    side=np.array([1, 1, 1, -1], np.int8),
    price=np.array([9_900, 9_900, 9_800, 10_100]),
    size=np.array([5, 7, 9, 4]),
    order_id=np.zeros(4, np.uint64),
    anonymous=np.zeros(4, bool),
    last_best=np.zeros(2, np.int64),
)
PAUSE = (Kind.CONTROL, 0, 0, 0, 1_000, Code.HALT)
QUOTES = (Kind.CONTROL, 0, 0, 0, 1_000, Code.RESUME_QUOTE)
TRADING = (Kind.CONTROL, 0, 0, 0, 1_000, Code.RESUME_TRADE)


def check(*rows, closed=0):
    filled = [(*row, *(1_000, 0)[len(row) - 4 :]) for row in rows]
    names = ("kind", "side", "price", "size", "time_ns", "code")
    columns = {name: np.array(column) for name, column in zip(names, zip(*filled, strict=True), strict=True)}
    return check_events(Events.from_columns(**columns), start=START, tick=100, closed=closed)


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        ((Kind.ADD, 1, 10_000, 3), None),
        ((Kind.ADD, 1, 10_100, 3), "crosses the book"),
        ((Kind.ADD, -1, 9_900, 3), "crosses the book"),
        ((Kind.ADD, 1, 9_950, 3), "price between ticks"),
        ((Kind.ADD, 1, 0, 3), "no size or no price"),
        ((Kind.ADD, 1, 9_900, 0), "no size or no price"),
        ((Kind.CANCEL, 1, 9_900, 6), None),
        ((Kind.CANCEL, 1, 9_900, 7), "no order is larger than the cancel"),
        ((Kind.CANCEL, 1, 9_700, 1), "nothing at the price"),
        ((Kind.DELETE, 1, 9_900, 5), None),
        ((Kind.DELETE, 1, 9_900, 12), "no order has the size of the delete"),
        ((Kind.DELETE, -1, 9_900, 5), "nothing at the price"),
        ((Kind.EXECUTE, 1, 9_900, 5), None),
        ((Kind.EXECUTE, 1, 9_900, 6), "execution of more than the front order"),
        ((Kind.EXECUTE, 1, 9_800, 1), "execution behind the best price"),
        ((Kind.EXECUTE_HIDDEN, 1, 9_950, 8), None),
        ((Kind.EXECUTE_HIDDEN, 1, 9_899, 8), "hidden execution outside the quotes"),
        ((Kind.CROSS, 1, 9_899, 8), None),
        ((Kind.ADD, 1, 10_000, 3, 999), "clock runs backwards"),
    ],
)
def test_one_event(event, fault):
    assert check(event).faults == ({fault: 1} if fault else {})


def _fault(start, *row):
    """Return the faults of one event on a book."""
    columns = dict(zip(("kind", "side", "price", "size"), row, strict=True))
    events = Events.from_columns(**{name: np.array([value]) for name, value in (columns | {"time_ns": 1_000}).items()})
    return list(check_events(events, start=start, tick=100).faults)


def test_a_part_of_an_anonymous_order_may_be_deleted():
    start = dataclasses.replace(START, anonymous=np.array([True, False, False, False]))
    assert _fault(start, Kind.DELETE, 1, 9_900, 4) == []
    assert _fault(start, Kind.DELETE, 1, 9_900, 6) == ["no order has the size of the delete"]
    assert _fault(START, Kind.DELETE, 1, 9_900, 4) == ["no order has the size of the delete"]


def test_no_removal_applies_to_an_order_of_the_user():
    def faults(*row):
        rows = ((Kind.ADD, 1, 9_800, 8), (Kind.ADD, 1, 9_800, 20), row)
        columns = zip(("kind", "side", "price", "size"), map(np.array, zip(*rows, strict=True)), strict=True)
        events = Events.from_columns(time_ns=np.full(3, 1_000), **dict(columns))
        of_others, of_user = (events.flagged(Flag.OWN, np.array([False, own, False])) for own in (False, True))
        return [list(check_events(flow, start=START, tick=100).faults) for flow in (of_others, of_user)]

    assert faults(Kind.DELETE, 1, 9_800, 20) == [[], ["no order has the size of the delete"]]
    assert faults(Kind.CANCEL, 1, 9_800, 10) == [[], ["no order is larger than the cancel"]]
    assert faults(Kind.DELETE, 1, 9_800, 8) == faults(Kind.CANCEL, 1, 9_800, 8) == [[], []]


@pytest.mark.parametrize(("window", "side", "seen"), [(0, 1, True), (1, -1, False), (2, 1, False), (3, 1, True)])
def test_behind_the_last_level_of_a_full_side_nothing_is_in_view(window, side, seen):
    start, behind = dataclasses.replace(START, window=window), 9_700 if side > 0 else 10_200
    assert _fault(start, Kind.ADD, side, behind, 5) == ([] if seen else ["out of view"])
    assert _fault(start, Kind.ADD, side, behind + 100 * side, 5) == []


@pytest.mark.parametrize(
    ("window", "shown", "fault", "bids"),
    [
        (2, (1, 9_500, 8), None, [(9_800, [9]), (9_500, [8])]),
        (3, (1, 9_500, 8), None, [(9_800, [9]), (9_500, [8])]),
        (1, (1, 9_500, 8), None, [(9_500, [8])]),
        (0, (1, 9_500, 8), "a level comes into view where there is no room", [(9_800, [9])]),
        (1, (-1, 10_500, 8), "a level comes into view where there is no room", []),
        (2, (1, 9_900, 8), "a level comes into view in front of others", [(9_800, [9])]),
        (2, (1, 9_800, 8), "a level comes into view in front of others", [(9_800, [9])]),
        (2, (1, 9_550, 8), "a level comes into view with no size or no price", [(9_800, [9])]),
        (2, (1, 9_500, 0), "a level comes into view with no size or no price", [(9_800, [9])]),
    ],
)
def test_a_level_comes_into_view_behind_the_others_where_there_is_room(window, shown, fault, bids):
    start = dataclasses.replace(START, window=window, size=np.array([3, 2, 9, 4]))
    columns = {"kind": [Kind.DELETE] * 2, "side": [1, 1], "price": [9_900] * 2, "size": [2, 3], "time_ns": [1_000] * 2}
    events = Events.from_columns(**{name: np.array(column) for name, column in columns.items()})
    found = check_events(
        events, start=start, tick=100, corrections=Corrections(np.array([1]), *(np.array([x]) for x in shown))
    )
    assert found.faults == ({fault: 1} if fault else {})
    assert found.levels == [bids, [(10_100, [4])]]
    assert found.emptied == (not bids)


@pytest.mark.parametrize("kind", [Kind.ADD, Kind.CROSS])
@pytest.mark.parametrize("price", [-200, 0])
def test_a_price_of_zero_or_less_is_one_where_prices_have_a_sign(kind, price):
    columns = {"kind": kind, "side": 1, "price": price, "size": 3, "time_ns": 1_000}
    events = Events.from_columns(**{name: np.array([value]) for name, value in columns.items()})
    assert check_events(events, start=START, tick=100).faults == {"no size or no price": 1}
    assert check_events(events, start=START, tick=100, signed=True).faults == {}


def test_what_cannot_have_happened_changes_no_book():
    found = check((Kind.CANCEL, 1, 9_900, 7), (Kind.EXECUTE, 1, 9_900, 5), (Kind.ADD, -1, 10_100, 2))
    assert found.levels == [[(9_900, [7]), (9_800, [9])], [(10_100, [4, 2])]]
    assert (found.events, merged([found, found])) == (3, {"no order is larger than the cancel": 2})


def test_what_is_closed_stays_closed_until_it_is_opened():
    trade, quote = (Kind.EXECUTE, 1, 9_900, 1), (Kind.ADD, 1, 9_800, 1)
    assert check(PAUSE, quote, trade).faults == {"market closed": 2}
    assert check(PAUSE, QUOTES, quote, trade).faults == {"market closed": 1}
    assert check(PAUSE, QUOTES, TRADING, quote, trade).faults == {}
    assert check(quote, trade, closed=1).faults == {"market closed": 1}


def test_a_cleared_book_is_empty():
    assert check((Kind.CONTROL, 0, 0, 0, 1_000, Code.CLEAR)).levels == [[], []]
