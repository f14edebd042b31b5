"""Levels behind the view of a windowed book: they are remembered or drawn, and the plain book shows the same levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.oracle import OracleBook
from lob_jax.book.view import OutOfView
from lob_jax.events.schema import Code, Kind
from lob_jax.generation.device import live_book
from lob_jax.generation.device.out_of_view import Unseen, drawn
from lob_jax.generation.prompt import NO_REVEALS, RevealDistribution
from tests.generation.device.test_live_book import ORDERS, PLACES, TICK, levels, snapshot

REMEMBERS = 3
BIDS, ASKS = {100: [6], 98: [2]}, {102: [5], 103: [4]}
apply = jax.jit(live_book.apply)


def load(bids=BIDS, asks=ASKS, *, window=2, places=PLACES, **more):
    start, behind = snapshot(bids, asks, window=window, **more.pop("snapshot", {})), more.pop("behind", None)
    more |= {"behind": behind} if behind else {}
    return live_book.from_snapshot(start, tick=TICK, places=places, orders=ORDERS, remembers=REMEMBERS, **more)


def step(book, kind, side, deeper, size, *, code=0, unseen=(0, 0)):
    event = {"kind": kind, "code": code, "side": side, "deeper": deeper, "size": size}
    unseen = Unseen(*map(jnp.int32, unseen))
    return apply(book, **{name: jnp.int32(value) for name, value in event.items()}, unseen=unseen)


def shown(book, origin):
    """Return (side, price in ticks, lots, whether it was remembered) of what the last event brought into view."""
    side, key, lots, remembered = (int(leaf) for leaf in book.revealed)
    return (side, origin // TICK + (1 - 2 * (side == 0)) * key, lots, bool(remembered)) if lots else None


def test_a_level_that_left_the_view_comes_back_as_one_anonymous_order():
    book, origin = load({100: [6], 98: [2, 3]})
    book = step(book, Kind.ADD, 0, -1, 4)
    assert levels(book, origin) == [{101: [4], 100: [6]}, ASKS] and shown(book, origin) is None
    book = step(book, Kind.DELETE, 0, 0, 4, unseen=(7, 9))
    assert levels(book, origin) == [{100: [6], 98: [5]}, ASKS] and shown(book, origin) == (0, 98, 5, True)
    assert levels(step(book, Kind.DELETE, 0, 2, 4), origin)[0] == {100: [6], 98: [1]}  # which may be a part of it
    assert levels(step(book, Kind.DELETE, 0, 0, 6), origin)[0] == {98: [5]}  # it is no longer remembered


@pytest.mark.parametrize(
    ("event", "bids"),
    [
        ((Kind.DELETE, 0, 0, 6), {98: [2], 95: [9]}),
        ((Kind.EXECUTE, 0, 0, 6), {98: [2], 95: [9]}),
        ((Kind.DELETE, 0, 2, 2), {100: [6], 97: [9]}),
        ((Kind.EXECUTE, 0, 0, 5), {100: [1], 98: [2]}),
        ((Kind.CANCEL, 0, 0, 5), {100: [1], 98: [2]}),
    ],
)
def test_one_is_drawn_behind_the_last_in_view(event, bids):
    book, origin = load()
    assert levels(step(book, *event, unseen=(3, 9)), origin)[0] == bids
    without = step(book, *event)
    assert levels(without, origin)[0] == {price: lots for price, lots in bids.items() if lots != [9]}
    assert shown(without, origin) is None


@pytest.mark.parametrize("places", [PLACES, 1])
def test_the_only_level_of_a_side_is_followed_by_one_behind_it(places):
    book, origin = load({100: [6]}, {102: [5]}, window=1, places=places)
    book = step(book, Kind.EXECUTE, 1, 0, 5, unseen=(4, 7))
    assert levels(book, origin) == [{100: [6]}, {106: [7]}] and shown(book, origin) == (1, 106, 7, False)
    assert int(live_book.reference(book, jnp.int32(1))) == 106 - origin // TICK


def test_a_side_with_fewer_levels_than_the_window_has_no_others():
    book, origin = load(window=3)
    book = step(book, Kind.DELETE, 0, 0, 6, unseen=(3, 9))
    assert levels(book, origin)[0] == {98: [2]}
    assert levels(step(book, Kind.DELETE, 0, 0, 2, unseen=(3, 9)), origin)[0] == {95: [9]}  # but it does not run empty


def test_nothing_comes_into_view_below_the_lowest_price():
    book, origin = load({3: [6], 2: [2]}, {5: [1], 6: [1]})
    assert levels(step(book, Kind.DELETE, 0, 0, 6, unseen=(1, 9)), origin)[0] == {2: [2], 1: [9]}
    assert levels(step(book, Kind.DELETE, 0, 0, 6, unseen=(2, 9)), origin)[0] == {2: [2]}
    signed, origin = load({3: [6], 2: [2]}, {5: [1], 6: [1]}, signed=True)
    assert levels(step(signed, Kind.DELETE, 0, 0, 6, unseen=(2, 9)), origin)[0] == {2: [2], 0: [9]}


def test_the_deepest_level_is_forgotten_first():
    book, origin = load()
    for price in range(101, 106):  # the asks are far away, so that bids can climb
        book = book._replace(key_2P=book.key_2P.at[1].add(1))
        book = step(book, Kind.ADD, 0, -1, price)
    assert list(levels(book, origin)[0]) == [105, 104]
    for price in (103, 102, 101):
        book = step(book, Kind.DELETE, 0, 0, price + 2)
        assert shown(book, origin) == (0, price, price, True)
    assert levels(step(book, Kind.DELETE, 0, 0, 102), origin)[0] == {101: [101]}


def test_a_book_may_begin_with_levels_behind_its_view():
    behind = OutOfView(np.array([1, 1, -1]), np.array([97, 90, 110]) * TICK, np.array([8, 1, 3]))
    book, origin = load(behind=behind)
    book = step(step(book, Kind.DELETE, 0, 0, 6), Kind.DELETE, 1, 0, 5)
    assert levels(book, origin) == [{98: [2], 97: [8]}, {103: [4], 110: [3]}]
    assert levels(step(book, Kind.DELETE, 0, 1, 8), origin)[0] == {98: [2], 90: [1]}


def test_an_empty_book_remembers_nothing():
    book, origin = load()
    book = step(step(book, Kind.ADD, 0, -1, 4), Kind.CONTROL, 0, 0, 0, code=Code.CLEAR)
    book = step(step(book, Kind.ADD, 0, 0, 3), Kind.ADD, 0, 1, 3)
    assert levels(step(book, Kind.DELETE, 0, 0, 3), origin) == [{100: [3]}, {}]


class Plain:
    """A plain book with the rules of memory and distribution, told with lists."""

    def __init__(self, start):
        self.book, self.behind = OracleBook(start), {1: [], -1: []}

    def apply(self, kind, side, price, size, unseen):
        """Apply an event; return (price, lots, remembered) of the level that comes into view, None if none does."""
        before = dict(self.book.levels(side))
        self.book.apply(kind, side, price, size, 0)
        after = dict(self.book.levels(side))
        for level in before.keys() - after.keys():
            if kind == Kind.ADD:
                self.behind[side] = [(level, before[level]), *self.behind[side]][:REMEMBERS]
            else:
                return self._next(side, level, list(after), len(before), unseen)
        return None

    def _next(self, side, gone, left, count, unseen):
        if self.behind[side]:
            price, lots = self.behind[side].pop(0)
        elif unseen[0] and (count == self.book.window or not left):
            price, lots = (left[-1] if left else gone) - side * unseen[0] * TICK, unseen[1]
        else:
            return None
        self.book.correct(side, price, lots)
        return price, lots


EVENT = st.tuples(
    st.sampled_from([Kind.ADD] * 2 + [Kind.CANCEL, Kind.DELETE, Kind.EXECUTE]),
    st.integers(0, 1),
    st.integers(-2, 4),
    st.integers(1, 4),
    st.tuples(st.integers(0, 3), st.integers(1, 4)),
)


@settings(max_examples=60)
@given(st.lists(EVENT, max_size=60), st.booleans(), st.sampled_from([1, 2, 3]))
def test_the_view_is_that_of_a_plain_book_with_the_same_rules(events, pooled, window):
    bids, asks = {100: [4], 98: [2], 97: [1]}, {101: [1], 103: [3], 104: [2]}
    bids, asks = (dict(list(side.items())[:window]) for side in (bids, asks))
    start = snapshot(bids, asks, pooled=pooled, window=window)
    book, origin = load(bids, asks, window=window, snapshot={"pooled": pooled})
    plain = Plain(start)
    for kind, index, deeper, size, unseen in events:
        side = (1, -1)[index]
        price = origin + (int(live_book.reference(book, jnp.int32(index))) - side * deeper) * TICK
        before = int(book.refused)
        book = step(book, kind, index, deeper, size, unseen=unseen)
        expected = plain.apply(kind, side, price, size, unseen) if int(book.refused) == before else None
        found = shown(book, origin)
        assert (found and (found[1] * TICK, found[2])) == expected
        view = [
            (at, lots) for one in live_book.to_levels(book, origin, tick=TICK) for at, queue in one for lots in queue
        ]
        assert view == [(at, lots) for one in (1, -1) for at, lots, _ in plain.book.orders(one)]
        anonymous = np.asarray(book.anonymous_2PQ) & (np.asarray(book.queue_2PQ) > 0)
        queues = [order for one in plain.book.sides.values() for queue in one.values() for order in queue]
        assert anonymous.sum() == sum(order.anonymous for order in queues)
    rows, totals = np.asarray(book.row_2P), np.asarray(book.total_2P)
    assert (np.sort(rows, axis=1) == np.arange(PLACES)).all()
    np.testing.assert_array_equal(totals, np.asarray(book.queue_2PQ).sum(2))


REVEALS = RevealDistribution(
    np.array([[1, 2, 2, 9], [5, 0, 0, 0]], np.int32), np.array([[7, 1, 4, 3], [8, 0, 0, 0]], np.int32), np.array([4, 1])
)


@jax.jit
def draws(event_N, own_N, side, flip):
    one = lambda event, own: drawn(REVEALS, jax.random.key(3), event, own, side=side, flip=flip)  # noqa: E731
    return jax.vmap(one)(event_N, own_N)


def test_every_pair_is_equally_likely():
    event_N, own_N = jnp.arange(4_000), jnp.zeros(4_000, int)
    bids, asks = (draws(event_N, own_N, side, False) for side in (0, 1))
    pairs, counts = np.unique(np.stack(bids), axis=1, return_counts=True)
    assert pairs.T.tolist() == [[1, 7], [2, 1], [2, 4], [9, 3]]
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 16.3  # the .999 quantile at three degrees of freedom
    assert np.unique(np.stack(asks), axis=1).T.tolist() == [[5, 8]]
    assert (
        drawn(NO_REVEALS, jax.random.key(3), event_N[0], own_N[0], side=jnp.int32(0), flip=jnp.bool_(False)).lots == 0
    )


def test_numbers_are_those_of_an_event_and_one_minus_them_gives_the_opposite_pair():
    event_N = jnp.arange(400)
    plain, other, flipped = (
        draws(event_N, event_N * 0, 0, False),
        draws(event_N, event_N + 1, 0, False),
        draws(event_N, event_N * 0, 0, True),
    )
    assert 0.1 < np.mean(plain.lots == other.lots) < 0.4  # an event of the user's own has numbers of its own
    place = {1: 0, 4: 2, 7: 0, 3: 3}
    order = [[1, 7], [2, 1], [2, 4], [9, 3]]
    at, opposite = ([order.index(pair) for pair in np.stack(one).T.tolist()] for one in (plain, flipped))
    assert place and (np.add(at, opposite) == 3).all()
