"""Features of events are put into the bins that are documented, whatever the pieces in which events come."""

import numpy as np
import pytest

from lob_jax.events.schema import Code, Events, Kind
from lob_jax.export.reference.features import (
    BINS,
    FEATURES,
    UNKNOWN,
    Before,
    Columns,
    after,
    binned,
    classes_of,
    columns_of,
    spread_bins,
)
from lob_jax.feeds.synthetic import SyntheticFeed

DAY = SyntheticFeed(events=2000).read("2024-01-02")


def made(**columns):
    given = {name: np.array(values) for name, values in columns.items()}
    rows = len(next(iter(given.values())))
    plain = {"time_ns": np.arange(rows), "kind": np.full(rows, Kind.ADD), "side": np.ones(rows, np.int64)}
    plain |= {"price": np.full(rows, 1000), "size": np.ones(rows, np.int64)}
    return Columns(*({**plain, **given}[name] for name in Columns._fields))


FIRST = Before(0, (1000, 1000))


def bins(name, before=FIRST, **columns):
    return binned(made(**columns), before=before, tick=100)[0][name].tolist()


def test_classes_are_numbered_as_the_kinds_of_a_prediction():
    kind = np.array([Kind.ADD, Kind.ADD, Kind.CANCEL, Kind.CROSS, Kind.CONTROL])
    assert classes_of(kind.astype(np.uint8), np.array([1, -1, 1, -1, 0])).tolist() == [0, 1, 2, 11, 12]


def test_sizes_are_in_powers_of_two():
    assert bins("size", size=[0, 1, 2, 3, 4, 7, 8, 10**6, 10**11]) == [0, 1, 2, 2, 3, 3, 4, 20, 20]


def test_gaps_are_in_powers_of_ten():
    assert bins("gap", time_ns=[5, 5, 6, 15, 25, 10**13, 0]) == [1, 0, 1, 1, 2, 13, 0]
    assert bins("gap", before=Before(), time_ns=[5, 6]) == [UNKNOWN, 1]


def test_steps_are_ticks_from_the_last_event_of_the_side_positive_deeper():
    prices = [900, 1000, 700, 1100, 1000 + 100 * 300, 10]
    assert bins("step", price=prices) == [8 + 1, 8 - 1, 8 + 2, 8 - 3, 8 - 8, 8 + 8]
    asks = bins("step", price=[1100, 1100], side=[-1, -1])
    assert asks == [8 + 1, 8]
    mixed = bins("step", price=[900, 1100, 900], side=[1, -1, 1])
    assert mixed == [9, 9, 8]  # the ask is not what the second bid is compared with


def test_without_an_event_of_its_side_a_step_is_not_known_and_control_has_none():
    kinds, sides = [Kind.ADD, Kind.CONTROL, Kind.ADD, Kind.ADD], [1, 0, 1, -1]
    found = bins("step", before=Before(), kind=kinds, side=sides, price=[1000, 0, 1000, 1000])
    assert found == [UNKNOWN, BINS["step"] - 1, 8, UNKNOWN]


def test_spreads_have_bins_for_empty_sides_and_crossed_books():
    assert spread_bins(np.array([np.nan, -3, 0, 1, 4, 5, 6, 127, 128, 9999])).tolist() == [
        0, 1, 1, 2, 5, 5, 6, 14, 15, 15,
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 500])
def test_events_that_come_in_pieces_have_the_bins_of_all_together(size):
    columns, tick = columns_of(DAY.events), DAY.instrument.tick
    whole, last = binned(columns, before=Before(), tick=tick)
    before, pieces = Before(), []
    for at in range(0, len(DAY.events), size):
        found, before = binned(columns_of(DAY.events[at : at + size]), before=before, tick=tick)
        pieces.append(found)
    assert before == last
    for name in ("class", "size", "gap", "step"):
        joined = np.concatenate([one[name] for one in pieces])
        np.testing.assert_array_equal(joined, whole[name])
        assert joined.min() >= UNKNOWN and joined.max() < BINS[name]
        assert len(np.unique(joined)) > 4
    assert (*whole, "spread") == FEATURES


def test_no_events_change_nothing():
    nothing, before = columns_of(Events.from_columns()), Before(3, (None, 5))
    assert after(nothing, before) == before
    assert {len(one) for one in binned(nothing, before=before, tick=1)[0].values()} == {0}


def test_a_control_event_leaves_the_last_prices():
    columns = made(kind=[Kind.ADD, Kind.CONTROL], side=[1, 0], price=[700, int(Code.HALT)])
    assert after(columns, Before(0, (1, 2))) == Before(1, (700, 2))
