"""The exchange's rules for maintaining a book, one by one, on hand-made update ids."""

import random

import numpy as np
import pytest

from lob_jax.feeds.binance.sync import BookSync, Drop, Outcome, Update


def spot(first, final):
    return Update(first, final)


def futures(first, final, previous):
    return Update(first, final, previous)


def in_step(*, is_futures, last=100):
    """Return a book after a snapshot and its first update, at id 110."""
    sync = BookSync()
    sync.update(futures(last - 5, last + 10, last - 6) if is_futures else spot(last - 5, last + 10))
    assert sync.snapshot(last) is not None and sync.in_step and sync.final == last + 10
    return sync


def test_updates_wait_for_the_snapshot_and_those_it_holds_are_dropped():
    sync = BookSync()
    for update in (spot(80, 90), spot(91, 100), spot(101, 105)):
        assert sync.update(update) is Outcome.HOLD
    assert sync.snapshot(100) == [spot(101, 105)]
    assert sync.dropped[Drop.IN_SNAPSHOT] == 2 and sync.final == 105


@pytest.mark.parametrize(("last", "of_use"), [(95, True), (100, True), (89, True), (88, False)])
def test_spot_the_first_update_must_reach_back_to_the_snapshot(last, of_use):
    sync = BookSync()
    sync.update(spot(90, 105))
    newer = sync.snapshot(last)
    assert (newer == [spot(90, 105)]) if of_use else (newer is None)
    assert sync.in_step == of_use and sync.dropped[Drop.SNAPSHOT_TOO_OLD] == (not of_use)


@pytest.mark.parametrize(
    ("update", "outcome"),
    [
        (spot(111, 120), Outcome.APPLY),
        (spot(105, 120), Outcome.APPLY),
        (spot(101, 110), Outcome.OLD),
        (spot(112, 120), Outcome.GAP),
    ],
)
def test_spot_an_update_may_begin_one_behind_the_book(update, outcome):
    sync = in_step(is_futures=False)
    assert sync.update(update) is outcome
    assert sync.in_step == (outcome is not Outcome.GAP)


def test_futures_an_update_that_ends_with_the_snapshot_is_the_first_one():
    sync = BookSync()
    sync.update(futures(80, 99, 70))
    sync.update(futures(100, 100, 99))
    assert sync.snapshot(100) == [futures(100, 100, 99)]
    assert sync.dropped[Drop.IN_SNAPSHOT] == 1


@pytest.mark.parametrize(
    ("update", "outcome"),
    [
        (futures(150, 160, 110), Outcome.APPLY),  # ids have gaps on futures: only the predecessor counts
        (futures(111, 160, 109), Outcome.GAP),
        (futures(111, 160, 112), Outcome.GAP),
    ],
)
def test_futures_an_update_must_name_the_one_before(update, outcome):
    assert in_step(is_futures=True).update(update) is outcome


@pytest.mark.parametrize("is_futures", [False, True])
def test_behind_a_gap_everything_waits_for_the_next_snapshot(is_futures):
    sync = in_step(is_futures=is_futures)
    lost = [(200, 210), (211, 220), (221, 230)]
    updates = [futures(*ids, ids[0] - 1) if is_futures else spot(*ids) for ids in lost]
    assert [sync.update(update) for update in updates] == [Outcome.GAP, Outcome.HOLD, Outcome.HOLD]
    assert sync.snapshot(150) is None and not sync.in_step  # older than the waiting updates
    assert sync.snapshot(215) == updates[1:] and sync.in_step


def test_updates_that_do_not_follow_each_other_cannot_wait_together():
    sync = BookSync()
    sync.update(spot(1, 10))
    sync.update(spot(12, 20))
    assert sync.snapshot(5) is None and sync.dropped[Drop.BEFORE_SNAPSHOT] == 1


def test_a_snapshot_of_a_book_in_step_is_spare_until_a_gap_needs_it():
    sync = in_step(is_futures=False)
    assert sync.snapshot(130, content="spare") is None and sync.in_step
    assert sync.update(spot(125, 140)) is Outcome.GAP
    assert sync.take_spare() == "spare" and sync.take_spare() is None
    assert sync.snapshot(130) == [spot(125, 140)]


