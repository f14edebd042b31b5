"""What is behind the view of a feed: levels that left it, and the distribution of those that came unremembered."""

import dataclasses

import numpy as np

from lob_jax.book.replay import find_corrections, replay
from lob_jax.book.view import follow_view
from lob_jax.generation import reveals
from lob_jax.generation.prompt import NO_REVEALS
from lob_jax.generation.reveals import behind_view, fit_reveals
from tests.counts.conftest import lively_day


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
    some = [(3, 9), (1, 4), (0, 5), (1, 2), (2**31, 1), (7, 2**31)]
    found = fit_reveals([(some, []), ([(2, 1)] * 50, np.array([(0, 1)]))], seed=0)
    assert found.count_2.tolist() == [3, 0] and found.ticks_2K.shape == (2, 3)
    assert set(zip(found.ticks_2K[0], found.lots_2K[0], strict=True)) <= {(1, 2), (1, 4), (2, 1), (3, 9)}
    alone = fit_reveals([(some, np.array(some))], seed=0)
    assert alone.ticks_2K.tolist() == [[1, 1, 3]] * 2 and alone.lots_2K.tolist() == [[2, 4, 9]] * 2
    assert fit_reveals([], seed=0) is NO_REVEALS
