"""Events that contradict a market are refused by name, with their index, and nothing of their call is taken."""

import dataclasses
import pickle

import numpy as np
import pytest

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.events.schema import ANONYMOUS_ID, Code, Events, Kind
from lob_jax.serving.market.errors import EventError
from tests.market_day import INSTRUMENT, market_day
from tests.serving.market.markets import TOKENIZERS, control, differences, one_event, opened

ADD, CANCEL, DELETE, EXECUTE, HIDDEN, CROSS, CONTROL = Kind
TICK = dataclasses.replace(INSTRUMENT, tick=100)
OPEN_NS = INSTRUMENT.midnight_ns() + 34_200 * 10**9
EXACT, COMPACT = TOKENIZERS["exact"], TOKENIZERS["compact"]
# Bids: order 1 of 30 and one of 20 without an id at 10000, order 3 of 40 at 9900; asks: 4 of 50 and 5 of 60 at 10200.
ROWS = [(1, 10_000, 30, 1), (1, 10_000, 20, 0), (1, 9_900, 40, 3), (-1, 10_200, 50, 4), (-1, 10_200, 60, 5)]


def book(rows=ROWS, **changes):
    side, price, size, order_id = np.array(rows).T
    columns = {"side": side.astype(np.int8), "price": price, "size": size, "order_id": order_id.astype(np.uint64)}
    columns |= {"anonymous": np.zeros(len(rows), bool), "last_best": np.array([10_000, 10_200])}
    return BookSnapshot(OPEN_NS, **{**columns, **changes})


def day(**changes):
    signed = changes.pop("signed", False)
    start, instrument = book(**changes), dataclasses.replace(TICK, signed=signed)
    return market_day(Events.from_columns(), start=start, instrument=instrument)


DAY = day()


def event(*values, **how):
    return one_event(DAY, *values, **how)


def refused(market, events):
    """Return the error of an event, and see that the market is the same as before."""
    before, kept = market.copy(), market.prompt()
    with pytest.raises(EventError) as caught:
        market.take(events)
    assert differences(market.prompt(), kept) == [] and differences(market._state, before._state) == []
    assert (market.events, market.outside) == (before.events, before.outside)
    error = caught.value
    assert error.remedy and error.expected is not None and f"event {error.event}" in str(error.where)
    return error


