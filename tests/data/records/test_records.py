"""Records decode alone, to the events they were made of, and carry the book and the clock of those events."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.book.features import book_features
from lob_jax.book.replay import replay
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.data.records.records import (
    Outline,
    RecordPlan,
    day_record,
    direction,
    make_records,
    outline,
    record_opening,
    record_spans,
    record_start,
)
from lob_jax.data.records.split import Part
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.vocabulary import EOS, event_index

SHAPE = {"record_events": 60, "context": 32, "book_levels": 3}
PART = Part("validation", 100, 400, 40)


@pytest.fixture(name="day", scope="module")
def day_fixture(make_day):
    return make_day(450)


@pytest.fixture(name="records", scope="module")
def records_fixture(day):
    return [record for _, record in make_records(day, [PART], ExactTokenizer(), **SHAPE)]


def test_spans_are_nearly_equal_with_leads_from_the_embargo_and_the_record_before():
    # 17 tokens of history are 9 events at most.
    assert record_spans(PART, record_events=100, context=32) == [(91, 100, 200), (191, 200, 300), (291, 300, 400)]
    assert record_spans(Part("train", 0, 7, 0), record_events=3, context=4) == [(0, 0, 2), (0, 2, 4), (2, 4, 7)]
    assert record_spans(Part("test", 9, 14, 1), record_events=9, context=32) == [(8, 9, 14)]


@given(first=st.integers(0, 50), events=st.integers(1, 500), lead=st.integers(0, 50), size=st.integers(1, 90))
def test_spans_cover_a_part_once_and_never_reach_across_its_embargo(first: int, events: int, lead: int, size: int):
    part = Part("test", first + lead, first + lead + events, lead)
    spans = record_spans(part, record_events=size, context=16)
    owned = [index for _, low, high in spans for index in range(low, high)]
    assert owned == list(range(part.first, part.last))
    assert all(first <= begin <= low and 0 < high - low <= size for begin, low, high in spans)


def test_every_record_decodes_alone_to_its_events(day, records):
    assert len(records) == 5
    for record in records:
        assert record["tokens"].dtype == np.uint16 and record["tokens"][-1] == EOS
        events = ExactTokenizer().decode(record["tokens"], record_opening(record))
        first = int(record["first_event"])
        for name in ("time_ns", "kind", "code", "side", "price", "size"):
            expected = getattr(day.events, name)[first : first + len(events)]
            np.testing.assert_array_equal(getattr(events, name), expected, err_msg=name)
    ends = [int(record["first_event"]) + len(record["mid2"]) - 1 for record in records]
    assert ends == [160, 220, 280, 340, 400]


def test_a_record_knows_what_is_closed_before_it(day):
    names = ("kind", "code", "side", "price", "size", "order_id")
    columns = {name: getattr(day.events, name).copy() for name in names}
    columns["code"][columns["kind"] == Kind.CONTROL] = Code.SESSION_OPEN  # no halts of its own
    for at, code in ((91, Code.HALT), (140, Code.RESUME_QUOTE), (150, Code.SESSION_OPEN), (271, Code.RESUME_TRADE)):
        for name, value in zip(names, (Kind.CONTROL, code, 0, 0, 0, 0), strict=True):
            columns[name][at] = value
    halted = day.with_events(day.events.replace(**columns))
    made = [record for _, record in make_records(halted, [PART], ExactTokenizer(), **SHAPE)]
    assert [int(record["first_event"]) for record in made] == [91, 151, 211, 271, 331]
    assert [record["closed"].tolist() for record in made] == [0, 1, 1, 1, 0]  # a halt is not before its own event
    assert made[0]["closed"].dtype == np.int64
    assert int(day_record(halted, 140, 150, ExactTokenizer(), book_levels=3)["closed"]) == 2
    assert int(day_record(halted, 50, 90, ExactTokenizer(), book_levels=3, closed=2)["closed"]) == 2


def test_a_record_carries_the_books_of_the_whole_day(day, records):
    states = replay(day, levels=3)
    for record in records:
        first = int(record["first_event"])
        rows = slice(first, first + len(record["clock_ns"]))
        expected = book_features(states.price[rows], states.size[rows], tick=100)
        np.testing.assert_array_equal(record["features"], expected)
        assert record["features"].dtype == np.float32 and record["features"].shape[1] == 12
        np.testing.assert_array_equal(record["mid2"], states.mid2()[rows])
        # The book of its own start, replayed alone, is the same one.
        events = day.events[first : first + len(record["mid2"]) - 1]
        alone = replay(record_opening(record).with_events(events), levels=3)
        np.testing.assert_array_equal(alone.price, states.price[rows])
        np.testing.assert_array_equal(alone.size, states.size[rows])


def test_the_parts_of_a_day_have_the_records_that_each_has_alone(day, records):
    parts = [Part("train", 0, 60, 0), PART, Part("test", 440, 450, 40)]
    made = list(make_records(day, parts, ExactTokenizer(), **SHAPE))
    assert [part.name for part, _ in made] == ["train"] + 5 * ["validation"] + ["test"]
    for one, (_, other) in zip(records, made[1:6], strict=True):
        assert set(one) == set(other)
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_a_record_of_a_pooled_book_starts_from_a_pooled_book(day):
    pooled = dataclasses.replace(day, start=BookSnapshot.empty(day.start.time_ns, pooled=True))
    _, record = list(make_records(pooled, [PART], ExactTokenizer(), **SHAPE))[-1]
    start, first = record_start(record), int(record["first_event"])
    assert start.pooled and record["start_pooled"].dtype == np.bool_
    assert len(np.unique(start.price * start.side)) == len(start) > 0
    states = replay(pooled, levels=3)
    events = pooled.events[first : first + len(record["mid2"]) - 1]
    alone = replay(record_opening(record).with_events(events), levels=3)
    np.testing.assert_array_equal(alone.size, states.size[first : first + len(record["mid2"])])


def test_one_record_is_in_memory_at_a_time(make_day):
    day = make_day(3_000)
    made = make_records(day, [Part("train", 0, 3_000, 0)], ExactTokenizer(), **SHAPE)
    held = weakref.ref(next(made)[1]["features"])
    gc.collect()
    assert held() is None
    assert sum(1 for _ in made) == 49


def test_the_clock_is_the_time_of_the_event_before(day, records):
    for record in records:
        first = int(record["first_event"])
        before = day.events.time_ns[first - 1 : first + len(record["clock_ns"]) - 1]
        np.testing.assert_array_equal(record["clock_ns"], before)
    _, start = next(make_records(day, [Part("train", 0, 50, 0)], ExactTokenizer(), **SHAPE))
    assert start["clock_ns"][0] == day.start.time_ns and start["lead_events"] == start["first_event"] == 0


def test_an_outline_counts_the_tokens_of_the_lead(records):
    for record in records:
        about, lead = outline(record), int(record["lead_events"])
        tokens = record["tokens"][:-1]
        assert lead == 9 and about.first_event == record["first_event"]
        assert about.tokens == len(tokens)
        assert event_index(tokens)[about.lead_tokens] == lead == event_index(tokens)[about.lead_tokens - 1] + 1
        assert about.lead_tokens >= SHAPE["context"] // 2
    assert outline({**records[0], "tokens": np.array([EOS], np.uint16)}) == Outline(0, 0, 91)


def test_rounded_time_starts_anew_with_each_record(day):
    coarse = ExactTokenizer(time_digits=2)
    for _, record in make_records(day, [PART], coarse, **SHAPE):
        decoded: Events = coarse.decode(record["tokens"], record_opening(record))
        exact = day.events.time_ns[int(record["first_event"]) :][: len(decoded)]
        gaps = np.diff(record["clock_ns"])
        assert np.all(np.abs(decoded.time_ns - exact) <= max(1, gaps.max()) * 0.06)


def test_direction_is_the_sign_of_the_move_that_an_event_makes():
    mid2 = np.array([0, 200, 200, 201, 199, 0, 300, 301, 0, -5])
    features = np.ones((len(mid2), 8), np.float32)
    features[0, 0] = features[5, 2] = 0  # without a bid, without an ask; the book of row 8 has its mid at 0
    record = {"mid2": mid2, "features": features}
    assert direction(record).tolist() == [0, 0, 1, -1, 0, 0, 1, -1, -1]
    assert direction(record).dtype == np.int8


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"embargo_events": 16}, "shorter than a context"),
        ({"record_events": 0}, "record_events is too small"),
        ({"book_levels": 0}, "book_levels is too small"),
    ],
)
def test_a_plan_refuses_what_cannot_be(wrong: dict, message: str):
    plan = {**SHAPE, "train_fraction": 0.7, "validation_fraction": 0.1, "embargo_events": 17}
    assert RecordPlan(**plan).context == 32
    with pytest.raises(InputError, match=message):
        RecordPlan(**{**plan, **wrong})
