"""Columns of events: dtypes, refusals, selection."""

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.events.schema import COLUMNS, Code, Events, Kind


def sample(n=4):
    return Events.from_columns(
        time_ns=np.arange(n) * 10, kind=np.full(n, Kind.ADD), side=np.ones(n, int), price=np.arange(n), size=np.ones(n)
    )


def test_every_column_has_its_dtype_and_length():
    events = sample()
    for name, dtype in COLUMNS.items():
        assert getattr(events, name).dtype == dtype
        assert len(getattr(events, name)) == 4


def test_absent_columns_are_zero_and_the_sequence_counts():
    events = sample()
    np.testing.assert_array_equal(events.sequence, [0, 1, 2, 3])
    assert not events.order_id.any() and not events.flags.any() and not events.receive_ns.any()


def test_rows_by_slice_and_mask_and_joined_again():
    events = sample()
    first, rest = events[:1], events[np.array([False, True, True, True])]
    joined = Events.concatenate([first, rest])
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(joined, name), getattr(events, name))
    assert len(Events.concatenate([])) == 0


def test_replace_exchanges_a_column_and_keeps_the_rest():
    events = sample().replace(size=np.array([7, 8, 9, 10]))
    np.testing.assert_array_equal(events.size, [7, 8, 9, 10])
    np.testing.assert_array_equal(events.price, sample().price)


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"time_ns": [1], "prise": [2]}, "unknown event column"),
        ({"time_ns": [1], "price": [1, 2]}, "differ in length"),
        ({"time_ns": [1.5]}, "'time_ns'"),
        ({"side": [300]}, "'side'"),
        ({"order_id": [-1]}, "'order_id'"),
        ({"size": [np.nan]}, "'size'"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_values_that_would_change_are_refused(columns, what):
    with pytest.raises(InputError, match=what):
        Events.from_columns(**{name: np.array(values) for name, values in columns.items()})


def test_numbers_are_those_of_lobster_then_control():
    assert [kind.value for kind in Kind] == [1, 2, 3, 4, 5, 6, 7]
    assert Code.NONE == 0 and len(Code) == 8