def test_no_more_than_so_many_updates_wait():
    sync = BookSync(most_held=3)
    for k in range(5):
        sync.update(spot(10 * k, 10 * k + 9))
    assert sync.dropped[Drop.BEFORE_SNAPSHOT] == 2
    sync.finish()
    assert sync.dropped[Drop.BEFORE_SNAPSHOT] == 5


@pytest.mark.parametrize(("previous", "outcome"), [(100, Outcome.APPLY), (95, Outcome.APPLY), (101, Outcome.GAP)])
def test_futures_a_snapshot_between_two_updates_misses_nothing(previous, outcome):
    """Ids have gaps: since nothing lies between `pu` and `U`, a snapshot with any id there is the book after `pu`."""
    sync = BookSync()
    assert sync.snapshot(100) == [] and sync.in_step
    assert sync.update(futures(120, 130, previous)) is outcome
    late = BookSync()
    late.update(futures(120, 130, previous))
    assert (late.snapshot(100) is not None) == (outcome is Outcome.APPLY)


def test_updates_older_than_a_snapshot_that_came_first_are_dropped():
    sync = BookSync()
    sync.snapshot(100)
    assert sync.update(futures(80, 99, 70)) is Outcome.OLD and sync.dropped[Drop.IN_SNAPSHOT] == 1
    assert sync.update(futures(98, 100, 99)) is Outcome.APPLY  # ends at the snapshot's id: later ones continue it
    assert sync.update(futures(105, 110, 100)) is Outcome.APPLY
    assert sync.update(futures(98, 100, 99)) is Outcome.OLD and sync.dropped[Drop.IN_BOOK] == 1


def test_an_update_told_twice_while_waiting_breaks_no_chain():
    sync = BookSync()
    first, second, third = futures(90, 99, 80), futures(100, 110, 99), futures(111, 120, 110)
    for update in (first, second, first, third):
        sync.update(update)
    assert sync.snapshot(95) == [first, second, third]


def test_what_a_gap_and_the_end_leave_is_counted_apart():
    sync = in_step(is_futures=False)
    sync.snapshot(90, content="old")
    sync.snapshot(110, content="newer")
    assert sync.dropped[Drop.SNAPSHOT_IN_STEP] == 1
    sync.update(spot(200, 210))
    sync.finish()
    assert sync.dropped[Drop.SNAPSHOT_IN_STEP] == 2
    assert sync.dropped[Drop.BEHIND_GAP] == 1 and sync.dropped[Drop.BEFORE_SNAPSHOT] == 0


@pytest.mark.parametrize("is_futures", [False, True])
def test_updates_that_continue_the_book_are_taken_at_once_as_one_by_one(is_futures):
    random.seed(3)
    taken = 0
    for _ in range(300):
        final, updates = 110, []
        for _ in range(random.randrange(12)):
            first = final + random.choice([1] * 12 + [0, -3, 2])
            previous = final + random.choice([0] * 12 + [-1, 1]) if is_futures else random.choice([-1] * 20 + [final])
            updates.append(Update(first, first + random.choice([0, 1, 5]), previous))
            final = updates[-1].final
        plain = np.array([random.random() < 0.95 for _ in updates], bool)
        ids = np.array([[update.first, update.final, update.previous] for update in updates]).reshape(-1, 3)
        at_once, one_by_one = in_step(is_futures=is_futures), in_step(is_futures=is_futures)
        count = at_once.advance(ids, plain)
        for update in updates[:count]:
            assert one_by_one.update(update) is Outcome.APPLY
        assert (at_once.final, at_once.in_step, at_once.dropped) == (one_by_one.final, True, one_by_one.dropped)
        if count < len(updates) and plain[count] and (updates[count].previous >= 0) == is_futures:
            assert one_by_one.update(updates[count]) is not Outcome.APPLY
        taken += count
    assert taken > 300


def test_nothing_is_taken_at_once_of_a_book_that_is_not_in_step_or_still_its_snapshot():
    ids, plain = np.array([[101, 105, -1]]), np.ones(1, bool)
    sync = BookSync()
    assert sync.advance(ids, plain) == 0
    assert sync.snapshot(100) == [] and sync.advance(ids, plain) == 0
    assert sync.update(Update(101, 105)) is Outcome.APPLY
    assert sync.advance(ids + [5, 5, 0], plain) == 1 and sync.final == 110
    assert sync.update(Update(120, 121)) is Outcome.GAP
    assert sync.advance(np.array([[111, 115, -1]]), plain) == 0