TIMES = {"after_ns": NS_PER_DAY * 2 - 34_200 * 10**9}
FAULTS = [
    (event(ADD, 1, 10_000, 5, after_ns=-1), "time runs backwards"),
    (event(ADD, 1, 10_000, 5, **TIMES), "an event of another day"),
    (event(0, 1, 10_000, 5), "unknown event kind"),
    (event(8, 1, 10_000, 5), "unknown event kind"),
    (event(ADD, 1, 10_000, 5, code=1), "the code does not fit the kind"),
    (event(CONTROL, 0, 0, 0), "the code does not fit the kind"),
    (event(CONTROL, 0, 0, 0, code=8), "the code does not fit the kind"),
    (event(CONTROL, 1, 0, 0, code=1), "a CONTROL event carries more than its code"),
    (event(CONTROL, 0, 100, 0, code=1), "a CONTROL event carries more than its code"),
    (event(CONTROL, 0, 0, 1, code=1), "a CONTROL event carries more than its code"),
    (event(ADD, 0, 10_000, 5), "an event has no side"),
    (event(EXECUTE, 2, 10_000, 5), "an event has no side"),
    (event(ADD, 1, 10_000, 0), "a size is out of range"),
    (event(ADD, 1, 10_000, -1), "a size is out of range"),
    (event(ADD, 1, 10_000, 10**12), "a size is out of range"),
    (event(ADD, -1, 2**61, 5), "a price is out of range"),
    (event(ADD, 1, 0, 5), "a price is below the lowest valid one"),
    (event(ADD, 1, 99, 5), "a price is below the lowest valid one"),
    (event(HIDDEN, 1, 0, 5), "a price is below the lowest valid one"),
    (event(ADD, 1, 9_950, 5), "a price lies between ticks"),
    (event(EXECUTE, 1, 10_001, 5), "a price lies between ticks"),
    (event(ADD, -1, 10**16 + 10_200, 5), "a price is too far from its reference"),
    (event(CROSS, 1, 10**14 + 10_000, 5), "a price is too far from its reference"),
    (event(ADD, 1, 10_000, 5, order_id=ANONYMOUS_ID), "an order has a reserved id"),
    (event(ADD, 1, 10_000, 5, order_id=2**64 - 1), "an order has a reserved id"),
    (event(ADD, -1, 10_300, 5, order_id=3), "an order is added whose id rests already"),
    (event(ADD, 1, 10_200, 5), "an order is added that would trade at once"),
    (event(ADD, 1, 10_300, 5), "an order is added that would trade at once"),
    (event(ADD, -1, 10_000, 5), "an order is added that would trade at once"),
    (event(CANCEL, 1, 9_800, 5), "a removal at a price without orders"),
    (event(DELETE, -1, 10_000, 5), "a removal at a price without orders"),
    (event(EXECUTE, -1, 10_300, 5, order_id=4), "a removal at a price without orders"),
    (event(DELETE, 1, 9_900, 40, order_id=7), "a removal names an order that is not there"),
    (event(DELETE, -1, 10_200, 30, order_id=1), "a removal names an order that is not there"),
    (event(EXECUTE, -1, 10_200, 51, order_id=4), "more is removed than the order holds"),
    (event(CANCEL, 1, 10_000, 31, order_id=1), "more is removed than the order holds"),
    (event(DELETE, 1, 9_900, 41, order_id=3), "more is removed than the order holds"),
    (event(EXECUTE, 1, 10_000, 51), "more is removed than the level holds"),
    (event(DELETE, 1, 10_000, 51, order_id=9), "more is removed than the level holds"),
    (event(CANCEL, -1, 10_200, 50, order_id=4), "a CANCEL of all that rests"),
    (event(CANCEL, 1, 9_900, 40), "a CANCEL of all that rests"),
    (event(DELETE, -1, 10_200, 49, order_id=4), "a DELETE of a part of an order"),
]


@pytest.mark.parametrize(("wrong", "what"), FAULTS)
def test_a_contradiction_is_refused(wrong, what):
    market = opened(DAY, EXACT)
    error = refused(market, wrong)
    assert (error.what, error.event) == (what, 0)
    first = event(ADD, 1, 9_700, 7, after_ns=0)
    error = refused(market, Events.concatenate([first, first, wrong, first]))
    assert (error.what, error.event) == (what, 2)
    market.take(first)
    assert market.events == 1 and refused(market, wrong).what == what


@pytest.mark.parametrize("tokenizer", ["compact", "ranks"])
def test_whatever_the_tokens(tokenizer):
    for wrong, what in FAULTS:
        assert refused(opened(DAY, TOKENIZERS[tokenizer]), wrong).what == what


TAKEN = [
    (event(ADD, 1, 10_100, 5, order_id=9), ""),
    (event(ADD, 1, 10_100, 10**12 - 1, after_ns=0), "TOO_MANY_LOTS"),
    (event(ADD, 1, 10_100, 5, after_ns=TIMES["after_ns"] - 1), ""),
    (event(CANCEL, 1, 10_000, 29, order_id=1), ""),
    (event(CANCEL, 1, 10_000, 19, order_id=8), ""),  # it may be a part of the order without an id
    (event(DELETE, 1, 10_000, 20, order_id=8), ""),
    (event(DELETE, 1, 10_000, 25), "NO_SUCH_ORDER"),
    (event(EXECUTE, 1, 10_000, 30, order_id=1), ""),
    (event(EXECUTE, 1, 10_000, 50), "BEHIND_THE_FRONT"),
    (event(EXECUTE, -1, 10_200, 60, order_id=5), "BEHIND_THE_FRONT"),
    (event(EXECUTE, 1, 9_900, 1), "BEHIND_THE_BEST"),
    (event(HIDDEN, 1, 10_050, 5), ""),
    (event(HIDDEN, 1, 10_001, 5), ""),
    (event(HIDDEN, 1, 10_333, 5), "OFF_THE_QUOTES"),
    (event(CROSS, -1, 9_999, 5), ""),
    (event(DELETE, 1, 10_000, 10, order_id=ANONYMOUS_ID), "NO_SUCH_ORDER"),
    (control(DAY, Code.RESUME_TRADE), "NOT_THE_NEXT_HALT"),
    (control(DAY, Code.HALT), ""),
    (control(DAY, Code.SESSION_CLOSE), ""),
    (control(DAY, Code.CLEAR), "CLEARED"),
]


