"""Sequences of messages and books: cut from a day, selected, joined."""

import numpy as np
import pytest

from lob_jax.book.replay import replay
from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.feeds.load import load_incremental_data
from lob_jax.statistics.flow import disjoint_spans, flow_of_paths, flow_of_spans, joined


@pytest.fixture(scope="module")
def day():
    return load_incremental_data(events=600, seed=3)


def test_parts_of_a_day_have_the_book_after_each_message(day):
    spans = np.array([[10, 40], [100, 160]])
    flow, states = flow_of_spans(day, spans, levels=3), replay(day, 3).after()
    kept = [row for first, last in spans for row in range(first, last) if day.events.kind[row] != Kind.CONTROL]
    np.testing.assert_array_equal(flow.book_price, states.price[kept])
    np.testing.assert_array_equal(flow.book_size, states.size[kept])
    np.testing.assert_array_equal(flow.price, day.events.price[kept])
    np.testing.assert_array_equal(flow.time_ns + day.instrument.midnight_ns(), day.events.time_ns[kept])
    assert flow.edges[-1] == len(kept) == len(flow.sequence()) and flow.levels == 3


def test_no_message_is_a_control_event(day):
    kind = day.events.kind.copy()
    kind[5] = Kind.CONTROL
    day = day.with_events(type(day.events).from_columns(**{**vars(day.events), "kind": kind}))
    flow = flow_of_spans(day, np.array([[0, 10], [10, 20]]), levels=1)
    assert np.diff(flow.edges).tolist() == [9, 10] and Kind.CONTROL not in flow.kind


def test_selection_may_repeat_a_sequence(day):
    flow = flow_of_spans(day, np.array([[0, 5], [5, 5], [7, 10]]), levels=2)
    chosen = flow.select([2, 0, 2])
    assert np.diff(chosen.edges).tolist() == [3, 5, 3]
    np.testing.assert_array_equal(
        chosen.time_ns, np.concatenate([flow.time_ns[part] for part in (slice(5, 8), slice(0, 5), slice(5, 8))])
    )
    assert len(flow.select([])) == 0


def test_joined_flows_show_the_fewest_levels(day):
    one, other = (flow_of_spans(day, np.array([[0, 20]]), levels=levels) for levels in (4, 2))
    both = joined([one, other])
    assert len(both) == 2 and both.levels == 2
    np.testing.assert_array_equal(both.book_price[:20], other.book_price)
    same = flow_of_paths([day, day], levels=2)
    np.testing.assert_array_equal(same.select([0]).size, same.select([1]).size)


def test_bad_spans_and_units_are_refused(day):
    with pytest.raises(InputError, match="not within the day"):
        flow_of_spans(day, np.array([[0, len(day.events) + 1]]), levels=1)
    with pytest.raises(InputError, match="different units"):
        joined([])


@pytest.mark.parametrize(
    ("count", "sequences", "expected"),
    [(10, None, [[0, 4], [4, 8]]), (10, 2, [[0, 4], [6, 10]]), (3, None, []), (9, 5, [[0, 4], [5, 9]])],
)
def test_spans_do_not_overlap(count, sequences, expected):
    assert disjoint_spans(count, length=4, sequences=sequences).tolist() == expected
