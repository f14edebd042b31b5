"""What is behind the view of a feed: levels that left it, and the distribution of those that came unremembered."""

import dataclasses

import numpy as np

from lob_jax.book.replay import BookStates, find_corrections, replay
from lob_jax.generation import reveals
from lob_jax.generation.device.out_of_view import NO_REVEALS
from lob_jax.generation.reveals import Revealed, behind_view, fit_reveals, follow_view
from tests.counts.conftest import lively_day

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
    monkeypatch.setattr(reveals, "MOST_REMEMBERED", 2)
    found = follow_view(states_of([{at + 1: 1, at: 1} for at in range(6)])).behind
    assert found.price[found.side > 0].tolist() == [4, 3]


def windowed(day, window):
    """Return a day as a feed of `window` levels shows it."""
    states = replay(day, levels=window).after()
    start = dataclasses.replace(day.start, anonymous=np.ones(len(day.start), bool), window=window)
    day = dataclasses.replace(day, start=start)
    found = find_corrections(day.events, start=start, price=states.price, size=states.size)
    return dataclasses.replace(day, corrections=found)


def test_every_correction_of_a_windowed_day_is_a_level_that_came_into_view():
    day = lively_day(8, 1_500)
    day = dataclasses.replace(day, events=day.events[day.events.kind <= 4], corrections=day.corrections.none())
    day = windowed(day, 2)
    sides = follow_view(replay(day, 2)).revealed
    assert sum(len(one.pairs) + one.remembered + one.changed for one in sides) == len(day.corrections) > 50
    assert all(one.remembered > 20 and one.pairs and one.changed for one in sides)
    ahead = behind_view(day, 300)
    for side in (1, -1):
        keys = -side * ahead.price[ahead.side == side]
        shown = replay(day, 2).price[300, (side < 0) * 1]
        assert (np.diff(keys) > 0).all() and (keys > (-side * shown).max()).all()
    assert behind_view(dataclasses.replace(day, start=dataclasses.replace(day.start, window=0)), 300).side.size == 0


def test_a_distribution_has_the_pairs_in_order_and_no_more_than_fit(monkeypatch):
    monkeypatch.setattr(reveals, "MOST_PAIRS", 3)
    some = Revealed([(300, 9), (100, 4), (0, 5), (100, 2), (2**31 * 100, 1), (700, 2**31)], 1, 0)
    found = fit_reveals(
        [(some, Revealed([], 0, 0)), (Revealed([(200, 1)] * 50, 0, 0), Revealed([(50, 1)], 0, 0))], tick=100, seed=0
    )
    assert found.count_2.tolist() == [3, 0] and found.ticks_2K.shape == (2, 3)
    assert set(zip(found.ticks_2K[0], found.lots_2K[0], strict=True)) <= {(1, 2), (1, 4), (2, 1), (3, 9)}
    alone = fit_reveals([(some, some)], tick=100, seed=0)
    assert alone.ticks_2K.tolist() == [[1, 1, 3]] * 2 and alone.lots_2K.tolist() == [[2, 4, 9]] * 2
    assert fit_reveals([], tick=1, seed=0) is NO_REVEALS