@pytest.mark.parametrize(("given", "told"), TAKEN)
def test_what_feeds_do_send_is_taken_and_told(given, told):
    market = opened(DAY, EXACT)
    assert market.take(given)["tokens"].size > 0
    assert market.outside == [told] and market.events == 1


def test_a_reserved_id_does_not_hide_a_contradiction():
    assert refused(opened(DAY, EXACT), event(DELETE, 1, 9_900, 41, order_id=ANONYMOUS_ID)).what.startswith("more is")


def test_orders_may_cross_in_a_halt_and_where_feeds_show_them_before_they_trade():
    crossing = event(ADD, 1, 10_300, 5, order_id=9)
    for code in (Code.HALT, Code.RESUME_QUOTE):
        market = opened(DAY, EXACT)
        market.take(control(DAY, code))
        market.take(crossing)
        assert market.outside == ["IN_A_HALT" if code == Code.HALT else "CROSSING"]
        market.take(control(DAY, Code.RESUME_TRADE))
        assert "trade at once" in refused(market, event(ADD, 1, 10_300, 5)).what
    market = opened(DAY, EXACT, may_cross=True)
    market.take(crossing)
    assert market.outside == ["CROSSING"] and market.bid == (10_300, 5)


def test_signed_prices_have_no_lowest():
    signed = day(signed=True)
    market = opened(signed, EXACT)
    market.take(event(ADD, 1, -500, 5))
    market.take(event(CROSS, 1, -333, 5))
    assert market.events == 2 and refused(market, event(ADD, 1, -550, 5)).what == "a price lies between ticks"


def test_a_level_feed_knows_no_ids():
    start = book([(1, 10_000, 30, 0), (-1, 10_200, 50, 0)], pooled=True)
    market = opened(market_day(Events.from_columns(), start=start, instrument=TICK), EXACT)
    market.take(event(ADD, 1, 10_000, 5, order_id=9))
    market.take(event(ADD, -1, 10_200, 5, order_id=9))
    market.take(event(CANCEL, 1, 10_000, 34, order_id=12))
    assert market.bid == (10_000, 1) and market.ask == (10_200, 55)
    assert refused(market, event(CANCEL, 1, 10_000, 1, order_id=12)).what == "a CANCEL of all that rests"
    assert refused(market, event(EXECUTE, 1, 10_000, 2)).what == "more is removed than the level holds"


def test_what_a_window_does_not_show_is_ignored():
    start = book([*ROWS[:3], *[(-1, 10_200 + 100 * k, 9, 0) for k in range(3)]], window=3)
    market = opened(market_day(Events.from_columns(), start=start, instrument=TICK), EXACT)
    market.take(event(ADD, -1, 10_900, 5, order_id=9))
    market.take(event(DELETE, -1, 10_900, 5, order_id=9))
    assert market.outside == ["NO_LEVEL"] and market.book.price.max() == 10_400
    error = refused(market, event(DELETE, 1, 9_000, 5))  # bids are all in view
    assert error.what == "a removal at a price without orders" and "correction" in error.remedy
    assert refused(market, event(DELETE, -1, 10_100, 5)).what == error.what


def test_an_anonymous_order_may_contain_any():
    anonymous = np.array([False, False, True, True, False])
    market = opened(day(anonymous=anonymous), EXACT)
    market.take(event(DELETE, 1, 9_900, 15, order_id=77))
    market.take(event(CANCEL, -1, 10_200, 12, order_id=4))  # the total has the id of one of its orders
    assert market.ask == (10_200, 98)
    assert refused(market, event(DELETE, 1, 9_900, 26, order_id=77)).what == "more is removed than the level holds"


