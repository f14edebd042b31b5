"""What comes into the view of a feed and leaves it: remembered or not, the best levels only, in a book that is full."""

import numpy as np

from lob_jax.book import view
from lob_jax.book.replay import BookStates
from lob_jax.book.view import Revealed, follow_view

VIEWS = [  # the bids in view, each with its lots
    {10: 1, 8: 2},
    {11: 3, 10: 1},  # 8 leaves
    {10: 1, 8: 4},  # it is back, whatever its lots are now
    {10: 1, 5: 6},  # 5 comes into view when nothing is remembered
    {12: 2, 10: 1},
    {10: 1, 7: 5},  # 7 was not there when 5 was in view
    {10: 1, 5: 6},
    {12: 2, 10: 1},
    {10: 1, 4: 3},  # 5 has gone
    {15: 1, 14: 1},  # both leave
    {4: 3, 3: 1},  # and of them, the better one has gone
]


def states_of(views):
    """Return states with these bids, and the same prices negated as asks."""
    price = np.array([[list(view), [-p for p in view]] for view in views], np.int64)
    size = np.array([[list(view.values())] * 2 for view in views], np.int64)
    return BookStates(price, size, reference=price[:, :, 0], start_ns=0, tick=1, counts={})


def test_levels_that_come_into_view_are_remembered_or_not():
    expected = Revealed(pairs=[(5, 6), (1, 1)], remembered=3, changed=2)
    assert follow_view(states_of(VIEWS)).revealed == (expected, expected)


def test_the_levels_behind_the_view_are_those_that_left_it_the_best_first():
    for count, behind in [
        (1, []),
        (2, [(8, 2)]),
        (3, []),
        (5, [(5, 6)]),
        (6, [(5, 6)]),
        (7, []),
        (10, [(10, 1), (4, 3)]),
    ]:
        found = follow_view(states_of(VIEWS[:count])).behind
        expected = [(1, *level) for level in behind] + [(-1, -price, lots) for price, lots in behind]
        assert list(zip(found.side, found.price, found.size, strict=True)) == expected, count


def test_a_side_with_fewer_levels_than_the_feed_shows_has_none_behind():
    states = states_of(VIEWS[:2])
    states.size[1, :, 1] = 0
    assert not len(follow_view(states).behind.side)


def test_only_the_best_levels_are_remembered(monkeypatch):
    monkeypatch.setattr(view, "MOST_REMEMBERED", 2)
    found = follow_view(states_of([{at + 1: 1, at: 1} for at in range(6)])).behind
    assert found.price[found.side > 0].tolist() == [4, 3]
