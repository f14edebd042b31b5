"""Flow of a model's own: spliced in where it belongs, for a while, and followed by what the real market did."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.data.records.records import make_records
from lob_jax.data.records.split import Part
from lob_jax.data.windows.augment.altered import ADDED, settled
from lob_jax.data.windows.augment.own_flow import Continuation, OwnFlow, own_flow, spliced
from lob_jax.data.windows.augment.windows import AlteredWindows
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.halts import OPEN
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.tokens.exact import ExactTokenizer
from tests.market_day import clean_day, market_day

ADD, DELETE, EXECUTE = Kind.ADD, Kind.DELETE, Kind.EXECUTE
ROWS = ((ADD, BID, 99, 10), (ADD, ASK, 101, 10), (ADD, BID, 98, 7), (EXECUTE, ASK, 101, 4), (EXECUTE, ASK, 101, 6))
OWN = ((ADD, ASK, 102, 5), (EXECUTE, ASK, 101, 8), (DELETE, BID, 98, 7))
TOKENIZER = ExactTokenizer()


def events_of(rows, times):
    names = ("kind", "side", "price", "size")
    columns = dict(zip(names, (np.array(column) for column in zip(*rows, strict=True)), strict=True))
    return Events.from_columns(time_ns=np.array(times), **columns)


@pytest.fixture(name="day")
def day_fixture():
    return market_day(events_of(ROWS, [100, 200, 300, 450, 600]))


@pytest.fixture(name="own")
def own_fixture():
    return events_of(OWN, [7, 7, 30])


def test_the_real_events_behind_keep_their_gaps(day, own):
    found = spliced(day, 3, own)
    assert found.events.time_ns.tolist() == [100, 200, 300, 307, 307, 330, 480, 630]
    assert found.events.price.tolist() == [99, 101, 98, 102, 101, 98, 101, 101]
    assert found.origin.tolist() == [0, 1, 2, ADDED, ADDED, ADDED, 3, 4]


def test_real_events_that_it_has_made_impossible_are_left_out_and_counted(day, own):
    """It has executed 8 of the 10 lots at the best ask, so neither 4 nor 6 of them are left."""
    found = settled(day, spliced(day, 3, own), first=1, closed=OPEN)
    assert found.origin.tolist() == [0, 1, 2, ADDED, ADDED, ADDED]
    assert (found.left_out, found.refused) == (2, 0)
    first_alone = settled(day, spliced(day, 3, own[:1]), first=1, closed=OPEN)
    assert first_alone.origin.tolist() == [0, 1, 2, ADDED, 3, 4] and first_alone.left_out == 0


def test_its_length_is_drawn_from_one_event_to_all(day, own):
    one, random = OwnFlow((Continuation(0, 3, own),), share=1.0), np.random.default_rng(0)
    added = [len(one(day, 1, random).events) - len(day.events) for _ in range(300)]
    counts = np.bincount(added, minlength=4)
    assert counts[0] == 0 and np.all(np.abs(counts[1:] - 100) < 4 * np.sqrt(300 * 2 / 9))


def test_a_share_of_zero_leaves_the_day_as_it_is(day, own):
    found = OwnFlow((Continuation(0, 3, own),), share=0.0)(day, 1, np.random.default_rng(0))
    assert found.events is day.events and found.origin.tolist() == [0, 1, 2, 3, 4]


@pytest.fixture(name="windows", scope="module")
def windows_fixture(make_day):
    day = clean_day(make_day(300, seed=3))
    shape = {"record_events": 90, "context": 32, "book_levels": 3}
    records = [one for _, one in make_records(day, [Part("train", 0, len(day.events), 0)], TOKENIZER, **shape)]
    return TokenBookDataset(records, context=60, time_buckets=288, evaluation=False)


def first_event(windows, index):
    span = windows.spans[index]
    return int(windows.prepared(span.record).event[max(span.start, 0)]) + 1


def copied(windows, index, count=3):
    """Return the events that really follow at the beginning of a window, as if a model had drawn them."""
    span, at = windows.spans[index], first_event(windows, index)
    altered = AlteredWindows(windows, (), tokenizer=TOKENIZER, book_levels=3)
    events = altered._day(span.record)[1].events
    part = events[at : at + count]
    return Continuation(index, at, part.replace(time_ns=part.time_ns - events.time_ns[at - 1]))


def altered_windows(windows, continuations, share):
    of_span = own_flow(continuations, windows.spans, share=share)
    return AlteredWindows(windows, (), tokenizer=TOKENIZER, book_levels=3, of_span=of_span)


def test_it_is_in_the_share_of_all_windows(windows):
    chosen = [copied(windows, index) for index in range(0, len(windows), 3)]
    of_span = own_flow(chosen, windows.spans, share=0.2)
    assert sorted(of_span, key=windows.spans.index) == [windows.spans[one.window] for one in chosen]
    assert sum(flow.share for (flow,) in of_span.values()) == pytest.approx(0.2 * len(windows))
    assert all(flow.share == 1 for (flow,) in own_flow(chosen, windows.spans, share=0.9).values())


def test_it_is_no_target_and_what_follows_is(windows):
    chosen = [copied(windows, index) for index in range(len(windows))]
    altered = altered_windows(windows, chosen, 1.0)
    followed = 0
    for index, span in enumerate(windows.spans):
        window, day = altered.cut(span, np.random.default_rng(index))
        event, inside = window["event"], window["event"] >= 0
        added, at = day.origin[event[inside]] == ADDED, first_event(windows, index)
        assert added.any() and set(event[inside][added]) == set(range(at, at + len(set(event[inside][added]))))
        assert not window["scored"][inside][added].any() and window["scored"][inside][~added][1:].all()
        followed += bool((event[inside][~added] >= at).any())
    assert followed == len(windows)


def test_windows_without_a_place_are_as_they_are(windows):
    altered = altered_windows(windows, [copied(windows, 1)], 1.0)
    for index in range(len(windows)):
        found = altered.drawn(index, np.random.default_rng(0))
        equal = all(np.array_equal(found[name], array) for name, array in windows[index].items())
        assert equal == (index != 1)


@given(seed=st.integers(0, 2**32 - 1), at=st.integers(1, 100), count=st.integers(1, 20), ranks=st.booleans())
def test_a_day_with_it_decodes_and_replays(make_day, seed, at, count, ranks):
    """Events of another time of the day stand for those of a model, so that many are impossible there."""
    tokenizer = ExactTokenizer(references="rank" if ranks else "newest")
    day, random = clean_day(make_day(120, seed=seed % 7)), np.random.default_rng(seed)
    day = day.with_events(tokenizer.decode(tokenizer.encode(day), day))
    first = int(random.integers(len(day.events) - count))
    own = day.events[first : first + count]
    own = own.replace(time_ns=own.time_ns - own.time_ns[0], order_id=np.zeros(count, np.uint64))
    found = settled(day, spliced(day, at, own), first=1, closed=OPEN)
    decoded = tokenizer.decode(tokenizer.encode(found.day), found.day)
    for name in ("time_ns", "kind", "side", "price", "size"):
        np.testing.assert_array_equal(getattr(decoded, name), getattr(found.day.events, name))
    assert not check_events(decoded, start=found.day.start, tick=day.instrument.tick).faults
    real = found.origin >= 0
    assert found.left_out == len(day.events) - real.sum() and found.refused == count - (~real).sum()
    behind = dataclasses.replace(found.day, events=found.day.events[np.flatnonzero(found.origin >= at)]).events
    shift = behind.time_ns - day.events.time_ns[found.origin[found.origin >= at]]
    assert set(shift.tolist()) <= {int(own.time_ns[-1])}