def test_the_error_says_what_there_is():
    market = opened(DAY, EXACT)
    assert refused(market, event(ADD, -1, 9_900, 5)).expected == "a price above the best bid, 10000"
    assert refused(market, event(ADD, 1, 10_500, 5)).expected == "a price below the best ask, 10200"
    elsewhere = refused(market, event(DELETE, -1, 10_200, 40, order_id=3))
    assert elsewhere.was == {3: "it rests elsewhere: {'side': 'bid', 'price': 9900, 'size': 40}"}
    assert refused(market, event(EXECUTE, 1, 10_000, 51)).expected == "50 lots at 10000"
    assert refused(market, event(CANCEL, 1, 9_800, 5)).where == "event 0: CANCEL bid"
    assert refused(market, event(ADD, 1, 10_000, 5, after_ns=-1)).expected == f"at least {OPEN_NS}"


def test_an_error_survives_a_process():
    error = refused(opened(DAY, EXACT), event(ADD, 1, 9_950, 5))
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, EventError) and str(again) == str(error) and again.event == error.event == 0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"side": np.array([1, 1, 1, -1, 0], np.int8)}, "an order has no side"),
        ({"size": np.array([30, 20, 0, 50, 60])}, "an order has no size"),
        ({"size": np.array([30, 20, 10**12, 50, 60])}, "an order is too large"),
        ({"price": np.array([10_000, 10_000, 2**61, 10_200, 10_200])}, "a price is out of range"),
        ({"price": np.array([10_000, 10_000, 0, 10_200, 10_200])}, "a price is below the lowest valid one"),
        ({"price": np.array([10_000, 10_000, 9_950, 10_200, 10_200])}, "a price lies between ticks"),
        ({"price": np.array([10_000, 10_000, 10_200, 10_200, 10_300])}, "the book is crossed or locked"),
        ({"price": np.array([10_000, 10_000, 10_400, 10_200, 10_300])}, "the book is crossed or locked"),
        ({"order_id": np.array([1, 0, 4, 4, 5], np.uint64)}, "two orders have the same id"),
        ({"order_id": np.array([1, 0, 2**64 - 1, 4, 5], np.uint64)}, "an order has a reserved id"),
        ({"last_best": np.array([10_000, 10_250]), "seen": np.ones(2, bool)}, "a last best price lies between ticks"),
        ({"size": np.array([30, 20, 10])}, "columns of the book differ in length"),
    ],
)
def test_a_book_that_is_none_is_refused(change, what):
    with pytest.raises(InputError) as caught:
        opened(day(**change), EXACT)
    assert caught.value.what == what and "the book" in caught.value.where and caught.value.remedy


def test_rows_of_a_book_are_named():
    with pytest.raises(InputError, match="size in row 3, an ask"):
        opened(day(size=np.array([30, 20, 40, -50, 60])), EXACT)
    with pytest.raises(InputError, match="order_id in row 4, an ask"):
        opened(day(order_id=np.array([1, 0, 3, 4, 1], np.uint64)), EXACT)
    with pytest.raises(InputError, match="its bid in row 2 and its ask in row 3"):
        opened(day(price=np.array([10_000, 10_000, 10_400, 10_200, 10_300])), EXACT)


def test_a_book_may_be_crossed_in_a_halt():
    crossed = day(price=np.array([10_000, 10_000, 10_400, 10_200, 10_300]))
    assert opened(crossed, EXACT, closed=1).bid == (10_400, 40)
    assert opened(crossed, EXACT, may_cross=True).bid == (10_400, 40)


@pytest.mark.parametrize(("change", "where"), [({"time_ns": -1}, "time_ns"), ({"time_ns": 2**61}, "time_ns")])
def test_a_time_that_is_none_is_refused(change, where):
    wrong = dataclasses.replace(DAY, start=dataclasses.replace(DAY.start, **change))
    with pytest.raises(InputError, match="out of range") as caught:
        opened(wrong, EXACT)
    assert where in caught.value.where
    with pytest.raises(InputError, match="an unknown state"):
        opened(DAY, EXACT, closed=3)
    assert opened(dataclasses.replace(DAY, start=BookSnapshot.empty(OPEN_NS)), EXACT).bid is None
